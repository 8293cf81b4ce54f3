#include "mesh/budget.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "mesh/greedy.h"

enum { TOKEN_BITS = 20 };

static const uint64_t second_ns = 1000000000u;

/* ---- one bucket ------------------------------------------------------------------------------ */

void mesh_bucket_init(struct mesh_bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    if (burst > UINT64_MAX >> TOKEN_BITS)
        burst = UINT64_MAX >> TOKEN_BITS;
    *b = (struct mesh_bucket){
        .rate = rate, .burst = burst, .tokens = burst << TOKEN_BITS, .at_ns = now_ns
    };
}

/* What the bucket holds at now_ns. Never written back on a refusal, so that a flood of refused
 * takes can't round the refill down to nothing. */
static uint64_t held(const struct mesh_bucket *b, uint64_t now_ns)
{
    uint64_t full = b->burst << TOKEN_BITS;
    uint64_t passed = now_ns > b->at_ns ? now_ns - b->at_ns : 0;
    unsigned __int128 gained = (unsigned __int128)passed * b->rate;
    /* Before the shift: passed and rate may each fill their 64 bits. */
    if (gained / second_ns >= b->burst)
        return full;
    gained = (gained << TOKEN_BITS) / second_ns;
    return gained >= full - b->tokens ? full : b->tokens + (uint64_t)gained;
}

bool mesh_bucket_take(struct mesh_bucket *b, uint64_t n, uint64_t now_ns)
{
    if (n > b->burst)
        return false;
    uint64_t have = held(b, now_ns);
    if (have < n << TOKEN_BITS)
        return false;
    b->tokens = have - (n << TOKEN_BITS);
    if (now_ns > b->at_ns)
        b->at_ns = now_ns;
    return true;
}

uint64_t mesh_bucket_when(const struct mesh_bucket *b, uint64_t n, uint64_t now_ns)
{
    if (n <= b->burst && held(b, now_ns) >= n << TOKEN_BITS)
        return now_ns;
    if (n > b->burst || b->rate == 0)
        return UINT64_MAX;
    unsigned __int128 rate = (unsigned __int128)b->rate << TOKEN_BITS;
    unsigned __int128 missing = (n << TOKEN_BITS) - b->tokens;
    unsigned __int128 wait = (missing * second_ns + rate - 1) / rate;
    return wait < UINT64_MAX - b->at_ns ? b->at_ns + (uint64_t)wait : UINT64_MAX;
}

/* ---- buckets by prefix ----------------------------------------------------------------------- */

struct prefix_bucket {
    struct list idle; /* in budget->by_use, the one idle longest first */
    uint64_t prefix;
    struct mesh_bucket bucket;
};

struct mesh_prefix_budget {
    struct map *by_prefix;
    struct list by_use;
    size_t cap;
    uint64_t rate, burst;
};

struct mesh_prefix_budget *mesh_prefix_budget_create(size_t cap, uint64_t rate, uint64_t burst)
{
    struct mesh_prefix_budget *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->by_prefix = map_create(sizeof(uint64_t), cap);
    if (p->by_prefix == NULL) {
        free(p);
        return NULL;
    }
    list_init(&p->by_use);
    p->cap = cap;
    p->rate = rate;
    p->burst = burst;
    return p;
}

static void remove_bucket(struct mesh_prefix_budget *p, struct prefix_bucket *b)
{
    map_del(p->by_prefix, &b->prefix);
    list_del(&b->idle);
    free(b);
}

void mesh_prefix_budget_destroy(struct mesh_prefix_budget *p)
{
    if (p == NULL)
        return;
    while (!list_empty(&p->by_use))
        remove_bucket(p, container_of(p->by_use.next, struct prefix_bucket, idle));
    map_destroy(p->by_prefix);
    free(p);
}

