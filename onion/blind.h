/* onion/blind.h - keys blinded by the day: stores and whoever watches them see another key each
 * period, those who know the address can compute it, and only the owner can sign under it. After
 * Tor's rend-spec-v3, appendix A. Pure. Spec: protocol.md, section 12, "Blinding".
 *
 * The secret a_p is as secret as the address key itself, since b is known to whoever knows the
 * address and a_p / b = a. So it never leaves this file, and signs delegations only. */
#pragma once
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/network.h"

enum { ONION_SEED = 32 };

/* A, of the seed that the owner keeps (in secret_alloc memory). */
void onion_address_of_seed(uint8_t address[static 32], const uint8_t seed[static ONION_SEED]);

/* b = BLAKE2b-512("cyx blind 1", A, net, period) mod L. */
void onion_blind_factor(uint8_t b[static 32], const uint8_t address[static 32],
                        const struct mesh_network *net, uint64_t period);
/* A_p = b A. CYX_EINVAL: A is no point of the prime-order group; `blinded` is as it was. */
CYX_MUST_USE int onion_blind_public(uint8_t blinded[static 32], const uint8_t address[static 32],
                                    const struct mesh_network *net, uint64_t period);

/* A_p's signature over dht_delegation_text(net, period, serial, d). Draws 32 bytes from `env`:
 * two signatures over one text differ. Everything in between is wiped. 0, or CYX_EINVAL (as good as
 * impossible: a scalar that is zero). */
CYX_MUST_USE int onion_blind_delegate(uint8_t signature[static 64],
                                      const uint8_t seed[static ONION_SEED],
                                      const struct mesh_network *net, uint64_t period,
                                      uint32_t serial, const uint8_t d[static 32], struct env *env);
