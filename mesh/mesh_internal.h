/* mesh/mesh_internal.h - the mesh's own state, for the files of this folder and their tests: the
 * endpoint (datagrams in), the tables it looks things up in, and what links share. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "mesh/budget.h"
#include "mesh/carrier.h"
#include "mesh/handshake.h"
#include "mesh/limits.h"
#include "mesh/mesh.h"
#include "mesh/msg.h"
#include "mesh/nettime.h"
#include "mesh/packet.h"
#include "mesh/remembered.h"
#include "mesh/sched.h"
#include "mesh/session.h"

struct mesh__own_record;
struct mesh__discover;
struct mesh__beacon;
struct mesh__rests;
struct mesh__sequences;

enum {
    MESH__TYPES = 8,            /* packet types for counters; 0: none of ours */
    MESH__COLLECT = 64,         /* batches sent in one turn of the loop */
    MESH__BATCH_FIRST = 4,      /* packets in the send buffer before it had to grow */
    MESH__HOUSEKEEPING_S = 60,  /* T on disk, rotation, renewal */
    MESH__RPC_REPEAT_MS = 1000, /* a request is repeated at half its deadline, but while a lost
                                   answer is still kept by the other side (MESH_OUTBOX_MS) */
    MESH__REST_MAX = 1024,      /* resting addresses remembered */
    MESH__PATHS_MAX = 16384,    /* path ids noted for a link */
    MESH__LINK_KEY = 40,        /* peer's link key, and which of ours */
};

/* ---- sessions by our index ------------------------------------------------------------------- */

enum mesh__keys_stage {
    MESH__KEYS_DIALING,     /* INIT is out: an index, no keys yet */
    MESH__KEYS_UNCONFIRMED, /* RESP is out, no valid DATA packet came: belongs to nobody */
    MESH__KEYS_LIVE,        /* a link's */
};

/* What an unconfirmed session knows of its initiator. */
struct mesh__half_open {
    struct list by_age;
    uint8_t remote_static[32];
    struct env_addr from;
    uint64_t prefix;
    uint64_t own_made; /* which of our link keys it was for */
    uint32_t features;
    uint8_t version[4];
};

struct mesh__keys {
    uint32_t index;
    enum mesh__keys_stage stage;
    bool is_initiator;
    struct mesh_link *link;       /* NULL while unconfirmed */
    struct mesh_session *session; /* NULL while dialing */
    uint64_t made_ns;             /* RESP received, or INIT answered */
    uint64_t heard_ns;            /* first valid packet on it; 0: none yet */
    struct mesh__half_open *half; /* while unconfirmed */
};

/* Draws an unused index (top byte: our worker) and registers it. NULL: no memory. */
struct mesh__keys *mesh__keys_create(struct mesh *m, enum mesh__keys_stage stage);
void mesh__keys_destroy(struct mesh *m, struct mesh__keys *k); /* NULL is fine */
struct mesh__keys *mesh__keys_find(const struct mesh *m, uint32_t index);

/* Takes `half` (copied) into the table of unconfirmed sessions; at the bounds the oldest goes. */
CYX_MUST_USE int mesh__half_open_add(struct mesh *m, struct mesh__keys *k,
                                     const struct mesh__half_open *half);
/* Takes it out again: it was confirmed, or it goes. */
void mesh__half_open_remove(struct mesh *m, struct mesh__keys *k);
/* Ends those that nothing confirmed in MESH_UNCONFIRMED_MS. */
void mesh__half_open_timer(struct env_timer *t, void *arg);
void mesh__half_opens_drop(struct mesh *m); /* all of them */

/* ---- the greatest INIT sequence of each peer ------------------------------------------------- */

struct mesh__sequences *mesh__sequences_create(size_t cap);
void mesh__sequences_destroy(struct mesh__sequences *s); /* NULL is fine */
/* True when `sequence` is greater than the greatest noted for `key`, or none is noted. */
bool mesh__sequence_is_fresh(const struct mesh__sequences *s, const uint8_t key[static 32],
                             uint64_t sequence);
