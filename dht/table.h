/* dht/table.h - the routing table: contacts that answered us, in 256 buckets by how many leading
 * bits of their id they share with ours. Pure: no I/O, no clock of its own. Spec: protocol.md,
 * section 6; docs/dht.md, "Routing table". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "dht/id.h"
#include "dht/near.h"
#include "mesh/mesh.h"

struct dht_table;

/* A node as the table keeps it; borrowed from the table until it changes. */
struct dht_contact {
    struct mesh_contact to; /* id, link key, address */
    uint64_t prefix;
    uint64_t sequence; /* of its record */
    uint64_t seen_ns;  /* monotonic: it last answered */
    unsigned bucket;
    unsigned failures; /* requests in a row that it left unanswered */
    bool is_probed;    /* being pinged to see whether it keeps its place */
    bool is_waiting;   /* among the replacements */
    struct list node;
    size_t len;
    uint8_t record[]; /* proven */
};

/* What is to be put in. */
struct dht_sighting {
    struct mesh_contact to;
    uint64_t sequence;
    const uint8_t *record; /* proven; copied */
    size_t len;
};

/* Centred on `self` (copied). is_lab lifts the prefix limits. NULL: no memory. */
struct dht_table *dht_table_create(const uint8_t self[static DHT_ID], bool is_lab);
void dht_table_destroy(struct dht_table *t); /* NULL is fine */

enum dht_seen {
    DHT_SEEN_ADDED, /* it has a place now */
    DHT_SEEN_KNOWN, /* it had one already: moved to its bucket's end. A newer record, or another
                       address of one that isn't older, takes the old one's place */
    DHT_SEEN_WAITS, /* its bucket is full: it waits among the replacements */
    DHT_SEEN_NO,    /* too many of its prefix, ourselves, or no memory */
};
/* Notes that the node answered at `now_ns`. When it waits and the bucket's least recently seen
 * contact was silent for DHT_STALE_MS, *probe is that contact, marked as probed: ping it, then say
 * dht_table_seen or dht_table_failed of it. Else *probe is NULL. */
enum dht_seen dht_table_seen(struct dht_table *t, const struct dht_sighting *s, uint64_t now_ns,
                             const struct dht_contact **probe);
/* It asked something, so it is alive. That clears no failure and ends no probe: who asks but does
 * not answer must not keep its place. */
void dht_table_touch(struct dht_table *t, const uint8_t id[static DHT_ID], uint64_t now_ns);
/* It answered; nothing new is known about it. */
void dht_table_answered(struct dht_table *t, const uint8_t id[static DHT_ID], uint64_t now_ns);
/* It could not be pinged, through no fault of its own: another time. */
void dht_table_unprobe(struct dht_table *t, const uint8_t id[static DHT_ID]);
/* A contact left a request unanswered. After DHT_FAILURES_MAX, or at once when it was probed, it
 * loses its place to the freshest replacement that the prefix limit lets in. True when it lost it.
 */
bool dht_table_failed(struct dht_table *t, const uint8_t id[static DHT_ID]);
/* It said goodbye: out at once. */
void dht_table_remove(struct dht_table *t, const uint8_t id[static DHT_ID]);

/* NULL: not there. Replacements don't count. */
const struct dht_contact *dht_table_get(const struct dht_table *t, const uint8_t id[static DHT_ID]);
size_t dht_table_len(const struct dht_table *t);
size_t dht_table_replacements(const struct dht_table *t);
size_t dht_table_buckets(const struct dht_table *t); /* that hold any */
/* Bucket by bucket, least recently seen first; `fn` returns false to stop and must not change the
 * table. */
void dht_table_each(const struct dht_table *t, bool (*fn)(void *arg, const struct dht_contact *c),
                    void *arg);
/* The nearest to `key` by the rule of near.h; `what` of each item is a struct dht_contact. */
void dht_table_nearest(const struct dht_table *t, const uint8_t key[static DHT_ID], size_t most,
                       struct dht_near *out);
/* How many contacts, one of each prefix, are nearer to `key` than `id`; counts up to `most`. */
size_t dht_table_nearer(const struct dht_table *t, const uint8_t key[static DHT_ID],
                        const uint8_t id[static DHT_ID], size_t most);

/* A lookup went into the bucket of `key`. */
void dht_table_looked(struct dht_table *t, const uint8_t key[static DHT_ID], uint64_t now_ns);
/* The widest bucket that nobody looked into since `before_ns`, among those up to the deepest one in
 * use; -1: none. */
int dht_table_unlooked(const struct dht_table *t, uint64_t before_ns);
/* An estimate of how many nodes there are, from the distance of the nearest ones; 0: unknown. */
uint64_t dht_table_estimate(const struct dht_table *t);
