/* HCTR2 with VAES and VPCLMULQDQ on 256-bit registers, for processors without AVX-512. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define FOR_CPU __attribute__((target("avx2,aes,pclmul,vaes,vpclmulqdq")))
#define WIDE    static inline __attribute__((always_inline)) FOR_CPU
enum { LANES = 2, VECS = 8 };
typedef __m256i vec;

#define vec_clmul(a, b, which) _mm256_clmulepi64_epi128(a, b, which)

WIDE vec vec_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

WIDE void vec_store(uint8_t *p, vec x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}

WIDE vec vec_xor(vec a, vec b)
{
    return _mm256_xor_si256(a, b);
}

WIDE vec vec_xor3(vec a, vec b, vec c)
{
    return _mm256_xor_si256(a, _mm256_xor_si256(b, c));
}

WIDE vec vec_swap(vec a)
{
    return _mm256_shuffle_epi32(a, 0x4e);
}

WIDE vec vec_aes(vec x, vec key)
{
    return _mm256_aesenc_epi128(x, key);
}

WIDE vec vec_aes_last(vec x, vec key)
{
    return _mm256_aesenclast_epi128(x, key);
}

WIDE vec vec_lanes(__m128i x)
{
    return _mm256_broadcastsi128_si256(x);
}

WIDE vec vec_block(const uint8_t *p)
{
    return vec_lanes(_mm_loadu_si128((const __m128i *)p));
}

WIDE vec vec_words(long long x)
{
    return _mm256_set_epi64x(0, x, 0, x);
}

WIDE vec vec_counters(long long from)
{
    return _mm256_set_epi64x(0, from + 1, 0, from);
}

WIDE vec vec_first(__m128i x)
{
    return _mm256_zextsi128_si256(x);
}

WIDE __m128i vec_sum(vec x)
{
    return _mm_xor_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
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

const struct onion__layer_ops onion__layer_vaes256 = { encipher, decipher };
#endif
