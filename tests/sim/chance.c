/* Dice and fingerprints. The network's dice are splitmix64 (fast, one word for each node); what
 * protocol code draws is ChaCha20 under a key of seed, node and boot, since keys come from it. */
#include <sodium.h>
#include <string.h>

#include "tests/sim/world_internal.h"

enum { MIX_STRIDE = 32 };

uint64_t sim__mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
    uint64_t x = (uint64_t)m ^ (uint64_t)(m >> 64);
    /* A product loses its input when one side is 0: fold both in once more. */
    return x ^ (a << 23 | a >> 41) ^ (b << 47 | b >> 17);
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint64_t sim__mix_bytes(uint64_t seed, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t a = seed;
    uint64_t b = seed ^ 0xa0761d6478bd642fu;
    size_t left = len;
    for (; left >= MIX_STRIDE; left -= MIX_STRIDE, p += MIX_STRIDE) {
        a = sim__mix(a ^ load64(p), load64(p + 8));
        b = sim__mix(b ^ load64(p + 16), load64(p + 24));
    }
    uint8_t tail[MIX_STRIDE] = { 0 };
    if (left > 0)
        memcpy(tail, p, left);
    a = sim__mix(a ^ load64(tail), load64(tail + 8));
    b = sim__mix(b ^ load64(tail + 16), load64(tail + 24));
    return sim__mix(a ^ len, b);
}

uint64_t sim__next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim__below(uint64_t *state, uint64_t bound)
{
    return (uint64_t)(((__uint128_t)sim__next(state) * bound) >> 64);
}

bool sim__chance(uint64_t *state, uint32_t ppm)
{
    return ppm != 0 && sim__below(state, 1000000) < ppm;
}

static void put64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void sim__rng_seed(struct sim_stream_rng *r, uint64_t seed, uint32_t node, uint32_t boot)
{
    uint8_t in[32] = "cyx sim node";
    put64(in + 16, seed);
    put64(in + 24, (uint64_t)node << 32 | boot);
    *r = (struct sim_stream_rng){ 0 };
    crypto_generichash(r->key, sizeof r->key, in, sizeof in, NULL, 0);
}

/* The next piece of the stream: each takes a nonce of its own. */
static void rng_piece(struct sim_stream_rng *r, uint8_t *out, size_t n)
{
    uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = { 0 };
    put64(nonce, r->nonce++);
    crypto_stream_chacha20_ietf(out, n, nonce, r->key);
}

void sim__rng_fill(struct sim_stream_rng *r, void *buf, size_t n)
{
    uint8_t *out = buf;
    if (n > sizeof r->block) {
        rng_piece(r, out, n);
        return;
    }
    while (n > 0) {
        if (r->left == 0) {
            rng_piece(r, r->block, sizeof r->block);
            r->left = sizeof r->block;
        }
        size_t take = n < r->left ? n : r->left;
        memcpy(out, r->block + (sizeof r->block - r->left), take);
        r->left = (uint8_t)(r->left - take);
        out += take;
        n -= take;
    }
}
