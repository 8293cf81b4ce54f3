/* tests/sim/world.h - a deterministic world behind base/env.h: nodes with clocks, disks and
 * sockets, and the network between them, on virtual time. One seed and one scenario give one exact
 * run; a hash over all events proves it. Everything runs on the caller's thread; nothing depends on
 * memory addresses, the wall clock or the process's hash secret.
 *
 * Times are virtual nanoseconds since the world began. Probabilities are parts per million, so no
 * decision rests on floating point. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

struct sim_world;
struct sim_node;
struct sim_nat;

#define SIM_MS(n) ((uint64_t)(n)*1000000u)
#define SIM_S(n)  ((uint64_t)(n)*1000000000u)

/* What happens to datagrams between two places. */
struct sim_link {
    uint32_t latency_min_us, latency_max_us; /* one way; each pair has its own fixed base in here */
    uint32_t jitter_us; /* up to this much more, the same for all that leaves in one millisecond */
    uint32_t loss_ppm;
    uint32_t reorder_ppm, reorder_us; /* how many are held back, and by up to how much */
    uint32_t duplicate_ppm;           /* a second copy with a delay of its own */
    uint32_t corrupt_ppm;             /* 1 to 8 bits flipped */
    uint32_t mtu;                     /* bytes of UDP payload that pass; 0: any */
};

/* 5..150 ms, 2 ms jitter, nothing lost. */
extern const struct sim_link sim_link_clean;
/* The same with 5% loss, 1% held back by up to 50 ms, 0.5% doubled, 0.1% corrupted. */
extern const struct sim_link sim_link_rough;

struct sim_options {
    uint64_t seed;
    struct sim_link link;              /* zero: sim_link_clean */
    int64_t epoch_ms;                  /* wall clock at time 0; 0: 2026-01-01T00:00Z */
    uint32_t disk_min_us, disk_max_us; /* latency of a commit; zero: 1..5 ms */
    uint32_t work_us;                  /* duration of env_work; zero: 1 ms */
};

/* NULL when memory is out. Owned by the caller (sim_destroy). */
struct sim_world *sim_create(const struct sim_options *o);
/* Crashes every running node (so their `drop` hooks run), then frees the world. NULL is fine. */
void sim_destroy(struct sim_world *w);

uint64_t sim_now(const struct sim_world *w);
/* Runs everything due up to and including t_ns; the time is t_ns afterwards. */
void sim_run_until(struct sim_world *w, uint64_t t_ns);
/* Runs the next event; false when there is none left. */
bool sim_step(struct sim_world *w);
/* Calls fn(arg) at t_ns (or now, when past): how a scenario acts on its world. Outside of any
 * node. Not cancellable. */
void sim_at(struct sim_world *w, uint64_t t_ns, env_fn fn, void *arg);
/* The world's own stream, for scenarios: adding a node does not change it. 0 when bound is 0. */
uint64_t sim_random_below(struct sim_world *w, uint64_t bound);
/* Fingerprint of all events so far as 32 hex digits; returns `out`. */
const char *sim_hash(const struct sim_world *w, char out[static 33]);

/* ---- nodes ----------------------------------------------------------------------------------- */

struct sim_node_options {
    struct env_addr address;  /* port unused; unique within its realm (public, or behind one NAT) */
    struct env_addr address6; /* second address of the other family; zero: none */
    struct sim_nat *nat;      /* the box it sits behind; NULL: public */
    const struct sim_node *same_host; /* shares unix socket paths with this node; NULL: none */
    uint32_t lan;         /* nodes with the same number hear each other's multicast; 0: those
                             behind the same NAT do */
    uint64_t uplink_bps;  /* bits a second; a queue of 250 ms before it, then drops. 0: no limit */
    int64_t wall_skew_ms; /* its clock minus the world's */
    struct log *log;      /* borrowed, may be NULL */
    /* The program: `boot` starts it (in the node's turn); `drop` frees its memory after a crash or
     * shutdown, when the environment is dead. */
    void (*boot)(void *arg, struct sim_node *n);
    void (*drop)(void *arg, struct sim_node *n);
    void *arg;
};

/* Adds a node, switched off. NULL when memory is out or the address is taken. Owned by the world.
 */
struct sim_node *sim_node_add(struct sim_world *w, const struct sim_node_options *o);
uint32_t sim_node_index(const struct sim_node *n); /* 0, 1, 2... in order of addition */
struct env *sim_node_env(struct sim_node *n);
struct sim_world *sim_node_world(const struct sim_node *n);
void *sim_node_arg(const struct sim_node *n);
bool sim_node_is_up(const struct sim_node *n);

/* Switches on: a new boot number (fresh randomness), then `boot`. Asserts that it was off and that
 * `drop` closed everything the last run had opened. */
void sim_node_boot(struct sim_node *n);

