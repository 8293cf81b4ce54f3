#include "door_rig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/uv/env_uv.h"

/* ---- the service ----------------------------------------------------------------------------- */

struct visit {
    struct list node;
    struct door_rig *rig;
    struct onion_stream *s;
    uint8_t *rest;
    size_t rest_len;
    uint64_t poured;
    bool has_end;
};

static void visit_free(struct visit *v)
{
    list_del(&v->node);
    free(v->rest);
    free(v);
}

static void pour(struct visit *v)
{
    uint8_t block[4096];
    while (v->poured < v->rig->pours) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (uint8_t)((v->poured + i) * 31 >> 3);
        uint64_t left = v->rig->pours - v->poured;
        size_t n = left < sizeof block ? (size_t)left : sizeof block;
        size_t took = memory_ops.write(v->s, block, n);
        v->poured += took;
        if (took < n)
            return;
    }
    if (v->rig->pours > 0)
        memory_ops.end(v->s);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct visit *v = arg;
    struct door_rig *r = v->rig;
    if (r->is_deaf)
        return;
    if (len == 0) {
        r->n_ended++;
        v->has_end = true;
        if (v->rest_len == 0)
            memory_ops.end(v->s);
        return;
    }
    if (r->is_http) {
        char head[128];
        int n = snprintf(head, sizeof head,
                         "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\nConnection: close\r\n\r\n",
                         (unsigned long long)r->pours);
        cr_expect_eq(memory_ops.write(v->s, (uint8_t *)head, (size_t)n), (size_t)n);
        memory_ops.consumed(v->s, len);
        pour(v);
        return;
    }
    if (r->is_counting) {
        r->n_swallowed += len;
        memory_ops.consumed(v->s, len);
        return;
    }
    size_t n = v->rest_len == 0 ? memory_ops.write(v->s, data, len) : 0;
    if (n < len) {
        v->rest = realloc(v->rest, v->rest_len + len - n);
        memcpy(v->rest + v->rest_len, data + n, len - n);
        v->rest_len += len - n;
    }
    memory_ops.consumed(v->s, len);
}

static void on_writable(void *arg)
{
    struct visit *v = arg;
    if (v->rest_len > 0) {
        size_t n = memory_ops.write(v->s, v->rest, v->rest_len);
        memmove(v->rest, v->rest + n, v->rest_len - n);
        v->rest_len -= n;
    }
    if (v->rest_len == 0 && v->has_end)
        memory_ops.end(v->s);
    pour(v);
}

static void on_closed(void *arg, enum onion_fail why)
{
    (void)why;
    visit_free(arg);
}

static const struct onion_stream_events visit_events = { .data = on_data,
                                                         .writable = on_writable,
                                                         .closed = on_closed };

static void on_stream(void *arg, struct onion_stream *s, uint16_t port)
{
    struct door_rig *r = arg;
    cr_expect_eq(port, RIG_PORT);
    r->n_visits++;
    if (r->refuses) {
        memory_ops.refuse(s, r->status);
        return;
    }
    struct visit *v = calloc(1, sizeof *v);
    v->rig = r;
    v->s = s;
    list_push_back(&r->visits, &v->node);
    memory_ops.attach(s, &visit_events, v);
    memory_ops.accept(s);
    if (!r->is_http)
        pour(v);
}

static void on_echo(void *arg, const uint8_t *data, size_t len)
{
    (void)memory_ops.flow_send(*(struct onion_flow **)arg, data, len);
}

static void on_flow_closed(void *arg, enum onion_fail why)
{
    (void)arg, (void)why;
}

static const struct onion_flow_events flow_events = { .datagram = on_echo,
                                                      .closed = on_flow_closed };
static struct onion_flow *flows[64];
static unsigned n_flows;

static void on_flow(void *arg, struct onion_flow *f, uint16_t port)
{
    (void)arg, (void)port;
    flows[n_flows % 64] = f;
    memory_ops.flow_attach(f, &flow_events, &flows[n_flows++ % 64]);
}

