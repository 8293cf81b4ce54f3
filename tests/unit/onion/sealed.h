/* tests/unit/onion/sealed.h - a hidden endpoint with a delegation, and descriptors of it: right
 * ones, and such as only a service that obeys no rule would seal. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "onion/descriptor_internal.h"
#include "tests/unit/onion/dice.h"

enum { SEALED_NOW = 1700000000, SEALED_CLIENTS = 65 };

struct sealed {
    struct mesh_network net; /* a lab */
    struct dice dice;
    uint8_t address[32];
    struct onion_delegation delegation; /* of the period of SEALED_NOW */
    uint8_t proof[MESH_POW_PROOF];
    struct onion_inner inner; /* three pivots, four ports, a proof */
    uint8_t secrets[SEALED_CLIENTS][32], clients[SEALED_CLIENTS][32];
};

struct sealed sealed_start(void);
/* How it is sealed for all, and read by one without a client's key; borrows from `s`. */
struct onion_seal sealed_seal(const struct sealed *s);
struct onion_reading sealed_reading(const struct sealed *s);
/* Seals it, for the first `n_clients` of them or (negative) for all. Returns its length. */
size_t sealed_make(struct sealed *s, int n_clients, uint8_t out[static DHT_DESCRIPTOR_MAX]);
/* Opens a heap copy of exact size at SEALED_NOW; checks that *out is left alone on a refusal. */
enum drop sealed_open(const struct sealed *s, const struct onion_reading *how, const uint8_t *data,
                      size_t len, struct onion_descriptor *out);
/* Seals any inner plaintext, filled up with zeros to `size` - 300 bytes. */
size_t sealed_plain(struct sealed *s, const uint8_t *plain, size_t len, size_t size,
                    uint8_t out[static DHT_DESCRIPTOR_MAX]);
/* The same for all, with any map inside. */
size_t sealed_map(struct sealed *s, const uint8_t *map, size_t len,
                  uint8_t out[static DHT_DESCRIPTOR_MAX]);
void sealed_d_key(const struct sealed *s, uint8_t sk[static 64]);
/* The plaintext that a record holds. */
void sealed_plain_of(const struct sealed *s, const uint8_t *data, size_t len, uint8_t *out);
/* Seals any inner plaintext for clients, and opens that as the first of them. */
enum drop sealed_open_plain(struct sealed *s, const uint8_t *plain, size_t len);
