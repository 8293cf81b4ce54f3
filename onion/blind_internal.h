/* onion/blind_internal.h - the blinded secret key, for the tests that hold it against vectors. */
#pragma once
#include "onion/blind.h"

struct blind__key {
    uint8_t scalar[32]; /* a_p */
    uint8_t prefix[32]; /* keys the nonce of signatures */
    uint8_t pub[32];    /* A_p */
};

void blind__key_wipe(struct blind__key *k);
#define cleanup_blind __attribute__((cleanup(blind__key_wipe)))
CYX_MUST_USE int blind__key_derive(struct blind__key *out, const uint8_t seed[static ONION_SEED],
                                   const struct mesh_network *net, uint64_t period);
/* Ed25519 by hand. `random` is mixed into the nonce with the prefix: neither a bad source of
 * randomness nor a fault in one hash gives the key away. */
CYX_MUST_USE int blind__sign(uint8_t signature[static 64], const struct blind__key *k,
                             const uint8_t random[static 32], const void *text, size_t len);
