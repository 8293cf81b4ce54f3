/* onion/relay_internal.h - a relay's state, for its files and their tests.
 *
 *   relay.c        life                           relay_path.c   states of a path
 *   relay_build.c  a train arrives                relay_next.c   finding and dialling the next hop
 *   relay_cell.c   cells, the hot path            relay_link.c   what is kept of each link
 *   relay_timers.c everything that ends by itself relay_tombs.c  path ids that are no more
 *   tail.c         the last hop's end of a path   pivot*.c, end*.c  what stands there */
#pragma once
#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "mesh/budget.h"
#include "mesh/greedy.h"
#include "onion/layer.h"
#include "onion/relay.h"
#include "onion/seen.h"
#include "onion/share.h"
#include "onion/tail.h"
#include "onion/train.h"

struct onion_pivots;
struct onion_end;

/* ---- paths ------------------------------------------------------------------------------------
 */

enum relay_state {
    RELAY_BUILDING, /* the train went on, or waits for its link: no reply yet */
    RELAY_OPEN,
    RELAY_END,     /* we are the last hop */
    RELAY_CLOSING, /* the last hop, with nothing on it any more: what was sent gets through */
    RELAY_GONE,    /* its memory goes; tombstones stay */
};

enum relay_event {
    RELAY_EV_REPLY,       /* BUILD_REPLY from the next hop */
    RELAY_EV_LINK_UP,     /* the link to the next hop: a train waits for it */
    RELAY_EV_BEFORE_GONE, /* DESTROY from before, or that link is lost */
    RELAY_EV_NEXT_GONE,   /* the same of the next hop */
    RELAY_EV_SILENCE,     /* nothing came back in ONION_BUILD_WAIT_S */
    RELAY_EV_EXPIRED,     /* life, idle, unused; or it gives way to others */
};

/* What a path needs until its reply is on the way. Holds secrets. */
struct relay__building {
    struct relay_path *path;
    struct onion_answer answer;
    uint8_t *train;      /* ONION_TRAIN bytes that wait for the link; NULL: sent */
    struct list waiting; /* relay__link.waiting of the next link */
};

/* Paths of one prefix: who gives way when all are used. */
struct relay__group {
    struct greedy_item greedy; /* weight: paths */
    uint64_t prefix;
    struct list paths; /* by_group, the idlest first */
};

struct relay_path {
    struct onion_slot before, next; /* next: not in the switch at a last hop */
    struct onion_layer forward, backward;
    struct onion_relay *relay;
    enum relay_state state; /* written by path_set_state alone */
    bool is_used;           /* carried a cell */
    uint64_t made_ns;
    uint64_t used_ns;  /* last cell */
    uint64_t noted_ns; /* when it last moved to the end of its lists: behind used_ns by up to 1 s */
    struct list by_life, by_use, by_group;
    struct relay__group *group;
    struct onion_seen *seen_forward, *seen_backward;
    struct relay__building *building; /* BUILDING only */
    struct onion_tail *tail;          /* END only */
    const struct mesh_link *from;     /* the link before, as a key: it may be gone */
};

/* ---- links ------------------------------------------------------------------------------------
 */

/* What is kept of a link that paths (or their tombstones) are on. */
struct relay__link {
    struct mesh_link *link;
    uint64_t prefix, number; /* what its share is counted under: prefix, and itself */
    uint32_t their_bit;      /* top bit of ids that the peer chooses */
    bool is_listed;
    size_t n_paths; /* that come from it */
    size_t n_registrations;
    struct mesh_bucket builds; /* of an unlisted one */
    uint64_t violation_ns;
    unsigned n_violations;
    struct list waiting; /* relay__building: trains that wait for it to come up */
    struct list tombs;   /* of_link, the oldest first */
    size_t n_tombs;
};

/* A path id that was used, or whose DESTROY came before its BUILD: GONE. */
struct relay__tomb {
    struct onion_slot slot;
    struct onion_relay *relay;
    struct mesh_link *link; /* that its account is of */
    struct list all, of_link;
    uint64_t until_ns;
};

/* ---- the relay --------------------------------------------------------------------------------
 */

enum build_drop {
    BUILD_DROP_BUDGET, /* of the link, or of all */
    BUILD_DROP_TYPE,   /* another handshake than X25519 */
    BUILD_DROP_HINT,   /* none of our onion keys */
    BUILD_DROP_REPLAY, /* that ephemeral was seen */
    BUILD_DROP_OPEN,   /* didn't open */
    BUILD_DROP_STAMP,  /* too old or too new */
    BUILD_DROP_FULL,   /* the replay cache, or memory */
    BUILD_DROP_WAIT,   /* after an unclean stop, or for the disk: nothing is proven fresh */
    BUILD_DROP_SIDE,   /* an id of our side */
    BUILD_DROPS,
};

enum cell_drop {
    CELL_DROP_STRAY,   /* no such path: answered with DESTROY */
    CELL_DROP_GONE,    /* a tombstone */
    CELL_DROP_EARLY,   /* from before, while building */
    CELL_DROP_REPEAT,  /* the duplicate window */
    CELL_DROP_NOISE,   /* not recognised at the end */
    CELL_DROP_COMMAND, /* recognised, but nothing for this end */
    CELL_DROP_MEMORY,
    CELL_DROPS,
};

