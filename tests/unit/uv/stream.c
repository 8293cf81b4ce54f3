/* Unix and TCP streams. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "world.h"

/* One side of a stream, and what happened to it. */
struct side {
    struct env *e;
    struct env_stream *s;
    unsigned n_opened, n_bytes, n_ends, n_drained, n_closed, n_accepted;
    int opened_code, closed_code;
    uint64_t sum; /* of the bytes by place */
    bool echoes, pauses_at_once, closes_at_data;
};

static uint64_t sum_of(const uint8_t *data, size_t len, uint64_t at)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += (uint64_t)data[i] * (at + i + 1);
    return sum;
}

static void on_opened(void *arg, int code)
{
    struct side *x = arg;
    x->n_opened++;
    x->opened_code = code;
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct side *x = arg;
    if (len == 0) {
        x->n_ends++;
        if (x->echoes)
            env_stream_end(x->e, x->s);
        return;
    }
    x->sum += sum_of(data, len, x->n_bytes);
    x->n_bytes += (unsigned)len;
    if (x->echoes)
        cr_expect_eq(env_stream_write(x->e, x->s, data, len), 0);
    if (x->closes_at_data) {
        env_stream_close(x->e, x->s);
        x->s = NULL;
    }
}

static void on_drained(void *arg)
{
    ((struct side *)arg)->n_drained++;
}

static void on_closed(void *arg, int code)
{
    struct side *x = arg;
    x->n_closed++;
    x->closed_code = code;
}

static const struct env_stream_events events = {
    .opened = on_opened, .data = on_data, .drained = on_drained, .closed = on_closed
};

static void on_accepted(void *arg, struct env_stream *s)
{
    struct side *x = arg;
    if (x->n_accepted++ > 0) { /* the tests want one peer */
        env_stream_close(x->e, s);
        return;
    }
    x->s = s;
    env_stream_attach(x->e, s, &events, x);
    if (x->pauses_at_once)
        env_stream_pause(x->e, s, true);
}

struct talk {
    struct world w;
    struct env_endpoint at;
    struct env_listener *l;
    struct side client, server;
};

static struct env_endpoint unix_at(const struct world *w, const char *name)
{
    struct env_endpoint at = { .kind = ENV_UNIX };
    snprintf(at.path, sizeof at.path, "%s/%s", w->dir, name);
    return at;
}

static void listen_at(struct talk *t)
{
    struct cyx_err err = { 0 };
    cr_assert_eq(env_listen(t->w.e, &t->at, on_accepted, &t->server, &t->l, &err), 0, "%s",
                 err.msg);
    if (t->at.kind == ENV_TCP)
        cr_assert_eq(env_listener_addr(t->w.e, t->l, &t->at.addr), 0);
}

static void connect_to(struct talk *t)
{
    struct cyx_err err = { 0 };
    cr_assert_eq(env_connect(t->w.e, &t->at, &events, &t->client, &t->client.s, &err), 0, "%s",
                 err.msg);
    cr_expect_eq(t->client.n_opened, 0, "never inside the call");
    run_until(t->w.e, &t->client.n_opened, 1);
    cr_expect_eq(t->client.opened_code, 0);
    run_until(t->w.e, &t->server.n_accepted, 1);
}

static void talk_start(struct talk *t, bool is_tcp)
{
    *t = (struct talk){ .w = world_make() };
    t->client.e = t->server.e = t->w.e;
    if (is_tcp)
        t->at = (struct env_endpoint){ .kind = ENV_TCP, .addr = env_addr_v4(127, 0, 0, 1, 0) };
    else
        t->at = unix_at(&t->w, "sock");
    listen_at(t);
}

static void talk_end(struct talk *t)
{
    env_stream_close(t->w.e, t->client.s);
    env_stream_close(t->w.e, t->server.s);
    env_listener_close(t->w.e, t->l);
    world_end(&t->w);
}

