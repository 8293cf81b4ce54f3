#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

enum { FRAGMENT = MESH_MSG_FRAGMENT, REQUEST = MESH_MSG_REQUEST };

static uint8_t bytes[MESH_MSG_MAX];

struct rig {
    struct mesh_inbox_pool *pool;
    struct mesh_inbox *in;
    struct mesh_message got;
    size_t n_asks;
    struct mesh_frame_resend ask; /* the last one */
};

static struct rig rig_init(size_t pool_bytes)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 253);
    struct rig r = { .pool = mesh_inbox_pool_create(pool_bytes) };
    r.in = mesh_inbox_create(r.pool, FRAGMENT, 1);
    cr_assert(r.pool != NULL && r.in != NULL);
    return r;
}

static void rig_fini(struct rig *r)
{
    mesh_inbox_destroy(r->in);
    cr_expect_eq(mesh_inbox_pool_bytes(r->pool), 0u);
    mesh_inbox_pool_destroy(r->pool);
}

/* Fragment `index` of a message of `len` of `bytes`. */
static struct mesh_frame_msg fragment_of(uint32_t id, size_t len, unsigned index)
{
    unsigned count = (unsigned)((len + FRAGMENT - 1) / FRAGMENT);
    struct mesh_frame_msg f = { .kind = REQUEST,
                                .id = id,
                                .index = (uint8_t)index,
                                .count = (uint8_t)count,
                                .data = bytes + index * (size_t)FRAGMENT };
    f.len = (uint16_t)(index + 1 < count ? FRAGMENT : len - (size_t)index * FRAGMENT);
    return f;
}

static enum drop give(struct rig *r, struct mesh_inbox *in, const struct mesh_frame_msg *f,
                      uint64_t now_ns)
{
    free(r->got.data);
    enum drop d = mesh_inbox_fragment(in, f, now_ns, 0, &r->got);
    cr_assert(msg__inbox_is_sound(in));
    cr_assert(msg__pool_is_sound(r->pool));
    return d;
}

static enum drop give_part(struct rig *r, uint32_t id, size_t len, unsigned index, uint64_t now_ns)
{
    struct mesh_frame_msg f = fragment_of(id, len, index);
    return give(r, r->in, &f, now_ns);
}

static void on_resend(void *arg, const struct mesh_frame_resend *ask)
{
    struct rig *r = arg;
    r->n_asks++;
    r->ask = *ask;
}

static uint64_t poll_at(struct rig *r, uint64_t now_ns, uint64_t rtt_ns)
{
    r->n_asks = 0;
    return mesh_inbox_poll(r->in, now_ns, rtt_ns, on_resend, r);
}

Test(mesh_inbox, puts_messages_together_in_any_order)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    static const size_t lens[] = { 1, 1286, 1287, 7684, 6404, 8208, 65536 };
    uint32_t id = 0;
    for (size_t k = 0; k < sizeof lens / sizeof lens[0]; k++) {
        unsigned count = (unsigned)((lens[k] + FRAGMENT - 1) / FRAGMENT);
        for (unsigned first = 0; first < count; first += 1 + count / 5) {
            id++;
            for (unsigned i = 0; i < count; i++) {
                cr_assert_eq(give_part(&r, id, lens[k], (first + i * 1) % count, 0), DROP_NONE);
                cr_assert_eq(r.got.data != NULL, i + 1 == count);
            }
            cr_expect_eq(r.got.id, id);
            cr_expect_eq(r.got.kind, (uint8_t)REQUEST);
            cr_assert_eq(r.got.len, lens[k]);
            cr_expect_arr_eq(r.got.data, bytes, lens[k]);
            cr_expect_eq(mesh_inbox_bytes(r.in), 0u);
        }
    }
    free(r.got.data);
    rig_fini(&r);
}

Test(mesh_inbox, refuses_sizes_that_break_the_rules)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    struct mesh_frame_msg good = fragment_of(1, 7684, 2), f;
    f = good, f.count = 0;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD);
    f = good, f.index = f.count;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD);
    f = good, f.len = 0;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD);
    f = good, f.len--;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD, "short, though not the last");
    f = good, f.len++;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD);
    f = good, f.count = 129;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD);
    f = good, f.count = 52;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_LIMIT, "52 fragments are over 64 KiB");
    f = fragment_of(1, 65536, 50), f.len++;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_LIMIT, "one byte over 64 KiB");
    cr_expect_eq(mesh_inbox_count(r.in), 0u);

    cr_expect_eq(give(&r, r.in, &good, 0), DROP_NONE);
    f = good, f.index = 3, f.count = 7;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD, "another count than before");
    f = good, f.index = 0, f.count = 1;
    cr_expect_eq(give(&r, r.in, &f, 0), DROP_FIELD, "nor does it become a message by itself");
    cr_expect_eq(mesh_inbox_count(r.in), 1u);
    rig_fini(&r);
}

