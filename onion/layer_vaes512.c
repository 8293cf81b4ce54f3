/* HCTR2 with VAES and VPCLMULQDQ on 512-bit registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

/* gcc 12.2's AddressSanitizer, when it looks for uses after return, puts locals where 64-byte
 * registers can't be stored, and the program crashes. The same body is looked at in the other
 * widths, and in this one by clang. */
#if defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define UNLOOKED __attribute__((no_sanitize("address")))
#else
#define UNLOOKED
#endif

#define FOR_CPU                                                                                    \
    UNLOOKED __attribute__((target("avx512f,avx512bw,avx512vl,aes,pclmul,vaes,vpclmulqdq")))
#define WIDE static inline __attribute__((always_inline)) FOR_CPU
enum { LANES = 4, VECS = 4 };
typedef __m512i vec;

#define vec_clmul(a, b, which) _mm512_clmulepi64_epi128(a, b, which)

WIDE vec vec_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

WIDE void vec_store(uint8_t *p, vec x)
{
    _mm512_storeu_si512(p, x);
}

WIDE vec vec_xor(vec a, vec b)
{
    return _mm512_xor_si512(a, b);
}

WIDE vec vec_xor3(vec a, vec b, vec c)
{
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

WIDE vec vec_swap(vec a)
{
    return _mm512_shuffle_epi32(a, (_MM_PERM_ENUM)0x4e);
}

WIDE vec vec_aes(vec x, vec key)
{
    return _mm512_aesenc_epi128(x, key);
}

WIDE vec vec_aes_last(vec x, vec key)
{
    return _mm512_aesenclast_epi128(x, key);
}

WIDE vec vec_lanes(__m128i x)
{
    return _mm512_broadcast_i32x4(x);
}

WIDE vec vec_block(const uint8_t *p)
{
    return vec_lanes(_mm_loadu_si128((const __m128i *)p));
}

WIDE vec vec_words(long long x)
{
    return _mm512_set_epi64(0, x, 0, x, 0, x, 0, x);
}

WIDE vec vec_counters(long long from)
{
    return _mm512_set_epi64(0, from + 3, 0, from + 2, 0, from + 1, 0, from);
}

WIDE vec vec_first(__m128i x)
{
    return _mm512_zextsi128_si512(x);
}

WIDE __m128i vec_sum(vec x)
{
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
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

const struct onion__layer_ops onion__layer_vaes512 = { encipher, decipher };
#endif
