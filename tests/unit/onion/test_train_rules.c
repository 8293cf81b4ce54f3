/* What holds for every train and every reply: nothing passes that was changed, everything looks
 * alike, misuse is refused. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "train_rig.h"

static struct train_rig r;

static void set_up(void)
{
    rig_init(&r);
}

TestSuite(train, .init = set_up);
TestSuite(train_reply, .init = set_up);

/* The points of small order, in the encodings below 2^255 (RFC 7748, section 6.1, names zero as the
 * result that gives them away). */
static const uint8_t small_order[][32] = {
    { 0 },
    { 1 },
    { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
      0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
      0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
    { 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
      0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
      0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
    { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
};
enum { SMALL_ORDER = sizeof small_order / sizeof small_order[0] };

/* ---- out and back ---------------------------------------------------------------------------- */

Test(train, ends_with_the_same_keys_at_both_sides_for_every_length)
{
    for (size_t n = 1; n <= ONION_HOPS_MAX; n++) {
        struct onion_opened opened[ONION_HOPS_MAX];
        struct onion_answer answers[ONION_HOPS_MAX];
        struct onion_built built;
        uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
        struct onion_build b = rig_path(&r, n, ONION_BUILD_END);
        struct onion_train *t = rig_create(&r, &b, train);
        rig_travel(&r, train, n - 1, opened);
        rig_return(&r, opened, n - 1, ONION_OK, reply, answers);
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
        cr_assert_eq(built.n_hops, n);
        cr_assert_eq(built.status, ONION_OK);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(memcmp(&built.keys[i], &answers[i].keys, sizeof built.keys[i]), 0);
            cr_assert_neq(memcmp(built.keys[i].forward, built.keys[i].backward, 32), 0);
            for (size_t k = 0; k < i; k++)
                cr_assert_neq(memcmp(&built.keys[i], &built.keys[k], sizeof built.keys[i]), 0);
        }
        onion_train_destroy(t);
    }
}

Test(train, tells_each_hop_the_next_one_and_the_last_what_to_do)
{
    struct onion_opened o[3];
    uint8_t train[ONION_TRAIN], early[ONION_PAYLOAD], zero[ONION_REST_FIELDS] = { 0 };
    struct onion_build b = rig_path(&r, 3, ONION_BUILD_SPLICE);
    randombytes_buf(early, sizeof early);
    b.last.early_kind = 1;
    b.last.early_len = sizeof early;
    b.early = early;
    b.last.stamp = 77; /* `stamp` counts */
    memset(b.last.target, 0xaa, sizeof b.last.target);
    memset(b.last.rest, 0xbb, sizeof b.last.rest);
    struct onion_train *t = rig_create(&r, &b, train);
    rig_travel(&r, train, 2, o);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(o[i].fields.command, ONION_BUILD_RELAY);
        cr_assert_arr_eq(o[i].fields.target, r.hops[i + 1].id, 32);
        cr_assert_arr_eq(o[i].fields.rest, zero, sizeof zero);
        cr_assert_eq(o[i].fields.early_len, 0);
        cr_assert_eq(o[i].fields.stamp, 1699999980u);
    }
    cr_assert_eq(o[2].fields.stamp, 1699999980u);
    cr_assert_eq(o[2].fields.early_kind, 1);
    cr_assert_eq(o[2].fields.early_len, sizeof early);
    cr_assert_arr_eq(o[2].fields.target, b.last.target, 32);
    cr_assert_arr_eq(o[2].fields.rest, b.last.rest, sizeof b.last.rest);
    cr_assert_arr_eq(train, early, sizeof early);
    onion_train_destroy(t);
}

Test(train, says_a_minute_and_never_the_second)
{
    const uint64_t stamps[][2] = { { 0, 0 },
                                   { 59, 0 },
                                   { 60, 60 },
                                   { 119, 60 },
                                   { 1700000040, 1700000040 },
                                   { UINT64_MAX, UINT64_MAX - UINT64_MAX % 60 } };
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
        struct onion_opened o;
        uint8_t train[ONION_TRAIN];
        struct onion_build b = rig_path(&r, 1, ONION_BUILD_END);
        b.stamp = stamps[i][0];
        struct onion_train *t = rig_create(&r, &b, train);
        rig_travel(&r, train, 0, &o);
        cr_assert_eq(o.fields.stamp, stamps[i][1]);
        onion_train_destroy(t);
    }
}