static void on_changed(void *arg, const struct onion_service_info *now)
{
    (void)arg, (void)now;
}

static const struct onion_service_events service_events = { .stream = on_stream,
                                                            .flow = on_flow,
                                                            .changed = on_changed };

/* ---- the rig --------------------------------------------------------------------------------- */

static enum onion_name_verdict resolve(void *arg, const char *host, size_t len,
                                       uint8_t address[static 32])
{
    const struct door_rig *r = arg;
    return petnames_resolve(r->names, host, len, address);
}

static struct door *open_door(struct door_rig *r, enum door_kind kind,
                              const struct door_options *how, struct env_addr *at)
{
    struct cyx_err err = { 0 };
    struct door_options o = how != NULL ? *how : (struct door_options){ .kind = kind };
    o.kind = kind;
    o.env = r->env;
    o.ops = &memory_ops;
    o.at = env_addr_v4(127, 0, 0, 1, 0);
    o.resolve = resolve;
    o.arg = r;
    struct door *d = door_create(&o, &err);
    cr_assert_not_null(d, "%s", err.msg);
    cr_assert_eq(door_addr(d, at), 0);
    door_set_onion(d, &r->onion);
    return d;
}

void door_rig_start(struct door_rig *r, const struct door_options *how)
{
    static const struct onion_port ports[] = { { RIG_PORT, ONION_PORT_STREAM },
                                               { RIG_UDP_PORT, ONION_PORT_DATAGRAM } };
    struct cyx_err err = { 0 };
    struct log_options lo = { .level = LOG_LEVEL_DEBUG, .fd = -1, .ring_lines = LOG_RING_LINES };
    cr_assert_eq(secret_init(&err), 0);
    *r = (struct door_rig){ .dir = "/tmp/cyx-door-XXXXXX" };
    cr_assert_not_null(mkdtemp(r->dir));
    list_init(&r->visits);
    r->log = log_create(&lo);
    r->env = env_uv_create(&(struct env_uv_options){ .data_dir = r->dir, .log = r->log }, &err);
    cr_assert_not_null(r->env, "%s", err.msg);
    memory_start(&r->onion, r->env);
    r->names = petnames_open(r->env, &err);
    cr_assert_not_null(r->names, "%s", err.msg);
    memset(r->seed, 7, sizeof r->seed);
    memory_address(r->address, r->seed);
    (void)onion_address_text(r->address, r->host);
    struct onion_service_config c = { .seed = r->seed, .ports = ports, .n_ports = 2 };
    r->service = memory_ops.serve(&r->onion, &c, &service_events, r, &err);
    cr_assert_not_null(r->service);
    r->socks = open_door(r, DOOR_SOCKS, how, &r->socks_at);
    r->tunnel = open_door(r, DOOR_TUNNEL, how, &r->tunnel_at);
}

static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    cr_assert_not_null(d);
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        (void)unlinkat(dirfd(d), f->d_name, 0);
    closedir(d);
    cr_expect_eq(rmdir(path), 0);
}

void door_rig_stop(struct door_rig *r)
{
    door_destroy(r->socks);
    door_destroy(r->tunnel);
    while (!list_empty(&r->visits))
        visit_free(container_of(r->visits.next, struct visit, node));
    memory_stop(&r->onion);
    petnames_close(r->names);
    env_uv_destroy(r->env);
    log_destroy(r->log);
    remove_folder(r->dir);
}

struct turns {
    struct env *e;
    unsigned n;
    const unsigned *count;
    unsigned want;
};

static void on_turn(struct env_timer *t, void *arg)
{
    struct turns *s = arg;
    if (s->n-- == 0 || (s->count != NULL && *s->count >= s->want))
        env_uv_stop(s->e);
    else
        env_timer_in(s->e, t, ENV_MS(1));
}

static void run(struct door_rig *r, struct turns s)
{
    struct env_timer t;
    env_timer_init(&t, on_turn, &s);
    env_timer_in(r->env, &t, 0);
    env_uv_run(r->env);
    env_timer_stop(r->env, &t);
}

