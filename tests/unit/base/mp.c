/* MessagePack: what the guard takes and refuses, and lookups that never trust. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"

/* Checks a heap copy of exact size, so that AddressSanitizer sees one byte over. */
static enum drop check(const void *data, size_t len, const struct mp_rules *rules)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, data, len);
    enum drop d = mp_check(copy, len, rules);
    free(copy);
    return d;
}

#define WIRE(...)                                                                                  \
    check((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }),              \
          &mp_wire_rules)
#define LOCAL(...)                                                                                 \
    check((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }),              \
          &mp_local_rules)

enum { BODY_MAX = 70000 };

/* What every type byte must give when as many zero bytes follow as it could want: its smallest
 * value in that form, which is minimal only in the shortest forms. */
static enum drop expected_with_zeros(unsigned type, bool is_local)
{
    if (type < 0x80 || type >= 0xe0) /* small integers */
        return DROP_NONE;
    if (type == 0xc0 || type == 0xc2 || type == 0xc3)
        return DROP_NONE;
    if (type == 0x80 || type == 0x90 || type == 0xa0 || type == 0xc4)
        return DROP_NONE; /* empty */
    if (type == 0xca || type == 0xcb)
        return is_local ? DROP_NONE : DROP_FIELD;
    if (type > 0x90 && type < 0xa0) /* small integers inside: all zero */
        return DROP_NONE;
    if (type > 0xa0 && type < 0xc0) /* NUL is a character */
        return DROP_NONE;
    if (type == 0x81) /* 0: 0 */
        return DROP_NONE;
    return DROP_FIELD; /* repeated keys, not minimal, extensions, 0xc1 */
}

/* How many bytes the value takes that starts with `type` and goes on with zeros. */
static size_t length_with_zeros(unsigned type)
{
    static const size_t long_forms[32] = {
        [0x04] = 2, [0x05] = 3, [0x06] = 5, [0x0a] = 5, [0x0b] = 9, [0x0c] = 2, [0x0d] = 3,
        [0x0e] = 5, [0x0f] = 9, [0x10] = 2, [0x11] = 3, [0x12] = 5, [0x13] = 9, [0x19] = 2,
        [0x1a] = 3, [0x1b] = 5, [0x1c] = 3, [0x1d] = 5, [0x1e] = 3, [0x1f] = 5,
    };
    if (type >= 0xc0 && type < 0xe0)
        return long_forms[type - 0xc0] > 0 ? long_forms[type - 0xc0] : 1;
    if (type >= 0x80 && type < 0x90)
        return 1 + 2 * (type & 0x0f);
    if (type >= 0x90 && type < 0xa0)
        return 1 + (type & 0x0f);
    return type >= 0xa0 && type < 0xc0 ? 1 + (type & 0x1f) : 1;
}

Test(mp_check, judges_every_type_byte)
{
    uint8_t data[64] = { 0 };
    for (unsigned type = 0; type < 256; type++) {
        data[0] = (uint8_t)type;
        size_t n = length_with_zeros(type);
        cr_expect_eq(check(data, n, &mp_wire_rules), expected_with_zeros(type, false), "0x%02x",
                     type);
        cr_expect_eq(check(data, n, &mp_local_rules), expected_with_zeros(type, true), "0x%02x",
                     type);
        if (expected_with_zeros(type, true) == DROP_NONE)
            cr_expect_eq(check(data, n + 1, &mp_local_rules), DROP_FIELD, "0x%02x and a byte more",
                         type);
    }
}

