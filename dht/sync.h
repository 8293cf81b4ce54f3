/* dht/sync.h - keeping the roster: DIGEST, LIST and RECORDS with random peers, records of listed
 * nodes on disk (store "roster"). Spec: protocol.md, section 6, "Roster". */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metric.h"
#include "dht/dht.h"
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
    DHT_SYNC_PUSH_MS = 1000, /* after a change others are told of, changes of a second together; */
    DHT_SYNC_PUSH_S = 120,   /* ... but no two rounds nearer than this for changes alone */
    DHT_SYNC_BACK_S = 60,    /* who asked us is asked back, at most this often, */
    DHT_SYNC_BACK_MS = 1000, /* ... one of them at a time, and others at most this often */
    DHT_SYNC_KV_BYTES = 32 << 20,
};

/* Both are borrowed for life. is_serving: a listed node. NULL with `err`. */
struct dht_sync *dht_sync_create(struct mesh *mesh, struct dht_roster *roster, bool is_serving,
                                 struct cyx_err *err);
/* After mesh_start: opens the store, reads it into the roster, serves (is_serving) the three
 * methods, begins to ask. CYX_E* from the store. */
CYX_MUST_USE int dht_sync_start(struct dht_sync *s, struct cyx_err *err);
/* Ends timers, calls, handlers; what waits to be written is handed to the store, which closes.
 * Before mesh_stop. Idempotent. */
void dht_sync_stop(struct dht_sync *s);
/* Stops first if need be. Before mesh_destroy. NULL is fine. */
void dht_sync_destroy(struct dht_sync *s);

/* A record that was proven elsewhere (a lookup, a HELLO): into roster and store when new.
 * is_reached: a handshake at a listed address of it succeeded just now. */
void dht_sync_heard(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record,
                    size_t len, bool is_reached);
/* Reads the record of a roster entry. Length, or 0: not held. */
size_t dht_sync_record(struct dht_sync *s, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX]);
/* What DIGEST, LIST and RECORDS answer, for who asks by another way than a link (an onion path):
 * adds the response's items to `a`, whose writer has DHT_ANSWER_ROOM. Any other method, and bad
 * items: MESH_RPC_BAD. */
enum mesh_rpc_status dht_sync_answer(struct dht_sync *s, unsigned method,
                                     const msgpack_object *items, unsigned n, struct dht_answer *a);
/* A sync brought nothing new, or DHT_SYNC_READY nodes are known. */
bool dht_sync_is_ready(const struct dht_sync *s);
void dht_sync_metrics(const struct dht_sync *s, metric_fn fn, void *arg);
