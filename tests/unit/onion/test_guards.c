#include <criterion/criterion.h>
#include <stdlib.h>

#include "onion/guards_internal.h"
#include "tests/unit/onion/crowd.h"

static struct mesh_network net(void)
{
    struct mesh_network n;
    cr_assert_eq(mesh_network_init(&n, "guards", 1, true, NULL), 0);
    return n;
}

static struct onion_guards *fresh(struct crowd *c)
{
    struct mesh_network n = net();
    struct onion_guards *g = onion_guards_create(&n);
    cr_assert_not_null(g);
    crowd_refresh(c);
    cr_assert(onion_guards_refresh(g, c->relays, &c->dice.env, c->now));
    return g;
}

static bool again(struct onion_guards *g, struct crowd *c)
{
    crowd_refresh(c);
    return onion_guards_refresh(g, c->relays, &c->dice.env, c->now);
}

Test(onion_guards, are_three_and_four_behind_them_of_different_operators)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct crowd *c = crowd_start(seed, false);
        crowd_fill_mixed(c, 300);
        struct onion_guards *g = fresh(c);
        cr_assert_eq(g->n_guards, (size_t)ONION_GUARDS);
        cr_assert_eq(g->n_seconds, (size_t)ONION_SECOND);
        const struct onion_candidate *all[ONION_GUARDS + ONION_SECOND];
        for (size_t i = 0; i < ONION_GUARDS; i++)
            all[i] = onion_relays_find(c->relays, g->guards[i].id);
        for (size_t i = 0; i < ONION_SECOND; i++)
            all[ONION_GUARDS + i] = onion_relays_find(c->relays, g->seconds[i].id);
        for (size_t i = 0; i < 7; i++)
            for (size_t k = 0; k < i; k++)
                cr_assert_not(onion_kin_is_near(&all[i]->kin, &all[k]->kin));
        cr_assert_not(again(g, c), "nothing to change");
        onion_guards_destroy(g);
        crowd_destroy(c);
    }
}

Test(onion_guards, live_as_long_as_the_specification_says)
{
    struct crowd *c = crowd_start(3, false);
    crowd_fill(c, 40);
    enum { ROUNDS = 400 };
    double guard_days = 0, second_days = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct onion_guards *g = fresh(c);
        for (size_t k = 0; k < ONION_GUARDS; k++) {
            uint64_t life = g->guards[k].until - c->now;
            cr_assert(life >= 60 * CROWD_DAY && life <= 120 * CROWD_DAY);
            guard_days += (double)life / CROWD_DAY;
        }
        for (size_t k = 0; k < ONION_SECOND; k++) {
            uint64_t life = g->seconds[k].until - c->now;
            cr_assert(life >= 1 * CROWD_DAY && life <= 12 * CROWD_DAY);
            second_days += (double)life / CROWD_DAY;
        }
        onion_guards_destroy(g);
    }
    /* uniform: 90; the larger of two uniform draws: 1 + 11 * 2/3 = 8.33 */
    cr_expect(guard_days / (3 * ROUNDS) > 87 && guard_days / (3 * ROUNDS) < 93);
    cr_expect(second_days / (4 * ROUNDS) > 8.0 && second_days / (4 * ROUNDS) < 8.7);
    crowd_destroy(c);
}

static void expect_same(const struct onion_guards *g, const struct onion_guards *was)
{
    cr_assert_eq(g->n_guards, was->n_guards);
    cr_assert_eq(g->n_seconds, was->n_seconds);
    for (size_t i = 0; i < g->n_guards; i++)
        cr_assert_arr_eq(g->guards[i].id, was->guards[i].id, 32);
    for (size_t i = 0; i < g->n_seconds; i++)
        cr_assert_arr_eq(g->seconds[i].id, was->seconds[i].id, 32);
}

Test(onion_guards, never_change_for_what_fails_however_often)
{
    struct crowd *c = crowd_start(7, false);
    crowd_fill_mixed(c, 300);
    struct onion_guards *g = fresh(c);
    struct onion_guards was = *g;
    uint64_t end = g->seconds[0].until;
    for (size_t i = 1; i < ONION_SECOND; i++)
        end = g->seconds[i].until < end ? g->seconds[i].until : end;
    uint64_t step = (end - c->now) / 3000;
    for (unsigned i = 0; i < 3000 - 1; i++) {
        c->now += step;
        /* every failure that there is a way to report, and builds that end farther out */
        for (size_t k = 0; k < c->n; k++) {
            if (i % 3 == 0)
                onion_guards_link_failed(g, c->nodes[k].id, c->now);
            if (i % 3 == 1)
                onion_guards_build_silent(g, c->nodes[k].id, c->now);
            if (i % 3 == 2)
                onion_guards_build_answered(g, c->nodes[k].id);
        }
        cr_assert_not(again(g, c));
        expect_same(g, &was);
    }
    onion_guards_destroy(g);
    crowd_destroy(c);
}

