/* dht/pseudonym.h - the key that signs offers and provider records: Ed25519 with a puzzle of its
 * own, never a node's identity. Kept as one blob on disk (base/env.h, env_blob_*). Spec:
 * protocol.md, section 6. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "mesh/network.h"
#include "mesh/pow.h"

/* The blob's name beside the stores. */
#define DHT_PSEUDONYM_FILE "pseudonym.key"

enum { DHT_PSEUDONYM_BLOB = 110 };

/* Lives in locked memory. */
struct dht_pseudonym {
    uint8_t seed[32];
    uint8_t pk[32];
    uint8_t sk[64];  /* libsodium's, for dht_offer_build and dht_provider_build */
    bool has_puzzle; /* without it no store takes what it signs */
    uint8_t puzzle[MESH_POW_PROOF];
};

/* Draws a new one from the environment's randomness; secret_init comes first. NULL: no memory. */
struct dht_pseudonym *dht_pseudonym_create(struct env *env, struct cyx_err *err);
void dht_pseudonym_destroy(struct dht_pseudonym *p); /* wipes; NULL is fine */

/* The subject of its puzzle: solve with mesh_pow_solve on the pool, then dht_pseudonym_set_puzzle,
 * which checks the proof against the network's effort. CYX_EINVAL: not enough, or wrong. */
void dht_pseudonym_subject(const struct dht_pseudonym *p, struct mesh_pow_subject *out);
CYX_MUST_USE int dht_pseudonym_set_puzzle(struct dht_pseudonym *p, const struct mesh_network *net,
                                          const uint8_t proof[static MESH_POW_PROOF],
                                          struct cyx_err *err);
/* DROP_PROOF unless `puzzle` is worth the network's effort for the key `pk`. */
enum drop dht_pseudonym_check(const uint8_t pk[static 32],
                              const uint8_t puzzle[static MESH_POW_PROOF],
                              const struct mesh_network *net);

/* To and from bytes; the blob holds the secret: wipe it. Whether a decoded puzzle is enough for a
 * network is asked with dht_pseudonym_set_puzzle (p->puzzle). Decode: NULL with CYX_ECORRUPT (with
 * a cure in the message), CYX_EVERSION or CYX_ENOMEM. */
void dht_pseudonym_encode(const struct dht_pseudonym *p, uint8_t out[static DHT_PSEUDONYM_BLOB]);
struct dht_pseudonym *dht_pseudonym_decode(const uint8_t *data, size_t len, struct cyx_err *err);