static void echo_and_half_close(bool is_tcp)
{
    struct talk t;
    static uint8_t bytes[300000];
    talk_start(&t, is_tcp);
    t.server.echoes = true;
    connect_to(&t);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 13 + i / 256);
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, bytes, sizeof bytes), 0);
    env_stream_end(t.w.e, t.client.s);
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, "x", 1), CYX_ECLOSED, "after our end");
    run_until(t.w.e, &t.client.n_ends, 1);
    cr_expect_eq(t.server.n_bytes, sizeof bytes);
    cr_expect_eq(t.client.n_bytes, sizeof bytes, "the answer comes after our end of stream");
    cr_expect_eq(t.client.sum, sum_of(bytes, sizeof bytes, 0));
    cr_expect_eq(t.client.n_closed, 0);
    talk_end(&t);
}

Test(uv_stream, a_unix_stream_echoes_and_half_closes, .timeout = 60)
{
    echo_and_half_close(false);
}

Test(uv_stream, a_tcp_stream_echoes_and_half_closes, .timeout = 60)
{
    echo_and_half_close(true);
}

static void push_back(bool is_tcp)
{
    struct talk t;
    static uint8_t bytes[64 * 1024];
    talk_start(&t, is_tcp);
    t.server.pauses_at_once = true;
    connect_to(&t);
    unsigned sent = 0;
    int rc = 0;
    while (rc == 0) {
        rc = env_stream_write(t.w.e, t.client.s, bytes, sizeof bytes);
        sent += rc == 0 ? (unsigned)sizeof bytes : 0;
        cr_assert_leq(sent, 64u << 20, "a queue without bound");
        run_turns(t.w.e, 1);
    }
    cr_expect_eq(rc, CYX_EFULL);
    cr_expect_gt(env_stream_queued(t.w.e, t.client.s), 0);
    cr_expect_leq(env_stream_queued(t.w.e, t.client.s), ENV_STREAM_QUEUE_MAX);
    cr_expect_eq(t.server.n_bytes, 0, "a paused stream delivers nothing");
    cr_expect_eq(t.client.n_drained, 0);
    env_stream_pause(t.w.e, t.server.s, false);
    run_until(t.w.e, &t.client.n_drained, 1);
    run_until(t.w.e, &t.server.n_bytes, sent);
    cr_expect_eq(t.server.n_bytes, sent);
    cr_expect_eq(env_stream_queued(t.w.e, t.client.s), 0);
    talk_end(&t);
}

Test(uv_stream, a_paused_unix_reader_pushes_back, .timeout = 60)
{
    push_back(false);
}

Test(uv_stream, a_paused_tcp_reader_pushes_back, .timeout = 60)
{
    push_back(true);
}

Test(uv_stream, refuses_a_write_longer_than_the_queue, .timeout = 60)
{
    struct talk t;
    talk_start(&t, false);
    connect_to(&t);
    uint8_t *big = calloc(1, ENV_STREAM_QUEUE_MAX + 1);
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, big, ENV_STREAM_QUEUE_MAX + 1), CYX_EFULL);
    free(big);
    talk_end(&t);
}

Test(uv_stream, a_write_that_went_out_in_part_is_never_followed_by_another, .timeout = 60)
{
    struct talk t;
    static uint8_t bytes[ENV_STREAM_QUEUE_MAX];
    talk_start(&t, false);
    t.server.pauses_at_once = true;
    connect_to(&t);
    env_uv__switches(t.w.e)->no_write_memory = true;
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, bytes, sizeof bytes), CYX_ECLOSED);
    cr_expect_eq(t.client.n_closed, 0, "never inside the call");
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, "x", 1), CYX_ECLOSED);
    run_until(t.w.e, &t.client.n_closed, 1);
    cr_expect_eq(t.client.closed_code, CYX_ENOMEM);
    talk_end(&t);
}

Test(uv_stream, what_was_written_before_it_opened_is_sent, .timeout = 60)
{
    for (unsigned is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct talk t;
        talk_start(&t, is_tcp != 0);
        cr_assert_eq(env_connect(t.w.e, &t.at, &events, &t.client, &t.client.s, NULL), 0);
        cr_expect_eq(env_stream_write(t.w.e, t.client.s, "early", 5), 0);
        env_stream_end(t.w.e, t.client.s);
        run_until(t.w.e, &t.server.n_ends, 1);
        cr_expect_eq(t.server.n_bytes, 5);
        talk_end(&t);
    }
}

