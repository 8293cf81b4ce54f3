/* dht/roster.h - the listed nodes that this node knows: what path choice draws from, and what
 * lookups start with. Pure: 64 bytes for each node and 8 of its rank; their records are kept by
 * dht/sync.h. Spec: protocol.md, section 6, "Roster". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "dht/id.h"
#include "mesh/record.h"

struct dht_roster;

enum {
    DHT_ROSTER_MAX = 8192,        /* 512 KiB; the whole network in version 1 */
    DHT_ROSTER_PREFIX = 16,       /* ids of one /24 or /48 (a lab network: any number) */
    DHT_ROSTER_REACHED_S = 86400, /* told of to others only if reached within this */
    DHT_ROSTER_AGE_S = 3600,      /* used in paths once we have known it for so long, */
    DHT_ROSTER_GUARD_S = 86400,   /* ... as a guard for so long; */
    DHT_ROSTER_OLD = 32,          /* ... ages count once so many older ids */
    DHT_ROSTER_OLD_PREFIXES = 8,  /* ... in so many prefixes are known */
    DHT_ROSTER_DIGEST = 2048,     /* 8 bytes for each first byte of an id */
};

struct dht_roster_entry {
    uint8_t id[DHT_ID];
    uint64_t sequence;  /* of the newest record held */
    uint32_t first_s;   /* network time / 1 s, 32 bits: when we first knew it */
    uint32_t reached_s; /* when a handshake at a listed address last succeeded; 0: never */
    uint64_t prefix;    /* of its first IP address */
    uint32_t expiry_s;
    uint32_t roles;
};

/* `max` entries (memory grows with use); `secret` (32 bytes) keys the choice of who gives way;
 * `is_lab` lifts prefix limits and ages. All is copied. NULL: no memory. */
struct dht_roster *dht_roster_create(size_t max, const uint8_t self[static DHT_ID],
                                     const uint8_t secret[static 32], bool is_lab);
void dht_roster_destroy(struct dht_roster *r); /* NULL is fine */

/* Notes a node whose record was proven. 0: new or newer; CYX_EEXIST: this or a newer record is held
 * already; CYX_EFULL: it would be the one to give way; CYX_EINVAL: no IP address, ourselves,
 * expired; CYX_ENOMEM. At DHT_ROSTER_PREFIX ids of one prefix one of them gives way, when full one
 * of the largest prefixes: the farthest by H("cyx keep", secret, id). *gone (may be NULL) is then
 * the id that went, and *has_gone true. A record that names another prefix must be reached anew. */
CYX_MUST_USE int dht_roster_heard(struct dht_roster *r, const struct mesh_node *n, uint64_t now,
                                  bool *has_gone, uint8_t gone[DHT_ID]);
/* A handshake at a listed address of it succeeded. Unknown ids are ignored. */
void dht_roster_reached(struct dht_roster *r, const uint8_t id[static DHT_ID], uint64_t now);
/* What was known of it before a restart: the age counts on. Unknown ids are ignored. */
void dht_roster_restore(struct dht_roster *r, const uint8_t id[static DHT_ID], uint32_t first_s,
                        uint32_t reached_s);
void dht_roster_remove(struct dht_roster *r, const uint8_t id[static DHT_ID]);
/* Forgets entries whose records expired; calls `gone` (may be NULL) for each, which must not change
 * the roster. */
void dht_roster_expire(struct dht_roster *r, uint64_t now,
                       void (*gone)(void *arg, const uint8_t id[static DHT_ID]), void *arg);

/* Entries are borrowed until the roster changes. */
const struct dht_roster_entry *dht_roster_get(const struct dht_roster *r,
                                              const uint8_t id[static DHT_ID]);
/* The first whose id begins with these `len` (1..32) bytes, or NULL. */
const struct dht_roster_entry *dht_roster_begins(const struct dht_roster *r, const uint8_t *begin,
                                                 size_t len);
size_t dht_roster_len(const struct dht_roster *r);
size_t dht_roster_cap(const struct dht_roster *r);
size_t dht_roster_prefixes(const struct dht_roster *r);
/* Grows whenever an entry comes, goes, is renewed or is reached after it was not: what was worked
 * out from the roster at another count is stale. */
uint64_t dht_roster_changes(const struct dht_roster *r);
/* The i-th in order of ids, i < dht_roster_len. */
const struct dht_roster_entry *dht_roster_at(const struct dht_roster *r, size_t i);
/* How many ids have a smaller first byte (0..256): where those of that byte begin. */
size_t dht_roster_from(const struct dht_roster *r, unsigned first_byte);
/* In order of ids; `fn` returns false to stop and must not change the roster. */
void dht_roster_each(const struct dht_roster *r,
                     bool (*fn)(void *arg, const struct dht_roster_entry *e), void *arg);
/* The `most` nearest to `key`, one of each prefix before a second of any, nearest first among the
 * first, then among the second ones... (lab: just the nearest). Returns how many were written;
 * borrowed until the roster changes. */
size_t dht_roster_nearest(const struct dht_roster *r, const uint8_t key[static DHT_ID], size_t most,
                          const struct dht_roster_entry **out);

/* May others be told of it? */
bool dht_roster_is_told(const struct dht_roster_entry *e, uint64_t now);

/* May it carry paths, or be a guard, by its age? Too young: known for less than the age, while
 * DHT_ROSTER_OLD others in DHT_ROSTER_OLD_PREFIXES have that age. */
enum dht_roster_use { DHT_USE_PATH, DHT_USE_GUARD };
bool dht_roster_may_use(const struct dht_roster *r, const struct dht_roster_entry *e,
                        enum dht_roster_use use, uint64_t now);

/* For each first byte the first 8 bytes of H("cyx digest", all (id, sequence) in order of ids), of
 * the nodes that others may be told of; no node: zeros. */
void dht_roster_digest(const struct dht_roster *r, uint64_t now,
                       uint8_t out[static DHT_ROSTER_DIGEST]);
