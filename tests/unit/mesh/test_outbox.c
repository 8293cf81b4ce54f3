#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

static uint8_t bytes[MESH_MSG_MAX + 1];

static void fill(uint8_t seed)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 131 + i / 251 + seed);
}

static void expect_sound(const struct mesh_outbox *o)
{
    cr_assert(msg__outbox_is_sound(o));
}

/* Sends all that is fresh; returns how many fragments went. */
static size_t send_all(struct mesh_outbox *o, uint64_t now_ns)
{
    struct mesh_frame_msg f;
    size_t n = 0;
    while (mesh_outbox_next(o, now_ns, &f))
        n++;
    return n;
}

static struct mesh_frame_resend resend_of(uint8_t kind, uint32_t id, const unsigned *which,
                                          size_t n)
{
    struct mesh_frame_resend r = { .kind = kind, .id = id };
    for (size_t i = 0; i < n; i++)
        r.missing[which[i] / 8] = (uint8_t)(r.missing[which[i] / 8] | 0x80u >> which[i] % 8);
    return r;
}

Test(mesh_outbox, cuts_messages_as_the_protocol_says)
{
    static const struct {
        size_t len, fragment, count, last;
    } cases[] = { { 1, 1286, 1, 1 },         { 1286, 1286, 1, 1286 },  { 1287, 1286, 2, 1 },
                  { 7684, 1286, 6, 1254 },   { 6404, 1286, 5, 1260 },  { 8208, 1286, 7, 492 },
                  { 65536, 1286, 51, 1236 }, { 65536, 1239, 53, 1108 } };
    fill(1);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct mesh_outbox *o = mesh_outbox_create(cases[c].fragment);
        struct mesh_frame_msg f;
        cr_assert_eq(mesh_outbox_add(o, 2, 77, bytes, cases[c].len, 0), 0);
        size_t at = 0;
        for (size_t i = 0; i < cases[c].count; i++) {
            size_t want = i + 1 < cases[c].count ? cases[c].fragment : cases[c].last;
            cr_expect_eq(mesh_outbox_peek(o), want);
            cr_assert(mesh_outbox_next(o, 0, &f));
            cr_expect(f.kind == 2 && f.id == 77 && f.index == i && f.count == cases[c].count);
            cr_assert_eq(f.len, want);
            cr_expect_arr_eq(f.data, bytes + at, want);
            at += f.len;
        }
        cr_expect_eq(at, cases[c].len);
        cr_expect_not(mesh_outbox_next(o, 0, &f));
        cr_expect_eq(mesh_outbox_peek(o), 0u);
        expect_sound(o);
        mesh_outbox_destroy(o);
    }
    mesh_outbox_destroy(NULL);
}

Test(mesh_outbox, refuses_lengths_that_no_peer_may_send)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    struct mesh_outbox *narrow = mesh_outbox_create(200);
    cr_expect_eq(mesh_outbox_add(o, 1, 1, bytes, 0, 0), CYX_EINVAL);
    cr_expect_eq(mesh_outbox_add(o, 1, 1, bytes, MESH_MSG_MAX + 1, 0), CYX_EINVAL);
    cr_expect_eq(mesh_outbox_add(narrow, 1, 1, bytes, 200 * 128, 0), 0);
    cr_expect_eq(mesh_outbox_add(narrow, 1, 2, bytes, 200 * 128 + 1, 0), CYX_EINVAL);
    cr_expect_eq(mesh_outbox_bytes(o), 0u);
    mesh_outbox_destroy(o);
    mesh_outbox_destroy(narrow);
}

