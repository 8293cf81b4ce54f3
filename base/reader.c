#include "base/reader.h"

#include <string.h>

uint8_t reader_u8(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 1);
    return p != NULL ? p[0] : 0;
}

uint16_t reader_u16(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 2);
    if (p == NULL)
        return 0;
    return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t reader_u32(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 4);
    if (p == NULL)
        return 0;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t reader_u64(struct reader *r)
{
    const uint8_t *p = reader_bytes(r, 8);
    uint64_t v = 0;
    for (unsigned i = 0; p != NULL && i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

void reader_copy(struct reader *r, void *out, size_t n)
{
    const uint8_t *p = reader_bytes(r, n);
    if (n == 0)
        return;
    if (p != NULL)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

void reader_skip(struct reader *r, size_t n)
{
    (void)reader_bytes(r, n);
}

struct reader reader_sub(struct reader *r, size_t n)
{
    const uint8_t *p = reader_bytes(r, n);
    struct reader sub = reader_on(p, n);
    sub.bad = p == NULL;
    return sub;
}
