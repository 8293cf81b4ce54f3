#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/replay_internal.h"

enum { CAP = 1 << 16 };

static uint8_t bytes[CAP];

static struct onion__replay_file example(bool is_saved)
{
    struct onion__replay_file f = { .is_saved = is_saved, .floor = 1000, .ceiling = 2000 };
    f.names.of[0] = 7;
    f.names.of[1] = UINT64_MAX;
    memset(f.run, 0x44, sizeof f.run);
    if (!is_saved)
        return f;
    memset(f.key, 0x33, sizeof f.key);
    f.gens[0].start = 900;
    f.gens[0].newest = 960;
    f.gens[1].start = 480;
    f.gens[1].newest = 540;
    for (uint64_t i = 1; i <= 50; i++) {
        cr_assert_eq(onion__set_add(&f.gens[0].seen, i * UINT64_C(0x9e3779b97f4a7c15)), 0);
        if (i <= 20)
            cr_assert_eq(onion__set_add(&f.gens[1].seen, i), 0);
    }
    return f;
}

/* Decodes a heap copy of exact size. */
static int decode(struct onion__replay_file *out, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    int code = onion__replay_decode(out, copy, len);
    free(copy);
    return code;
}

static int decode_code(const uint8_t *data, size_t len)
{
    struct onion__replay_file f;
    int code = decode(&f, data, len);
    if (code != 0)
        cr_assert_eq(sodium_is_zero((const uint8_t *)&f, sizeof f), 1, "something is left");
    onion__replay_file_clear(&f);
    return code;
}

static size_t encoded(bool is_saved)
{
    struct onion__replay_file f = example(is_saved);
    int len = onion__replay_encode(&f, bytes, sizeof bytes);
    cr_assert_gt(len, 0);
    cr_assert_eq((size_t)len, onion__replay_file_size(&f));
    onion__replay_file_clear(&f);
    return (size_t)len;
}

static void sum_again(size_t len)
{
    crypto_h(bytes + len - 32, "cyx replay file", &BYTES(bytes, len - 32), 1);
}

Test(replay_file, round_trips_both_forms)
{
    for (unsigned is_saved = 0; is_saved < 2; is_saved++) {
        struct onion__replay_file want = example(is_saved), got;
        cr_assert_eq(decode(&got, bytes, encoded(is_saved)), 0);
        cr_assert_eq(got.is_saved, want.is_saved);
        cr_assert_eq(got.floor, 1000u);
        cr_assert_eq(got.ceiling, 2000u);
        cr_assert_arr_eq(&got.names, &want.names, sizeof got.names);
        cr_assert_arr_eq(got.key, want.key, sizeof got.key);
        for (size_t i = 0; i < ONION__GENERATIONS; i++) {
            cr_assert_eq(got.gens[i].start, want.gens[i].start);
            cr_assert_eq(got.gens[i].newest, want.gens[i].newest);
            cr_assert_eq(got.gens[i].seen.n, want.gens[i].seen.n);
            for (size_t s = 0; s < want.gens[i].seen.cap; s++)
                if (want.gens[i].seen.slots[s] != 0)
                    cr_assert(onion__set_has(&got.gens[i].seen, want.gens[i].seen.slots[s]));
        }
        onion__replay_file_clear(&want);
        onion__replay_file_clear(&got);
    }
}

Test(replay_file, refuses_every_truncation_and_every_changed_byte)
{
    for (unsigned is_saved = 0; is_saved < 2; is_saved++) {
        size_t len = encoded(is_saved);
        for (size_t cut = 0; cut < len; cut++)
            cr_assert_eq(decode_code(bytes, cut), CYX_ECORRUPT, "length %zu", cut);
        cr_assert_eq(decode_code(bytes, len + 1), CYX_ECORRUPT);
        for (size_t at = 0; at < len; at++) {
            bytes[at] ^= (uint8_t)(1u << at % 8);
            cr_assert_eq(decode_code(bytes, len), CYX_ECORRUPT, "byte %zu", at);
            bytes[at] ^= (uint8_t)(1u << at % 8);
        }
        cr_assert_eq(decode_code(bytes, len), 0);
    }
}