static size_t usable(const struct onion_guards *g, uint64_t now, const uint8_t *first)
{
    const uint8_t *ids[ONION_GUARDS];
    size_t n = onion_guards_usable(g, now, ids);
    if (first != NULL) {
        cr_assert_gt(n, 0u);
        cr_assert_arr_eq(ids[0], first, 32);
    }
    return n;
}

Test(onion_guards, the_first_that_works_is_used)
{
    struct crowd *c = crowd_start(8, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    const uint8_t *a = g->guards[0].id, *b = g->guards[1].id, *d = g->guards[2].id;
    cr_expect_eq(usable(g, c->now, a), 3u);
    cr_expect_eq(onion_guards_next(g, c->now), 0u);
    onion_guards_link_failed(g, a, c->now);
    cr_expect_eq(usable(g, c->now, b), 2u);
    onion_guards_link_failed(g, b, c->now + 1);
    onion_guards_link_failed(g, d, c->now + 2);
    cr_expect_eq(usable(g, c->now + 3, NULL), 0u);
    cr_expect_eq(onion_guards_next(g, c->now + 3), c->now + ONION_GUARD_REST_S);
    cr_expect_eq(usable(g, c->now + ONION_GUARD_REST_S, a), 1u);
    onion_guards_link_failed(g, a, c->now + 40); /* again: twice as long */
    cr_expect_eq(usable(g, c->now + 99, b), 2u);
    cr_expect_eq(usable(g, c->now + 100, a), 3u);
    onion_guards_link_failed(g, a, c->now + 200);
    onion_guards_link_up(g, a);
    cr_expect_eq(usable(g, c->now + 200, a), 3u);
    for (unsigned i = 0; i < 40; i++)
        onion_guards_link_failed(g, a, c->now + 300);
    cr_expect_eq(usable(g, c->now + 299 + ONION_GUARD_REST_MAX_S, b), 2u);
    cr_expect_eq(usable(g, c->now + 300 + ONION_GUARD_REST_MAX_S, a), 3u);
    onion_guards_link_failed(g, a, c->now + 1000);
    cr_expect_eq(usable(g, c->now + 900, a), 3u, "a failure in the future: the clock went back");
    onion_guards_rested(g);
    cr_expect_eq(usable(g, c->now + 1000, a), 3u);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, eight_silent_builds_in_a_row_count_and_no_fewer)
{
    struct crowd *c = crowd_start(9, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    const uint8_t *a = g->guards[0].id, *b = g->guards[1].id;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < ONION_GUARD_SILENT - 1; i++)
            onion_guards_build_silent(g, a, c->now);
        cr_assert_eq(usable(g, c->now, a), 3u);
        onion_guards_build_answered(g, a); /* with whatever status */
    }
    for (unsigned i = 0; i < ONION_GUARD_SILENT; i++)
        onion_guards_build_silent(g, a, c->now);
    cr_expect_eq(usable(g, c->now, b), 2u);
    onion_guards_link_up(g, a); /* that it shakes hands is no news */
    cr_expect_eq(usable(g, c->now, b), 2u);
    onion_guards_build_answered(g, a); /* a late one */
    cr_expect_eq(usable(g, c->now, a), 3u);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, a_guard_without_a_record_keeps_its_place_for_when_it_returns)
{
    struct crowd *c = crowd_start(10, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    uint8_t a[32], b[32];
    memcpy(a, g->guards[0].id, 32);
    memcpy(b, g->guards[1].id, 32);
    crowd_lose(c, a);
    cr_assert(again(g, c), "since when it is gone is kept");
    cr_assert_eq(g->n_guards, 3u, "for an hour nobody takes its place");
    cr_expect_eq(usable(g, c->now, b), 2u);
    c->now += ONION_UNLISTED_S - 1;
    cr_assert_not(again(g, c));
    c->now += 1;
    cr_assert(again(g, c));
    cr_assert_eq(g->n_guards, 4u);
    cr_expect_eq(usable(g, c->now, b), 3u);
    c->now += 10 * CROWD_DAY;
    crowd_find_again(c, a);
    (void)again(g, c);
    cr_expect_eq(usable(g, c->now, a), 3u);
    cr_expect_eq(g->n_guards, 4u, "its stand-in isn't forgotten either");
    crowd_lose(c, a);
    (void)again(g, c);
    c->now += ONION_GUARD_GONE_S;
    cr_assert(again(g, c));
    cr_expect_eq(g->n_guards, 3u);
    cr_expect_arr_eq(g->guards[0].id, b, 32);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, whoever_makes_records_vanish_meets_a_bounded_set)
{
    struct crowd *c = crowd_start(11, false);
    crowd_fill(c, 200);
    struct onion_guards *g = fresh(c);
    for (unsigned round = 0; round < 100; round++) {
        const uint8_t *ids[ONION_GUARDS];
        if (onion_guards_usable(g, c->now, ids) > 0)
            crowd_lose(c, ids[0]);
        (void)again(g, c);
        c->now += 1000;
        cr_assert_leq(g->n_guards, (size_t)ONION_GUARDS_KEPT);
        cr_assert_leq(usable(g, c->now, NULL), 3u);
    }
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, when_all_are_gone_one_stands_in_at_once_and_others_in_an_hour)
{
    struct crowd *c = crowd_start(12, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    for (size_t i = 0; i < ONION_GUARDS; i++)
        crowd_lose(c, g->guards[i].id);
    for (size_t i = 0; i < ONION_SECOND; i++)
        crowd_lose(c, g->seconds[i].id);
    cr_assert(again(g, c));
    const uint8_t *ids[ONION_SECOND];
    cr_expect_eq(usable(g, c->now, NULL), 1u);
    cr_expect_eq(onion_guards_second(g, ids), 4u);
    c->now += ONION_UNLISTED_S;
    cr_assert(again(g, c));
    cr_expect_eq(usable(g, c->now, NULL), 3u);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, the_second_layer_changes_by_age_or_expiry_alone)
{
    struct crowd *c = crowd_start(13, false);
    crowd_fill(c, 100);
    struct onion_guards *g = fresh(c);
    uint8_t gone[32];
    memcpy(gone, g->seconds[2].id, 32);
    crowd_lose(c, gone);
    (void)again(g, c);
    const uint8_t *ids[ONION_SECOND];
    cr_expect_eq(onion_guards_second(g, ids), 3u, "for an hour nobody takes its place");
    c->now += ONION_UNLISTED_S;
    cr_assert(again(g, c));
    cr_expect_eq(onion_guards_second(g, ids), 4u);
    for (unsigned day = 0; day < 60; day++) {
        struct onion_guards was = *g;
        c->now += CROWD_DAY / 2;
        (void)again(g, c);
        cr_assert_eq(g->n_seconds, 4u);
        for (size_t i = 0; i < 4; i++) {
            bool stays = false;
            for (size_t k = 0; k < 4; k++)
                stays |= memcmp(g->seconds[k].id, was.seconds[i].id, 32) == 0;
            cr_assert_eq(stays, was.seconds[i].until > c->now);
        }
    }
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, of_small_networks_are_as_many_as_there_are)
{
    for (size_t n = 0; n < 8; n++) {
        struct crowd *c = crowd_start(14, false);
        struct mesh_network network = net();
        struct onion_guards *g = onion_guards_create(&network);
        const uint8_t *ids[ONION_SECOND];
        for (size_t i = 0; i < n; i++)
            (void)crowd_add(c, 1, 1, 1000); /* one operator, one prefix */
        cr_expect_eq(again(g, c), n > 0);
        size_t guards = n < 3 ? n : 3, left = n - guards;
        cr_expect_eq(usable(g, c->now, NULL), guards);
        cr_expect_eq(onion_guards_second(g, ids), left < 4 ? left : 4);
        onion_guards_destroy(g);
        crowd_destroy(c);
    }
}

Test(onion_guards, drawn_under_a_clock_that_was_ahead_live_no_longer_than_others)
{
    struct crowd *c = crowd_start(15, false);
    crowd_fill(c, 60);
    c->now += 1000 * (uint64_t)CROWD_DAY;
    struct onion_guards *g = fresh(c);
    struct onion_guards was = *g;
    c->now = CROWD_NOW;
    cr_assert(again(g, c));
    expect_same(g, &was);
    for (size_t i = 0; i < 3; i++)
        cr_expect_leq(g->guards[i].until, c->now + 120 * (uint64_t)CROWD_DAY);
    for (size_t i = 0; i < 4; i++)
        cr_expect_leq(g->seconds[i].until, c->now + 12 * (uint64_t)CROWD_DAY);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

/* ---- the blob -------------------------------------------------------------------------------- */

static struct onion_guards *decode(const uint8_t *data, size_t len, struct cyx_err *err)
{
    struct mesh_network n = net();
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    struct onion_guards *g = onion_guards_decode(&n, copy, len, err);
    free(copy);
    return g;
}

static int decode_code(const uint8_t *data, size_t len)
{
    struct cyx_err err = { 0 };
    struct onion_guards *g = decode(data, len, &err);
    cr_assert((g == NULL) == (err.code != 0));
    onion_guards_destroy(g);
    return err.code;
}

static int encoded_code(const struct onion_guards *g)
{
    uint8_t blob[ONION_GUARDS_BLOB_MAX];
    size_t len = onion_guards_encode(g, blob);
    return decode_code(blob, len);
}

Test(onion_guards, survive_a_restart)
{
    struct crowd *c = crowd_start(16, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    uint8_t blob[ONION_GUARDS_BLOB_MAX], same[ONION_GUARDS_BLOB_MAX];
    crowd_lose(c, g->guards[1].id);
    (void)again(g, c);
    size_t len = onion_guards_encode(g, blob);
    cr_assert_eq(len, 75u + 3 * 56 + 4 * 48);
    struct onion_guards *got = decode(blob, len, NULL);
    cr_assert_not_null(got);
    expect_same(got, g);
    cr_assert_eq(got->guards[1].unlisted, g->guards[1].unlisted);
    cr_assert_eq(onion_guards_encode(got, same), len);
    cr_assert_arr_eq(same, blob, len);
    cr_assert_not(again(got, c));
    onion_guards_destroy(got);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, blobs_that_are_cut_changed_or_foreign_are_refused)
{
    struct crowd *c = crowd_start(17, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    uint8_t blob[ONION_GUARDS_BLOB_MAX];
    size_t len = onion_guards_encode(g, blob);
    for (size_t n = 0; n < len; n++)
        cr_assert_eq(decode_code(blob, n), CYX_ECORRUPT, "length %zu", n);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 4;
        cr_assert_eq(decode_code(blob, len), CYX_ECORRUPT, "byte %zu", i);
        blob[i] ^= 4;
    }
    g->net[0] ^= 1;
    cr_assert_eq(encoded_code(g), CYX_EINVAL);
    g->net[0] ^= 1;
    cr_assert_eq(encoded_code(g), 0);
    onion_guards_destroy(g);
    crowd_destroy(c);
}

Test(onion_guards, blobs_with_a_right_checksum_still_need_sense)
{
    struct crowd *c = crowd_start(18, false);
    crowd_fill(c, 60);
    struct onion_guards *g = fresh(c);
    const struct onion_guards good = *g;
    memcpy(g->guards[1].id, g->guards[0].id, 32);
    cr_expect_eq(encoded_code(g), CYX_ECORRUPT, "a guard twice");
    *g = good;
    memcpy(g->seconds[1].id, g->seconds[0].id, 32);
    cr_expect_eq(encoded_code(g), CYX_ECORRUPT, "one of the second layer twice");
    *g = good;
    g->guards[0].until = g->guards[0].since + 59 * CROWD_DAY;
    cr_expect_eq(encoded_code(g), CYX_ECORRUPT, "kept for too short");
    g->guards[0].until = g->guards[0].since + 121 * CROWD_DAY;
    cr_expect_eq(encoded_code(g), CYX_ECORRUPT, "kept for too long");
    g->guards[0].until = g->guards[0].since - 1;
    cr_expect_eq(encoded_code(g), CYX_ECORRUPT, "kept until before");
    *g = good;
    memcpy(g->seconds[0].id, g->guards[0].id, 32);
    cr_expect_eq(encoded_code(g), 0, "in a small network one may be both");
    onion_guards_destroy(g);
    crowd_destroy(c);
}