Test(train, returns_a_command_it_does_not_know_as_sent)
{
    for (unsigned command = 0; command < 256; command++) {
        struct onion_opened o;
        uint8_t train[ONION_TRAIN];
        struct onion_build b = rig_path(&r, 1, (uint8_t)command);
        struct onion_train *t = rig_create(&r, &b, train);
        rig_travel(&r, train, 0, &o);
        cr_assert_eq(o.fields.command, command);
        onion_train_destroy(t);
    }
}

/* ---- nothing passes that was changed --------------------------------------------------------- */

static enum drop want_drop(size_t at)
{
    return at == 0 ? DROP_FIELD : at < 4 ? DROP_KEY : DROP_AUTH;
}

/* One bit of each byte, a different one from byte to byte, at the entry of hop `i`. */
static void flip_all(uint8_t train[static ONION_TRAIN], size_t i)
{
    uint8_t before[ONION_TRAIN];
    for (size_t at = 0; at < ONION_TRAIN; at++) {
        struct onion_opened o = { .e = { 9 } };
        train[at] ^= (uint8_t)(1u << (at + at / 8) % 8);
        memcpy(before, train, sizeof before);
        cr_assert_eq(onion_hop_open(&o, &r.hops[i], &r.net, train), want_drop(at),
                     "hop %zu byte %zu", i, at);
        cr_assert_eq(memcmp(before, train, sizeof before), 0, "the train was touched");
        cr_assert_eq(o.e[0], 9, "the output was touched");
        train[at] ^= (uint8_t)(1u << (at + at / 8) % 8);
    }
}

Test(train, stops_at_the_next_honest_hop_when_any_bit_is_changed)
{
    struct onion_opened o;
    uint8_t train[ONION_TRAIN];
    const struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
    struct onion_train *t = rig_create(&r, &b, train);
    for (size_t i = 0; i < 3; i++) {
        flip_all(train, i);
        cr_assert_eq(onion_hop_open(&o, &r.hops[i], &r.net, train), DROP_NONE);
    }
    onion_train_destroy(t);
}

Test(train, stops_for_every_bit_of_head_and_ephemeral)
{
    struct onion_opened o;
    uint8_t train[ONION_TRAIN];
    const struct onion_build b = rig_path(&r, 1, ONION_BUILD_END);
    struct onion_train *t = rig_create(&r, &b, train);
    for (size_t bit = 0; bit < 8 * ONION__RECORD_SEALED; bit++) {
        train[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* The top bit of e is not part of the point: the hash over e sees it. */
        cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), want_drop(bit / 8), "bit %zu",
                     bit);
        train[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), DROP_NONE);
    onion_train_destroy(t);
}

Test(train, opens_for_one_node_of_one_network_only)
{
    struct onion_opened o;
    struct mesh_network other;
    uint8_t train[ONION_TRAIN];
    const struct onion_build b = rig_path(&r, 2, ONION_BUILD_END);
    struct onion_train *t = rig_create(&r, &b, train);
    struct mesh_identity twin = r.hops[0], stranger = r.hops[0];
    cr_assert_eq(mesh_network_init(&other, "others", 1, true, NULL), 0);
    cr_assert_eq(onion_hop_open(&o, &r.hops[1], &r.net, train), DROP_KEY); /* wrong hint */
    cr_assert_eq(onion_hop_open(&o, &r.hops[0], &other, train), DROP_AUTH);
    twin.id[31] ^= 1;
    cr_assert_eq(onion_hop_open(&o, &twin, &r.net, train), DROP_AUTH);
    stranger.onion[0].secret[1] ^= 1; /* the right hint, the wrong key */
    cr_assert_eq(onion_hop_open(&o, &stranger, &r.net, train), DROP_AUTH);
    cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), DROP_NONE);
    onion_train_destroy(t);
}

Test(train, opens_with_every_key_that_is_kept_and_with_none_that_is_wiped)
{
    for (size_t slot = 0; slot < MESH_ONION_KEYS; slot++) {
        struct onion_opened o;
        uint8_t train[ONION_TRAIN], copy[ONION_TRAIN];
        const struct onion_build b = rig_path(&r, 1, ONION_BUILD_END);
        struct onion_train *t = rig_create(&r, &b, train);
        struct mesh_identity later = r.hops[0];
        for (size_t k = 0; k < MESH_ONION_KEYS; k++) /* other keys in all other slots */
            later.onion[k] = r.hops[1 + k % 4].onion[0];
        later.onion[slot] = r.hops[0].onion[0];
        memcpy(copy, train, sizeof copy);
        cr_assert_eq(onion_hop_open(&o, &later, &r.net, copy), DROP_NONE, "slot %zu", slot);
        memset(&later.onion[slot], 0, sizeof later.onion[slot]);
        cr_assert_eq(onion_hop_open(&o, &later, &r.net, train), DROP_KEY, "slot %zu", slot);
        onion_train_destroy(t);
    }
}

