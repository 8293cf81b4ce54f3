#include "mesh/noise.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"

enum { TAG = crypto_aead_chacha20poly1305_ietf_ABYTES };

void noise_init(struct noise *s, const char *name, const void *prologue, size_t prologue_len)
{
    size_t n = strlen(name);
    memset(s, 0, sizeof *s);
    if (n <= sizeof s->h)
        memcpy(s->h, name, n);
    else
        crypto_hash_sha256(s->h, (const uint8_t *)name, n);
    memcpy(s->ck, s->h, sizeof s->ck);
    noise_mix_hash(s, prologue, prologue_len);
}

void noise_mix_hash(struct noise *s, const void *data, size_t n)
{
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, s->h, sizeof s->h);
    if (n > 0)
        crypto_hash_sha256_update(&st, data, n);
    crypto_hash_sha256_final(&st, s->h);
}

void noise_mix_key(struct noise *s, const uint8_t dh[static 32])
{
    crypto_noise_hkdf(s->ck, dh, 32, s->ck, s->k, NULL);
    s->n = 0;
    s->has_k = true;
}

void noise_mix_key3(struct noise *s, const uint8_t dh[static 32], uint8_t third[static 32])
{
    crypto_noise_hkdf(s->ck, dh, 32, s->ck, s->k, third);
    s->n = 0;
    s->has_k = true;
}

/* ChaChaPoly's nonce: 32 zero bits, then the counter little-endian. */
static void nonce_of(uint8_t nonce[static 12], uint64_t n)
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> (8 * i));
}

void noise_encrypt(struct noise *s, const uint8_t *in, size_t n, uint8_t *out)
{
    if (!s->has_k) {
        if (n > 0)
            memmove(out, in, n);
        noise_mix_hash(s, out, n);
        return;
    }
    uint8_t nonce[12];
    nonce_of(nonce, s->n++);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, n, s->h, sizeof s->h, NULL, nonce,
                                              s->k);
    noise_mix_hash(s, out, n + TAG);
}

enum drop noise_decrypt(struct noise *s, const uint8_t *in, size_t n, uint8_t *out)
{
    if (!s->has_k) {
        noise_mix_hash(s, in, n);
        if (n > 0)
            memmove(out, in, n);
        return DROP_NONE;
    }
    if (n < TAG)
        return DROP_AUTH;
    uint8_t nonce[12];
    nonce_of(nonce, s->n);
    /* Without an output libsodium checks the tag alone: with one it would zero `out` on failure,
     * and `out` may be the packet that a caller still wants whole. */
    if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(NULL, NULL, in, n - TAG, in + n - TAG,
                                                           s->h, sizeof s->h, nonce, s->k) != 0)
        return DROP_AUTH;
    noise_mix_hash(s, in, n);
    /* Block 0 of the stream keyed Poly1305; the text starts at block 1 (RFC 8439, 2.8). */
    crypto_stream_chacha20_ietf_xor_ic(out, in, n - TAG, nonce, 1, s->k);
    s->n++;
    return DROP_NONE;
}

void noise_split(const struct noise *s, uint8_t k1[static 32], uint8_t k2[static 32], uint8_t *k3)
{
    crypto_noise_hkdf(s->ck, NULL, 0, k1, k2, k3);
}

void noise_wipe(struct noise *s)
{
    sodium_memzero(s, sizeof *s);
}
