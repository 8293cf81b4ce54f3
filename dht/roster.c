/* dht/roster.c - entries in one array in order of ids: a first byte is a range of it, and so is
 * every subtree that a walk by XOR distance goes through. */
#include "dht/roster.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "mesh/budget.h"

static_assert(sizeof(struct dht_roster_entry) == 64, "what 8192 of them cost is promised");

enum { FIRST_CAP = 64 };

struct dht_roster {
    size_t max, cap, n;
    bool is_lab;
    uint8_t self[DHT_ID];
    uint8_t secret[32];
    struct dht_roster_entry *entries;
    uint64_t *ranks; /* of the entry in the same place: the beginning of H("cyx keep", secret, id).
                        8192 hashes for each newcomer of a full roster would be dear */
    struct mesh_prefix_count *prefixes;
    size_t n_prefixes;
    uint64_t changes;
};

struct dht_roster *dht_roster_create(size_t max, const uint8_t self[static DHT_ID],
                                     const uint8_t secret[static 32], bool is_lab)
{
    struct dht_roster *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->prefixes = mesh_prefix_count_create();
    if (r->prefixes == NULL) {
        free(r);
        return NULL;
    }
    r->max = max;
    r->is_lab = is_lab;
    memcpy(r->self, self, sizeof r->self);
    memcpy(r->secret, secret, sizeof r->secret);
    return r;
}

void dht_roster_destroy(struct dht_roster *r)
{
    if (r == NULL)
        return;
    mesh_prefix_count_destroy(r->prefixes);
    free(r->entries);
    free(r->ranks);
    free(r);
}

/* ---- places in the array --------------------------------------------------------------------- */

