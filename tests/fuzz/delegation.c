/* Files of delegations, which a machine that serves has from somebody else. The first byte: bit 0
 * puts the right checksum at the end, so that the fuzzer gets behind it. What opens must be written
 * again as the same bytes. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/delegation.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t again[ONION_DELEGATIONS_BLOB_MAX];
    struct cyx_err err = { 0 };
    struct mesh_network net;
    if (secret_init(NULL) != 0 || len < 1 || mesh_network_init(&net, "vectors", 1, true, NULL) != 0)
        return 0;
    size_t n = len - 1;
    uint8_t *blob = malloc(n > 0 ? n : 1);
    must(blob != NULL);
    memcpy(blob, data + 1, n);
    if ((data[0] & 1) != 0 && n >= CRYPTO_HASH)
        crypto_h(blob + n - CRYPTO_HASH, "cyx delegation file", &BYTES(blob, n - CRYPTO_HASH), 1);
    struct onion_delegations *d = onion_delegations_decode(&net, blob, n, &err);
    if (d != NULL) {
        must(onion_delegations_encode(d, again) == n && memcmp(again, blob, n) == 0);
        must(onion_delegations_get(d, d->list[d->n - 1].period) == &d->list[d->n - 1]);
    } else {
        must(err.code < 0 && err.msg[0] != '\0'); /* every refusal says why */
    }
    onion_delegations_destroy(d);
    free(blob);
    return 0;
}
