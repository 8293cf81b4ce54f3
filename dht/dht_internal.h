/* dht/dht_internal.h - a node's DHT: what its parts share.
 *
 *   find.c      one lookup: asks, answers       find_values.c  the records that it found
 *   put.c       a lookup, then STOREs           send.c         STOREs of our own upkeep
 *   serve.c     FIND and STORE of others        upkeep.c       joining, refresh, handing on
 *   publish.c   what we publish ourselves       contacts.c     who gets into the table */
#pragma once
#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "dht/cache.h"
#include "dht/dht.h"
#include "dht/lookup.h"
#include "dht/roster.h"
#include "dht/store.h"
#include "dht/sync.h"
#include "dht/table.h"

enum {
    DHT__TICK_MS = 10000, /* upkeep looks around this often */
    DHT__JOIN_MS = 1000,  /* ... and this often while nobody is known */
    DHT__SWEEP = 4096,    /* records looked at in one tick */
    DHT__SENDS_WAITING = 4096,
    DHT__VALUES = 64, /* records of one lookup: the most that a type keeps */
};

struct dht__counters {
    uint64_t finds, finds_found, finds_missing, finds_failed, finds_refused, finds_cached,
        finds_cancelled;
    uint64_t asks, answers, asks_failed, asks_refused; /* refused: busy, or no way to dial */
    uint64_t values_ok, values_refused[DROP_COUNT_], values_stale, values_misplaced;
    uint64_t nodes_ok, nodes_refused[DROP_COUNT_];
    uint64_t answers_bad; /* items of no known kind, or more than asked for */
    uint64_t repairs, handovers, replicated, sends, sends_failed, sends_dropped;
    uint64_t puts, puts_ok, puts_failed;
    uint64_t served_finds, served_stores, served_bad, served_far;
    uint64_t probes, evictions, failures_dark, refused_prefix;
};

struct dht {
    struct mesh *mesh;
    struct env *env;
    struct dht_config config;
    bool is_lab, is_started, is_joined, is_joining;
    uint8_t self[DHT_ID];
    uint8_t secret[32];
    struct dht_table *table;
    struct dht_store *store; /* NULL: we don't serve */
    struct dht_cache *cache;
    struct dht_roster *roster; /* both NULL: none kept */
    struct dht_sync *sync;
    uint64_t heard_ns; /* when a contact was last seen to answer */
    struct mesh_watcher watcher;

    struct list finds, waiting; /* struct dht_find */
    size_t n_finds, n_waiting;
    struct list puts;                 /* struct dht__put */
    struct list sends, sends_waiting; /* struct dht__send */
    size_t n_sends, n_sends_waiting;
    struct list probes; /* struct dht__probe */
    size_t n_probes;
    struct list requests; /* struct dht__offer: STOREs on their way to our disk */

    /* upkeep.c */
    struct env_timer tick;
    uint64_t self_looked_ns; /* when we last looked ourselves up */
    bool is_neighbourhood_new;
    uint64_t neighbours_new_ns; /* when we last found out who took the place of lost neighbours */
    unsigned n_refreshing;

    /* publish.c */
    struct list own; /* struct dht__own */
    size_t n_own;
    struct list publications; /* struct publication: somebody waits for them */
    struct env_kv *own_kv;
    uint64_t own_record_sequence; /* of the node record last published */
    uint64_t own_record_ns;
    bool is_publishing_record;

    struct dht__counters n;
};

static inline uint64_t dht__now(const struct dht *d)
{
    return env_now_ns(d->env);
}

/* Who sends, for quotas: a prefix, in a lab network a link. */
uint64_t dht__source(const struct dht *d, const struct mesh_asker *from);

/* ---- contacts.c ------------------------------------------------------------------------------ */

/* A node answered us at a listed address: `record` is proven. */
void dht__seen(struct dht *d, const struct mesh_node *node, const struct mesh_contact *to,
               const uint8_t *record, size_t len);
void dht__failed(struct dht *d, const uint8_t id[static DHT_ID]);
void dht__contacts_start(struct dht *d);
void dht__contacts_stop(struct dht *d);

/* ---- find.c ---------------------------------------------------------------------------------- */

/* A record that a lookup found. */
struct dht__value {
    struct dht_value v; /* borrows from `bytes` */
    uint8_t *bytes;
    uint64_t rank; /* of those that are too many the smallest stay */
};

struct dht_find {
    struct list node; /* d->finds or d->waiting */
    struct dht *d;
    struct dht_lookup *lookup; /* NULL while it waits */
    const struct dht_lookup_rules *rules;
    const struct dht_type *type; /* NULL: nodes only */
    uint8_t key[DHT_ID];
    unsigned flags;
    dht_find_fn done;
    void *arg;
    uint64_t started_ns;
    struct list asks;      /* struct dht__ask, in the order they were sent */
    struct env_timer slow; /* the first of them is DHT_SLOW_MS old */
    struct env_task begin;
    struct dht__value values[DHT__VALUES];
    size_t n_values;
    unsigned n_answered, hops;
    bool is_cached;
};

/* As dht_find, with rules of upkeep's choice. */
CYX_MUST_USE int dht__find(struct dht *d, const uint8_t key[static DHT_ID], unsigned type,
                           unsigned flags, const struct dht_lookup_rules *rules, dht_find_fn done,
                           void *arg, struct dht_find **out);
void dht__finds_end(struct dht *d); /* all, with CYX_ECANCELED */

/* find_values.c: takes a record that `from` (NULL: ourselves) answered with. False: it is forged.
 */
bool dht__value_heard(struct dht_find *f, struct dht_candidate *from, const uint8_t *record,
                      size_t len);
/* Whatever was found, nothing older than what we have seen before is believed. */
void dht__values_raise(struct dht_find *f);
/* Sends the newest to those near ones that answered without it. */
void dht__values_repair(struct dht_find *f);
void dht__values_free(struct dht_find *f);

/* ---- send.c ---------------------------------------------------------------------------------- */

/* Queues a STORE of a copy of the record to a node; nobody waits for how it ends. */
void dht__send(struct dht *d, const struct mesh_contact *to, const uint8_t *record, size_t len);
void dht__sends_end(struct dht *d);
/* The request's items: the record as one binary. `buf` holds len + 8. */
struct mesh_items dht__store_items(uint8_t *buf, const uint8_t *record, size_t len);

/* ---- put.c, publish.c, serve.c, upkeep.c ------------------------------------------------------
 */

void dht__puts_end(struct dht *d);
CYX_MUST_USE int dht__publish_start(struct dht *d, struct cyx_err *err);
void dht__publish_stop(struct dht *d);
void dht__publish_tick(struct dht *d);
CYX_MUST_USE int dht__serve_start(struct dht *d, struct cyx_err *err);
void dht__serve_stop(struct dht *d);
/* Are fewer than `most` contacts, one of each prefix, nearer to the place than we are? */
bool dht__is_near(const struct dht *d, const uint8_t place[static DHT_ID], size_t most);
void dht__upkeep_start(struct dht *d);
void dht__upkeep_stop(struct dht *d);
/* A new contact has a place in the table. */
void dht__upkeep_met(struct dht *d, const struct dht_contact *c);
void dht__upkeep_lost(struct dht *d, const uint8_t id[static DHT_ID]);

/* Recomputes every count and bound of the DHT, its table and its store; false: they don't hold. For
 * tests. */
bool dht__check(const struct dht *d);