/* How many entries have an id whose first `len` bytes are smaller than `begin`. */
static size_t lower_bound(const struct dht_roster *r, const uint8_t *begin, size_t len)
{
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (memcmp(r->entries[mid].id, begin, len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The entry's place, or SIZE_MAX. */
static size_t find(const struct dht_roster *r, const uint8_t *begin, size_t len)
{
    size_t i = lower_bound(r, begin, len);
    return i < r->n && memcmp(r->entries[i].id, begin, len) == 0 ? i : SIZE_MAX;
}

static bool grow(struct dht_roster *r)
{
    size_t cap = r->cap == 0 ? FIRST_CAP : r->cap * 2;
    if (r->n < r->cap)
        return true;
    if (cap > r->max)
        cap = r->max;
    void *entries = reallocarray(r->entries, cap, sizeof *r->entries);
    if (entries == NULL)
        return false;
    r->entries = entries;
    void *ranks = reallocarray(r->ranks, cap, sizeof *r->ranks);
    if (ranks == NULL)
        return false;
    r->ranks = ranks;
    r->cap = cap;
    return true;
}

static bool prefix_add(struct dht_roster *r, uint64_t prefix)
{
    size_t before = mesh_prefix_count_get(r->prefixes, prefix);
    if (!mesh_prefix_count_add(r->prefixes, prefix, NULL))
        return false;
    r->n_prefixes += before == 0;
    return true;
}

static void prefix_sub(struct dht_roster *r, uint64_t prefix)
{
    mesh_prefix_count_sub(r->prefixes, prefix);
    r->n_prefixes -= mesh_prefix_count_get(r->prefixes, prefix) == 0;
}

static void take_out(struct dht_roster *r, size_t i)
{
    size_t after = r->n - i - 1;
    prefix_sub(r, r->entries[i].prefix);
    memmove(&r->entries[i], &r->entries[i + 1], after * sizeof *r->entries);
    memmove(&r->ranks[i], &r->ranks[i + 1], after * sizeof *r->ranks);
    r->n--;
    r->changes++;
}

static int put_in(struct dht_roster *r, const struct dht_roster_entry *e, uint64_t rank)
{
    if (!grow(r) || !prefix_add(r, e->prefix))
        return CYX_ENOMEM;
    size_t i = lower_bound(r, e->id, DHT_ID);
    memmove(&r->entries[i + 1], &r->entries[i], (r->n - i) * sizeof *r->entries);
    memmove(&r->ranks[i + 1], &r->ranks[i], (r->n - i) * sizeof *r->ranks);
    r->entries[i] = *e;
    r->ranks[i] = rank;
    r->n++;
    r->changes++;
    return 0;
}

/* ---- who gives way --------------------------------------------------------------------------- */

static uint64_t rank_of(const struct dht_roster *r, const uint8_t id[static DHT_ID])
{
    const struct bytes x[] = { BYTES(r->secret, sizeof r->secret), BYTES(id, DHT_ID) };
    uint8_t h[CRYPTO_HASH];
    crypto_h(h, "cyx keep", x, 2);
    struct reader in = reader_on(h, sizeof h);
    return reader_u64(&in);
}

/* A newcomer and what it is measured against. */
struct contest {
    const struct dht_roster_entry *e;
    uint64_t rank;
    bool is_prefix_full; /* only its own prefix gives way */
    size_t most;         /* else those prefixes that hold so many, the newcomer included */
    size_t worst;        /* the entry that gives way; SIZE_MAX: the newcomer */
};

static bool is_candidate(const struct dht_roster *r, const struct contest *c, uint64_t prefix)
{
    if (c->is_prefix_full)
        return prefix == c->e->prefix;
    if (r->is_lab)
        return true;
    size_t n = mesh_prefix_count_get(r->prefixes, prefix) + (prefix == c->e->prefix);
    return n == c->most;
}

/* The farthest by the keyed hash: nobody outside can choose who that is, and whoever floods one
 * roster out doesn't flood out another. */
static void contest(const struct dht_roster *r, struct contest *c)
{
    size_t own = mesh_prefix_count_get(r->prefixes, c->e->prefix) + 1;
    bool has_worst = false;
    uint64_t worst_rank = 0;
    mesh_prefix_count_greatest(r->prefixes, &c->most);
    c->most = own > c->most ? own : c->most;
    c->worst = SIZE_MAX;
    if (is_candidate(r, c, c->e->prefix)) {
        has_worst = true;
        worst_rank = c->rank;
    }
    for (size_t i = 0; i < r->n; i++) {
        if ((has_worst && r->ranks[i] <= worst_rank) || !is_candidate(r, c, r->entries[i].prefix))
            continue;
        has_worst = true;
        worst_rank = r->ranks[i];
        c->worst = i;
    }
}

/* 0: there is room (`gone` went for it), CYX_EFULL: the newcomer is the one to give way. */
static int make_room(struct dht_roster *r, const struct dht_roster_entry *e, uint64_t rank,
                     bool *has_gone, uint8_t *gone)
{
    struct contest c = { .e = e, .rank = rank };
    c.is_prefix_full =
        !r->is_lab && mesh_prefix_count_get(r->prefixes, e->prefix) >= DHT_ROSTER_PREFIX;
    if (!c.is_prefix_full && r->n < r->max)
        return 0;
    contest(r, &c);
    if (c.worst == SIZE_MAX)
        return CYX_EFULL;
    if (gone != NULL)
        memcpy(gone, r->entries[c.worst].id, DHT_ID);
    if (has_gone != NULL)
        *has_gone = true;
    take_out(r, c.worst);
    return 0;
}

/* ---- coming and going ------------------------------------------------------------------------ */

static bool first_prefix(const struct mesh_node *n, uint64_t *out)
{
    for (size_t i = 0; i < n->n_addrs; i++) {
        if (n->addrs[i].kind != 4 && n->addrs[i].kind != 6)
            continue;
        *out = env_addr_prefix(&n->addrs[i].ip);
        return true;
    }
    return false;
}

/* A newer record of a node that is held. It keeps its age. In another prefix nobody has reached it
 * yet, and there it must find room as if it came anew; when there is none, the older record stays
 * until it expires. */
static int renew(struct dht_roster *r, size_t i, const struct dht_roster_entry *e)
{
    struct dht_roster_entry *held = &r->entries[i];
    if (e->prefix != held->prefix) {
        size_t there = mesh_prefix_count_get(r->prefixes, e->prefix);
        if (!r->is_lab && there >= DHT_ROSTER_PREFIX)
            return CYX_EFULL;
        if (!prefix_add(r, e->prefix))
            return CYX_ENOMEM;
        prefix_sub(r, held->prefix);
        held->prefix = e->prefix;
        held->reached_s = 0;
    }
    held->sequence = e->sequence;
    held->expiry_s = e->expiry_s;
    held->roles = e->roles;
    r->changes++;
    return 0;
}

int dht_roster_heard(struct dht_roster *r, const struct mesh_node *n, uint64_t now, bool *has_gone,
                     uint8_t gone[DHT_ID])
{
    struct dht_roster_entry e = { .sequence = n->sequence,
                                  .first_s = (uint32_t)now,
                                  .expiry_s = (uint32_t)n->expiry,
                                  .roles = n->roles };
    if (has_gone != NULL)
        *has_gone = false;
    if (n->expiry <= now || n->expiry > UINT32_MAX || !first_prefix(n, &e.prefix) ||
        memcmp(n->id, r->self, DHT_ID) == 0)
        return CYX_EINVAL;
    memcpy(e.id, n->id, DHT_ID);
    size_t i = find(r, e.id, DHT_ID);
    if (i != SIZE_MAX)
        return e.sequence > r->entries[i].sequence ? renew(r, i, &e) : CYX_EEXIST;
    if (r->max == 0)
        return CYX_EFULL;
    uint64_t rank = rank_of(r, e.id);
    int code = make_room(r, &e, rank, has_gone, gone);
    return code == 0 ? put_in(r, &e, rank) : code;
}

bool dht_roster_is_told(const struct dht_roster_entry *e, uint64_t now)
{
    return e->reached_s != 0 && now < (uint64_t)e->reached_s + DHT_ROSTER_REACHED_S;
}

void dht_roster_reached(struct dht_roster *r, const uint8_t id[static DHT_ID], uint64_t now)
{
    size_t i = find(r, id, DHT_ID);
    if (i == SIZE_MAX)
        return;
    if (!dht_roster_is_told(&r->entries[i], now))
        r->changes++;
    r->entries[i].reached_s = (uint32_t)now;
}

void dht_roster_restore(struct dht_roster *r, const uint8_t id[static DHT_ID], uint32_t first_s,
                        uint32_t reached_s)
{
    size_t i = find(r, id, DHT_ID);
    if (i == SIZE_MAX)
        return;
    r->entries[i].first_s = first_s;
    r->entries[i].reached_s = reached_s;
    r->changes++;
}

void dht_roster_remove(struct dht_roster *r, const uint8_t id[static DHT_ID])
{
    size_t i = find(r, id, DHT_ID);
    if (i != SIZE_MAX)
        take_out(r, i);
}

void dht_roster_expire(struct dht_roster *r, uint64_t now,
                       void (*gone)(void *arg, const uint8_t id[static DHT_ID]), void *arg)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->entries[i].expiry_s > now) {
            r->entries[kept] = r->entries[i];
            r->ranks[kept++] = r->ranks[i];
            continue;
        }
        prefix_sub(r, r->entries[i].prefix);
        r->changes++;
        if (gone != NULL)
            gone(arg, r->entries[i].id);
    }
    r->n = kept;
}

