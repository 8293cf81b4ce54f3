#include "tests/unit/onion/sealed.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/secret.h"

static const uint8_t owner_seed[32] = { 0x5e, 0xed };

static void delegate(struct sealed *s)
{
    struct onion_delegations *d = onion_delegations_create(
        owner_seed, &s->net, dht_period(SEALED_NOW), 1, 7, &s->dice.env, NULL);
    cr_assert_not_null(d);
    memcpy(s->address, d->address, sizeof s->address);
    s->delegation = d->list[0];
    onion_delegations_destroy(d);
}

static void solve(struct sealed *s)
{
    struct mesh_pow_subject subject;
    const uint8_t nonce[16] = { 0 };
    onion_descriptor_subject(&subject, s->delegation.blinded);
    cr_assert_eq(mesh_pow_solve(&subject, 1, nonce, NULL, s->proof, NULL), 0);
}

struct sealed sealed_start(void)
{
    struct sealed s = { .dice = dice_of(11),
                        .inner = { .n_pivots = 3,
                                   .ports = { { 22, 1 }, { 53, 2 }, { 443, 3 }, { 65535, 1 } },
                                   .n_ports = 4,
                                   .has_proof = true,
                                   .seed = { 1, 2 },
                                   .effort = 64,
                                   .handshakes = ONION_HANDSHAKE_X25519 } };
    cr_assert_eq(secret_init(NULL), 0);
    cr_assert_eq(mesh_network_init(&s.net, "sealed", 1, true, NULL), 0);
    delegate(&s);
    solve(&s);
    env_random(&s.dice.env, s.inner.service_key, 32);
    env_random(&s.dice.env, s.inner.pivots, sizeof s.inner.pivots);
    memset(&s.inner.pivots[3], 0, 5 * sizeof s.inner.pivots[0]);
    env_random(&s.dice.env, s.secrets, sizeof s.secrets);
    for (size_t i = 0; i < SEALED_CLIENTS; i++)
        crypto_dh_public(s.clients[i], s.secrets[i]);
    return s;
}

struct onion_seal sealed_seal(const struct sealed *s)
{
    struct onion_seal seal = {
        .address = s->address, .delegation = &s->delegation, .proof = s->proof, .inner = &s->inner
    };
    cr_assert_eq(onion_descriptor_sequence(&seal.sequence, s->delegation.period, SEALED_NOW, 0), 0);
    return seal;
}

struct onion_reading sealed_reading(const struct sealed *s)
{
    return (struct onion_reading){ .address = s->address };
}

size_t sealed_make(struct sealed *s, int n_clients, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    struct onion_seal seal = sealed_seal(s);
    struct cyx_err err = { 0 };
    seal.is_for_clients = n_clients >= 0;
    seal.n_clients = n_clients > 0 ? (size_t)n_clients : 0;
    seal.clients = (const uint8_t(*)[32])s->clients;
    int len = onion_descriptor_seal(&seal, &s->net, &s->dice.env, out, &err);
    cr_assert_gt(len, 0, "%s", err.msg);
    return (size_t)len;
}

enum drop sealed_open(const struct sealed *s, const struct onion_reading *how, const uint8_t *data,
                      size_t len, struct onion_descriptor *out)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    *out = (struct onion_descriptor){ .sequence = 4711 };
    enum drop drop = onion_descriptor_open(out, how, &s->net, SEALED_NOW, copy, len);
    if (drop != DROP_NONE)
        cr_assert_eq(out->sequence, 4711u);
    free(copy);
    return drop;
}

void sealed_d_key(const struct sealed *s, uint8_t sk[static 64])
{
    uint8_t pk[32];
    crypto_sign_seed_keypair(pk, sk, s->delegation.d_seed);
}

size_t sealed_plain(struct sealed *s, const uint8_t *plain, size_t len, size_t size,
                    uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    static uint8_t padded[DESC__PLAIN_MAX], inner[DESC__PLAIN_MAX + 16];
    const struct desc__context c = { s->delegation.blinded, s->delegation.period };
    const struct onion_seal seal = sealed_seal(s);
    uint8_t key[32], sk[64];
    size_t n = size - DHT_DESCRIPTOR_OUTER;
    struct dht_descriptor d = { .period = s->delegation.period,
                                .serial = s->delegation.serial,
                                .nonce = { 3 },
                                .inner = inner,
                                .inner_len = n + 16,
                                .sequence = seal.sequence };
    memcpy(d.blinded, s->delegation.blinded, 32);
    memcpy(d.d, s->delegation.d, 32);
    memcpy(d.delegation, s->delegation.signature, 64);
    memcpy(d.proof, s->proof, sizeof d.proof);
    memset(padded, 0, sizeof padded);
    cr_assert_leq(len, n);
    memcpy(padded, plain, len);
    sealed_d_key(s, sk);
    cr_assert_gt(dht_descriptor_build(&d, &s->net, sk, out), 0);
    desc__inner_key(key, d.nonce, s->address, &c);
    crypto_aead_xchacha20poly1305_ietf_encrypt(inner, NULL, padded, n, out, DESC__AD, NULL, d.nonce,
                                               key);
    int built = dht_descriptor_build(&d, &s->net, sk, out);
    cr_assert_eq(built, (int)size);
    return size;
}

size_t sealed_map(struct sealed *s, const uint8_t *map, size_t len,
                  uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    static uint8_t plain[DESC__PLAIN_MAX];
    plain[0] = 1, plain[1] = 0;
    plain[2] = (uint8_t)(len >> 8), plain[3] = (uint8_t)len;
    cr_assert_leq(len, sizeof plain - 4);
    memcpy(plain + 4, map, len);
    return sealed_plain(s, plain, 4 + len, 4 + len <= 1748 ? 2048 : 8192, out);
}

/* The plaintext that a record holds. */
void sealed_plain_of(const struct sealed *s, const uint8_t *data, size_t len, uint8_t *out)
{
    const struct desc__context c = { s->delegation.blinded, s->delegation.period };
    struct dht_value v;
    struct dht_descriptor d;
    uint8_t key[32];
    cr_assert_eq(dht_value_parse(&v, &s->net, SEALED_NOW, data, len), DROP_NONE);
    cr_assert(dht_descriptor_read(&d, &v));
    desc__inner_key(key, d.nonce, s->address, &c);
    cr_assert_eq(crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, d.inner, d.inner_len,
                                                            data, DESC__AD, d.nonce, key),
                 0);
}

enum drop sealed_open_plain(struct sealed *s, const uint8_t *plain, size_t len)
{
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(s);
    struct onion_descriptor got;
    how.client_secret = s->secrets[0];
    size_t n = sealed_plain(s, plain, len, 4096, out);
    return sealed_open(s, &how, out, n, &got);
}
