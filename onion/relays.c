#include "onion/relays.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct onion_relays {
    const struct dht_roster *roster;
    onion_node_fn node;
    void *arg;
    bool is_lab, has_self;
    uint8_t self[DHT_ID];
    /* when it was last brought up to date */
    bool is_made;
    uint64_t changes, made_s;
    struct onion_candidate *list; /* in order of ids */
    size_t n;
};

struct onion_relays *onion_relays_create(const struct dht_roster *roster, const uint8_t *self,
                                         bool is_lab, onion_node_fn node, void *arg)
{
    struct onion_relays *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->roster = roster;
    r->node = node;
    r->arg = arg;
    r->is_lab = is_lab;
    r->has_self = self != NULL;
    if (self != NULL)
        memcpy(r->self, self, sizeof r->self);
    return r;
}

void onion_relays_destroy(struct onion_relays *r)
{
    if (r == NULL)
        return;
    free(r->list);
    free(r);
}

/* ---- kin ------------------------------------------------------------------------------------- */

/* The first byte keeps the two families of addresses apart. */
static uint64_t net_of(const struct env_addr *a)
{
    bool is_v4 = env_addr_is_v4(a);
    const uint8_t *p = is_v4 ? a->ip + 12 : a->ip;
    uint64_t net = is_v4 ? 4 : 6;
    for (unsigned i = 0; i < (is_v4 ? 2u : 4u); i++)
        net = net << 8 | p[i];
    return net;
}

static void net_add(struct onion_kin *k, uint64_t net)
{
    for (size_t i = 0; i < k->n_nets; i++)
        if (k->nets[i] == net)
            return;
    k->nets[k->n_nets++] = net;
}

void onion_kin_of(struct onion_kin *out, const struct mesh_node *n)
{
    struct onion_kin k = { .has_family = n->has_family };
    if (n->has_family)
        memcpy(k.family, n->family, sizeof k.family);
    for (size_t i = 0; i < n->n_addrs && i < MESH_ADDRS_MAX; i++)
        if (n->addrs[i].kind == 4 || n->addrs[i].kind == 6)
            net_add(&k, net_of(&n->addrs[i].ip));
    *out = k;
}

bool onion_kin_is_near(const struct onion_kin *a, const struct onion_kin *b)
{
    if (a->has_family && b->has_family && memcmp(a->family, b->family, sizeof a->family) == 0)
        return true;
    for (size_t i = 0; i < a->n_nets; i++)
        for (size_t j = 0; j < b->n_nets; j++)
            if (a->nets[i] == b->nets[j])
                return true;
    return false;
}

/* ---- bringing up to date --------------------------------------------------------------------- */