Test(mesh_inbox, drops_what_it_has_had)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    cr_expect_eq(give_part(&r, 1, 2000, 0, 0), DROP_NONE);
    cr_expect_eq(give_part(&r, 1, 2000, 0, 0), DROP_REPLAY);
    cr_expect_eq(give_part(&r, 1, 2000, 1, 0), DROP_NONE);
    cr_expect_not_null(r.got.data);
    for (uint32_t id = 2; id <= 64; id++) /* 64 in all */
        cr_assert_eq(give_part(&r, id, 10, 0, 0), DROP_NONE);
    for (uint32_t id = 1; id <= 64; id++)
        cr_expect_eq(give_part(&r, id, 2000, 1, ENV_MS(249)), DROP_REPLAY, "message %u", id);
    cr_assert_eq(give_part(&r, 65, 10, 0, ENV_MS(249)), DROP_NONE);
    cr_expect_eq(give_part(&r, 1, 2000, 1, ENV_MS(249)), DROP_NONE, "the 65th last is forgotten");
    cr_expect_eq(give_part(&r, 2, 10, 0, ENV_MS(249)), DROP_REPLAY);
    free(r.got.data);
    rig_fini(&r);
}

Test(mesh_inbox, takes_a_repeated_request_once_copies_can_no_longer_be_under_way)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    struct mesh_frame_msg f = fragment_of(7, 100, 0);
    cr_assert_eq(give(&r, r.in, &f, 0), DROP_NONE);
    cr_expect_eq(give(&r, r.in, &f, ENV_MS(249)), DROP_REPLAY);
    cr_expect_eq(give(&r, r.in, &f, ENV_MS(250)), DROP_NONE);
    cr_expect_not_null(r.got.data);
    free(r.got.data);
    f.id = 8;
    cr_assert_eq(mesh_inbox_fragment(r.in, &f, 0, ENV_MS(200), &r.got), DROP_NONE);
    cr_expect_eq(give(&r, r.in, &f, ENV_MS(799)), DROP_REPLAY, "four round trips");
    cr_expect_eq(give(&r, r.in, &f, ENV_MS(800)), DROP_NONE);
    free(r.got.data);
    rig_fini(&r);
}

Test(mesh_inbox, memory_follows_what_arrived_not_what_a_header_claims)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    for (uint32_t id = 0; id < MESH_INBOX_MSGS; id++)
        cr_assert_eq(give_part(&r, id, 65536, 50, 0), DROP_NONE);
    cr_expect_leq(mesh_inbox_bytes(r.in), (size_t)MESH_INBOX_MSGS * (1236 + 256));
    rig_fini(&r);
}

Test(mesh_inbox, asks_for_what_is_missing_three_times)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    cr_expect_eq(poll_at(&r, 0, 0), UINT64_MAX);
    cr_assert_eq(give_part(&r, 9, 65536, 1, ENV_MS(100)), DROP_NONE);
    cr_assert_eq(give_part(&r, 9, 65536, 50, ENV_MS(110)), DROP_NONE);
    cr_expect_eq(poll_at(&r, ENV_MS(134), ENV_MS(40)), ENV_MS(135));
    cr_expect_eq(r.n_asks, 0u);

    cr_expect_eq(poll_at(&r, ENV_MS(135), ENV_MS(40)), ENV_MS(195), "1.5 RTT later");
    cr_assert_eq(r.n_asks, 1u);
    cr_expect(r.ask.kind == REQUEST && r.ask.id == 9);
    static const uint8_t want[16] = { 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0 };
    cr_expect_arr_eq(r.ask.missing, want, 16, "all of 51 but 1 and 50");

    cr_assert_eq(give_part(&r, 9, 65536, 0, ENV_MS(140)), DROP_NONE);
    cr_expect_eq(poll_at(&r, ENV_MS(140), ENV_MS(40)), ENV_MS(195), "its answer is under way");
    cr_assert_eq(give_part(&r, 9, 65536, 2, ENV_MS(190)), DROP_NONE);
    cr_expect_eq(poll_at(&r, ENV_MS(195), ENV_MS(40)), ENV_MS(215), "25 ms after the last");
    cr_expect_eq(r.n_asks, 0u);
    cr_expect_eq(poll_at(&r, ENV_MS(215), ENV_MS(10)), ENV_MS(240), "never under 25 ms");
    cr_expect_eq(r.n_asks, 1u);
    cr_expect_eq(r.ask.missing[0], 0x1fu);
    cr_expect_eq(poll_at(&r, ENV_MS(240), 0), ENV_MS(10100), "then it waits for its end");
    cr_expect_eq(r.n_asks, 1u);
    cr_expect_eq(poll_at(&r, ENV_MS(5000), 0), ENV_MS(10100));
    cr_expect_eq(r.n_asks, 0u);
    rig_fini(&r);
}

