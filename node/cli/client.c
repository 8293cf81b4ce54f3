#include "node/cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "node/cli/show.h"

/* The daemon sends at most 16 MiB (docs/control.md). */
enum { CLIENT_MESSAGE_MAX = 17 << 20, CLIENT_READ = 65536, REQUEST_HEAD_MAX = 128 };

/* Our own daemon's answers: as deep as requests may be, but a list of all links is long. */
static const struct mp_rules answer_rules = {
    .depth_max = MP_LOCAL_DEPTH_MAX,
    .items_max = CLIENT_MESSAGE_MAX,
    .allow_float = true,
    .any_key_order = true,
};

struct client {
    int fd;
    uint32_t next_id;
    uint8_t *buf; /* bytes received and not yet used */
    size_t len, cap;
    size_t message; /* length of the message `doc` borrows from, at the front of buf */
    struct mp_doc doc;
};

/* Says why nobody answers, in words that lead to the cure. */
static int connect_error(const char *path, struct cyx_err *err)
{
    switch (errno) {
    case ENOENT:
    case ECONNREFUSED:
        return cyx_fail(err, CYX_ENOENT,
                        "no daemon listens at %s: start cyxd, or name its socket with --control",
                        path);
    case EACCES:
        return cyx_fail(err, CYX_EPERM,
                        "no permission for %s: be root, the daemon's user, or in its control group",
                        path);
    default:
        return cyx_fail(err, CYX_EIO, "connect %s: %s", path, strerror(errno));
    }
}

struct client *client_open(const char *path, struct cyx_err *err)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = strlen(path);
    if (n >= sizeof to.sun_path) {
        cyx_fail(err, CYX_EINVAL, "%s: a socket's path has at most %zu bytes", path,
                 sizeof to.sun_path - 1);
        return NULL;
    }
    memcpy(to.sun_path, path, n + 1);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) < 0) {
        connect_error(path, err);
        return NULL;
    }
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory");
        return NULL;
    }
    c->fd = steal_fd(&fd);
    return c;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    mp_doc_fini(&c->doc);
    close(c->fd);
    free(c->buf);
    free(c);
}

static int send_all(struct client *c, const void *data, size_t len, struct cyx_err *err)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cyx_fail(err, CYX_ECLOSED, "the daemon closed the connection");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_request(struct client *c, uint32_t id, const char *method, const void *params,
                        size_t params_len, struct cyx_err *err)
{
    uint8_t head[REQUEST_HEAD_MAX];
    struct writer w = writer_on(head, sizeof head);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_uint8(&pk, 0);
    msgpack_pack_uint32(&pk, id);
    mp_pack_str(&pk, method);
    msgpack_pack_array(&pk, 1);
    if (params == NULL)
        msgpack_pack_map(&pk, 0);
    if (!writer_ok(&w))
        return cyx_fail(err, CYX_EINVAL, "%s: the method's name is too long", method);
    int rc = send_all(c, head, writer_len(&w), err);
    return rc != 0 || params == NULL ? rc : send_all(c, params, params_len, err);
}

/* Waits for bytes and appends them. */
static int receive_more(struct client *c, unsigned timeout_ms, struct cyx_err *err)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    int ready;
    do /* a window that changes its size under `cyx top` interrupts and ends nothing */
        ready = poll(&p, 1, timeout_ms == 0 ? -1 : (int)timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return cyx_fail(err, CYX_EIO, "poll: %s", strerror(errno));
    if (ready == 0)
        return cyx_fail(err, CYX_ETIMEDOUT, "the daemon did not answer within %u s",
                        timeout_ms / 1000);
    if (c->cap - c->len < CLIENT_READ) {
        uint8_t *grown =
            c->cap < CLIENT_MESSAGE_MAX ? realloc(c->buf, c->cap + 4 * CLIENT_READ) : NULL;
        if (grown == NULL)
            return cyx_fail(err, CYX_EFULL, "the daemon's answer is too large");
        c->buf = grown;
        c->cap += 4 * CLIENT_READ;
    }
    ssize_t n = recv(c->fd, c->buf + c->len, CLIENT_READ, 0);
    if (n <= 0)
        return cyx_fail(err, CYX_ECLOSED, "the daemon closed the connection");
    c->len += (size_t)n;
    return 0;
}

/* Leaves the next whole message in c->doc. */
static int next_message(struct client *c, unsigned timeout_ms, struct cyx_err *err)
{
    mp_doc_fini(&c->doc);
    c->doc = (struct mp_doc){ 0 };
    if (c->message > 0)
        memmove(c->buf, c->buf + c->message, c->len - c->message);
    c->len -= c->message;
    c->message = 0;
    struct mp_scan scan;
    mp_scan_init(&scan);
    for (;;) {
        enum drop d = mp_scan_more(&scan, c->buf, c->len, &answer_rules);
        if (d == DROP_NONE) {
            c->message = scan.at;
            d = mp_parse(&c->doc, c->buf, scan.at, &answer_rules);
        }
        if (d == DROP_NONE)
            return 0;
        if (d != DROP_SHORT || c->message > 0)
            return cyx_fail(err, CYX_EPROTO, "the daemon's answer is malformed (%s)", drop_name(d));
        int rc = receive_more(c, timeout_ms, err);
        if (rc != 0)
            return rc;
    }
}

