/* dht/near.h - the nearest of many, one of each prefix first.
 *
 * Whoever owns a few prefixes can make any number of ids beside a key, and would be all of its 16
 * nearest. So nearness is told by this rule everywhere (answers, lookups, stores): the nearest node
 * of each /24 or /48 comes first, by distance; only when there are too few of these come second
 * ones of a prefix. Where addresses are many, it is plain nearness. docs/decisions/0008. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dht/id.h"

enum { DHT_NEAR_MAX = 32 };

struct dht_near_item {
    const uint8_t *id; /* borrowed */
    uint64_t prefix;
    const void *what; /* the caller's */
};

struct dht_near {
    const uint8_t *key; /* borrowed */
    bool any_prefix;    /* a lab network: plain nearness */
    size_t most;
    size_t n_first, n_second;
    struct dht_near_item first[DHT_NEAR_MAX];  /* the nearest of each prefix */
    struct dht_near_item second[DHT_NEAR_MAX]; /* the nearest others */
};

/* most: at most DHT_NEAR_MAX. */
void dht_near_init(struct dht_near *n, const uint8_t key[static DHT_ID], size_t most,
                   bool any_prefix);
void dht_near_add(struct dht_near *n, const uint8_t id[static DHT_ID], uint64_t prefix,
                  const void *what);
/* How many there are: at most `most`. */
size_t dht_near_len(const struct dht_near *n);
/* The i-th by the rule. */
const struct dht_near_item *dht_near_at(const struct dht_near *n, size_t i);
