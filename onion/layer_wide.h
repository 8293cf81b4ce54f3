/* onion/layer_wide.h - HCTR2 on vector registers: the one body of layer_aesni.c, layer_vaes256.c
 * and layer_vaes512.c, which include it once each, behind their own:
 *   LANES, VECS    blocks in a register; registers of blocks under way at a time
 *   FOR_CPU, WIDE  attributes of a function for this processor; the same and always inlined
 *   vec, vec_*     the type and its operations
 *
 * A message is taken in steps of STEP bytes. AES and carry-less multiplication run on different
 * units of the processor, so hashes are taken between the rounds of the key stream: that of the
 * step before, and that of the next message. The hash of a step sums the products of its blocks
 * with as many powers of the key, then reduces once. Without the unrolling the registers would
 * become memory: it is half of the speed. */
#pragma once
#include <immintrin.h>

#include "onion/layer_internal.h"

#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__OPTIMIZE__)
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

enum { STEP_BLOCKS = LANES * VECS, STEP = LAYER_BLOCK * STEP_BLOCKS };
_Static_assert(LAYER_STEP % STEP == 0, "whole steps");
_Static_assert((STEP_BLOCKS & (STEP_BLOCKS - 1)) == 0, "counters without carry");
_Static_assert((int)ONION_LAYER_POWERS >= (int)STEP_BLOCKS, "a power for each block of a step");

WIDE __m128i wide_block(const uint8_t p[static 16])
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* ---- hash ----------------------------------------------------------------------------------- */

/* The hash of a message, step by step. */
struct wide_hash {
    const uint8_t *data; /* the step that is next */
    __m128i acc;
};

/* A message's first block isn't hashed, the empty tweak's block is in its place: x + (x + t) is t.
 * Must be called again when the first block has changed. */
WIDE struct wide_hash wide_hash_on(const uint8_t *data)
{
    const __m128i tweak = _mm_cvtsi32_si128(LAYER_EMPTY_TWEAK);
    return (struct wide_hash){ data, _mm_xor_si128(wide_block(data), tweak) };
}

/* Products of a step, added up. Their words: lo is 0 and 1, mid 1 and 2, hi 2 and 3. */
struct wide_sum {
    vec lo, mid, hi;
};

/* Adds the product of VECS that is number i. The one that acc belongs to, the first of the step,
 * comes last: only it must wait for the step before. */
WIDE void wide_product(const struct onion_layer *l, struct wide_sum *s,
                       const struct wide_hash *hash, int i)
{
    i = (i + 1) % VECS;
    vec h = vec_load(l->power[ONION_LAYER_POWERS - STEP_BLOCKS + LANES * i]);
    vec x = vec_load(hash->data + LAYER_BLOCK * LANES * i);
    if (i == 0)
        x = vec_xor(x, vec_first(hash->acc));
    s->lo = vec_xor(s->lo, vec_clmul(x, h, 0x00));
    s->hi = vec_xor(s->hi, vec_clmul(x, h, 0x11));
    s->mid = vec_xor3(s->mid, vec_clmul(x, h, 0x01), vec_clmul(x, h, 0x10));
}

/* Ends a step. The field's polynomial is 1 in its lowest word: to clear a word one adds that word
 * times the rest of the polynomial to the two words above it. */
WIDE void wide_reduce(struct wide_hash *hash, const struct wide_sum *s)
{
    const vec rest = vec_words((long long)UINT64_C(0xc200000000000000));
    vec mid = vec_xor3(s->mid, vec_swap(s->lo), vec_clmul(s->lo, rest, 0x00));
    vec hi = vec_xor3(s->hi, vec_swap(mid), vec_clmul(mid, rest, 0x00));
    hash->acc = vec_sum(hi);
    hash->data += STEP;
}

WIDE struct wide_sum wide_zero(void)
{
    const vec zero = vec_words(0);
    return (struct wide_sum){ zero, zero, zero };
}

WIDE void wide_hash_step(const struct onion_layer *l, struct wide_hash *hash)
{
    struct wide_sum s = wide_zero();
    UNROLLED
    for (int i = 0; i < VECS; i++)
        wide_product(l, &s, hash, i);
    wide_reduce(hash, &s);
}

/* ---- block cipher --------------------------------------------------------------------------- */

WIDE __m128i wide_encrypt(const struct onion_layer *l, __m128i x)
{
    x = _mm_xor_si128(x, wide_block(l->round[0]));
    UNROLLED
    for (int r = 1; r < LAYER_ROUNDS; r++)
        x = _mm_aesenc_si128(x, wide_block(l->round[r]));
    return _mm_aesenclast_si128(x, wide_block(l->round[LAYER_ROUNDS]));
}

/* The inverse round keys don't wait for x: they are ready when the hash is. */
WIDE __m128i wide_decrypt(const struct onion_layer *l, __m128i x)
{
    x = _mm_xor_si128(x, wide_block(l->round[LAYER_ROUNDS]));
    UNROLLED
    for (int r = LAYER_ROUNDS - 1; r > 0; r--)
        x = _mm_aesdec_si128(x, _mm_aesimc_si128(wide_block(l->round[r])));
    return _mm_aesdeclast_si128(x, wide_block(l->round[0]));
}

/* ---- key stream ----------------------------------------------------------------------------- */

/* What goes into AES: nonce ^ counter, and the first round key. A block's counter is its number in
 * the message; its parts add without carry, so they are XORed like all else. */