/* A map with every form of value. */
static size_t build_everything(uint8_t *buf, size_t cap, bool with_floats)
{
    static const char body[BODY_MAX];
    static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 300 };
    static const int64_t ints[] = { 0,      127,           128,           255,        256,
                                    65535,  65536,         4294967295,    4294967296, -1,
                                    -32,    -33,           -128,          -129,       -32768,
                                    -32769, -2147483648ll, -2147483649ll, INT64_MIN,  INT64_MAX };
    struct writer w = writer_on(buf, cap);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 5);
    msgpack_pack_int(&pk, -7);
    msgpack_pack_array(&pk, sizeof ints / sizeof ints[0] + 1);
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++)
        msgpack_pack_int64(&pk, ints[i]);
    msgpack_pack_uint64(&pk, UINT64_MAX);
    msgpack_pack_int(&pk, 3);
    msgpack_pack_array(&pk, 7);
    for (size_t i = 0; i < 7; i++)
        mp_pack_bin(&pk, body, lengths[i]);
    mp_pack_str(&pk, "a");
    msgpack_pack_array(&pk, 7);
    for (size_t i = 0; i < 7; i++) {
        msgpack_pack_str(&pk, lengths[i]);
        msgpack_pack_str_body(&pk, body, lengths[i]);
    }
    mp_pack_str(&pk, "ab");
    msgpack_pack_array(&pk, 4);
    msgpack_pack_nil(&pk);
    msgpack_pack_true(&pk);
    msgpack_pack_false(&pk);
    if (with_floats)
        msgpack_pack_double(&pk, 1.5);
    else
        msgpack_pack_array(&pk, 0);
    mp_pack_str(&pk, "\xc3\xa9");
    msgpack_pack_map(&pk, 17);
    for (int i = 0; i < 17; i++) {
        msgpack_pack_int(&pk, 120 + i); /* across a change of form */
        msgpack_pack_map(&pk, 0);
    }
    cr_assert(writer_ok(&w));
    return writer_len(&w);
}

Test(mp_check, takes_what_the_packer_writes_in_canonical_order)
{
    static uint8_t buf[BODY_MAX];
    size_t n = build_everything(buf, sizeof buf, false);
    cr_expect_eq(check(buf, n, &mp_wire_rules), DROP_NONE);
    cr_expect_eq(check(buf, n, &mp_local_rules), DROP_NONE);
    n = build_everything(buf, sizeof buf, true);
    cr_expect_eq(check(buf, n, &mp_wire_rules), DROP_FIELD, "a float");
    cr_expect_eq(check(buf, n, &mp_local_rules), DROP_NONE);
}

Test(mp_check, refuses_every_truncation_as_short)
{
    static uint8_t buf[BODY_MAX];
    size_t n = build_everything(buf, sizeof buf, true);
    for (size_t len = 0; len < n; len++)
        cr_expect_eq(check(buf, len, &mp_local_rules), DROP_SHORT, "length %zu of %zu", len, n);
}

Test(mp_check, long_strings_and_binaries_need_their_own_forms)
{
    static uint8_t buf[BODY_MAX + 16];
    static const size_t lengths[] = { 65535, 65536 };
    for (size_t i = 0; i < 2; i++) {
        struct writer w = writer_on(buf, sizeof buf);
        msgpack_packer pk;
        mp_packer(&pk, &w);
        static const uint8_t body[BODY_MAX];
        mp_pack_bin(&pk, body, lengths[i]);
        cr_assert(writer_ok(&w));
        cr_expect_eq(check(buf, writer_len(&w), &mp_wire_rules), DROP_NONE);
    }
    /* 65535 bytes in the form with four bytes of length */
    memset(buf, 0, sizeof buf);
    memcpy(buf, "\xc6\x00\x00\xff\xff", 5);
    cr_expect_eq(check(buf, 5 + 65535, &mp_wire_rules), DROP_FIELD);
    buf[0] = 0xdb;
    cr_expect_eq(check(buf, 5 + 65535, &mp_wire_rules), DROP_FIELD);
}

