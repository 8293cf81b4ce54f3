#include "base/crypto.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { HMAC_LEN = 32 };

void crypto_h(uint8_t out[static 32], const char *label, const struct bytes *x, size_t n_x)
{
    crypto_generichash_state st;
    size_t label_len = strlen(label);
    assert(label_len <= 255);
    uint8_t head = (uint8_t)label_len;
    crypto_generichash_init(&st, NULL, 0, CRYPTO_HASH);
    crypto_generichash_update(&st, &head, 1);
    crypto_generichash_update(&st, (const uint8_t *)label, label_len);
    for (size_t i = 0; i < n_x; i++)
        crypto_generichash_update(&st, x[i].p, x[i].n);
    crypto_generichash_final(&st, out, CRYPTO_HASH);
    sodium_memzero(&st, sizeof st); /* inputs may be secret */
}

void crypto_mac16(uint8_t out[static 16], const uint8_t *key, size_t key_len, const void *x,
                  size_t n)
{
    assert(key_len >= crypto_generichash_KEYBYTES_MIN &&
           key_len <= crypto_generichash_KEYBYTES_MAX);
    crypto_generichash(out, CRYPTO_MAC16, x, n, key, key_len);
}

void crypto_hmac(uint8_t out[static 32], const uint8_t *key, size_t key_len, const void *x,
                 size_t n)
{
    const struct bytes one = BYTES(x, n);
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, key, key_len);
    crypto_auth_hmacsha256_update(&st, one.p, one.n);
    crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof st);
}

/* One block of HKDF-Expand: out = HMAC(prk, prev || info || counter). `out` may be `prev`. */
static void expand_block(uint8_t out[static HMAC_LEN], const uint8_t prk[static HMAC_LEN],
                         struct bytes prev, struct bytes info, uint8_t counter)
{
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, prk, HMAC_LEN);
    crypto_auth_hmacsha256_update(&st, prev.p, prev.n);
    crypto_auth_hmacsha256_update(&st, info.p, info.n);
    crypto_auth_hmacsha256_update(&st, &counter, 1);
    crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof st);
}

void crypto_hkdf(const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
                 const void *info, size_t info_len, uint8_t *out, size_t n)
{
    uint8_t prk[HMAC_LEN], block[HMAC_LEN];
    assert(n <= 255 * HMAC_LEN);
    /* An empty salt and 32 zero bytes are the same HMAC key. */
    crypto_hmac(prk, salt, salt_len, ikm, ikm_len);
    for (size_t done = 0, i = 1; done < n; i++) {
        size_t part = n - done < HMAC_LEN ? n - done : HMAC_LEN;
        expand_block(block, prk, BYTES(block, i == 1 ? 0 : HMAC_LEN), BYTES(info, info_len),
                     (uint8_t)i);
        memcpy(out + done, block, part);
        done += part;
    }
    sodium_memzero(prk, sizeof prk);
    sodium_memzero(block, sizeof block);
}

void crypto_noise_hkdf(const uint8_t ck[static 32], const void *ikm, size_t ikm_len,
                       uint8_t out1[static 32], uint8_t out2[static 32], uint8_t *out3)
{
    uint8_t out[3 * HMAC_LEN];
    crypto_hkdf(ck, HMAC_LEN, ikm, ikm_len, NULL, 0, out, out3 != NULL ? 96 : 64);
    memcpy(out1, out, 32);
    memcpy(out2, out + 32, 32);
    if (out3 != NULL)
        memcpy(out3, out + 64, 32);
    sodium_memzero(out, sizeof out);
}

int crypto_dh(uint8_t out[static 32], const uint8_t secret[static 32], const uint8_t pub[static 32])
{
    uint8_t shared[32];
    /* Refuses points of small order, the ones that make the result zero whatever the secret. */
    int rc = crypto_scalarmult(shared, secret, pub) == 0 ? 0 : CYX_EPROTO;
    if (rc == 0)
        memcpy(out, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return rc;
}

void crypto_dh_public(uint8_t pub[static 32], const uint8_t secret[static 32])
{
    (void)crypto_scalarmult_base(pub, secret); /* fails for no secret: clamping excludes zero */
}
