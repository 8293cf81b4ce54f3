/* A queue for each path that holds cells: a ring of buffers from the node's pool. A link finds them
 * by a hash table of its own (path ids come from the peer, so the hash is keyed) and serves them
 * from a list in turn. Drained queues rest in the node's free list, so that a path in steady use
 * costs no malloc for a cell. */
#include "mesh/sched.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "mesh/greedy.h"

enum {
    RING_FIRST = 4,     /* cells, inside the queue: most paths hold no more on a link that flows */
    RING_REST_MAX = 64, /* a resting queue keeps a ring up to this: bursts of TCP's first windows */
    RESTING_MAX = 64,   /* queues in the free list: 40 kB at most */
    BUCKETS_FIRST = 8,
    BUCKETS_REST_MAX = 64, /* an idle link keeps a table up to this */
    GREEDY_SCAN = 16,      /* paths looked at among those of the top power of two */
    POOL_KEEP_SHARE = 128,
    QUANTUM = MESH_CELL
};

static_assert((MESH_PATH_CELLS & (MESH_PATH_CELLS - 1)) == 0, "a ring doubles up to the bound");
static_assert(MESH_PATH_CELLS > MESH_PATH_DROP_RUN, "a run never empties a full path");

struct queue {
    struct list turn; /* in sched->active, or in cells->resting */
    struct greedy_item greedy;
    struct queue *hash_next;
    struct mesh_sched *sched;
    uint8_t **ring; /* first[] or malloc'ed; cap is a power of two */
    uint64_t hash;  /* of path */
    uint32_t path;
    uint32_t head, len, cap;
    uint32_t deficit; /* bytes */
    uint8_t *first[RING_FIRST];
};

struct mesh_cells {
    struct pool *pool;
    struct greedy greedy;
    struct list resting;
    size_t n_resting;
    uint64_t dropped;
};

struct mesh_sched {
    struct mesh_cells *cells;
    struct list active; /* queues with cells, the next to serve first */
    struct queue *last; /* the one pushed to last: runs of one path skip the hash */
    struct queue **buckets;
    size_t n_buckets; /* power of two, or 0 */
    size_t n_paths, n_cells;
    uint64_t dropped;
};

struct mesh_cells *mesh_cells_create(size_t max_bytes)
{
    struct mesh_cells *c = calloc(1, sizeof *c);
    size_t max = max_bytes / MESH_CELL;
    if (c == NULL)
        return NULL;
    if (max == 0)
        max = 1;
    c->pool = pool_create(MESH_CELL, max, max / POOL_KEEP_SHARE);
    if (c->pool == NULL) {
        free(c);
        return NULL;
    }
    greedy_init(&c->greedy);
    list_init(&c->resting);
    return c;
}

static void queue_free(struct queue *q)
{
    if (q->ring != q->first)
        free(q->ring);
    free(q);
}

void mesh_cells_destroy(struct mesh_cells *c)
{
    if (c == NULL)
        return;
    list_each_safe (n, &c->resting)
        queue_free(container_of(n, struct queue, turn));
    pool_destroy(c->pool);
    free(c);
}

size_t mesh_cells_used(const struct mesh_cells *c)
{
    return pool_used(c->pool) * MESH_CELL;
}

uint64_t mesh_cells_dropped(const struct mesh_cells *c)
{
    return c->dropped;
}

struct mesh_sched *mesh_sched_create(struct mesh_cells *cells)
{
    struct mesh_sched *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->cells = cells;
    list_init(&s->active);
    return s;
}

/* ---- finding a path's queue ------------------------------------------------------------------ */

static uint64_t hash_of(uint32_t path)
{
    return map_hash(&path, sizeof path);
}

static struct queue **bucket_of(const struct mesh_sched *s, uint64_t hash)
{
    return &s->buckets[hash & (s->n_buckets - 1)];
}

static struct queue *find_hashed(const struct mesh_sched *s, uint32_t path, uint64_t hash)
{
    struct queue *q = s->n_buckets != 0 ? *bucket_of(s, hash) : NULL;
    while (q != NULL && q->path != path)
        q = q->hash_next;
    return q;
}

