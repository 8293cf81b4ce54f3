/* HCTR2 on any machine, in constant time: AES of layer_aes.c, POLYVAL of layer_polyval.c. The
 * letters are those of the paper (section 2.4): M and U are the first block before and after. */
#include <sodium.h>
#include <string.h>

#include "onion/layer_internal.h"

static void xor_bytes(uint8_t *to, const uint8_t *with, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] ^= with[i];
}

void onion__xctr(const struct onion__aes *k, const uint8_t nonce[static 16], uint8_t *data,
                 size_t n)
{
    uint8_t stream[LAYER_SLICED * LAYER_BLOCK];
    for (size_t done = 0; done < n; done += LAYER_SLICED) {
        size_t now = n - done < LAYER_SLICED ? n - done : LAYER_SLICED;
        for (size_t b = 0; b < LAYER_SLICED; b++) {
            uint64_t counter = done + b + 1;
            memcpy(stream + LAYER_BLOCK * b, nonce, LAYER_BLOCK);
            for (int i = 0; i < 8; i++)
                stream[LAYER_BLOCK * b + (size_t)i] ^= (uint8_t)(counter >> 8 * i);
        }
        onion__aes_encrypt(k, stream);
        xor_bytes(data + LAYER_BLOCK * done, stream, LAYER_BLOCK * now);
    }
    sodium_memzero(stream, sizeof stream);
}

/* XORs the hash of all but the first block into `block`. */
static void add_hash(const struct onion_layer *l, uint8_t block[static 16], const uint8_t *data,
                     size_t len)
{
    const uint8_t *h = l->power[ONION_LAYER_POWERS - 1];
    static const uint8_t tweak[LAYER_BLOCK] = { LAYER_EMPTY_TWEAK };
    uint8_t acc[LAYER_BLOCK] = { 0 };
    onion__polyval(acc, h, tweak, 1);
    onion__polyval(acc, h, data + LAYER_BLOCK, len / LAYER_BLOCK - 1);
    xor_bytes(block, acc, sizeof acc);
}

typedef void aes_fn(const struct onion__aes *k, uint8_t *blocks);

/* Both directions are the same but for the block cipher on the first block. */
static void run_one(const struct onion_layer *l, const struct onion__aes *k, uint8_t *data,
                    size_t len, aes_fn *aes)
{
    uint8_t first[LAYER_SLICED * LAYER_BLOCK] = { 0 }, nonce[LAYER_BLOCK];
    memcpy(first, data, LAYER_BLOCK);
    add_hash(l, first, data, len);
    memcpy(nonce, first, LAYER_BLOCK); /* S = MM ^ UU ^ L */
    aes(k, first);
    xor_bytes(nonce, first, LAYER_BLOCK);
    xor_bytes(nonce, l->mask, LAYER_BLOCK);
    onion__xctr(k, nonce, data + LAYER_BLOCK, len / LAYER_BLOCK - 1);
    add_hash(l, first, data, len);
    memcpy(data, first, LAYER_BLOCK);
    sodium_memzero(nonce, sizeof nonce);
}

static void run(const struct onion_layer *l, uint8_t *data, size_t n, size_t len, aes_fn *aes)
{
    struct onion__aes k;
    onion__aes_slice(&k, l->round);
    for (size_t i = 0; i < n; i++)
        run_one(l, &k, data + i * len, len, aes);
    sodium_memzero(&k, sizeof k);
}

static void encipher(const struct onion_layer *l, uint8_t *data, size_t n, size_t len)
{
    run(l, data, n, len, onion__aes_encrypt);
}

static void decipher(const struct onion_layer *l, uint8_t *data, size_t n, size_t len)
{
    run(l, data, n, len, onion__aes_decrypt);
}

const struct onion__layer_ops onion__layer_portable = { encipher, decipher };
