/* base/writer.h - the one bounds-checked writer over the caller's buffer. Sticky `bad` flag: build
 * everything, check once with writer_ok(). Big-endian throughout. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer {
    uint8_t *start;
    uint8_t *p;
    uint8_t *end;
    bool bad;
};

static inline struct writer writer_on(uint8_t *buf, size_t cap)
{
    return (struct writer){ .start = buf, .p = buf, .end = buf + cap, .bad = false };
}

static inline size_t writer_len(const struct writer *w)
{
    return (size_t)(w->p - w->start);
}

static inline size_t writer_left(const struct writer *w)
{
    return w->bad ? 0 : (size_t)(w->end - w->p);
}

static inline bool writer_ok(const struct writer *w)
{
    return !w->bad;
}

/* Reserves `n` bytes to be filled by the caller; NULL with `bad` set when they do not fit. */
static inline uint8_t *writer_reserve(struct writer *w, size_t n)
{
    if (w->bad || (size_t)(w->end - w->p) < n) {
        w->bad = true;
        return NULL;
    }
    uint8_t *at = w->p;
    w->p += n;
    return at;
}

void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_copy(struct writer *w, const void *data, size_t n);
void writer_zero(struct writer *w, size_t n);
