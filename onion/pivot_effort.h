/* onion/pivot_effort.h - how much work a splice costs at a registration: rises while its bucket
 * runs dry or its places fill, falls when it is quiet. Pure: times come in. Spec: protocol.md,
 * section 13, "Control". */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "mesh/budget.h"
#include "onion/limits.h"

struct onion_effort {
    uint32_t effort; /* of the control alone: 0, or 8 and above */
    uint32_t least;  /* the service's */
    uint32_t floor;  /* below this solved nonces were forgotten: none may count again */
    uint32_t most;   /* splices open at once */
    uint32_t open;   /* now */
    struct mesh_bucket bucket;
    uint64_t dry_s; /* bit i: it ran dry in second (at_s - i) */
    uint64_t at_s;
    uint64_t busy_ns; /* last time (or the time until which) bucket or places are half used */
    uint64_t changed_ns;
    bool was_changed;
};

/* rate, burst and most are above 0. */
void onion_effort_init(struct onion_effort *e, uint32_t rate, uint32_t burst, uint32_t most,
                       uint32_t least, uint64_t now_ns);
/* New terms: the bucket keeps what it holds. */
void onion_effort_set(struct onion_effort *e, uint32_t rate, uint32_t burst, uint32_t most,
                      uint32_t least, uint64_t now_ns);
/* What a splice costs now. Looks at what happened since it was last asked. */
uint32_t onion_effort_now(struct onion_effort *e, uint64_t now_ns);
/* Takes a token for a splice. False: dry, which is noted. */
bool onion_effort_take(struct onion_effort *e, uint64_t now_ns);
void onion_effort_opened(struct onion_effort *e, uint64_t now_ns);
void onion_effort_closed(struct onion_effort *e, uint64_t now_ns);
/* Solved nonces are too many: doubles at once, and does not fall below that until the seeds are new
 * (onion_effort_reseeded). Returns the new floor. */
uint32_t onion_effort_full(struct onion_effort *e, uint64_t now_ns);
void onion_effort_reseeded(struct onion_effort *e);
