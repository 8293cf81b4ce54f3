/* HCTR2 with AES-NI and PCLMULQDQ. Nothing newer is asked for: small processors have these two and
 * no AVX. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define FOR_CPU __attribute__((target("aes,pclmul,sse4.1")))
#define WIDE    static inline __attribute__((always_inline)) FOR_CPU
enum { LANES = 1, VECS = 8 };
typedef __m128i vec;

#define vec_clmul(a, b, which) _mm_clmulepi64_si128(a, b, which)

WIDE vec vec_load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

WIDE void vec_store(uint8_t *p, vec x)
{
    _mm_storeu_si128((__m128i *)p, x);
}

WIDE vec vec_xor(vec a, vec b)
{
    return _mm_xor_si128(a, b);
}

WIDE vec vec_xor3(vec a, vec b, vec c)
{
    return _mm_xor_si128(a, _mm_xor_si128(b, c));
}

WIDE vec vec_swap(vec a)
{
    return _mm_shuffle_epi32(a, 0x4e);
}

WIDE vec vec_aes(vec x, vec key)
{
    return _mm_aesenc_si128(x, key);
}

WIDE vec vec_aes_last(vec x, vec key)
{
    return _mm_aesenclast_si128(x, key);
}

WIDE vec vec_lanes(__m128i x)
{
    return x;
}

WIDE vec vec_block(const uint8_t *p)
{
    return vec_load(p);
}

WIDE vec vec_words(long long x)
{
    return _mm_set_epi64x(0, x);
}

WIDE vec vec_counters(long long from)
{
    return _mm_set_epi64x(0, from);
}

WIDE vec vec_first(__m128i x)
{
    return x;
}

WIDE __m128i vec_sum(vec x)
{
    return x;
}

#include "onion/layer_wide.h"

FOR_CPU static void encipher(const struct onion_layer *l, uint8_t *data, size_t n, size_t len)
{
    wide_run(l, data, n, len, WIDE_ENCIPHER);
}

FOR_CPU static void decipher(const struct onion_layer *l, uint8_t *data, size_t n, size_t len)
{
    wide_run(l, data, n, len, WIDE_DECIPHER);
}

const struct onion__layer_ops onion__layer_aesni = { encipher, decipher };
#endif
