/* onion/service_internal.h - shared by service*.c: a hidden endpoint of ours.
 *
 * For each of two periods it holds a service key, a delegation and some pivots, with a registration
 * at each; out of these a descriptor is made whenever they change, proven, stored through ENDs and
 * looked up again as a visitor would. Nothing of one period is used in another. Cells of all
 * registrations lead to one table of splices, and those to connections. */
#pragma once
#include <sodium.h>
#include <stdatomic.h>

#include "base/secret.h"
#include "onion/blind.h"
#include "onion/conns.h"
#include "onion/delegation.h"
#include "onion/onion_internal.h"

enum {
    SERVICE__PERIODS = 2,
    SERVICE__PIVOT_MIN_S = 12 * 3600, /* a pivot is replaced at a random time from here */
    SERVICE__PIVOT_MAX_S = 24 * 3600, /* ... to here */
    SERVICE__PATH_MIN_S = 40 * 60,    /* its path before that, make before break */
    SERVICE__PATH_MAX_S = 55 * 60,
    SERVICE__TRIES = 4,      /* paths to one pivot in a row that fail, or end soon: another pivot */
    SERVICE__STEADY_S = 60,  /* a path that lasted so long counts for nothing against its pivot */
    SERVICE__LEAVE_S = 600,  /* a pivot that was replaced by age is kept: visitors move in peace */
    SERVICE__AGAIN_MS = 500, /* after a failure; doubles, up to */
    SERVICE__AGAIN_MAX_MS = 8000,
    SERVICE__EARLY_S =
        7200, /* a period's first descriptor: at a random moment in two hours, unless none is out */
    SERVICE__REPEAT_MIN_S = 3 * 3600, /* published again */
    SERVICE__REPEAT_MAX_S = 5 * 3600,
    SERVICE__GATHER_MS = 300, /* for more pivots, before the descriptor is made */
    SERVICE__CHECK_MS = 200,  /* from stored to looked up; doubles */
    SERVICE__CHECKS = 6,
    SERVICE__SPLICES = 65536,
    SERVICE__SPLICES_FACTOR = 2, /* of what a pivot's terms allow to be open: more, and it lies */
    SERVICE__SEED_S = 7200,      /* a seed for splices' proofs, while the effort isn't zero */
    SERVICE__EFFORT_S = 600,     /* a new effort is published this often at most */
};

struct service_period;

/* A registration. */
struct service_pivot {
    struct service_period *p; /* NULL: unused */
    uint8_t id[32];
    uint8_t secret[32], token[ONION_TOKEN];
    uint64_t serial;
    struct onion_route route;
    struct onion_path *path, *next; /* in use; being built to take over */
    struct onion_route next_route;
    uint64_t next_serial;
    bool is_up;
    bool is_listed;  /* in the last descriptor that was made */
    bool is_leaving; /* another takes its place: kept for those who came by the old descriptor */
    bool has_stats;
    uint64_t up_ns; /* when its path was made */
    size_t n_splices;
    unsigned tries;
    uint64_t again_ms;
    uint64_t replace_s; /* when another pivot takes its place (network time) */
    uint32_t effort;    /* as STATS said */
    struct env_timer timer;
};

enum publish_state {
    PUBLISH_IDLE,
    PUBLISH_PROVING,
    PUBLISH_STORING,
    PUBLISH_CHECKING,
    PUBLISH_DONE
};

struct service_period {
    struct onion_service *s;
    uint64_t period; /* 0: unused */
    struct onion_delegations *delegations;
    struct onion_service_key key; /* its secret is wiped with the period */
    struct service_pivot pivots[ONION_PIVOTS_MAX];
    uint8_t proof[MESH_POW_PROOF];
    bool has_proof, is_wanted_again; /* changed while it was being published */
    struct service_work *work;
    enum publish_state state;
    uint64_t sequence;
    uint8_t record[DHT_DESCRIPTOR_MAX];
    size_t record_len;
    struct onion_ask *stores[DHT_REPLICAS], *check;
    unsigned n_stored, n_storing, checks;
    unsigned fails;    /* to publish, in a row */
    unsigned replaced; /* pivots that would not do, in a row */
    uint64_t first_ns; /* not published before; 0: not drawn */
    uint64_t published_s;
    bool was_seen;    /* looked up and opened */
    uint8_t seed[16]; /* for splices */
    uint64_t seed_ns, effort_ns;
    uint32_t effort;        /* in the descriptor */
    struct env_timer timer; /* what comes next for the descriptor */
};

/* A splice by our own number, which is unique over all registrations. */
struct service_splice {
    struct service_pivot *at;
    uint32_t wire; /* at that pivot */
    uint32_t number;
};

struct visitor; /* service_visitor.c: a connection and its streams */

struct onion_service {
    struct list node; /* of onion->services */
    struct onion *o;
    uint8_t *seed; /* locked */
    uint8_t address[32];
    struct onion_port ports[ONION_PORTS_MAX];
    size_t n_ports;
    uint8_t (*clients)[32];
    size_t n_clients;
    unsigned hops, n_pivots;
    struct onion_service_events ev;
    void *arg;
    struct service_period periods[SERVICE__PERIODS];
    struct onion_flights *flights;
    struct onion_conns *conns;
    struct map *by_wire;   /* (pivot, wire id) -> struct service_splice */
    struct map *by_number; /* -> the same */
    uint32_t next_number;
    struct list visitors;
    size_t n_visitors, n_streams;
    uint64_t accepted, refused;
    uint64_t saved_sequence[SERVICE__PERIODS], saved_period[SERVICE__PERIODS];
    enum onion_service_state state;
    const char *trouble;
    bool is_closing;
    struct env_task told;     /* the owner hears of a change from the loop: it may close us */
    struct env_timer leaving; /* closed: until its visitors' last words are out */
};

/* service.c */
void service__changed(struct onion_service *s); /* tells the owner, soon, if its state did */

/* service_period.c */
void periods__tick(struct onion_service *s);
void periods__end(struct onion_service *s);

/* service_pivot.c */
void pivots__tick(struct service_period *p); /* makes as many as are wanted */
void pivots__end(struct service_period *p);
size_t pivots__up(const struct service_period *p);
void pivots__seed_tick(struct service_period *p); /* a new seed for proofs, when it is time */
int pivot__send(struct service_pivot *v, const struct onion_cell *c);
bool pivot__may_splice(const struct service_pivot *v); /* or has it brought too many? */

/* service_publish.c */
void publish__wanted(
    struct service_period *p); /* something changed that belongs into the descriptor */
void publish__end(struct service_period *p);
void publish__init(struct service_period *p);
void publish__load(struct onion_service *s);

/* service_splice.c */
int splices__init(struct onion_service *s);
void splices__end(struct onion_service *s);
void splices__heard(struct service_pivot *v, const struct onion_cell *c);
void splices__lost(struct service_pivot *v); /* the registration is over */

/* service_visitor.c */
bool visitor__new(struct onion_service *s, struct onion_conn *c);
void visitors__leave(struct onion_service *s); /* ends their streams, says so to each */
void visitors__end(struct onion_service *s);   /* and frees them, now */