/* A right checksum over wrong bytes: a bug of another version, but never a crash of this one. */
Test(replay_file, refuses_every_truncation_under_a_right_checksum)
{
    for (unsigned is_saved = 0; is_saved < 2; is_saved++)
        for (size_t cut = 41; cut < encoded(is_saved); cut++) {
            (void)encoded(is_saved);
            sum_again(cut);
            cr_assert_eq(decode_code(bytes, cut), CYX_ECORRUPT, "length %zu", cut);
        }
}

Test(replay_file, refuses_fields_that_can_not_be)
{
    enum { AT_VERSION = 8, AT_SAVED = 9, AT_COUNT = 74 + 16 + 16 + 16, AT_HASHES = AT_COUNT + 4 };
    size_t len = encoded(true);
    bytes[AT_VERSION] = 1;
    sum_again(len);
    cr_assert_eq(decode_code(bytes, len), CYX_EVERSION);
    (void)encoded(true);
    bytes[AT_SAVED] = 2;
    sum_again(len);
    cr_assert_eq(decode_code(bytes, len), CYX_ECORRUPT);
    (void)encoded(true);
    memset(bytes + AT_COUNT, 0xff, 4); /* more than there are bytes */
    sum_again(len);
    cr_assert_eq(decode_code(bytes, len), CYX_ECORRUPT);
    (void)encoded(true);
    memset(bytes + AT_HASHES, 0, 8); /* the mark of an empty slot */
    sum_again(len);
    cr_assert_eq(decode_code(bytes, len), CYX_ECORRUPT);
    (void)encoded(true);
    memcpy(bytes + AT_HASHES, bytes + AT_HASHES + 8, 8); /* one twice */
    sum_again(len);
    cr_assert_eq(decode_code(bytes, len), CYX_ECORRUPT);
}

Test(replay_file, says_when_there_is_no_room)
{
    size_t len = encoded(true);
    uint8_t out[CAP];
    for (size_t cap = 0; cap < len; cap++) {
        struct onion__replay_file f = example(true);
        cr_assert_eq(onion__replay_encode(&f, out, cap), CYX_EFULL);
        onion__replay_file_clear(&f);
    }
}

/* ---- the set --------------------------------------------------------------------------------- */

Test(replay_set, holds_what_was_added_and_nothing_else)
{
    struct onion__set s = { 0 };
    cr_assert_not(onion__set_has(&s, 1));
    for (uint64_t i = 1; i <= 1000; i++) {
        /* Neighbours and multiples of powers of two: the worst for a table without a hash. */
        uint64_t hash = i % 2 ? i : i << 40;
        cr_assert_not(onion__set_has(&s, hash));
        cr_assert_eq(onion__set_add(&s, hash), 0);
        cr_assert_eq(onion__set_add(&s, hash), CYX_EEXIST);
    }
    cr_assert_eq(s.n, 1000u);
    for (uint64_t i = 1; i <= 1000; i++)
        cr_assert(onion__set_has(&s, i % 2 ? i : i << 40));
    onion__set_clear(&s);
    cr_assert_eq(s.n, 0u);
    cr_assert_not(onion__set_has(&s, 1));
    onion__set_clear(&s);
}

Test(replay_set, takes_memory_in_proportion_to_use)
{
    struct onion__set s = { 0 };
    uint8_t seed[32] = { 1 };
    uint64_t *hashes = malloc(ONION_REPLAY_MAX * sizeof *hashes);
    cr_assert_not_null(hashes);
    randombytes_buf_deterministic(hashes, ONION_REPLAY_MAX * sizeof *hashes, seed);
    for (size_t i = 0; i < ONION_REPLAY_MAX; i++) {
        if (onion__set_add(&s, hashes[i] | 1) == CYX_ENOMEM)
            cr_assert_fail("no memory");
        if (s.cap > 16 && s.cap > s.n * 8 / 3 + 8)
            cr_assert_fail("%zu slots for %zu entries", s.cap, s.n);
    }
    cr_assert_leq(s.cap * sizeof *s.slots, (size_t)8 << 20);
    for (size_t i = 0; i < ONION_REPLAY_MAX; i++)
        if (!onion__set_has(&s, hashes[i] | 1))
            cr_assert_fail("entry %zu is not found", i);
    onion__set_clear(&s);
    free(hashes);
}
