/* dht/sync.h - keeping the roster: DIGEST, LIST and RECORDS with random peers, records of listed
 * nodes on disk (store "roster"). Spec: protocol.md, section 6, "Roster". */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metric.h"
#include "dht/roster.h"
#include "mesh/mesh.h"

struct dht_sync;

enum {
    DHT_SYNC_PEERS = 3,         /* asked at a time */
    DHT_SYNC_S = 600,           /* listed nodes: how often */
    DHT_SYNC_UNLISTED_S = 3600, /* others, and only of bootstrap peers */
    DHT_SYNC_FIRST_MS = 100,    /* at the start: 0.1, 0.2, 0.4 s... after the last news */
    DHT_SYNC_READY = 64,        /* nodes known that make us ready; or a sync without news */
    DHT_SYNC_LIST = 1024,       /* entries in an answer to LIST */
    DHT_SYNC_RECORDS = 128,     /* ids in a RECORDS request */
};

/* Both are borrowed for life. NULL with `err`. */
struct dht_sync *dht_sync_create(struct mesh *mesh, struct dht_roster *roster, bool is_serving,
                                 struct cyx_err *err);
/* Opens the store, reads it into the roster, serves (is_serving) the three methods, begins to ask.
 */
CYX_MUST_USE int dht_sync_start(struct dht_sync *s, struct cyx_err *err);
void dht_sync_stop(struct dht_sync *s);    /* timers, calls, handlers, the store; idempotent */
void dht_sync_destroy(struct dht_sync *s); /* NULL is fine */

/* A record that was proven elsewhere (a lookup, a HELLO): into roster and store when new.
 * is_reached: a handshake at a listed address of it succeeded just now. */
void dht_sync_heard(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record,
                    size_t len, bool is_reached);
/* Reads the record of a roster entry. Length, or 0: not held. */
size_t dht_sync_record(struct dht_sync *s, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX]);
/* A sync brought nothing new, or DHT_SYNC_READY nodes are known. */
bool dht_sync_is_ready(const struct dht_sync *s);
void dht_sync_metrics(const struct dht_sync *s, metric_fn fn, void *arg);
