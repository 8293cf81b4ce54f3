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

void service__changed(struct onion_service *s)
{
    struct onion_service_info info;
    enum onion_service_state now = state_of(s);
    if (now >= ONION_SERVICE_READY)
        s->trouble = NULL;
    if (now == s->state || s->is_closing)
        return;
    s->state = now;
    onion_service_info(s, &info);
    if (s->ev.changed != NULL)
        s->ev.changed(s->arg, &info);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void service_free(struct onion_service *s)
{
    list_del(&s->node);
    secret_free(s->seed);
    free(s->clients);
    free(s);
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
    if (check(o, c, address, err) < 0)
        return NULL;
    struct onion_service *s = calloc(1, sizeof *s);
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

void onion_service_close(struct onion_service *s)
{
    if (s == NULL)
        return;
    s->is_closing = true;
    visitors__end(s, ONION_CODE_LEAVING);
    periods__end(s);
    splices__end(s);
    service_free(s);
}

void services__end(struct onion *o)
{
    while (!list_empty(&o->services))
        onion_service_close(container_of(o->services.next, struct onion_service, node));
}

void services__leave(struct onion *o)
{
    list_each (node, &o->services) {
        struct onion_service *s = container_of(node, struct onion_service, node);
        s->is_closing = true;
        visitors__leave(s);
    }
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