Test(mp_check, five_byte_bombs_cost_nothing)
{
    cr_expect_eq(WIRE(0xdd, 0xff, 0xff, 0xff, 0xff), DROP_LIMIT);
    cr_expect_eq(WIRE(0xdf, 0xff, 0xff, 0xff, 0xff), DROP_LIMIT);
    cr_expect_eq(WIRE(0xdd, 0x00, 0xff, 0xff, 0xff), DROP_LIMIT);
    cr_expect_eq(LOCAL(0xdf, 0xff, 0xff, 0xff, 0xff), DROP_LIMIT);
    cr_expect_eq(WIRE(0xdc, 0x7f, 0xfe), DROP_SHORT);
    cr_expect_eq(WIRE(0xde, 0x00, 0x10), DROP_SHORT);
    cr_expect_eq(WIRE(0xdb, 0xff, 0xff, 0xff, 0xff), DROP_SHORT);
    cr_expect_eq(WIRE(0xc6, 0xff, 0xff, 0xff, 0xff), DROP_SHORT);
    cr_expect_eq(WIRE(0xc9, 0xff, 0xff, 0xff, 0xff, 0), DROP_FIELD);
}

Test(mp_check, refuses_numbers_in_longer_forms_than_they_need)
{
    cr_expect_eq(WIRE(0xcc, 0x7f), DROP_FIELD);
    cr_expect_eq(WIRE(0xcc, 0x80), DROP_NONE);
    cr_expect_eq(WIRE(0xcd, 0x00, 0xff), DROP_FIELD);
    cr_expect_eq(WIRE(0xcd, 0x01, 0x00), DROP_NONE);
    cr_expect_eq(WIRE(0xce, 0x00, 0x00, 0xff, 0xff), DROP_FIELD);
    cr_expect_eq(WIRE(0xce, 0x00, 0x01, 0x00, 0x00), DROP_NONE);
    cr_expect_eq(WIRE(0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), DROP_FIELD);
    cr_expect_eq(WIRE(0xcf, 0, 0, 0, 1, 0, 0, 0, 0), DROP_NONE);
    cr_expect_eq(WIRE(0xd0, 0xe0), DROP_FIELD); /* -32 */
    cr_expect_eq(WIRE(0xd0, 0xdf), DROP_NONE);  /* -33 */
    cr_expect_eq(WIRE(0xd0, 0x05), DROP_FIELD); /* positive in a signed form */
    cr_expect_eq(WIRE(0xd1, 0xff, 0x80), DROP_FIELD);
    cr_expect_eq(WIRE(0xd1, 0xff, 0x7f), DROP_NONE);
    cr_expect_eq(WIRE(0xd1, 0x7f, 0xff), DROP_FIELD);
    cr_expect_eq(WIRE(0xd2, 0xff, 0xff, 0x80, 0x00), DROP_FIELD);
    cr_expect_eq(WIRE(0xd2, 0xff, 0xff, 0x7f, 0xff), DROP_NONE);
    cr_expect_eq(WIRE(0xd3, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff), DROP_NONE);
    cr_expect_eq(WIRE(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), DROP_NONE);
}

/* A value in a longer form than it needs, `n` zero bytes behind a head. */
static enum drop with_zeros(const char *head, size_t head_len, size_t n)
{
    uint8_t data[400] = { 0 };
    memcpy(data, head, head_len);
    return check(data, head_len + n, &mp_wire_rules);
}

Test(mp_check, refuses_lengths_in_longer_forms_than_they_need)
{
    cr_expect_eq(with_zeros("\xd9\x1f", 2, 31), DROP_FIELD);
    cr_expect_eq(with_zeros("\xd9\x20", 2, 32), DROP_NONE);
    cr_expect_eq(with_zeros("\xda\x00\xff", 3, 255), DROP_FIELD);
    cr_expect_eq(with_zeros("\xda\x01\x00", 3, 256), DROP_NONE);
    cr_expect_eq(with_zeros("\xc5\x00\xff", 3, 255), DROP_FIELD);
    cr_expect_eq(with_zeros("\xc5\x01\x00", 3, 256), DROP_NONE);
    cr_expect_eq(with_zeros("\xdc\x00\x0f", 3, 15), DROP_FIELD);
    cr_expect_eq(with_zeros("\xdc\x00\x10", 3, 16), DROP_NONE);
    cr_expect_eq(with_zeros("\xdd\x00\x00\x00\x10", 5, 16), DROP_FIELD);
    cr_expect_eq(with_zeros("\xde\x00\x01", 3, 2), DROP_FIELD);
    cr_expect_eq(with_zeros("\xdf\x00\x00\x00\x01", 5, 2), DROP_FIELD);
}

