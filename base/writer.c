#include "base/writer.h"

#include <string.h>

void writer_u8(struct writer *w, uint8_t v)
{
    uint8_t *p = writer_reserve(w, 1);
    if (p != NULL)
        p[0] = v;
}

static void put_be(struct writer *w, uint64_t v, unsigned n)
{
    uint8_t *p = writer_reserve(w, n);
    for (unsigned i = 0; p != NULL && i < n; i++)
        p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

void writer_u16(struct writer *w, uint16_t v)
{
    put_be(w, v, 2);
}

void writer_u32(struct writer *w, uint32_t v)
{
    put_be(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
    put_be(w, v, 8);
}

void writer_copy(struct writer *w, const void *data, size_t n)
{
    uint8_t *p = writer_reserve(w, n);
    if (p != NULL && n > 0)
        memcpy(p, data, n);
}

void writer_zero(struct writer *w, size_t n)
{
    uint8_t *p = writer_reserve(w, n);
    if (p != NULL && n > 0)
        memset(p, 0, n);
}
