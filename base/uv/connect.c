/* base/uv/connect.c - streams that we open. */
#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/uv/stream_internal.h"
#include "base/uv/udp_internal.h"

/* Brings the result to the owner, who may close the stream inside. */
static void opened(struct env_stream *s, int code)
{
    if (s->state != STREAM_OPENING)
        return;
    bool has_ended = s->has_ended;
    env_uv__stream_set_state(s, code == 0 ? STREAM_OPEN : STREAM_DEAD);
    if (code == 0 && has_ended) { /* "write, end" before it was open */
        s->has_ended = false;
        env_uv__stream_end(s);
    }
    if (s->events->opened != NULL)
        s->events->opened(s->arg, code);
}

static void on_unix_opened(void *arg)
{
    struct env_stream *s = arg;
    opened(s, s->late_code);
}

static void on_tcp_opened(uv_connect_t *req, int status)
{
    opened(req->data, env_uv__code(status));
}

/* The kernel decides at once about a unix connection (a full backlog is EAGAIN); the owner hears of
 * it at the end of the turn, as of any other. libuv's own call knows no abstract names. */
static int connect_unix(struct env_stream *s, const struct env_endpoint *to, struct cyx_err *err)
{
    struct sockaddr_un sa;
    unsigned len = 0;
    char why[64];
    if (env_uv__unix_addr(to, &sa, &len, err) < 0)
        return CYX_EINVAL;
    int fd = env_uv__unix_socket();
    if (fd < 0)
        return cyx_fail(err, env_uv__code(errno), "unix socket: %s", env_uv__why(errno, why));
    if (connect(fd, (const struct sockaddr *)&sa, len) < 0) {
        s->late_code = env_uv__code(errno);
        close(fd);
    } else {
        int rc = uv_pipe_open(&s->h.pipe, fd);
        if (rc < 0) {
            close(fd);
            return cyx_fail(err, env_uv__code(rc), "%s: %s", to->path, env_uv__why(rc, why));
        }
    }
    env_task_init(&s->late_task, on_unix_opened, s);
    env_uv__defer(&s->e->base, &s->late_task);
    return 0;
}

static int connect_tcp(struct env_stream *s, const struct env_endpoint *to, struct cyx_err *err)
{
    struct udp_sockaddr sa;
    char text[ENV_ADDR_TEXT];
    char why[64];
    int family = env_addr_is_v4(&to->addr) ? AF_INET : AF_INET6;
    (void)env_uv__to_sockaddr(&to->addr, family, &sa); /* the family was chosen to fit */
    s->connect_req.data = s;
    int rc = uv_tcp_connect(&s->connect_req, &s->h.tcp, &sa.u.any, on_tcp_opened);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "connect %s: %s", env_addr_text(&to->addr, text),
                        env_uv__why(rc, why));
    (void)uv_tcp_nodelay(&s->h.tcp, 1);
    return 0;
}

int env_uv__connect(struct env *base, const struct env_endpoint *to,
                    const struct env_stream_events *events, void *arg, struct env_stream **out,
                    struct cyx_err *err)
{
    struct env_stream *s = env_uv__stream_new(env_uv_of(base), to->kind == ENV_UNIX);
    if (s == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a stream");
    s->events = events;
    s->arg = arg;
    int rc = s->is_unix ? connect_unix(s, to, err) : connect_tcp(s, to, err);
    if (rc < 0) {
        env_uv__stream_close(s);
        return rc;
    }
    *out = s;
    return 0;
}