Test(mp_check, wire_maps_have_ascending_keys_without_repeats)
{
    cr_expect_eq(WIRE(0x82, 1, 0, 2, 0), DROP_NONE);
    cr_expect_eq(WIRE(0x82, 2, 0, 1, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 1, 0, 1, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0x7f, 0, 0xcc, 0x80, 0), DROP_NONE); /* 127, 128 */
    cr_expect_eq(WIRE(0x82, 0xcc, 0x80, 0, 0x7f, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0xe0, 0, 0xff, 0), DROP_NONE); /* -32, -1 */
    cr_expect_eq(WIRE(0x82, 0xff, 0, 0xe0, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0xd0, 0xdf, 0, 0xe0, 0), DROP_NONE); /* -33, -32 */
    cr_expect_eq(WIRE(0x82, 0xff, 0, 0x00, 0), DROP_NONE);       /* -1, 0 */
    cr_expect_eq(WIRE(0x82, 0x00, 0, 0xff, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 5, 0, 0xa1, 'a', 0), DROP_NONE); /* integers before strings */
    cr_expect_eq(WIRE(0x82, 0xa1, 'a', 0, 5, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0xa1, 'a', 0, 0xa2, 'a', 'a', 0), DROP_NONE); /* prefix first */
    cr_expect_eq(WIRE(0x82, 0xa2, 'a', 'a', 0, 0xa1, 'a', 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0xa2, 'a', 'b', 0, 0xa1, 'b', 0), DROP_NONE); /* bytes before length */
    cr_expect_eq(WIRE(0x82, 0xa1, 'a', 0, 0xa1, 'a', 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x82, 0xa0, 0, 0xa0, 0), DROP_FIELD); /* the empty key twice */
    cr_expect_eq(WIRE(0x82, 0xa1, 'z', 0, 0xa2, 0xc3, 0xa9, 0), DROP_NONE); /* unsigned bytes */
}

Test(mp_check, keys_of_one_map_do_not_leak_into_another)
{
    cr_expect_eq(WIRE(0x82, 5, 0x81, 1, 0, 6, 0x81, 1, 0), DROP_NONE);
    cr_expect_eq(WIRE(0x82, 5, 0x81, 9, 0, 5, 0), DROP_FIELD);
    cr_expect_eq(LOCAL(0x82, 5, 0x81, 5, 0, 6, 0x81, 5, 0), DROP_NONE);
    cr_expect_eq(LOCAL(0x82, 5, 0x81, 9, 0, 5, 0), DROP_FIELD);
}

Test(mp_check, keys_are_integers_or_strings)
{
    cr_expect_eq(WIRE(0x81, 0xc0, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x81, 0xc3, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x81, 0xc4, 1, 'a', 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x81, 0x90, 0), DROP_FIELD);
    cr_expect_eq(WIRE(0x81, 0x80, 0), DROP_FIELD);
    cr_expect_eq(LOCAL(0x81, 0xca, 0, 0, 0, 0, 0), DROP_FIELD);
}

Test(mp_check, local_maps_are_free_in_order_but_not_in_repeats)
{
    cr_expect_eq(LOCAL(0x82, 2, 0, 1, 0), DROP_NONE);
    cr_expect_eq(LOCAL(0x82, 0xa1, 'a', 0, 5, 0), DROP_NONE);
    cr_expect_eq(LOCAL(0x83, 2, 0, 1, 0, 2, 0), DROP_FIELD);
    cr_expect_eq(LOCAL(0x83, 0xa1, 'b', 0, 0xa1, 'a', 0, 0xa1, 'b', 0), DROP_FIELD);
}

