#include <criterion/criterion.h>
#include <string.h>

#include "base/env.h"
#include "mesh/limits.h"
#include "mesh/nettime.h"

static const int64_t start_ms = INT64_C(1700000000000);
static const int64_t hour_ms = 3600000, year_ms = INT64_C(31557600000);
static const uint64_t start_s = 1700000000;

/* A machine: the true time runs with the monotonic clock, its own clock is `skew_ms` off. */
struct rig {
    struct nettime t;
    uint64_t mono_ns;
    int64_t skew_ms;
};

static int64_t wall(const struct rig *r)
{
    return start_ms + (int64_t)(r->mono_ns / 1000000u) + r->skew_ms;
}

static uint64_t true_s(const struct rig *r)
{
    return start_s + r->mono_ns / 1000000000u;
}

static struct rig rig_init(int64_t skew_ms, uint64_t greatest_s)
{
    struct rig r = { .skew_ms = skew_ms, .mono_ns = 0 };
    nettime_init(&r.t, greatest_s, wall(&r), r.mono_ns);
    return r;
}

static uint64_t look(struct rig *r, uint64_t later_ms)
{
    r->mono_ns += ENV_MS(later_ms);
    return nettime_now(&r->t, wall(r), r->mono_ns);
}

/* Peer number `who` says the true time plus error_s. */
static void hear(struct rig *r, uint8_t who, int64_t error_s)
{
    uint8_t from[8] = { who };
    nettime_heard(&r->t, from, false, (uint64_t)((int64_t)true_s(r) + error_s), wall(r),
                  r->mono_ns);
}

static void forget(struct rig *r, uint8_t who)
{
    uint8_t from[8] = { who };
    nettime_forget(&r->t, from);
}

static void hear_three(struct rig *r)
{
    for (uint8_t who = 1; who <= 3; who++)
        hear(r, who, 0);
}

Test(mesh_nettime, uses_our_clock_until_a_peer_speaks)
{
    struct rig r = rig_init(5 * hour_ms, 0);
    cr_expect_eq(look(&r, 2500), start_s + 5 * 3600 + 2);
    cr_expect_eq(r.t.state, MESH_TIME_UNCHECKED);
    cr_expect_eq(r.t.greatest_s, start_s + 5 * 3600 + 2);
}

Test(mesh_nettime, keeps_our_clock_within_30_seconds_of_the_median)
{
    struct rig r = rig_init(30000, 0);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r) + 30);
    cr_expect_eq(r.t.state, MESH_TIME_OWN);
    cr_expect_eq(r.t.offset_ms, 0);
    r = rig_init(-31000, 0);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    cr_expect_eq(r.t.offset_ms, 31000);
}

Test(mesh_nettime, takes_the_median_of_three_whatever_a_liar_says)
{
    static const int64_t lies[] = { -1000000, 1000000, 80000, INT64_C(200000000000) };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct rig r = rig_init(2 * hour_ms, 0);
        hear(&r, 1, 0);
        hear(&r, 2, lies[i]);
        hear(&r, 3, 4);
        look(&r, 0);
        cr_expect_eq(r.t.state, MESH_TIME_MEDIAN, "lie %zu", i);
        cr_expect_leq(-2 * hour_ms, r.t.offset_ms, "lie %zu", i);
        cr_expect_leq(r.t.offset_ms, -2 * hour_ms + 4000, "lie %zu", i);
    }
}

Test(mesh_nettime, preferred_peers_weigh_twice)
{
    struct rig r = rig_init(0, 0);
    static const uint8_t guards[2][8] = { { 100 }, { 101 } };
    for (uint8_t who = 1; who <= 3; who++)
        hear(&r, who, 1000);
    for (size_t i = 0; i < 2; i++)
        nettime_heard(&r.t, guards[i], true, start_s, wall(&r), r.mono_ns);
    look(&r, 0);
    cr_expect_eq(r.t.state, MESH_TIME_OWN, "4 of 7 votes agree with us");
}

