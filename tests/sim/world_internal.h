/* tests/sim/world_internal.h - what the world's own files share. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "tests/sim/world.h"

enum {
    SIM_LAN_US = 200,          /* one way behind the same NAT */
    SIM_LOOPBACK_US = 10,      /* to oneself */
    SIM_DEFER_ROUNDS_MAX = 64, /* tasks that defer themselves again get new turns after these */
    SIM_UPLINK_QUEUE_MS = 250, /* the usual bloated modem */
    SIM_STALL_MS = 200,        /* a stream across a partition tries again after this */
    SIM_STALL_LIMIT_S = 30,    /* and is reset after this */
    SIM_PACKET_CLASS = 64,     /* packet buffers are pooled in steps of this many bytes */
    SIM_PACKET_CLASSES = 32,
    SIM_INSTANT_EVENTS_MAX = 50000000 /* more at one instant: virtual time is stuck */
};

#define SIM_NOBODY UINT32_MAX

/* ---- events (queue.c) ---- */

enum sim_kind {
    SIM_EV_PACKET = 1, /* struct sim_packet arrives */
    SIM_EV_CALL,       /* struct sim_call: the scenario's */
    SIM_EV_OP,         /* struct sim_op: disk, work, post */
    SIM_EV_CONN,       /* struct sim_half: stream bytes arrive */
    /* only in the hash: */
    SIM_EV_TURN,
    SIM_EV_SEND,
    SIM_EV_DROP,
    SIM_EV_BOOT,
    SIM_EV_CRASH,
    SIM_EV_STREAM,
};

struct sim_event {
    uint64_t at;
    uint64_t seq_kind; /* sequence << 8 | kind: order among equals, first scheduled first */
    void *obj;
};

struct sim_queue {
    struct sim_event *heap;
    size_t n, cap;
    uint64_t seq;
};

void sim__queue_push(struct sim_queue *q, uint64_t at, enum sim_kind kind, void *obj);
struct sim_event sim__queue_pop(struct sim_queue *q);

/* Nodes by next wake-up, indexed heap: a node knows its place. */
struct sim_alarm {
    struct sim_node **heap;
    size_t n, cap;
};

/* Moves the node to wake at `at` (UINT64_MAX: takes it out). */
void sim__alarm_set(struct sim_alarm *a, struct sim_node *n, uint64_t at);

/* ---- randomness and hashing (chance.c) ---- */

uint64_t sim__mix(uint64_t a, uint64_t b);
uint64_t sim__mix_bytes(uint64_t seed, const void *data, size_t len);
uint64_t sim__next(uint64_t *state); /* splitmix64 */
uint64_t sim__below(uint64_t *state, uint64_t bound);
bool sim__chance(uint64_t *state, uint32_t ppm);

struct sim_stream_rng {
    uint8_t key[32];
    uint64_t nonce;
    uint8_t left;
    uint8_t block[64];
};
void sim__rng_seed(struct sim_stream_rng *r, uint64_t seed, uint32_t node, uint32_t boot);
void sim__rng_fill(struct sim_stream_rng *r, void *buf, size_t n);

/* ---- places ---- */

/* What owns an address: a node or a NAT's outside. */
struct sim_site {
    uint32_t id; /* own counter, for latency by pair */
    bool is_nat;
};

struct sim_node {
    struct env env; /* first: env_ops get this pointer */
    struct sim_site site;
    struct sim_world *world;
    uint32_t index, boot_count, group, realm, lan, host;
    bool up, in_turn;
    enum sim_disk disk_state;
    uint64_t wake_at;
    size_t alarm_place; /* in the alarm heap, + 1; 0: not in it */
    uint64_t mono_offset;
    int64_t skew_ms;
    struct timers timers;
    struct list deferred;
    /* What the program has open. A crash marks these dead; closing them frees them. */
    struct list sockets, ends, listeners, kvs, ops;
    struct list reachable;     /* listeners: its own TCP ones, unix ones of its host */
    struct list stores, blobs; /* on disk */
    struct list trails;        /* in the machine's memory */
    uint64_t disk_free_at;
    uint64_t chance; /* the network's and the disk's dice for this node */
    struct sim_stream_rng rng;
    struct env_addr address[2];
    const struct sim_link *link; /* own, or NULL */
    uint64_t uplink_bps, uplink_free_at;
    void (*boot)(void *arg, struct sim_node *n);
    void (*drop)(void *arg, struct sim_node *n);
    void *arg;
};

