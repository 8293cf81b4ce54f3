/* NAT boxes. A mapping joins an inside address and port (for symmetric boxes: and the destination)
 * to a port outside; it remembers whom it was used for, which is what the filters ask. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

enum {
    NAT_MAPPINGS_MAX = 60000, /* ports outside */
    NAT_PORT_FIRST = 1024,
    NAT_CONTACTS_MAX = 4096, /* for each mapping; the oldest goes */
    NAT_TIMEOUT_S = 120,
};

struct nat_key {
    uint8_t ip[16];
    uint8_t port[2];
    uint8_t far_ip[16]; /* symmetric only, otherwise zero */
    uint8_t far_port[2];
};

struct contact {
    struct env_addr far;
    uint64_t at;
};

struct mapping {
    struct nat_key key;
    struct env_addr inside;
    uint16_t port; /* outside */
    uint64_t used_at;
    struct contact *contacts;
    size_t n, cap;
};

struct sim_nat *sim_nat_add(struct sim_world *w, const struct sim_nat_options *o)
{
    struct sim_nat *nat = sim__alloc(sizeof *nat);
    nat->world = w;
    nat->o = *o;
    if (nat->o.timeout_s == 0)
        nat->o.timeout_s = NAT_TIMEOUT_S;
    nat->site = (struct sim_site){ .id = w->n_sites, .is_nat = true };
    nat->outside = o->outer != NULL ? o->outer->inside : 0;
    nat->inside = (uint32_t)w->n_nats + 1;
    nat->chance = sim__mix(w->o.seed, 0x6e6174u + ((uint64_t)w->n_nats << 32)); /* "nat" */
    nat->by_inside = map_create(sizeof(struct nat_key), NAT_MAPPINGS_MAX);
    nat->by_port = map_create(sizeof(uint16_t), NAT_MAPPINGS_MAX);
    if (nat->by_inside == NULL || nat->by_port == NULL ||
        sim__site_put(w, nat->outside, &o->address, &nat->site) < 0) {
        sim__nat_free(nat);
        return NULL;
    }
    if (w->n_nats == w->cap_nats) {
        w->cap_nats = w->cap_nats == 0 ? 16 : w->cap_nats * 2;
        w->nats = realloc(w->nats, w->cap_nats * sizeof(struct sim_nat *));
        if (w->nats == NULL)
            abort();
    }
    w->n_sites++;
    w->nats[w->n_nats++] = nat;
    return nat;
}

static void mapping_drop(struct sim_nat *nat, struct mapping *m)
{
    map_del(nat->by_inside, &m->key);
    map_del(nat->by_port, &m->port);
    free(m->contacts);
    free(m);
}

void sim_nat_flush(struct sim_nat *nat)
{
    struct mapping *m;
    while ((m = map_oldest(nat->by_port, NULL)) != NULL)
        mapping_drop(nat, m);
}

void sim__nat_free(struct sim_nat *nat)
{
    if (nat->by_inside != NULL && nat->by_port != NULL)
        sim_nat_flush(nat);
    map_destroy(nat->by_inside);
    map_destroy(nat->by_port);
    free(nat);
}

size_t sim_nat_mappings(const struct sim_nat *nat)
{
    return map_len(nat->by_port);
}

static bool is_over(const struct sim_nat *nat, uint64_t at)
{
    return nat->world->now - at > SIM_S(nat->o.timeout_s);
}

static bool sweep_one(void *arg, const void *key, void *value)
{
    (void)key;
    struct sim_nat *nat = arg;
    struct mapping *m = value;
    if (is_over(nat, m->used_at))
        mapping_drop(nat, m);
    return true;
}

/* Now and then, so that ports come back and memory stays flat. */
static void sweep(struct sim_nat *nat)
{
    if (!is_over(nat, nat->swept_at))
        return;
    nat->swept_at = nat->world->now;
    map_each(nat->by_port, sweep_one, nat);
}

static void put_port(uint8_t out[static 2], uint16_t port)
{
    out[0] = (uint8_t)(port >> 8);
    out[1] = (uint8_t)port;
}

static struct nat_key key_of(const struct sim_nat *nat, const struct env_addr *inside,
                             const struct env_addr *far)
{
    struct nat_key k = { 0 };
    memcpy(k.ip, inside->ip, sizeof k.ip);
    put_port(k.port, inside->port);
    if (nat->o.type == SIM_NAT_SYMMETRIC) {
        memcpy(k.far_ip, far->ip, sizeof k.far_ip);
        put_port(k.far_port, far->port);
    }
    return k;
}

