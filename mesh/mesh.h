/* mesh/mesh.h - the encrypted datagram mesh, as everything above it sees it: links to peers,
 * requests and answers, cells. One mesh belongs to one environment (one thread). Spec: protocol.md,
 * sections 2 to 6; docs/architecture.md. */
#pragma once
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/list.h"
#include "base/metric.h"
#include "mesh/frame.h"
#include "mesh/identity.h"
#include "mesh/limits.h"
#include "mesh/network.h"
#include "mesh/record.h"
#include "mesh/worker.h"

struct mesh;
struct mesh_link;

/* ---- contacts ---------------------------------------------------------------------------------
 */

/* Enough to dial a node: from its record, or from a line in a bootstrap list. */
struct mesh_contact {
    uint8_t id[32];
    uint8_t link_key[32];
    struct env_addr addr;
};

enum { MESH_CONTACT_TEXT = 192 };

/* "cyx:base64url(id 32 || link key 32)@address:port" (86 characters before the @, no padding), as
 * `cyx id --contact` prints it and `bootstrap = [...]` takes it. Parse: CYX_EINVAL says what is
 * wrong. */
const char *mesh_contact_text(const struct mesh_contact *c, char out[static MESH_CONTACT_TEXT]);
CYX_MUST_USE int mesh_contact_parse(struct mesh_contact *out, const char *text,
                                    struct cyx_err *err);

/* ---- life -------------------------------------------------------------------------------------
 */

struct mesh_config {
    struct mesh_network network;
    struct mesh_identity *identity; /* borrowed for life */
    bool is_listed;                 /* publishes a record, can be dialled; else a pure user */
    bool rotate_link_key;   /* false for bootstrap nodes, whose key stands in others' files */
    struct env_addr listen; /* zero ip: all addresses; port 0: any */
    struct env_addr
        advertise[MESH_ADDRS_MAX]; /* what the record says; empty: what peers observed */
    size_t n_advertise;
    const struct mesh_contact *bootstrap; /* copied */
    size_t n_bootstrap;
    uint32_t roles; /* enum mesh_role_bits, into the record */
    bool has_family;
    uint8_t family[16];
    uint32_t capacity_kbps;      /* kB/s, into the record */
    uint64_t egress_bytes_per_s; /* shaping of all links together; 0: none */
    size_t links_target;         /* links to keep up by dialling out; 0: MESH_LINKS_TARGET */
    size_t links_max;            /* 0: MESH_LINKS_MAX */
    bool no_gcm;                 /* never announce AES-256-GCM */
    bool beacon;                 /* announce and listen on the LAN (multicast, link-local) */
    uint16_t beacon_port;        /* 0: 4101 */
    size_t kv_bytes;             /* size of the peers' store; 0: 16 MiB */
    size_t remembered_max;       /* peers remembered; 0: MESH_REMEMBERED, which is the most */
    unsigned worker, n_workers;  /* this thread's place; 0 and 1 for a single loop. Targets and
                                    bounds above are the node's: each worker has its share */
    const struct mesh_siblings *siblings; /* ways to the other workers; NULL for a single loop */
    void *siblings_arg;
    uint32_t lab_rekey_ms; /* lab networks only: how often to rekey; 0: MESH_REKEY_MS */
};

/* Builds everything but opens nothing. NULL with `err`. */
struct mesh *mesh_create(struct env *env, const struct mesh_config *config, struct cyx_err *err);

/* Opens sockets and the store ("peers"), reads remembered peers, begins to dial. CYX_E* from below,
 * with the cure in the message. */
CYX_MUST_USE int mesh_start(struct mesh *m, struct cyx_err *err);

/* Says GOODBYE 1 on every link, flushes what must be remembered, closes the sockets, then calls
 * done (from the loop). */
void mesh_stop(struct mesh *m, env_fn done, void *arg);

/* After `done`, or at once after a failed start (or when the environment crashed in the simulator).
 * NULL is fine. */
void mesh_destroy(struct mesh *m);

/* Hands over datagrams that another socket or thread of this node received, as if they had come in
 * here. The bytes may be changed in place. */
void mesh_inject(struct mesh *m, struct env_datagrams *batch, size_t n);