/* ---- asking ---------------------------------------------------------------------------------- */

const struct dht_roster_entry *dht_roster_get(const struct dht_roster *r,
                                              const uint8_t id[static DHT_ID])
{
    return dht_roster_begins(r, id, DHT_ID);
}

const struct dht_roster_entry *dht_roster_begins(const struct dht_roster *r, const uint8_t *begin,
                                                 size_t len)
{
    assert(len >= 1 && len <= DHT_ID);
    size_t i = find(r, begin, len);
    return i != SIZE_MAX ? &r->entries[i] : NULL;
}

size_t dht_roster_len(const struct dht_roster *r)
{
    return r->n;
}

size_t dht_roster_cap(const struct dht_roster *r)
{
    return r->max;
}

size_t dht_roster_prefixes(const struct dht_roster *r)
{
    return r->n_prefixes;
}

uint64_t dht_roster_changes(const struct dht_roster *r)
{
    return r->changes;
}

const struct dht_roster_entry *dht_roster_at(const struct dht_roster *r, size_t i)
{
    assert(i < r->n);
    return &r->entries[i];
}

size_t dht_roster_from(const struct dht_roster *r, unsigned first_byte)
{
    uint8_t b = (uint8_t)first_byte;
    return first_byte > UINT8_MAX ? r->n : lower_bound(r, &b, 1);
}