Test(mesh_nettime, one_or_two_peers_count_when_they_agree)
{
    struct rig r = rig_init(hour_ms, 0);
    hear(&r, 1, 0);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    r = rig_init(hour_ms, 0);
    hear(&r, 1, 0);
    hear(&r, 2, 31);
    cr_expect_eq(look(&r, 0), true_s(&r) + 3600, "they don't: our clock stays");
    cr_expect_eq(r.t.state, MESH_TIME_UNCHECKED);
    hear(&r, 2, 30);
    look(&r, 0);
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    hear(&r, 2, 0);
    hear(&r, 2, 0);
    cr_expect_eq(r.t.n, 2u, "a peer counts once");
}

Test(mesh_nettime, a_step_of_more_than_a_day_waits_for_the_users_word)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct rig r = rig_init(sign * (86400 * INT64_C(1000) + 1000), 0);
        uint64_t own = (uint64_t)(wall(&r) / 1000);
        nettime_accept(&r.t);
        hear_three(&r);
        cr_expect_eq(look(&r, 0), own, "a word given before anything waits means nothing");
        cr_expect_eq(r.t.state, MESH_TIME_REFUSED);
        cr_expect_eq(look(&r, 5000), own + 5);
        nettime_accept(&r.t);
        cr_expect_eq(look(&r, 0), true_s(&r));
        cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
        cr_expect_eq(r.t.greatest_s, true_s(&r), "T follows the user's word, back too");
        cr_expect_eq(r.t.back_steps, sign > 0 ? 1u : 0u);
        cr_expect_not(r.t.user_accepts, "it was for one step");
    }
}

Test(mesh_nettime, steps_of_less_than_a_day_do_not_add_up)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct rig r = rig_init(0, 0);
        for (int k = 1; k <= 400; k++) {
            hear(&r, 1, sign * k * INT64_C(80000)); /* one peer, at each of its handshakes */
            look(&r, 1000);
        }
        cr_expect_eq(r.t.state, MESH_TIME_REFUSED);
        uint64_t now = look(&r, 0);
        cr_expect_leq(now, true_s(&r) + 86400);
        cr_expect_leq(true_s(&r) - 86400, now);
        cr_expect_leq(r.t.greatest_s, true_s(&r) + 86400, "T would outlive the liar");
    }
}

Test(mesh_nettime, a_day_counts_from_what_the_user_took_or_the_clock_before_its_jump)
{
    struct rig r = rig_init(year_ms, 0);
    hear_three(&r);
    look(&r, 0);
    nettime_accept(&r.t);
    cr_expect_eq(look(&r, 0), true_s(&r));
    for (uint8_t who = 1; who <= 3; who++)
        hear(&r, who, 80000);
    cr_expect_eq(look(&r, 0), true_s(&r) + 80000);
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    for (uint8_t who = 1; who <= 3; who++)
        hear(&r, who, 160000);
    cr_expect_eq(look(&r, 0), true_s(&r) + 80000);
    cr_expect_eq(r.t.state, MESH_TIME_REFUSED);
    r = rig_init(0, 0);
    r.skew_ms = year_ms; /* our clock jumps, and then peers speak */
    look(&r, 0);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
}

Test(mesh_nettime, a_refused_step_ends_when_the_clock_is_put_right_or_peers_leave)
{
    struct rig r = rig_init(year_ms, 0);
    hear_three(&r);
    look(&r, 0);
    cr_expect_eq(r.t.state, MESH_TIME_REFUSED);
    r.skew_ms = 0; /* somebody sets the clock */
    cr_expect_eq(look(&r, 10), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_OWN);
    r = rig_init(year_ms, 0);
    hear_three(&r);
    look(&r, 0);
    for (uint8_t who = 1; who <= 3; who++)
        forget(&r, who);
    look(&r, 0);
    cr_expect_eq(r.t.state, MESH_TIME_UNCHECKED);
}