/* Cones keep the inside port when it is free, as most home boxes do. 0: none is left. */
static uint16_t pick_port(struct sim_nat *nat, uint16_t wish)
{
    if (map_len(nat->by_port) >= NAT_MAPPINGS_MAX)
        return 0;
    uint16_t port = nat->o.type == SIM_NAT_SYMMETRIC ? 0 : wish;
    while (port < NAT_PORT_FIRST || map_get(nat->by_port, &port) != NULL)
        port = (uint16_t)(NAT_PORT_FIRST + sim__below(&nat->chance, 65536 - NAT_PORT_FIRST));
    return port;
}

static struct mapping *mapping_new(struct sim_nat *nat, const struct nat_key *key,
                                   const struct env_addr *inside)
{
    sweep(nat);
    uint16_t port = pick_port(nat, inside->port);
    if (port == 0)
        return NULL;
    struct mapping *m = sim__alloc(sizeof *m);
    m->key = *key;
    m->inside = *inside;
    m->port = port;
    if (map_put(nat->by_inside, key, m) < 0 || map_put(nat->by_port, &port, m) < 0) {
        mapping_drop(nat, m);
        return NULL;
    }
    return m;
}

static bool matches(const struct sim_nat *nat, const struct env_addr *a, const struct env_addr *b)
{
    bool same_ip = memcmp(a->ip, b->ip, sizeof a->ip) == 0;
    return same_ip && (nat->o.type == SIM_NAT_RESTRICTED || a->port == b->port);
}

/* A place for a new contact: a new one, or that of one timed out, or the oldest. */
static struct contact *contact_slot(const struct sim_nat *nat, struct mapping *m)
{
    struct contact *oldest = NULL;
    for (size_t i = 0; i < m->n; i++) {
        if (is_over(nat, m->contacts[i].at))
            return &m->contacts[i];
        if (oldest == NULL || m->contacts[i].at < oldest->at)
            oldest = &m->contacts[i];
    }
    if (m->n == NAT_CONTACTS_MAX)
        return oldest;
    if (m->n == m->cap) {
        m->cap = m->cap == 0 ? 4 : m->cap * 2;
        m->contacts = realloc(m->contacts, m->cap * sizeof *m->contacts);
        if (m->contacts == NULL)
            abort();
    }
    return &m->contacts[m->n++];
}

static void note_contact(const struct sim_nat *nat, struct mapping *m, const struct env_addr *far)
{
    for (size_t i = 0; i < m->n; i++) {
        if (matches(nat, &m->contacts[i].far, far)) {
            m->contacts[i].at = nat->world->now;
            return;
        }
    }
    *contact_slot(nat, m) = (struct contact){ .far = *far, .at = nat->world->now };
}

bool sim__nat_out(struct sim_nat *nat, struct env_addr *from, const struct env_addr *to)
{
    if (env_addr_is_v4(from) != env_addr_is_v4(&nat->o.address))
        return false; /* a box translates one family */
    struct nat_key key = key_of(nat, from, to);
    struct mapping *m = map_get(nat->by_inside, &key);
    if (m != NULL && is_over(nat, m->used_at)) {
        mapping_drop(nat, m);
        m = NULL;
    }
    if (m == NULL)
        m = mapping_new(nat, &key, from);
    if (m == NULL)
        return false;
    m->used_at = nat->world->now;
    if (nat->o.type != SIM_NAT_FULL_CONE)
        note_contact(nat, m, to);
    uint16_t port = m->port;
    *from = nat->o.address;
    from->port = port;
    return true;
}

static bool was_contacted(const struct sim_nat *nat, const struct mapping *m,
                          const struct env_addr *from)
{
    for (size_t i = 0; i < m->n; i++)
        if (matches(nat, &m->contacts[i].far, from) && !is_over(nat, m->contacts[i].at))
            return true;
    return false;
}

bool sim__nat_in(struct sim_nat *nat, const struct env_addr *from, struct env_addr *to)
{
    struct mapping *m = map_get(nat->by_port, &to->port);
    if (m == NULL)
        return false;
    if (is_over(nat, m->used_at)) {
        mapping_drop(nat, m);
        return false;
    }
    if (nat->o.type != SIM_NAT_FULL_CONE && !was_contacted(nat, m, from))
        return false;
    *to = m->inside;
    return true;
}