/* Numbers found by search: the public keys of these two secrets have one hint (ff998b). */
static struct mesh_keypair of_one_hint(uint32_t number)
{
    struct mesh_keypair k = { .secret = { 0x40 }, .made = 1 };
    for (unsigned i = 0; i < 4; i++)
        k.secret[4 + i] = (uint8_t)(number >> (8 * i));
    memset(k.secret + 8, 0x42, 24);
    crypto_dh_public(k.pub, k.secret);
    return k;
}

Test(train, tries_both_keys_when_two_share_a_hint)
{
    struct mesh_identity both = r.hops[0];
    struct mesh_keypair keys[2] = { of_one_hint(4030), of_one_hint(6361) };
    uint8_t hints[2][3];
    both.onion[0] = keys[0];
    both.onion[1] = keys[1];
    onion__hint(hints[0], keys[0].pub);
    onion__hint(hints[1], keys[1].pub);
    cr_assert_arr_eq(hints[0], hints[1], 3);
    for (size_t k = 0; k < 2; k++) {
        struct onion_opened o;
        uint8_t train[ONION_TRAIN];
        struct onion_build b = rig_path(&r, 1, ONION_BUILD_END);
        memcpy(b.hops[0].onion_key, keys[k].pub, 32);
        struct onion_train *t = rig_create(&r, &b, train);
        cr_assert_eq(onion_hop_open(&o, &both, &r.net, train), DROP_NONE, "key %zu", k);
        onion_train_destroy(t);
    }
}

Test(train, refuses_points_of_small_order_everywhere)
{
    struct onion_opened o;
    struct onion_built built;
    struct cyx_err err = { 0 };
    uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
    for (size_t i = 0; i < SMALL_ORDER; i++) {
        struct onion_build b = rig_path(&r, 2, ONION_BUILD_END);
        struct onion_train *t = rig_create(&r, &b, train);
        memcpy(train + ONION__RECORD_E, small_order[i], 32);
        cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), DROP_AUTH);
        memset(reply, 7, sizeof reply);
        memcpy(reply, small_order[i], 32);
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_AUTH);
        onion_train_destroy(t);
        memset(train, 3, sizeof train);
        memcpy(b.hops[1].onion_key, small_order[i], 32);
        cr_assert_null(onion_train_create(&b, &r.net, &r.env, train, &err));
        cr_assert_eq(err.code, CYX_EPROTO);
        cr_assert_eq(train[0], 3, "the output was touched");
    }
}

/* ---- everything looks alike ------------------------------------------------------------------ */

static unsigned ones(const uint8_t *data, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (unsigned)__builtin_popcount(data[i]);
    return sum;
}

/* Random bytes: 16 blocks of 480 (400) bytes, each with about half of its bits set (6 sigma). */
static void expect_noise(const uint8_t *data, size_t n)
{
    size_t block = n / 16;
    for (size_t at = 0; at + block <= n; at += block) {
        unsigned half = (unsigned)block * 4, got = ones(data + at, block);
        cr_assert(got > half - 200 && got < half + 200, "bytes %zu on: %u of %u bits", at, got,
                  2 * half);
    }
}

Test(train, looks_the_same_at_every_hop_of_every_path)
{
    uint8_t early[ONION_PAYLOAD] = { 0 }; /* as far from noise as can be */
    for (size_t n = 1; n <= ONION_HOPS_MAX; n++) {
        struct onion_opened o;
        uint8_t train[ONION_TRAIN];
        struct onion_build b = rig_path(&r, n, ONION_BUILD_SPLICE);
        if (n <= ONION_EARLY_HOPS_MAX) {
            b.early = early;
            b.last.early_len = sizeof early;
        }
        struct onion_train *t = rig_create(&r, &b, train);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(train[0], 1);
            expect_noise(train + 4, ONION_TRAIN - 16);
            cr_assert_eq(onion_hop_open(&o, &r.hops[i], &r.net, train), DROP_NONE);
        }
        onion_train_destroy(t);
    }
}