Test(mesh_inbox, gives_up_ten_seconds_after_the_first_fragment)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    cr_assert_eq(give_part(&r, 1, 65536, 0, ENV_S(1)), DROP_NONE);
    for (unsigned i = 1; i < 50; i++) /* a drip does not prolong it */
        cr_assert_eq(give_part(&r, 1, 65536, i, ENV_S(1) + ENV_MS(200 * i)), DROP_NONE);
    poll_at(&r, ENV_S(11) - 1, 0);
    cr_expect_eq(mesh_inbox_count(r.in), 1u);
    cr_expect_eq(poll_at(&r, ENV_S(11), 0), UINT64_MAX);
    cr_expect_eq(r.n_asks, 0u);
    cr_expect_eq(mesh_inbox_count(r.in), 0u);
    cr_expect_eq(mesh_inbox_bytes(r.in), 0u);
    cr_expect_eq(mesh_inbox_lost(r.in), 1u);
    rig_fini(&r);
}

static void destroy_inbox(void *arg, const struct mesh_frame_resend *ask)
{
    struct rig *r = arg;
    (void)ask;
    mesh_inbox_destroy(r->in);
    r->in = NULL;
}

Test(mesh_inbox, may_be_destroyed_by_the_callback_that_asks)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    cr_assert_eq(give_part(&r, 1, 65536, 0, 0), DROP_NONE);
    mesh_inbox_poll(r.in, ENV_S(1), 0, destroy_inbox, &r);
    cr_expect_null(r.in);
    rig_fini(&r);
}

Test(mesh_inbox, the_oldest_goes_at_64_messages)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    for (uint32_t id = 0; id < MESH_INBOX_MSGS; id++)
        cr_assert_eq(give_part(&r, id, 2000, 1, id), DROP_NONE);
    cr_assert_eq(give_part(&r, 5, 2000, 0, 100), DROP_NONE);
    cr_expect_not_null(r.got.data);
    cr_assert_eq(give_part(&r, 100, 2000, 1, 100), DROP_NONE);
    cr_expect_eq(mesh_inbox_lost(r.in), 0u);
    cr_assert_eq(give_part(&r, 101, 2000, 1, 100), DROP_NONE);
    cr_expect_eq(mesh_inbox_count(r.in), (size_t)MESH_INBOX_MSGS);
    cr_expect_eq(mesh_inbox_lost(r.in), 1u);
    cr_assert_eq(give_part(&r, 1, 2000, 0, 100), DROP_NONE);
    cr_expect_not_null(r.got.data, "message 1 stayed");
    cr_assert_eq(give_part(&r, 0, 2000, 0, 100), DROP_NONE);
    cr_expect_null(r.got.data, "message 0 went");
    rig_fini(&r);
}

Test(mesh_inbox, the_oldest_goes_at_512_kib)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    for (uint32_t id = 0; id < 9; id++)
        for (unsigned i = 0; i < 50; i++) {
            cr_assert_eq(give_part(&r, id, 65536, i, id), DROP_NONE);
            cr_assert_leq(mesh_inbox_bytes(r.in), (size_t)MESH_INBOX_BYTES);
        }
    cr_expect_geq(mesh_inbox_lost(r.in), 1u);
    cr_assert_eq(give_part(&r, 8, 65536, 50, 100), DROP_NONE);
    cr_expect_not_null(r.got.data, "the youngest is whole");
    free(r.got.data);
    rig_fini(&r);
}