static struct queue *find(const struct mesh_sched *s, uint32_t path)
{
    if (s->last != NULL && s->last->path == path)
        return s->last;
    return find_hashed(s, path, hash_of(path));
}

/* Makes room for one more path. False when memory is out and there is no table at all; a table that
 * can't grow only gets slower. */
static bool grow_buckets(struct mesh_sched *s)
{
    if (s->n_paths < s->n_buckets)
        return true;
    struct queue **old = s->buckets;
    size_t n = s->n_buckets != 0 ? s->n_buckets * 2 : BUCKETS_FIRST;
    struct queue **grown = calloc(n, sizeof(struct queue *));
    if (grown == NULL)
        return old != NULL;
    s->buckets = grown;
    s->n_buckets = n;
    list_each (node, &s->active) { /* every queue with cells is in it */
        struct queue *q = container_of(node, struct queue, turn);
        struct queue **b = bucket_of(s, q->hash);
        q->hash_next = *b;
        *b = q;
    }
    free(old);
    return true;
}

static struct queue *new_queue(struct mesh_cells *c)
{
    struct queue *q;
    if (!list_empty(&c->resting)) {
        q = container_of(c->resting.next, struct queue, turn);
        list_del(&q->turn);
        c->n_resting--;
        return q;
    }
    q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    list_init(&q->turn);
    greedy_item_init(&q->greedy);
    q->ring = q->first;
    q->cap = RING_FIRST;
    return q;
}

/* An empty queue for `path`, found by find() from now on. */
static struct queue *add_queue(struct mesh_sched *s, uint32_t path, uint64_t hash)
{
    struct queue *q = grow_buckets(s) ? new_queue(s->cells) : NULL;
    if (q == NULL)
        return NULL;
    struct queue **b = bucket_of(s, hash);
    q->sched = s;
    q->hash = hash;
    q->path = path;
    q->head = q->len = q->deficit = 0;
    q->hash_next = *b;
    *b = q;
    list_push_back(&s->active, &q->turn);
    s->n_paths++;
    return q;
}

static void rest_queue(struct mesh_cells *c, struct queue *q)
{
    if (c->n_resting == RESTING_MAX || q->cap > RING_REST_MAX) {
        queue_free(q);
        return;
    }
    list_push_front(&c->resting, &q->turn);
    c->n_resting++;
}

/* The queue has no cells left: it leaves the link. */
static void remove_queue(struct queue *q)
{
    struct mesh_sched *s = q->sched;
    struct queue **at = bucket_of(s, q->hash);
    while (*at != q)
        at = &(*at)->hash_next;
    *at = q->hash_next;
    list_del(&q->turn);
    if (s->last == q)
        s->last = NULL;
    s->n_paths--;
    rest_queue(s->cells, q);
    if (s->n_paths == 0 && s->n_buckets > BUCKETS_REST_MAX) {
        free(s->buckets);
        s->buckets = NULL;
        s->n_buckets = 0;
    }
}

/* ---- cells in a queue ------------------------------------------------------------------------ */

static bool grow_ring(struct queue *q)
{
    if (q->len < q->cap || q->cap >= MESH_PATH_CELLS)
        return true; /* at the bound a run goes instead */
    uint8_t **grown = malloc(2 * (size_t)q->cap * sizeof(uint8_t *));
    if (grown == NULL)
        return false;
    for (uint32_t i = 0; i < q->len; i++)
        grown[i] = q->ring[(q->head + i) & (q->cap - 1)];
    if (q->ring != q->first)
        free(q->ring);
    q->ring = grown;
    q->cap *= 2;
    q->head = 0;
    return true;
}

static uint8_t *take_oldest(struct queue *q)
{
    struct mesh_sched *s = q->sched;
    uint8_t *cell = q->ring[q->head];
    q->head = (q->head + 1) & (q->cap - 1);
    q->len--;
    s->n_cells--;
    greedy_set(&s->cells->greedy, &q->greedy, q->len);
    return cell;
}