Test(mp_check, local_maps_have_at_most_64_keys)
{
    for (unsigned n = 63; n <= 65; n++) {
        uint8_t data[3 + 2 * 65] = { 0xde, 0, (uint8_t)n };
        for (unsigned i = 0; i < n; i++)
            data[3 + 2 * i] = (uint8_t)(n - i);
        cr_expect_eq(check(data, 3 + 2 * n, &mp_local_rules), n <= 64 ? DROP_NONE : DROP_LIMIT);
        data[3 + 2 * (n - 1)] = (uint8_t)n; /* the last repeats the first */
        cr_expect_eq(check(data, 3 + 2 * n, &mp_local_rules), n <= 64 ? DROP_FIELD : DROP_LIMIT);
    }
}

Test(mp_check, depth_counts_arrays_maps_and_empty_ones)
{
    for (unsigned allowed = 0; allowed <= 16; allowed++) {
        const struct mp_rules rules = { .depth_max = allowed, .items_max = 100 };
        for (unsigned depth = 1; depth <= 18; depth++) {
            uint8_t data[64];
            size_t n = 0;
            for (unsigned i = 1; i < depth; i++) { /* arrays and maps in turn */
                data[n++] = i % 2 == 0 ? 0x91 : 0x81;
                if (i % 2 == 1)
                    data[n++] = 1;
            }
            data[n++] = depth % 2 == 0 ? 0x90 : 0x80;
            cr_expect_eq(check(data, n, &rules), depth <= allowed ? DROP_NONE : DROP_LIMIT,
                         "depth %u of %u", depth, allowed);
        }
    }
    cr_expect_eq(WIRE(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0), DROP_NONE);
    cr_expect_eq(WIRE(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90), DROP_LIMIT);
}

Test(mp_check, depth_goes_down_again_between_siblings)
{
    uint8_t data[1 + 15 * 2];
    const struct mp_rules rules = { .depth_max = 2, .items_max = 100 };
    data[0] = 0x9f;
    for (unsigned i = 0; i < 15; i++) {
        data[1 + 2 * i] = 0x91;
        data[2 + 2 * i] = 0;
    }
    cr_expect_eq(check(data, sizeof data, &rules), DROP_NONE);
}

Test(mp_check, items_count_containers_keys_and_values)
{
    static const uint8_t data[] = { 0x82, 1, 0x92, 0, 0, 2, 0xa0 }; /* 7 values */
    for (uint32_t max = 0; max < 12; max++) {
        const struct mp_rules rules = { .depth_max = 4, .items_max = max };
        cr_expect_eq(check(data, sizeof data, &rules), max >= 7 ? DROP_NONE : DROP_LIMIT, "max %u",
                     max);
    }
}

Test(mp_check, the_largest_array_is_one_short_of_items_max)
{
    static uint8_t data[3 + MP_ITEMS_MAX];
    data[0] = 0xdc;
    data[1] = (MP_ITEMS_MAX - 1) >> 8;
    data[2] = (MP_ITEMS_MAX - 1) & 0xff;
    cr_expect_eq(check(data, 3 + MP_ITEMS_MAX - 1, &mp_wire_rules), DROP_NONE);
    data[1] = MP_ITEMS_MAX >> 8;
    data[2] = MP_ITEMS_MAX & 0xff;
    cr_expect_eq(check(data, 3 + MP_ITEMS_MAX, &mp_wire_rules), DROP_LIMIT);
}