/* Notes it; the key not noted longest is forgotten at the bound. */
void mesh__sequence_note(struct mesh__sequences *s, const uint8_t key[static 32],
                         uint64_t sequence);

/* ---- addresses that did not answer ----------------------------------------------------------- */

struct mesh__rests *mesh__rests_create(void);
void mesh__rests_destroy(struct mesh__rests *r);
void mesh__rest_add(struct mesh__rests *r, const struct env_addr *a, uint64_t now_ns);
bool mesh__rest_is_on(const struct mesh__rests *r, const struct env_addr *a, uint64_t now_ns);

/* ---- counters -------------------------------------------------------------------------------- */

struct mesh__counters {
    uint64_t rx_packets[MESH__TYPES], tx_packets[MESH__TYPES];
    uint64_t dropped[MESH__TYPES][DROP_COUNT_]; /* by packet type and reason */
    uint64_t send_failed, send_blocked;
    uint64_t handshakes_in, handshakes_out, confirmed, half_open_evicted, dial_failed;
    uint64_t links_up, links_down, links_shed, violations, rekeys, roams, collisions;
    uint64_t goodbye_in[6], goodbye_out[6];
    uint64_t rx_cells, tx_cells, rx_trains, tx_trains, rx_destroys, tx_destroys, late_destroys;
    uint64_t calls, calls_repeated, calls_timed_out, calls_refused, served, served_busy, served_bad,
        answers_again;
    uint64_t records_ok, records_refused, finds_sent, finds_served, beacons_in, beacons_out;
    uint64_t egress_waits, pings_timed_out;
    uint64_t handed_out, handed_in; /* to and from the other workers */
};

/* ---- the mesh -------------------------------------------------------------------------------- */

/* A disk operation under way: its owner may be gone when it ends. */
struct mesh__ticket {
    struct list node;
    struct mesh *mesh; /* NULL once the mesh is destroyed */
    void (*done)(struct mesh *m, int code, uint64_t value);
    uint64_t value;
};

/* Sealed packets the socket had no room for: they go before anything else. */
struct mesh__pending {
    struct env_addr to;
    size_t len; /* 0: nothing waits */
};

/* Packets of one link that are sealed already: m->send_buf[0 .. n). */
struct mesh__row {
    struct mesh_link *link; /* NULL: no row is open */
    struct env_addr to;
    size_t n;
};

struct mesh {
    struct env *env;
    struct mesh_network network;
    struct mesh_identity *identity;
    struct mesh_config config; /* bootstrap inside is our copy */
    uint64_t own_made;         /* which link key of `identity` is in use (its `made`) */
    uint32_t features;
    bool is_started, is_stopping, is_gcm;
    struct mesh_carrier *carrier;
    struct mesh_remembered *remembered;
    uint64_t heard_ns; /* when the last valid packet came, from whomever */
    struct nettime time;

    /* tables */
    struct list links;   /* all, until their memory goes */
    struct list turns;   /* those not CLOSING; looked at for one to shed, the last ones lately */
    struct map *by_key;  /* peer's link key and which of ours -> link: link_key.c */
    struct map *by_id;   /* proven node id -> link */
    struct map *indices; /* our session index -> struct mesh__keys */
    size_t n_links;      /* not CLOSING */
    size_t n_up;
    uint32_t next_number;
    struct mesh_prefix_count *prefixes;      /* links by address prefix */
    struct mesh_prefix_count *half_prefixes; /* unconfirmed sessions by prefix */
    struct list half_opens;                  /* oldest first */
    size_t n_half_opens;
    struct env_timer half_timer;
    struct mesh__sequences *sequences;
    struct mesh__rests *rests;
    struct list ending; /* CLOSING links, freed from `reap` alone */
    struct env_task reap;

