/* AES-256 on eight blocks at a time without tables: bit p of every byte of the blocks is gathered
 * in plane p, and the S-box becomes a circuit of ANDs and XORs over planes. Nothing depends on a
 * secret but the values themselves.
 *
 * A plane is two words of 64 bits, four blocks in each. The bit of row r, column c, block b is at
 * 16 r + 4 c + b: a row is 16 bits, so MixColumns rotates words, and ShiftRows rotates within rows.
 * Spec: FIPS 197. */
#include <sodium.h>
#include <string.h>

#include "onion/layer_internal.h"

typedef uint64_t lanes __attribute__((vector_size(16)));

enum { HALVES = 2, BLOCKS_HALF = 4, WORDS = 4 * ONION_LAYER_ROUND_KEYS };

static inline lanes both(uint64_t x)
{
    return (lanes){ x, x };
}

static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store_le32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

/* ---- bytes to planes and back --------------------------------------------------------------- */

/* A column's four bytes on every other byte of a word, and back. */
static uint64_t spread(uint32_t column)
{
    uint64_t x = column;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    return (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
}

static uint32_t gather(uint64_t x)
{
    x &= UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

static inline void swap_bits(lanes *a, lanes *b, uint64_t mask, int n)
{
    lanes t = (*a >> n ^ *b) & both(mask);
    *b ^= t;
    *a ^= t << n;
}

/* Bit p of each byte of word k becomes bit k of that byte of word p. Undoes itself. */
static inline void transpose(lanes q[static 8])
{
    for (int k = 0; k < 8; k += 2)
        swap_bits(&q[k], &q[k + 1], UINT64_C(0x5555555555555555), 1);
    for (int k = 0; k < 8; k++)
        if ((k & 2) == 0)
            swap_bits(&q[k], &q[k + 2], UINT64_C(0x3333333333333333), 2);
    for (int k = 0; k < 4; k++)
        swap_bits(&q[k], &q[k + 4], UINT64_C(0x0f0f0f0f0f0f0f0f), 4);
}

/* Columns 0 and 2 of block b share word b, columns 1 and 3 word 4 + b. */
static void to_planes(lanes q[static 8], const uint8_t *blocks)
{
    for (int half = 0; half < HALVES; half++) {
        for (int b = 0; b < BLOCKS_HALF; b++) {
            const uint8_t *p = blocks + LAYER_BLOCK * (BLOCKS_HALF * half + b);
            q[b][half] = spread(load_le32(p)) | spread(load_le32(p + 8)) << 8;
            q[b + 4][half] = spread(load_le32(p + 4)) | spread(load_le32(p + 12)) << 8;
        }
    }
    transpose(q);
}

static void from_planes(uint8_t *blocks, lanes q[static 8])
{
    transpose(q);
    for (int half = 0; half < HALVES; half++) {
        for (int b = 0; b < BLOCKS_HALF; b++) {
            uint8_t *p = blocks + LAYER_BLOCK * (BLOCKS_HALF * half + b);
            store_le32(p, gather(q[b][half]));
            store_le32(p + 4, gather(q[b + 4][half]));
            store_le32(p + 8, gather(q[b][half] >> 8));
            store_le32(p + 12, gather(q[b + 4][half] >> 8));
        }
    }
}

/* ---- the steps of a round ------------------------------------------------------------------- */

/* The circuit of Boyar and Peralta ("A depth-16 circuit for the AES S-box", 2011) with their names
 * and in their order, which is what one compares it by: hence not cut into parts. Bit 0 is the most
 * significant one. */
static inline void sub_bytes(lanes q[static 8])
{
    const lanes x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4], x4 = q[3], x5 = q[2], x6 = q[1],
                x7 = q[0];

    /* top: linear */
    const lanes y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2;
    const lanes y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6;
    const lanes y3 = y5 ^ y8, t1 = x4 ^ y12, y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7;
    const lanes y10 = y15 ^ t0, y11 = y20 ^ y9, y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8;
    const lanes y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

    /* middle: the inverse in GF(2^8) by way of GF(2^4) */
    const lanes t2 = y12 & y15, t3 = y3 & y6, t4 = t3 ^ t2, t5 = y4 & x7, t6 = t5 ^ t2;
    const lanes t7 = y13 & y16, t8 = y5 & y1, t9 = t8 ^ t7, t10 = y2 & y7, t11 = t10 ^ t7;
    const lanes t12 = y9 & y11, t13 = y14 & y17, t14 = t13 ^ t12, t15 = y8 & y10, t16 = t15 ^ t12;
    const lanes t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16, t21 = t17 ^ y20;
    const lanes t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18, t25 = t21 ^ t22, t26 = t21 & t23;
    const lanes t27 = t24 ^ t26, t28 = t25 & t27, t29 = t28 ^ t22, t30 = t23 ^ t24, t31 = t22 ^ t26;
    const lanes t32 = t31 & t30, t33 = t32 ^ t24, t34 = t23 ^ t33, t35 = t27 ^ t33, t36 = t24 & t35;
    const lanes t37 = t36 ^ t34, t38 = t27 ^ t36, t39 = t29 & t38, t40 = t25 ^ t39, t41 = t40 ^ t37;
    const lanes t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37, t45 = t42 ^ t41;
    const lanes z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1;
    const lanes z5 = t29 & y7, z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12;
    const lanes z10 = t37 & y3, z11 = t33 & y4, z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2;
    const lanes z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

    /* bottom: linear */
    const lanes t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12;
    const lanes t51 = z2 ^ z5, t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17;
    const lanes t56 = z12 ^ t48, t57 = t50 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ t54, t60 = t46 ^ t57;
    const lanes t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58, t64 = z4 ^ t59, t65 = t61 ^ t62;
    const lanes t66 = z1 ^ t63, t67 = t64 ^ t65, s3 = t53 ^ t66;
    q[7] = t59 ^ t63;
    q[6] = t64 ^ ~s3;
    q[5] = t55 ^ ~t67;
    q[4] = s3;
    q[3] = t51 ^ t66;
    q[2] = t47 ^ t65;
    q[1] = t56 ^ ~t62;
    q[0] = t48 ^ ~t60;
}

/* The inverse of the S-box's affine map. */
static inline void undo_affine(lanes q[static 8])
{
    lanes x[8];
    memcpy(x, q, sizeof x);
    for (int i = 0; i < 8; i++)
        q[i] = x[(i + 2) % 8] ^ x[(i + 5) % 8] ^ x[(i + 7) % 8];
    q[0] = ~q[0];
    q[2] = ~q[2];
}

/* S = A o I, where I, the inverse in the field, undoes itself: so S^-1 = A^-1 o S o A^-1. */
static inline void inv_sub_bytes(lanes q[static 8])
{
    undo_affine(q);
    sub_bytes(q);
    undo_affine(q);
}

/* Row r, 16 bits, goes round by n columns towards column 0. */
static inline lanes turn_row(lanes x, int r, int n)
{
    uint64_t row = UINT64_C(0xffff) << 16 * r, stay = (UINT64_C(0xffff) >> 4 * n) << 16 * r;
    return (x >> 4 * n & both(stay)) | (x << (16 - 4 * n) & both(row ^ stay));
}

static inline void shift_rows(lanes q[static 8])
{
    for (int i = 0; i < 8; i++)
        q[i] = (q[i] & both(0xffff)) | turn_row(q[i], 1, 1) | turn_row(q[i], 2, 2) |
               turn_row(q[i], 3, 3);
}

static inline void inv_shift_rows(lanes q[static 8])
{
    for (int i = 0; i < 8; i++)
        q[i] = (q[i] & both(0xffff)) | turn_row(q[i], 1, 3) | turn_row(q[i], 2, 2) |
               turn_row(q[i], 3, 1);
}

/* Each row takes the place of the one n before it. */
static inline lanes turn_column(lanes x, int n)
{
    return x >> 16 * n | x << (64 - 16 * n);
}

/* Every byte times x. */
static inline void xtime(lanes out[static 8], const lanes in[static 8])
{
    lanes top = in[7];
    for (int i = 7; i > 0; i--)
        out[i] = in[i - 1];
    out[0] = top;
    out[1] ^= top;
    out[3] ^= top;
    out[4] ^= top;
}

/* a_r becomes 2 (a_r + a_r+1) + a_r+1 + (a_r+2 + a_r+3). */
static inline void mix_columns(lanes q[static 8])
{
    lanes pair[8], twice[8];
    for (int i = 0; i < 8; i++)
        pair[i] = q[i] ^ turn_column(q[i], 1);
    xtime(twice, pair);
    for (int i = 0; i < 8; i++)
        q[i] = twice[i] ^ turn_column(q[i], 1) ^ turn_column(pair[i], 2);
}

/* The inverse polynomial is MixColumns' own times (5 + 4 x^2): a_r becomes a_r + 4 (a_r + a_r+2)
 * first. */
static inline void inv_mix_columns(lanes q[static 8])
{
    lanes sum[8], twice[8];
    for (int i = 0; i < 8; i++)
        sum[i] = q[i] ^ turn_column(q[i], 2);
    xtime(twice, sum);
    xtime(sum, twice);
    for (int i = 0; i < 8; i++)
        q[i] ^= sum[i];
    mix_columns(q);
}

static inline void add_round_key(lanes q[static 8], const uint64_t round[static 8])
{
    for (int i = 0; i < 8; i++)
        q[i] ^= both(round[i]);
}

/* ---- whole ---------------------------------------------------------------------------------- */

void onion__aes_encrypt(const struct onion__aes *k, uint8_t *blocks)
{
    lanes q[8];
    to_planes(q, blocks);
    add_round_key(q, k->round[0]);
    for (int r = 1; r < LAYER_ROUNDS; r++) {
        sub_bytes(q);
        shift_rows(q);
        mix_columns(q);
        add_round_key(q, k->round[r]);
    }
    sub_bytes(q);
    shift_rows(q);
    add_round_key(q, k->round[LAYER_ROUNDS]);
    from_planes(blocks, q);
}

void onion__aes_decrypt(const struct onion__aes *k, uint8_t *blocks)
{
    lanes q[8];
    to_planes(q, blocks);
    add_round_key(q, k->round[LAYER_ROUNDS]);
    for (int r = LAYER_ROUNDS - 1; r > 0; r--) {
        inv_shift_rows(q);
        inv_sub_bytes(q);
        add_round_key(q, k->round[r]);
        inv_mix_columns(q);
    }
    inv_shift_rows(q);
    inv_sub_bytes(q);
    add_round_key(q, k->round[0]);
    from_planes(blocks, q);
}

static uint32_t sub_word(uint32_t word)
{
    lanes q[8];
    uint8_t blocks[LAYER_SLICED * LAYER_BLOCK] = { 0 };
    store_le32(blocks, word);
    to_planes(q, blocks);
    sub_bytes(q);
    from_planes(blocks, q);
    word = load_le32(blocks);
    sodium_memzero(blocks, 4);
    return word;
}

void onion__aes_expand(uint8_t round[static ONION_LAYER_ROUND_KEYS][16],
                       const uint8_t key[static 32])
{
    uint32_t w[WORDS], rcon = 1;
    for (int i = 0; i < 8; i++)
        w[i] = load_le32(key + 4 * i);
    for (int i = 8; i < WORDS; i++) {
        uint32_t t = w[i - 1];
        if (i % 8 == 0) {
            t = sub_word(t >> 8 | t << 24) ^ rcon;
            rcon <<= 1; /* seven are needed: it never leaves the byte */
        } else if (i % 8 == 4) {
            t = sub_word(t);
        }
        w[i] = w[i - 8] ^ t;
    }
    for (int i = 0; i < WORDS; i++)
        store_le32(round[i / 4] + 4 * (i % 4), w[i]);
    sodium_memzero(w, sizeof w);
}

void onion__aes_slice(struct onion__aes *out,
                      const uint8_t round[static ONION_LAYER_ROUND_KEYS][16])
{
    uint8_t blocks[LAYER_SLICED * LAYER_BLOCK];
    lanes q[8];
    for (int r = 0; r <= LAYER_ROUNDS; r++) {
        for (int b = 0; b < LAYER_SLICED; b++)
            memcpy(blocks + LAYER_BLOCK * b, round[r], LAYER_BLOCK);
        to_planes(q, blocks);
        for (int i = 0; i < 8; i++)
            out->round[r][i] = q[i][0];
    }
    sodium_memzero(blocks, sizeof blocks);
}
