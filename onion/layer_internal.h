/* onion/layer_internal.h - the implementations of onion/layer.h side by side, and the portable
 * primitives that they and their tests are made of. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "onion/layer.h"

enum {
    LAYER_BLOCK = 16,
    LAYER_ROUNDS = ONION_LAYER_ROUND_KEYS - 1,
    LAYER_STEP = 256,     /* a message is a multiple of it: sixteen blocks, one for each power */
    LAYER_SLICED = 8,     /* blocks that the bitsliced AES takes at a time */
    LAYER_EMPTY_TWEAK = 2 /* what the hash begins with: twice the tweak's bits, plus 2 */
};

/* n messages of len bytes, one behind another, in place. len: a multiple of LAYER_STEP, not zero;
 * it is MESH_CELL but in tests of the published vectors. */
typedef void onion__layer_fn(const struct onion_layer *l, uint8_t *data, size_t n, size_t len);

struct onion__layer_ops {
    onion__layer_fn *encipher, *decipher;
};
extern const struct onion__layer_ops onion__layer_portable;
#if defined(__x86_64__)
extern const struct onion__layer_ops onion__layer_aesni, onion__layer_vaes256, onion__layer_vaes512;
#endif

/* NULL when this machine can't run it. */
const struct onion__layer_ops *onion__layer_ops(enum onion_layer_impl impl);

/* What the processor and the kernel (which must save the registers) allow: bit i for
 * implementation i. Asks the processor anew: slow in a virtual machine. */
unsigned onion__layer_probe(void);

/* ---- AES-256, bitsliced --------------------------------------------------------------------- */

/* Round keys in the slices' form. Holds secrets. */
struct onion__aes {
    uint64_t round[ONION_LAYER_ROUND_KEYS][8];
};
void onion__aes_expand(uint8_t round[static ONION_LAYER_ROUND_KEYS][16],
                       const uint8_t key[static 32]);
void onion__aes_slice(struct onion__aes *out,
                      const uint8_t round[static ONION_LAYER_ROUND_KEYS][16]);
/* LAYER_SLICED blocks, in place. */
void onion__aes_encrypt(const struct onion__aes *k, uint8_t *blocks);
void onion__aes_decrypt(const struct onion__aes *k, uint8_t *blocks);

/* ---- POLYVAL (RFC 8452, section 3) ---------------------------------------------------------- */

/* Takes n blocks into acc, which begins as zero and ends as the hash. */
void onion__polyval(uint8_t acc[static 16], const uint8_t h[static 16], const uint8_t *blocks,
                    size_t n);

/* ---- XCTR (the HCTR2 paper, section 2.3) ---------------------------------------------------- */

/* XORs n blocks with AES(nonce ^ 1), AES(nonce ^ 2), ... */
void onion__xctr(const struct onion__aes *k, const uint8_t nonce[static 16], uint8_t *data,
                 size_t n);
