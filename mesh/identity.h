/* mesh/identity.h - the keys of a node: Ed25519 identity with its puzzle, X25519 link and onion
 * keys that rotate; kept as one blob on disk (base/env.h, env_blob_*), optionally sealed with a
 * passphrase. Spec: protocol.md, section 2. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/limits.h"
#include "mesh/network.h"
#include "mesh/pow.h"

/* The blob's name beside the stores (base/env.h, env_blob_*). */
#define MESH_IDENTITY_FILE "identity.key"

enum { MESH_ONION_KEYS = 6, MESH_IDENTITY_BLOB_MAX = 2048 };

struct mesh_keypair {
    uint8_t secret[32];
    uint8_t pub[32];
    uint64_t made; /* network time in seconds; 0: empty slot */
};

/* Lives in locked memory (mesh_identity_create allocates it with secret_alloc). */
struct mesh_identity {
    uint8_t seed[32];
    uint8_t sign_pk[32];
    uint8_t sign_sk[64];
    bool has_puzzle; /* unlisted nodes need none */
    uint8_t puzzle[MESH_POW_PROOF];
    uint8_t id[32];                             /* zero until has_puzzle */
    struct mesh_keypair link, link_old;         /* old: accepted for MESH_LINK_KEY_OLD_S */
    struct mesh_keypair onion[MESH_ONION_KEYS]; /* [0] is the current one */
    uint64_t init_sequence;                     /* INIT's, stored ahead */
    uint64_t record_sequence;
    bool is_new; /* created by this process: nobody has used its keys before */
    /* sealing: empty when there is no passphrase */
    bool is_sealed;
    uint8_t seal_key[32], seal_salt[16];
    uint64_t seal_ops;
    uint64_t seal_mem;
};

/* Draws a new identity from the environment's randomness. `now`: network time. NULL: no memory. */
struct mesh_identity *mesh_identity_create(struct env *env, uint64_t now, struct cyx_err *err);
void mesh_identity_destroy(struct mesh_identity *i); /* wipes; NULL is fine */

/* The subject of the id puzzle; solve with mesh_pow_solve on the pool, then
 * mesh_identity_set_puzzle, which checks it against the network's effort. */
void mesh_identity_subject(const struct mesh_identity *i, struct mesh_pow_subject *out);
CYX_MUST_USE int mesh_identity_set_puzzle(struct mesh_identity *i, const struct mesh_network *net,
                                          const uint8_t proof[static MESH_POW_PROOF],
                                          struct cyx_err *err);

/* Sets (or with NULL removes) the passphrase: derives the seal key with Argon2id (blocking: at
 * start or on the pool). */
CYX_MUST_USE int mesh_identity_seal_with(struct mesh_identity *i, struct env *env,
                                         const char *passphrase, struct cyx_err *err);

/* To and from bytes. Encode returns the length or a CYX_E*; the buffer holds secrets: wipe it.
 * A file that isn't sealed opens with any passphrase: see is_sealed, and seal_with to change that.
 * Whether a puzzle is enough for a network is asked with mesh_identity_set_puzzle (i->puzzle).
 * Decode: CYX_ECORRUPT (with a cure in the message), CYX_EPERM when sealed and the passphrase is
 * missing (NULL) or wrong, CYX_EVERSION. */
CYX_MUST_USE int mesh_identity_encode(const struct mesh_identity *i, struct env *env,
                                      uint8_t out[static MESH_IDENTITY_BLOB_MAX]);
struct mesh_identity *mesh_identity_decode(const uint8_t *data, size_t len, const char *passphrase,
                                           struct cyx_err *err);

/* Rotates what is due at `now`: true when something changed and must be stored before use. Wipes
 * what is too old. `rotate_link` false keeps the link key for ever (bootstrap nodes, whose peers
 * carry it in their configuration). */
bool mesh_identity_rotate(struct mesh_identity *i, struct env *env, uint64_t now, bool rotate_link);

/* Draws a new onion key and wipes all others, which no build is taken for any more: how a wait
 * after a crash ends (onion/replay.h). Must be stored before use, as after a rotation. */
void mesh_identity_renew_onion(struct mesh_identity *i, struct env *env, uint64_t now);