Test(mesh_nettime, a_clock_that_jumps_a_year_moves_nothing_while_peers_are_there)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct rig r = rig_init(3000, 0);
        hear_three(&r);
        uint64_t before = look(&r, 60000);
        cr_expect_eq(r.t.state, MESH_TIME_OWN);
        r.skew_ms += sign * year_ms;
        cr_expect_eq(look(&r, 60000), before + 57, "theirs; ours had been 3 s ahead");
        cr_expect_eq(r.t.state, MESH_TIME_MEDIAN, "and the caller warns");
        cr_expect_eq(r.t.jumps, 1u);
        cr_expect_eq(r.t.back_steps, 0u);
        hear(&r, 1, 0);
        hear(&r, 4, 0);
        cr_expect_eq(look(&r, 0), true_s(&r), "new peers say the same");
        r.skew_ms = 0;
        cr_expect_eq(look(&r, 1000), true_s(&r), "the clock is put right");
        cr_expect_eq(r.t.state, MESH_TIME_OWN);
        cr_expect_eq(r.t.jumps, 2u);
        cr_expect_eq(r.t.offset_ms, 0);
    }
}

Test(mesh_nettime, a_clock_that_jumps_a_year_is_held_while_nobody_can_tell)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct rig r = rig_init(0, start_s - 100);
        look(&r, 1000);
        r.skew_ms = sign * year_ms;
        cr_expect_eq(look(&r, 1000), true_s(&r));
        cr_expect_eq(r.t.state, MESH_TIME_UNCHECKED);
        cr_expect(r.t.is_held);
        cr_expect_eq(r.t.offset_ms, -sign * year_ms);
        cr_expect_eq(look(&r, 3600000), true_s(&r),
                     "on the monotonic clock, for as long as it takes");
        hear(&r, 1, 0);
        cr_expect_eq(look(&r, 1000), true_s(&r), "a peer says that it was right");
        cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    }
}

Test(mesh_nettime, a_held_jump_ends_when_peers_or_the_user_or_the_clock_say_so)
{
    struct rig r = rig_init(-year_ms, 0); /* a wrong clock, set right while nobody could tell */
    look(&r, 0);
    r.skew_ms = 0;
    cr_expect_eq(look(&r, 0), true_s(&r) - (uint64_t)(year_ms / 1000));
    hear(&r, 1, 5);
    cr_expect_eq(look(&r, 0), true_s(&r),
                 "within 30 s of our clock: no word of the user is needed");
    cr_expect_eq(r.t.state, MESH_TIME_OWN);

    r = rig_init(-year_ms, 0);
    look(&r, 0);
    r.skew_ms = 0;
    look(&r, 0);
    nettime_accept(&r.t);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_not(r.t.is_held);

    r = rig_init(0, 0);
    look(&r, 0);
    r.skew_ms = year_ms;
    look(&r, 0);
    r.skew_ms = 0; /* it jumps back by itself */
    cr_expect_eq(look(&r, 5000), true_s(&r));
    cr_expect(r.t.is_own && !r.t.is_held);
}

Test(mesh_nettime, follows_small_steps_and_waits_out_short_ones_back)
{
    struct rig r = rig_init(0, 0);
    look(&r, 100000);
    r.skew_ms = 20000;
    cr_expect_eq(look(&r, 0), true_s(&r) + 20);
    r.skew_ms = 0;
    uint64_t still = true_s(&r) + 20;
    cr_expect_eq(look(&r, 10000), still);
    cr_expect_eq(look(&r, 9000), still);
    cr_expect_eq(look(&r, 2000), still + 1, "caught up");
    cr_expect_eq(r.t.back_steps, 0u);
    cr_expect_eq(r.t.jumps, 0u);
}

Test(mesh_nettime, says_when_it_went_back_by_more_than_a_minute)
{
    struct rig r = rig_init(60000, 0);
    look(&r, 0);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r) + 60, "a minute is waited out");
    cr_expect_eq(r.t.back_steps, 0u);
    r = rig_init(61000, 0);
    look(&r, 0);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.back_steps, 1u);
    cr_expect_eq(r.t.greatest_s, true_s(&r) + 61, "T stays the greatest");
}