void door_rig_turn(struct door_rig *r, unsigned turns)
{
    run(r, (struct turns){ r->env, turns, NULL, 0 });
}

void door_rig_until(struct door_rig *r, const unsigned *count, unsigned want)
{
    run(r, (struct turns){ r->env, 30000, count, want });
    cr_assert_geq(*count, want);
}

/* ---- clients --------------------------------------------------------------------------------- */

int door_rig_connect(struct door_rig *r, const struct env_addr *to)
{
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons(to->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0, "%s", strerror(errno));
    struct timeval no_wait = { .tv_usec = 1 };
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &no_wait, sizeof no_wait), 0);
    door_rig_turn(r, 2);
    return fd;
}

void door_rig_send(struct door_rig *r, int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (unsigned idle = 0; len > 0 && idle < 10000; door_rig_turn(r, 1)) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return; /* the test looks at how it ended */
        idle = n > 0 ? 0 : idle + 1;
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    cr_assert_eq(len, 0u, "what was sent is never taken");
}

size_t door_rig_receive(struct door_rig *r, int fd, void *buf, size_t want, int *over)
{
    size_t len = 0;
    int how = 0;
    for (unsigned idle = 0; len < want && how == 0 && idle < 3000;) {
        ssize_t n = recv(fd, (uint8_t *)buf + len, want - len, MSG_DONTWAIT);
        if (n > 0) {
            len += (size_t)n;
            idle = 0;
        } else if (n == 0) {
            how = 1;
        } else if (errno != EAGAIN) {
            how = errno;
        } else {
            door_rig_turn(r, 1);
            idle++;
        }
    }
    if (over != NULL)
        *over = how;
    return len;
}

int door_rig_how_it_ended(struct door_rig *r, int fd)
{
    uint8_t waste[4096];
    int over = 0;
    while (door_rig_receive(r, fd, waste, sizeof waste, &over) > 0 && over == 0)
        continue;
    return over;
}

unsigned door_rig_socks(struct door_rig *r, int fd, const char *host, uint16_t port)
{
    uint8_t rq[3 + 7 + 255] = { 5, 1, 0, 5, 1, 0, 3 }, answer[12] = { 0 };
    size_t n = strlen(host);
    cr_assert_leq(n, 255u);
    rq[7] = (uint8_t)n;
    memcpy(rq + 8, host, n);
    rq[8 + n] = (uint8_t)(port >> 8);
    rq[9 + n] = (uint8_t)port;
    door_rig_send(r, fd, rq, 10 + n);
    cr_assert_eq(door_rig_receive(r, fd, answer, 12, NULL), 12u, "an answer");
    cr_expect(answer[0] == 5 && answer[1] == 0 && answer[2] == 5);
    return answer[3];
}

void door_rig_lose(struct door_rig *r)
{
    memory_lose_all(&r->onion, ONION_FAIL_LOST);
    door_rig_turn(r, 3);
}

extern char **environ;

int door_rig_program(struct door_rig *r, char *const argv[], char *out, size_t cap)
{
    int pipe_fd[2], status = 0;
    pid_t pid = 0;
    size_t len = 0;
    posix_spawn_file_actions_t actions;
    cr_assert_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], STDOUT_FILENO);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fd[1]);
    cr_assert_eq(fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK), 0);
    for (bool is_open = rc == 0; is_open; door_rig_turn(r, 1)) {
        char waste[65536];
        ssize_t n = read(pipe_fd[0], waste, sizeof waste);
        is_open = n > 0 || (n < 0 && errno == EAGAIN);
        for (ssize_t i = 0; i < n && len + 1 < cap; i++)
            out[len++] = waste[i];
    }
    close(pipe_fd[0]);
    if (cap > 0)
        out[len] = '\0';
    if (rc != 0)
        return -1;
    while (waitpid(pid, &status, WNOHANG) == 0)
        door_rig_turn(r, 1);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}