Test(uv_stream, credentials_of_a_unix_peer_are_the_kernels, .timeout = 60)
{
    struct talk t;
    struct env_cred cred = { 0 };
    talk_start(&t, false);
    connect_to(&t);
    cr_assert_eq(env_stream_cred(t.w.e, t.server.s, &cred), 0);
    cr_expect_eq(cred.uid, geteuid());
    cr_expect_eq(cred.gid, getegid());
    cr_expect_eq(cred.pid, getpid());
    talk_end(&t);
}

Test(uv_stream, tcp_has_no_credentials, .timeout = 60)
{
    struct talk t;
    struct env_cred cred;
    talk_start(&t, true);
    connect_to(&t);
    cr_expect_eq(env_stream_cred(t.w.e, t.server.s, &cred), CYX_EUNSUPPORTED);
    talk_end(&t);
}

Test(uv_stream, a_peer_that_goes_away_is_an_end_then_an_error, .timeout = 60)
{
    struct talk t;
    talk_start(&t, false);
    connect_to(&t);
    env_stream_close(t.w.e, t.server.s);
    t.server.s = NULL;
    run_until(t.w.e, &t.client.n_ends, 1);
    int rc = 0;
    for (unsigned i = 0; i < 20 && t.client.n_closed == 0 && rc == 0; i++) {
        rc = env_stream_write(t.w.e, t.client.s, "x", 1);
        run_turns(t.w.e, 1);
    }
    run_until(t.w.e, &t.client.n_closed, 1);
    cr_expect_eq(t.client.closed_code, CYX_ECLOSED);
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, "x", 1), CYX_ECLOSED);
    run_turns(t.w.e, 3);
    cr_expect_eq(t.client.n_closed, 1, "said once");
    talk_end(&t);
}

/* What a reader sees of a peer that resets: an error, and no end before it. */
Test(uv_stream, a_reset_is_no_orderly_end, .timeout = 60)
{
    struct talk t;
    talk_start(&t, true);
    connect_to(&t);
    cr_assert_eq(env_stream_write(t.w.e, t.server.s, "some of it", 10), 0);
    run_until(t.w.e, &t.client.n_bytes, 10);
    env_stream_reset(t.w.e, t.server.s);
    t.server.s = NULL;
    run_until(t.w.e, &t.client.n_closed, 1);
    cr_expect_eq(t.client.n_ends, 0u);
    cr_expect_eq(t.client.closed_code, CYX_ECLOSED);
    talk_end(&t);
}

Test(uv_stream, a_reset_follows_an_end_that_was_not_the_last_word, .timeout = 60)
{
    struct talk t;
    talk_start(&t, true);
    connect_to(&t);
    env_stream_end(t.w.e, t.server.s);
    run_until(t.w.e, &t.client.n_ends, 1);
    env_stream_reset(t.w.e, t.server.s);
    t.server.s = NULL;
    int rc = 0; /* the reader stopped at the end; a write finds out */
    for (unsigned i = 0; i < 20 && t.client.n_closed == 0 && rc == 0; i++) {
        rc = env_stream_write(t.w.e, t.client.s, "x", 1);
        run_turns(t.w.e, 1);
    }
    run_until(t.w.e, &t.client.n_closed, 1);
    talk_end(&t);
}

Test(uv_stream, tells_the_address_of_a_tcp_peer_and_of_no_unix_peer, .timeout = 60)
{
    struct talk t;
    struct env_addr peer;
    talk_start(&t, true);
    connect_to(&t);
    cr_assert_eq(env_stream_peer(t.w.e, t.client.s, &peer), 0);
    cr_expect(env_addr_equal(&peer, &t.at.addr));
    cr_assert_eq(env_stream_peer(t.w.e, t.server.s, &peer), 0);
    cr_expect_eq(peer.ip[12], 127);
    talk_end(&t);
}

Test(uv_stream, a_stream_may_be_closed_in_its_own_callback, .timeout = 60)
{
    struct talk t;
    talk_start(&t, false);
    t.server.closes_at_data = true;
    connect_to(&t);
    cr_expect_eq(env_stream_write(t.w.e, t.client.s, "bye", 3), 0);
    run_until(t.w.e, &t.client.n_ends, 1);
    cr_expect_eq(t.server.n_closed, 0, "no callback after close");
    talk_end(&t);
}

