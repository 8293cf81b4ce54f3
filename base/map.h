/* base/map.h - a hash map from fixed-size byte keys to pointers, keyed by SipHash with a secret of
 * the process, so that no stranger can choose colliding keys (THREATS row 13). Iterates in order of
 * insertion, whatever the secret is: runs of the simulator stay exact. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct map;

/* Creates a map for keys of `key_len` bytes (1..64) that refuses more than `cap` entries.
 * Owned by the caller (map_destroy). NULL when memory is out. */
struct map *map_create(size_t key_len, size_t cap);
void map_destroy(struct map *m); /* NULL is fine; values stay the caller's */

/* The value under `key`, or NULL. */
void *map_get(const struct map *m, const void *key);

/* Adds or replaces. `value` must not be NULL. 0, CYX_EFULL at the bound, CYX_ENOMEM. */
CYX_MUST_USE int map_put(struct map *m, const void *key, void *value);

/* Removes and returns the value, or NULL. */
void *map_del(struct map *m, const void *key);

size_t map_len(const struct map *m);

/* Calls `fn` for each entry in order of insertion until it returns false. `fn` may delete the entry
 * it was called with, and no other. */
void map_each(struct map *m, bool (*fn)(void *arg, const void *key, void *value), void *arg);

/* The oldest entry's value (NULL when empty); *key (may be NULL) borrows its key. */
void *map_oldest(const struct map *m, const void **key);

/* Keyed hash of bytes for other tables: SipHash-2-4 with the process secret. */
uint64_t map_hash(const void *data, size_t len);
