#include "node/vault.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"

enum {
    MAGIC = 8,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    HEAD = MAGIC + 1 + NONCE,
    NAME_MAX_BYTES = 32,
};

_Static_assert(HEAD + TAG + CRYPTO_HASH == VAULT_OVERHEAD, "the layout in vault.h");

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'k', 'e', 'y', '1' };

struct vault {
    struct env *env;
    bool is_sealing;
    uint8_t key[32];
};

struct vault *vault_create(struct env *env, const struct mesh_identity *identity)
{
    static const char label[] = "cyx vault", no_salt[1] = "";
    struct vault *v = secret_alloc(sizeof *v);
    if (v == NULL)
        return NULL;
    v->env = env;
    v->is_sealing = identity->is_sealed;
    if (v->is_sealing)
        crypto_hkdf(no_salt, 0, identity->seal_key, sizeof identity->seal_key, label,
                    sizeof label - 1, v->key, sizeof v->key);
    return v;
}

void vault_destroy(struct vault *v)
{
    secret_free(v);
}

bool vault_is_sealing(const struct vault *v)
{
    return v->is_sealing;
}

static void checksum(uint8_t out[static CRYPTO_HASH], const char *name, const uint8_t *data,
                     size_t len)
{
    const struct bytes parts[] = { BYTES(name, strlen(name) + 1), BYTES(data, len) };
    crypto_h(out, "cyx vault file", parts, 2);
}

/* What a sealed secret is bound to: its file's name, so that two can't be exchanged, and its head.
 */
static size_t bind_to(uint8_t out[static NAME_MAX_BYTES + 1 + HEAD], const char *name,
                      const uint8_t head[static HEAD])
{
    struct writer w = writer_on(out, NAME_MAX_BYTES + 1 + HEAD);
    writer_copy(&w, name, strnlen(name, NAME_MAX_BYTES));
    writer_u8(&w, 0);
    writer_copy(&w, head, HEAD);
    return writer_len(&w);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_sealed(struct vault *v, struct writer *w, const char *name, const uint8_t *secret,
                       size_t len)
{
    uint8_t ad[NAME_MAX_BYTES + 1 + HEAD];
    const uint8_t *head = w->start;
    uint8_t *at = writer_reserve(w, len + TAG);
    if (at != NULL)
        crypto_aead_xchacha20poly1305_ietf_encrypt(
            at, NULL, secret, len, ad, bind_to(ad, name, head), NULL, head + MAGIC + 1, v->key);
}

int vault_store(struct vault *v, const char *name, const uint8_t *secret, size_t len,
                env_done_fn done, void *arg)
{
    uint8_t nonce[NONCE] = { 0 }, sum[CRYPTO_HASH];
    uint8_t *file = len <= VAULT_SECRET_MAX ? malloc(len + VAULT_OVERHEAD) : NULL;
    if (file == NULL)
        return len <= VAULT_SECRET_MAX ? CYX_ENOMEM : CYX_EFULL;
    struct writer w = writer_on(file, len + VAULT_OVERHEAD);
    if (v->is_sealing)
        env_random(v->env, nonce, sizeof nonce);
    writer_copy(&w, magic, sizeof magic);
    writer_u8(&w, v->is_sealing ? 1 : 0);
    writer_copy(&w, nonce, sizeof nonce);
    if (v->is_sealing)
        put_sealed(v, &w, name, secret, len);
    else
        writer_copy(&w, secret, len);
    checksum(sum, name, file, writer_len(&w));
    writer_copy(&w, sum, sizeof sum);
    env_blob_store(v->env, name, file, writer_len(&w), done, arg);
    sodium_memzero(file, len + VAULT_OVERHEAD);
    free(file);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int corrupt(const char *name, struct cyx_err *err)
{
    return cyx_fail(err, CYX_ECORRUPT, "%s is damaged: restore it from a copy", name);
}

static int open_sealed(const struct vault *v, const char *name, const uint8_t *file,
                       const uint8_t *at, size_t n, uint8_t *secret, struct cyx_err *err)
{
    uint8_t ad[NAME_MAX_BYTES + 1 + HEAD];
    if (!v->is_sealing)
        return cyx_fail(err, CYX_EPERM,
                        "%s is sealed with a passphrase: name the file that holds it as "
                        "`passphrase_file` in [key]",
                        name);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            secret, NULL, NULL, at, n, ad, bind_to(ad, name, file), file + MAGIC + 1, v->key) != 0)
        return cyx_fail(err, CYX_EPERM, "%s is sealed with another identity's passphrase", name);
    return 0;
}

/* `file` without its checksum, which was right. */
static int open_file(const struct vault *v, const char *name, const uint8_t *file, size_t n,
                     uint8_t *secret, size_t cap, size_t *len, bool *is_sealed, struct cyx_err *err)
{
    struct reader r = reader_on(file, n);
    const uint8_t *m = reader_bytes(&r, MAGIC);
    uint8_t sealed = reader_u8(&r);
    reader_skip(&r, NONCE);
    if (r.bad || memcmp(m, magic, MAGIC) != 0 || sealed > 1 ||
        (sealed == 1 && reader_left(&r) < TAG))
        return corrupt(name, err);
    size_t rest = reader_left(&r), plain = sealed == 1 ? rest - TAG : rest;
    const uint8_t *at = reader_bytes(&r, rest);
    if (plain > cap)
        return cyx_fail(err, CYX_EFULL, "%s is longer than it may be", name);
    if (sealed == 1) {
        int rc = open_sealed(v, name, file, at, rest, secret, err);
        if (rc < 0)
            return rc;
    } else {
        memcpy(secret, at, plain);
    }
    *len = plain;
    if (is_sealed != NULL)
        *is_sealed = sealed == 1;
    return 0;
}

int vault_load(struct vault *v, const char *name, uint8_t *secret, size_t cap, size_t *len,
               bool *is_sealed, struct cyx_err *err)
{
    uint8_t sum[CRYPTO_HASH];
    size_t n = 0, room = VAULT_SECRET_MAX + VAULT_OVERHEAD;
    uint8_t *file = malloc(room);
    if (file == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for %s", name);
    int rc = env_blob_load(v->env, name, file, room, &n, err);
    if (rc == 0 && n < HEAD + CRYPTO_HASH)
        rc = corrupt(name, err);
    if (rc == 0) {
        checksum(sum, name, file, n - CRYPTO_HASH);
        rc = memcmp(sum, file + n - CRYPTO_HASH, CRYPTO_HASH) == 0
                 ? open_file(v, name, file, n - CRYPTO_HASH, secret, cap, len, is_sealed, err)
                 : corrupt(name, err);
    }
    sodium_memzero(file, room);
    free(file);
    return rc;
}
