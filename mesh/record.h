/* mesh/record.h - signed records: the envelope all types share, and the node record. Pure;
 * signatures are checked over the bytes as received. Spec: protocol.md, sections 2 and 6. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "mesh/limits.h"
#include "mesh/network.h"
#include "mesh/pow.h"

enum mesh_record_type {
    MESH_RECORD_NODE = 1,
    MESH_RECORD_DESCRIPTOR = 2,
    MESH_RECORD_PROVIDER = 3,
    MESH_RECORD_OFFER = 4,
    MESH_RECORD_NAME = 5,
};

enum { MESH_RECORD_HEAD = 52, MESH_RECORD_SIGNATURE = 64, MESH_ADDRS_MAX = 6 };

struct mesh_record {
    uint8_t type;
    uint64_t sequence;
    uint64_t expiry; /* network time, seconds */
    uint8_t publisher[32];
    const uint8_t *body; /* borrowed */
    size_t body_len;
};

/* Splits an envelope: sizes and version only, no signature. Borrows from `data`. */
enum drop mesh_record_parse(struct mesh_record *out, const uint8_t *data, size_t len);
/* Checks the signature of a parsed envelope over its bytes, for this network, by `signer` (the
 * publisher but for descriptors). */
enum drop mesh_record_verify(const struct mesh_network *net, const uint8_t *data, size_t len,
                             const uint8_t signer[static 32]);
/* Writes head, body and signature to `out`. Returns the length, or a CYX_E*: CYX_EFULL. `sign_sk`
 * is libsodium's 64-byte Ed25519 secret key of the signer. */
CYX_MUST_USE int mesh_record_build(const struct mesh_network *net, const struct mesh_record *r,
                                   const uint8_t sign_sk[static 64], uint8_t *out, size_t cap);

enum mesh_role_bits { /* key 4 of the node record: roles and features */
                      MESH_ROLE_RELAY_PATHS = 1u << 0, /* carries others' onion paths */
                      MESH_ROLE_HOST = 1u << 1,
                      MESH_ROLE_GATEWAY = 1u << 2,
                      MESH_ROLE_VALIDATOR = 1u << 3,
};

struct mesh_node_addr {
    uint8_t kind; /* 4, 6: ip; 7: LoRa id */
    struct env_addr ip;
    uint8_t lora[4];
};

/* A node record, decoded. */
struct mesh_node {
    uint8_t id[32]; /* computed: H("cyx node", identity key || puzzle) */
    uint8_t identity[32];
    uint64_t sequence, expiry;
    uint8_t link_key[32];
    uint8_t onion_key[32];
    struct mesh_node_addr addrs[MESH_ADDRS_MAX];
    size_t n_addrs;
    uint32_t roles;
    uint8_t version[4];
    bool has_family;
    uint8_t family[16];
    uint8_t puzzle[MESH_POW_PROOF];
    uint32_t capacity; /* kB/s, a claim */
};

/* Everything section 6 asks of type 1, in its order: size, envelope, expiry in (now, now + 48 h],
 * body strict, puzzle, signature. `now`: network time in seconds. */
enum drop mesh_node_record_open(struct mesh_node *out, const struct mesh_network *net, uint64_t now,
                                const uint8_t *data, size_t len);
/* Its parts, for whoever has other checks to make in between. Form: everything but puzzle and
 * signature; no public-key work. */
enum drop mesh_node_record_form(struct mesh_node *out, uint64_t now, const uint8_t *data,
                                size_t len);
/* The puzzle is worth the network's effort, or DROP_PROOF. */
enum drop mesh_node_record_proof(const struct mesh_node *n, const struct mesh_network *net);
/* The link key that a node record names; nothing of it is checked but its form. */
bool mesh_node_record_link_key(uint8_t out[static 32], const uint8_t *data, size_t len);
/* Builds our own record from `n` (id is ignored). Returns the length or a CYX_E*. */
CYX_MUST_USE int mesh_node_record_build(const struct mesh_node *n, const struct mesh_network *net,
                                        const uint8_t sign_sk[static 64],
                                        uint8_t out[static MESH_NODE_RECORD_MAX]);

/* H("cyx node", identity || puzzle). */
void mesh_node_id(uint8_t id[static 32], const uint8_t identity[static 32],
                  const uint8_t puzzle[static MESH_POW_PROOF]);