Test(mesh_nettime, an_unset_clock_counts_from_T_and_goes_forward_by_any_amount)
{
    struct rig r = rig_init(-start_ms, start_s - 864000); /* 1970; last ran ten days ago */
    cr_expect_eq(r.t.state, MESH_TIME_UNSET);
    cr_expect_eq(look(&r, 7000), start_s - 864000 + 7);
    hear_three(&r);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_MEDIAN);
    cr_expect_not(r.t.is_unset);
    r = rig_init(-start_ms, start_s - 864000);
    look(&r, 1000);
    r.skew_ms = 0; /* NTP sets it */
    cr_expect_eq(look(&r, 1000), true_s(&r));
    cr_expect_eq(r.t.state, MESH_TIME_UNCHECKED);
}

Test(mesh_nettime, an_unset_clock_never_goes_back_without_the_users_word)
{
    uint64_t T = start_s + 1000;
    struct rig r = rig_init(0, T);
    hear_three(&r); /* they agree with our clock: it was T that was wrong */
    cr_expect_eq(look(&r, 0), T);
    cr_expect_eq(r.t.state, MESH_TIME_UNSET);
    cr_expect_eq(look(&r, 999000), T, "stands still");
    cr_expect_eq(look(&r, 2000), T + 1, "until their time reaches it");
    cr_expect_eq(r.t.state, MESH_TIME_OWN);
    r = rig_init(0, start_s + (uint64_t)(year_ms / 1000));
    hear_three(&r);
    look(&r, 0);
    nettime_accept(&r.t);
    cr_expect_eq(look(&r, 0), true_s(&r));
    cr_expect_eq(r.t.greatest_s, true_s(&r));
    cr_expect_eq(r.t.back_steps, 1u);
}

Test(mesh_nettime, strangers_cannot_push_bootstrap_peers_out)
{
    struct rig r = rig_init(0, 0);
    for (uint8_t i = 0; i < NETTIME_SAMPLES; i++) {
        uint8_t from[8] = { 200, i };
        nettime_heard(&r.t, from, i < 20, start_s, wall(&r), r.mono_ns + i);
    }
    for (uint8_t who = 1; who <= 100; who++)
        hear(&r, who, 5000);
    cr_expect_eq(r.t.n, (size_t)NETTIME_SAMPLES);
    size_t preferred = 0;
    for (size_t i = 0; i < r.t.n; i++)
        preferred += r.t.samples[i].weight == 2;
    cr_expect_eq(preferred, 20u);
    look(&r, 0);
    cr_expect_eq(r.t.state, MESH_TIME_OWN);
    for (uint8_t i = 0; i < NETTIME_SAMPLES; i++) { /* all places preferred: strangers get none */
        uint8_t from[8] = { 201, i };
        nettime_heard(&r.t, from, true, start_s, wall(&r), r.mono_ns);
    }
    hear(&r, 9, 5000);
    preferred = 0;
    for (size_t i = 0; i < r.t.n; i++)
        preferred += r.t.samples[i].weight == 2;
    cr_expect_eq(preferred, (size_t)NETTIME_SAMPLES);
}

Test(mesh_nettime, bears_impossible_clocks_and_claims)
{
    static const int64_t walls[] = { INT64_MIN, -1, 0, INT64_MAX };
    struct rig r = rig_init(0, UINT64_MAX);
    cr_expect_eq(nettime_now(&r.t, INT64_MIN, 0), NETTIME_MAX_S);
    for (size_t i = 0; i < sizeof walls / sizeof walls[0]; i++) {
        nettime_init(&r.t, 0, walls[i], UINT64_MAX);
        nettime_heard(&r.t, (uint8_t[8]){ 1 }, false, UINT64_MAX, walls[i], 0);
        cr_expect_eq(r.t.n, 0u);
        nettime_heard(&r.t, (uint8_t[8]){ 1 }, false, NETTIME_MAX_S, walls[i], 0);
        nettime_heard(&r.t, (uint8_t[8]){ 2 }, false, 0, walls[3 - i], UINT64_MAX);
        for (size_t k = 0; k < 4; k++) {
            cr_expect_leq(nettime_now(&r.t, walls[k], UINT64_MAX), NETTIME_MAX_S);
            nettime_accept(&r.t);
        }
    }
}
