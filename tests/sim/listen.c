/* Listening and connecting. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/stream_internal.h"

enum { LISTEN_PORT_FIRST = 20000, LISTEN_PORTS = 20000 };

/* The node in whose list a listener at that endpoint stands: for unix paths the host's first one.
 */
static struct sim_node *place_of(struct sim_node *n, const struct env_endpoint *at)
{
    return at->kind == ENV_UNIX ? n->world->nodes[n->host] : n;
}

static struct env_listener *find(const struct sim_node *place, const struct env_endpoint *at)
{
    list_each (pos, &place->reachable) {
        struct env_listener *l = container_of(pos, struct env_listener, in_reachable);
        if (l->at.kind != at->kind)
            continue;
        if (at->kind == ENV_UNIX ? strncmp(l->at.path, at->path, sizeof at->path) == 0
                                 : l->at.addr.port == at->addr.port)
            return l;
    }
    return NULL;
}

/* Port 0 asks for any: the first free one. */
static void pick_port(const struct sim_node *place, struct env_endpoint *at)
{
    if (at->kind != ENV_TCP || at->addr.port != 0)
        return;
    for (unsigned i = 0; i < LISTEN_PORTS; i++) {
        at->addr.port = (uint16_t)(LISTEN_PORT_FIRST + i);
        if (find(place, at) == NULL)
            return;
    }
}

int sim__listen(struct env *e, const struct env_endpoint *at,
                void (*accepted)(void *arg, struct env_stream *s), void *arg,
                struct env_listener **out, struct cyx_err *err)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return cyx_fail(err, CYX_ECLOSED, "node %u is off", n->index);
    struct sim_node *place = place_of(n, at);
    struct env_endpoint exact = *at;
    pick_port(place, &exact);
    if (find(place, &exact) != NULL)
        return cyx_fail(err, CYX_EBUSY, "listen %s: another process has it",
                        at->kind == ENV_UNIX ? at->path : "tcp");
    struct env_listener *l = sim__alloc(sizeof *l);
    l->node = n;
    l->at = exact;
    l->accepted = accepted;
    l->arg = arg;
    list_push_back(&n->listeners, &l->in_node);
    list_push_back(&place->reachable, &l->in_reachable);
    *out = l;
    return 0;
}

void sim__listener_close(struct env_listener *l)
{
    list_del(&l->in_node);
    list_del(&l->in_reachable);
    free(l);
}

int sim__listener_addr(const struct env_listener *l, struct env_addr *out)
{
    if (l->at.kind != ENV_TCP)
        return CYX_EUNSUPPORTED;
    *out = l->at.addr;
    return 0;
}

void sim__syn(struct sim_conn *c)
{
    struct sim_half *back = &c->half[0];
    if (c->target.kind == ENV_TCP && (c->node[1] == NULL || !c->node[1]->up)) {
        sim__chunk_push(back, CHUNK_OPEN, CYX_ETIMEDOUT, NULL, 0, SIM_S(SIM_SYN_TIMEOUT_S));
        return;
    }
    struct sim_node *target = c->target.kind == ENV_UNIX ? c->node[0] : c->node[1];
    struct env_listener *l = find(place_of(target, &c->target), &c->target);
    if (l == NULL) {
        sim__chunk_push(back, CHUNK_OPEN, CYX_ECLOSED, NULL, 0, SIM_MS(SIM_REFUSE_MS));
        return;
    }
    if (c->end[0] == NULL)
        return; /* gave up meanwhile */
    struct sim_node *n = l->node;
    c->node[1] = n;
    struct env_stream *s = sim__stream_new(c, 1);
    sim__chunk_push(back, CHUNK_OPEN, 0, NULL, 0, 0); /* ahead of what `accepted` may write */
    sim__turn_begin(n);
    l->accepted(l->arg, s);
    sim__turn_end(n);
    /* Attached, or closed and gone: the contract of env_listen. */
    assert(c->end[1] == NULL || c->end[1]->events != NULL);
}

/* The node with that address, as seen from `n`: through its boxes outwards, never inwards. */
static struct sim_node *resolve(struct sim_node *n, const struct env_addr *to, uint64_t *latency)
{
    struct sim_world *w = n->world;
    uint32_t near = n->site.id;
    *latency = (uint64_t)SIM_LOOPBACK_US * 1000;
    if (sim__addr_is_loopback(to))
        return n;
    for (uint32_t realm = n->realm;; realm = w->nats[realm - 1]->outside) {
        struct sim_site *s = sim__site_get(w, realm, to);
        if (s != NULL && !s->is_nat) {
            *latency = realm != 0 ? (uint64_t)SIM_LAN_US * 1000
                                  : sim__latency_ns(w, &w->o.link, near, s->id);
            return container_of(s, struct sim_node, site);
        }
        if (s != NULL || realm == 0)
            return NULL;
        near = w->nats[realm - 1]->site.id;
    }
}

int sim__connect(struct env *e, const struct env_endpoint *to,
                 const struct env_stream_events *events, void *arg, struct env_stream **out,
                 struct cyx_err *err)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return cyx_fail(err, CYX_ECLOSED, "node %u is off", n->index);
    struct sim_conn *c = sim__alloc(sizeof *c);
    c->world = n->world;
    c->target = *to;
    c->node[0] = n;
    c->latency_ns = (uint64_t)SIM_UNIX_US * 1000;
    if (to->kind == ENV_TCP)
        c->node[1] = resolve(n, &to->addr, &c->latency_ns);
    for (unsigned i = 0; i < 2; i++) {
        c->half[i].conn = c;
        c->half[i].to = i;
        list_init(&c->half[i].chunks);
    }
    struct env_stream *s = sim__stream_new(c, 0);
    sim__stream_attach(s, events, arg);
    sim__chunk_push(&c->half[1], CHUNK_SYN, 0, NULL, 0, 0);
    *out = s;
    return 0;
}
