/* tests/unit/onion/dice.h - an environment that has randomness only: from a seed, or the bytes that
 * a vector says. */
#pragma once
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/env.h"

struct dice {
    struct env env;
    uint64_t seed, n;
    const uint8_t *fixed; /* not NULL: these, and not one more */
    size_t fixed_left;
};

/* ChaCha20 of a counter: 64 KiB and one call are the same to a test. */
static inline void dice_random(struct env *e, void *buf, size_t n)
{
    struct dice *d = (struct dice *)e;
    if (d->fixed != NULL) {
        cr_assert_leq(n, d->fixed_left, "more randomness drawn than the vector has");
        memcpy(buf, d->fixed, n);
        d->fixed += n;
        d->fixed_left -= n;
        return;
    }
    uint8_t seed[32] = { 0 };
    memcpy(seed, &d->seed, sizeof d->seed);
    memcpy(seed + 8, &d->n, sizeof d->n);
    d->n++;
    randombytes_buf_deterministic(buf, n, seed);
}

static inline struct dice dice_of(uint64_t seed)
{
    static const struct env_ops ops = { .random = dice_random };
    return (struct dice){ .env = { .ops = &ops }, .seed = seed };
}

static inline struct dice dice_fixed(const uint8_t *bytes, size_t n)
{
    struct dice d = dice_of(0);
    d.fixed = bytes;
    d.fixed_left = n;
    return d;
}
