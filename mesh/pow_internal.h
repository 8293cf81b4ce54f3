/* mesh/pow_internal.h - what solver and checker of the proof of work share. Spec: protocol.md,
 * section 13. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "mesh/pow.h"

enum {
    MESH__POW_NONCE = 16,
    MESH__POW_CHALLENGE = 110, /* C */
    MESH__POW_INDICES = 8,
    MESH__POW_SOLUTION = 16,
    MESH__POW_COLLIDE = 15,  /* bits that vanish in each round */
    MESH__POW_BLOCKS = 8192, /* D_j */
    MESH__POW_IN_BLOCK = 8,  /* G(i) in a D_j */
    MESH__POW_HASHES = MESH__POW_BLOCKS * MESH__POW_IN_BLOCK,
};

/* C, with room behind it: u16 j for D_j, or the solution for the effort's hash. */
struct mesh__pow_input {
    uint8_t b[MESH__POW_CHALLENGE + MESH__POW_SOLUTION];
};

void mesh__pow_input(struct mesh__pow_input *in, const struct mesh_pow_subject *s,
                     const uint8_t nonce[static MESH__POW_NONCE], uint32_t effort);

/* G(8 j) to G(8 j + 7): 60 bits each. */
void mesh__pow_block(struct mesh__pow_input *in, uint16_t j, uint64_t g[static MESH__POW_IN_BLOCK]);

/* Is the hash over C and `solution` small enough for `effort`? */
bool mesh__pow_is_enough(struct mesh__pow_input *in, uint32_t effort,
                         const uint8_t solution[static MESH__POW_SOLUTION]);