Test(mp_check, floats_are_finite)
{
    cr_expect_eq(LOCAL(0xca, 0x7f, 0x7f, 0xff, 0xff), DROP_NONE);
    cr_expect_eq(LOCAL(0xca, 0x80, 0, 0, 0), DROP_NONE);
    cr_expect_eq(LOCAL(0xca, 0x7f, 0x80, 0, 0), DROP_FIELD); /* infinity */
    cr_expect_eq(LOCAL(0xca, 0xff, 0xa0, 0, 0), DROP_FIELD); /* a signalling NaN */
    cr_expect_eq(LOCAL(0xca, 0x7f, 0xc0, 0, 0), DROP_FIELD); /* a quiet NaN */
    cr_expect_eq(LOCAL(0xcb, 0x7f, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), DROP_NONE);
    cr_expect_eq(LOCAL(0xcb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0), DROP_FIELD);
    cr_expect_eq(LOCAL(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1), DROP_FIELD);
    cr_expect_eq(LOCAL(0xcb, 0x7f, 0xf0), DROP_SHORT);
}

Test(mp_check, strings_are_well_formed_utf8)
{
    cr_expect_eq(WIRE(0xa2, 0xc3, 0xa9), DROP_NONE);
    cr_expect_eq(WIRE(0xa4, 0xf4, 0x8f, 0xbf, 0xbf), DROP_NONE);  /* U+10FFFF */
    cr_expect_eq(WIRE(0xa4, 0xf4, 0x90, 0x80, 0x80), DROP_FIELD); /* above it */
    cr_expect_eq(WIRE(0xa3, 0xed, 0x9f, 0xbf), DROP_NONE);        /* U+D7FF */
    cr_expect_eq(WIRE(0xa3, 0xed, 0xa0, 0x80), DROP_FIELD);       /* a surrogate */
    cr_expect_eq(WIRE(0xa2, 0xc0, 0x80), DROP_FIELD);             /* overlong */
    cr_expect_eq(WIRE(0xa3, 0xe0, 0x9f, 0xbf), DROP_FIELD);
    cr_expect_eq(WIRE(0xa4, 0xf0, 0x8f, 0xbf, 0xbf), DROP_FIELD);
    cr_expect_eq(WIRE(0xa1, 0x80), DROP_FIELD);
    cr_expect_eq(WIRE(0xa1, 0xc3), DROP_FIELD); /* cut by the string's end */
    cr_expect_eq(WIRE(0x92, 0xa1, 0xc3, 0xa1, 0xa9), DROP_FIELD);
    cr_expect_eq(WIRE(0xa2, 0xc3, 'a'), DROP_FIELD);
    cr_expect_eq(WIRE(0xa1, 0xff), DROP_FIELD);
    cr_expect_eq(WIRE(0x81, 0xa1, 0xff, 0), DROP_FIELD, "keys as well");
}

Test(mp_parse, decodes_what_the_guard_takes_and_packs_to_the_same_bytes)
{
    static uint8_t buf[BODY_MAX], again[BODY_MAX];
    size_t n = build_everything(buf, sizeof buf, true);
    cleanup_mp struct mp_doc doc;
    cr_assert_eq(mp_parse(&doc, buf, n, &mp_local_rules), DROP_NONE);
    struct writer w = writer_on(again, sizeof again);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    cr_assert_eq(msgpack_pack_object(&pk, doc.root), 0);
    cr_expect_eq(writer_len(&w), n);
    cr_expect_eq(memcmp(buf, again, n), 0);
}

Test(mp_parse, leaves_an_empty_document_when_it_refuses)
{
    struct mp_doc doc;
    cr_expect_eq(mp_parse(&doc, (const uint8_t *)"\xc1", 1, &mp_wire_rules), DROP_FIELD);
    cr_expect_not(doc.has_zone);
    mp_doc_fini(&doc);
    mp_doc_fini(&doc);
    cr_expect_eq(mp_parse(&doc, NULL, 0, &mp_wire_rules), DROP_SHORT);
    mp_doc_fini(&doc);
}

