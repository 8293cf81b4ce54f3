/* Which implementations of the layer cipher this machine can run. The processor must know the
 * instructions, and the kernel must save the registers at a switch (XCR0): a processor alone isn't
 * enough for AVX and AVX-512. */
#include "onion/layer_internal.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of the processor's answers that cpuid.h of some compilers lacks or names otherwise. */
enum {
    LEAF1_ECX_PCLMUL = 1 << 1,
    LEAF1_ECX_SSE41 = 1 << 19,
    LEAF1_ECX_AES = 1 << 25,
    LEAF1_ECX_OSXSAVE = 1 << 27,
    LEAF1_ECX_AVX = 1 << 28,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_EBX_AVX512F = 1 << 16,
    LEAF7_EBX_AVX512BW = 1 << 30,
    LEAF7_ECX_VAES = 1 << 9,
    LEAF7_ECX_VPCLMULQDQ = 1 << 10,
    XCR0_AVX = 0x06,    /* SSE and the upper halves of AVX */
    XCR0_AVX512 = 0xe6, /* ... and masks, the upper halves of 512, the upper sixteen registers */
};
static const unsigned leaf7_ebx_avx512vl = 1u << 31;

static bool has_all(unsigned have, unsigned want)
{
    return (have & want) == want;
}

/* XGETBV is there once the kernel has set OSXSAVE. */
static unsigned xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

unsigned onion__layer_probe(void)
{
    unsigned a = 0, b = 0, c1 = 0, d = 0, b7 = 0, c7 = 0;
    unsigned found = 1u << ONION_LAYER_PORTABLE;
    if (__get_cpuid(1, &a, &b, &c1, &d) == 0 ||
        !has_all(c1, LEAF1_ECX_PCLMUL | LEAF1_ECX_SSE41 | LEAF1_ECX_AES))
        return found;
    found |= 1u << ONION_LAYER_AESNI;
    if (!has_all(c1, LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX) ||
        __get_cpuid_count(7, 0, &a, &b7, &c7, &d) == 0 ||
        !has_all(c7, LEAF7_ECX_VAES | LEAF7_ECX_VPCLMULQDQ))
        return found;
    unsigned saved = xcr0();
    if (has_all(saved, XCR0_AVX) && has_all(b7, LEAF7_EBX_AVX2))
        found |= 1u << ONION_LAYER_VAES256;
    if (has_all(saved, XCR0_AVX512) && has_all(b7, LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512BW) &&
        has_all(b7, leaf7_ebx_avx512vl))
        found |= 1u << ONION_LAYER_VAES512;
    return found;
}
#else
unsigned onion__layer_probe(void)
{
    return 1u << ONION_LAYER_PORTABLE;
}
#endif
