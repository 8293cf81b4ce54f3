#include "control_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/uv/env_uv.h"

static void echo(void *state, struct node_call *call, const msgpack_object *params)
{
    const char *text = "";
    size_t len = 0;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)state;
    (void)mp_str(mp_get(params, "text"), &text, &len);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_str(&pk, len);
    msgpack_pack_str_body(&pk, text, len);
    control_reply_buf(call, &buf);
}

static void on_cancelled(void *arg)
{
    ((struct rig *)arg)->n_cancelled++;
}

static void hold(void *state, struct node_call *call, const msgpack_object *params)
{
    struct rig *r = state;
    (void)params;
    cr_assert_lt(r->n_held, 64u);
    r->held[r->n_held++] = call;
    control_on_cancel(call, on_cancelled, r);
}

static void flood(void *state, struct node_call *call, const msgpack_object *params)
{
    static uint8_t block[65536 + 5] = { 0xc6, 0, 1, 0, 0 }; /* bin 32 */
    (void)params;
    control_on_cancel(call, on_cancelled, state);
    for (unsigned i = 0; i < 1024; i++)
        node_progress(call, block, sizeof block);
}

static bool find(void *arg, const char *name, size_t len, struct control_target *out)
{
    static const struct {
        const char *name;
        node_method_fn fn;
    } all[] = { { "echo", echo }, { "hold", hold }, { "flood", flood } };
    for (size_t i = 0; i < 3; i++) {
        if (strlen(all[i].name) == len && memcmp(all[i].name, name, len) == 0) {
            *out = (struct control_target){ .fn = all[i].fn, .state = arg };
            return true;
        }
    }
    return false;
}

void rig_start(struct rig *r)
{
    struct cyx_err err = { 0 };
    struct log_options lo = { .level = LOG_LEVEL_INFO, .fd = -1, .ring_lines = LOG_RING_LINES };
    *r = (struct rig){ .dir = "/tmp/cyx-control-XXXXXX" };
    cr_assert_not_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/control.sock", r->dir);
    r->log = log_create(&lo);
    r->env = env_uv_create(&(struct env_uv_options){ .log = r->log }, &err);
    cr_assert_not_null(r->env, "%s", err.msg);
    struct control_options o = {
        .env = r->env, .path = r->path, .uid = geteuid(), .find = find, .arg = r
    };
    r->control = control_create(&o, &err);
    cr_assert_not_null(r->control, "%s", err.msg);
}

void rig_stop(struct rig *r)
{
    control_destroy(r->control);
    env_uv_destroy(r->env);
    log_destroy(r->log);
    unlink(r->path);
    rmdir(r->dir);
}

static void on_timer(struct env_timer *t, void *arg)
{
    (void)t;
    env_uv_stop(arg);
}

void rig_turn(struct rig *r)
{
    struct env_timer t;
    for (unsigned i = 0; i < 4; i++) {
        env_timer_init(&t, on_timer, r->env);
        env_timer_in(r->env, &t, 0);
        env_uv_run(r->env);
    }
}

int rig_connect(struct rig *r)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", r->path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "%s", strerror(errno));
    rig_turn(r);
    return fd;
}

void rig_send(struct rig *r, int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (unsigned idle = 0; len > 0 && idle < 1000; rig_turn(r)) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE)
            return; /* closed under our hands: the test looks at that */
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    rig_turn(r);
}

size_t rig_request(uint8_t *out, size_t cap, uint32_t id, const char *method, const char *text)
{
    struct writer w = writer_on(out, cap);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 0);
    msgpack_pack_uint32(&pk, id);
    mp_pack_str(&pk, method);
    msgpack_pack_array(&pk, text != NULL ? 1 : 0);
    if (text != NULL) {
        msgpack_pack_map(&pk, 1);
        mp_pack_str(&pk, "text");
        mp_pack_str(&pk, text);
    }
    cr_assert(writer_ok(&w));
    return writer_len(&w);
}

void rig_call(struct rig *r, int fd, uint32_t id, const char *method, const char *text)
{
    uint8_t buf[512];
    rig_send(r, fd, buf, rig_request(buf, sizeof buf, id, method, text));
}

int rig_receive(struct rig *r, int fd, uint8_t *buf, size_t cap, struct mp_doc *doc)
{
    size_t len = 0, used = 0;
    *doc = (struct mp_doc){ .has_zone = false };
    for (unsigned i = 0; i < 1000; i++) {
        /* Byte by byte: what follows stays in the socket. */
        ssize_t n = recv(fd, buf + len, 1, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n < 0) {
            rig_turn(r);
            continue;
        }
        i = 0;
        cr_assert_lt(++len, cap);
        if (mp_span(buf, len, &mp_local_rules, &used) == DROP_NONE)
            return mp_parse(doc, buf, used, &mp_local_rules) == DROP_NONE ? 1 : -1;
    }
    return -1;
}

const char *rig_error(struct rig *r, int fd, char out[static 64])
{
    uint8_t buf[4096];
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    const char *s = "";
    size_t len = 0;
    int rc = rig_receive(r, fd, buf, sizeof buf, &doc);
    snprintf(out, 64, "%s", rc == 0 ? "closed" : "nothing");
    if (rc == 1) {
        cr_assert_eq(doc.root.via.array.size, 4u);
        (void)mp_str(mp_get(&doc.root.via.array.ptr[2], "code"), &s, &len);
        snprintf(out, 64, "%.*s", (int)len, s);
    }
    return out;
}
