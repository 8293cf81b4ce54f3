/* dht/table.c - see table.h. A contact has a place because it answered; it loses it when it does
 * not answer, never because somebody newer came: old nodes live longest (Saroiu, Gummadi, Gribble
 * 2002), and a flood of new ids gains nothing. */
#include "dht/table.h"

#include <stdlib.h>

#include "base/map.h"
#include "dht/limits.h"
#include "dht/table_internal.h"

enum { DHT_CONTACTS_MAX = 1 << 16 };

struct bucket {
    struct list live;    /* struct dht_contact, least recently seen first */
    struct list waiting; /* replacements, oldest first */
    unsigned n_live, n_waiting;
    uint64_t looked_ns;
};

struct dht_table {
    uint8_t self[DHT_ID];
    bool is_lab;
    struct map *by_id; /* live and waiting */
    size_t n_live, n_waiting;
    struct bucket *buckets[DHT_BUCKETS]; /* NULL: empty so far */
};

struct dht_table *dht_table_create(const uint8_t self[static DHT_ID], bool is_lab)
{
    struct dht_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    memcpy(t->self, self, sizeof t->self);
    t->is_lab = is_lab;
    t->by_id = map_create(DHT_ID, DHT_CONTACTS_MAX);
    if (t->by_id == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

static struct dht_contact *contact_of(struct list *node)
{
    return container_of(node, struct dht_contact, node);
}

static void drop_list(struct list *l)
{
    while (!list_empty(l)) {
        struct dht_contact *c = contact_of(l->next);
        list_del(&c->node);
        free(c);
    }
}

void dht_table_destroy(struct dht_table *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; i < DHT_BUCKETS; i++) {
        if (t->buckets[i] == NULL)
            continue;
        drop_list(&t->buckets[i]->live);
        drop_list(&t->buckets[i]->waiting);
        free(t->buckets[i]);
    }
    map_destroy(t->by_id);
    free(t);
}

/* ---- one bucket ------------------------------------------------------------------------------ */

static struct bucket *bucket_at(struct dht_table *t, unsigned i)
{
    if (t->buckets[i] != NULL)
        return t->buckets[i];
    struct bucket *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    list_init(&b->live);
    list_init(&b->waiting);
    t->buckets[i] = b;
    return b;
}

static unsigned of_prefix(const struct bucket *b, uint64_t prefix)
{
    unsigned n = 0;
    list_each (at, &b->live)
        n += contact_of(at)->prefix == prefix;
    return n;
}

static bool may_live(const struct dht_table *t, const struct bucket *b, uint64_t prefix)
{
    return t->is_lab || of_prefix(b, prefix) < DHT_PREFIX_BUCKET;
}

static void unlink_contact(struct dht_table *t, struct dht_contact *c)
{
    struct bucket *b = t->buckets[c->bucket];
    list_del(&c->node);
    if (c->is_waiting) {
        b->n_waiting--;
        t->n_waiting--;
    } else {
        b->n_live--;
        t->n_live--;
    }
}

static void link_live(struct dht_table *t, struct bucket *b, struct dht_contact *c)
{
    c->is_waiting = false;
    list_push_back(&b->live, &c->node);
    b->n_live++;
    t->n_live++;
}

static void forget(struct dht_table *t, struct dht_contact *c)
{
    unlink_contact(t, c);
    map_del(t->by_id, c->to.id);
    free(c);
}

/* The oldest of its prefix gives way when two wait already, else the oldest of all: nobody with one
 * prefix has the whole row. */
static void make_room_to_wait(struct dht_table *t, struct bucket *b, uint64_t prefix)
{
    struct dht_contact *oldest = NULL;
    unsigned n = 0;
    list_each (at, &b->waiting) {
        struct dht_contact *c = contact_of(at);
        if (c->prefix != prefix)
            continue;
        oldest = n++ == 0 ? c : oldest;
    }
    if (n >= DHT_PREFIX_BUCKET && !t->is_lab)
        forget(t, oldest);
    else if (b->n_waiting == DHT_REPLACEMENTS)
        forget(t, contact_of(b->waiting.next));
}

static void link_waiting(struct dht_table *t, struct bucket *b, struct dht_contact *c)
{
    make_room_to_wait(t, b, c->prefix);
    c->is_waiting = true;
    list_push_back(&b->waiting, &c->node);
    b->n_waiting++;
    t->n_waiting++;
}

/* A place is free: the freshest replacement that may have it. */
static void promote(struct dht_table *t, struct bucket *b)
{
    for (struct list *at = b->waiting.prev; at != &b->waiting; at = at->prev) {
        struct dht_contact *c = contact_of(at);
        if (!may_live(t, b, c->prefix))
            continue;
        unlink_contact(t, c);
        link_live(t, b, c);
        return;
    }
}

static void remove_contact(struct dht_table *t, struct dht_contact *c)
{
    struct bucket *b = t->buckets[c->bucket];
    bool was_live = !c->is_waiting;
    forget(t, c);
    if (was_live)
        promote(t, b);
}

/* ---- seeing and failing ---------------------------------------------------------------------- */

static struct dht_contact *contact_make(const struct dht_table *t, const struct dht_sighting *s)
{
    struct dht_contact *c = malloc(sizeof *c + s->len);
    if (c == NULL)
        return NULL;
    *c = (struct dht_contact){ .to = s->to,
                               .prefix = env_addr_prefix(&s->to.addr),
                               .sequence = s->sequence,
                               .bucket = dht_id_shared(t->self, s->to.id),
                               .len = s->len };
    memcpy(c->record, s->record, s->len);
    list_init(&c->node);
    return c;
}

/* The same node with a newer record or another address: a new object in the old one's place. */
static struct dht_contact *renew(struct dht_table *t, struct dht_contact *old,
                                 const struct dht_sighting *s)
{
    struct dht_contact *c = contact_make(t, s);
    if (c == NULL || map_put(t->by_id, c->to.id, c) != 0) {
        free(c);
        return old;
    }
    c->is_waiting = old->is_waiting;
    c->is_probed = old->is_probed;
    list_add_before(&old->node, &c->node);
    list_del(&old->node);
    free(old);
    return c;
}

static void to_end(struct bucket *b, struct dht_contact *c, uint64_t now_ns)
{
    c->seen_ns = now_ns;
    list_del(&c->node);
    list_push_back(c->is_waiting ? &b->waiting : &b->live, &c->node);
}

static void answered(struct bucket *b, struct dht_contact *c, uint64_t now_ns)
{
    c->failures = 0;
    c->is_probed = false;
    to_end(b, c, now_ns);
}

/* It answered, and stays where it is: at its list's end. A new address counts under its prefix. */
static enum dht_seen seen_again(struct dht_table *t, struct dht_contact *c,
                                const struct dht_sighting *s, uint64_t now_ns)
{
    struct bucket *b = t->buckets[c->bucket];
    uint64_t prefix = env_addr_prefix(&s->to.addr);
    bool is_moved = !env_addr_equal(&c->to.addr, &s->to.addr);
    bool is_older = s->sequence < c->sequence; /* replayed, or by another of its addresses */
    if (is_moved && !is_older && !c->is_waiting && prefix != c->prefix && !may_live(t, b, prefix)) {
        remove_contact(t, c);
        return DHT_SEEN_NO;
    }
    if (!is_older && (is_moved || s->sequence > c->sequence))
        c = renew(t, c, s);
    answered(b, c, now_ns);
    if (!c->is_waiting)
        return DHT_SEEN_KNOWN;
    if (b->n_live == DHT_K || !may_live(t, b, c->prefix))
        return DHT_SEEN_WAITS;
    unlink_contact(t, c);
    link_live(t, b, c);
    return DHT_SEEN_ADDED;
}

static const struct dht_contact *stale_one(struct bucket *b, uint64_t now_ns)
{
    struct dht_contact *c = contact_of(b->live.next);
    if (list_empty(&b->live) || c->is_probed || now_ns - c->seen_ns < ENV_MS(DHT_STALE_MS))
        return NULL;
    c->is_probed = true;
    return c;
}

static enum dht_seen see_new(struct dht_table *t, const struct dht_sighting *s, uint64_t now_ns,
                             const struct dht_contact **probe)
{
    struct bucket *b = bucket_at(t, dht_id_shared(t->self, s->to.id));
    struct dht_contact *c = b != NULL ? contact_make(t, s) : NULL;
    if (c == NULL || !may_live(t, b, c->prefix) || map_put(t->by_id, c->to.id, c) != 0) {
        free(c);
        return DHT_SEEN_NO;
    }
    c->seen_ns = now_ns;
    if (b->n_live < DHT_K) {
        link_live(t, b, c);
        if (b->n_live == DHT_K / 2 && b->looked_ns == 0)
            b->looked_ns = now_ns; /* it fills by itself: no need to look for more so soon */
        return DHT_SEEN_ADDED;
    }
    link_waiting(t, b, c);
    *probe = stale_one(b, now_ns);
    return DHT_SEEN_WAITS;
}

enum dht_seen dht_table_seen(struct dht_table *t, const struct dht_sighting *s, uint64_t now_ns,
                             const struct dht_contact **probe)
{
    *probe = NULL;
    if (memcmp(s->to.id, t->self, DHT_ID) == 0)
        return DHT_SEEN_NO;
    struct dht_contact *c = map_get(t->by_id, s->to.id);
    enum dht_seen seen = c != NULL ? seen_again(t, c, s, now_ns) : see_new(t, s, now_ns, probe);
    if (seen == DHT_SEEN_WAITS && c != NULL)
        *probe = stale_one(t->buckets[dht_id_shared(t->self, s->to.id)], now_ns);
    return seen;
}

void dht_table_touch(struct dht_table *t, const uint8_t id[static DHT_ID], uint64_t now_ns)
{
    struct dht_contact *c = map_get(t->by_id, id);
    if (c != NULL && c->failures == 0 && !c->is_probed)
        to_end(t->buckets[c->bucket], c, now_ns);
}

void dht_table_answered(struct dht_table *t, const uint8_t id[static DHT_ID], uint64_t now_ns)
{
    struct dht_contact *c = map_get(t->by_id, id);
    if (c != NULL)
        answered(t->buckets[c->bucket], c, now_ns);
}

void dht_table_unprobe(struct dht_table *t, const uint8_t id[static DHT_ID])
{
    struct dht_contact *c = map_get(t->by_id, id);
    if (c != NULL)
        c->is_probed = false;
}

bool dht_table_failed(struct dht_table *t, const uint8_t id[static DHT_ID])
{
    struct dht_contact *c = map_get(t->by_id, id);
    if (c == NULL)
        return false;
    c->failures++;
    if (!c->is_probed && !c->is_waiting && c->failures < DHT_FAILURES_MAX)
        return false;
    remove_contact(t, c);
    return true;
}

void dht_table_remove(struct dht_table *t, const uint8_t id[static DHT_ID])
{
    struct dht_contact *c = map_get(t->by_id, id);
    if (c != NULL)
        remove_contact(t, c);
}

/* ---- looking --------------------------------------------------------------------------------- */

const struct dht_contact *dht_table_get(const struct dht_table *t, const uint8_t id[static DHT_ID])
{
    const struct dht_contact *c = map_get(t->by_id, id);
    return c != NULL && !c->is_waiting ? c : NULL;
}

size_t dht_table_len(const struct dht_table *t)
{
    return t->n_live;
}

size_t dht_table_replacements(const struct dht_table *t)
{
    return t->n_waiting;
}

size_t dht_table_buckets(const struct dht_table *t)
{
    size_t n = 0;
    for (unsigned i = 0; i < DHT_BUCKETS; i++)
        n += t->buckets[i] != NULL && t->buckets[i]->n_live > 0;
    return n;
}

void dht_table_each(const struct dht_table *t, bool (*fn)(void *arg, const struct dht_contact *c),
                    void *arg)
{
    for (unsigned i = 0; i < DHT_BUCKETS; i++) {
        if (t->buckets[i] == NULL)
            continue;
        list_each (at, &t->buckets[i]->live)
            if (!fn(arg, contact_of(at)))
                return;
    }
}

static bool add_near(void *arg, const struct dht_contact *c)
{
    dht_near_add(arg, c->to.id, c->prefix, c);
    return true;
}

void dht_table_nearest(const struct dht_table *t, const uint8_t key[static DHT_ID], size_t most,
                       struct dht_near *out)
{
    dht_near_init(out, key, most, t->is_lab);
    dht_table_each(t, add_near, out);
}

struct nearer {
    const uint8_t *key, *id;
    bool is_lab;
    size_t n, most;
    uint64_t prefixes[DHT_NEAR_MAX];
};

static bool count_nearer(void *arg, const struct dht_contact *c)
{
    struct nearer *q = arg;
    if (!dht_id_is_nearer(q->key, c->to.id, q->id))
        return true;
    for (size_t i = 0; i < q->n && !q->is_lab; i++)
        if (q->prefixes[i] == c->prefix)
            return true;
    q->prefixes[q->n++] = c->prefix;
    return q->n < q->most;
}

size_t dht_table_nearer(const struct dht_table *t, const uint8_t key[static DHT_ID],
                        const uint8_t id[static DHT_ID], size_t most)
{
    struct nearer q = { .key = key, .id = id, .is_lab = t->is_lab };
    q.most = most < DHT_NEAR_MAX ? most : DHT_NEAR_MAX;
    if (q.most > 0)
        dht_table_each(t, count_nearer, &q);
    return q.n;
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

void dht_table_looked(struct dht_table *t, const uint8_t key[static DHT_ID], uint64_t now_ns)
{
    unsigned i = dht_id_shared(t->self, key);
    struct bucket *b = i < DHT_BUCKETS ? bucket_at(t, i) : NULL;
    if (b != NULL)
        b->looked_ns = now_ns;
}

int dht_table_unlooked(const struct dht_table *t, uint64_t before_ns)
{
    int deepest = DHT_BUCKETS - 1;
    while (deepest >= 0 && (t->buckets[deepest] == NULL || t->buckets[deepest]->n_live == 0))
        deepest--;
    for (int i = 0; i <= deepest; i++)
        if (t->buckets[i] == NULL || t->buckets[i]->looked_ns < before_ns)
            return i;
    return -1;
}

/* The i-th nearest of N random ids is at about i / (N + 1) of the whole space; the median of what
 * the nearest say is hard to bend by a few Sybils. */
uint64_t dht_table_estimate(const struct dht_table *t)
{
    enum { SAMPLES = 16 };
    struct dht_near near;
    double guesses[SAMPLES];
    size_t n = 0;
    dht_table_nearest(t, t->self, SAMPLES, &near);
    for (; n < dht_near_len(&near); n++) {
        const uint8_t *id = dht_near_at(&near, n)->id;
        double share = 0;
        for (int i = 15; i >= 0; i--)
            share = (share + (id[i] ^ t->self[i])) / 256;
        double guess = share > 0 ? (double)(n + 1) / share : 0;
        size_t k = n;
        for (; k > 0 && guesses[k - 1] > guess; k--)
            guesses[k] = guesses[k - 1];
        guesses[k] = guess;
    }
    if (n == 0)
        return 0;
    double median = guesses[n / 2];
    return median < 1e15 ? (uint64_t)median + 1 : 0;
}

/* ---- the check ------------------------------------------------------------------------------- */

static bool check_row(const struct dht_table *t, unsigned bucket, const struct list *row,
                      bool is_waiting, unsigned n)
{
    unsigned seen = 0;
    list_each (at, row) {
        const struct dht_contact *c = contact_of(at);
        if (c->bucket != bucket || c->is_waiting != is_waiting ||
            dht_id_shared(t->self, c->to.id) != bucket || map_get(t->by_id, c->to.id) != c)
            return false;
        seen++;
    }
    return seen == n;
}

bool table__check(const struct dht_table *t)
{
    size_t live = 0;
    size_t waiting = 0;
    for (unsigned i = 0; i < DHT_BUCKETS; i++) {
        const struct bucket *b = t->buckets[i];
        if (b == NULL)
            continue;
        if (b->n_live > DHT_K || b->n_waiting > DHT_REPLACEMENTS ||
            (b->n_waiting > 0 && b->n_live == 0) || !check_row(t, i, &b->live, false, b->n_live) ||
            !check_row(t, i, &b->waiting, true, b->n_waiting))
            return false;
        live += b->n_live;
        waiting += b->n_waiting;
    }
    return live == t->n_live && waiting == t->n_waiting && map_len(t->by_id) == live + waiting;
}