static int code_from_name(const msgpack_object *name)
{
    for (int code = CYX_EUNSUPPORTED; code < 0; code++)
        if (name != NULL && mp_is_str(name, cyx_code_name(code)))
            return code;
    return CYX_EIO;
}

static int daemon_error(const msgpack_object *error, struct cyx_err *err)
{
    const char *text = "the daemon refused";
    char clean[sizeof err->msg];
    size_t len = strlen(text);
    int code = code_from_name(mp_get(error, "code"));
    if (code == CYX_ECLOSED) /* of something behind the daemon; here it is the daemon's own end */
        code = CYX_EIO;
    mp_str(mp_get(error, "message"), &text, &len);
    return cyx_fail(err, code, "%s", show_clean(text, len, clean, sizeof clean));
}

/* What a message is to the call with `id`. */
enum meaning { MEANS_ANSWER, MEANS_NOTICE, MEANS_OTHER, MEANS_NONSENSE };

static enum meaning read_message(const struct client *c, uint32_t id, const msgpack_object **items)
{
    const msgpack_object *root = &c->doc.root;
    uint64_t type = 0, of = 0;
    if (root->type != MSGPACK_OBJECT_ARRAY || root->via.array.size < 3)
        return MEANS_NONSENSE;
    const msgpack_object *a = root->via.array.ptr;
    *items = a;
    if (!mp_u64(&a[0], &type))
        return MEANS_NONSENSE;
    /* No call of ours has the id 0: the daemon turns the whole connection away. */
    if (type == 1 && root->via.array.size == 4 && mp_u64(&a[1], &of))
        return of == id || (of == 0 && a[2].type != MSGPACK_OBJECT_NIL) ? MEANS_ANSWER
                                                                        : MEANS_OTHER;
    if (type != 2 || a[2].type != MSGPACK_OBJECT_ARRAY || a[2].via.array.size != 2)
        return MEANS_NONSENSE;
    return mp_u64(&a[2].via.array.ptr[0], &of) && of == id ? MEANS_NOTICE : MEANS_OTHER;
}

static bool pass_notice(const msgpack_object *items, client_notify_fn notify, void *arg)
{
    char kind[32];
    const char *name = "";
    size_t len = 0;
    if (notify == NULL || !mp_str(&items[1], &name, &len) || len >= sizeof kind)
        return true;
    memcpy(kind, name, len);
    kind[len] = '\0';
    return notify(arg, kind, &items[2].via.array.ptr[1]);
}

int client_call(struct client *c, const char *method, const void *params, size_t params_len,
                unsigned timeout_ms, client_notify_fn notify, void *arg,
                const msgpack_object **result, struct cyx_err *err)
{
    uint32_t id = ++c->next_id;
    int rc = send_request(c, id, method, params, params_len, err);
    if (rc == CYX_ECLOSED)
        rc = 0; /* it may have said why before it closed */
    while (rc == 0) {
        const msgpack_object *items = NULL;
        rc = next_message(c, timeout_ms, err);
        if (rc != 0)
            break;
        switch (read_message(c, id, &items)) {
        case MEANS_ANSWER:
            if (items[2].type != MSGPACK_OBJECT_NIL)
                return daemon_error(&items[2], err);
            *result = &items[3];
            return 0;
        case MEANS_NOTICE:
            if (!pass_notice(items, notify, arg))
                return cyx_fail(err, CYX_ECANCELED, "interrupted");
            break;
        case MEANS_OTHER:
            break;
        case MEANS_NONSENSE:
            return cyx_fail(err, CYX_EPROTO, "the daemon's answer is not MessagePack-RPC");
        }
    }
    return rc;
}

int client_follow(struct client *c, client_notify_fn notify, void *arg, struct cyx_err *err)
{
    for (;;) {
        const msgpack_object *items = NULL;
        int rc = next_message(c, 0, err);
        if (rc != 0)
            return rc;
        switch (read_message(c, c->next_id, &items)) {
        case MEANS_NOTICE:
            if (!pass_notice(items, notify, arg))
                return cyx_fail(err, CYX_ECANCELED, "interrupted");
            break;
        case MEANS_ANSWER: /* a second one is nobody's */
        case MEANS_OTHER:
            break;
        case MEANS_NONSENSE:
            return cyx_fail(err, CYX_EPROTO, "the daemon's answer is not MessagePack-RPC");
        }
    }
}
