/* onion/layer_wide.h - HCTR2 on vector registers: the one body of layer_aesni.c, layer_vaes256.c
 * and layer_vaes512.c, which include it once each, behind their own:
 *   LANES, VECS      blocks in a register; registers under way at a time
 *   WIDE             attributes of every function: inlined, for this processor
 *   vec, vec_*       the type and its operations
 * All loops over VECS are unrolled by the compiler; what is in arrays of vec lives in registers.
 *
 * A message is taken in steps of STEP bytes. The hash of a step sums the products of its blocks
 * with as many powers of the key, then reduces once. Block 0 counts as the empty tweak's block in
 * the hash; its key stream (counter 0) isn't used, since the first block is written at the end. */
#pragma once
#include <immintrin.h>

#include "onion/layer_internal.h"

enum { STEP_BLOCKS = LANES * VECS, STEP = LAYER_BLOCK * STEP_BLOCKS };
_Static_assert(LAYER_STEP % STEP == 0, "whole steps");
_Static_assert((STEP_BLOCKS & (STEP_BLOCKS - 1)) == 0, "counters without carry");
_Static_assert((int)ONION_LAYER_POWERS >= (int)STEP_BLOCKS, "a power for each block of a step");

/* ---- hash -------------------------------------------------------------------------------------
 */

/* POLYVAL of what went into acc, then the blocks of x. The words of a product are lo (0, 1), mid
 * (1, 2) and hi (2, 3). The field's polynomial is 1 in its lowest word: to clear a word one adds
 * that word times the rest of the polynomial to the two above it. */
WIDE __m128i wide_hash(const struct onion_layer *l, __m128i acc, const vec x[static VECS])
{
    const uint8_t *power = l->power[ONION_LAYER_POWERS - STEP_BLOCKS];
    const vec rest = vec_words((long long)UINT64_C(0xc200000000000000));
    vec h = vec_load(power), a = vec_xor(x[0], vec_first(acc));
    vec lo = vec_clmul(a, h, 0x00), hi = vec_clmul(a, h, 0x11);
    vec mid = vec_xor(vec_clmul(a, h, 0x01), vec_clmul(a, h, 0x10));
    for (int i = 1; i < VECS; i++) {
        h = vec_load(power + LAYER_BLOCK * LANES * i);
        lo = vec_xor(lo, vec_clmul(x[i], h, 0x00));
        hi = vec_xor(hi, vec_clmul(x[i], h, 0x11));
        mid = vec_xor3(mid, vec_clmul(x[i], h, 0x01), vec_clmul(x[i], h, 0x10));
    }
    mid = vec_xor3(mid, vec_swap(lo), vec_clmul(lo, rest, 0x00));
    hi = vec_xor3(hi, vec_swap(mid), vec_clmul(mid, rest, 0x00));
    return vec_sum(hi);
}

WIDE void wide_load(vec x[static VECS], const uint8_t *p)
{
    for (int i = 0; i < VECS; i++)
        x[i] = vec_load(p + LAYER_BLOCK * LANES * i);
}

/* In place of the message's first block. */
WIDE vec wide_with_tweak(vec x)
{
    return vec_with_first(x, _mm_cvtsi32_si128(LAYER_EMPTY_TWEAK));
}

/* Takes the steps from..to of a message into acc. */
WIDE __m128i wide_hash_steps(const struct onion_layer *l, __m128i acc, const uint8_t *data,
                             size_t from, size_t to)
{
    for (size_t step = from; step < to; step++) {
        vec x[VECS];
        wide_load(x, data + STEP * step);
        if (step == 0)
            x[0] = wide_with_tweak(x[0]);
        acc = wide_hash(l, acc, x);
    }
    return acc;
}

/* ---- block cipher -----------------------------------------------------------------------------
 */

WIDE __m128i wide_block(const uint8_t p[static 16])
{
    return _mm_loadu_si128((const __m128i *)p);
}

WIDE __m128i wide_encrypt(const struct onion_layer *l, __m128i x)
{
    x = _mm_xor_si128(x, wide_block(l->round[0]));
    for (int r = 1; r < LAYER_ROUNDS; r++)
        x = _mm_aesenc_si128(x, wide_block(l->round[r]));
    return _mm_aesenclast_si128(x, wide_block(l->round[LAYER_ROUNDS]));
}

