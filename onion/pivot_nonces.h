/* onion/pivot_nonces.h - nonces of proofs that were taken, each of them once. Pure. Spec:
 * protocol.md, section 13. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "onion/limits.h"

/* 56 bits of a keyed hash and the effort's power of two, 8 bytes for each; memory grows with use.
 */
struct onion_nonces {
    uint64_t *slots;
    size_t cap, len;
};

void onion_nonces_fini(struct onion_nonces *n);
bool onion_nonces_has(const struct onion_nonces *n, const uint8_t nonce[static 16]);
/* 0; CYX_EFULL at ONION_NONCES; CYX_ENOMEM. */
CYX_MUST_USE int onion_nonces_add(struct onion_nonces *n, const uint8_t nonce[static 16],
                                  uint32_t effort);
/* Forgets those that can't have been worth `effort`. */
void onion_nonces_below(struct onion_nonces *n, uint32_t effort);