Test(mesh_outbox, sends_marked_fragments_again_before_new_ones)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    struct mesh_frame_msg f;
    fill(2);
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 7684, 0), 0);
    cr_expect_eq(send_all(o, 0), 6u);
    cr_assert_eq(mesh_outbox_add(o, 1, 6, bytes, 100, 0), 0);
    static const unsigned lost[] = { 1, 5 };
    struct mesh_frame_resend r = resend_of(1, 5, lost, 2);
    cr_expect_eq(mesh_outbox_resend(o, &r), DROP_NONE);
    expect_sound(o);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(mesh_outbox_peek(o), i == 0 ? 1286u : 1254u);
        cr_assert(mesh_outbox_next(o, 0, &f));
        cr_expect(f.id == 5 && f.index == lost[i]);
        cr_expect_arr_eq(f.data, bytes + lost[i] * 1286u, f.len);
    }
    cr_assert(mesh_outbox_next(o, 0, &f));
    cr_expect_eq(f.id, 6u);
    cr_expect_not(mesh_outbox_next(o, 0, &f));
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, a_resend_of_what_was_never_sent_sends_nothing_twice)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    struct mesh_frame_msg f;
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 7684, 0), 0);
    cr_assert(mesh_outbox_next(o, 0, &f));
    static const unsigned missing[] = { 0, 1, 2, 3, 4, 5 };
    struct mesh_frame_resend r = resend_of(1, 5, missing, 6);
    cr_expect_eq(mesh_outbox_resend(o, &r), DROP_NONE);
    expect_sound(o);
    cr_expect_eq(send_all(o, 0), 6u, "fragment 0 again, then 1 to 5 for the first time");
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, bounds_what_a_peer_can_make_it_send)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    static const unsigned first[] = { 0 }, beyond[] = { 6, 127 };
    struct mesh_frame_resend ok = resend_of(1, 5, first, 1);
    struct mesh_frame_resend unknown = resend_of(1, 4, first, 1);
    struct mesh_frame_resend outside = resend_of(1, 5, beyond, 2);
    struct mesh_frame_resend none = resend_of(1, 5, first, 0);
    cr_expect_eq(mesh_outbox_resend(o, &ok), DROP_UNKNOWN);
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 7684, 0), 0);
    send_all(o, 0);
    cr_expect_eq(mesh_outbox_resend(o, &unknown), DROP_UNKNOWN);
    cr_expect_eq(mesh_outbox_resend(o, &outside), DROP_FIELD);
    cr_expect_eq(mesh_outbox_resend(o, &none), DROP_FIELD);
    cr_expect_eq(send_all(o, 0), 0u, "a refused RESEND changes nothing");
    for (unsigned i = 0; i < MESH_RESEND_TRIES; i++) {
        cr_expect_eq(mesh_outbox_resend(o, &ok), DROP_NONE);
        cr_expect_eq(send_all(o, 0), 1u);
    }
    cr_expect_eq(mesh_outbox_resend(o, &ok), DROP_LOAD);
    cr_expect_eq(send_all(o, 0), 0u);
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, keeps_a_message_two_seconds_from_its_last_fragment)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    struct mesh_frame_msg f;
    cr_expect_eq(mesh_outbox_expire(o, 0), UINT64_MAX);
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 2000, 0), 0);
    cr_assert(mesh_outbox_next(o, ENV_S(1), &f));
    cr_expect_eq(mesh_outbox_expire(o, ENV_S(100)), UINT64_MAX, "unsent ones wait");
    cr_assert(mesh_outbox_next(o, ENV_S(100), &f));
    cr_expect_eq(mesh_outbox_expire(o, ENV_S(101)), ENV_S(102));
    cr_expect_eq(mesh_outbox_bytes(o), 2000u);
    cr_expect_eq(mesh_outbox_expire(o, ENV_S(102)), UINT64_MAX);
    cr_expect_eq(mesh_outbox_bytes(o), 0u);
    expect_sound(o);
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, lets_the_oldest_sent_one_go_and_refuses_beyond_what_waits)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    static const unsigned first[] = { 0 };
    for (uint32_t id = 0; id < 4; id++) {
        cr_assert_eq(mesh_outbox_add(o, 1, id, bytes, MESH_MSG_MAX, 0), 0);
        expect_sound(o);
    }
    cr_expect_eq(mesh_outbox_add(o, 1, 9, bytes, 1, 0), CYX_EFULL);
    cr_expect_eq(send_all(o, 0), 4u * 51u);
    cr_expect_eq(mesh_outbox_add(o, 1, 9, bytes, 1, 0), 0);
    expect_sound(o);
    struct mesh_frame_resend gone = resend_of(1, 0, first, 1), kept = resend_of(1, 1, first, 1);
    cr_expect_eq(mesh_outbox_resend(o, &gone), DROP_UNKNOWN);
    cr_expect_eq(mesh_outbox_resend(o, &kept), DROP_NONE);
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, bounds_the_number_of_tiny_messages)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    uint32_t id = 0;
    while (mesh_outbox_add(o, 1, id, bytes, 1, 0) == 0)
        id++;
    cr_expect_eq(id, (uint32_t)MESH_OUTBOX_BYTES / 128u);
    expect_sound(o);
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, a_repeat_goes_out_whole_again_without_a_second_copy)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    static const unsigned first[] = { 0 };
    struct mesh_frame_resend r = resend_of(1, 5, first, 1);
    fill(3);
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 2000, 0), 0);
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 2000, 0), 0);
    cr_expect_eq(send_all(o, 0), 2u, "it had not been sent yet");
    while (mesh_outbox_resend(o, &r) == DROP_NONE)
        ;
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 2000, ENV_S(1)), 0);
    cr_expect_eq(mesh_outbox_bytes(o), 2000u);
    expect_sound(o);
    cr_expect_eq(send_all(o, ENV_S(1)), 2u);
    cr_expect_eq(mesh_outbox_resend(o, &r), DROP_NONE, "and may be asked for again");
    cr_expect_eq(mesh_outbox_expire(o, ENV_S(1)), ENV_S(3));

    bytes[0]++;
    cr_assert_eq(mesh_outbox_add(o, 1, 5, bytes, 100, ENV_S(1)), 0);
    cr_expect_eq(mesh_outbox_bytes(o), 128u, "other bytes under the id replace it");
    expect_sound(o);
    mesh_outbox_destroy(o);
}

Test(mesh_outbox, forgets_a_cancelled_message_in_every_state)
{
    struct mesh_outbox *o = mesh_outbox_create(MESH_MSG_FRAGMENT);
    struct mesh_frame_msg f;
    static const unsigned first[] = { 0 };
    struct mesh_frame_resend r = resend_of(1, 2, first, 1);
    mesh_outbox_cancel(o, 1, 1);
    cr_assert_eq(mesh_outbox_add(o, 1, 1, bytes, 2000, 0), 0);
    cr_assert(mesh_outbox_next(o, 0, &f));
    mesh_outbox_cancel(o, 1, 1); /* half sent */
    cr_expect_eq(mesh_outbox_bytes(o), 0u);
    cr_assert_eq(mesh_outbox_add(o, 1, 2, bytes, 2000, 0), 0);
    send_all(o, 0);
    cr_assert_eq(mesh_outbox_resend(o, &r), DROP_NONE);
    mesh_outbox_cancel(o, 1, 2); /* sent, and asked for */
    cr_expect_eq(send_all(o, 0), 0u);
    cr_expect_eq(mesh_outbox_bytes(o), 0u);
    expect_sound(o);
    mesh_outbox_destroy(o);
}
