/* First messages at both ends of one handshake. The first byte: bits 0..1 choose who receives (0
 * responder, 1 initiator, 2 cookie, 3 version); bit 2 makes mac1 right first, so that the fuzzer
 * gets to Noise. Nothing that isn't genuine may be taken, and the initiator never changes. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "mesh/handshake.h"
#include "mesh/record.h"

static struct {
    bool ready;
    struct mesh_network net;
    struct mesh_hs_self i, r;
    struct mesh_hs_initiator initiator;
    uint8_t init[MESH_INIT_LEN], resp[MESH_RESP_LEN];
} world;

/* The keys of the first handshake in tests/vectors/handshake.json, so that its packets are genuine
 * here: SHA-256 of a label. */
static void secret(uint8_t out[static 32], const char *label)
{
    char text[128];
    snprintf(text, sizeof text, "cyx test vector: %s", label);
    crypto_hash_sha256(out, (const uint8_t *)text, strlen(text));
}

static void self_make(struct mesh_hs_self *s, const char *label, uint32_t version)
{
    s->net = &world.net;
    secret(s->secret, label);
    crypto_dh_public(s->pub, s->secret);
    s->features = MESH_FEATURE_GCM;
    for (unsigned i = 0; i < 4; i++)
        s->version[i] = (uint8_t)(version >> (24 - 8 * i));
}

static void id_make(uint8_t id[static 32])
{
    uint8_t identity[32], puzzle[MESH_POW_PROOF];
    secret(identity, "some identity");
    memset(puzzle, 7, sizeof puzzle);
    mesh_node_id(id, identity, puzzle);
}

static void start_once(void)
{
    struct mesh_hs_responder p;
    struct mesh_hs_result out;
    uint8_t e[2][32];
    if (world.ready)
        return;
    if (sodium_init() < 0 || mesh_network_init(&world.net, "vectors", 1, true, NULL) != 0)
        abort();
    self_make(&world.i, "initiator static", 0x01010003);
    self_make(&world.r, "responder static", 0x01020509);
    id_make(world.r.id);
    secret(e[0], "initiator ephemeral both have GCM");
    secret(e[1], "responder ephemeral both have GCM");
    if (mesh_hs_init(&world.initiator, &world.i, world.r.id, world.r.pub, 0x01020304,
                     0x0000065538FFFFF7, e[0], NULL, world.init) != 0 ||
        mesh_hs_accept(&p, &world.r, world.init, sizeof world.init) != DROP_NONE ||
        mesh_hs_respond(&p, &world.r, 0xA1A2A3A4, 1700000004, e[1], NULL, world.resp, &out) != 0)
        abort();
    world.ready = true;
}

static void mac1_fix(uint8_t *packet, size_t len, size_t at, const uint8_t *pub)
{
    uint8_t key[32];
    crypto_h(key, "cyx mac1", &BYTES(pub, 32), 1);
    if (len >= at + 16)
        crypto_mac16(packet + at, key, sizeof key, packet, at);
}

/* The header isn't under Noise: whoever knows our key may change reserved bytes and its own index.
 * All that Noise covers must be the genuine bytes. */
static void respond(const uint8_t *packet, size_t len)
{
    struct mesh_hs_responder p;
    if (mesh_hs_accept(&p, &world.r, packet, len) == DROP_NONE &&
        memcmp(packet + 8, world.init + 8, 112) != 0)
        abort();
    (void)mesh_mac2_ok(packet, len, world.init);
}

static void finish(const uint8_t *packet, size_t len)
{
    struct mesh_hs_initiator before;
    struct mesh_hs_result out;
    memcpy(&before, &world.initiator, sizeof before);
    enum drop drop = mesh_hs_finish(&world.initiator, &world.i, packet, len, &out);
    if (memcmp(&before, &world.initiator, sizeof before) != 0 ||
        (drop == DROP_NONE && memcmp(packet + 12, world.resp + 12, 64) != 0))
        abort();
}

static void cookie(const uint8_t *packet, size_t len)
{
    uint8_t out[16];
    uint32_t index;
    enum drop drop = mesh_cookie_open(packet, len, world.r.pub, world.initiator.mac1, out);
    enum drop form = mesh_cookie_index(packet, len, &index);
    if (form != (drop == DROP_AUTH ? DROP_NONE : drop))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mesh_version_hint hint;
    start_once();
    if (len < 1)
        return 0;
    size_t n = len - 1;
    uint8_t *packet = malloc(n > 0 ? n : 1);
    if (packet == NULL)
        return 0;
    memcpy(packet, data + 1, n);
    bool fix = (data[0] & 4) != 0;
    switch (data[0] & 3) {
    case 0:
        if (fix)
            mac1_fix(packet, n, 120, world.r.pub);
        respond(packet, n);
        break;
    case 1:
        if (fix)
            mac1_fix(packet, n, 76, world.i.pub);
        finish(packet, n);
        break;
    case 2:
        cookie(packet, n);
        break;
    default:
        if (mesh_version_parse(&hint, packet, n) == DROP_NONE && hint.lowest > hint.highest)
            abort();
    }
    free(packet);
    return 0;
}
