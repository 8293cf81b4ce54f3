#include "hctr2_general.h"

#include <criterion/criterion.h>
#include <string.h>

#include "onion/layer_internal.h"

static struct onion__aes expanded(const uint8_t key[static 32])
{
    uint8_t round[ONION_LAYER_ROUND_KEYS][16];
    struct onion__aes k;
    onion__aes_expand(round, key);
    onion__aes_slice(&k, round);
    return k;
}

static void one_block(const struct onion__aes *k, uint8_t block[static 16], bool decipher)
{
    uint8_t all[LAYER_SLICED * LAYER_BLOCK] = { 0 };
    memcpy(all, block, LAYER_BLOCK);
    if (decipher)
        onion__aes_decrypt(k, all);
    else
        onion__aes_encrypt(k, all);
    memcpy(block, all, LAYER_BLOCK);
}

void general_polyval(uint8_t out[static 16], const uint8_t h[static 16], const uint8_t *data,
                     size_t len)
{
    memset(out, 0, 16);
    onion__polyval(out, h, data, len / LAYER_BLOCK);
}

static void xctr(const struct onion__aes *k, const uint8_t nonce[static 16], uint8_t *data,
                 size_t len)
{
    uint8_t whole[GENERAL_MAX + LAYER_BLOCK] = { 0 };
    cr_assert_leq(len, GENERAL_MAX);
    if (len == 0)
        return;
    memcpy(whole, data, len);
    onion__xctr(k, nonce, whole, (len + LAYER_BLOCK - 1) / LAYER_BLOCK);
    memcpy(data, whole, len);
}

void general_xctr(const uint8_t key[static 32], const uint8_t nonce[static 16], uint8_t *data,
                  size_t len)
{
    struct onion__aes k = expanded(key);
    xctr(&k, nonce, data, len);
}

struct tweak {
    const uint8_t *p;
    size_t len;
};

/* Length block, tweak, message; a message that is no whole number of blocks gets a 1 behind it. */
static void add_hash(uint8_t block[static 16], const uint8_t h[static 16], struct tweak tweak,
                     const uint8_t *rest, size_t len)
{
    uint8_t in[GENERAL_MAX + GENERAL_TWEAK_MAX + 4 * LAYER_BLOCK] = { 0 }, acc[16];
    size_t n = LAYER_BLOCK, head = 16 * tweak.len + (len % LAYER_BLOCK == 0 ? 2 : 3);
    in[0] = (uint8_t)head;
    in[1] = (uint8_t)(head >> 8);
    if (tweak.len > 0)
        memcpy(in + n, tweak.p, tweak.len);
    n += (tweak.len + 15) / 16 * 16;
    memcpy(in + n, rest, len);
    if (len % LAYER_BLOCK != 0)
        in[n + len] = 1;
    n += (len + 15) / 16 * 16;
    general_polyval(acc, h, in, n);
    for (int i = 0; i < LAYER_BLOCK; i++)
        block[i] ^= acc[i];
}

void general_hctr2(const uint8_t key[static 32], const uint8_t *tweak, size_t tweak_len,
                   uint8_t *data, size_t len, bool decipher)
{
    const struct onion__aes k = expanded(key);
    const struct tweak t = { tweak, tweak_len };
    uint8_t h[16] = { 0 }, mask[16] = { 1 }, nonce[16];
    cr_assert(len >= 16 && len <= GENERAL_MAX && tweak_len <= GENERAL_TWEAK_MAX);
    one_block(&k, h, false);
    one_block(&k, mask, false);
    add_hash(data, h, t, data + 16, len - 16);
    memcpy(nonce, data, 16);
    one_block(&k, data, decipher);
    for (int i = 0; i < 16; i++)
        nonce[i] ^= data[i] ^ mask[i];
    xctr(&k, nonce, data + 16, len - 16);
    add_hash(data, h, t, data + 16, len - 16);
}
