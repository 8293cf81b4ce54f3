/* Reader and writer. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

static const uint8_t fifteen[15] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

Test(reader, reads_big_endian)
{
    struct reader r = reader_on(fifteen, sizeof fifteen);
    cr_expect_eq(reader_u8(&r), 1);
    cr_expect_eq(reader_u16(&r), 0x0203);
    cr_expect_eq(reader_u32(&r), 0x04050607u);
    cr_expect_eq(reader_u64(&r), 0x08090a0b0c0d0e0full);
    cr_expect(reader_done(&r));
    cr_expect_eq(reader_left(&r), 0);
}

Test(reader, high_bits_survive)
{
    uint8_t ff[15];
    memset(ff, 0xff, sizeof ff);
    struct reader r = reader_on(ff, sizeof ff);
    cr_expect_eq(reader_u8(&r), UINT8_MAX);
    cr_expect_eq(reader_u16(&r), UINT16_MAX);
    cr_expect_eq(reader_u32(&r), UINT32_MAX);
    cr_expect_eq(reader_u64(&r), UINT64_MAX);
}

/* A heap copy of exact size, so that AddressSanitizer sees one byte over. */
Test(reader, bad_is_sticky_and_zeros_follow_at_every_length)
{
    for (size_t len = 0; len < 15; len++) {
        uint8_t *copy = malloc(len > 0 ? len : 1);
        memcpy(copy, fifteen, len);
        struct reader r = reader_on(copy, len);
        (void)reader_u8(&r);
        (void)reader_u16(&r);
        (void)reader_u32(&r);
        cr_expect_eq(reader_u64(&r), 0u, "length %zu", len);
        cr_expect(r.bad);
        cr_expect_eq(reader_left(&r), 0);
        cr_expect_eq(reader_u8(&r), 0, "no reads after a bad one, even if bytes are left");
        cr_expect_null(reader_bytes(&r, 0));
        cr_expect_not(reader_done(&r));
        free(copy);
    }
}

Test(reader, copy_zeros_its_output_when_bytes_are_missing)
{
    uint8_t out[4] = { 9, 9, 9, 9 };
    struct reader r = reader_on(fifteen, 3);
    reader_copy(&r, out, 4);
    cr_expect(r.bad);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(out[i], 0);
    r = reader_on(fifteen, 4);
    reader_copy(&r, out, 4);
    cr_expect_eq(memcmp(out, fifteen, 4), 0);
    cr_expect(reader_done(&r));
    reader_copy(&r, NULL, 0);
    cr_expect(reader_done(&r), "nothing is always there");
}

Test(reader, huge_lengths_do_not_wrap)
{
    struct reader r = reader_on(fifteen, sizeof fifteen);
    cr_expect_null(reader_bytes(&r, SIZE_MAX));
    r = reader_on(fifteen, sizeof fifteen);
    reader_skip(&r, SIZE_MAX - 3);
    cr_expect(r.bad);
}

Test(reader, null_and_empty_are_done_at_once)
{
    struct reader r = reader_on(NULL, 0);
    cr_expect(reader_done(&r));
    cr_expect_not_null(reader_bytes(&r, 0));
    cr_expect_eq(reader_u8(&r), 0);
    cr_expect(r.bad);
}

Test(reader, sub_is_bounded_by_its_own_length)
{
    struct reader r = reader_on(fifteen, sizeof fifteen);
    struct reader sub = reader_sub(&r, 2);
    cr_expect_eq(reader_u16(&sub), 0x0102);
    cr_expect(reader_done(&sub));
    (void)reader_u8(&sub);
    cr_expect(sub.bad);
    cr_expect_not(r.bad, "a bad sub-reader leaves its parent alone");
    cr_expect_eq(reader_u8(&r), 3);
    sub = reader_sub(&r, 13);
    cr_expect(sub.bad);
    cr_expect(r.bad);
}

Test(writer, writes_big_endian_and_reads_back)
{
    uint8_t buf[15];
    struct writer w = writer_on(buf, sizeof buf);
    writer_u8(&w, 1);
    writer_u16(&w, 0x0203);
    writer_u32(&w, 0x04050607u);
    writer_u64(&w, 0x08090a0b0c0d0e0full);
    cr_expect(writer_ok(&w));
    cr_expect_eq(writer_len(&w), 15);
    cr_expect_eq(writer_left(&w), 0);
    cr_expect_eq(memcmp(buf, fifteen, 15), 0);
}

Test(writer, never_writes_past_the_end_and_stays_bad)
{
    for (size_t cap = 0; cap < 15; cap++) {
        uint8_t *buf = malloc(cap > 0 ? cap : 1);
        struct writer w = writer_on(buf, cap);
        writer_u64(&w, 1);
        writer_u32(&w, 2);
        writer_u16(&w, 3);
        writer_u8(&w, 4);
        cr_expect_not(writer_ok(&w), "capacity %zu", cap);
        size_t len = writer_len(&w);
        writer_u8(&w, 5);
        writer_copy(&w, fifteen, 1);
        writer_zero(&w, 1);
        cr_expect_eq(writer_len(&w), len, "nothing is added after a bad write");
        cr_expect_eq(writer_left(&w), 0);
        cr_expect_null(writer_reserve(&w, 0));
        free(buf);
    }
}

Test(writer, zero_and_copy_fill_exactly)
{
    uint8_t buf[8];
    memset(buf, 0xee, sizeof buf);
    struct writer w = writer_on(buf, 6);
    writer_copy(&w, fifteen, 3);
    writer_zero(&w, 3);
    writer_copy(&w, NULL, 0);
    cr_expect(writer_ok(&w));
    cr_expect_eq(memcmp(buf, (uint8_t[]){ 1, 2, 3, 0, 0, 0, 0xee, 0xee }, 8), 0);
    cr_expect_null(writer_reserve(&w, SIZE_MAX));
}