Test(mesh_inbox, the_pool_takes_from_the_prefix_that_holds_most)
{
    struct rig r = rig_init(170000);
    struct mesh_inbox *greedy[2] = { mesh_inbox_create(r.pool, FRAGMENT, 66),
                                     mesh_inbox_create(r.pool, FRAGMENT, 66) };
    cr_assert_eq(give_part(&r, 1, 2000, 0, 0), DROP_NONE);
    for (unsigned i = 0; i < 50; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct mesh_frame_msg f = fragment_of(3 + i / 30, 65536, i % 30);
            cr_assert_eq(give(&r, greedy[k], &f, i), DROP_NONE);
        }
    cr_expect_eq(mesh_inbox_lost(greedy[0]), 0u);
    for (unsigned i = 0; i < 50; i++) { /* another prefix wants room: two links of one prefix pay */
        struct mesh_frame_msg f = fragment_of(4, 65536, i);
        cr_assert_eq(give(&r, r.in, &f, 100 + i), DROP_NONE);
    }
    cr_expect_eq(mesh_inbox_lost(r.in), 0u);
    cr_expect_eq(mesh_inbox_lost(greedy[0]), 1u, "its message is the oldest of the two");
    struct mesh_frame_msg last = fragment_of(4, 65536, 50);
    cr_assert_eq(give(&r, r.in, &last, 200), DROP_NONE);
    cr_expect_not_null(r.got.data);
    free(r.got.data);
    mesh_inbox_destroy(greedy[0]);
    mesh_inbox_destroy(greedy[1]);
    rig_fini(&r);
}

Test(mesh_inbox, all_links_together_hold_no_more_than_16_mib)
{
    enum { LINKS = MESH_INBOX_ALL_BYTES / MESH_INBOX_BYTES + 8 };
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    struct mesh_inbox *in[LINKS];
    uint64_t lost = 0;
    for (unsigned k = 0; k < LINKS; k++) {
        in[k] = mesh_inbox_create(r.pool, FRAGMENT, 100 + k);
        for (unsigned i = 0; i < 7 * 50; i++) { /* seven messages that want their last fragment */
            const struct mesh_frame_msg f = fragment_of(i / 50, 65536, i % 50);
            cr_assert_eq(mesh_inbox_fragment(in[k], &f, k, 0, &r.got), DROP_NONE);
        }
        cr_assert_leq(mesh_inbox_pool_bytes(r.pool), (size_t)MESH_INBOX_ALL_BYTES, "link %u", k);
    }
    cr_expect(msg__pool_is_sound(r.pool));
    cr_expect_gt(mesh_inbox_pool_bytes(r.pool), (size_t)MESH_INBOX_ALL_BYTES - 2 * MESH_MSG_MAX);
    for (unsigned k = 0; k < LINKS; k++) {
        lost += mesh_inbox_lost(in[k]);
        mesh_inbox_destroy(in[k]);
    }
    cr_expect_gt(lost, 0u);
    rig_fini(&r);
}

Test(mesh_inbox, refuses_the_fragment_of_a_message_that_gives_way_to_itself)
{
    struct rig r = rig_init(3 * FRAGMENT);
    cr_assert_eq(give_part(&r, 1, 65536, 0, 0), DROP_NONE);
    cr_assert_eq(give_part(&r, 1, 65536, 1, 0), DROP_NONE);
    cr_expect_eq(give_part(&r, 1, 65536, 2, 0), DROP_LIMIT);
    cr_expect_eq(mesh_inbox_count(r.in), 0u);
    cr_expect_eq(mesh_inbox_lost(r.in), 1u);
    rig_fini(&r);
}

Test(mesh_inbox, moves_its_share_with_its_prefix)
{
    struct rig r = rig_init(MESH_INBOX_ALL_BYTES);
    struct mesh_inbox *other = mesh_inbox_create(r.pool, FRAGMENT, 2);
    struct mesh_frame_msg f = fragment_of(1, 65536, 0);
    cr_assert_eq(give_part(&r, 1, 65536, 0, 0), DROP_NONE);
    cr_assert_eq(give(&r, other, &f, 1), DROP_NONE);
    cr_assert_eq(give_part(&r, 2, 65536, 0, 2), DROP_NONE);
    size_t before = mesh_inbox_pool_bytes(r.pool);
    mesh_inbox_set_prefix(r.in, 2);
    mesh_inbox_set_prefix(r.in, 2);
    cr_expect(msg__pool_is_sound(r.pool), "among the other's, in order of age");
    cr_expect(msg__inbox_is_sound(r.in));
    cr_expect_eq(mesh_inbox_pool_bytes(r.pool), before);
    mesh_inbox_destroy(other);
    cr_expect(msg__pool_is_sound(r.pool));
    rig_fini(&r);
    mesh_inbox_destroy(NULL);
    mesh_inbox_pool_destroy(NULL);
}
