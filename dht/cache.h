/* dht/cache.h - verified answers, remembered for a while: a lookup that was just made isn't made
 * again, and an older record than one already seen is never believed. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "dht/type.h"

struct dht_cache;

struct dht_cache *dht_cache_create(size_t max); /* answers; NULL: no memory */
void dht_cache_destroy(struct dht_cache *c);    /* NULL is fine */

/* The records found at a place, proven; copied. Replaces what was there; the one not put longest
 * gives way. No memory: nothing is remembered. */
void dht_cache_put(struct dht_cache *c, const uint8_t place[static DHT_ID], unsigned type,
                   const struct dht_value *values, size_t n, uint64_t now_ns);
/* Calls `fn` for each record remembered there, as bytes borrowed for the call, if it is younger
 * than `age_ns` (UINT64_MAX: any age). Returns how many. */
size_t dht_cache_get(struct dht_cache *c, const uint8_t place[static DHT_ID], unsigned type,
                     uint64_t now_ns, uint64_t age_ns,
                     void (*fn)(void *arg, const uint8_t *record, size_t len), void *arg);
size_t dht_cache_len(const struct dht_cache *c);