Test(train, of_the_same_path_shares_nothing_with_another)
{
    uint8_t train[2][ONION_TRAIN];
    const struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
    for (size_t k = 0; k < 2; k++)
        onion_train_destroy(rig_create(&r, &b, train[k]));
    for (size_t at = 4; at < ONION_TRAIN; at++)
        train[0][at] ^= train[1][at];
    expect_noise(train[0] + 4, ONION_TRAIN - 16);
}

Test(train_reply, with_an_error_looks_like_one_without)
{
    for (size_t last = 0; last < 3; last++) {
        for (unsigned status = 0; status < ONION_STATUSES; status++) {
            struct onion_opened opened[3];
            struct onion_built built;
            uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
            rig_init(&r);
            const struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
            struct onion_train *t = rig_create(&r, &b, train);
            rig_travel(&r, train, 2, opened);
            size_t at = status == ONION_OK ? 2 : last;
            rig_return(&r, opened, at, (enum onion_status)status, reply, NULL);
            expect_noise(reply, sizeof reply);
            cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
            cr_assert_eq(built.status, status);
            cr_assert_eq(built.n_hops, status == ONION_OK ? 3 : last);
            onion_train_destroy(t);
        }
    }
}

/* ---- records that a client of its own making sends ------------------------------------------- */

static const uint8_t e_secret[32] = { 1, 2, 3 };

Test(train, ignores_slot_and_reserved_bytes_and_passes_none_of_them_on)
{
    struct onion__payload p;
    struct onion_opened o;
    struct onion_fields f = { .command = ONION_BUILD_END, .stamp = 60 };
    uint8_t train[ONION_TRAIN] = { 0 };
    onion__payload_write(&p, &f);
    memset(p.b, 0x5a, ONION_SLOT);
    memset(p.b + ONION__PAYLOAD - 200, 0x5a, 200);
    rig_seal(&r, &r.hops[0], e_secret, &p, train);
    cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), DROP_NONE);
    cr_assert_eq(o.fields.command, ONION_BUILD_END);
    cr_assert_eq(memcmp(o.fields.rest, f.rest, sizeof f.rest), 0);
    expect_noise(train, ONION_TRAIN);
}

Test(train, refuses_an_early_payload_longer_than_a_cell_holds)
{
    const uint16_t lens[] = { 0, 1, ONION_PAYLOAD, ONION_PAYLOAD + 1, 7680, 7681, UINT16_MAX };
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct onion__payload p;
        struct onion_opened o;
        struct onion_fields f = { .command = ONION_BUILD_SPLICE, .early_len = lens[i] };
        uint8_t train[ONION_TRAIN] = { 0 }, before[ONION_TRAIN];
        onion__payload_write(&p, &f);
        rig_seal(&r, &r.hops[0], e_secret, &p, train);
        memcpy(before, train, sizeof before);
        enum drop want = lens[i] > ONION_PAYLOAD ? DROP_LIMIT : DROP_NONE;
        cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), want, "length %u", lens[i]);
        cr_assert_eq(memcmp(before, train, sizeof before) == 0, want != DROP_NONE);
    }
}

Test(train, gives_no_early_payload_to_other_commands)
{
    for (unsigned command = 0; command < 256; command++) {
        struct onion__payload p;
        struct onion_opened o;
        struct onion_fields f = { .command = (uint8_t)command, .early_kind = 1, .early_len = 700 };
        uint8_t train[ONION_TRAIN] = { 0 };
        onion__payload_write(&p, &f);
        rig_seal(&r, &r.hops[0], e_secret, &p, train);
        cr_assert_eq(onion_hop_open(&o, &r.hops[0], &r.net, train), DROP_NONE);
        cr_assert_eq(o.fields.early_len, command == ONION_BUILD_SPLICE ? 700 : 0);
        cr_assert_eq(o.fields.early_kind, command == ONION_BUILD_SPLICE ? 1 : 0);
    }
}

