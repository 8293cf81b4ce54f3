/* dht/dht.h - the Kademlia DHT, as everything above it sees it: find records, publish records, know
 * who listens. One for each node, on the thread of worker 0. Nothing that it hands out is unproven.
 * Spec: protocol.md, section 6; docs/dht.md. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/metric.h"
#include "base/writer.h"
#include "dht/limits.h"
#include "dht/type.h"
#include "mesh/mesh.h"

struct dht;
struct dht_roster;

struct dht_config {
    bool is_serving;    /* listed nodes store and answer; others only ask */
    size_t store_bytes; /* 0: DHT_STORE_BYTES */
    size_t roster_max;  /* listed nodes known; 0: DHT_ROSTER_MAX; SIZE_MAX: keep none */
    bool is_plain;      /* simulator only: Kademlia of 2002, no defences, for comparison */
};

/* `mesh` is borrowed for life; its identity's id is our place. Opens nothing yet. NULL with `err`.
 */
struct dht *dht_create(struct mesh *mesh, const struct dht_config *config, struct cyx_err *err);
/* After mesh_start: opens the store ("dht"), serves FIND, STORE, DIGEST, LIST and RECORDS, joins.
 * CYX_E* from the store. */
CYX_MUST_USE int dht_start(struct dht *d, struct cyx_err *err);
/* Ends lookups (with CYX_ECANCELED) and timers, closes the store. Call before mesh_stop. */
void dht_stop(struct dht *d);
/* Stops first if need be. Before mesh_destroy. May be called from a lookup's or a publication's
 * `done`, but not from one that hears CYX_ECANCELED. NULL is fine. */
void dht_destroy(struct dht *d);

/* ---- finding ----------------------------------------------------------------------------------
 */

struct dht_find;

enum dht_find_flags {
    DHT_FIND_FIRST = 1 << 0, /* the first proven record will do: what can't be stale, or is dated */
    DHT_FIND_FRESH = 1 << 1, /* ask the network even if the answer is remembered */
    DHT_FIND_NODES = 1 << 2, /* no record: the nodes nearest to the key (type is ignored) */
};

/* A node that answered, with its proven record. */
struct dht_node {
    uint8_t id[DHT_ID];
    const uint8_t *record; /* borrowed */
    size_t len;
};

/* How a lookup ended. Everything is borrowed for the call. */
struct dht_found {
    const struct dht_value
        *values; /* newest of each publisher, proven; at most the type's `keep` */
    size_t n_values;
    const struct dht_node *nodes; /* nearest first, one of each prefix before a second of any */
    size_t n_nodes;
    unsigned asked, answered; /* requests sent, answers that came */
    unsigned hops;            /* steps to the node that had the (first) record; 0: we had it. With
                                 no record: to the nearest node that answered */
    uint64_t ns;
    bool is_cached;
};

/* code 0: found (or DHT_FIND_NODES and somebody answered); CYX_ENOENT: asked and nobody has it;
 * CYX_ETIMEDOUT: nobody answered; CYX_EAGAIN: no node is known to ask; CYX_ECANCELED. Not called
 * after dht_find_cancel. */
typedef void (*dht_find_fn)(void *arg, int code, const struct dht_found *f);

/* Looks for records of `type` at `key`. 0; CYX_EFULL: too many lookups wait; CYX_EINVAL: no such
 * type. *out may be NULL. `done` is called from the loop, never from here. */
CYX_MUST_USE int dht_find(struct dht *d, const uint8_t key[static DHT_ID], unsigned type,
                          unsigned flags, dht_find_fn done, void *arg, struct dht_find **out);
void dht_find_cancel(struct dht_find *f);

/* ---- publishing -------------------------------------------------------------------------------
 */

/* How a publication went, at all places of the record. */
struct dht_stored {
    unsigned n_places;
    unsigned asked, stored; /* STOREs sent, and taken; of the place with the fewest */
    unsigned stale;         /* stores that hold a newer one */
    unsigned refused;       /* by a rule or a quota */
};

/* code 0: at min(DHT_STORE_DONE, half of those asked) stores of each place at least, on disk there;
 * CYX_EEXIST: a newer one is held out there; CYX_EFULL, CYX_EAGAIN as in dht_find; CYX_EIO: too few
 * took it. */
typedef void (*dht_put_fn)(void *arg, int code, const struct dht_stored *s);

/* Publishes a record once (lookup, then STORE to the 16 nearest of each place). 0; CYX_EINVAL: the
 * record fails its own checks (`err` says which); CYX_EFULL. `done` may be NULL. */
CYX_MUST_USE int dht_put(struct dht *d, const uint8_t *record, size_t len, dht_put_fn done,
                         void *arg, struct cyx_err *err);
/* The same, then again and again at half its life until it expires, over restarts as well. A newer
 * one of the same publisher and place takes its turn. */
CYX_MUST_USE int dht_publish(struct dht *d, const uint8_t *record, size_t len, dht_put_fn done,
                             void *arg, struct cyx_err *err);

/* ---- what is known ----------------------------------------------------------------------------
 */

struct dht_stats {
    size_t contacts, buckets; /* of the table; buckets that hold any */
    size_t replacements;
    size_t stored, stored_bytes, store_max;
    size_t stored_of[8]; /* by record type */
    size_t sources, publishers;
    size_t roster, roster_max;
    size_t lookups, waiting, cached, own;
    uint64_t estimate; /* nodes in the network, from how dense our neighbourhood is */
    bool is_ready;     /* we looked ourselves up and know our neighbours */
};
void dht_get_stats(struct dht *d, struct dht_stats *out);
void dht_metrics(struct dht *d, metric_fn fn, void *arg);

/* Contacts of the table, bucket by bucket; `fn` returns false to stop. */
struct dht_contact_info {
    uint8_t id[DHT_ID];
    struct env_addr addr;
    unsigned bucket;
    uint64_t seen_ns; /* monotonic: when it last answered */
    unsigned failures;
};
void dht_contacts_each(struct dht *d, bool (*fn)(void *arg, const struct dht_contact_info *c),
                       void *arg);

/* The proven record of a listed node that we know (roster or table). Length, or 0: not held. */
size_t dht_node_record(struct dht *d, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX]);

/* Items of a response being put together. */
struct dht_answer {
    struct writer w;
    unsigned n;
};
enum { DHT_ANSWER_ROOM = MESH_MSG_MAX - 64 };
/* What we answer to DIGEST, LIST and RECORDS (dht_sync_answer); MESH_RPC_REFUSED: no roster is
 * kept, or we don't serve. */
enum mesh_rpc_status dht_roster_answer(struct dht *d, unsigned method, const msgpack_object *items,
                                       unsigned n, struct dht_answer *a);

/* The roster of listed nodes (dht/roster.h); NULL when none is kept. */
struct dht_roster *dht_roster_of(struct dht *d);
/* A sync brought nothing new, or enough nodes are known to build paths of. */
bool dht_roster_is_ready(const struct dht *d);
struct mesh *dht_mesh(struct dht *d);
