/* Files of guards. The first byte: bit 0 puts the right checksum at the end, so that the fuzzer
 * gets behind it. What opens must be written again as the same bytes, and bear being used. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/guards.h"

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

static bool no_node(void *arg, const uint8_t id[static DHT_ID], struct mesh_node *out)
{
    (void)arg, (void)id, (void)out;
    return false;
}

static void use(struct onion_guards *g, uint64_t now)
{
    static const struct env_ops ops = { .random = fake_random };
    static const uint8_t zero[32];
    const uint8_t *ids[ONION_GUARDS + ONION_SECOND];
    struct env env = { .ops = &ops };
    struct dht_roster *roster = dht_roster_create(16, zero, zero, false);
    struct onion_relays *relays = onion_relays_create(roster, NULL, false, no_node, NULL);
    must(roster != NULL && relays != NULL);
    must(onion_guards_usable(g, now, ids) <= ONION_GUARDS);
    must(onion_guards_second(g, ids) <= ONION_SECOND);
    must(onion_relays_refresh(relays, now) == 0);
    (void)onion_guards_refresh(g, relays, &env, now);
    must(!onion_guards_refresh(g, relays, &env, now));
    must(onion_guards_usable(g, now, ids) == 0); /* nobody has a record */
    onion_relays_destroy(relays);
    dht_roster_destroy(roster);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cyx_err err = { 0 };
    struct mesh_network net;
    uint8_t again[ONION_GUARDS_BLOB_MAX];
    if (sodium_init() < 0 || len < 1 || mesh_network_init(&net, "vectors", 1, true, NULL) != 0)
        return 0;
    size_t n = len - 1;
    uint8_t *blob = malloc(n > 0 ? n : 1);
    must(blob != NULL);
    memcpy(blob, data + 1, n);
    if ((data[0] & 1) != 0 && n >= CRYPTO_HASH)
        crypto_h(blob + n - CRYPTO_HASH, "cyx guards file", &BYTES(blob, n - CRYPTO_HASH), 1);
    struct onion_guards *g = onion_guards_decode(&net, blob, n, &err);
    if (g != NULL) {
        must(onion_guards_encode(g, again) == n && memcmp(again, blob, n) == 0);
        use(g, data[0] < 128 ? 1700000000 : data[0]);
    } else {
        must(err.code < 0 && err.msg[0] != '\0'); /* every refusal says why */
    }
    onion_guards_destroy(g);
    free(blob);
    return 0;
}
