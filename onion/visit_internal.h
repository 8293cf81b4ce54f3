/* onion/visit_internal.h - shared by visit*.c: a connection to somebody's service, from the lookup
 * to its last path.
 *
 *   LOOKING     for the descriptor
 *   LINGERING   it is here, streams are told so, and their first bytes are waited for: they ride in
 *               the first flight
 *   CONNECTING  the first flight is under way, on one path or, when that is late, on two
 *   OPEN        the service proved its key
 *   LEAVING     out of the map, its users are told; the connection says its last words
 *   OVER        being taken apart: nothing is told to it any more
 *
 * Timers: `timer` ends LINGERING, then what takes too long; `idle` ends what nobody uses; `rest` is
 * before all pivots are tried again; `overlap` closes paths that were replaced, once what is on
 * them has come; `nudge` is when a spliced way that brings no answer is no longer waited for alone.
 * `idle`, LEAVING: until the last words are out.
 *
 * Ways are its paths: at most VISIT__WAYS, each to another pivot of the descriptor. When the one in
 * use dies, the next is built beside it and the connection moves. */
#pragma once
#include <sodium.h>
#include <stdatomic.h>

#include "onion/onion_internal.h"

enum {
    VISIT__WAYS = 3,
    VISIT__LINGER_MS = 5,    /* for the first bytes of a request after `opened`: a program on this
                                machine needs less */
    VISIT__TRIES = 8,        /* ways built in a row without one that works */
    VISIT__TOTAL_MS = 60000, /* for a connection to be there */
    VISIT__PATIENCE_MS =
        20000,            /* ... while no pivot has said no, all are tried again for so long */
    VISIT__REST_MS = 200, /* before all pivots are tried again; doubles, up to */
    VISIT__REST_MAX_MS = 2000,
    VISIT__STEADY_S = 10, /* a way that lasted so long worked: what was tried counts no more */
    VISIT__NUDGE_MIN_MS = 1000, /* a first flight unanswered for so long, */
    VISIT__NUDGE_FACTOR = 4,    /* ... or so many builds: the descriptor may be out of date */
    VISIT__OVERLAP_MS = 2000,   /* a path that was replaced is heard for so long */
    VISIT__WORKS = 2,      /* proofs for one way: a pivot may want more than the descriptor says,
                              and a nonce may be taken; not again and again */
    VISIT__STREAMS = 4096, /* of a visit, opened or waiting */
    VISIT__EFFORT_FACTOR = 16, /* of the descriptor's, */
    VISIT__EFFORT_LEAST = 256, /* ... or this: more, and another pivot is tried */
    VISIT__EFFORT_MAX = 37500, /* a minute of a core: never without the user's word */
    VISIT__SPARE_S = 60,       /* a connection nobody uses is kept for so long */
};

enum visit_state {
    VISIT_LOOKING,
    VISIT_LINGERING,
    VISIT_CONNECTING,
    VISIT_OPEN,
    VISIT_LEAVING,
    VISIT_OVER
};

struct way_work;

struct way {
    struct visit *v;          /* NULL: unused */
    struct onion_pivot pivot; /* as the descriptor had it when the way began */
    size_t place;             /* ... at this place */
    uint32_t number;          /* the connection's name for it */
    struct onion_route route;
    struct onion_path *path;
    bool is_up;       /* spliced */
    bool is_dead;     /* nothing comes from it any more, as it seems */
    bool is_late;     /* its build should have been answered by now */
    bool is_replaced; /* another carries the connection: heard for a moment */
    struct onion_early early;
    enum onion_early_went went;
    struct way_work *work; /* proof of work under way */
    uint8_t seed[16];      /* what the pivot asked for, */
    uint32_t effort;       /* ... 0: what the descriptor says */
    unsigned works;        /* proofs made for it */
    uint64_t up_ns;
};

struct visit_key {
    uint8_t address[32];
    uint8_t tag[16];
};