/* Drops up to `n` of the oldest cells together; the queue is gone when none is left. */
static void drop_oldest(struct queue *q, size_t n)
{
    struct mesh_sched *s = q->sched;
    struct mesh_cells *c = s->cells;
    for (; n > 0 && q->len > 0; n--) {
        pool_put(c->pool, take_oldest(q));
        s->dropped++;
        c->dropped++;
    }
    if (q->len == 0)
        remove_queue(q);
}

/* A buffer, after a run of the node's greediest path went if the bound is reached (*shed). */
static uint8_t *get_buffer(struct mesh_cells *c, bool *shed)
{
    if (pool_used(c->pool) == pool_max(c->pool)) {
        struct greedy_item *it = greedy_top(&c->greedy, GREEDY_SCAN);
        drop_oldest(container_of(it, struct queue, greedy), MESH_PATH_DROP_RUN);
        *shed = true;
    }
    return pool_get(c->pool);
}

/* The path's queue with room for one more cell at its end, or NULL when memory is out. */
static struct queue *queue_with_room(struct mesh_sched *s, uint32_t path)
{
    struct queue *q = s->last;
    if (q == NULL || q->path != path) {
        uint64_t hash = hash_of(path);
        q = find_hashed(s, path, hash);
        if (q == NULL)
            q = add_queue(s, path, hash);
    }
    if (q != NULL && !grow_ring(q))
        return NULL; /* it was full, so it holds cells and may stay */
    return q;
}

static void append(struct queue *q, uint8_t *buf)
{
    struct mesh_sched *s = q->sched;
    q->ring[(q->head + q->len) & (q->cap - 1)] = buf;
    q->len++;
    s->n_cells++;
    s->last = q;
    greedy_set(&s->cells->greedy, &q->greedy, q->len);
}

int mesh_sched_push(struct mesh_sched *s, uint32_t path, const uint8_t cell[static MESH_CELL])
{
    bool shed = false;
    /* First the buffer: getting one may take any path's queue away, this one's too. */
    uint8_t *buf = get_buffer(s->cells, &shed);
    if (buf == NULL)
        return CYX_ENOMEM;
    struct queue *q = queue_with_room(s, path);
    if (q == NULL) {
        pool_put(s->cells->pool, buf);
        return CYX_ENOMEM;
    }
    if (q->len >= MESH_PATH_CELLS) {
        drop_oldest(q, MESH_PATH_DROP_RUN); /* leaves most of them: q stays */
        shed = true;
    }
    memcpy(buf, cell, MESH_CELL);
    append(q, buf);
    return shed ? CYX_EFULL : 0;
}

uint32_t mesh_sched_pop(struct mesh_sched *s, uint8_t out[static MESH_CELL])
{
    if (list_empty(&s->active))
        return 0;
    struct queue *q = container_of(s->active.next, struct queue, turn);
    uint32_t path = q->path;
    if (q->deficit < MESH_CELL)
        q->deficit += QUANTUM;
    uint8_t *cell = take_oldest(q);
    q->deficit -= MESH_CELL;
    memcpy(out, cell, MESH_CELL);
    pool_put(s->cells->pool, cell);
    if (q->len == 0) {
        remove_queue(q);
    } else if (q->deficit < MESH_CELL) {
        list_del(&q->turn);
        list_push_back(&s->active, &q->turn);
    }
    return path;
}

void mesh_sched_forget(struct mesh_sched *s, uint32_t path)
{
    struct queue *q = find(s, path);
    if (q == NULL)
        return;
    while (q->len > 0)
        pool_put(s->cells->pool, take_oldest(q));
    remove_queue(q);
}

void mesh_sched_destroy(struct mesh_sched *s)
{
    if (s == NULL)
        return;
    while (!list_empty(&s->active))
        mesh_sched_forget(s, container_of(s->active.next, struct queue, turn)->path);
    free(s->buckets);
    free(s);
}

size_t mesh_sched_len(const struct mesh_sched *s)
{
    return s->n_cells;
}

size_t mesh_sched_path_len(const struct mesh_sched *s, uint32_t path)
{
    const struct queue *q = find(s, path);
    return q != NULL ? q->len : 0;
}

size_t mesh_sched_paths(const struct mesh_sched *s)
{
    return s->n_paths;
}

uint64_t mesh_sched_dropped(const struct mesh_sched *s)
{
    return s->dropped;
}
