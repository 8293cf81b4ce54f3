/* onion/layer.h - the layer cipher: HCTR2 with AES-256 (Crowley, Huckleberry, Biggers,
 * "Length-preserving encryption with HCTR2", 2021), empty tweak, over a whole cell of 1280 bytes. A
 * wide-block permutation: one changed bit anywhere makes the whole cell noise, so a mark set at one
 * relay is gone at the next. Constant time in every implementation. Pure. Spec: protocol.md,
 * sections 1 and 9. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/frame.h"

enum { ONION_LAYER_ROUND_KEYS = 15, ONION_LAYER_POWERS = 16 };

/* An expanded key; its fields are the implementations' own. Two of them are most of what an idle
 * path costs a relay, and each cell has to bring one into the cache: hence no inverse round keys,
 * which cost little to derive. */
struct onion_layer {
    _Alignas(16) uint8_t round[ONION_LAYER_ROUND_KEYS][16];
    uint8_t mask[16];                      /* HCTR2's L */
    uint8_t power[ONION_LAYER_POWERS][16]; /* of the hash key h: h^16 first, h last */
};

/* Which code runs, best first. All give the same bytes. */
enum onion_layer_impl {
    ONION_LAYER_VAES512,  /* VAES and VPCLMULQDQ on 512-bit registers (AVX-512) */
    ONION_LAYER_VAES256,  /* the same on 256-bit ones (AVX2) */
    ONION_LAYER_AESNI,    /* AES-NI and PCLMULQDQ */
    ONION_LAYER_PORTABLE, /* bitsliced: no secret-dependent address or branch */
    ONION_LAYER_IMPLS,
};

/* The best one that this machine has; found once. Any thread. */
enum onion_layer_impl onion_layer_best(void);
bool onion_layer_has(enum onion_layer_impl impl);
const char *onion_layer_name(enum onion_layer_impl impl); /* "vaes-512", ..., "portable" */

/* Expands a key. Independent of the implementation: any of them may use it. */
void onion_layer_init(struct onion_layer *l, const uint8_t key[static 32]);
void onion_layer_wipe(struct onion_layer *l);

/* In place, at any alignment. Decipher undoes encipher. */
void onion_layer_encipher(const struct onion_layer *l, uint8_t cell[static MESH_CELL]);
void onion_layer_decipher(const struct onion_layer *l, uint8_t cell[static MESH_CELL]);
/* n cells, one behind another; faster than one by one, since a cell's hash is taken while the one
 * before it is enciphered. */
void onion_layer_encipher_many(const struct onion_layer *l, uint8_t *cells, size_t n);
void onion_layer_decipher_many(const struct onion_layer *l, uint8_t *cells, size_t n);
