/* onion/service.c - hidden endpoints of ours: begin, what they say of themselves, end. */
#include <stdlib.h>
#include <string.h>

#include "onion/service_internal.h"

/* ---- what it says of itself
 * ---------------------------------------------------------------------- */

static enum onion_service_state state_of(const struct onion_service *s)
{
    enum onion_service_state best = ONION_SERVICE_STARTING;
    for (unsigned i = 0; i < SERVICE__PERIODS; i++) {
        const struct service_period *p = &s->periods[i];
        enum onion_service_state now = ONION_SERVICE_STARTING;
        if (p->period == 0 || pivots__up(p) == 0)
            continue;
        now = ONION_SERVICE_PIVOTS;
        if (p->published_s != 0)
            now = p->was_seen ? ONION_SERVICE_READY : ONION_SERVICE_PUBLISHED;
        best = now > best ? now : best;
    }
    return best;
}

void onion_service_info(const struct onion_service *s, struct onion_service_info *out)
{
    *out = (struct onion_service_info){ .state = state_of(s),
                                        .pivots_wanted = s->n_pivots,
                                        .connections = s->n_visitors,
                                        .streams = s->n_streams,
                                        .accepted = s->accepted,
                                        .refused = s->refused,
                                        .trouble = s->trouble };
    memcpy(out->address, s->address, sizeof out->address);
    for (unsigned i = 0; i < SERVICE__PERIODS; i++) {
        const struct service_period *p = &s->periods[i];
        if (p->period == 0)
            continue;
        unsigned up = (unsigned)pivots__up(p);
        out->pivots = up > out->pivots ? up : out->pivots;
        out->effort = p->effort > out->effort ? p->effort : out->effort;
        out->published_s = p->published_s > out->published_s ? p->published_s : out->published_s;
    }
}

/* From the loop: the owner may close the service, or another. */
static void tell_owner(void *arg)
{
    struct onion_service *s = arg;
    struct onion_service_info info;
    enum onion_service_state now = state_of(s);
    if (now == s->state || s->is_closing)
        return;
    s->state = now;
    onion_service_info(s, &info);
    if (s->ev.changed != NULL)
        s->ev.changed(s->arg, &info);
}