struct relay__counters {
    uint64_t builds, build_dropped[BUILD_DROPS], build_status[ONION_STATUSES];
    uint64_t cells_forward, cells_backward, cells_dropped[CELL_DROPS], cell_runs_dropped;
    uint64_t replies_stray, replies_lost, trains_gone, violations, links_ended;
    uint64_t destroys, destroys_stray, destroys_gone;
    uint64_t expired_life, expired_idle, expired_unused, silences, gave_way, dials;
};

struct onion_relay {
    struct mesh *mesh;
    struct env *env;
    struct onion_switch *paths;
    struct dht *dht;
    struct onion_replay *replay;
    size_t paths_max, n_paths, n_of[RELAY_GONE + 1];
    struct map *links;  /* struct mesh_link * -> struct relay__link */
    struct map *groups; /* uint64_t -> struct relay__group */
    struct greedy greedy;
    struct onion_share *builds; /* of all links */
    struct mesh_watcher watcher;
    /* in the order in which they end; one timer for all */
    struct list by_life;
    struct list building, unused, idle, closing; /* by_use */
    struct list tombs;
    size_t n_tombs, n_waiting;
    struct env_timer timer;
    struct onion_pivots *pivot;
    struct onion_end *end;
    struct relay__counters n;
    uint8_t train[ONION_TRAIN]; /* the one that is being opened */
};

static inline uint64_t relay__now(const struct onion_relay *r)
{
    return env_now_ns(r->env);
}

/* ---- relay_link.c -----------------------------------------------------------------------------
 */

/* The account of a link, made when there is none. NULL: no memory. */
struct relay__link *relay__link_get(struct onion_relay *r, struct mesh_link *l);
struct relay__link *relay__link_find(const struct onion_relay *r, const struct mesh_link *l);
/* Counts; 100 in a minute end the link with GOODBYE 4. */
void relay__link_violation(struct onion_relay *r, struct mesh_link *l);
/* May one more build come from it? Takes its tokens. */
bool relay__link_may_build(struct onion_relay *r, struct relay__link *k);
/* Before the links are forgotten. */
void relay__links_free(struct onion_relay *r);
void relay__link_watch(struct onion_relay *r);

/* ---- relay_tombs.c ----------------------------------------------------------------------------
 */

/* The id is GONE for ONION_TOMBSTONE_S: whatever comes for it is dropped. */
void relay__tomb_add(struct onion_relay *r, struct mesh_link *l, uint32_t path);
void relay__tomb_free(struct relay__tomb *t);

/* ---- relay_path.c -----------------------------------------------------------------------------
 */

/* Enters a path under (l, id), BUILDING, with its keys; answer moves in and is wiped. At the bound
 * the idlest of the largest prefix gives way. 0; CYX_EFULL: an unlisted link has enough;
 * CYX_ENOMEM. */
CYX_MUST_USE int relay__path_create(struct onion_relay *r, struct relay__link *k, uint32_t id,
                                    struct onion_answer *answer, struct relay_path **out);
/* `reply` only for RELAY_EV_REPLY. The path may be gone afterwards. */
void relay__path_step(struct relay_path *p, enum relay_event ev, const uint8_t *reply);
/* Seals our reply and sends it back. We are the last hop (OK): -> END with that tail. Any other
 * status: -> GONE. */
void relay__path_end(struct relay_path *p, struct onion_tail *t);
void relay__path_refuse(struct relay_path *p, enum onion_status status, uint32_t effort,
                        const uint8_t *seed);
void relay__path_close(struct relay_path *p);   /* DESTROY both -> GONE */
void relay__path_closing(struct relay_path *p); /* END -> CLOSING */
void relay__path_free(struct relay_path *p);    /* at the end of the relay: says nothing */
/* Sends status `status` for a build that never became a path. */
void relay__reply_refuse(struct onion_relay *r, struct mesh_link *l, uint32_t id,
                         struct onion_answer *answer, enum onion_status status);

/* A cell went through at `now`: it is not idle. */
void relay__path_moved(struct relay_path *p, uint64_t now_ns);
static inline void relay__path_used(struct relay_path *p, uint64_t now_ns)
{
    p->used_ns = now_ns;
    if (!p->is_used || now_ns - p->noted_ns >= ENV_S(1))
        relay__path_moved(p, now_ns);
}

/* ---- relay_cell.c -----------------------------------------------------------------------------
 */

extern const struct onion_slot_ops relay__before_ops, relay__next_ops;

/* ---- relay_build.c, relay_next.c --------------------------------------------------------------
 */

void relay__build_heard(struct onion_relay *r, struct mesh_link *l, uint32_t id,
                        const uint8_t train[static ONION_TRAIN]);
/* Sends (or lets wait) r->train to the node with that id. ONION_OK: it is on its way. */
enum onion_status relay__next_extend(struct relay_path *p, const uint8_t id[static 32]);
/* The link came up: sends the train. False: it can't be. */
bool relay__next_up(struct relay_path *p);

/* ---- relay_timers.c ---------------------------------------------------------------------------
 */

void relay__timers_arm(struct onion_relay *r);
void relay__timers_fire(struct env_timer *t, void *arg);

/* ---- relay.c: for tests -----------------------------------------------------------------------
 */

/* Recomputes every count and bound of relay, pivot and END; false: they don't hold. */
bool relay__check(const struct onion_relay *r);