WIDE void wide_counters(const struct onion_layer *l, vec s[static VECS], __m128i nonce, size_t step)
{
    vec base = vec_xor3(vec_lanes(nonce), vec_block(l->round[0]),
                        vec_words(STEP_BLOCKS * (long long)step));
    UNROLLED
    for (int i = 0; i < VECS; i++)
        s[i] = vec_xor(base, vec_counters(LANES * i));
}

WIDE void wide_round(const struct onion_layer *l, vec s[static VECS], int r)
{
    vec key = vec_block(l->round[r]);
    UNROLLED
    for (int i = 0; i < VECS; i++)
        s[i] = vec_aes(s[i], key);
}

/* The last round; the stream goes into the data at p. */
WIDE void wide_last_round(const struct onion_layer *l, const vec s[static VECS], uint8_t *p)
{
    vec key = vec_block(l->round[LAYER_ROUNDS]);
    UNROLLED
    for (int i = 0; i < VECS; i++) {
        uint8_t *at = p + LAYER_BLOCK * LANES * i;
        vec_store(at, vec_xor(vec_aes_last(s[i], key), vec_load(at)));
    }
}

/* A step of XCTR in place; beside it `n` hashes go one step forward: products are spread evenly
 * over the rounds. In step 0 the first block gets the stream of counter 0, which is no part of
 * HCTR2: wide_one overwrites it. */
WIDE void wide_xctr(const struct onion_layer *l, uint8_t *data, __m128i nonce, size_t step,
                    struct wide_hash *hashes, int n)
{
    vec s[VECS];
    struct wide_sum sums[2] = { wide_zero(), wide_zero() };
    wide_counters(l, s, nonce, step);
    UNROLLED
    for (int i = 0; i < VECS; i++) {
        UNROLLED
        for (int r = (LAYER_ROUNDS - 1) * i / VECS; r < (LAYER_ROUNDS - 1) * (i + 1) / VECS; r++)
            wide_round(l, s, r + 1);
        UNROLLED
        for (int j = 0; j < n; j++)
            wide_product(l, &sums[j], &hashes[j], i);
    }
    wide_last_round(l, s, data + STEP * step);
    UNROLLED
    for (int j = 0; j < n; j++)
        wide_reduce(&hashes[j], &sums[j]);
}

/* Not inlined: both directions share them. */
__attribute__((noinline)) FOR_CPU static void wide_xctr_0(const struct onion_layer *l,
                                                          uint8_t *data, __m128i nonce, size_t step)
{
    wide_xctr(l, data, nonce, step, NULL, 0);
}

__attribute__((noinline)) FOR_CPU static void wide_xctr_1(const struct onion_layer *l,
                                                          uint8_t *data, __m128i nonce, size_t step,
                                                          struct wide_hash *hash)
{
    wide_xctr(l, data, nonce, step, hash, 1);
}

__attribute__((noinline)) FOR_CPU static void wide_xctr_2(const struct onion_layer *l,
                                                          uint8_t *data, __m128i nonce, size_t step,
                                                          struct wide_hash hashes[static 2])
{
    wide_xctr(l, data, nonce, step, hashes, 2);
}

/* ---- whole ---------------------------------------------------------------------------------- */

enum wide_direction { WIDE_ENCIPHER, WIDE_DECIPHER };

/* A message's first block with the hash of the rest added: MM and UU on the way out, UU and MM on
 * the way back. Both directions are the same but for this one block. */
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

/* Ends a message that began as f, and begins `next` (NULL: there is none, and nothing of use is
 * returned). */
WIDE struct wide_first wide_one(const struct onion_layer *l, struct wide_first f, uint8_t *data,
                                const uint8_t *next, size_t steps, enum wide_direction direction)
{
    enum { OWN, NEXT };
    const __m128i nonce =
        _mm_xor_si128(_mm_xor_si128(f.before, f.after), wide_block(l->mask)); /* S */
    struct wide_hash hashes[2];
    hashes[NEXT] = wide_hash_on(next != NULL ? next : data);
    if (next != NULL)
        wide_xctr_1(l, data, nonce, 0, &hashes[NEXT]);
    else
        wide_xctr_0(l, data, nonce, 0);
    hashes[OWN] = wide_hash_on(data);
    for (size_t step = 1; step < steps; step++) {
        if (next != NULL)
            wide_xctr_2(l, data, nonce, step, hashes);
        else
            wide_xctr_1(l, data, nonce, step, &hashes[OWN]);
    }
    wide_hash_step(l, &hashes[OWN]);
    _mm_storeu_si128((__m128i *)data, _mm_xor_si128(f.after, hashes[OWN].acc));
    return next != NULL ? wide_begin(l, next, hashes[NEXT].acc, direction) : f;
}

WIDE void wide_run(const struct onion_layer *l, uint8_t *data, size_t n, size_t len,
                   enum wide_direction direction)
{
    size_t steps = len / STEP;
    if (n == 0)
        return;
    struct wide_hash hash = wide_hash_on(data);
    for (size_t step = 0; step < steps; step++)
        wide_hash_step(l, &hash);
    struct wide_first f = wide_begin(l, data, hash.acc, direction);
    for (size_t i = 0; i < n; i++, data += len)
        f = wide_one(l, f, data, i + 1 < n ? data + len : NULL, steps, direction);
}
