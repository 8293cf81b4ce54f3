/* mesh/pow.h - proof of work: Equihash(60, 3) over BLAKE2b (Biryukov, Khovratovich, NDSS 2016).
 * Spec: protocol.md, section 13. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"

enum {
    MESH_POW_PROOF = 36, /* nonce 16, effort 4, solution 16 */
    MESH_POW_EFFORT_MAX = 1 << 20,
};

enum mesh_pow_purpose { MESH_POW_SPLICE = 1, MESH_POW_ID = 2, MESH_POW_DESCRIPTOR = 3 };

/* What a proof is about; together with nonce and effort this is C of the specification. */
struct mesh_pow_subject {
    enum mesh_pow_purpose purpose;
    uint8_t seed[16]; /* zero for ids and descriptors */
    uint8_t x[32];    /* token, identity key, blinded key */
    uint8_t y[32];    /* pivot's id for a splice, else zero */
};

/* Looks for a proof of at least `effort`, starting at `nonce` and counting it up (as a 128-bit
 * big-endian number). About 1.6 ms of a core times effort; 2 MiB of memory. Runs on the pool:
 * `cancel` (may be NULL) is looked at for each nonce. 0; CYX_ECANCELED; CYX_ENOMEM; CYX_EINVAL. */
CYX_MUST_USE int mesh_pow_solve(const struct mesh_pow_subject *s, uint32_t effort,
                                const uint8_t nonce[static 16], const atomic_bool *cancel,
                                uint8_t proof[static MESH_POW_PROOF], struct cyx_err *err);

/* DROP_NONE, DROP_FIELD (solution not in canonical order, effort 0 or too great), DROP_PROOF.
 * Cheapest check first: junk costs one hash. */
enum drop mesh_pow_check(const struct mesh_pow_subject *s, uint32_t least_effort,
                         const uint8_t proof[static MESH_POW_PROOF]);