Test(train, names_its_ephemeral_before_it_is_opened)
{
    struct onion_opened o;
    uint8_t train[ONION_TRAIN], e[32];
    const struct onion_build b = rig_path(&r, 1, ONION_BUILD_END);
    struct onion_train *t = rig_create(&r, &b, train);
    memcpy(e, onion_train_ephemeral(train), 32);
    rig_travel(&r, train, 0, &o);
    cr_assert_arr_eq(o.e, e, 32);
    onion_train_destroy(t);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static void refuse(const struct onion_build *b)
{
    struct cyx_err err = { 0 };
    uint8_t train[ONION_TRAIN];
    uint64_t draws = r.draws;
    memset(train, 3, sizeof train);
    cr_assert_null(onion_train_create(b, &r.net, &r.env, train, &err));
    cr_assert_eq(err.code, CYX_EINVAL);
    cr_assert_neq(err.msg[0], '\0');
    cr_assert_eq(r.draws, draws);
    for (size_t i = 0; i < sizeof train; i++)
        cr_assert_eq(train[i], 3);
    cr_assert_null(onion_train_create(b, &r.net, &r.env, train, NULL));
}

Test(train, refuses_paths_that_can_not_be)
{
    struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
    b.n_hops = 0;
    refuse(&b);
    b.n_hops = ONION_HOPS_MAX + 1;
    refuse(&b);
    b.n_hops = SIZE_MAX;
    refuse(&b);
    for (size_t i = 0; i < ONION_HOPS_MAX; i++)
        for (size_t k = 0; k < i; k++) {
            b = rig_path(&r, ONION_HOPS_MAX, ONION_BUILD_END);
            memcpy(b.hops[i].id, b.hops[k].id, 32);
            refuse(&b);
        }
}

Test(train, refuses_early_payloads_that_do_not_fit)
{
    uint8_t early[ONION_PAYLOAD + 1] = { 0 };
    struct onion_build b = rig_path(&r, 3, ONION_BUILD_SPLICE);
    b.early = early;
    b.last.early_len = ONION_PAYLOAD + 1;
    refuse(&b);
    b.last.early_len = UINT16_MAX;
    refuse(&b);
    b.last.early_len = 1;
    b.early = NULL;
    refuse(&b);
    b = rig_path(&r, ONION_HOPS_MAX, ONION_BUILD_SPLICE);
    b.early = early;
    b.last.early_len = 1;
    refuse(&b);
    for (unsigned command = 0; command < 256; command++) {
        b = rig_path(&r, 1, (uint8_t)command);
        b.early = early;
        b.last.early_len = 1;
        if (command != ONION_BUILD_SPLICE)
            refuse(&b);
    }
    onion_train_destroy(NULL);
}

/* ---- replies --------------------------------------------------------------------------------- */

/* A client whose train of three hops was answered with `status` by the third. */
static struct onion_train *answered(uint8_t reply[static ONION_REPLY], enum onion_status status)
{
    struct onion_opened opened[3];
    uint8_t train[ONION_TRAIN];
    rig_init(&r);
    const struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
    struct onion_train *t = rig_create(&r, &b, train);
    rig_travel(&r, train, 2, opened);
    rig_return(&r, opened, 2, status, reply, NULL);
    return t;
}

Test(train_reply, tells_how_far_it_opened_when_a_byte_was_changed)
{
    uint8_t reply[ONION_REPLY];
    for (size_t at = 0; at < ONION_REPLY; at += at < 4000 ? 41 : 400) {
        struct onion_built built;
        struct onion_train *t = answered(reply, ONION_OK);
        reply[at] ^= (uint8_t)(1u << at % 8);
        size_t opens = at / ONION_REPLY_RECORD < 3 ? at / ONION_REPLY_RECORD : 3;
        cr_assert_eq(onion_train_reply(t, reply, &built), opens < 3 ? DROP_AUTH : DROP_NONE);
        cr_assert_eq(built.n_hops, opens, "byte %zu", at);
        cr_assert_eq(built.status, opens < 3 ? ONION_NOTHING_BACK : ONION_OK);
        onion_train_destroy(t);
    }
}

Test(train_reply, is_read_once)
{
    struct onion_built built, before;
    uint8_t reply[ONION_REPLY];
    for (unsigned flip = 0; flip < 2; flip++) {
        struct onion_train *t = answered(reply, ONION_OK);
        reply[0] ^= (uint8_t)flip;
        cr_assert_eq(onion_train_reply(t, reply, &built), flip ? DROP_AUTH : DROP_NONE);
        reply[0] ^= (uint8_t)flip;
        before = built;
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_STATE);
        cr_assert_eq(memcmp(&before, &built, sizeof built), 0);
        onion_train_destroy(t);
    }
    onion_built_wipe(&built);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&built, sizeof built), 1);
}

