/* AES-256-GCM packet protection and AES-256 header protection for ngtcp2, through EVP. */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/quic_internal.h"

enum { TAG = 16, IV = 12, SAMPLE = 16 };

struct key {
    EVP_CIPHER_CTX *evp; /* with the key expanded: each packet sets the nonce alone */
    uint8_t iv[IV];
    struct onion__quic_seen *seen;
};

int onion__quic_aead(ngtcp2_crypto_aead_ctx *out, const struct onion_quic_keys *k,
                     enum onion__quic_use use, struct onion__quic_seen *seen)
{
    struct key *key = calloc(1, sizeof *key);
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    if (key == NULL || evp == NULL ||
        EVP_CipherInit_ex(evp, EVP_aes_256_gcm(), NULL, k->key, NULL, (int)use) != 1) {
        EVP_CIPHER_CTX_free(evp);
        free(key);
        return CYX_ENOMEM;
    }
    key->evp = evp;
    key->seen = seen;
    memcpy(key->iv, k->iv, IV);
    out->native_handle = key;
    return 0;
}

void onion__quic_aead_free(ngtcp2_crypto_aead_ctx *ctx)
{
    struct key *key = ctx->native_handle;
    if (key == NULL)
        return;
    EVP_CIPHER_CTX_free(key->evp); /* wipes its key */
    sodium_memzero(key, sizeof *key);
    free(key);
    ctx->native_handle = NULL;
}

int onion__quic_hp(ngtcp2_crypto_cipher_ctx *out, const struct onion_quic_keys *k)
{
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    if (evp == NULL || EVP_EncryptInit_ex(evp, EVP_aes_256_ecb(), NULL, k->hp, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(evp, 0) != 1) {
        EVP_CIPHER_CTX_free(evp);
        return CYX_ENOMEM;
    }
    out->native_handle = evp;
    return 0;
}

void onion__quic_hp_free(ngtcp2_crypto_cipher_ctx *ctx)
{
    EVP_CIPHER_CTX_free(ctx->native_handle);
    ctx->native_handle = NULL;
}

/* ---- ngtcp2's callbacks ----------------------------------------------------------------------
 */

static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t plain_len,
                      const uint8_t *nonce, size_t nonce_len, const uint8_t *ad, size_t ad_len)
{
    (void)aead;
    const struct key *key = ctx->native_handle;
    int n;
    if (nonce_len != IV || EVP_EncryptInit_ex(key->evp, NULL, NULL, NULL, nonce) != 1 ||
        EVP_EncryptUpdate(key->evp, NULL, &n, ad, (int)ad_len) != 1 ||
        EVP_EncryptUpdate(key->evp, dest, &n, plain, (int)plain_len) != 1 ||
        EVP_EncryptFinal_ex(key->evp, dest + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(key->evp, EVP_CTRL_AEAD_GET_TAG, TAG, dest + plain_len) != 1)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static void note(const struct key *key, const uint8_t *nonce)
{
    uint64_t number = 0;
    if (key->seen == NULL)
        return;
    for (unsigned i = IV - 8; i < IV; i++)
        number = number << 8 | (uint8_t)(nonce[i] ^ key->iv[i]);
    if (number >= key->seen->next)
        key->seen->next = number + 1;
    key->seen->n++;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t sealed_len,
                      const uint8_t *nonce, size_t nonce_len, const uint8_t *ad, size_t ad_len)
{
    (void)aead;
    const struct key *key = ctx->native_handle;
    uint8_t tag[TAG];
    int n;
    if (sealed_len < TAG)
        return NGTCP2_ERR_DECRYPT;
    size_t len = sealed_len - TAG;
    memcpy(tag, sealed + len, TAG);
    if (nonce_len != IV || EVP_DecryptInit_ex(key->evp, NULL, NULL, NULL, nonce) != 1 ||
        EVP_CIPHER_CTX_ctrl(key->evp, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1 ||
        EVP_DecryptUpdate(key->evp, NULL, &n, ad, (int)ad_len) != 1 ||
        EVP_DecryptUpdate(key->evp, dest, &n, sealed, (int)len) != 1)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    if (EVP_DecryptFinal_ex(key->evp, dest + len, &n) != 1)
        return NGTCP2_ERR_DECRYPT;
    note(key, nonce);
    return 0;
}

static int on_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                      const ngtcp2_crypto_cipher_ctx *ctx, const uint8_t *sample)
{
    (void)hp;
    int n;
    if (EVP_EncryptUpdate(ctx->native_handle, dest, &n, sample, SAMPLE) != 1)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static void on_delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx, void *arg)
{
    (void)conn;
    (void)arg;
    onion__quic_aead_free(ctx);
}

static void on_delete_hp(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx, void *arg)
{
    (void)conn;
    (void)arg;
    onion__quic_hp_free(ctx);
}

void onion__quic_crypto_callbacks(ngtcp2_callbacks *cb)
{
    cb->encrypt = on_encrypt;
    cb->decrypt = on_decrypt;
    cb->hp_mask = on_hp_mask;
    cb->delete_crypto_aead_ctx = on_delete_aead;
    cb->delete_crypto_cipher_ctx = on_delete_hp;
}

const ngtcp2_crypto_ctx *onion__quic_crypto_ctx(void)
{
    static const ngtcp2_crypto_ctx ctx = {
        .aead = { .max_overhead = TAG },
        .max_encryption = UINT64_C(1) << 23,
        .max_decryption_failure = UINT64_C(1) << 52,
    };
    return &ctx;
}
