#include "dht/lookup.h"

#include <stdlib.h>
#include <string.h>

enum {
    PATHS_MAX = 8,
    OTHERS = 2, /* records of one node that a path may bring in */
};

const struct dht_lookup_rules dht_lookup_rules = {
    .paths = DHT_PATHS, .alpha = DHT_ALPHA, .asks = DHT_PATH_ASKS, .nearest = DHT_PATH_NEAREST
};
const struct dht_lookup_rules dht_lookup_self = {
    .paths = 1, .alpha = DHT_ALPHA, .asks = 2 * DHT_K, .nearest = DHT_K
};
const struct dht_lookup_rules dht_lookup_light = {
    .paths = 1, .alpha = DHT_ALPHA, .asks = DHT_PATH_ASKS / 2, .nearest = DHT_PATH_NEAREST
};
const struct dht_lookup_rules dht_lookup_plain = {
    .paths = 1, .alpha = DHT_ALPHA, .asks = 80, .nearest = DHT_K, .any_prefix = true
};

struct dht_lookup {
    uint8_t key[DHT_ID];
    struct dht_lookup_rules rules;
    struct dht_candidate *at[DHT_CANDIDATES]; /* in order of distance */
    size_t n;
    unsigned n_seeds, n_asked, n_flying;
    unsigned asked[PATHS_MAX], flying[PATHS_MAX], held[PATHS_MAX];
    unsigned turn; /* the path that asks next */
};

