/* onion/pick.h - which way the node's own paths go: guards and second layer over time, the roster,
 * the rules of path choice; and the books on how the guards do. Spec: protocol.md, section 11,
 * "Guards". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "dht/dht.h"
#include "onion/path.h"

struct onion_picker;

/* Ids that must not be on the way (the pivots of the same descriptor). Borrowed. */
struct onion_avoid {
    const uint8_t (*ids)[32];
    size_t n;
};

/* `dht` (with a roster) and its mesh are borrowed for life. Reads the guards' blob. NULL with
 * `err`. */
struct onion_picker *onion_picker_create(struct dht *dht, struct cyx_err *err);
void onion_picker_destroy(struct onion_picker *p); /* NULL is fine */

/* Are there relays enough for a path? */
bool onion_picker_is_ready(struct onion_picker *p);
/* How many relays there are to choose from, ourselves not counted. */
size_t onion_picker_relays(struct onion_picker *p);

/* guard, second layer, random, END (three hops where only three relays are left). CYX_EAGAIN: no
 * relays yet, or all guards rest; CYX_ENOENT: none fits. */
CYX_MUST_USE int onion_pick_end(struct onion_picker *p, const struct onion_avoid *a,
                                struct onion_route *out, struct cyx_err *err);
/* guard, second layer, (random,) and `last`, whose record must be known: CYX_ENOENT otherwise. */
CYX_MUST_USE int onion_pick_to(struct onion_picker *p, const uint8_t last[static 32], unsigned hops,
                               const struct onion_avoid *a, struct onion_route *out,
                               struct cyx_err *err);
/* A relay to be our pivot: by weight, none of `a`, not one of our guards. */
CYX_MUST_USE int onion_pick_pivot(struct onion_picker *p, const struct onion_avoid *a,
                                  uint8_t id[static 32], struct cyx_err *err);
/* How many pivots a service takes where it wants `want` (0: ONION_PIVOTS). */
size_t onion_pick_pivots_wanted(struct onion_picker *p, size_t want);
/* Is a record of that node known? */
bool onion_picker_knows(struct onion_picker *p, const uint8_t id[static 32]);

/* How the build of a path along `route` went: what the guard answers for itself goes into its
 * books. */
void onion_picker_built(struct onion_picker *p, const struct onion_route *route,
                        const struct onion_path_built *b);
/* onion_path_open said `code`: when the guard can't be dialled now, the next path takes another. */
void onion_picker_not_opened(struct onion_picker *p, const struct onion_route *route, int code);
/* A link came up: if it leads to a guard, that one needs no more rest. */
void onion_picker_link_up(struct onion_picker *p, const struct mesh_link *l);
/* A link went down that paths went over: if it led to a guard, the next path begins with another.
 * Before those that had paths on it hear of it. */
void onion_picker_link_down(struct onion_picker *p, const struct mesh_link *l);
/* Nothing comes back along this route, and nobody says why: for two minutes other relays are taken
 * where there are others, and for 10 s (more each time in a row) paths begin with the next guard of
 * the set. Who is to blame can't be told, so the guard's books say nothing of it. */
void onion_picker_doubt(struct onion_picker *p, const struct onion_route *route);
/* A path along this route came to its end. Where a relay on it may be to blame, others are taken
 * for two minutes; after noise and silence the guard is passed over as well, for seconds at first.
 */
void onion_picker_ended(struct onion_picker *p, const struct onion_route *route,
                        enum onion_path_end why);
/* Guards linked now. */
size_t onion_picker_guards_up(struct onion_picker *p);
