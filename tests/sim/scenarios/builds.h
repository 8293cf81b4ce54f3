/* tests/sim/scenarios/builds.h - paths built for their own sake by users of a maze: how many come
 * to be, why others don't, what an idle one costs. */
#pragma once
#include "onion/path.h"
#include "tests/sim/scenarios/maze.h"
#include "tests/sim/scenarios/town.h"

struct builds {
    struct maze *maze;
    bool is_kept; /* paths stay open; else each is closed as soon as it is there */
    struct build **all;
    size_t n, cap;
    uint64_t asked, built, no_route, silent, garbled, lost, status[ONION_STATUSES];
    uint64_t ended; /* kept ones that somebody else closed */
    struct town_samples us;
};

struct builds *builds_create(struct maze *m, bool is_kept);
/* One path of `hops` relays (0: to an END, as lookups have it) from that user, after in_ns. */
void builds_add(struct builds *b, uint32_t user, unsigned hops, uint64_t in_ns);
/* Over each path that is open: a cell of noise, and a well-formed one with a command and a payload
 * drawn at random. Returns how many cells. */
uint64_t builds_junk(struct builds *b);
void builds_close(struct builds *b);   /* those that are open */
void builds_destroy(struct builds *b); /* after the maze, or builds_close */

uint64_t builds_permyriad(const struct builds *b); /* of all asked, those built: in 1/10000 */
/* Share that succeeded, times, and reasons. */
void builds_report(struct sim_run *r, struct builds *b, const char *key, const char *label);