    /* INIT admission */
    struct mesh_bucket first_messages, handshakes;
    struct mesh_prefix_budget *hs_prefixes;
    uint8_t cookie_secret[2][32];
    uint64_t cookie_made_ns; /* 0: none drawn yet */
    bool inbound_seen;

    /* our own INIT sequence: in blocks that are on disk before they are used */
    uint64_t sequence_next, sequence_limit;
    bool is_sequence_storing;

    /* sending */
    struct list dirty; /* links with something to send, in turn */
    struct env_task flush;
    struct env_timer flush_timer; /* the egress bucket, or the next turn */
    uint8_t *send_buf;
    size_t send_cap; /* packets */
    struct mesh__row row;
    struct mesh__pending pending;
    bool is_blocked;
    struct mesh_bucket egress;
    struct mesh_cells *cells;
    struct mesh_inbox_pool *inbox_pool;

    /* requests */
    struct {
        mesh_serve_fn fn;
        void *arg;
        bool is_handed; /* worker 0 serves it */
    } serve[16];
    size_t n_rpc; /* calls in flight and requests being served */
    struct list serving;

    /* parcel.c: on their way to other workers and back, by ticket */
    struct map *asks_out;     /* struct mesh_ask */
    struct map *asks_in;      /* struct mesh__asked */
    struct map *requests_out; /* struct mesh_request */
    uint64_t next_ticket;

    /* above us */
    struct list watchers;
    struct mesh_paths paths;
    void *paths_arg;

    struct mesh__own_record *own;
    struct mesh__discover *discover;
    struct mesh__beacon *beacon;
    struct env_timer housekeeping;
    unsigned n_housekeepings;

    struct list tickets;
    env_fn stop_done;
    void *stop_arg;
    struct mesh_remembered *closing; /* the store, while mesh_stop closes it */
    uint64_t started_ns, ready_ns;
    struct mesh__counters n;
};

static inline uint64_t mesh__now(const struct mesh *m)
{
    return env_now_ns(m->env);
}

/* Does the peer with this link key belong to this worker? */
static inline bool mesh__is_mine(const struct mesh *m, const uint8_t link_key[static 32])
{
    return m->config.n_workers <= 1 ||
           mesh_worker_of(link_key, m->config.n_workers) == m->config.worker;
}

/* This worker's part of a bound of the node, rounded up. */
static inline size_t mesh__share(const struct mesh *m, size_t whole)
{
    size_t n = m->config.n_workers > 1 ? m->config.n_workers : 1;
    return (whole + n - 1) / n;
}

static inline void mesh__drop(struct mesh *m, unsigned type, enum drop reason)
{
    m->n.dropped[type < MESH__TYPES ? type : 0][reason]++;
}

/* One of our link keys as the handshake wants it. False when it is no longer held. Holds a secret:
 * sodium_memzero it. */
bool mesh__self(const struct mesh *m, uint64_t made, struct mesh_hs_self *out);

/* A ticket for a disk operation whose end `done` hears of, unless the mesh is gone by then.
 * NULL: no memory. */
struct mesh__ticket *mesh__ticket(struct mesh *m,
                                  void (*done)(struct mesh *m, int code, uint64_t value),
                                  uint64_t value);
void mesh__ticket_done(void *ticket, int code); /* an env_done_fn */

/* endpoint.c: datagrams in, handshake packets out */
void mesh__endpoint_received(void *arg, struct mesh_carrier *c, struct env_datagrams *batch,
                             size_t n);
int mesh__send_one(struct mesh *m, const struct env_addr *to, const uint8_t *data, size_t len);

/* The next INIT sequence of a listed node. False: none is on disk yet, try again soon. */
bool mesh__sequence_take(struct mesh *m, uint64_t *out);
void mesh__sequence_start(struct mesh *m);

/* link_send.c */
void mesh__flush(void *arg);
void mesh__flush_timer(struct env_timer *t, void *arg);
void mesh__writable(void *arg, struct mesh_carrier *c);

/* link_limit.c: sheds links until one more from `prefix` fits. */
void mesh__links_make_room(struct mesh *m, uint64_t prefix);

