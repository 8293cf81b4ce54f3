/* Two levels of the same thing: a bucket, and the members that share it, each with a bucket of its
 * own that fills at the rate over the number of members. A member within its part may empty the
 * common bucket; one beyond may take only what lies above half, so what is below is always there
 * for the others. */
#include "onion/share.h"

#include <stdlib.h>

#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "mesh/budget.h"

enum { MEMBERS_MAX = 8192, TOKEN_BITS = 20 }; /* mesh/budget.h: 2^-20ths */

struct level {
    struct mesh_bucket bucket;
    struct map *members; /* uint64_t -> struct member */
    struct list by_use;  /* the one that rests longest first */
};

struct member {
    struct list node;
    uint64_t key;
    uint64_t used_ns;
    struct level level; /* its own members; none at the lower level */
};

struct onion_share {
    struct level all;
};

static uint64_t part_of(uint64_t whole, const struct level *l)
{
    size_t n = map_len(l->members);
    uint64_t part = whole / (n > 0 ? n : 1);
    return part > 0 ? part : 1;
}

static void level_free(struct level *l);

static void member_drop(struct level *l, struct member *m)
{
    map_del(l->members, &m->key);
    list_del(&m->node);
    level_free(&m->level);
    free(m);
}

static void level_free(struct level *l)
{
    if (l->members == NULL)
        return;
    while (!list_empty(&l->by_use))
        member_drop(l, container_of(l->by_use.next, struct member, node));
    map_destroy(l->members);
    l->members = NULL;
}

static bool level_init(struct level *l, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    mesh_bucket_init(&l->bucket, rate, burst, now_ns);
    list_init(&l->by_use);
    l->members = map_create(sizeof(uint64_t), MEMBERS_MAX);
    return l->members != NULL;
}

static void drop_resting(struct level *l, uint64_t now_ns)
{
    while (!list_empty(&l->by_use)) {
        struct member *m = container_of(l->by_use.next, struct member, node);
        if (now_ns - m->used_ns < ENV_S(ONION_SHARE_REST_S))
            return;
        member_drop(l, m);
    }
}

static struct member *member_add(struct level *l, uint64_t key, uint64_t now_ns)
{
    struct member *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->key = key;
    list_init(&m->node);
    if (!level_init(&m->level, 1, 1, now_ns) || map_put(l->members, &key, m) != 0) {
        level_free(&m->level);
        free(m);
        return NULL;
    }
    /* a newcomer has its part at once */
    mesh_bucket_init(&m->level.bucket, part_of(l->bucket.rate, l), part_of(l->bucket.burst, l),
                     now_ns);
    return m;
}

/* A smaller burst takes what is held beyond it away: more came to share. */
static void set_part(struct mesh_bucket *b, uint64_t rate, uint64_t burst)
{
    uint64_t most = burst << TOKEN_BITS;
    b->rate = rate;
    b->burst = burst;
    if (b->tokens > most)
        b->tokens = most;
}

/* The member's account, with its part by how many share now. */
static struct member *member_of(struct level *l, uint64_t key, uint64_t now_ns)
{
    struct member *m = map_get(l->members, &key);
    if (m == NULL)
        m = member_add(l, key, now_ns);
    if (m == NULL)
        return NULL;
    m->used_ns = now_ns;
    list_del(&m->node);
    list_push_back(&l->by_use, &m->node);
    set_part(&m->level.bucket, part_of(l->bucket.rate, l), part_of(l->bucket.burst, l));
    return m;
}

enum standing { BEYOND, WITHIN, RESTED };

/* What has to be in a common bucket for a member of that standing. */
static uint64_t least_for(const struct mesh_bucket *b, enum standing s)
{
    switch (s) {
    case RESTED:
        return 1;
    case WITHIN:
        return b->burst / 4 + 1;
    case BEYOND:
        return b->burst / 2 + 1;
    }
    return b->burst;
}

static bool holds(const struct mesh_bucket *b, uint64_t n, uint64_t now_ns)
{
    return mesh_bucket_when(b, n, now_ns) <= now_ns;
}

/* By its own bucket, of which a member of standing `below` wants a token. */
static enum standing standing_of(const struct mesh_bucket *b, enum standing below, uint64_t now_ns)
{
    if (!holds(b, least_for(b, below), now_ns))
        return BEYOND;
    return holds(b, b->burst / 2 + 1, now_ns) ? RESTED : WITHIN;
}

bool onion_share_take(struct onion_share *s, uint64_t prefix, uint64_t link, uint64_t now_ns)
{
    drop_resting(&s->all, now_ns);
    struct member *p = member_of(&s->all, prefix, now_ns);
    if (p == NULL)
        return false;
    drop_resting(&p->level, now_ns);
    struct member *l = member_of(&p->level, link, now_ns);
    if (l == NULL)
        return false;
    enum standing of_link = standing_of(&l->level.bucket, RESTED, now_ns);
    enum standing of_prefix = standing_of(&p->level.bucket, of_link, now_ns);
    if (!holds(&s->all.bucket, least_for(&s->all.bucket, of_prefix), now_ns))
        return false;
    /* those that are empty stay so: what is over comes out of the common one */
    (void)mesh_bucket_take(&l->level.bucket, 1, now_ns);
    (void)mesh_bucket_take(&p->level.bucket, 1, now_ns);
    return mesh_bucket_take(&s->all.bucket, 1, now_ns);
}

struct onion_share *onion_share_create(uint64_t rate, uint64_t burst)
{
    struct onion_share *s = calloc(1, sizeof *s);
    if (s != NULL && level_init(&s->all, rate, burst, 0))
        return s;
    free(s);
    return NULL;
}

void onion_share_destroy(struct onion_share *s)
{
    if (s == NULL)
        return;
    level_free(&s->all);
    free(s);
}

size_t onion_share_prefixes(const struct onion_share *s)
{
    return map_len(s->all.members);
}