void dht_roster_each(const struct dht_roster *r,
                     bool (*fn)(void *arg, const struct dht_roster_entry *e), void *arg)
{
    for (size_t i = 0; i < r->n; i++)
        if (!fn(arg, &r->entries[i]))
            return;
}

/* ---- the nearest ----------------------------------------------------------------------------- */

struct nearest {
    const struct dht_roster *r;
    const uint8_t *key;
    const struct dht_roster_entry **out;
    size_t n, most;
    size_t n_before; /* taken in earlier walks: out[n_before..n) are of this one */
    bool is_any;     /* prefixes don't matter */
};

static bool bit(const uint8_t *id, unsigned i)
{
    return id[i / 8] >> (7 - i % 8) & 1;
}

static void consider(struct nearest *q, const struct dht_roster_entry *e)
{
    for (size_t i = 0; i < q->n && !q->is_any; i++)
        if (i < q->n_before ? q->out[i] == e : q->out[i]->prefix == e->prefix)
            return;
    q->out[q->n++] = e;
}

/* The entries [lo, hi) share their first `depth` bits: the half on the key's side comes first. */
static void walk(struct nearest *q, size_t lo, size_t hi, unsigned depth)
{
    const struct dht_roster_entry *entries = q->r->entries;
    while (lo < hi && q->n < q->most) {
        if (hi - lo == 1) {
            consider(q, &entries[lo]);
            return;
        }
        size_t mid = lo, end = hi; /* the first with that bit set */
        while (mid < end) {
            size_t at = mid + (end - mid) / 2;
            if (bit(entries[at].id, depth))
                end = at;
            else
                mid = at + 1;
        }
        if (bit(q->key, depth)) {
            walk(q, mid, hi, depth + 1);
            hi = mid;
        } else {
            walk(q, lo, mid, depth + 1);
            lo = mid;
        }
        depth++;
    }
}

size_t dht_roster_nearest(const struct dht_roster *r, const uint8_t key[static DHT_ID], size_t most,
                          const struct dht_roster_entry **out)
{
    struct nearest q = { .r = r, .key = key, .out = out, .most = most, .is_any = r->is_lab };
    do {
        q.n_before = q.n;
        walk(&q, 0, r->n, 0);
    } while (!q.is_any && q.n < most && q.n > q.n_before);
    return q.n;
}

/* ---- ages ------------------------------------------------------------------------------------ */

static bool has_age(const struct dht_roster_entry *e, uint32_t age_s, uint64_t now)
{
    return (uint64_t)e->first_s + age_s <= now;
}

/* Do we know enough ids of that age that the others can wait? A flood of new ids gains nothing at
 * once, and a young network is not kept waiting. */
static bool do_ages_count(const struct dht_roster *r, uint32_t age_s, uint64_t now)
{
    uint64_t seen[DHT_ROSTER_OLD_PREFIXES];
    size_t n_seen = 0, n_old = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct dht_roster_entry *e = &r->entries[i];
        size_t k = 0;
        if (!has_age(e, age_s, now))
            continue;
        n_old++;
        while (k < n_seen && seen[k] != e->prefix)
            k++;
        if (k == n_seen && n_seen < DHT_ROSTER_OLD_PREFIXES)
            seen[n_seen++] = e->prefix;
        if (n_old >= DHT_ROSTER_OLD && n_seen == DHT_ROSTER_OLD_PREFIXES)
            return true;
    }
    return false;
}

bool dht_roster_may_use(const struct dht_roster *r, const struct dht_roster_entry *e,
                        enum dht_roster_use use, uint64_t now)
{
    uint32_t age_s = use == DHT_USE_GUARD ? DHT_ROSTER_GUARD_S : DHT_ROSTER_AGE_S;
    return r->is_lab || has_age(e, age_s, now) || !do_ages_count(r, age_s, now);
}
