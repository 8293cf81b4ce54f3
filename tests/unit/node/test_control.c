/* The control socket: framing, bounds, and what happens to calls whose client goes away. */
#include <criterion/criterion.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "control_rig.h"
#include "node/control_internal.h"

static struct rig rig;

static void setup(void)
{
    rig_start(&rig);
}

static void teardown(void)
{
    rig_stop(&rig);
}

TestSuite(control, .init = setup, .fini = teardown);

static void expect_echo(int fd, uint32_t id, const char *text)
{
    uint8_t buf[1024];
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    uint64_t got_id = 0;
    cr_assert_eq(rig_receive(&rig, fd, buf, sizeof buf, &doc), 1);
    cr_assert_eq(doc.root.via.array.size, 4u);
    cr_expect(mp_u64(&doc.root.via.array.ptr[1], &got_id) && got_id == id);
    cr_expect(mp_is_str(&doc.root.via.array.ptr[3], text));
}

Test(control, answers_a_request_that_trickles_in)
{
    uint8_t buf[256];
    int fd = rig_connect(&rig);
    size_t len = rig_request(buf, sizeof buf, 7, "echo", "hello");
    for (size_t i = 0; i < len; i++)
        rig_send(&rig, fd, buf + i, 1);
    expect_echo(fd, 7, "hello");
    close(fd);
}

Test(control, answers_requests_that_come_at_once)
{
    uint8_t buf[256];
    int fd = rig_connect(&rig);
    size_t len = rig_request(buf, sizeof buf, 1, "echo", "one");
    len += rig_request(buf + len, sizeof buf - len, 2, "echo", "two");
    rig_send(&rig, fd, buf, len);
    expect_echo(fd, 1, "one");
    expect_echo(fd, 2, "two");
    close(fd);
}

Test(control, takes_no_parameters_as_an_empty_map)
{
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 1, "echo", NULL);
    expect_echo(fd, 1, "");
    close(fd);
}

Test(control, names_a_method_that_is_not_there)
{
    char code[64];
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 1, "fly", NULL);
    cr_expect_str_eq(rig_error(&rig, fd, code), "ENOENT");
    close(fd);
}

static const struct {
    const char *bytes;
    size_t len;
} broken[] = {
    { "\xc1", 1 },                                        /* never used */
    { "\x94\x01\x01\xa1x\x90", 6 },                       /* a response */
    { "\x94\x00\x01\xa1x\x93\x01\x02\x03", 9 },           /* three parameters */
    { "\x94\x00\x01\xa1x\x91\x01", 7 },                   /* a parameter that is no map */
    { "\x94\x00\xa1y\xa1x\x90", 7 },                      /* an id that is no number */
    { "\x93\x00\x01\xa1x", 5 },                           /* three elements */
    { "\x80", 1 },                                        /* a map */
    { "\x94\x00\x01\xa1x\x91\x81\xa1k\xd4\x01\x02", 12 }, /* an extension */
    { "\xdd\xff\xff\xff\xff", 5 },                        /* a count that would cost gigabytes */
    { "\x94\x00\xcc\x01\xa1x\x90", 7 }, /* a number in a longer form than needed */
};

Test(control, closes_a_client_that_sends_what_is_no_request)
{
    char code[64];
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int fd = rig_connect(&rig);
        rig_send(&rig, fd, broken[i].bytes, broken[i].len);
        cr_expect_str_eq(rig_error(&rig, fd, code), "closed", "case %zu", i);
        close(fd);
    }
    struct control_counts n;
    control_counts(rig.control, &n);
    cr_expect_eq(n.malformed, sizeof broken / sizeof broken[0]);
    cr_expect_eq(n.clients, 0u);
}

Test(control, closes_a_client_whose_message_is_too_long)
{
    static const uint8_t head[] = { 0x94, 0x00, 0x01, 0xdb, 0x00, 0x20, 0x00, 0x00 };
    static uint8_t body[CONTROL_MESSAGE_MAX + 65536 * 4];
    char code[64];
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, head, sizeof head);
    rig_send(&rig, fd, body, sizeof body);
    cr_expect_str_eq(rig_error(&rig, fd, code), "closed");
    close(fd);
}

Test(control, bounds_calls_in_flight_and_refuses_an_id_twice)
{
    char code[64];
    int fd = rig_connect(&rig);
    for (uint32_t i = 0; i < CONTROL_CALLS_MAX - 1; i++)
        rig_call(&rig, fd, i, "hold", NULL);
    rig_call(&rig, fd, 3, "hold", NULL);
    cr_expect_str_eq(rig_error(&rig, fd, code), "EEXIST");
    rig_call(&rig, fd, 100, "hold", NULL);
    rig_call(&rig, fd, 101, "hold", NULL);
    cr_expect_str_eq(rig_error(&rig, fd, code), "EFULL");
    cr_expect_eq(rig.n_held, (size_t)CONTROL_CALLS_MAX);
    close(fd);
    rig_turn(&rig);
    cr_expect_eq(rig.n_cancelled, (unsigned)CONTROL_CALLS_MAX);
}

