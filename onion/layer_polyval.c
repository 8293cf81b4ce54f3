/* POLYVAL with ordinary multiplications in place of carry-less ones: when only every fourth bit of
 * the factors is set, sums of products have four bits of room for their carries, and the lowest of
 * the four is the XOR that is wanted. Multiplication of 64-bit words takes the same time for all
 * values on the processors we run on. */
#include <string.h>

#include "onion/layer_internal.h"

typedef unsigned __int128 uint128;

struct element {
    uint64_t lo, hi; /* bit i is the coefficient of x^i */
};

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static void store_le64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static struct element load_element(const uint8_t p[static 16])
{
    return (struct element){ load_le64(p), load_le64(p + 8) };
}

/* The carry-less product. Sixteen products could meet in one place, and sixteen don't fit four
 * bits: so the top four bits of x are taken apart. Each is a shift of y, without carries. */
static inline uint128 clmul(uint64_t x, uint64_t y)
{
    const uint64_t fourth = UINT64_C(0x1111111111111111), top = UINT64_C(0xf) << 60;
    const uint128 fourth_wide = (uint128)fourth << 64 | fourth;
    uint128 z = 0;
    uint64_t xs[4], ys[4];
    for (int i = 0; i < 4; i++) {
        xs[i] = x & ~top & fourth << i;
        ys[i] = y & fourth << i;
    }
    for (int place = 0; place < 4; place++) {
        uint128 sum = 0;
        for (int i = 0; i < 4; i++)
            sum ^= (uint128)xs[i] * ys[(place - i) & 3];
        z |= sum & fourth_wide << place;
    }
    for (int i = 60; i < 64; i++)
        z ^= (uint128)(x & UINT64_C(1) << i) * y;
    return z;
}

/* Adds q times the field's polynomial (x^128 + x^127 + x^126 + x^121 + 1) at the word whose value q
 * is: that word becomes zero, and this is what the two above it get. */
static inline uint128 fold(uint64_t q)
{
    const uint128 wide = q;
    return wide << 64 ^ wide << 63 ^ wide << 62 ^ wide << 57;
}

/* RFC 8452's dot: a b x^-128. */
static inline struct element dot(struct element a, struct element b)
{
    uint128 lo = clmul(a.lo, b.lo), hi = clmul(a.hi, b.hi);
    uint128 mid = clmul(a.lo ^ a.hi, b.lo ^ b.hi) ^ lo ^ hi;
    mid ^= lo >> 64 ^ fold((uint64_t)lo);
    hi ^= mid >> 64 ^ fold((uint64_t)mid);
    return (struct element){ (uint64_t)hi, (uint64_t)(hi >> 64) };
}

void onion__polyval(uint8_t acc[static 16], const uint8_t h[static 16], const uint8_t *blocks,
                    size_t n)
{
    const struct element key = load_element(h);
    struct element sum = load_element(acc);
    for (size_t i = 0; i < n; i++) {
        struct element x = load_element(blocks + LAYER_BLOCK * i);
        sum = dot((struct element){ sum.lo ^ x.lo, sum.hi ^ x.hi }, key);
    }
    store_le64(acc, sum.lo);
    store_le64(acc + 8, sum.hi);
}