static struct prefix_bucket *add_bucket(struct mesh_prefix_budget *p, uint64_t prefix,
                                        uint64_t now_ns)
{
    if (map_len(p->by_prefix) >= p->cap && !list_empty(&p->by_use))
        remove_bucket(p, container_of(p->by_use.next, struct prefix_bucket, idle));
    struct prefix_bucket *b = malloc(sizeof *b);
    if (b == NULL)
        return NULL;
    b->prefix = prefix;
    list_init(&b->idle);
    mesh_bucket_init(&b->bucket, p->rate, p->burst, now_ns);
    if (map_put(p->by_prefix, &prefix, b) < 0) {
        free(b);
        return NULL;
    }
    return b;
}

bool mesh_prefix_budget_take(struct mesh_prefix_budget *p, uint64_t prefix, uint64_t now_ns)
{
    struct prefix_bucket *b = map_get(p->by_prefix, &prefix);
    if (b == NULL)
        b = add_bucket(p, prefix, now_ns);
    if (b == NULL)
        return false; /* without memory for a bucket there is none for what it would let in */
    list_del(&b->idle);
    list_push_back(&p->by_use, &b->idle);
    return mesh_bucket_take(&b->bucket, 1, now_ns);
}

/* ---- counts by prefix ------------------------------------------------------------------------ */

struct prefix_count {
    struct greedy_item greedy; /* weight: the count */
    uint64_t prefix;
    struct list members;
};

enum { GREATEST_SCAN = 64 };

struct mesh_prefix_count {
    struct map *by_prefix;
    struct greedy greedy;
};

struct mesh_prefix_count *mesh_prefix_count_create(void)
{
    struct mesh_prefix_count *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->by_prefix = map_create(sizeof(uint64_t), SIZE_MAX); /* bounded by what is counted */
    if (p->by_prefix == NULL) {
        free(p);
        return NULL;
    }
    greedy_init(&p->greedy);
    return p;
}

static bool free_count(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

void mesh_prefix_count_destroy(struct mesh_prefix_count *p)
{
    if (p == NULL)
        return;
    map_each(p->by_prefix, free_count, NULL);
    map_destroy(p->by_prefix);
    free(p);
}

size_t mesh_prefix_count_get(const struct mesh_prefix_count *p, uint64_t prefix)
{
    const struct prefix_count *c = map_get(p->by_prefix, &prefix);
    return c != NULL ? c->greedy.weight : 0;
}

bool mesh_prefix_count_add(struct mesh_prefix_count *p, uint64_t prefix, struct list *member)
{
    struct prefix_count *c = map_get(p->by_prefix, &prefix);
    if (c == NULL) {
        c = malloc(sizeof *c);
        if (c == NULL)
            return false;
        greedy_item_init(&c->greedy);
        list_init(&c->members);
        c->prefix = prefix;
        if (map_put(p->by_prefix, &prefix, c) < 0) {
            free(c);
            return false;
        }
    }
    greedy_set(&p->greedy, &c->greedy, c->greedy.weight + 1);
    if (member != NULL)
        list_push_back(&c->members, member);
    return true;
}

struct list *mesh_prefix_count_members(struct mesh_prefix_count *p, uint64_t prefix)
{
    struct prefix_count *c = map_get(p->by_prefix, &prefix);
    return c != NULL ? &c->members : NULL;
}

void mesh_prefix_count_sub(struct mesh_prefix_count *p, uint64_t prefix)
{
    struct prefix_count *c = map_get(p->by_prefix, &prefix);
    if (c == NULL)
        return;
    greedy_set(&p->greedy, &c->greedy, c->greedy.weight - 1);
    if (c->greedy.weight == 0) {
        map_del(p->by_prefix, &prefix);
        free(c);
    }
}

uint64_t mesh_prefix_count_greatest(const struct mesh_prefix_count *p, size_t *n)
{
    struct greedy_item *it = greedy_top(&p->greedy, GREATEST_SCAN);
    *n = it != NULL ? it->weight : 0;
    return it != NULL ? container_of(it, struct prefix_count, greedy)->prefix : 0;
}