Test(train_reply, of_another_train_opens_nothing)
{
    struct onion_built built;
    uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
    struct onion_train *t = answered(reply, ONION_OK);
    const struct onion_build b = rig_path(&r, 3, ONION_BUILD_END);
    struct onion_train *other = rig_create(&r, &b, train);
    cr_assert_eq(onion_train_reply(other, reply, &built), DROP_AUTH);
    cr_assert_eq(built.n_hops, 0u);
    onion_train_destroy(t);
    onion_train_destroy(other);
}

Test(train_reply, passes_a_status_it_does_not_know)
{
    struct onion_built built;
    uint8_t reply[ONION_REPLY];
    struct onion_train *t = answered(reply, (enum onion_status)200);
    cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
    cr_assert_eq(built.status, 200);
    cr_assert_eq(built.n_hops, 2u);
    onion_train_destroy(t);
    for (unsigned status = 0; status < 300; status++) {
        const char *text = onion_status_text(status);
        cr_assert_not_null(text);
        cr_assert_gt(strlen(text), 1u);
    }
    cr_assert_str_eq(onion_status_text(ONION_NO_TOKEN), "no such token at the pivot");
    cr_assert_str_eq(onion_status_text(ONION_STATUSES), onion_status_text(UINT32_MAX));
}

static void one_hop(struct onion_train **t, struct onion_answer *a)
{
    struct onion_opened o;
    uint8_t train[ONION_TRAIN];
    rig_init(&r);
    const struct onion_build b = rig_path(&r, 1, ONION_BUILD_SPLICE);
    *t = rig_create(&r, &b, train);
    rig_travel(&r, train, 0, &o);
    cr_assert_eq(onion_hop_answer(a, &o, &r.env), 0);
    onion_opened_wipe(&o);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&o, sizeof o), 1);
}

Test(train_reply, asks_for_work_with_effort_and_seed_and_says_them_with_no_other_status)
{
    const uint8_t seed[16] = "a seed of sixtee", zero[16] = { 0 };
    for (unsigned status = 0; status < ONION_STATUSES; status++) {
        struct onion_answer a;
        struct onion_train *t;
        struct onion_built built;
        uint8_t reply[ONION_REPLY];
        one_hop(&t, &a);
        onion_hop_reply(&a, (enum onion_status)status, 77, seed, true, &r.env, reply);
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
        bool wants = status == ONION_MORE_WORK;
        cr_assert_eq(built.effort, wants ? 77u : 0u);
        cr_assert_arr_eq(built.seed, wants ? seed : zero, 16);
        onion_train_destroy(t);
    }
}

Test(train_reply, is_sealed_once_and_leaves_the_keys_of_the_path_alone)
{
    struct onion_answer a, before;
    struct onion_train *t;
    struct onion_built built;
    uint8_t first[ONION_REPLY], second[ONION_REPLY];
    one_hop(&t, &a);
    before = a;
    onion_hop_reply(&a, ONION_OK, 0, NULL, true, &r.env, first);
    cr_assert_eq(sodium_is_zero(a.k, 32) & sodium_is_zero(a.h, 32), 1);
    cr_assert_eq(sodium_is_zero(a.reply_stream, 32), 1);
    cr_assert_eq(memcmp(&a.keys, &before.keys, sizeof a.keys), 0);
    for (unsigned is_last = 0; is_last < 2; is_last++) {
        memset(second, 0, sizeof second);
        onion_hop_reply(&a, ONION_NEXT_UNREACHABLE, 0, NULL, is_last == 1, &r.env, second);
        expect_noise(second, sizeof second);
        cr_assert_neq(memcmp(first, second, 32), 0);
    }
    cr_assert_eq(onion_train_reply(t, second, &built), DROP_AUTH);
    onion_train_destroy(t);
    onion_answer_wipe(&a);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&a, sizeof a), 1);
}

Test(train_reply, refuses_to_answer_an_ephemeral_of_small_order)
{
    for (size_t i = 0; i < SMALL_ORDER; i++) {
        struct onion_opened o = { 0 };
        struct onion_answer a = { .y = { 5 } };
        memcpy(o.e, small_order[i], 32);
        cr_assert_eq(onion_hop_answer(&a, &o, &r.env), CYX_EPROTO);
        cr_assert_eq(a.y[0], 5);
    }
}