static const struct onion_candidate *find(const struct onion_candidate *list, size_t n,
                                          const uint8_t id[static DHT_ID])
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = memcmp(list[mid].id, id, DHT_ID);
        if (c == 0)
            return &list[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* Taken over from the last time, or from its record; false: there is no record. */
static bool relay_make(const struct onion_relays *r, struct onion_candidate *out,
                       const struct dht_roster_entry *e)
{
    struct mesh_node n;
    const struct onion_candidate *had = find(r->list, r->n, e->id);
    if (had != NULL && had->sequence == e->sequence) {
        *out = *had;
        return true;
    }
    if (!r->node(r->arg, e->id, &n))
        return false;
    *out = (struct onion_candidate){ .sequence = e->sequence, .capacity = n.capacity };
    memcpy(out->id, e->id, sizeof out->id);
    onion_kin_of(&out->kin, &n);
    return true;
}

/* If even the one that we know for the shortest time may be used, all may: asking for each would
 * count everybody's age once for everybody in a young network. */
static bool may_all(const struct onion_relays *r, enum dht_roster_use use, uint64_t now)
{
    const struct dht_roster_entry *youngest = NULL;
    for (size_t i = 0; i < dht_roster_len(r->roster); i++) {
        const struct dht_roster_entry *e = dht_roster_at(r->roster, i);
        if (youngest == NULL || e->first_s > youngest->first_s)
            youngest = e;
    }
    return youngest == NULL || dht_roster_may_use(r->roster, youngest, use, now);
}

static size_t fill(const struct onion_relays *r, struct onion_candidate *out, uint64_t now)
{
    bool all_path = may_all(r, DHT_USE_PATH, now), all_guard = may_all(r, DHT_USE_GUARD, now);
    size_t n = 0;
    for (size_t i = 0; i < dht_roster_len(r->roster); i++) {
        const struct dht_roster_entry *e = dht_roster_at(r->roster, i);
        if ((e->roles & MESH_ROLE_RELAY_PATHS) == 0 || e->expiry_s <= now ||
            onion_relays_is_self(r, e->id) || !relay_make(r, &out[n], e))
            continue;
        out[n].may_path = all_path || dht_roster_may_use(r->roster, e, DHT_USE_PATH, now);
        out[n].may_guard = all_guard || dht_roster_may_use(r->roster, e, DHT_USE_GUARD, now);
        n++;
    }
    return n;
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* A capacity is a claim: four times the median is all it can bring. A flood of new ids doesn't move
 * the median: those that are too young have no say. */
static int weigh(struct onion_candidate *list, size_t n)
{
    cleanup_free uint32_t *sorted = calloc(n > 0 ? n : 1, sizeof *sorted);
    size_t n_sorted = 0;
    if (sorted == NULL)
        return CYX_ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (list[i].may_path)
            sorted[n_sorted++] = list[i].capacity;
    qsort(sorted, n_sorted, sizeof *sorted, by_value);
    uint64_t cap = n_sorted > 0 ? (uint64_t)ONION_WEIGHT_CAP * sorted[n_sorted / 2] : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t w = list[i].capacity < cap ? list[i].capacity : cap;
        list[i].weight = w > 0 ? w : 1;
    }
    return 0;
}

int onion_relays_refresh(struct onion_relays *r, uint64_t now)
{
    uint64_t changes = dht_roster_changes(r->roster);
    if (r->is_made && r->changes == changes && now >= r->made_s &&
        now - r->made_s < ONION_RELAYS_FRESH_S)
        return 0;
    size_t cap = dht_roster_len(r->roster);
    struct onion_candidate *list = calloc(cap > 0 ? cap : 1, sizeof *list);
    if (list == NULL)
        return CYX_ENOMEM;
    size_t n = fill(r, list, now);
    int code = weigh(list, n);
    if (code != 0) {
        free(list);
        return code;
    }
    free(r->list);
    r->list = list;
    r->n = n;
    r->is_made = true;
    r->changes = changes;
    r->made_s = now;
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

size_t onion_relays_len(const struct onion_relays *r)
{
    return r->n;
}

const struct onion_candidate *onion_relays_at(const struct onion_relays *r, size_t i)
{
    return &r->list[i];
}

const struct onion_candidate *onion_relays_find(const struct onion_relays *r,
                                                const uint8_t id[static DHT_ID])
{
    return find(r->list, r->n, id);
}

bool onion_relays_is_lab(const struct onion_relays *r)
{
    return r->is_lab;
}

bool onion_relays_is_self(const struct onion_relays *r, const uint8_t id[static DHT_ID])
{
    return r->has_self && memcmp(r->self, id, DHT_ID) == 0;
}

bool onion_relays_node(const struct onion_relays *r, const uint8_t id[static DHT_ID],
                       struct mesh_node *out)
{
    return r->node(r->arg, id, out);
}

/* Two passes and one draw: a draw for each relay would be thousands of system calls. */
const struct onion_candidate *onion_relays_draw(const struct onion_relays *r, struct env *env,
                                                onion_fits_fn fits, const void *arg)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n; i++)
        if (fits(arg, &r->list[i]))
            sum += r->list[i].weight;
    if (sum == 0)
        return NULL;
    uint64_t at = env_random_below(env, sum);
    for (size_t i = 0; i < r->n; i++) {
        if (!fits(arg, &r->list[i]))
            continue;
        if (at < r->list[i].weight)
            return &r->list[i];
        at -= r->list[i].weight;
    }
    return NULL;
}
