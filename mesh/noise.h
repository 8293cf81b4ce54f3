/* mesh/noise.h - Noise (revision 34), 25519_ChaChaPoly_SHA256: the symmetric state and the tokens,
 * out of which IK (links) and NK (hops, streams) are written where they are used. Pure: ephemeral
 * keys come in as arguments. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"

struct noise {
    uint8_t h[32];
    uint8_t ck[32];
    uint8_t k[32];
    uint64_t n;
    bool has_k;
};

/* name: the full protocol name ("Noise_IK_25519_ChaChaPoly_SHA256"), at most 64 bytes. */
void noise_init(struct noise *s, const char *name, const void *prologue, size_t prologue_len);
void noise_mix_hash(struct noise *s, const void *data, size_t n);
void noise_mix_key(struct noise *s, const uint8_t dh[static 32]);
/* MixKey that also hands out Noise's third HKDF output (protocol.md section 8: `ks`). */
void noise_mix_key3(struct noise *s, const uint8_t dh[static 32], uint8_t third[static 32]);
/* EncryptAndHash: out gets n + 16 bytes (n when there is no key yet). out may be in. */
void noise_encrypt(struct noise *s, const uint8_t *in, size_t n, uint8_t *out);
/* DecryptAndHash: n includes the tag. DROP_AUTH leaves `s` and `out` unchanged. out may be in. */
enum drop noise_decrypt(struct noise *s, const uint8_t *in, size_t n, uint8_t *out);
/* Split: k1 is initiator to responder. k3 (may be NULL) is the third output. Wipes nothing. */
void noise_split(const struct noise *s, uint8_t k1[static 32], uint8_t k2[static 32], uint8_t *k3);
void noise_wipe(struct noise *s);
#define cleanup_noise __attribute__((cleanup(noise_wipe)))
