/* node/vault.h - small secrets as files in the data folder (base/env.h, env_blob_*): in the clear,
 * or sealed like the identity when the operator set a passphrase. A file tells by itself which, so
 * that a passphrase set later leaves nothing unreadable.
 *
 *   0   8   magic "cyx-key1"
 *   8   1   1 when sealed, else 0
 *   9  24   nonce (zero when not sealed)
 *   33  n   the secret, in the clear or as XChaCha20-Poly1305 (+ 16; ad = name and all before)
 *   ..  32  H("cyx vault file", name, all before): a rotten file is told from a wrong passphrase */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/identity.h"

enum {
    VAULT_SECRET_MAX = 32 << 10,
    VAULT_OVERHEAD = 8 + 1 + 24 + 16 + 32,
};

struct vault;

/* The key comes from the identity's, if that is sealed; nothing of it is borrowed. NULL: no memory.
 */
struct vault *vault_create(struct env *env, const struct mesh_identity *identity);
void vault_destroy(struct vault *v); /* wipes; NULL is fine */
bool vault_is_sealing(const struct vault *v);

/* `done` from the loop. 0, or CYX_EFULL, CYX_ENOMEM: then `done` is not called. */
CYX_MUST_USE int vault_store(struct vault *v, const char *name, const uint8_t *secret, size_t len,
                             env_done_fn done, void *arg);
/* At start only: it blocks. *is_sealed (may be NULL): whether the file is. CYX_ENOENT; CYX_EPERM
 * (sealed, and the passphrase is missing or another); CYX_ECORRUPT; CYX_EFULL. */
CYX_MUST_USE int vault_load(struct vault *v, const char *name, uint8_t *secret, size_t cap,
                            size_t *len, bool *is_sealed, struct cyx_err *err);
