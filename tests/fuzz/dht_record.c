/* Records as the DHT judges them. The first byte chooses: 0 the bytes as they are; 1 to 4 the input
 * is a body of that type, which is put into a signed envelope first, so that the fuzzer gets behind
 * the signature. What is taken is read back and built again: the same bytes. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "dht/type.h"

enum { KINDS = 5 };

struct key {
    uint8_t pk[32], sk[64];
};

static struct mesh_network net;
static struct key self, blinded, delegated; /* those of tests/vectors/dht_record.json */
static const uint64_t now = 1700000000;

static void key_start(struct key *k, const char *label)
{
    uint8_t seed[32];
    crypto_hash_sha256(seed, (const uint8_t *)label, strlen(label));
    crypto_sign_seed_keypair(k->pk, k->sk, seed);
}

static void start_once(void)
{
    if (net.id_effort != 0)
        return;
    if (sodium_init() < 0 || mesh_network_init(&net, "vectors", 1, true, NULL) != 0)
        abort();
    key_start(&self, "cyx test vector: pseudonym");
    key_start(&blinded, "cyx test vector: blinded key");
    key_start(&delegated, "cyx test vector: delegated key");
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Builds a value again from what was read; 0 when it can't be: a node's record may hold what only a
 * newer version knows, and others' keys are others'. */
static int build_again(const struct dht_value *v, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    struct dht_provider p;
    struct dht_offer o;
    struct dht_descriptor d;
    bool is_ours = memcmp(v->signer, self.pk, 32) == 0;
    if (dht_provider_read(&p, v))
        return is_ours ? dht_provider_build(&p, &net, self.sk, out) : 0;
    if (dht_offer_read(&o, v))
        return is_ours ? dht_offer_build(&o, &net, self.sk, out) : 0;
    if (dht_descriptor_read(&d, v))
        return memcmp(d.d, delegated.pk, 32) == 0
                   ? dht_descriptor_build(&d, &net, delegated.sk, out)
                   : 0;
    return 0;
}

/* What holds for every record that parses, proven or not. */
static void parsed_check(const struct dht_value *v, const uint8_t *data, size_t len)
{
    must(v->data == data && v->len == len && len <= v->type->len_max);
    must(v->type == dht_type_get(v->type->number) && v->type->number != MESH_RECORD_NAME);
    must(v->head.expiry > now && v->n_places >= 1 && v->n_places <= DHT_PLACES_MAX);
    for (unsigned i = 0; i < v->n_places; i++)
        must(dht_value_belongs(v, v->places[i]));
    must(dht_value_compare(v, v) == 0);
}

static enum drop judge(const uint8_t *data, size_t len)
{
    static uint8_t out[DHT_DESCRIPTOR_MAX];
    struct dht_value v;
    enum drop drop = dht_value_parse(&v, &net, now, data, len);
    if (drop != DROP_NONE)
        return drop;
    parsed_check(&v, data, len);
    drop = dht_value_verify(&v, &net, now);
    if (drop != DROP_NONE)
        return drop;
    int built = build_again(&v, out);
    must(built == 0 || ((size_t)built == len && memcmp(out, data, len) == 0));
    return DROP_NONE;
}

/* A descriptor's expiry follows from its period. */
static uint64_t expiry_for(unsigned type, const uint8_t *body, size_t len)
{
    struct reader r = reader_on(body, len);
    return type == MESH_RECORD_DESCRIPTOR ? (reader_u64(&r) + 2) * DHT_PERIOD_S : now + 1;
}

/* The reason must be the body's: everything around it is right. */
static void judge_body(unsigned type, const uint8_t *body, size_t len)
{
    bool is_descriptor = type == MESH_RECORD_DESCRIPTOR;
    struct mesh_record r = { .type = (uint8_t)type,
                             .sequence = 1,
                             .expiry = expiry_for(type, body, len),
                             .body = body,
                             .body_len = len };
    memcpy(r.publisher, is_descriptor ? blinded.pk : self.pk, 32);
    static uint8_t out[DHT_DESCRIPTOR_MAX];
    int built =
        mesh_record_build(&net, &r, is_descriptor ? delegated.sk : self.sk, out, sizeof out);
    if (built < 0)
        return;
    uint8_t *exact = malloc((size_t)built);
    must(exact != NULL);
    memcpy(exact, out, (size_t)built);
    enum drop drop = judge(exact, (size_t)built);
    free(exact);
    must(drop != DROP_TYPE && drop != DROP_VERSION);
    must(is_descriptor || (drop != DROP_SIGNATURE && drop != DROP_EXPIRED));
}

static void judge_raw(const uint8_t *data, size_t len)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    must(exact != NULL);
    memcpy(exact, data, len);
    (void)judge(exact, len);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    start_once();
    if (len == 0)
        return 0;
    if (data[0] % KINDS == 0)
        judge_raw(data + 1, len - 1);
    else
        judge_body(data[0] % KINDS, data + 1, len - 1);
    return 0;
}
