/* onion/visit_dial.c - a stream or a flow to an address: which visit carries it. */
#include "onion/visit_internal.h"

static bool is_full(const struct visit *v)
{
    return v == NULL || v->n_streams >= VISIT__STREAMS;
}

struct onion_stream *onion_dial(struct onion *o, const struct onion_target *to,
                                const struct onion_stream_events *ev, void *arg,
                                struct cyx_err *err)
{
    if (onion__is_on(o, err) < 0)
        return NULL;
    struct visit *v = visit__get(o, to->address, &to->isolation);
    struct onion_stream *s = !is_full(v) ? stream__new(o, to->port, ev, arg) : NULL;
    if (s == NULL) {
        cyx_fail(err, is_full(v) ? CYX_EFULL : CYX_ENOMEM, "no more than %d connections at once",
                 ONION__VISITS);
        if (v != NULL)
            visit__lost_user(v);
        return NULL;
    }
    s->waits = to->wait_for_answer;
    visit__add_stream(v, s);
    return s;
}

struct onion_flow *onion_flow_open(struct onion *o, const struct onion_target *to,
                                   const struct onion_flow_events *ev, void *arg,
                                   struct cyx_err *err)
{
    if (onion__is_on(o, err) < 0)
        return NULL;
    struct visit *v = visit__get(o, to->address, &to->isolation);
    bool has_port = v == NULL || !v->has_descriptor || visit__takes_datagrams(v, to->port);
    struct onion_flow *f = v != NULL && has_port ? flows__open(&v->flows, to->port, ev, arg) : NULL;
    if (f != NULL) {
        env_timer_stop(o->env, &v->idle);
        return f;
    }
    cyx_fail(err, has_port ? CYX_EFULL : CYX_ENOENT, "%s",
             has_port ? "too many flows at once" : onion_fail_text(ONION_FAIL_NO_PORT));
    if (v != NULL)
        visit__lost_user(v);
    return NULL;
}
