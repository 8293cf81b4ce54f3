/* Envelopes and node records. The first byte chooses: 0 the bytes as they are; else the input is a
 * node record's body, which is put into a signed envelope first, so that the fuzzer gets behind the
 * signature. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/record.h"

static struct mesh_network net;
static uint8_t pk[32], sk[64];
static const uint64_t now = 1700000000;

static void start_once(void)
{
    static const char label[] = "cyx test vector: record identity"; /* as tests/vectors has it */
    uint8_t seed[32];
    if (net.id_effort != 0)
        return;
    if (sodium_init() < 0 || mesh_network_init(&net, "vectors", 1, true, NULL) != 0)
        abort();
    crypto_hash_sha256(seed, (const uint8_t *)label, sizeof label - 1);
    crypto_sign_seed_keypair(pk, sk, seed);
}

static void open_raw(const uint8_t *data, size_t len)
{
    struct mesh_record r;
    struct mesh_node n;
    if (mesh_record_parse(&r, data, len) == DROP_NONE) {
        if (r.body_len + MESH_RECORD_HEAD + MESH_RECORD_SIGNATURE != len)
            abort();
        (void)mesh_record_verify(&net, data, len, r.publisher);
    }
    if (mesh_node_record_open(&n, &net, now, data, len) == DROP_NONE && n.n_addrs > MESH_ADDRS_MAX)
        abort();
}

/* The reason must be the body's or its puzzle's: everything around it is right. */
static void open_signed(const uint8_t *body, size_t len)
{
    uint8_t out[MESH_NODE_RECORD_MAX];
    struct mesh_node n;
    struct mesh_record r = {
        .type = MESH_RECORD_NODE, .expiry = now + 1, .body = body, .body_len = len
    };
    memcpy(r.publisher, pk, sizeof r.publisher);
    int built = mesh_record_build(&net, &r, sk, out, sizeof out);
    if (built < 0)
        return;
    enum drop drop = mesh_node_record_open(&n, &net, now, out, (size_t)built);
    if (drop == DROP_SIGNATURE || drop == DROP_EXPIRED || drop == DROP_TYPE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    start_once();
    if (len == 0)
        return 0;
    if (data[0] == 0)
        open_raw(data + 1, len - 1);
    else
        open_signed(data + 1, len - 1);
    return 0;
}
