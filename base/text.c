#include "base/text_internal.h"

/* Lead byte -> length of the character, and the bits of its value. */
static size_t lead(uint8_t b, uint32_t *bits)
{
    if (b < 0x80) {
        *bits = b;
        return 1;
    }
    if (b >= 0xc2 && b <= 0xdf) {
        *bits = b & 0x1fu;
        return 2;
    }
    if (b >= 0xe0 && b <= 0xef) {
        *bits = b & 0x0fu;
        return 3;
    }
    if (b >= 0xf0 && b <= 0xf4) {
        *bits = b & 0x07u;
        return 4;
    }
    return 0;
}

size_t base__utf8_char(const uint8_t *p, size_t len, uint32_t *code)
{
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t v = 0;
    size_t n = len > 0 ? lead(p[0], &v) : 0;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3fu);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    if (code != NULL)
        *code = v;
    return n;
}

bool base__utf8_valid(const uint8_t *p, size_t len)
{
    while (len > 0) {
        size_t n = base__utf8_char(p, len, NULL);
        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}