struct dht_lookup *dht_lookup_create(const uint8_t key[static DHT_ID],
                                     const struct dht_lookup_rules *rules)
{
    struct dht_lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    memcpy(l->key, key, sizeof l->key);
    l->rules = *rules;
    return l;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Where `id` is or belongs. */
static size_t place_of(const struct dht_lookup *l, const uint8_t id[static DHT_ID])
{
    size_t low = 0;
    size_t high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (dht_id_is_nearer(l->key, l->at[mid]->id, id))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* How many records of candidates one path may bring in: a liar on one doesn't push out what the
 * others found. */
static unsigned share(const struct dht_lookup *l)
{
    return DHT_CANDIDATES / l->rules.paths;
}

/* To another path that knows it and has room; false: there is none. */
static bool hand_to_another(struct dht_lookup *l, struct dht_candidate *c)
{
    c->paths &= (uint8_t) ~(1u << c->owner);
    for (unsigned p = 0; p < l->rules.paths && c->other == NULL; p++) {
        if ((c->paths >> p & 1) == 0 || l->held[p] >= share(l))
            continue;
        l->held[c->owner]--;
        l->held[p]++;
        c->owner = (uint8_t)p;
        return true;
    }
    return false;
}

static void candidate_free(struct dht_lookup *l, struct dht_candidate *c)
{
    while (c != NULL) {
        struct dht_candidate *other = c->other;
        l->held[c->owner]--;
        free(c);
        c = other;
    }
}

void dht_lookup_destroy(struct dht_lookup *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->n; i++)
        candidate_free(l, l->at[i]);
    free(l);
}

/* Room in the path's share for one more before place `i`: the path's farthest NEW one goes. False
 * when all that is farther is in use. */
static bool make_room(struct dht_lookup *l, unsigned path, size_t i)
{
    for (size_t k = l->n; l->held[path] >= share(l) && k > i; k--) {
        struct dht_candidate *c = l->at[k - 1];
        if (c->state != DHT_NEW || c->owner != path || hand_to_another(l, c))
            continue;
        candidate_free(l, c);
        memmove(&l->at[k - 1], &l->at[k], (l->n - k) * sizeof l->at[0]);
        l->n--;
    }
    return l->held[path] < share(l);
}

static struct dht_candidate *candidate_make(struct dht_lookup *l, const struct dht_candidate *like,
                                            const uint8_t *record, size_t len)
{
    struct dht_candidate *c = malloc(sizeof *c + len);
    if (c == NULL)
        return NULL;
    *c = *like;
    c->len = len;
    if (len > 0)
        memcpy(c->record, record, len);
    l->held[c->owner]++;
    return c;
}

/* Nothing is proven about a record before its node is asked, so the first teller's may be false,
 * and the second's true: a few are kept, and tried in turn. */
static void add_other(struct dht_lookup *l, struct dht_candidate *c,
                      const struct dht_candidate *like, const uint8_t *record, size_t len)
{
    unsigned of_path = 0;
    bool is_known = c->is_proven || c->state == DHT_ANSWERED;
    struct dht_candidate *last = c;
    for (struct dht_candidate *x = c; x != NULL; x = x->other) {
        is_known |= (x->teller == like->teller && x->owner == like->owner) ||
                    (x->len == len && (len == 0 || memcmp(x->record, record, len) == 0));
        of_path += x->owner == like->owner;
        last = x;
    }
    if (is_known || of_path >= OTHERS || l->held[like->owner] >= share(l))
        return;
    last->other = candidate_make(l, like, record, len);
}

/* The next record of a node that failed takes its place. */
static bool try_other(struct dht_lookup *l, struct dht_candidate *c)
{
    struct dht_candidate *o = c->other;
    if (o == NULL)
        return false;
    o->paths |= c->paths;
    l->at[place_of(l, c->id)] = o;
    c->other = NULL;
    candidate_free(l, c);
    return true;
}

static void add(struct dht_lookup *l, struct dht_candidate *like, const uint8_t *record, size_t len)
{
    size_t i = place_of(l, like->id);
    like->paths = (uint8_t)(1u << like->owner);
    if (i < l->n && memcmp(l->at[i]->id, like->id, DHT_ID) == 0) {
        add_other(l, l->at[i], like, record, len);
        l->at[i]->paths |= like->paths;
        if (l->at[i]->state == DHT_FAILED)
            (void)try_other(l, l->at[i]);
        return;
    }
    if (!make_room(l, like->owner, i))
        return;
    struct dht_candidate *c = candidate_make(l, like, record, len);
    if (c == NULL)
        return;
    memmove(&l->at[i + 1], &l->at[i], (l->n - i) * sizeof l->at[0]);
    l->at[i] = c;
    l->n++;
}

void dht_lookup_seed(struct dht_lookup *l, const uint8_t id[static DHT_ID], uint64_t prefix,
                     const uint8_t *record, size_t len, bool is_proven)
{
    struct dht_candidate c = { .prefix = prefix, .hop = 1, .is_proven = is_proven };
    memcpy(c.id, id, sizeof c.id);
    c.owner = (uint8_t)(l->n_seeds++ % l->rules.paths);
    add(l, &c, record, len);
}

void dht_lookup_told(struct dht_lookup *l, const struct dht_candidate *teller,
                     const uint8_t id[static DHT_ID], uint64_t prefix, const uint8_t *record,
                     size_t len)
{
    struct dht_candidate c = { .prefix = prefix, .owner = teller->path, .teller = teller };
    memcpy(c.id, id, sizeof c.id);
    c.hop = (uint8_t)(teller->hop < UINT8_MAX ? teller->hop + 1 : UINT8_MAX);
    add(l, &c, record, len);
}

/* ---- what a path sees ------------------------------------------------------------------------ */

/* Slow ones are as good as failed until they answer. */
static bool counts(const struct dht_candidate *c)
{
    return c->state != DHT_FAILED && c->state != DHT_SLOW;
}

/* Is a nearer candidate, not failed, of the same prefix? Such a one comes first (near.h). What
 * another path heard of and nobody asked doesn't count: prefixes are claimed for nothing. */
static bool is_second(const struct dht_lookup *l, unsigned path, size_t i)
{
    if (l->rules.any_prefix)
        return false;
    for (size_t k = 0; k < i; k++)
        if (counts(l->at[k]) && l->at[k]->prefix == l->at[i]->prefix &&
            (l->at[k]->state != DHT_NEW || (l->at[k]->paths >> path & 1) != 0))
            return true;
    return false;
}

/* The nearest NEW candidate among the path's first `nearest` ones; NULL: these are asked. With
 * want_second those that come second by the rule are looked at, after `n_before` others. */
static struct dht_candidate *scan(const struct dht_lookup *l, unsigned path, bool want_second,
                                  unsigned *n_before)
{
    for (size_t i = 0; i < l->n && *n_before < l->rules.nearest; i++) {
        struct dht_candidate *c = l->at[i];
        if ((c->paths >> path & 1) == 0 || !counts(c) || is_second(l, path, i) != want_second)
            continue;
        if (c->state == DHT_NEW)
            return c;
        /* Somebody else's answer is as good: the path goes on to what it alone can ask. */
        if (c->path == path)
            ++*n_before;
    }
    return NULL;
}

static struct dht_candidate *next_of(const struct dht_lookup *l, unsigned path)
{
    unsigned n_before = 0;
    if (l->asked[path] >= l->rules.asks)
        return NULL;
    struct dht_candidate *c = scan(l, path, false, &n_before);
    return c != NULL ? c : scan(l, path, true, &n_before);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct dht_candidate *dht_lookup_next(struct dht_lookup *l)
{
    for (unsigned i = 0; i < l->rules.paths; i++) {
        unsigned path = l->turn++ % l->rules.paths;
        struct dht_candidate *c = l->flying[path] < l->rules.alpha ? next_of(l, path) : NULL;
        if (c == NULL)
            continue;
        c->state = DHT_ASKED;
        c->path = (uint8_t)path;
        l->asked[path]++;
        l->flying[path]++;
        l->n_asked++;
        l->n_flying++;
        return c;
    }
    return NULL;
}

static void land(struct dht_lookup *l, struct dht_candidate *c, enum dht_candidate_state state)
{
    if (c->state == DHT_ASKED) {
        l->flying[c->path]--;
        l->n_flying--;
    }
    c->state = state;
}

void dht_lookup_slow(struct dht_lookup *l, struct dht_candidate *c)
{
    land(l, c, DHT_SLOW);
}

void dht_lookup_answered(struct dht_lookup *l, struct dht_candidate *c, bool has_answer)
{
    land(l, c, has_answer ? DHT_ANSWERED : DHT_FAILED);
    if (!has_answer)
        (void)try_other(l, c);
}

bool dht_lookup_is_done(const struct dht_lookup *l)
{
    if (l->n_flying > 0)
        return false;
    for (unsigned path = 0; path < l->rules.paths; path++)
        if (next_of(l, path) != NULL)
            return false;
    return true;
}

void dht_lookup_nearest(const struct dht_lookup *l, size_t most, struct dht_near *out)
{
    dht_near_init(out, l->key, most, l->rules.any_prefix);
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i]->state == DHT_ANSWERED)
            dht_near_add(out, l->at[i]->id, l->at[i]->prefix, l->at[i]);
}

void dht_lookup_answers_each(const struct dht_lookup *l,
                             void (*fn)(void *arg, struct dht_candidate *c), void *arg)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i]->state == DHT_ANSWERED)
            fn(arg, l->at[i]);
}

unsigned dht_lookup_asked(const struct dht_lookup *l)
{
    return l->n_asked;
}

const uint8_t *dht_lookup_key(const struct dht_lookup *l)
{
    return l->key;
}
