/* Identity files. The first byte: bit 0 puts the right checksum at the end, so that the fuzzer gets
 * behind it. Sealed files are opened without a passphrase: Argon2id would take all the time. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "mesh/identity.h"

static void fake_random(struct env *e, void *buf, size_t n)
{
    (void)e;
    memset(buf, 7, n);
}

static const struct env_ops ops = { .random = fake_random };

/* What opens must be written again as the same bytes. */
static void round_trip(const struct mesh_identity *i, const uint8_t *blob, size_t len)
{
    struct env env = { .ops = &ops };
    uint8_t again[MESH_IDENTITY_BLOB_MAX];
    int n = mesh_identity_encode(i, &env, again);
    if (n < 0 || (size_t)n != len || memcmp(again, blob, len) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cyx_err err = { 0 };
    if (secret_init(NULL) != 0 || len < 1)
        return 0;
    size_t n = len - 1;
    uint8_t *blob = malloc(n > 0 ? n : 1);
    if (blob == NULL)
        return 0;
    memcpy(blob, data + 1, n);
    if ((data[0] & 1) != 0 && n >= CRYPTO_HASH)
        crypto_h(blob + n - CRYPTO_HASH, "cyx identity file", &BYTES(blob, n - CRYPTO_HASH), 1);
    struct mesh_identity *i = mesh_identity_decode(blob, n, NULL, &err);
    if (i != NULL)
        round_trip(i, blob, n);
    else if (err.code >= 0 || err.msg[0] == '\0')
        abort(); /* every refusal says why */
    mesh_identity_destroy(i);
    free(blob);
    return 0;
}