Test(uv_stream, nothing_follows_a_close_before_it_opened, .timeout = 60)
{
    for (unsigned is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct talk t;
        talk_start(&t, is_tcp != 0);
        cr_assert_eq(env_connect(t.w.e, &t.at, &events, &t.client, &t.client.s, NULL), 0);
        cr_expect_eq(env_stream_write(t.w.e, t.client.s, "lost", 4), 0);
        env_stream_close(t.w.e, t.client.s);
        t.client.s = NULL;
        run_turns(t.w.e, 3);
        cr_expect_eq(t.client.n_opened + t.client.n_closed + t.client.n_drained, 0);
        talk_end(&t);
    }
}

/* Connects where nobody listens and returns the code that `opened` brings. */
/* No descriptor can be made from here on. Returns the limit to go back to. */
static struct rlimit no_more_descriptors(void)
{
    struct rlimit before, none;
    int first_free = dup(STDERR_FILENO);
    cr_assert_geq(first_free, 0);
    close(first_free);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)first_free;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

Test(uv_stream, out_of_descriptors_a_visitor_is_sent_away_and_the_next_is_welcome, .timeout = 60)
{
    struct talk t;
    char byte;
    talk_start(&t, false);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", t.at.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_geq(fd, 0);
    struct rlimit before = no_more_descriptors();
    cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    run_turns(t.w.e, 20);
    cr_expect_eq(t.server.n_accepted, 0);
    cr_expect_eq(read(fd, &byte, 1), 0, "it hears of it");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(fd);
    connect_to(&t);
    talk_end(&t);
}

Test(uv_stream, a_visitor_who_came_while_memory_was_out_is_let_in_later, .timeout = 60)
{
    struct talk t;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    talk_start(&t, false);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", t.at.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    env_uv__switches(t.w.e)->no_stream_memory = true;
    run_turns(t.w.e, 20);
    cr_expect_eq(t.server.n_accepted, 0);
    env_uv__switches(t.w.e)->no_stream_memory = false;
    run_until(t.w.e, &t.server.n_accepted, 1);
    close(fd);
    talk_end(&t);
}

static int opened_code(struct world *w, const struct env_endpoint *at)
{
    struct side x = { .e = w->e };
    struct cyx_err err;
    int rc = env_connect(w->e, at, &events, &x, &x.s, &err);
    if (rc < 0)
        return rc;
    run_until(w->e, &x.n_opened, 1);
    env_stream_close(w->e, x.s);
    cr_expect_eq(x.n_closed, 0);
    return x.opened_code;
}

Test(uv_stream, connecting_to_nobody_says_so, .timeout = 60)
{
    struct talk t;
    talk_start(&t, true);
    env_listener_close(t.w.e, t.l);
    t.l = NULL;
    run_turns(t.w.e, 1);
    cr_expect_eq(opened_code(&t.w, &t.at), CYX_ECLOSED);
    struct env_endpoint at = unix_at(&t.w, "nobody");
    cr_expect_eq(opened_code(&t.w, &at), CYX_ENOENT);
    talk_end(&t);
}

/* ---- socket files -----------------------------------------------------------------------------
 */

static unsigned mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 ? (unsigned)st.st_mode & 07777 : 0;
}

Test(uv_stream, a_socket_file_has_its_mode_whatever_the_umask_and_goes_at_the_end, .timeout = 60)
{
    struct talk t = { .w = world_make() };
    umask(0);
    t.at = unix_at(&t.w, "a");
    listen_at(&t);
    cr_expect_eq(mode_of(t.at.path), 0600);
    env_listener_close(t.w.e, t.l);
    cr_expect_eq(access(t.at.path, F_OK), -1);
    umask(0777);
    t.at.mode = 0660;
    listen_at(&t);
    cr_expect_eq(mode_of(t.at.path), 0660);
    talk_end(&t);
}

/* A socket file that nobody listens on: as after kill -9. */
static void leave_stale(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    cr_assert_eq(listen(fd, 1), 0);
    close(fd);
}

