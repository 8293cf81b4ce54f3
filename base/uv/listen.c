/* base/uv/listen.c - listeners for unix and TCP streams. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/uv/stream_internal.h"
#include "base/uv/udp_internal.h"

enum {
    LISTEN_BACKLOG = 128,
    LISTEN_RETRY_MS = 200, /* until memory is looked for again */
};

struct env_listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } h;
    struct env_uv *e;
    struct env_endpoint at;
    bool is_closing;
    bool has_file; /* a socket file of ours, by device and inode: removed at the end */
    dev_t dev;
    ino_t ino;
    struct env_timer retry;
    void (*accepted)(void *arg, struct env_stream *s);
    void *arg;
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

/* The file may be somebody else's by now (a newer process that found us stale). */
static void remove_file(struct env_listener *l)
{
    struct stat st;
    if (l->has_file && lstat(l->at.path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(l->at.path);
    l->has_file = false;
}

void env_uv__listener_close(struct env_listener *l)
{
    if (l->is_closing)
        return;
    l->is_closing = true;
    env_timer_stop(&l->e->base, &l->retry);
    remove_file(l);
    uv_close(&l->h.handle, on_closed);
}

static void on_connection(uv_stream_t *h, int status)
{
    struct env_listener *l = h->data;
    if (status < 0 || l->is_closing)
        return; /* out of descriptors, or a peer that left before it was accepted */
    struct env_stream *s = env_uv__stream_new(l->e, l->at.kind == ENV_UNIX);
    if (s == NULL) { /* libuv takes in nobody else before this one was accepted */
        env_timer_in(&l->e->base, &l->retry, ENV_MS(LISTEN_RETRY_MS));
        return;
    }
    if (uv_accept(h, &s->h.stream) < 0) {
        env_uv__stream_close(s);
        return;
    }
    if (!s->is_unix)
        (void)uv_tcp_nodelay(&s->h.tcp, 1);
    env_uv__stream_set_state(s, STREAM_OPEN);
    l->accepted(l->arg, s);
}

static void on_retry(struct env_timer *t, void *arg)
{
    (void)t;
    struct env_listener *l = arg;
    on_connection(&l->h.stream, 0);
}

static int bind_unix(struct env_listener *l, struct cyx_err *err)
{
    char why[64];
    struct stat st;
    int fd = env_uv__unix_socket();
    if (fd < 0)
        return cyx_fail(err, env_uv__code(errno), "unix socket: %s", env_uv__why(errno, why));
    int rc = env_uv__unix_bind(fd, &l->at, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    if (l->at.path[0] != '@' && lstat(l->at.path, &st) == 0) {
        l->has_file = true;
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    rc = uv_pipe_open(&l->h.pipe, fd);
    if (rc < 0) {
        close(fd);
        return cyx_fail(err, env_uv__code(rc), "%s: %s", l->at.path, env_uv__why(rc, why));
    }
    return 0;
}

static int bind_tcp(struct env_listener *l, struct cyx_err *err)
{
    struct udp_sockaddr sa;
    char text[ENV_ADDR_TEXT];
    char why[64];
    bool no_v6 = l->e->switches.no_ipv6 && env_uv__addr_is_any(&l->at.addr);
    int family = env_addr_is_v4(&l->at.addr) || no_v6 ? AF_INET : AF_INET6;
    (void)env_uv__to_sockaddr(&l->at.addr, family, &sa);
    int rc = uv_tcp_bind(&l->h.tcp, &sa.u.any, 0);
    if (rc == UV_EAFNOSUPPORT && env_uv__addr_is_any(&l->at.addr)) {
        (void)env_uv__to_sockaddr(&l->at.addr, AF_INET, &sa); /* a kernel without IPv6 */
        rc = uv_tcp_bind(&l->h.tcp, &sa.u.any, 0);
    }
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "bind %s: %s", env_addr_text(&l->at.addr, text),
                        env_uv__why(rc, why));
    return 0;
}

static int start(struct env_listener *l, struct cyx_err *err)
{
    char text[ENV_ADDR_TEXT];
    char why[64];
    int rc = l->at.kind == ENV_UNIX ? bind_unix(l, err) : bind_tcp(l, err);
    if (rc < 0)
        return rc;
    /* libuv reports a TCP address in use only here. */
    rc = uv_listen(&l->h.stream, LISTEN_BACKLOG, on_connection);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "listen on %s: %s",
                        l->at.kind == ENV_UNIX ? l->at.path : env_addr_text(&l->at.addr, text),
                        env_uv__why(rc, why));
    return 0;
}

int env_uv__listen(struct env *base, const struct env_endpoint *at,
                   void (*accepted)(void *arg, struct env_stream *s), void *arg,
                   struct env_listener **out, struct cyx_err *err)
{
    struct env_uv *e = env_uv_of(base);
    struct env_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a listener");
    l->e = e;
    l->at = *at;
    l->accepted = accepted;
    l->arg = arg;
    env_timer_init(&l->retry, on_retry, l);
    if (at->kind == ENV_UNIX)
        (void)uv_pipe_init(&e->loop, &l->h.pipe, 0);
    else
        (void)uv_tcp_init(&e->loop, &l->h.tcp);
    l->h.handle.data = l;
    int rc = start(l, err);
    if (rc < 0) {
        env_uv__listener_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

int env_uv__listener_addr(const struct env_listener *l, struct env_addr *out)
{
    struct udp_sockaddr sa;
    int len = sizeof sa.u;
    if (l->at.kind != ENV_TCP)
        return CYX_EUNSUPPORTED;
    if (uv_tcp_getsockname(&l->h.tcp, &sa.u.any, &len) < 0 ||
        !env_uv__from_sockaddr(&sa.u.any, out))
        return CYX_ECLOSED;
    return 0;
}
