/* The client against a daemon that misbehaves: a thread behind a real socket sends what the test
 * says. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/cli/client.h"

struct fake {
    char dir[32], path[64];
    int listener;
    const uint8_t *answer;
    size_t len;
    bool stay; /* keep the connection open after the answer */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct fake *f = arg;
    uint8_t request[512];
    int fd = accept(f->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    if (recv(fd, request, sizeof request, 0) > 0)
        for (size_t i = 0; i < f->len; i++) /* a byte at a time: every split is tried */
            if (send(fd, f->answer + i, 1, MSG_NOSIGNAL) != 1)
                break;
    if (f->stay)
        (void)recv(fd, request, sizeof request, 0); /* until the client is gone */
    close(fd);
    return NULL;
}

static struct client *start(struct fake *f, const void *answer, size_t len, bool stay)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct cyx_err err = { 0 };
    *f = (struct fake){
        .dir = "/tmp/cyx-client-XXXXXX", .answer = answer, .len = len, .stay = stay
    };
    cr_assert_not_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(f->listener, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(f->listener, 1), 0);
    cr_assert_eq(pthread_create(&f->thread, NULL, serve, f), 0);
    struct client *c = client_open(f->path, &err);
    cr_assert_not_null(c, "%s", err.msg);
    return c;
}

static void stop(struct fake *f, struct client *c)
{
    client_close(c);
    pthread_join(f->thread, NULL);
    close(f->listener);
    unlink(f->path);
    rmdir(f->dir);
}

static int call(const void *answer, size_t len, bool stay, unsigned timeout_ms, uint64_t *value,
                struct cyx_err *err)
{
    struct fake f;
    const msgpack_object *r = NULL;
    struct client *c = start(&f, answer, len, stay);
    int rc = client_call(c, "m", NULL, 0, timeout_ms, NULL, NULL, &r, err);
    if (rc == 0 && value != NULL)
        cr_expect(mp_u64(r, value));
    stop(&f, c);
    return rc;
}

Test(client, reads_its_answer_behind_others_and_notices)
{
    /* [2, "log", [9, nil]], [1, 7, nil, 1], [1, 1, nil, 42] */
    static const uint8_t bytes[] = { 0x93, 2, 0xa3, 'l', 'o',  'g', 0x92, 9,    0xc0, 0x94,
                                     1,    7, 0xc0, 1,   0x94, 1,   1,    0xc0, 42 };
    struct cyx_err err = { 0 };
    uint64_t v = 0;
    cr_expect_eq(call(bytes, sizeof bytes, true, 5000, &v, &err), 0, "%s", err.msg);
    cr_expect_eq(v, 42u);
}

static bool add_up(void *arg, const char *kind, const msgpack_object *value)
{
    uint64_t v = 0;
    cr_expect_str_eq(kind, "log");
    cr_expect(mp_u64(value, &v));
    *(uint64_t *)arg += v;
    return v != 9;
}

/* [1, 1, nil, 42], [2, "log", [1, 3]], [2, "log", [7, 5]], [2, "log", [1, 4]] */
static const uint8_t followed[] = { 0x94, 1,    1, 0xc0, 42,  0x93, 2,   0xa3, 'l', 'o',  'g',
                                    0x92, 1,    3, 0x93, 2,   0xa3, 'l', 'o',  'g', 0x92, 7,
                                    5,    0x93, 2, 0xa3, 'l', 'o',  'g', 0x92, 1,   4 };

Test(client, follows_the_notices_behind_an_answer_until_the_daemon_ends)
{
    struct fake f;
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    uint64_t sum = 0;
    struct client *c = start(&f, followed, sizeof followed, false);
    cr_assert_eq(client_call(c, "log", NULL, 0, 5000, NULL, NULL, &r, &err), 0, "%s", err.msg);
    cr_expect_eq(client_follow(c, add_up, &sum, &err), CYX_ECLOSED);
    cr_expect_eq(sum, 7u, "not those of another call");
    stop(&f, c);
}

Test(client, hands_on_the_daemons_error)
{
    /* [1, 1, {"code": "EFULL", "message": "no\x1broom"}, nil] */
    static const uint8_t bytes[] = "\x94\x01\x01\x82\xa4"
                                   "code\xa5"
                                   "EFULL\xa7message\xa7no\x1broom\xc0";
    struct cyx_err err = { 0 };
    cr_expect_eq(call(bytes, sizeof bytes - 1, true, 5000, NULL, &err), CYX_EFULL);
    cr_expect_str_eq(err.msg, "no?room", "and nothing that drives a terminal");
}

Test(client, hands_on_why_the_daemon_turned_it_away)
{
    /* [1, 0, {"code": "EFULL", "message": "64 are here"}, nil], then the end */
    static const uint8_t bytes[] = "\x94\x01\x00\x82\xa4"
                                   "code\xa5"
                                   "EFULL\xa7message\xab"
                                   "64 are here\xc0";
    struct cyx_err err = { 0 };
    cr_expect_eq(call(bytes, sizeof bytes - 1, false, 5000, NULL, &err), CYX_EFULL);
    cr_expect_str_eq(err.msg, "64 are here");
}

Test(client, tells_a_closed_link_from_a_closed_daemon)
{
    /* [1, 1, {"code": "ECLOSED", "message": "no link"}, nil] */
    static const uint8_t bytes[] = "\x94\x01\x01\x82\xa4"
                                   "code\xa7"
                                   "ECLOSED\xa7message\xa7no link\xc0";
    struct cyx_err err = { 0 };
    cr_expect_eq(call(bytes, sizeof bytes - 1, true, 5000, NULL, &err), CYX_EIO);
    cr_expect_str_eq(err.msg, "no link");
}

Test(client, refuses_what_is_not_the_protocol)
{
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
        { "\x93\x01\x01\xc0", 4 },     /* an answer of three */
        { "\xc0", 1 },                 /* nil */
        { "\x94\x05\x01\xc0\xc0", 5 }, /* type 5 */
        { "\xdd\xff\xff\xff\xff", 5 }, /* four thousand million items */
        { "\xc1", 1 },                 /* never used in MessagePack */
        { "\x93\x02\xa1x\x01", 5 },    /* a notice without its call */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cyx_err err = { 0 };
        int rc = call(wrong[i].bytes, wrong[i].len, false, 5000, NULL, &err);
        cr_expect(rc == CYX_EPROTO || rc == CYX_ECLOSED, "case %zu: %d %s", i, rc, err.msg);
        cr_expect_neq(err.msg[0], '\0', "case %zu", i);
    }
}

Test(client, a_daemon_that_ends_or_sleeps_is_an_error)
{
    struct cyx_err err = { 0 };
    cr_expect_eq(call("\x94\x01", 2, false, 5000, NULL, &err), CYX_ECLOSED);
    cr_expect_eq(call("\x94\x01", 2, true, 20, NULL, &err), CYX_ETIMEDOUT);
}

Test(client, names_the_socket_nobody_listens_at)
{
    struct cyx_err err = { 0 };
    char longer[200];
    cr_expect_null(client_open("/tmp/cyx-nobody-here.sock", &err));
    cr_expect_eq(err.code, CYX_ENOENT);
    cr_expect_not_null(strstr(err.msg, "/tmp/cyx-nobody-here.sock"));
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    cr_expect_null(client_open(longer, &err));
    cr_expect_eq(err.code, CYX_EINVAL);
}
