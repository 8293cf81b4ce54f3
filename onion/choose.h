/* onion/choose.h - which relays a path goes over: the guard first, a relay of the second layer
 * behind it, random ones where one more is wanted, the goal last. Never two of one family, /16
 * (IPv4) or /32 (IPv6), never ourselves, never one twice. Pure. Spec: protocol.md, section 11,
 * "Guards", "Small and young networks". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/record.h"
#include "onion/guards.h"
#include "onion/limits.h"
#include "onion/relays.h"
#include "onion/train.h"

enum {
    ONION_HOPS_END = 4,     /* guard, second layer, random, END */
    ONION_HOPS_LEAST = 3,   /* what a path of 4 takes where only 3 relays are left */
    ONION_CHOOSE_TRIES = 8, /* a draw may lead where no hop fits behind it */
    ONION_FEW_RELAYS = 16,  /* in a network so small a rule that nobody can keep gives way */
};

struct onion_wish {
    const uint8_t *last; /* node id of the last hop (a pivot); NULL: a random one (an END) */
    unsigned hops;       /* 3 or 4 */
    /* Not in the path, but as `last`: the pivots of the descriptor, ENDs that are asked already,
     * hops of a path that goes beside this one. Where nothing fits otherwise, one of them may be
     * the guard after all, and anything among so few relays that a rule can't be kept. */
    const uint8_t (*exclude)[32];
    size_t n_exclude;
    bool is_strict;     /* ... never: CYX_ENOENT instead */
    size_t skip_guards; /* so many of the usable guards are passed over: doubled paths, or a guard
                           that just failed */
};

struct onion_chosen {
    struct onion_hop hops[ONION_HOPS_MAX];
    size_t n_hops;
    struct mesh_node first; /* the guard's record: whom to dial, see mesh_node_contact */
};

/* `relays` and `guards` as of now (onion_relays_refresh, onion_guards_refresh). 0, or with `err`:
 * CYX_EINVAL (hops out of range, `last` is ourselves), CYX_EAGAIN (no guard is usable now),
 * CYX_ENOENT (no record of `last`, or too few relays that fit together). */
CYX_MUST_USE int onion_choose(struct onion_chosen *out, const struct onion_wish *w,
                              const struct onion_relays *relays, const struct onion_guards *guards,
                              struct env *env, uint64_t now, struct cyx_err *err);

/* How many pivots a service takes: `want` (0: ONION_PIVOTS), but two relays are left for the paths
 * to them; at least 1. */
size_t onion_pivots_wanted(const struct onion_relays *relays, size_t want);
/* Draws up to `n` pivots by weight, none of `exclude`, of different families and prefixes; our
 * guards and second layer only where nobody else is left, and never our first guard. Returns how
 * many were found. */
size_t onion_choose_pivots(uint8_t (*out)[32], size_t n, const uint8_t (*exclude)[32],
                           size_t n_exclude, const struct onion_relays *relays,
                           const struct onion_guards *guards, struct env *env, uint64_t now);
