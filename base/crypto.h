/* base/crypto.h - the few constructions PROTOCOL section 1 names, composed from libsodium. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CRYPTO_HASH = 32,
    CRYPTO_MAC16 = 16,
};

/* One piece of input for crypto_h: pointer and length. */
struct bytes {
    const void *p;
    size_t n;
};
#define BYTES(ptr, len) ((struct bytes){ (ptr), (len) })

/* H(L, x...): BLAKE2b-256 of u8 len(L) || L || x... `label` is ASCII, at most 255 long. */
void crypto_h(uint8_t out[static 32], const char *label, const struct bytes *x, size_t n_x);

/* MAC16(k, x): BLAKE2b keyed with a 32-byte (or 16-byte, `key_len`) key, 16 bytes out. */
void crypto_mac16(uint8_t out[static 16], const uint8_t *key, size_t key_len, const void *x,
                  size_t n);

/* HMAC-SHA-256. */
void crypto_hmac(uint8_t out[static 32], const uint8_t *key, size_t key_len, const void *x,
                 size_t n);

/* HKDF, RFC 5869, SHA-256: salt (may be empty), input keying material, info; n <= 255 * 32. */
void crypto_hkdf(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
                 const void *info, size_t info_len, uint8_t *out, size_t n);

/* Noise's HKDF with two or three outputs of 32 bytes (N3 in PROTOCOL section 1). Outputs may
 * overlap `ck`; out3 may be NULL. */
void crypto_noise_hkdf(const uint8_t ck[static 32], const void *ikm, size_t ikm_len,
                       uint8_t out1[static 32], uint8_t out2[static 32], uint8_t *out3);

/* DH: X25519. CYX_EPROTO when the result is all zero (THREATS row 21): the one place it is
 * refused. `out` is written only on success. */
CYX_MUST_USE int crypto_dh(uint8_t out[static 32], const uint8_t secret[static 32],
                           const uint8_t pub[static 32]);

/* X25519 public key of a secret. */
void crypto_dh_public(uint8_t pub[static 32], const uint8_t secret[static 32]);