Test(uv_stream, a_stale_socket_is_replaced, .timeout = 60)
{
    struct talk t = { .w = world_make() };
    t.client.e = t.server.e = t.w.e;
    t.at = unix_at(&t.w, "sock");
    leave_stale(t.at.path);
    listen_at(&t);
    connect_to(&t);
    talk_end(&t);
}

Test(uv_stream, a_live_socket_is_busy_and_stays, .timeout = 60)
{
    struct talk t;
    struct env_listener *second = NULL;
    struct cyx_err err = { 0 };
    talk_start(&t, false);
    cr_expect_eq(env_listen(t.w.e, &t.at, on_accepted, &t.server, &second, &err), CYX_EBUSY);
    cr_expect_not_null(strstr(err.msg, t.at.path), "%s", err.msg);
    run_turns(t.w.e, 2); /* its probe connected and left */
    t.server.n_accepted = 0;
    env_stream_close(t.w.e, t.server.s);
    t.server.s = NULL;
    connect_to(&t);
    talk_end(&t);
}

Test(uv_stream, a_file_that_is_no_socket_is_left_alone, .timeout = 60)
{
    struct world w = world_make();
    struct env_endpoint at = unix_at(&w, "file");
    struct env_listener *l = NULL;
    struct cyx_err err = { 0 };
    write_file(at.path, "mine", 4, 0600);
    cr_expect_eq(env_listen(w.e, &at, on_accepted, NULL, &l, &err), CYX_EEXIST);
    cr_expect_eq(access(at.path, F_OK), 0);
    world_end(&w);
}

Test(uv_stream, a_newer_listeners_file_survives_the_older_ones_end, .timeout = 60)
{
    struct talk t;
    talk_start(&t, false);
    unlink(t.at.path);
    leave_stale(t.at.path); /* somebody else's by now */
    env_listener_close(t.w.e, t.l);
    t.l = NULL;
    cr_expect_eq(access(t.at.path, F_OK), 0);
    talk_end(&t);
}

Test(uv_stream, refuses_paths_that_are_empty_or_too_long, .timeout = 60)
{
    struct world w = world_make();
    struct env_endpoint at = { .kind = ENV_UNIX };
    struct env_listener *l = NULL;
    struct env_stream *s = NULL;
    struct cyx_err err = { 0 };
    cr_expect_eq(env_listen(w.e, &at, on_accepted, NULL, &l, &err), CYX_EINVAL);
    memset(at.path, 'x', sizeof at.path); /* no NUL */
    cr_expect_eq(env_listen(w.e, &at, on_accepted, NULL, &l, &err), CYX_EINVAL);
    cr_expect_not_null(strstr(err.msg, "107"), "%s", err.msg);
    cr_expect_eq(env_connect(w.e, &at, &events, NULL, &s, &err), CYX_EINVAL);
    at.path[0] = '@';
    at.path[1] = '\0';
    cr_expect_eq(env_listen(w.e, &at, on_accepted, NULL, &l, &err), CYX_EINVAL);
    world_end(&w);
}

Test(uv_stream, an_abstract_name_works_and_leaves_no_file, .timeout = 60)
{
    struct talk t = { .w = world_make() };
    t.client.e = t.server.e = t.w.e;
    t.at.kind = ENV_UNIX;
    snprintf(t.at.path, sizeof t.at.path, "@cyx-test-%d", (int)getpid());
    listen_at(&t);
    connect_to(&t);
    struct env_listener *second = NULL;
    cr_expect_eq(env_listen(t.w.e, &t.at, on_accepted, NULL, &second, NULL), CYX_EBUSY);
    talk_end(&t);
}

Test(uv_stream, a_taken_tcp_port_is_busy, .timeout = 60)
{
    struct talk t;
    struct env_listener *second = NULL;
    struct cyx_err err = { 0 };
    talk_start(&t, true);
    cr_expect_neq(t.at.addr.port, 0, "the port behind port 0");
    cr_expect_eq(env_listen(t.w.e, &t.at, on_accepted, NULL, &second, &err), CYX_EBUSY);
    cr_expect_not_null(strstr(err.msg, "127.0.0.1"), "%s", err.msg);
    talk_end(&t);
}