void service__changed(struct onion_service *s)
{
    enum onion_service_state now = state_of(s);
    if (now >= ONION_SERVICE_READY)
        s->trouble = NULL;
    if (now != s->state && !s->is_closing)
        env_defer(s->o->env, &s->told);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void service_free(struct onion_service *s)
{
    env_task_cancel(&s->told);
    env_timer_stop(s->o->env, &s->leaving);
    list_del(&s->node);
    secret_free(s->seed);
    free(s->clients);
    secret_free(s);
}

/* Everything of it, now. */
static void service_end(struct onion_service *s)
{
    s->is_closing = true;
    visitors__end(s);
    periods__end(s);
    splices__end(s);
    service_free(s);
}

static void has_left(struct env_timer *t, void *arg)
{
    (void)t;
    service_end(arg);
}

static int check(struct onion *o, const struct onion_service_config *c, const uint8_t *address,
                 struct cyx_err *err)
{
    if (c->n_ports > ONION_PORTS_MAX || c->n_clients > ONION_CLIENTS_MAX ||
        c->pivots > ONION_PIVOTS_MAX || (c->hops != 0 && (c->hops < 3 || c->hops > 4)))
        return cyx_fail(err, CYX_EINVAL, "at most %d ports, %d clients, %d pivots; 3 or 4 hops",
                        ONION_PORTS_MAX, ONION_CLIENTS_MAX, ONION_PIVOTS_MAX);
    list_each (node, &o->services) {
        const struct onion_service *other = container_of(node, struct onion_service, node);
        if (memcmp(other->address, address, 32) == 0)
            return cyx_fail(err, CYX_EEXIST, "that address is served already");
    }
    return 0;
}

static int by_port(const void *a, const void *b)
{
    const struct onion_port *x = a, *y = b;
    return (x->port > y->port) - (x->port < y->port);
}

static int take_config(struct onion_service *s, const struct onion_service_config *c)
{
    s->seed = secret_alloc(ONION_SEED);
    s->clients = c->n_clients > 0 ? calloc(c->n_clients, 32) : NULL;
    if (s->seed == NULL || (c->n_clients > 0 && s->clients == NULL))
        return CYX_ENOMEM;
    memcpy(s->seed, c->seed, ONION_SEED);
    if (c->n_clients > 0)
        memcpy(s->clients, c->clients, c->n_clients * 32);
    s->n_clients = c->n_clients;
    if (c->n_ports > 0)
        memcpy(s->ports, c->ports, c->n_ports * sizeof c->ports[0]);
    s->n_ports = c->n_ports;
    qsort(s->ports, s->n_ports, sizeof s->ports[0], by_port);
    s->hops = c->hops != 0 ? c->hops : ONION_HOPS;
    s->n_pivots = c->pivots != 0 ? c->pivots : ONION_PIVOTS;
    return 0;
}

struct onion_service *onion_serve(struct onion *o, const struct onion_service_config *c,
                                  const struct onion_service_events *ev, void *arg,
                                  struct cyx_err *err)
{
    uint8_t address[32];
    onion_address_of_seed(address, c->seed);
    if (o->is_stopping) {
        cyx_fail(err, CYX_ECLOSED, "the node stops");
        return NULL;
    }
    if (check(o, c, address, err) < 0)
        return NULL;
    struct onion_service *s = secret_alloc(sizeof *s); /* owner secrets and tokens are in it */
    if (s == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a service");
        return NULL;
    }
    s->o = o;
    s->ev = *ev;
    s->arg = arg;
    memcpy(s->address, address, sizeof s->address);
    list_init(&s->node);
    list_init(&s->visitors);
    env_task_init(&s->told, tell_owner, s);
    env_timer_init(&s->leaving, has_left, s);
    if (take_config(s, c) < 0 || splices__init(s) < 0) {
        splices__end(s);
        service_free(s);
        cyx_fail(err, CYX_ENOMEM, "no memory for a service");
        return NULL;
    }
    list_push_back(&o->services, &s->node);
    publish__load(s);
    if (o->is_started)
        periods__tick(s);
    return s;
}

/* Its owner hears no more of it, and its address may be served anew. What is left goes on for a
 * moment, so that the last words of its connections get out; and whoever closes it from inside one
 * of its callbacks finds all as it was on return. */
static void leave(struct onion_service *s)
{
    s->is_closing = true;
    s->ev = (struct onion_service_events){ .stream = NULL };
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->periods[i].period != 0)
            publish__end(&s->periods[i]);
    visitors__leave(s);
}

void onion_service_close(struct onion_service *s)
{
    if (s == NULL)
        return;
    leave(s);
    list_del(&s->node);
    list_push_back(&s->o->leaving, &s->node);
    env_timer_in(s->o->env, &s->leaving, ENV_MS(ONION__LEAVE_MS));
}

static struct onion_service *staying(struct onion *o)
{
    list_each (node, &o->services) {
        struct onion_service *s = container_of(node, struct onion_service, node);
        if (!s->is_closing)
            return s;
    }
    return NULL;
}

static void end_list(struct list *services)
{
    while (!list_empty(services))
        service_end(container_of(services->next, struct onion_service, node));
}

void services__end(struct onion *o)
{
    end_list(&o->services);
    end_list(&o->leaving);
}

void services__leave(struct onion *o)
{
    struct onion_service *s;
    while ((s = staying(o)) != NULL) /* owners hear of their streams, and may close others */
        leave(s);
}

const struct onion_service *services__at(struct list *node)
{
    return container_of(node, struct onion_service, node);
}

void services__tick(struct onion *o)
{
    list_each_safe (node, &o->services)
        periods__tick(container_of(node, struct onion_service, node));
}
