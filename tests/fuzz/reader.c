/* A program over reader and writer: the input's first half says what to read, the second half is
 * what is read. Everything read is written again and must come out as the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void copy_bytes(struct reader *r, struct writer *w, size_t n)
{
    uint8_t buf[256];
    memset(buf, 0xee, sizeof buf);
    reader_copy(r, buf, n);
    for (size_t i = 0; r->bad && i < n; i++)
        require(buf[i] == 0);
    require(n == sizeof buf || buf[n] == 0xee);
    if (!r->bad)
        writer_copy(w, buf, n);
}

static void sub_reader(struct reader *r, struct writer *w, size_t n)
{
    struct reader sub = reader_sub(r, n);
    require(sub.bad == r->bad);
    require(sub.bad || reader_left(&sub) == n);
    while (!sub.bad && reader_left(&sub) > 0)
        writer_u8(w, reader_u8(&sub));
    require(sub.bad || reader_done(&sub));
}

static void step(struct reader *r, struct writer *w, uint8_t op)
{
    const uint64_t v = op % 8 == 0   ? reader_u8(r)
                       : op % 8 == 1 ? reader_u16(r)
                       : op % 8 == 2 ? reader_u32(r)
                       : op % 8 == 3 ? reader_u64(r)
                                     : 0;
    if (op % 8 == 4)
        copy_bytes(r, w, op >> 3);
    else if (op % 8 == 5)
        sub_reader(r, w, op >> 3);
    else if (op % 8 == 6 && reader_left(r) > 0)
        writer_u8(w, reader_u8(r));
    else if (op == 7)
        reader_skip(r, SIZE_MAX);
    require(!r->bad || v == 0);
    if (r->bad)
        return;
    if (op % 8 == 0)
        writer_u8(w, (uint8_t)v);
    else if (op % 8 == 1)
        writer_u16(w, (uint16_t)v);
    else if (op % 8 == 2)
        writer_u32(w, (uint32_t)v);
    else if (op % 8 == 3)
        writer_u64(w, v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t n_ops = len / 2, n = len - n_ops;
    uint8_t *in = malloc(n + 1), *out = malloc(n + 1);
    if (in == NULL || out == NULL)
        abort();
    if (n > 0)
        memcpy(in, data + n_ops, n);
    struct reader r = reader_on(in, n);
    struct writer w = writer_on(out, n);
    for (size_t i = 0; i < n_ops; i++) {
        size_t left = reader_left(&r);
        bool was_bad = r.bad;
        step(&r, &w, data[i]);
        require(reader_left(&r) <= left);
        require(!was_bad || r.bad); /* sticky */
    }
    require(writer_ok(&w));
    require(r.bad || writer_len(&w) + reader_left(&r) == n);
    require(memcmp(in, out, writer_len(&w)) == 0);
    free(in);
    free(out);
    return 0;
}