/* The inverse round keys don't wait for x: they are ready when the hash is. */
WIDE __m128i wide_decrypt(const struct onion_layer *l, __m128i x)
{
    x = _mm_xor_si128(x, wide_block(l->round[LAYER_ROUNDS]));
    for (int r = LAYER_ROUNDS - 1; r > 0; r--)
        x = _mm_aesdec_si128(x, _mm_aesimc_si128(wide_block(l->round[r])));
    return _mm_aesdeclast_si128(x, wide_block(l->round[0]));
}

/* AES of nonce ^ counter for the blocks of a step; a block's counter is its number in the message.
 * STEP_BLOCKS is a power of two, so the parts of the counter add without carry: by XOR, like all
 * else here. */
WIDE void wide_key_stream(const struct onion_layer *l, vec s[static VECS], __m128i nonce,
                          size_t step)
{
    vec key = vec_xor(vec_lanes(nonce), vec_block(l->round[0]));
    key = vec_xor(key, vec_words((long long)(STEP_BLOCKS * step)));
    for (int i = 0; i < VECS; i++)
        s[i] = vec_xor(key, vec_counters(LANES * i));
    for (int r = 1; r < LAYER_ROUNDS; r++) {
        key = vec_block(l->round[r]);
        for (int i = 0; i < VECS; i++)
            s[i] = vec_aes(s[i], key);
    }
    key = vec_block(l->round[LAYER_ROUNDS]);
    for (int i = 0; i < VECS; i++)
        s[i] = vec_aes_last(s[i], key);
}

/* One step of XCTR in place, and the hash of what comes out. */
WIDE __m128i wide_xctr(const struct onion_layer *l, __m128i acc, uint8_t *data, __m128i nonce,
                       size_t step)
{
    vec x[VECS];
    uint8_t *p = data + STEP * step;
    wide_key_stream(l, x, nonce, step);
    for (int i = 0; i < VECS; i++) {
        x[i] = vec_xor(x[i], vec_load(p + LAYER_BLOCK * LANES * i));
        vec_store(p + LAYER_BLOCK * LANES * i, x[i]);
    }
    if (step == 0)
        x[0] = wide_with_tweak(x[0]);
    return wide_hash(l, acc, x);
}

/* ---- whole ------------------------------------------------------------------------------------
 */

enum wide_direction { WIDE_ENCIPHER, WIDE_DECIPHER };

/* A message's first block, its hash taken in: MM and UU on the way out, UU and MM on the way back.
 */
struct wide_first {
    __m128i before, after;
};

WIDE struct wide_first wide_begin(const struct onion_layer *l, const uint8_t *data, __m128i hash,
                                  enum wide_direction direction)
{
    struct wide_first f;
    f.before = _mm_xor_si128(wide_block(data), hash);
    f.after = direction == WIDE_ENCIPHER ? wide_encrypt(l, f.before) : wide_decrypt(l, f.before);
    return f;
}

/* One message, whose beginning is made, and the beginning of the next (NULL: there is none): AES
 * and carry-less products run on different units, and the next one's hash, two steps for each of
 * this one's, leaves its single block the time that the last steps take. */
WIDE struct wide_first wide_one(const struct onion_layer *l, struct wide_first f, uint8_t *data,
                                const uint8_t *next, size_t steps, enum wide_direction direction)
{
    __m128i nonce = _mm_xor_si128(_mm_xor_si128(f.before, f.after), wide_block(l->mask));
    __m128i acc = _mm_setzero_si128(), acc_next = acc;
    struct wide_first f_next = f;
    size_t hashed = next == NULL ? steps : 0;
    for (size_t step = 0; step < steps; step++) {
        if (hashed < steps) {
            size_t to = hashed + 2 < steps ? hashed + 2 : steps;
            acc_next = wide_hash_steps(l, acc_next, next, hashed, to);
            hashed = to;
            if (hashed == steps)
                f_next = wide_begin(l, next, acc_next, direction);
        }
        acc = wide_xctr(l, acc, data, nonce, step);
    }
    _mm_storeu_si128((__m128i *)data, _mm_xor_si128(f.after, acc));
    return f_next;
}

WIDE void wide_run(const struct onion_layer *l, uint8_t *data, size_t n, size_t len,
                   enum wide_direction direction)
{
    size_t steps = len / STEP;
    if (n == 0)
        return;
    __m128i acc = wide_hash_steps(l, _mm_setzero_si128(), data, 0, steps);
    struct wide_first f = wide_begin(l, data, acc, direction);
    for (size_t i = 0; i < n; i++, data += len)
        f = wide_one(l, f, data, i + 1 < n ? data + len : NULL, steps, direction);
}
