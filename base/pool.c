/* Buffers come out of chunks: blocks of memory aligned to their own power-of-two size, so that a
 * buffer's address gives its chunk. A chunk with free buffers is in the pool's list; a chunk that
 * is all free goes back to the system when enough others are idle. */
#include "base/pool.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/list.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif
#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#define guard(p, n)   __asan_poison_memory_region((p), (n))
#define unguard(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define guard(p, n)   ((void)0)
#define unguard(p, n) ((void)0)
#endif

enum {
    ALIGN = 64,           /* a cache line */
    CHUNK_MIN = 4096,     /* bytes */
    CHUNK_BUFFERS_MIN = 8 /* enough that most gets find a chunk ready */
};

struct free_buf {
    struct free_buf *next;
};

struct chunk {
    struct list node; /* in pool->ready while it has a free buffer */
    struct free_buf *free;
    size_t n_used;
    size_t n_fresh; /* buffers from here on were never out: their pages are untouched */
};

struct pool {
    struct list ready;
    size_t size;        /* of a buffer, rounded up */
    size_t chunk_bytes; /* power of two */
    size_t per_chunk;
    size_t max, keep;
    size_t n_used, n_idle;
};

static_assert(sizeof(struct chunk) <= ALIGN, "a chunk's head takes one line before its buffers");

struct pool *pool_create(size_t size, size_t max, size_t keep)
{
    if (size == 0 || max == 0 || size > SIZE_MAX / 64)
        return NULL;
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    list_init(&p->ready);
    p->size = (size + ALIGN - 1) / ALIGN * ALIGN;
    p->max = max;
    p->keep = keep;
    size_t want = max < CHUNK_BUFFERS_MIN ? max : CHUNK_BUFFERS_MIN;
    p->chunk_bytes = CHUNK_MIN;
    while (p->chunk_bytes < ALIGN + want * p->size)
        p->chunk_bytes *= 2;
    p->per_chunk = (p->chunk_bytes - ALIGN) / p->size;
    return p;
}

static void free_chunk(struct pool *p, struct chunk *c)
{
    list_del(&c->node);
    p->n_idle -= p->per_chunk;
    unguard(c, p->chunk_bytes);
    free(c);
}

void pool_destroy(struct pool *p)
{
    if (p == NULL)
        return;
    assert(p->n_used == 0);
    while (!list_empty(&p->ready))
        free_chunk(p, container_of(p->ready.next, struct chunk, node));
    free(p);
}

static struct chunk *add_chunk(struct pool *p)
{
    struct chunk *c = aligned_alloc(p->chunk_bytes, p->chunk_bytes);
    if (c == NULL)
        return NULL;
    *c = (struct chunk){ .free = NULL };
    list_init(&c->node);
    list_push_front(&p->ready, &c->node);
    p->n_idle += p->per_chunk;
    guard((uint8_t *)c + ALIGN, p->chunk_bytes - ALIGN);
    return c;
}

void *pool_get(struct pool *p)
{
    if (p->n_used == p->max)
        return NULL;
    struct chunk *c =
        list_empty(&p->ready) ? add_chunk(p) : container_of(p->ready.next, struct chunk, node);
    if (c == NULL)
        return NULL;
    void *buf = c->free;
    if (buf == NULL)
        buf = (uint8_t *)c + ALIGN + c->n_fresh++ * p->size;
    unguard(buf, p->size);
    if (c->free != NULL)
        c->free = c->free->next;
    c->n_used++;
    p->n_used++;
    p->n_idle--;
    if (c->n_used == p->per_chunk)
        list_del(&c->node);
    return buf;
}

void pool_put(struct pool *p, void *buf)
{
    if (buf == NULL)
        return;
    struct chunk *c = (struct chunk *)((uintptr_t)buf & ~(uintptr_t)(p->chunk_bytes - 1));
    struct free_buf *f = buf;
    assert(c->n_used > 0 && p->n_used > 0);
    f->next = c->free;
    c->free = f;
    guard(buf, p->size);
    if (c->n_used == p->per_chunk)
        list_push_front(&p->ready, &c->node);
    c->n_used--;
    p->n_used--;
    p->n_idle++;
    if (c->n_used == 0 && p->n_idle - p->per_chunk >= p->keep)
        free_chunk(p, c);
}

size_t pool_used(const struct pool *p)
{
    return p->n_used;
}

size_t pool_max(const struct pool *p)
{
    return p->max;
}