struct env *mesh_env(struct mesh *m);
const struct mesh_network *mesh_network_of(const struct mesh *m);
const struct mesh_identity *mesh_identity_of(const struct mesh *m);

/* Our own signed record now: length, or 0 when unlisted or no address is known yet. */
size_t mesh_own_record(struct mesh *m, uint8_t out[static MESH_NODE_RECORD_MAX]);

/* How to dial us, as a contact (the first address known, else the listening one). */
void mesh_own_contact(struct mesh *m, struct mesh_contact *out);

/* The bootstrap nodes of the configuration (this worker's), i < mesh_bootstrap_count: whom an
 * unlisted node may ask. In no fixed order; borrowed until the loop turns. */
size_t mesh_bootstrap_count(const struct mesh *m);
const struct mesh_contact *mesh_bootstrap_at(const struct mesh *m, size_t i);

/* Network time, unix seconds (protocol.md, section 1). */
uint64_t mesh_time(struct mesh *m);

enum mesh_time_state {
    MESH_TIME_OWN,       /* our clock is near the peers' median */
    MESH_TIME_MEDIAN,    /* ours is off by more than 30 s: the median is used */
    MESH_TIME_UNCHECKED, /* no peer has told its time yet: our clock is used */
    MESH_TIME_REFUSED,   /* the median is more than a day off: waits for mesh_time_accept */
    MESH_TIME_UNSET,     /* our clock is behind the greatest time ever used */
};

struct mesh_status {
    bool is_started;
    bool is_ready; /* at least one link, and the first look for peers is over */
    bool is_listed;
    size_t links, links_listed, handshakes_open, known;
    struct env_addr local; /* the socket's */
    bool has_observed;
    struct env_addr observed; /* what two peers in different prefixes (one in a lab) saw */
    bool gso, gro, dual_stack;
    uint64_t time;
    enum mesh_time_state time_state;
    int64_t time_offset_ms; /* median minus own clock */
    size_t bootstrap_total, bootstrap_up;
    bool inbound_seen;             /* somebody dialled us: we are reachable */
    uint64_t started_ns, ready_ns; /* monotonic; 0: not yet */
};
void mesh_get_status(struct mesh *m, struct mesh_status *out);

/* When the last valid packet of any peer came (monotonic, 0: none yet): silence of one peer means
 * something only while others are heard. */
uint64_t mesh_heard_ns(const struct mesh *m);

/* The greatest network time ever used (T): what was stamped later has never been seen. */
uint64_t mesh_time_greatest(struct mesh *m);
/* Draws a new onion key, wipes all old ones and stores that; `done` when it is on disk, from the
 * loop (not after mesh_stop). A new record follows. Worker 0 only. */
void mesh_renew_onion_key(struct mesh *m, env_fn done, void *arg);

/* The user's word for a step of network time of more than a day. */
void mesh_time_accept(struct mesh *m);

/* Calls `fn` once for each counter and gauge, limits and their use among them. */
void mesh_metrics(struct mesh *m, metric_fn fn, void *arg);

/* ---- links ------------------------------------------------------------------------------------
 */

enum mesh_link_state {
    MESH_LINK_DIALING, /* INIT sent */
    MESH_LINK_UP,      /* keys held and confirmed */
    MESH_LINK_CLOSING, /* GOODBYE said or heard; no callbacks will follow but link_down */
};

struct mesh_link_info {
    enum mesh_link_state state;
    uint32_t number; /* small, for people: "link 12"; modulo n_workers it is the worker */
    bool is_initiator, has_id, is_listed, is_gcm;
    uint8_t id[32];  /* when has_id: proven by a record that names the handshake's key */
    uint8_t key[32]; /* the peer's link key */
    struct env_addr addr;
    uint8_t version[4];
    uint64_t up_ns;  /* monotonic: when it came up */
    uint64_t rtt_ns; /* smoothed; 0: not measured */
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_cells, tx_cells, dropped_cells;
    uint64_t rekeys, roams;
    size_t paths, queued_cells;
};
void mesh_link_info(const struct mesh_link *l, struct mesh_link_info *out);