/* Power cut. Timers, sockets, streams and deferred tasks stop existing; a commit or blob under way
 * is on disk wholly or not at all, by coin toss and in order; nobody hears of it. C can't unwind
 * the program, so then `drop` runs: it destroys the program's objects in the ordinary way. Every
 * call on the dead environment is harmless: opens fail with CYX_ECLOSED, sends and timers do
 * nothing. What was under way (commits, blobs, work) reports CYX_ECANCELED once `drop` returned, so
 * that owners get their memory back; env_kv_close and the like keep their promises. */
void sim_node_crash(struct sim_node *n);
/* kill -9 of the program alone: the same, but trails outlive it. */
void sim_node_kill(struct sim_node *n);
/* The same without loss: what was under way reaches the disk first. For programs that have stopped
 * in an orderly way. */
void sim_node_shutdown(struct sim_node *n);

/* Calls fn(arg) as an event in the node's turn (deferred tasks run after it). */
void sim_node_enter(struct sim_node *n, env_fn fn, void *arg);

/* Wall clock: ours minus the world's, from now on. The monotonic clock never jumps. */
void sim_node_set_skew(struct sim_node *n, int64_t skew_ms);

/* ---- network --------------------------------------------------------------------------------- */

void sim_set_link(struct sim_world *w, const struct sim_link *l);
/* What this node sends goes over its own kind of link; NULL: the world's again. */
void sim_node_set_link(struct sim_node *n, const struct sim_link *l);
/* Nodes in different groups can't reach each other (0 at the start). */
void sim_node_set_group(struct sim_node *n, uint32_t group);
void sim_heal(struct sim_world *w); /* all in group 0 again */
/* The node moves to another address and network; its sockets stay open. 0 or CYX_EEXIST. */
CYX_MUST_USE int sim_node_move(struct sim_node *n, const struct env_addr *to, struct sim_nat *nat);

/* A datagram as it leaves for the public network (or a LAN), behind the sender's NAT. */
struct sim_datagram {
    struct env_addr from, to;
    const uint8_t *data;
    size_t len;
    const struct sim_node *sender;
};
/* Sees every datagram; false swallows it. May call sim_inject. */
typedef bool (*sim_tap_fn)(void *arg, const struct sim_datagram *d);
enum { SIM_TAPS_MAX = 4 };
/* 0 or CYX_EFULL. */
CYX_MUST_USE int sim_tap(struct sim_world *w, sim_tap_fn fn, void *arg);
void sim_untap(struct sim_world *w, sim_tap_fn fn, void *arg);
/* A datagram out of nowhere on the public network, from any address, unharmed, after delay_ns. */
void sim_inject(struct sim_world *w, const struct env_addr *from, const struct env_addr *to,
                const void *data, size_t len, uint64_t delay_ns);

enum sim_nat_type {
    SIM_NAT_FULL_CONE,       /* one mapping for each inside address; anybody may use it */
    SIM_NAT_RESTRICTED,      /* only addresses we sent to */
    SIM_NAT_PORT_RESTRICTED, /* only address and port we sent to */
    SIM_NAT_SYMMETRIC,       /* a mapping for each destination, random port */
};
struct sim_nat_options {
    enum sim_nat_type type;
    struct env_addr address; /* on the outside */
    struct sim_nat *outer;   /* the box that this one sits behind; NULL: public */
    uint32_t timeout_s;      /* mappings end this long after the last datagram out; 0: 120 */
    bool hairpin;            /* inside nodes may use the outside address of one another */
};
/* NULL when memory is out or the address is taken. Owned by the world. */
struct sim_nat *sim_nat_add(struct sim_world *w, const struct sim_nat_options *o);
void sim_nat_flush(struct sim_nat *nat); /* forgets every mapping, as a power cut does */
size_t sim_nat_mappings(const struct sim_nat *nat);

/* ---- disk ------------------------------------------------------------------------------------ */

enum sim_disk { SIM_DISK_OK, SIM_DISK_FULL, SIM_DISK_READ_ONLY };
void sim_node_set_disk(struct sim_node *n, enum sim_disk state);
void sim_node_wipe_disk(struct sim_node *n); /* all stores and blobs; the node must be off */

/* ---- figures --------------------------------------------------------------------------------- */

struct sim_stats {
    uint64_t events; /* of all kinds */
    uint64_t sent, sent_bytes, delivered, delivered_bytes;
    uint64_t lost, duplicated, reordered, corrupted, injected;
    uint64_t dropped_mtu, dropped_uplink, dropped_no_route, dropped_nat, dropped_partition,
        dropped_down, dropped_no_socket, dropped_tap;
    uint64_t turns, commits, stream_bytes, boots, crashes;
    size_t events_waiting, packet_bytes; /* now */
};
void sim_stats(const struct sim_world *w, struct sim_stats *out);