struct visit {
    struct list node; /* of onion->all_visits */
    struct onion *o;
    struct visit_key key;
    enum visit_state state;
    struct onion_purpose why;
    struct onion_fetching *fetching;
    struct onion_descriptor d;
    bool has_descriptor, was_refetched, was_open, is_listed; /* listed: in onion->visits */
    struct list streams, waiting;                            /* opened on the connection; not yet */
    size_t n_streams;
    struct flows flows;
    struct onion_conn *conn;
    uint8_t key_used[32]; /* the service key it was made for, */
    uint64_t period_used; /* ... and its period */
    struct way ways[VISIT__WAYS];
    uint32_t next_number;
    uint32_t heard;    /* the way the last packet came by, */
    uint64_t heard_ns; /* ... and when */
    unsigned tries;
    unsigned tried;  /* bit i: pivot i was tried in this round */
    bool is_refused; /* a pivot said no in this round: not the way's fault */
    uint64_t rest_ms;
    enum onion_fail worst;
    struct env_timer timer, idle, rest, overlap, nudge;
    uint64_t deadline_ns; /* to be connected */
    uint64_t stage_ns;
    visit_trace_fn trace;
    void *trace_arg;
};

/* visit.c */
void visit__fail(struct visit *v, enum onion_fail why); /* all its streams; frees it */
/* The same, but the connection has time to say so. */
void visit__leave(struct visit *v, enum onion_fail why, enum onion_code code);
void visit__gone(struct visit *v);       /* the connection has said its last words */
void visit__lost_user(struct visit *v);  /* one stream or flow less */
void visit__unlist(struct visit *v);     /* new streams to its address begin another */
void visit__lost_ways(struct visit *v);  /* no way is left or coming */
void visit__none_now(struct visit *v);   /* ... but for late ones: tries again later */
void visit__look_again(struct visit *v); /* for a newer descriptor */
/* Nothing is begun before the one that is being fetched is here. A connection that was open goes on
 * trying meanwhile with what it has: each try costs a tenth of what a lookup may take. */
bool visit__needs_descriptor(const struct visit *v);
void visit__expect_answer(struct visit *v); /* a first flight is on its way */
void visit__no_token(struct visit *v);      /* the pivots may have changed: look again */
bool visit__takes_datagrams(void *visit, uint16_t port); /* says the descriptor */
void visit__step(struct visit *v, enum onion_stage stage, enum onion_fail fail, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

/* visit_conn.c */
bool visit__conn_make(struct visit *v);
/* The service has another key now: what was written can't be sent again, the rest begins anew. */
void visit__conn_anew(struct visit *v);
void visit__open_waiting(struct visit *v); /* streams that the connection has room for */

/* visit_way.c */
unsigned ways__places(const struct visit *v); /* bits of the pivots that ways lead to now */
void ways__beside(struct visit *v);           /* one more, in the place of the oldest if need be */
void ways__make_room(struct visit *v);        /* the oldest goes when there is no place left */
bool way__begin(struct visit *v);             /* to some pivot not tried yet. False: none is left */
void ways__close(struct visit *v);
void ways__overlap_over(struct visit *v);
void ways__fresh_round(struct visit *v); /* whatever was tried may be tried again */
struct way *way__by_number(struct visit *v, uint32_t number);
size_t ways__under_way(const struct visit *v); /* being built */
struct way *way__up(struct visit *v);          /* the one in use */
bool ways__any_good(const struct visit *v);    /* one is up and alive, or coming */
void ways__keep_only(struct visit *v, const struct way *w);
void way__build(struct way *w, const uint8_t proof[static MESH_POW_PROOF]);
void way__failed(struct way *w);

/* visit_work.c */
bool way__is_too_much(const struct visit *v, uint32_t effort);
void way__work(struct way *w, const uint8_t seed[static 16], uint32_t effort);
void way__work_drop(struct way *w); /* nobody wants it any more */