struct mesh_watcher {
    struct list node;                                /* set by mesh_watch */
    void (*link_up)(void *arg, struct mesh_link *l); /* may be NULL */
    void (*link_known)(void *arg,
                       struct mesh_link *l); /* its record arrived: has_id; may be NULL */
    void (*link_down)(void *arg, struct mesh_link *l,
                      const char *why); /* forget `l`; may be NULL */
    void *arg;
};
void mesh_watch(struct mesh *m, struct mesh_watcher *w);
void mesh_unwatch(struct mesh_watcher *w);

/* The address of a proven node record that is best to dial now: one that does not rest, of the
 * family that carries links already. False: none can be dialled (LoRa alone, loopback outside a
 * lab). */
bool mesh_node_contact(struct mesh *m, const struct mesh_node *n, struct mesh_contact *out);

/* Dials, or returns the link that already leads there (by link key). NULL with `err`: CYX_EFULL,
 * CYX_EINVAL (ourselves, or another worker's peer: mesh/worker.h), CYX_EBUSY (the address rests
 * after failed tries). link_up or link_down follows. It ends by itself after MESH_IDLE_MS in which
 * it carried no path and nobody asked anything. */
struct mesh_link *mesh_dial(struct mesh *m, const struct mesh_contact *c, struct cyx_err *err);
/* Somebody above misses an answer over this link: is its peer still there? It is pinged three
 * times; if nothing at all is heard meanwhile (MESH_SUSPECT_MS, or four round trips), the link
 * ends. Heard of a moment ago, or asked already: nothing happens. */
void mesh_link_suspect(struct mesh_link *l);
/* PINGs keep it up from now on, used or not. */
void mesh_link_keep(struct mesh_link *l);

/* The link whose peer proved to be `id`, or NULL. */
struct mesh_link *mesh_link_by_id(struct mesh *m, const uint8_t id[static 32]);
/* The link with that number, or NULL. */
struct mesh_link *mesh_link_by_number(struct mesh *m, uint32_t number);
/* Calls fn for each link until it returns false; fn may close the one it gets. */
void mesh_links_each(struct mesh *m, bool (*fn)(void *arg, struct mesh_link *l), void *arg);
/* Says GOODBYE with that reason (enum mesh_goodbye, mesh/frame.h) and closes; link_down follows. */
void mesh_link_close(struct mesh_link *l, enum mesh_goodbye reason);

struct mesh *mesh_link_mesh(struct mesh_link *l);
/* The peer's record as received (borrowed until link_down), or NULL. */
const uint8_t *mesh_link_record(const struct mesh_link *l, size_t *len);

/* PING. done(arg, code, rtt): 0, CYX_ETIMEDOUT (3 s), CYX_ECLOSED. */
CYX_MUST_USE int mesh_ping(struct mesh_link *l, void (*done)(void *arg, int code, uint64_t rtt_ns),
                           void *arg);

/* Records of nodes we know, nearest to `key` first: at most `most`; returns how many. `fn` gets
 * borrowed bytes. */
size_t mesh_known_nearest(struct mesh *m, const uint8_t key[static 32], size_t most,
                          void (*fn)(void *arg, const uint8_t *record, size_t len), void *arg);

/* ---- requests and answers ---------------------------------------------------------------------
 */

enum mesh_method {
    MESH_METHOD_HELLO = 1,
    MESH_METHOD_FIND = 2,
    MESH_METHOD_STORE = 3,
    MESH_METHOD_DIGEST = 4,
    MESH_METHOD_LIST = 5,
    MESH_METHOD_RECORDS = 6,
    MESH_METHOD_CALL = 8,
};

enum mesh_rpc_status {
    MESH_RPC_OK = 0,
    MESH_RPC_NOT_FOUND = 1,
    MESH_RPC_STALE = 2,
    MESH_RPC_QUOTA = 3,
    MESH_RPC_REFUSED = 4,
    MESH_RPC_BUSY = 5,
    MESH_RPC_BAD = 6,
};

/* The items of the request or response array after the first: n MessagePack values, one behind
 * another, in wire form (canonical, see base/mp.h). */
struct mesh_items {
    const uint8_t *data;
    size_t len;
    unsigned n;
};

struct mesh_call;
struct mesh_request;

