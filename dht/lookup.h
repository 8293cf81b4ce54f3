/* dht/lookup.h - which node to ask next: an iterative lookup over disjoint paths, as a state
 * machine without I/O. Spec: protocol.md, section 6, "Lookup"; Baumgart, Mies, "S/Kademlia" (2007).
 *
 * A candidate is NEW (heard of), ASKED, then ANSWERED or FAILED; between them SLOW, when nobody
 * waits for it any more. Each path sees the candidates that it was told of, in the order of near.h,
 * and asks the nearest NEW one until its four nearest have answered or it has asked twenty. A node
 * is asked once, by one path. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dht/id.h"
#include "dht/limits.h"
#include "dht/near.h"

struct dht_lookup;

struct dht_lookup_rules {
    unsigned paths, alpha; /* 1..8 paths; requests in flight on each */
    unsigned asks;         /* of one path */
    unsigned nearest;      /* that must have answered before a path ends */
    bool any_prefix;       /* plain nearness */
};
extern const struct dht_lookup_rules dht_lookup_rules; /* of limits.h */
extern const struct dht_lookup_rules dht_lookup_self;  /* our own neighbourhood: upkeep */
extern const struct dht_lookup_rules dht_lookup_light; /* some nodes of a bucket: upkeep */
extern const struct dht_lookup_rules dht_lookup_plain; /* one path of Kademlia, for comparison */

enum dht_candidate_state { DHT_NEW, DHT_ASKED, DHT_SLOW, DHT_ANSWERED, DHT_FAILED };

struct dht_candidate {
    uint8_t id[DHT_ID];
    uint64_t prefix;
    enum dht_candidate_state state;
    uint8_t paths;      /* bit set of those that know it */
    uint8_t path;       /* the one that asked it */
    uint8_t owner;      /* the one that brought it in: it counts against that one's share */
    uint8_t hop;        /* 1: known at the start; else its teller's plus 1 */
    bool is_proven;     /* its record was, before the lookup began */
    uint64_t has;       /* bit set of the values that it answered with: find.c's */
    const void *teller; /* who brought it in, to tell apart; may be gone */
    struct dht_candidate *other; /* another record of the same node, should this one be false */
    size_t len;
    uint8_t record[]; /* nothing about it is proven before it is asked */
};

enum { DHT_ALL_PATHS = 0xff };

/* NULL: no memory. `key` is copied. */
struct dht_lookup *dht_lookup_create(const uint8_t key[static DHT_ID],
                                     const struct dht_lookup_rules *rules);
void dht_lookup_destroy(struct dht_lookup *l); /* NULL is fine */

/* A node known at the start: dealt out to the paths in turn. */
void dht_lookup_seed(struct dht_lookup *l, const uint8_t id[static DHT_ID], uint64_t prefix,
                     const uint8_t *record, size_t len, bool is_proven);
/* A node that `teller` named. At its path's share of DHT_CANDIDATES the path's farthest NEW one
 * gives way. Another record of a known node is kept and tried when the first one fails. */
void dht_lookup_told(struct dht_lookup *l, const struct dht_candidate *teller,
                     const uint8_t id[static DHT_ID], uint64_t prefix, const uint8_t *record,
                     size_t len);
/* The next to ask, now ASKED; NULL: nothing to ask before an answer comes, or at all. */
struct dht_candidate *dht_lookup_next(struct dht_lookup *l);
/* It lets us wait: its path goes on without it. A late answer is as good. */
void dht_lookup_slow(struct dht_lookup *l, struct dht_candidate *c);
/* It answered, or not (or its record was false, or it couldn't be dialled): then `c` is gone when
 * another record of that node takes its place. */
void dht_lookup_answered(struct dht_lookup *l, struct dht_candidate *c, bool has_answer);
/* Nothing is under way, and no path has anybody left to ask. */
bool dht_lookup_is_done(const struct dht_lookup *l);
/* Those that answered, nearest first by the rule; `what` of an item is a struct dht_candidate. */
void dht_lookup_nearest(const struct dht_lookup *l, size_t most, struct dht_near *out);
/* Calls `fn` for each that answered. */
void dht_lookup_answers_each(const struct dht_lookup *l,
                             void (*fn)(void *arg, struct dht_candidate *c), void *arg);
unsigned dht_lookup_asked(const struct dht_lookup *l);
const uint8_t *dht_lookup_key(const struct dht_lookup *l);
