/* base/pool.h - fixed-size buffers, at most `max` of them, kept for reuse. One thread. The hot path
 * takes and returns buffers without malloc once the pool is warm. */
#pragma once
#include <stddef.h>

struct pool;

/* Buffers of `size` bytes (rounded up to 64), at most `max` out at once, allocated in chunks as
 * needed; idle memory above `keep` buffers is returned. NULL when memory is out. */
struct pool *pool_create(size_t size, size_t max, size_t keep);
void pool_destroy(struct pool *p); /* all buffers must be back; NULL is fine */

/* A 64-byte aligned buffer with undefined contents, or NULL at the bound or out of memory. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *buf); /* NULL is fine */

size_t pool_used(const struct pool *p); /* out now */
size_t pool_max(const struct pool *p);
