/* onion/pivot_internal.h - what the files of a pivot share: pivot.c (life, who is registered),
 * pivot_register.c, pivot_splice.c (who may), pivot_data.c (cells). */
#pragma once
#include "mesh/sched.h"
#include "onion/pivot.h"
#include "onion/pivot_effort.h"
#include "onion/pivot_nonces.h"
#include "onion/relay_internal.h"

/* A service under its token. States: with a service path (tail.path), or an orphan whose splices
 * wait ONION_SPLICE_WAIT_S for a new one. */
struct pivot_registration {
    struct onion_tail tail; /* the service's path */
    struct onion_pivots *pivot;
    uint8_t token[32];
    uint64_t serial;
    const struct mesh_link *from; /* that its path came over, as a key; NULL: an orphan */
    uint64_t until_ns;            /* an orphan's end */
    struct list orphan;           /* pivot->orphans */
    struct list congested;        /* pivot->congested: cells wait in `queue` */
    uint8_t seed[2][16];          /* this and the one before */
    bool has_old_seed;
    struct onion_nonces nonces[2]; /* solved for them */
    struct onion_effort effort;
    struct map *splices;      /* id -> struct pivot_splice */
    struct mesh_sched *queue; /* cells to the service, fair over splices; made when first used */
};

struct pivot_splice {
    struct onion_tail tail; /* the client's path */
    struct pivot_registration *reg;
    uint32_t id;
    uint32_t paid; /* effort that was proven */
};

/* A registration that ended: an older REGISTER that comes late must take nothing. */
struct pivot_serial {
    struct list node; /* pivot->serials_by_end */
    uint8_t token[32];
    uint64_t serial, until_ns;
};

enum splice_refusal {
    SPLICE_NO_TOKEN,
    SPLICE_NO_SERVICE, /* registered, but its path is being replaced */
    SPLICE_SEED,
    SPLICE_WORK, /* less than it costs */
    SPLICE_PROOF,
    SPLICE_NONCE,
    SPLICE_BUCKET,
    SPLICE_OPEN, /* all places are taken by those who paid as much */
    SPLICE_FULL, /* the pivot's bounds, or memory */
    SPLICE_REFUSALS,
};

struct pivot_counters {
    uint64_t registered, taken_over, old_serials, register_full, orphaned, ended;
    uint64_t spliced, refused[SPLICE_REFUSALS], gave_way, closed_by_client, closed_by_service;
    uint64_t cells_to_service, cells_to_client, cells_unknown, cells_lost, queued;
    uint64_t terms, terms_bad, nonces_full;
};

struct onion_pivots {
    struct onion_relay *relay;
    struct env *env;
    struct map *by_token; /* struct pivot_registration */
    struct map *serials;  /* token -> struct pivot_serial */
    struct list serials_by_end, orphans, congested;
    size_t n_splices, n_nonces;
    struct mesh_cells *cells; /* of all queues */
    struct env_timer timer;   /* orphans and serials end */
    struct env_timer pump;    /* links have sent some of what was given to them */
    struct pivot_counters n;
};

/* pivot.c */
void pivot__arm(struct onion_pivots *v);
/* Ends a registration: CLOSE 2 to its splices; the serial is remembered. */
void pivot__registration_end(struct pivot_registration *g);
uint32_t pivot__effort(struct pivot_registration *g);
void pivot__nonces_forget(struct pivot_registration *g, unsigned which);

/* pivot_register.c */
void pivot__terms_set(struct pivot_registration *g, const struct onion_terms *t);
void pivot__service_gone(struct onion_tail *t);

/* pivot_splice.c */
/* Out of its registration and freed; its path is let go with a CLOSE for the client. */
void pivot__splice_close(struct pivot_splice *s, enum onion_close why);
void pivot__splice_free(struct pivot_splice *s);
/* The client's path is gone: the service hears CLOSE 1. */
void pivot__client_gone(struct onion_tail *t);

/* pivot_data.c */
extern const struct onion_tail_ops pivot__service_ops, pivot__client_ops;
/* A cell of splice `id` to the service, in its turn. */
void pivot__to_service(struct pivot_registration *g, uint32_t id, const struct onion_cell *c);
void pivot__say_close(struct onion_tail *t, uint32_t id, enum onion_close why);
void pivot__pump_fire(struct env_timer *t, void *arg);
