/* onion/flow.c - datagram flows of a connection. A flow is a number that the client draws; it is
 * forgotten after a minute of silence. Spec: protocol.md, section 14, "Datagrams". */
#include <stdlib.h>

#include "onion/onion_internal.h"

static void flow_free(struct onion_flow *f)
{
    struct flows *all = f->of;
    list_del(&f->node);
    all->n--;
    free(f);
    if (all->lost != NULL)
        all->lost(all->arg);
}

static void flow_end(struct onion_flow *f, enum onion_fail why)
{
    void (*closed)(void *, enum onion_fail) = f->ev.closed;
    void *arg = f->arg;
    flow_free(f);
    if (closed != NULL)
        closed(arg, why);
}

/* In order of use: the first is idle for longest. */
static void look(struct env_timer *t, void *arg)
{
    struct flows *all = arg;
    uint64_t now = env_now_ns(all->o->env);
    while (!list_empty(&all->all)) {
        struct onion_flow *f = container_of(all->all.next, struct onion_flow, node);
        uint64_t end = f->used_ns + ENV_S(ONION__FLOW_IDLE_S);
        if (end > now) {
            env_timer_set(all->o->env, t, end);
            return;
        }
        flow_end(f, ONION_FAIL_NONE);
    }
}

static void used(struct onion_flow *f)
{
    struct flows *all = f->of;
    f->used_ns = env_now_ns(all->o->env);
    list_del(&f->node);
    list_push_back(&all->all, &f->node);
    if (!all->idle.is_set)
        env_timer_set(all->o->env, &all->idle, f->used_ns + ENV_S(ONION__FLOW_IDLE_S));
}

void flows__init(struct flows *all, struct onion *o)
{
    *all = (struct flows){ .o = o };
    list_init(&all->all);
    env_timer_init(&all->idle, look, all);
    all->next = (uint16_t)env_random_below(o->env, 65536);
}

void flows__end(struct flows *all, enum onion_fail why)
{
    all->conn = NULL;
    env_timer_stop(all->o->env, &all->idle);
    while (!list_empty(&all->all))
        flow_end(container_of(all->all.next, struct onion_flow, node), why);
    env_timer_stop(all->o->env, &all->idle);
}

static struct onion_flow *find(struct flows *all, uint16_t port, uint16_t number)
{
    list_each (node, &all->all) {
        struct onion_flow *f = container_of(node, struct onion_flow, node);
        if (f->port == port && f->number == number)
            return f;
    }
    return NULL;
}

static struct onion_flow *flow_new(struct flows *all, uint16_t port, uint16_t number)
{
    struct onion_flow *f = all->n < ONION__FLOWS ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return NULL;
    f->of = all;
    f->port = port;
    f->number = number;
    list_init(&f->node);
    all->n++;
    all->o->c.flows++;
    used(f);
    return f;
}

struct onion_flow *flows__open(struct flows *all, uint16_t port, const struct onion_flow_events *ev,
                               void *arg)
{
    while (find(all, port, all->next) != NULL)
        all->next++;
    struct onion_flow *f = flow_new(all, port, all->next++);
    if (f == NULL)
        return NULL;
    f->ev = *ev;
    f->arg = arg;
    return f;
}

void flows__judge(struct flows *all, bool (*may)(void *arg, uint16_t port), void *arg)
{
    for (bool found = true; found;) { /* users hear of it, and may end others */
        found = false;
        list_each (node, &all->all) {
            struct onion_flow *f = container_of(node, struct onion_flow, node);
            found = !may(arg, f->port);
            if (!found)
                continue;
            flow_end(f, ONION_FAIL_NO_PORT);
            break;
        }
    }
}

void flows__heard(struct flows *all, uint16_t port, uint16_t number, const uint8_t *data,
                  size_t len)
{
    struct onion_flow *f = find(all, port, number);
    if (f == NULL && all->began != NULL) {
        f = flow_new(all, port, number);
        if (f != NULL)
            all->began(all->arg, f);
        f = find(all, port, number); /* unless it was closed at once */
    }
    if (f == NULL)
        return;
    used(f);
    if (f->ev.datagram != NULL)
        f->ev.datagram(f->arg, data, len);
}

/* ---- what their users say
 * ------------------------------------------------------------------------ */

int onion_flow_send(struct onion_flow *f, const uint8_t *data, size_t len)
{
    if (len > ONION_DATAGRAM_MAX)
        return CYX_EINVAL;
    used(f);
    if (f->of->conn == NULL)
        return CYX_EAGAIN;
    int code = onion_conn_datagram(f->of->conn, f->port, f->number, data, len);
    return code == 0 ? 0 : CYX_EAGAIN;
}

void onion_flow_close(struct onion_flow *f)
{
    if (f != NULL)
        flow_free(f);
}

void onion_flow_attach(struct onion_flow *f, const struct onion_flow_events *ev, void *arg)
{
    f->ev = *ev;
    f->arg = arg;
}
