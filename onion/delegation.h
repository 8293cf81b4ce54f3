/* onion/delegation.h - days of a name: for each period a fresh key d that may sign descriptors, and
 * the blinded key's word for it. The owner makes them where the seed is; the machine that serves
 * holds these and no seed. Kept and handed over as one blob. Pure. Spec: protocol.md, section 12,
 * "Delegation". */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/network.h"
#include "onion/blind.h"

enum {
    ONION_DELEGATIONS_MAX = 366, /* a year ahead: a thief of the blob is the service for as long */
    ONION_DELEGATION_BYTES = 108,
    ONION_DELEGATIONS_BLOB_MAX = 107 + ONION_DELEGATIONS_MAX * ONION_DELEGATION_BYTES,
};

struct onion_delegation {
    uint64_t period;
    uint32_t serial;       /* the greater one wins, at once where it arrives */
    uint8_t blinded[32];   /* A_p */
    uint8_t d_seed[32];    /* secret: libsodium's seed of d */
    uint8_t d[32];         /* d's public key */
    uint8_t signature[64]; /* by A_p */
};

/* Several, one for each period, in order of periods. Lives in locked memory. */
struct onion_delegations {
    uint8_t address[32]; /* A */
    uint8_t net[32];     /* the network they are for */
    size_t n;
    struct onion_delegation list[]; /* n */
};

/* The owner's side: draws d and signs for `n` periods from `first` on, all with `serial`, which
 * must be greater than in any made before for these periods. About 0.15 ms each. secret_init comes
 * first. Owned by the caller (onion_delegations_destroy). NULL with `err`: CYX_EINVAL (n is 0 or
 * above ONION_DELEGATIONS_MAX, periods beyond the end of time), CYX_ENOMEM. */
struct onion_delegations *onion_delegations_create(const uint8_t seed[static ONION_SEED],
                                                   const struct mesh_network *net, uint64_t first,
                                                   size_t n, uint32_t serial, struct env *env,
                                                   struct cyx_err *err);
void onion_delegations_destroy(struct onion_delegations *d); /* wipes; NULL is fine */

/* Of that period, borrowed; or NULL. */
const struct onion_delegation *onion_delegations_get(const struct onion_delegations *d,
                                                     uint64_t period);
/* Both together, from period `from` on: where both have one, that with the greater serial. The
 * caller owns the result and still both inputs; `b` may be NULL. NULL with `err`: CYX_EINVAL (of
 * different addresses or networks; nothing left), CYX_EFULL, CYX_ENOMEM. */
struct onion_delegations *onion_delegations_join(const struct onion_delegations *a,
                                                 const struct onion_delegations *b, uint64_t from,
                                                 struct cyx_err *err);

/* To and from bytes; the blob holds secrets: wipe it. Encode returns the length. Decode verifies
 * each signature (about 0.2 ms each). NULL with `err`: CYX_ECORRUPT (with a cure in the message),
 * CYX_EVERSION, CYX_EINVAL (for another network), CYX_ENOMEM. */
size_t onion_delegations_encode(const struct onion_delegations *d,
                                uint8_t out[static ONION_DELEGATIONS_BLOB_MAX]);
struct onion_delegations *onion_delegations_decode(const struct mesh_network *net,
                                                   const uint8_t *data, size_t len,
                                                   struct cyx_err *err);
