/* onion/visit_internal.h - shared by visit*.c: a connection to somebody's service, from the lookup
 * to its last path.
 *
 *   LOOKING     for the descriptor
 *   LINGERING   it is here, streams are told so, and their first bytes are waited for: they ride in
 * the first flight CONNECTING  the first flight is under way, on one path or, when that is late, on
 * two OPEN        the service proved its key OVER        being taken apart: nothing is told to it
 * any more
 *
 * Ways are its paths: at most VISIT__WAYS, each to another pivot of the descriptor. When the one in
 * use dies, the next is built beside it and the connection moves. */
#pragma once
#include <sodium.h>
#include <stdatomic.h>

#include "onion/onion_internal.h"

enum {
    VISIT__WAYS = 3,
    VISIT__LINGER_MS = 5,      /* for the first bytes of a request after `opened`: a program on this
                                  machine needs less */
    VISIT__TRIES = 8,          /* ways built in a row without one that works */
    VISIT__TOTAL_MS = 60000,   /* for a connection to be there */
    VISIT__REST_MS = 500,      /* before all pivots are tried again */
    VISIT__EFFORT_FACTOR = 16, /* of the descriptor's, */
    VISIT__EFFORT_LEAST = 256, /* ... or this: more, and another pivot is tried */
    VISIT__EFFORT_MAX = 37500, /* a minute of a core: never without the user's word */
    VISIT__SPARE_S = 60,       /* a connection nobody uses is kept for so long */
};

enum visit_state { VISIT_LOOKING, VISIT_LINGERING, VISIT_CONNECTING, VISIT_OPEN, VISIT_OVER };

struct way_work;

struct way {
    struct visit *v; /* NULL: unused */
    size_t pivot;    /* of the descriptor */
    uint32_t number; /* the connection's name for it */
    struct onion_route route;
    struct onion_path *path;
    bool is_up; /* spliced */
    bool is_late;
    struct onion_early early;
    enum onion_early_went went;
    struct way_work *work; /* proof of work under way */
    uint8_t seed[16];      /* what the pivot asked for, */
    uint32_t effort;       /* ... 0: what the descriptor says */
    uint64_t begun_ns;
};

struct visit_key {
    uint8_t address[32];
    uint8_t tag[16];
};

struct visit {
    struct onion *o;
    struct visit_key key;
    enum visit_state state;
    struct onion_purpose why;
    struct onion_fetching *fetching;
    struct onion_descriptor d;
    bool has_descriptor, was_refetched, was_open, is_unlisted; /* unlisted: of no map, `cyx why` */
    bool is_silent; /* nothing comes over the ways that are up, until another one is */
    struct list streams, waiting; /* opened on the connection; not yet */
    size_t n_streams;
    struct flows flows;
    struct onion_conn *conn;
    struct way ways[VISIT__WAYS];
    uint32_t next_number;
    uint32_t heard; /* number of the way over which a packet came last */
    unsigned tries;
    unsigned mute;  /* bit i: pivot i led to a way over which nothing came */
    unsigned tried; /* bit i: pivot i was tried in this round */
    enum onion_fail worst;
    struct env_timer timer; /* linger, rest, total, spare */
    uint64_t begun_ns, stage_ns;
    visit_trace_fn trace;
    void *trace_arg;
};

/* visit.c */
void visit__fail(struct visit *v, enum onion_fail why); /* all its streams; frees it */
void visit__lost_ways(struct visit *v);                 /* no way is left or coming */
void visit__no_token(struct visit *v); /* the pivots may have changed: look again */
void visit__step(struct visit *v, enum onion_stage stage, enum onion_fail fail, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

/* visit_way.c */
bool way__begin(struct visit *v); /* to some pivot not tried yet. False: none is left */
void ways__close(struct visit *v);
struct way *way__by_number(struct visit *v, uint32_t number);
size_t ways__under_way(const struct visit *v); /* being built */
struct way *way__up(struct visit *v);          /* the one in use */
void ways__keep_only(struct visit *v, const struct way *w);
/* Nothing comes over those that are up: another one, to a pivot that wasn't mute yet if there is
 * one. All places taken: the oldest gives its own up. */
void ways__another(struct visit *v);
