/* base/uv/signal.c - signals as calls on the loop. */
#include "base/uv/env_uv_internal.h"

static void on_signal(uv_signal_t *h, int signum)
{
    (void)signum;
    struct env_uv_signal *s = container_of(h, struct env_uv_signal, handle);
    s->fn(s->arg);
}

int env_uv_on_signal(struct env *base, int signum, env_fn fn, void *arg, struct cyx_err *err)
{
    struct env_uv *e = env_uv_of(base);
    char why[64];
    if (e->n_signals == ENV_UV_SIGNALS_MAX)
        return cyx_fail(err, CYX_EFULL, "signal %d: at most %d signals can be watched", signum,
                        ENV_UV_SIGNALS_MAX);
    struct env_uv_signal *s = &e->signals[e->n_signals];
    *s = (struct env_uv_signal){ .fn = fn, .arg = arg };
    int rc = uv_signal_init(&e->loop, &s->handle);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "signal %d: %s", signum, env_uv__why(rc, why));
    s->handle.data = e;
    e->n_signals++; /* initialised: it must be closed, whatever comes next */
    rc = uv_signal_start(&s->handle, on_signal, signum);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "signal %d: %s", signum, env_uv__why(rc, why));
    return 0;
}