Test(control, bounds_clients_and_says_so)
{
    int fds[CONTROL_CLIENTS_MAX];
    char code[64];
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        fds[i] = rig_connect(&rig);
    int extra = rig_connect(&rig);
    cr_expect_str_eq(rig_error(&rig, extra, code), "EFULL");
    cr_expect_str_eq(rig_error(&rig, extra, code), "closed");
    close(extra);
    close(fds[0]);
    rig_turn(&rig);
    extra = rig_connect(&rig);
    rig_call(&rig, extra, 1, "echo", "room");
    expect_echo(extra, 1, "room");
    close(extra);
    for (unsigned i = 1; i < CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
}

Test(control, closes_a_client_that_never_reads)
{
    struct control_counts n;
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 1, "flood", NULL);
    control_counts(rig.control, &n);
    cr_expect_eq(n.slow, 1u);
    cr_expect_eq(n.clients, 0u);
    cr_expect_eq(rig.n_cancelled, 1u);
    close(fd);
}

Test(control, ends_calls_in_flight_when_it_stops)
{
    char code[64];
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 1, "hold", NULL);
    control_stop_accepting(rig.control);
    rig_call(&rig, fd, 2, "echo", "late");
    cr_expect_str_eq(rig_error(&rig, fd, code), "ECANCELED");
    control_end(rig.control);
    cr_expect_str_eq(rig_error(&rig, fd, code), "ECANCELED");
    cr_expect_str_eq(rig_error(&rig, fd, code), "closed");
    cr_expect_eq(rig.n_cancelled, 1u);
    close(fd);
}

/* Replies to held call 0 with so much that only `room` bytes more may wait for the client. */
static void fill_up(const struct control_client *c, size_t room)
{
    static uint8_t block[CONTROL_REPLY_MAX];
    const size_t head = 4; /* [1, id, nil, ... */
    node_reply(rig.held[0], block, CONTROL_REPLY_MAX / 2);
    size_t waiting = c->out_len + env_stream_queued(rig.env, c->stream);
    node_reply(rig.held[1], block, CONTROL_REPLY_MAX - waiting - room - head);
}

static struct control_client *only_client(void)
{
    return container_of(rig.control->clients.next, struct control_client, node);
}

Test(control, cancels_the_calls_of_a_client_it_drops_only_when_the_stack_is_unwound)
{
    int fd = rig_connect(&rig);
    for (uint32_t i = 0; i < 4; i++)
        rig_call(&rig, fd, i, "hold", NULL);
    control_on_cancel(rig.held[0], NULL, NULL);
    control_on_cancel(rig.held[1], NULL, NULL);
    control_on_cancel(rig.held[2], NULL, NULL);
    fill_up(only_client(), 8);
    node_reply(rig.held[2], "\xa8too much", 9); /* whoever replies may be walking a list */
    cr_expect_eq(rig.n_cancelled, 0u);
    node_progress(rig.held[3], "\xc0", 1); /* the call is still there */
    rig_turn(&rig);
    cr_expect_eq(rig.n_cancelled, 1u);
    close(fd);
}

Test(control, ends_while_a_client_does_not_read)
{
    struct control_counts n;
    int fd = rig_connect(&rig);
    for (uint32_t i = 0; i < 3; i++)
        rig_call(&rig, fd, i, "hold", NULL);
    control_on_cancel(rig.held[0], NULL, NULL);
    control_on_cancel(rig.held[1], NULL, NULL);
    fill_up(only_client(), 8);
    control_stop_accepting(rig.control);
    control_end(rig.control); /* the error for the third call has no room */
    rig_turn(&rig);
    control_counts(rig.control, &n);
    cr_expect_eq(n.slow, 1u);
    cr_expect_eq(rig.n_cancelled, 1u);
    close(fd);
}

Test(control, says_in_good_utf8_which_method_is_not_there)
{
    char code[64], name[200] = "a"; /* two bytes a letter: the longest name ends inside one */
    for (size_t i = 0; i < 40; i++)
        memcpy(name + 1 + 2 * i, "\xc3\xa9", 3);
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 1, name, NULL);
    cr_expect_str_eq(rig_error(&rig, fd, code), "ENOENT");
    close(fd);
}

Test(control, follows_the_log)
{
    uint8_t buf[1024];
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    int fd = rig_connect(&rig);
    rig_call(&rig, fd, 9, "hold", NULL);
    control_follow_log(rig.held[0], 0, LOG_LEVEL_WARN);
    log_info(rig.log, "test", "not this one");
    log_warn(rig.log, "test", "this one");
    while (rig_receive(&rig, fd, buf, sizeof buf, &doc) < 0) {
    }
    const msgpack_object *item = doc.root.via.array.ptr;
    cr_assert_eq(doc.root.via.array.size, 3u);
    cr_expect(mp_is_str(&item[1], "log"));
    cr_expect(mp_is_str(mp_get(&item[2].via.array.ptr[1], "message"), "this one"));
    close(fd);
}

/* Another user's process: connects once the file lets it, and is told no by its credentials. */
static int as_nobody(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    char buf[512];
    memcpy(to.sun_path, path, strlen(path));
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 2;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return 3;
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    return n > 0 && memmem(buf, (size_t)n, "EPERM", 5) != NULL ? 0 : 4;
}

Test(control, refuses_another_user)
{
    int status = -1;
    if (geteuid() != 0)
        cr_skip_test("needs root to become somebody else");
    cr_assert_eq(chmod(rig.path, 0666), 0);
    cr_assert_eq(chmod(rig.dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(as_nobody(rig.path));
    while (waitpid(pid, &status, WNOHANG) == 0)
        rig_turn(&rig);
    cr_expect_eq(status, 0, "status %x", (unsigned)status);
    struct control_counts n;
    control_counts(rig.control, &n);
    cr_expect_eq(n.refused, 1u);
}
