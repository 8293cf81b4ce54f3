/* onion/service_splice.c - cells of registrations: which splice they belong to, under a number of
 * our own that is unique over all pivots, and whose connection (onion/conns.h) that leads to. Spec:
 * protocol.md, section 11, "DATA". */
#include <stdlib.h>
#include <string.h>

#include "onion/service_internal.h"

struct wire_key {
    uint8_t token[ONION_TOKEN];
    uint32_t wire;
};

static struct wire_key key_of(const struct service_pivot *v, uint32_t wire)
{
    struct wire_key k;
    memset(&k, 0, sizeof k);
    memcpy(k.token, v->token, sizeof k.token);
    k.wire = wire;
    return k;
}

static void splice_free(struct onion_service *s, struct service_splice *x)
{
    struct wire_key key = key_of(x->at, x->wire);
    map_del(s->by_wire, &key);
    map_del(s->by_number, &x->number);
    x->at->n_splices--;
    free(x);
}

static struct service_splice *splice_get(struct service_pivot *v, uint32_t wire)
{
    struct onion_service *s = v->p->s;
    struct wire_key key = key_of(v, wire);
    struct service_splice *x = map_get(s->by_wire, &key);
    if (x != NULL)
        return x;
    x = pivot__may_splice(v) ? calloc(1, sizeof *x) : NULL;
    if (x == NULL)
        return NULL;
    do {
        x->number = ++s->next_number;
    } while (map_get(s->by_number, &x->number) != NULL);
    x->at = v;
    x->wire = wire;
    if (map_put(s->by_wire, &key, x) == 0) {
        if (map_put(s->by_number, &x->number, x) == 0) {
            v->n_splices++;
            return x;
        }
        map_del(s->by_wire, &key);
    }
    free(x);
    return NULL;
}

static void gone(struct onion_service *s, struct service_splice *x)
{
    uint32_t number = x->number;
    splice_free(s, x);
    onion_conns_splice_gone(s->conns, number);
}

void splices__heard(struct service_pivot *v, const struct onion_cell *c)
{
    struct onion_service *s = v->p->s;
    if (c->command == ONION_CELL_CLOSE) {
        struct wire_key key = key_of(v, c->splice);
        struct service_splice *x = map_get(s->by_wire, &key);
        if (x != NULL)
            gone(s, x);
    } else if (c->command == ONION_CELL_DATA) {
        struct service_splice *x = splice_get(v, c->splice);
        if (x != NULL)
            (void)onion_conns_received(s->conns, x->number, &v->p->key, (enum onion_kind)c->kind,
                                       c->payload, c->len);
    }
}

struct sweep {
    struct service_pivot *v;
    struct service_splice *found;
};

static bool of_pivot(void *arg, const void *key, void *value)
{
    struct sweep *w = arg;
    struct service_splice *x = value;
    (void)key;
    if (x->at == w->v)
        w->found = x;
    return w->found == NULL;
}

void splices__lost(struct service_pivot *v)
{
    struct onion_service *s = v->p->s;
    struct sweep w = { .v = v };
    do {
        w.found = NULL;
        map_each(s->by_number, of_pivot, &w);
        if (w.found != NULL)
            gone(s, w.found);
    } while (w.found != NULL);
}

/* ---- what connections say
 * -------------------------------------------------------------------------- */

static struct service_splice *by_number(struct onion_service *s, uint32_t number)
{
    return map_get(s->by_number, &number);
}

static void carry(void *arg, uint32_t number, enum onion_kind kind, const uint8_t *bytes,
                  size_t len)
{
    struct service_splice *x = by_number(arg, number);
    if (x != NULL)
        (void)pivot__send(x->at, &(struct onion_cell){ .splice = x->wire,
                                                       .command = ONION_CELL_DATA,
                                                       .kind = (uint8_t)kind,
                                                       .payload = bytes,
                                                       .len = len });
}

static void close_splice(void *arg, uint32_t number, enum onion_close reason)
{
    struct onion_service *s = arg;
    struct service_splice *x = by_number(s, number);
    uint8_t why = (uint8_t)reason;
    if (x == NULL)
        return;
    (void)pivot__send(
        x->at, &(struct onion_cell){
                   .splice = x->wire, .command = ONION_CELL_CLOSE, .payload = &why, .len = 1 });
    splice_free(s, x);
}

static bool accepted(void *arg, struct onion_conn *c)
{
    return visitor__new(arg, c);
}

static uint64_t net_time(void *arg)
{
    struct onion_service *s = arg;
    return mesh_time(s->o->mesh);
}

static const struct onion_conns_ops ops = {
    .send = carry, .close = close_splice, .accepted = accepted, .net_time = net_time
};

int splices__init(struct onion_service *s)
{
    struct onion *o = s->o;
    uint64_t now = env_now_ns(o->env);
    struct onion_conns_options c = { .env = o->env,
                                     .buffers = &o->buffers,
                                     .ops = &ops,
                                     .arg = s,
                                     .initial_rtt_ns = 2 * onion_paths_build_ns(o->paths) };
    memcpy(c.net, mesh_network_of(o->mesh)->id, sizeof c.net);
    s->by_wire = map_create(sizeof(struct wire_key), SERVICE__SPLICES);
    s->by_number = map_create(sizeof(uint32_t), SERVICE__SPLICES);
    s->flights =
        onion_flights_create(ONION_FLIGHTS, mesh_time(o->mesh) + ONION_FLIGHT_FUTURE_S, now);
    c.flights = s->flights;
    if (s->by_wire == NULL || s->by_number == NULL || s->flights == NULL)
        return CYX_ENOMEM;
    s->conns = onion_conns_create(&c);
    return s->conns != NULL ? 0 : CYX_ENOMEM;
}

void splices__end(struct onion_service *s)
{
    const void *key;
    struct service_splice *x;
    onion_conns_destroy(s->conns);
    s->conns = NULL;
    onion_flights_destroy(s->flights);
    s->flights = NULL;
    while (s->by_number != NULL && (x = map_oldest(s->by_number, &key)) != NULL)
        splice_free(s, x);
    map_destroy(s->by_wire);
    map_destroy(s->by_number);
    s->by_wire = s->by_number = NULL;
}
