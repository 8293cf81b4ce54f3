/* mesh/discover_candidates.c - nodes that may be dialled next: a ring, filled from answers, beacons
 * and remembered peers. */
#include <string.h>

#include "mesh/discover_internal.h"

bool disc__is_linked(const struct mesh__discover *d, const struct mesh_contact *c)
{
    return mesh__link_find_any(d->mesh, c->link_key) != NULL ||
           map_get(d->mesh->by_id, c->id) != NULL;
}

void disc__candidate_add(struct mesh__discover *d, const struct mesh_contact *c)
{
    if (disc__is_linked(d, c) || d->n_candidates == DISC__CANDIDATES)
        return;
    for (size_t i = 0; i < d->n_candidates; i++)
        if (memcmp(d->candidates[(d->first + i) % DISC__CANDIDATES].link_key, c->link_key, 32) == 0)
            return;
    d->candidates[(d->first + d->n_candidates++) % DISC__CANDIDATES] = *c;
}

bool disc__candidate_take(struct mesh__discover *d, struct mesh_contact *out)
{
    if (d->n_candidates == 0)
        return false;
    *out = d->candidates[d->first];
    d->first = (d->first + 1) % DISC__CANDIDATES;
    d->n_candidates--;
    return true;
}

/* A record must not make us knock at our own machine or at nobody's address. */
static bool is_dialable(const struct mesh *m, const struct env_addr *a)
{
    static const uint8_t loopback6[16] = { [15] = 1 };
    bool is_v4 = env_addr_is_v4(a);
    if (a->port == 0 || (is_v4 ? a->ip[12] == 0 || a->ip[12] >= 224 : a->ip[0] == 0xff))
        return false;
    bool is_loopback = is_v4 ? a->ip[12] == 127 : memcmp(a->ip, loopback6, sizeof loopback6) == 0;
    return !is_loopback || m->network.is_lab;
}

bool mesh_node_contact(struct mesh *m, const struct mesh_node *n, struct mesh_contact *out)
{
    struct mesh_contact c = { 0 };
    bool has_addr = false;
    bool want_v4 = !list_empty(&m->links) &&
                   env_addr_is_v4(&container_of(m->links.next, struct mesh_link, all)->addr);
    memcpy(c.id, n->id, sizeof c.id);
    memcpy(c.link_key, n->link_key, sizeof c.link_key);
    for (size_t i = 0; i < n->n_addrs; i++) {
        const struct env_addr *a = &n->addrs[i].ip;
        if (n->addrs[i].kind == 7 || !is_dialable(m, a) ||
            mesh__rest_is_on(m->rests, a, mesh__now(m)))
            continue;
        if (!has_addr || env_addr_is_v4(a) == want_v4)
            c.addr = *a;
        has_addr = true;
    }
    if (has_addr)
        *out = c;
    return has_addr;
}

bool disc__node_add(struct mesh__discover *d, const struct mesh_node *n)
{
    struct mesh_contact c;
    if (!mesh_node_contact(d->mesh, n, &c))
        return false;
    if (memcmp(c.id, d->mesh->identity->id, 32) != 0)
        disc__candidate_add(d, &c);
    return true;
}

static bool add_remembered(void *arg, const struct mesh_peer_entry *e)
{
    struct mesh__discover *d = arg;
    struct mesh *m = d->mesh;
    struct mesh_node n;
    if (map_get(m->by_id, e->id) == NULL &&
        mesh_node_record_open(&n, &m->network, mesh_time(m), e->record, e->record_len) ==
            DROP_NONE &&
        mesh__is_mine(m, n.link_key))
        disc__node_add(d, &n);
    return d->n_candidates < 2 * m->config.links_target && d->n_candidates < DISC__CANDIDATES;
}

void disc__refill(struct mesh__discover *d)
{
    mesh_remembered_best(d->mesh->remembered, add_remembered, d);
}
