/* base/uv/stream.c - unix and TCP streams over libuv: reading, writing with a bounded queue, ends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/uv/stream_internal.h"
#include "base/uv/udp_internal.h"

struct write_req {
    uv_write_t req;
    struct env_stream *s;
    size_t len;
    uint8_t bytes[];
};

/* The only writer of `state` after creation. */
void env_uv__stream_set_state(struct env_stream *s, enum stream_state state)
{
    s->state = state;
    env_uv__stream_update_reading(s);
}

struct env_stream *env_uv__stream_new(struct env_uv *e, bool is_unix)
{
    if (e->stream_buf == NULL)
        e->stream_buf = malloc(ENV_UV_STREAM_BUF);
    struct env_stream *s = e->switches.no_stream_memory ? NULL : calloc(1, sizeof *s);
    if (s == NULL || e->stream_buf == NULL) {
        free(s);
        return NULL;
    }
    s->e = e;
    s->is_unix = is_unix;
    env_task_init(&s->late_task, NULL, s);
    /* Neither fails without flags: no descriptor is made yet. */
    if (is_unix)
        (void)uv_pipe_init(&e->loop, &s->h.pipe, 0);
    else
        (void)uv_tcp_init(&e->loop, &s->h.tcp);
    s->h.handle.data = s;
    return s;
}

/* The stream failed: says so once. The owner closes it, perhaps inside this call. */
static void die(struct env_stream *s, int code)
{
    if (s->state != STREAM_OPEN)
        return;
    env_uv__stream_set_state(s, STREAM_DEAD);
    if (s->events != NULL)
        s->events->closed(s->arg, code);
}

/* One buffer for all streams: libuv calls on_read right after on_alloc. */
static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct env_stream *s = h->data;
    *buf = uv_buf_init((char *)s->e->stream_buf, ENV_UV_STREAM_BUF);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct env_stream *s = h->data;
    if (n > 0) {
        s->events->data(s->arg, (uint8_t *)buf->base, (size_t)n);
    } else if (n == UV_EOF) {
        s->at_eof = true;
        env_uv__stream_update_reading(s);
        s->events->data(s->arg, s->e->stream_buf, 0);
    } else if (n < 0) {
        die(s, env_uv__code((int)n));
    }
}

void env_uv__stream_update_reading(struct env_stream *s)
{
    bool want = s->state == STREAM_OPEN && s->events != NULL && !s->is_paused && !s->at_eof;
    if (want == s->is_reading || s->state == STREAM_CLOSING)
        return;
    s->is_reading = want;
    if (want)
        (void)uv_read_start(&s->h.stream, on_alloc, on_read); /* fails only on closing handles */
    else
        (void)uv_read_stop(&s->h.stream);
}

void env_uv__stream_attach(struct env_stream *s, const struct env_stream_events *events, void *arg)
{
    s->events = events;
    s->arg = arg;
    env_uv__stream_update_reading(s);
}

void env_uv__stream_pause(struct env_stream *s, bool paused)
{
    s->is_paused = paused;
    env_uv__stream_update_reading(s);
}

static void on_written(uv_write_t *req, int status)
{
    struct write_req *w = container_of(req, struct write_req, req);
    struct env_stream *s = w->s;
    s->n_queued -= w->len;
    free(w);
    if (status < 0) {
        die(s, env_uv__code(status));
        return;
    }
    if (s->n_queued == 0 && s->state == STREAM_OPEN && s->events != NULL &&
        s->events->drained != NULL)
        s->events->drained(s->arg);
}

static int queue_write(struct env_stream *s, const uint8_t *data, size_t len)
{
    struct write_req *w = s->e->switches.no_write_memory ? NULL : malloc(sizeof *w + len);
    if (w == NULL)
        return CYX_ENOMEM;
    w->s = s;
    w->len = len;
    memcpy(w->bytes, data, len);
    uv_buf_t buf = uv_buf_init((char *)w->bytes, (unsigned)len);
    if (uv_write(&w->req, &s->h.stream, &buf, 1, on_written) < 0) {
        free(w);
        return CYX_ECLOSED;
    }
    s->n_queued += len;
    return 0;
}

static void on_torn(void *arg)
{
    struct env_stream *s = arg;
    die(s, s->late_code);
}

/* Part of a write is out and the rest can't follow: nothing may be written behind it. The owner
 * hears of it at the end of the turn. */
static int tear(struct env_stream *s, int code)
{
    s->has_ended = true;
    s->late_code = code;
    env_task_init(&s->late_task, on_torn, s);
    env_uv__defer(&s->e->base, &s->late_task);
    return CYX_ECLOSED;
}

int env_uv__stream_write(struct env_stream *s, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    bool is_torn = false;
    if (s->state == STREAM_DEAD || s->state == STREAM_CLOSING || s->has_ended)
        return CYX_ECLOSED;
    if (len == 0)
        return 0;
    if (len > ENV_STREAM_QUEUE_MAX || s->n_queued + len > ENV_STREAM_QUEUE_MAX)
        return CYX_EFULL;
    if (s->state == STREAM_OPEN && s->n_queued == 0) {
        /* Most writes fit into the socket: no copy. An error shows again in uv_write, whose
         * callback reports it from the loop. */
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
        int n = uv_try_write(&s->h.stream, &buf, 1);
        if (n == (int)len)
            return 0;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
            is_torn = true;
        }
    }
    int rc = queue_write(s, bytes, len);
    return rc < 0 && is_torn ? tear(s, rc) : rc;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* a failure shows in the reads and writes */
}

void env_uv__stream_end(struct env_stream *s)
{
    if (s->has_ended || s->state == STREAM_DEAD || s->state == STREAM_CLOSING)
        return;
    s->has_ended = true;
    if (s->state == STREAM_OPEN) /* while opening, the end is sent when it is open */
        (void)uv_shutdown(&s->shutdown_req, &s->h.stream, on_shutdown);
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void env_uv__stream_close(struct env_stream *s)
{
    if (s->state == STREAM_CLOSING)
        return;
    s->state = STREAM_CLOSING; /* not through set_state: uv_close stops reading by itself */
    env_task_cancel(&s->late_task);
    uv_close(&s->h.handle, on_closed);
}

/* No linger: the kernel throws away what is queued and sends RST. A failing setsockopt (the
 * connection is gone already) changes nothing. */
void env_uv__stream_reset(struct env_stream *s)
{
    const struct linger none = { .l_onoff = 1, .l_linger = 0 };
    uv_os_fd_t fd;
    if (!s->is_unix && s->state != STREAM_CLOSING && uv_fileno(&s->h.handle, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    env_uv__stream_close(s);
}

size_t env_uv__stream_queued(const struct env_stream *s)
{
    return s->n_queued;
}

int env_uv__stream_cred(const struct env_stream *s, struct env_cred *out)
{
    uv_os_fd_t fd;
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (!s->is_unix)
        return CYX_EUNSUPPORTED;
    if (uv_fileno(&s->h.handle, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return CYX_ECLOSED;
    *out = (struct env_cred){ .uid = cred.uid, .gid = cred.gid, .pid = cred.pid };
    return 0;
}

int env_uv__stream_peer(const struct env_stream *s, struct env_addr *out)
{
    struct udp_sockaddr sa;
    int len = sizeof sa.u;
    if (s->is_unix)
        return CYX_EUNSUPPORTED;
    if (uv_tcp_getpeername(&s->h.tcp, &sa.u.any, &len) < 0 ||
        !env_uv__from_sockaddr(&sa.u.any, out))
        return CYX_ECLOSED;
    return 0;
}
