/* base/reader.h - the one bounds-checked reader. All parsing of bytes from outside goes through it.
 * The `bad` flag is sticky: after the first read past the end every read returns zeros, so a group
 * of fields is read first and checked once. Big-endian throughout. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

static inline struct reader reader_on(const uint8_t *data, size_t len)
{
    /* A NULL start with length 0 must not take part in pointer arithmetic. */
    static const uint8_t nothing[1];
    const uint8_t *p = data != NULL ? data : nothing;
    return (struct reader){ .p = p, .end = p + (data != NULL ? len : 0), .bad = false };
}

static inline size_t reader_left(const struct reader *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* Returns `n` borrowed bytes and moves past them, or NULL with `bad` set. n = 0 gives non-NULL. */
static inline const uint8_t *reader_bytes(struct reader *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    return at;
}

uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);

/* Copies `n` bytes to `out`; zeros `out` when they are not there. */
void reader_copy(struct reader *r, void *out, size_t n);

/* Skips `n` bytes. */
void reader_skip(struct reader *r, size_t n);

/* A reader over the next `n` bytes (bad if they are not there); moves past them. */
struct reader reader_sub(struct reader *r, size_t n);

/* True when nothing went wrong and nothing is left: the end of every parser. */
static inline bool reader_done(const struct reader *r)
{
    return !r->bad && r->p == r->end;
}