/* known.c, hello.c, rpc_serve.c */
bool mesh__hello_start(struct mesh *m);
void mesh__find_serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n);
void mesh__requests_drop(struct mesh *m);

/* worker.c: false when there is nobody to hand it to. */
bool mesh__hand_datagram(struct mesh *m, unsigned to, const struct env_addr *from,
                         const uint8_t *data, size_t len, bool is_admitted);
/* To its owner; with seen_s > 0 to all others, so that each can tell of it. */
void mesh__hand_record(struct mesh *m, const struct mesh_node *node, const uint8_t *record,
                       size_t len, uint64_t seen_s);

/* parcel.c: questions and requests that pass between workers */
bool mesh__parcels_create(struct mesh *m);
void mesh__parcels_fail(struct mesh *m); /* questions end with CYX_ECLOSED */
void mesh__parcels_destroy(struct mesh *m);
/* Sends the question to the peer's worker. `a` is done, in the end, by mesh__ask_end. */
CYX_MUST_USE int mesh__ask_out(struct mesh *m, struct mesh_ask *a, uint64_t *ticket,
                               const struct mesh_parcel *p);
void mesh__ask_out_cancel(struct mesh *m, uint64_t ticket, unsigned worker);
/* ask.c: hands the answer on and frees. */
void mesh__ask_end(struct mesh_ask *a, int code, unsigned status, const msgpack_object *items,
                   unsigned n);
/* Sends a peer's request to worker 0. False: no room. */
bool mesh__request_out(struct mesh *m, struct mesh_request *rq, const uint8_t *data, size_t len);
/* rpc_serve.c: a request that another worker sent goes to its handler. */
void mesh__request_in(struct mesh *m, uint64_t ticket, const struct mesh_asker *from,
                      const uint8_t *data, size_t len);
/* ... and its answer, a whole message, to the peer; no bytes: status 5. */
void mesh__reply_message(struct mesh_request *rq, const uint8_t *data, size_t len);

/* stop.c */
void mesh__reap(void *arg);
void mesh__stop_step(struct mesh *m);

/* own.c: our own record, what peers see us as, key rotation */
struct mesh__own_record *mesh__own_create(struct mesh *m);
void mesh__own_destroy(struct mesh__own_record *o);
void mesh__own_refresh(struct mesh *m); /* builds and signs it again if something changed */
void mesh__own_stop(struct mesh *m);
void mesh__own_observed(struct mesh *m, const struct mesh_link *by, const struct env_addr *a);
bool mesh__own_observed_get(const struct mesh *m, struct env_addr *out);
uint64_t mesh__own_sequence(const struct mesh *m); /* of the record; 0: none */
void mesh__own_rotate(struct mesh *m);

/* discover.c */
struct mesh__discover *mesh__discover_create(struct mesh *m, struct cyx_err *err);
void mesh__discover_destroy(struct mesh__discover *d);
void mesh__discover_start(struct mesh *m);
void mesh__discover_stop(struct mesh *m);
void mesh__discover_up(struct mesh *m, struct mesh_link *l);
void mesh__discover_known(struct mesh *m, struct mesh_link *l);
void mesh__discover_down(struct mesh *m, struct mesh_link *l);
void mesh__discover_heard(struct mesh *m, const struct mesh_contact *c); /* a beacon */
void mesh__discover_found(struct mesh *m, const struct mesh_node *n);    /* by another worker */
void mesh__discover_status(const struct mesh *m, struct mesh_status *out);
bool mesh__is_bootstrap(const struct mesh *m, const uint8_t link_key[static 32]);

/* beacon.c */
CYX_MUST_USE int mesh__beacon_start(struct mesh *m, struct cyx_err *err);
void mesh__beacon_stop(struct mesh *m);
enum drop mesh__beacon_parse(struct mesh_contact *out, const uint8_t net[static 32],
                             const uint8_t *data, size_t len, const struct env_addr *from);
