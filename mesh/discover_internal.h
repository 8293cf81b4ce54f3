/* mesh/discover_internal.h - finding peers, for discover.c (the plan) and discover_ask.c (FIND, and
 * what its answers make dialable). */
#pragma once
#include "mesh/link_internal.h"

enum {
    DISC__CANDIDATES = 64,
    DISC__SEEN_MAX = 1024, /* publishers whose record was looked at */
    DISC__ASK_FIRST_MS = 100,
    DISC__ASK_SOON_MS = 10, /* after a link came up: others may follow in the same moment */
};

struct disc__bootstrap {
    struct mesh_contact contact;
    uint64_t next_ns; /* not dialled before */
    uint64_t wait_ms;
};

struct mesh__discover {
    struct mesh *mesh;
    struct env_timer timer;
    struct disc__bootstrap *boot;
    size_t n_boot;
    struct mesh_contact candidates[DISC__CANDIDATES]; /* a ring, oldest first */
    size_t first, n_candidates;
    struct map *seen; /* publishers' keys; the value is the map itself */
    uint64_t ask_ns, ask_wait_ms, refill_ns;
    uint64_t wish_ns, wish_wait_ms; /* when the other workers are asked to ask */
    unsigned n_asking;              /* answers outstanding */
    bool has_news;
    uint64_t heard_ns; /* beacons taken in the minute that began here */
    unsigned n_heard;
    bool is_running;
};

struct disc__census {
    size_t up, dialing;           /* links that we dialled and want, bootstrap links left out */
    size_t boot_up, boot_dialing; /* links to bootstrap nodes */
    size_t all_up;
};

/* discover.c */
struct disc__census disc__count(const struct mesh__discover *d);
/* How many links we lack; bootstrap links only fill the places that others don't. */
size_t disc__missing(const struct mesh__discover *d, const struct disc__census *c);
void disc__plan_soon(struct mesh__discover *d);
void disc__look_over(struct mesh__discover *d); /* the first look for peers is over: ready */

/* discover_candidates.c */
bool disc__is_linked(const struct mesh__discover *d, const struct mesh_contact *c);
void disc__candidate_add(struct mesh__discover *d, const struct mesh_contact *c);
bool disc__candidate_take(struct mesh__discover *d, struct mesh_contact *out);
/* Makes a candidate of a node; false when no address of its record can be dialled. */
bool disc__node_add(struct mesh__discover *d, const struct mesh_node *n);
/* Fills up from the remembered peers, best first. */
void disc__refill(struct mesh__discover *d);

/* discover_ask.c */
bool disc__can_ask(const struct mesh__discover *d); /* is there a peer that may be asked? */
void disc__ask_some(struct mesh__discover *d, uint64_t now);
void disc__seen_clear(struct mesh__discover *d);