struct sim_nat {
    struct sim_site site;
    struct sim_world *world;
    struct sim_nat_options o;
    uint32_t inside, outside; /* realms */
    uint64_t chance;
    uint64_t swept_at;
    struct map *by_inside; /* struct nat_key -> mapping */
    struct map *by_port;   /* u16 -> mapping */
};

struct sim_packet {
    struct env_addr from, to;
    struct sim_node *only; /* multicast and loopback: this node, whatever `to` says */
    uint32_t sender;       /* node index or SIM_NOBODY */
    uint32_t realm;        /* where `to` is to be looked up */
    uint32_t len;
    uint8_t data[];
};

struct sim_call {
    env_fn fn;
    void *arg;
    struct sim_node *node; /* NULL: outside of any */
};

struct sim_tap {
    sim_tap_fn fn;
    void *arg;
};

struct sim_slot;
struct sim_sites {
    struct sim_slot *slots;
    size_t n, cap;
};

struct sim_world {
    uint64_t now;
    uint64_t hash[2];
    struct sim_queue queue;
    struct sim_alarm alarm;
    struct sim_options o;
    uint64_t chance;
    struct sim_node **nodes;
    size_t n_nodes, cap_nodes;
    struct sim_nat **nats;
    size_t n_nats, cap_nats;
    uint32_t n_sites;
    struct sim_sites sites;
    struct list multicast;
    struct sim_tap taps[SIM_TAPS_MAX];
    struct sim_packet *free_packets[SIM_PACKET_CLASSES];
    uint64_t instant, instant_events;
    struct sim_stats stats;
};

/* Memory that the world can't do without: aborts when it is out. */
void *sim__alloc(size_t n);
void sim__note(struct sim_world *w, enum sim_kind kind, uint32_t node, uint64_t x, uint64_t y);

/* ---- turns (node.c) ---- */

extern const struct env_ops sim__ops;
void sim__turn_begin(struct sim_node *n);
void sim__turn_end(struct sim_node *n);
void sim__node_wake(struct sim_node *n); /* timers due, tasks */
void sim__node_free(struct sim_node *n);
static inline struct sim_node *sim__node_of(struct env *e)
{
    return (struct sim_node *)(void *)e;
}

/* ---- network (sites.c, udp.c, route.c, packet.c) ---- */

struct sim_packet *sim__packet_new(struct sim_world *w, size_t len);
void sim__packet_free(struct sim_world *w, struct sim_packet *p);
void sim__packets_fini(struct sim_world *w);
int sim__site_put(struct sim_world *w, uint32_t realm, const struct env_addr *a,
                  struct sim_site *s);
void sim__site_del(struct sim_world *w, uint32_t realm, const struct env_addr *a);
struct sim_site *sim__site_get(const struct sim_world *w, uint32_t realm, const struct env_addr *a);
uint64_t sim__latency_ns(const struct sim_world *w, const struct sim_link *l, uint32_t site_a,
                         uint32_t site_b);
void sim__send(struct sim_node *n, const struct env_addr *from, const struct env_addr *to,
               const uint8_t *data, size_t len);
void sim__arrive(struct sim_world *w, struct sim_packet *p);
void sim__udp_receive(struct sim_node *n, struct sim_packet *p);
void sim__udp_crash(struct sim_node *n);
bool sim__addr_is_multicast(const struct env_addr *a);
bool sim__addr_is_loopback(const struct env_addr *a);
bool sim__addr_is_zero(const struct env_addr *a);
/* The node's address to reach `to` from, or NULL when it has none of that family. */
const struct env_addr *sim__node_address(const struct sim_node *n, const struct env_addr *to);

struct env_udp {
    struct list in_node, in_multicast;
    struct sim_node *node;
    bool is_dead;
    struct env_udp_options o;
    struct env_udp_info info;
};
int sim__udp_open(struct env *e, const struct env_udp_options *o, struct env_udp **out,
                  struct cyx_err *err);
void sim__udp_close(struct env_udp *u);
int sim__udp_send(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                  size_t segment);
void sim__udp_info(const struct env_udp *u, struct env_udp_info *out);

/* ---- NAT (nat.c) ---- */

/* Translates `from` on the way out. False: dropped. */
bool sim__nat_out(struct sim_nat *nat, struct env_addr *from, const struct env_addr *to);
/* Translates `to` on the way in. False: nobody inside wants it. */
bool sim__nat_in(struct sim_nat *nat, const struct env_addr *from, struct env_addr *to);
void sim__nat_free(struct sim_nat *nat);

