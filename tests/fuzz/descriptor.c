/* Descriptors as a client opens them. The first byte chooses: 0 the bytes are a record; 1 the inner
 * plaintext of one that is sealed and signed as it must be; 2 the map in such a plaintext; 3 the
 * map in the part for clients. So the fuzzer gets behind every key. What is taken keeps all bounds,
 * and sealed again it says the same. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/descriptor_internal.h"

enum { KINDS = 4, PLAIN = 3796, SIZE = 4096 };

static const uint64_t now = 1700000000;
static struct mesh_network net;
static uint8_t address[32]; /* of tests/vectors/endpoint.json */
static struct onion_delegation delegation;
static uint8_t proof[MESH_POW_PROOF], client_secret[32], client[1][32];

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fake_random(struct env *e, void *buf, size_t n)
{
    (void)e;
    memset(buf, 7, n);
}

static const struct env_ops ops = { .random = fake_random };
static struct env env = { .ops = &ops };

static void secret_of(uint8_t out[static 32], const char *label)
{
    crypto_hash_sha256(out, (const uint8_t *)label, strlen(label));
}

static void start_once(void)
{
    static const uint8_t nonce[16];
    struct mesh_pow_subject subject;
    uint8_t seed[32];
    if (net.id_effort != 0)
        return;
    must(secret_init(NULL) == 0 && mesh_network_init(&net, "vectors", 1, true, NULL) == 0);
    secret_of(seed, "cyx test vector: address 0");
    secret_of(client_secret, "cyx test vector: client 0");
    crypto_dh_public(client[0], client_secret);
    struct onion_delegations *d =
        onion_delegations_create(seed, &net, dht_period(now), 1, 2, &env, NULL);
    must(d != NULL);
    memcpy(address, d->address, sizeof address);
    delegation = d->list[0];
    onion_delegations_destroy(d);
    onion_descriptor_subject(&subject, delegation.blinded);
    must(mesh_pow_solve(&subject, 1, nonce, NULL, proof, NULL) == 0);
}

/* Everything that a caller may rely on. */
static void taken_check(const struct onion_descriptor *d)
{
    static uint8_t out[DHT_DESCRIPTOR_MAX];
    const struct onion_reading how = { .address = address };
    struct onion_seal s = { .address = address,
                            .delegation = &delegation,
                            .proof = proof,
                            .sequence = 5,
                            .inner = &d->inner };
    struct onion_descriptor again;
    uint8_t a[DESC__MAP_MAX], b[DESC__MAP_MAX];
    struct writer wa = writer_on(a, sizeof a), wb = writer_on(b, sizeof b);
    must(desc__inner_is_valid(&d->inner) && d->expiry > now);
    int len = onion_descriptor_seal(&s, &net, &env, out, NULL);
    must(len == 2048);
    must(onion_descriptor_open(&again, &how, &net, now, out, (size_t)len) == DROP_NONE);
    desc__map_put(&wa, &d->inner);
    desc__map_put(&wb, &again.inner);
    must(writer_ok(&wa) && writer_len(&wa) == writer_len(&wb));
    must(memcmp(a, b, writer_len(&wa)) == 0);
}

static enum drop judge(const uint8_t *data, size_t len)
{
    const struct onion_reading how = { .address = address, .client_secret = client_secret };
    struct onion_descriptor d = { .serial = 99 };
    uint8_t *exact = malloc(len > 0 ? len : 1);
    must(exact != NULL);
    memcpy(exact, data, len);
    enum drop drop = onion_descriptor_open(&d, &how, &net, now, exact, len);
    free(exact);
    if (drop == DROP_NONE)
        taken_check(&d);
    else
        must(d.serial == 99);
    return drop;
}

static int outside(const uint8_t *inner, size_t len, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    uint8_t pk[32], sk[64];
    struct dht_descriptor d = { .period = delegation.period,
                                .serial = delegation.serial,
                                .inner = inner,
                                .inner_len = len,
                                .sequence = 5 };
    memcpy(d.blinded, delegation.blinded, 32);
    memcpy(d.d, delegation.d, 32);
    memcpy(d.delegation, delegation.signature, 64);
    memcpy(d.proof, proof, sizeof d.proof);
    crypto_sign_seed_keypair(pk, sk, delegation.d_seed);
    return dht_descriptor_build(&d, &net, sk, out);
}

/* Everything around the plaintext is right: the reason for a refusal must be in it. */
static void judge_plain(const uint8_t plain[static PLAIN])
{
    static uint8_t out[DHT_DESCRIPTOR_MAX], inner[PLAIN + DESC__AEAD_TAG];
    static const uint8_t nonce[DESC__NONCE];
    const struct desc__context c = { delegation.blinded, delegation.period };
    uint8_t key[32];
    memset(inner, 0, sizeof inner);
    must(outside(inner, sizeof inner, out) == SIZE);
    desc__inner_key(key, nonce, address, &c);
    crypto_aead_xchacha20poly1305_ietf_encrypt(inner, NULL, plain, PLAIN, out, DESC__AD, NULL,
                                               nonce, key);
    must(outside(inner, sizeof inner, out) == SIZE);
    enum drop drop = judge(out, SIZE);
    must(drop != DROP_SIGNATURE && drop != DROP_PROOF && drop != DROP_EXPIRED);
}

static void judge_raw_plain(const uint8_t *data, size_t len)
{
    static uint8_t plain[PLAIN];
    memset(plain, 0, sizeof plain);
    memcpy(plain, data, len < PLAIN ? len : PLAIN);
    judge_plain(plain);
}

static void judge_map(const uint8_t *map, size_t len, bool is_for_clients)
{
    static uint8_t plain[PLAIN];
    const struct desc__context c = { delegation.blinded, delegation.period };
    const struct onion_seal s = { .is_for_clients = true,
                                  .clients = (const uint8_t(*)[32])client,
                                  .n_clients = 1 };
    struct writer w = writer_on(plain, sizeof plain);
    if (len > 2048)
        return;
    memset(plain, 0, sizeof plain);
    writer_u8(&w, DESC__FORMAT);
    writer_u8(&w, is_for_clients ? DESC__FOR_CLIENTS : DESC__OPEN);
    writer_u16(&w, (uint16_t)len);
    if (is_for_clients)
        must(desc__clients_put(&w, &s, &c, map, len, &env) == 0);
    else
        writer_copy(&w, map, len);
    must(writer_ok(&w));
    judge_plain(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    start_once();
    if (len == 0)
        return 0;
    switch (data[0] % KINDS) {
    case 0:
        (void)judge(data + 1, len - 1);
        break;
    case 1:
        judge_raw_plain(data + 1, len - 1);
        break;
    case 2:
        judge_map(data + 1, len - 1, false);
        break;
    default:
        judge_map(data + 1, len - 1, true);
    }
    return 0;
}
