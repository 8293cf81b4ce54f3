/* tests/unit/dht/made.h - valid records of every type for a lab network, made on the spot: tests
 * break one thing of them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "dht/type.h"

enum { MADE_NOW = 1700000000 };

struct made_key {
    uint8_t pk[32], sk[64];
    uint8_t puzzle[MESH_POW_PROOF]; /* purpose 2, effort 1 */
};

struct made {
    struct mesh_network net; /* a lab: effort 1 */
    struct made_key self;    /* publishes nodes, providers and offers */
    struct made_key blinded; /* puzzle: purpose 3 */
    struct made_key d;       /* no puzzle */
    uint8_t map[64];
    size_t map_len;
    uint8_t inner[DHT_DESCRIPTOR_MAX];
};

struct made made_start(void);
void made_key(struct made_key *k, uint8_t seed, enum mesh_pow_purpose purpose);

struct dht_provider made_provider(const struct made *m);
struct dht_offer made_offer(const struct made *m);
/* `len`: of the whole record. Its delegation is signed. */
struct dht_descriptor made_descriptor(const struct made *m, size_t len);
void made_delegate(const struct made *m, struct dht_descriptor *d);

/* A valid record of a type; descriptors have 2048 bytes. Returns its length. */
size_t made_record(const struct made *m, unsigned type, uint8_t out[static DHT_DESCRIPTOR_MAX]);
/* An envelope of any type and body by `self`. */
size_t made_envelope(const struct made *m, unsigned type, uint64_t expiry, const void *body,
                     size_t len, uint8_t out[static DHT_DESCRIPTOR_MAX]);

/* Parses and verifies a heap block of exact size, at MADE_NOW. */
enum drop made_judge(const struct made *m, const uint8_t *data, size_t len);