/* ---- disk (op.c, kv.c, blob.c) ---- */

enum sim_op_kind { SIM_OP_COMMIT, SIM_OP_BLOB, SIM_OP_WORK, SIM_OP_POST };

/* Something under way that ends in a callback. */
struct sim_op {
    struct list in_node;
    struct sim_node *node; /* NULL: over (crash); the event only frees it */
    enum sim_op_kind kind;
    bool is_applied, is_canceled;
    int code;
    struct env_kv_batch *batch;
    struct sim_blob *blob;
    env_work_fn work;
    env_done_fn done;
    env_fn post;
    void *arg;
};

struct sim_op *sim__op_start(struct sim_node *n, enum sim_op_kind kind, uint64_t at);
uint64_t sim__disk_time(struct sim_node *n);
void sim__op_fire(struct sim_world *w, struct sim_op *op);
void sim__op_free(struct sim_op *op);
void sim__ops_settle(struct sim_node *n, bool is_crash); /* before `drop`: what reached the disk */
/* After it: tells the owners, CYX_ECANCELED but for what a shutdown has completed. */
void sim__ops_report(struct sim_node *n, bool is_crash);
int sim__work(struct env *e, env_work_fn work, env_done_fn done, void *arg, struct env_work **out);
void sim__work_cancel(struct env_work *w);
void sim__post(struct env *e, env_fn fn, void *arg);

int sim__kv_open(struct env *e, const char *name, size_t max_bytes, struct env_kv **out,
                 struct cyx_err *err);
void sim__kv_close(struct env_kv *kv);
int sim__kv_get(struct env_kv *kv, const void *key, size_t key_len, void *buf, size_t cap,
                size_t *len);
int sim__kv_each(struct env_kv *kv, const void *prefix, size_t prefix_len, env_kv_each_fn fn,
                 void *arg);
struct env_kv_batch *sim__kv_batch(struct env_kv *kv);
int sim__kv_put(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                size_t val_len);
int sim__kv_del(struct env_kv_batch *b, const void *key, size_t key_len);
void sim__kv_commit(struct env_kv_batch *b, env_done_fn done, void *arg);
void sim__kv_abort(struct env_kv_batch *b);
int sim__kv_apply(struct env_kv_batch *b); /* 0 or CYX_ENOSPC */
void sim__kv_crash(struct sim_node *n);
void sim__stores_free(struct sim_node *n);

int sim__blob_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len,
                   struct cyx_err *err);
void sim__blob_store(struct env *e, const char *name, const uint8_t *data, size_t len,
                     env_done_fn done, void *arg);
int sim__blob_apply(struct sim_node *n, struct sim_blob *b); /* takes it on success */
void sim__blob_free(struct sim_blob *b);
void sim__blobs_free(struct sim_node *n);

int sim__trail_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len);
int sim__trail_open(struct env *e, const char *name, bool is_anew, struct env_trail **out);
int sim__trail_add(struct env_trail *t, const uint8_t *data, size_t len);
void sim__trail_close(struct env_trail *t);
void sim__trails_free(struct sim_node *n);

/* ---- streams (stream.c, listen.c) ---- */

struct sim_half;
void sim__half_fire(struct sim_world *w, struct sim_half *h);
void sim__half_drop(struct sim_half *h); /* its event will not come: the world ends */
void sim__streams_crash(struct sim_node *n);
int sim__listen(struct env *e, const struct env_endpoint *at,
                void (*accepted)(void *arg, struct env_stream *s), void *arg,
                struct env_listener **out, struct cyx_err *err);
void sim__listener_close(struct env_listener *l);
int sim__listener_addr(const struct env_listener *l, struct env_addr *out);
int sim__connect(struct env *e, const struct env_endpoint *to,
                 const struct env_stream_events *events, void *arg, struct env_stream **out,
                 struct cyx_err *err);
void sim__stream_attach(struct env_stream *s, const struct env_stream_events *events, void *arg);
int sim__stream_write(struct env_stream *s, const void *data, size_t len);
void sim__stream_pause(struct env_stream *s, bool paused);
void sim__stream_end(struct env_stream *s);
void sim__stream_close(struct env_stream *s);
void sim__stream_reset(struct env_stream *s);
size_t sim__stream_queued(const struct env_stream *s);
int sim__stream_cred(const struct env_stream *s, struct env_cred *out);
