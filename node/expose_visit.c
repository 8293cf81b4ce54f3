/* A visitor's stream and the backend's. Timer: EXPOSE_CONNECT_MS until the backend answered; then
 * the bridge has its own. */
#include <stdlib.h>

#include "base/log.h"
#include "node/expose_internal.h"

struct visit {
    struct list node;
    struct expose_entry *entry;
    struct bridge *bridge;
    struct onion_stream *far; /* the bridge's */
    bool is_open;
    struct env_timer timer;
};

static struct env *env_of(const struct visit *v)
{
    return v->entry->expose->o.env;
}

static void visit_free(struct visit *v)
{
    list_del(&v->node);
    v->entry->n_visits--;
    env_timer_stop(env_of(v), &v->timer);
    free(v);
}

static enum onion_open_status status_of(int code)
{
    switch (code) {
    case CYX_ECLOSED: /* refused */
    case CYX_ENOENT:  /* no such socket */
        return ONION_OPEN_REFUSED;
    case CYX_ETIMEDOUT:
        return ONION_OPEN_TIMED_OUT;
    case CYX_EAGAIN: /* its backlog is full */
    case CYX_EFULL:
        return ONION_OPEN_BUSY;
    default:
        return ONION_OPEN_UNREACHABLE;
    }
}

static void refuse(struct expose_entry *e, struct onion_stream *far, enum onion_open_status why)
{
    e->refused++;
    e->expose->o.ops->refuse(far, why);
}

/* The backend said no. */
static void give_up(struct visit *v, int code)
{
    struct env_stream *local = NULL;
    struct onion_stream *far = NULL;
    log_info(env_of(v)->log, "expose", "%s: its backend can't be reached: %s", v->entry->spec.name,
             cyx_code_name(code));
    bridge_release(v->bridge, &local, &far);
    env_stream_close(env_of(v), local);
    if (far != NULL)
        refuse(v->entry, far, status_of(code));
    visit_free(v);
}

static void on_local_opened(void *arg, int code)
{
    struct visit *v = arg;
    if (code < 0) {
        give_up(v, code);
        return;
    }
    env_timer_stop(env_of(v), &v->timer);
    v->is_open = true;
    v->entry->accepted++;
    v->entry->expose->o.ops->accept(v->far);
    bridge_open(v->bridge);
}

/* The visitor left before the backend answered. */
static void on_far_failed(void *arg, enum onion_fail why)
{
    struct visit *v = arg;
    (void)why;
    bridge_destroy(v->bridge);
    visit_free(v);
}

static void on_ended(void *arg, const struct bridge_end *end)
{
    struct visit *v = arg;
    (void)end;
    bridge_destroy(v->bridge);
    visit_free(v);
}

static const struct bridge_events bridge_events = { .local_opened = on_local_opened,
                                                    .far_failed = on_far_failed,
                                                    .ended = on_ended };

static void on_timer(struct env_timer *t, void *arg)
{
    (void)t;
    give_up(arg, CYX_ETIMEDOUT);
}

static struct visit *visit_new(struct expose_entry *e)
{
    const struct bridge_options o = { .env = e->expose->o.env,
                                      .ops = e->expose->o.ops,
                                      .events = &bridge_events,
                                      .idle_ns = ENV_MS(EXPOSE_IDLE_MS) };
    struct visit *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    struct bridge_options own = o;
    own.arg = v;
    v->entry = e;
    v->bridge = bridge_create(&own);
    if (v->bridge == NULL) {
        free(v);
        return NULL;
    }
    env_timer_init(&v->timer, on_timer, v);
    list_push_back(&e->visits, &v->node);
    e->n_visits++;
    return v;
}

void expose__on_stream(void *arg, struct onion_stream *s, uint16_t port)
{
    struct expose_entry *e = arg;
    struct cyx_err err = { 0 };
    const struct expose_port *p = expose__port(e, port, ONION_PORT_STREAM);
    if (p == NULL) {
        refuse(e, s, ONION_OPEN_NO_PORT);
        return;
    }
    struct visit *v = e->n_visits < EXPOSE_VISITS_MAX ? visit_new(e) : NULL;
    if (v == NULL) {
        refuse(e, s, ONION_OPEN_BUSY);
        return;
    }
    v->far = s;
    bridge_take_far(v->bridge, s);
    int rc = bridge_connect(v->bridge, &p->to, &err);
    if (rc < 0)
        give_up(v, rc);
    else
        env_timer_in(env_of(v), &v->timer, ENV_MS(EXPOSE_CONNECT_MS));
}

void expose__drop_visits(struct expose_entry *e)
{
    while (!list_empty(&e->visits)) {
        struct visit *v = container_of(e->visits.next, struct visit, node);
        bridge_destroy(v->bridge);
        visit_free(v);
    }
}