Test(mp_get, finds_by_key_and_never_trusts_types)
{
    static const uint8_t data[] = { 0x84, 1,   42,   2,   0xff, 0xa1, 'k', 0xa3, 'a',
                                    'b',  'c', 0xa1, 'm', 0xc4, 2,    8,   9 };
    cleanup_mp struct mp_doc doc;
    cr_assert_eq(mp_parse(&doc, data, sizeof data, &mp_wire_rules), DROP_NONE);
    const msgpack_object *one = mp_get_int(&doc.root, 1), *two = mp_get_int(&doc.root, 2);
    const msgpack_object *str = mp_get(&doc.root, "k"), *bin = mp_get(&doc.root, "m");
    uint64_t u = 7;
    int64_t i = 7;
    bool b = true;
    const uint8_t *p = NULL;
    const char *s = NULL;
    size_t n = 7;
    cr_expect(mp_u64(one, &u) && u == 42);
    cr_expect(mp_i64(one, &i) && i == 42);
    cr_expect_not(mp_u64(two, &u));
    cr_expect(mp_i64(two, &i) && i == -1);
    cr_expect(mp_str(str, &s, &n) && n == 3 && memcmp(s, "abc", 3) == 0);
    cr_expect(mp_is_str(str, "abc"));
    cr_expect_not(mp_is_str(str, "ab"));
    cr_expect_not(mp_is_str(str, "abcd"));
    cr_expect_not(mp_is_str(one, "abc"));
    cr_expect(mp_bin(bin, 2, &p) && p[1] == 9);
    cr_expect_not(mp_bin(bin, 3, &p));
    cr_expect(mp_bin_any(bin, &p, &n) && n == 2);
    cr_expect_not(mp_bin_any(str, &p, &n));
    cr_expect_not(mp_str(bin, &s, &n));
    cr_expect_not(mp_bool(one, &b));
    cr_expect_eq(u, 42, "outputs are untouched on a mismatch");
    cr_expect(b);
    cr_expect_null(mp_get(&doc.root, "x"));
    cr_expect_null(mp_get_int(&doc.root, 3));
    cr_expect_null(mp_get(one, "k"));
    cr_expect_null(mp_get_int(str, 1));
    cr_expect_null(mp_get(NULL, "k"));
    cr_expect_not(mp_u64(NULL, &u) || mp_i64(NULL, &i) || mp_bool(NULL, &b) ||
                  mp_str(NULL, &s, &n) || mp_bin(NULL, 2, &p) || mp_bin_any(NULL, &p, &n) ||
                  mp_is_str(NULL, ""));
}

Test(mp_get, numbers_beyond_63_bits_are_no_i64)
{
    static const uint8_t data[] = { 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0 };
    cleanup_mp struct mp_doc doc;
    int64_t i = 5;
    uint64_t u = 0;
    cr_assert_eq(mp_parse(&doc, data, sizeof data, &mp_wire_rules), DROP_NONE);
    cr_expect_not(mp_i64(&doc.root, &i));
    cr_expect_eq(i, 5);
    cr_expect(mp_u64(&doc.root, &u) && u == 1ull << 63);
}

Test(mp_packer, says_when_the_buffer_is_full)
{
    uint8_t buf[8];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    mp_pack_str(&pk, "1234567");
    cr_expect(writer_ok(&w));
    msgpack_pack_nil(&pk);
    cr_expect_not(writer_ok(&w));
    cr_expect_eq(writer_len(&w), 8);
}

Test(mp_pack, text_is_well_formed_whatever_it_was)
{
    static const struct {
        const char *in, *out;
    } cases[] = { { "", "" },
                  { "h\xc3\xa9", "h\xc3\xa9" },
                  { "cut \xc3", "cut \xef\xbf\xbd" },
                  { "\xff/\xed\xa0\x80", "\xef\xbf\xbd/\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t buf[64];
        struct writer w = writer_on(buf, sizeof buf);
        msgpack_packer pk;
        cleanup_mp struct mp_doc doc = { .has_zone = false };
        mp_packer(&pk, &w);
        mp_pack_text(&pk, cases[i].in);
        cr_assert_eq(mp_parse(&doc, buf, writer_len(&w), &mp_wire_rules), DROP_NONE, "case %zu", i);
        cr_expect(mp_is_str(&doc.root, cases[i].out), "case %zu", i);
    }
}
