#include "onion/blind.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "base/writer.h"
#include "dht/type.h"
#include "onion/blind_internal.h"

enum { LABEL_BLIND = 11, LABEL_NONCE = 15 };

/* A scalar before it is reduced mod L, or a hash of 64 bytes on its way to be one. */
struct wide {
    uint8_t b[64];
};

static void wide_wipe(struct wide *w)
{
    sodium_memzero(w->b, sizeof w->b);
}
#define cleanup_wide __attribute__((cleanup(wide_wipe)))

void onion_address_of_seed(uint8_t address[static 32], const uint8_t seed[static ONION_SEED])
{
    cleanup_wide struct wide sk = { 0 };
    crypto_sign_seed_keypair(address, sk.b, seed);
}

void onion_blind_factor(uint8_t b[static 32], const uint8_t address[static 32],
                        const struct mesh_network *net, uint64_t period)
{
    uint8_t text[LABEL_BLIND + 32 + 32 + 8];
    struct wide h;
    struct writer w = writer_on(text, sizeof text);
    writer_copy(&w, "cyx blind 1", LABEL_BLIND);
    writer_copy(&w, address, 32);
    writer_copy(&w, net->id, sizeof net->id);
    writer_u64(&w, period);
    crypto_generichash(h.b, sizeof h.b, text, sizeof text, NULL, 0);
    crypto_core_ed25519_scalar_reduce(b, h.b);
}

int onion_blind_public(uint8_t blinded[static 32], const uint8_t address[static 32],
                       const struct mesh_network *net, uint64_t period)
{
    uint8_t b[32], out[32];
    onion_blind_factor(b, address, net, period);
    if (crypto_scalarmult_ed25519_noclamp(out, b, address) != 0)
        return CYX_EINVAL;
    memcpy(blinded, out, sizeof out);
    return 0;
}

/* ---- the owner's side ------------------------------------------------------------------------ */

void blind__key_wipe(struct blind__key *k)
{
    sodium_memzero(k, sizeof *k);
}

/* a mod L, of the seed's hash: clamped as Ed25519 does it. */
static void secret_scalar(uint8_t a[static 32], const struct wide *hash)
{
    cleanup_wide struct wide w = { 0 };
    memcpy(w.b, hash->b, 32);
    w.b[0] &= 248;
    w.b[31] = (uint8_t)((w.b[31] & 127) | 64);
    crypto_core_ed25519_scalar_reduce(a, w.b);
}

static void nonce_prefix(struct blind__key *k, const struct wide *hash)
{
    uint8_t info[LABEL_NONCE + 32];
    struct writer w = writer_on(info, sizeof info);
    writer_copy(&w, "cyx blind nonce", LABEL_NONCE);
    writer_copy(&w, k->pub, sizeof k->pub);
    crypto_hkdf(NULL, 0, hash->b + 32, 32, info, sizeof info, k->prefix, sizeof k->prefix);
}

int blind__key_derive(struct blind__key *out, const uint8_t seed[static ONION_SEED],
                      const struct mesh_network *net, uint64_t period)
{
    cleanup_wide struct wide hash = { 0 };
    cleanup_key32 struct key32 a = { 0 };
    cleanup_blind struct blind__key k = { 0 };
    uint8_t address[32], b[32];
    onion_address_of_seed(address, seed);
    onion_blind_factor(b, address, net, period);
    crypto_hash_sha512(hash.b, seed, ONION_SEED);
    secret_scalar(a.b, &hash);
    crypto_core_ed25519_scalar_mul(k.scalar, b, a.b);
    if (crypto_scalarmult_ed25519_base_noclamp(k.pub, k.scalar) != 0)
        return CYX_EINVAL;
    nonce_prefix(&k, &hash);
    *out = k;
    return 0;
}

/* SHA-512(x, y, text) mod L. */
static void hash_scalar(uint8_t out[static 32], const uint8_t x[static 32],
                        const uint8_t y[static 32], const void *text, size_t len)
{
    const struct bytes t = BYTES(text, len);
    cleanup_wide struct wide h = { 0 };
    crypto_hash_sha512_state st;
    crypto_hash_sha512_init(&st);
    crypto_hash_sha512_update(&st, x, 32);
    crypto_hash_sha512_update(&st, y, 32);
    crypto_hash_sha512_update(&st, t.p, t.n);
    crypto_hash_sha512_final(&st, h.b);
    crypto_core_ed25519_scalar_reduce(out, h.b);
    sodium_memzero(&st, sizeof st);
}

int blind__sign(uint8_t signature[static 64], const struct blind__key *k,
                const uint8_t random[static 32], const void *text, size_t len)
{
    cleanup_key32 struct key32 r = { 0 }, product = { 0 };
    uint8_t point[32], challenge[32];
    hash_scalar(r.b, k->prefix, random, text, len);
    if (crypto_scalarmult_ed25519_base_noclamp(point, r.b) != 0)
        return CYX_EINVAL;
    hash_scalar(challenge, point, k->pub, text, len);
    crypto_core_ed25519_scalar_mul(product.b, challenge, k->scalar);
    memcpy(signature, point, 32);
    crypto_core_ed25519_scalar_add(signature + 32, r.b, product.b);
    return 0;
}

int onion_blind_delegate(uint8_t signature[static 64], const uint8_t seed[static ONION_SEED],
                         const struct mesh_network *net, uint64_t period, uint32_t serial,
                         const uint8_t d[static 32], struct env *env)
{
    cleanup_blind struct blind__key k = { 0 };
    cleanup_key32 struct key32 random = { 0 };
    uint8_t text[DHT_DELEGATION_TEXT];
    int code = blind__key_derive(&k, seed, net, period);
    if (code != 0)
        return code;
    dht_delegation_text(text, net, period, serial, d);
    env_random(env, random.b, sizeof random.b);
    return blind__sign(signature, &k, random.b, text, sizeof text);
}