/* code 0: `status` and items are the answer (borrowed for the call). CYX_ETIMEDOUT, CYX_ECLOSED,
 * CYX_EPROTO (an answer that is not well-formed): the rest is empty. Not called after
 * mesh_call_cancel. */
typedef void (*mesh_call_fn)(void *arg, int code, unsigned status, const msgpack_object *items,
                             unsigned n);

/* Asks `method` of the peer. deadline_ms 0: MESH_RPC_DEADLINE_MS. 0, or CYX_EFULL (the bound), then
 * done is not called. *out may be NULL. */
CYX_MUST_USE int mesh_call(struct mesh_link *l, unsigned method, const struct mesh_items *items,
                           uint32_t deadline_ms, mesh_call_fn done, void *arg,
                           struct mesh_call **out);
void mesh_call_cancel(struct mesh_call *c);

/* The same of a node that there may be no link to yet: it is dialled first, and the deadline counts
 * from here. The answer is that node's: link key and id are those of `to`. Besides mesh_call's
 * codes those of mesh_dial. */
struct mesh_ask;
CYX_MUST_USE int mesh_ask(struct mesh *m, const struct mesh_contact *to, unsigned method,
                          const struct mesh_items *items, uint32_t deadline_ms, mesh_call_fn done,
                          void *arg, struct mesh_ask **out);
void mesh_ask_cancel(struct mesh_ask *a);

/* Handles a method. Must mesh_reply exactly once, now or later; items are borrowed for the call.
 * One handler for a method: NULL removes it. Unknown methods answer status 6. */
typedef void (*mesh_serve_fn)(void *arg, struct mesh_request *rq, const msgpack_object *items,
                              unsigned n);
CYX_MUST_USE int mesh_serve(struct mesh *m, unsigned method, mesh_serve_fn fn, void *arg);
/* The link it came over; NULL once that link is gone (mesh_reply is still due, and does nothing).
 */
struct mesh_link *mesh_request_link(const struct mesh_request *rq);
/* Who asks: what limits are counted under. False once the link is gone. */
struct mesh_asker {
    struct env_addr addr;
    uint8_t key[32]; /* its link key */
    bool is_listed, has_id;
    uint8_t id[32];
};
bool mesh_request_asker(const struct mesh_request *rq, struct mesh_asker *out);
void mesh_reply(struct mesh_request *rq, enum mesh_rpc_status status,
                const struct mesh_items *items);

/* ---- cells and trains -------------------------------------------------------------------------
 */

/* The one consumer of paths (onion/; a stand-in in tests). Bytes are borrowed for the call; `cell`
 * may be changed in place. */
struct mesh_paths {
    void (*cell)(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL]);
    void (*destroy)(void *arg, struct mesh_link *l, uint32_t path);
    void (*train)(void *arg, struct mesh_link *l, uint32_t path, bool is_reply,
                  const uint8_t *train, size_t len);
    void (*writable)(void *arg, struct mesh_link *l); /* fell under MESH_LINK_WRITABLE
                                                              cells after it was above */
};
void mesh_set_paths(struct mesh *m, const struct mesh_paths *ops, void *arg);

/* A path id unused on this link, with our side's top bit (section 9). 0 when none is free. */
uint32_t mesh_path_id(struct mesh_link *l);
/* Queues a copy of a cell for the path. 0; CYX_EFULL: queued, but the oldest run of some path was
 * dropped; CYX_ENOMEM: not queued; CYX_ECLOSED. */
int mesh_cell_send(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL]);
/* Cells queued for this path on this link; cells queued on the link. */
size_t mesh_path_queued(const struct mesh_link *l, uint32_t path);
size_t mesh_link_queued(const struct mesh_link *l);
/* Sends BUILD (7680) or BUILD_REPLY (6400). */
CYX_MUST_USE int mesh_train_send(struct mesh_link *l, uint32_t path, bool is_reply,
                                 const uint8_t *train, size_t len);
/* Sends DESTROY and drops what is queued for the path. */
void mesh_path_destroy(struct mesh_link *l, uint32_t path);
/* Drops what is queued for the path, says nothing. */
void mesh_path_forget(struct mesh_link *l, uint32_t path);
