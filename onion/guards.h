/* onion/guards.h - the few relays that a node begins its paths with, and the few that come second:
 * so few that whoever runs relays must wait for months to be one of them. What others can cause
 * (a path that fails farther out, a relay that is silent) never changes them. Pure: time and relays
 * come in as arguments. Spec: protocol.md, section 11, "Guards". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/network.h"
#include "onion/limits.h"
#include "onion/relays.h"

/* The blob's name beside the stores (env_blob_store). */
#define ONION_GUARDS_FILE "guards.state"

enum {
    ONION_GUARD_DAYS_MIN = 60, /* a guard is kept so long, drawn uniformly, */
    ONION_GUARD_DAYS_MAX = 120,
    ONION_SECOND_DAYS_MIN = 1, /* ... and a second-layer relay for the larger of two draws */
    ONION_SECOND_DAYS_MAX = 12,
    /* Sampled guards that are remembered: three, and those whose records expired. They have their
     * place back when they return: a guard can't be replaced by making it go away for a while. */
    ONION_GUARDS_KEPT = 8,
    ONION_GUARD_GONE_S = 20 * 86400, /* without a record for so long: forgotten */
    ONION_UNLISTED_S = 3600,   /* a record is missed for so long before another relay takes over */
    ONION_GUARD_SILENT = 8,    /* builds in a row that nothing at all answered, each for */
    ONION_GUARD_SILENT_S = 12, /* ... so long (an honest guard says status 8 after 10 s) */
    ONION_GUARD_REST_S = 30,   /* after a failure; doubles with each, up to */
    ONION_GUARD_REST_MAX_S = 480,
    ONION_GUARDS_BLOB_MAX = 75 + ONION_GUARDS_KEPT * 56 + ONION_SECOND * 48,
};

struct onion_guards;

/* Empty. `net` is copied. Owned by the caller. NULL: no memory. */
struct onion_guards *onion_guards_create(const struct mesh_network *net);
void onion_guards_destroy(struct onion_guards *g); /* wipes; NULL is fine */

/* Brings both sets up to date at network time `now`: forgets who is over age or gone for too long,
 * samples (by weight, of different families and prefixes as long as there are some) who is missing.
 * Only once the roster is ready (dht_sync_is_ready): before, everybody seems to be gone. True: they
 * changed and must be stored, best before the next path. */
bool onion_guards_refresh(struct onion_guards *g, const struct onion_relays *relays,
                          struct env *env, uint64_t now);

/* The guards in use (those with records, three at most), in order of preference: ids, borrowed
 * until the next refresh. Those that rest after failures are left out; all rest: empty, ask again
 * at onion_guards_next. Returns how many. */
size_t onion_guards_usable(const struct onion_guards *g, uint64_t now,
                           const uint8_t *ids[static ONION_GUARDS]);
/* When the first of those that rest may be tried again; 0: none rests. */
uint64_t onion_guards_next(const struct onion_guards *g, uint64_t now);
/* The second layer (those with records), in no order that matters. */
size_t onion_guards_second(const struct onion_guards *g, const uint8_t *ids[static ONION_SECOND]);
/* Is it one of the guards in use or of the second layer? */
bool onion_guards_has(const struct onion_guards *g, const uint8_t id[static 32]);

/* What a guard answers for itself. There is no way to report what happened farther out. Ids that
 * are no guard's are ignored. */
void onion_guards_link_failed(struct onion_guards *g, const uint8_t id[static 32], uint64_t now);
void onion_guards_link_up(struct onion_guards *g, const uint8_t id[static 32]);
/* A build through it: answered (with whatever status), or nothing for ONION_GUARD_SILENT_S. */
void onion_guards_build_answered(struct onion_guards *g, const uint8_t id[static 32]);
void onion_guards_build_silent(struct onion_guards *g, const uint8_t id[static 32], uint64_t now);
/* Our own network changed: whatever failed may be tried again at once. */
void onion_guards_rested(struct onion_guards *g);

/* To and from bytes; failures are not kept. Encode returns the length. Decode: NULL with
 * CYX_ECORRUPT (with a cure in the message), CYX_EVERSION, CYX_EINVAL (of another network),
 * CYX_ENOMEM. */
size_t onion_guards_encode(const struct onion_guards *g, uint8_t out[static ONION_GUARDS_BLOB_MAX]);
struct onion_guards *onion_guards_decode(const struct mesh_network *net, const uint8_t *data,
                                         size_t len, struct cyx_err *err);
