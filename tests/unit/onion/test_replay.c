#include <stdlib.h>
#include <string.h>

#include "replay_rig.h"

static struct replay_rig g;

static void set_up(void)
{
    replay_rig_init(&g, 1, 0);
    replay_rig_settle(&g);
}

static void tear_down(void)
{
    replay_rig_fini(&g);
}

TestSuite(replay, .init = set_up, .fini = tear_down);
TestSuite(replay_crash, .init = set_up, .fini = tear_down);

/* Network time passes with the ticks that a node makes. */
static void pass(uint64_t seconds)
{
    for (uint64_t left = seconds; left > 0;) {
        uint64_t step = left < ONION_REPLAY_TICK_S ? left : ONION_REPLAY_TICK_S;
        g.now += step;
        left -= step;
        if (onion_replay_tick(g.replay, g.now))
            cr_assert_fail("wants a new key");
        replay_rig_settle(&g);
    }
}

static struct onion_replay_info info(void)
{
    struct onion_replay_info i;
    onion_replay_info(g.replay, &i);
    return i;
}

static void expect(uint32_t who, uint64_t stamp, enum drop want)
{
    enum drop got = replay_rig_build(&g, who, stamp);
    cr_assert_eq(got, want, "build %u: %s, want %s", who, drop_name(got), drop_name(want));
}

/* ---- the rule -------------------------------------------------------------------------------- */

Test(replay, takes_a_record_once)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    expect(1, stamp, DROP_REPLAY);
    expect(2, stamp, DROP_NONE);
    pass(240);
    expect(1, stamp, DROP_REPLAY);
    expect(2, stamp, DROP_REPLAY);
    expect(3, stamp, DROP_NONE);
}

Test(replay, takes_stamps_of_the_window_and_no_others)
{
    g.now = RIG_NOW - RIG_NOW % 60 + 600; /* a full minute, so that the ceiling is not in the way */
    pass(60);
    expect(1, g.now - 361, DROP_EXPIRED);
    expect(2, g.now - 360, DROP_NONE);
    expect(3, g.now + 60, DROP_NONE);
    expect(4, g.now + 61, DROP_EXPIRED);
    expect(5, 0, DROP_EXPIRED);
    expect(6, UINT64_MAX, DROP_EXPIRED);
    expect(1, g.now, DROP_NONE); /* refused before: not entered */
}

Test(replay, knows_a_record_for_as_long_as_its_stamp_is_fresh)
{
    /* Whatever the second of the generation: stamps as far ahead as may be live longest. */
    for (uint32_t i = 0; i < 90; i++) {
        uint64_t ahead = g.now + 60 - g.now % 60;
        expect(1000 + i, ahead, DROP_NONE);
        for (uint64_t left = 430; left > 0; left -= 43) {
            pass(43);
            enum drop drop = replay_rig_build(&g, 1000 + i, ahead);
            cr_assert(drop == DROP_REPLAY || drop == DROP_EXPIRED, "%s after %u s", drop_name(drop),
                      (unsigned)(473 - left));
        }
    }
}

Test(replay, forgets_what_is_no_longer_fresh_and_gives_its_memory_back)
{
    for (uint32_t i = 0; i < 10000; i++)
        expect(i, replay_rig_stamp(&g), DROP_NONE);
    cr_assert_eq(info().entries, 10000u);
    cr_assert_leq(info().bytes, 10000u * 8 * 3);
    pass(840);
    cr_assert_eq(info().entries, 0u);
    cr_assert_eq(info().bytes, 0u);
    expect(1, replay_rig_stamp(&g) - 840, DROP_EXPIRED);
    expect(1, replay_rig_stamp(&g), DROP_NONE);
    pass(24 * 3600);
    expect(1, replay_rig_stamp(&g), DROP_NONE);
    g.now += 24 * 3600; /* nobody asked for a day */
    cr_assert_not(onion_replay_tick(g.replay, g.now));
    cr_assert_eq(info().entries, 0u);
}

Test(replay, never_refuses_a_fresh_stamp_because_of_what_it_forgot)
{
    uint32_t who = 0;
    for (unsigned minute = 0; minute < 60; minute++) {
        for (unsigned s = 0; s < 60; s += 10) {
            pass(10);
            expect(who++, g.now - 360, DROP_NONE);
            expect(who++, replay_rig_stamp(&g) + (s < 50 ? 0 : 60), DROP_NONE);
        }
    }
}

Test(replay, is_busy_when_a_generation_is_full_and_forgets_nothing)
{
    uint64_t stamp = replay_rig_stamp(&g);
    for (uint32_t i = 0; i < ONION_REPLAY_MAX; i++)
        if (replay_rig_build(&g, i, stamp) != DROP_NONE)
            cr_assert_fail("build %u was refused", i);
    cr_assert_eq(info().entries, (size_t)ONION_REPLAY_MAX);
    cr_assert_leq(info().bytes, (size_t)8 << 20);
    expect(ONION_REPLAY_MAX, stamp, DROP_LOAD);
    expect(0, stamp, DROP_LOAD);
    pass(420);
    expect(0, stamp, DROP_REPLAY);
    expect(ONION_REPLAY_MAX - 1, stamp, DROP_REPLAY);
    expect(ONION_REPLAY_MAX, replay_rig_stamp(&g), DROP_NONE);
    /* More than a blob can hold: the old generation is behind the window, and not missed. */
    replay_rig_restart(&g);
    cr_assert_eq(info().past, ONION_REPLAY_SAVED);
    cr_assert_eq(info().entries, 1u);
    replay_rig_settle(&g);
    expect(0, stamp, DROP_EXPIRED);
    expect(ONION_REPLAY_MAX, replay_rig_stamp(&g), DROP_REPLAY);
    expect(ONION_REPLAY_MAX + 1, replay_rig_stamp(&g), DROP_NONE);
}

Test(replay, saves_what_fits_and_lets_the_rest_cost_a_wait)
{
    uint64_t stamp = replay_rig_stamp(&g);
    for (uint32_t i = 0; i < 140000; i++)
        if (replay_rig_build(&g, i, stamp) != DROP_NONE)
            cr_assert_fail("build %u was refused", i);
    replay_rig_restart(&g);
    replay_rig_settle(&g);
    cr_assert_eq(info().entries, 0u);
    expect(0, stamp, DROP_EXPIRED);
    expect(139999, stamp, DROP_EXPIRED);
    pass(60);
    expect(200000, replay_rig_stamp(&g), DROP_NONE);
}

/* ---- clean stops and crashes ----------------------------------------------------------------- */

Test(replay_crash, of_new_keys_waits_for_the_disk_alone)
{
    replay_rig_fini(&g);
    replay_rig_init(&g, 2, 4000);
    cr_assert_eq(info().past, ONION_REPLAY_NEW_KEYS);
    cr_assert_eq(onion_replay_wait(g.replay, g.now), 0u);
    expect(1, replay_rig_stamp(&g), DROP_STATE);
    replay_rig_run(&g, SIM_MS(3));
    expect(1, replay_rig_stamp(&g), DROP_STATE);
    replay_rig_run(&g, SIM_MS(2));
    expect(1, replay_rig_stamp(&g), DROP_NONE);
}

Test(replay_crash, does_not_happen_in_a_clean_restart)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    pass(400); /* into the generation after */
    expect(2, stamp + 420, DROP_NONE);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t fresh = replay_rig_stamp(&g);
        replay_rig_restart(&g);
        cr_assert_eq(info().past, ONION_REPLAY_SAVED);
        cr_assert_eq(onion_replay_wait(g.replay, g.now), 0u);
        replay_rig_settle(&g);
        expect(2, stamp + 420, DROP_REPLAY);
        expect(100 + i, fresh, DROP_NONE);
    }
    expect(100, replay_rig_stamp(&g), DROP_REPLAY);
}

Test(replay_crash, costs_two_minutes_of_builds_and_never_a_replay)
{
    for (unsigned s = 0; s < 60; s += 7) {
        uint64_t stamp = replay_rig_stamp(&g), crashed;
        expect(1000 + s, stamp, DROP_NONE);
        replay_rig_crash(&g);
        crashed = g.now;
        cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
        replay_rig_settle(&g);
        uint64_t wait = onion_replay_wait(g.replay, g.now);
        cr_assert(wait >= 60 && wait <= 140, "waits %u s", (unsigned)wait);
        while (replay_rig_build(&g, 2000 + s, replay_rig_stamp(&g)) != DROP_NONE) {
            cr_assert_neq(replay_rig_build(&g, 1000 + s, stamp), DROP_NONE);
            pass(1);
        }
        cr_assert_eq(g.now - crashed, wait, "waited %u s, said %u", (unsigned)(g.now - crashed),
                     (unsigned)wait);
        cr_assert_neq(replay_rig_build(&g, 1000 + s, stamp), DROP_NONE);
        pass(7);
    }
}

Test(replay_crash, long_ago_costs_nothing)
{
    expect(1, replay_rig_stamp(&g), DROP_NONE);
    sim_node_crash(g.node);
    g.now += 600;
    replay_rig_boot(&g);
    cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
    replay_rig_settle(&g);
    expect(2, replay_rig_stamp(&g), DROP_NONE);
}

/* The saved file is good for one start: used again after a crash it would forget what came
 * between. */
Test(replay_crash, after_a_clean_start_does_not_find_the_saved_set_again)
{
    replay_rig_restart(&g);
    replay_rig_settle(&g);
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    replay_rig_crash(&g);
    cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
    replay_rig_settle(&g);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
}

Test(replay_crash, before_the_saved_file_is_marked_leaves_it_whole)
{
    uint64_t stamp = replay_rig_stamp(&g);
    unsigned saved = 0, crashed = 0;
    uint32_t who = 1;
    expect(who, stamp, DROP_NONE);
    for (uint32_t i = 0; i < 40; i++) {
        replay_rig_restart(&g);
        expect(who, stamp, DROP_STATE);
        expect(who + 1, stamp, DROP_STATE);
        replay_rig_crash(&g); /* with the mark on its way */
        enum onion_replay_past past = info().past;
        saved += past == ONION_REPLAY_SAVED;
        crashed += past == ONION_REPLAY_CRASHED;
        replay_rig_settle(&g);
        cr_assert_neq(replay_rig_build(&g, who, stamp), DROP_NONE);
        if (past == ONION_REPLAY_SAVED)
            continue;
        pass(200);
        stamp = replay_rig_stamp(&g);
        who = 1000 + 2 * i;
        expect(who, stamp, DROP_NONE);
    }
    cr_assert(saved > 5 && crashed > 5, "%u saved, %u crashed", saved, crashed);
}

Test(replay_crash, while_the_set_is_being_saved_is_one_or_a_clean_stop)
{
    unsigned saved = 0;
    for (unsigned i = 0; i < 40; i++) {
        uint64_t stamp = replay_rig_stamp(&g);
        expect(1000 + i, stamp, DROP_NONE);
        cr_assert_eq(onion_replay_stop(g.replay, g.now, NULL, NULL), 0);
        expect(2000 + i, stamp, DROP_STATE); /* would be missing in the file */
        replay_rig_crash(&g);
        saved += info().past == ONION_REPLAY_SAVED;
        replay_rig_settle(&g);
        cr_assert_neq(replay_rig_build(&g, 1000 + i, stamp), DROP_NONE);
        pass(200);
    }
    cr_assert(saved > 5 && saved < 35, "%u of 40 saved", saved);
}

Test(replay_crash, while_the_next_minute_is_being_written_holds_either_bound)
{
    for (unsigned i = 0; i < 60; i++) {
        g.now += 60;
        (void)replay_rig_build(&g, 1000 + i, replay_rig_stamp(&g)); /* the file lags: ask for it */
        replay_rig_run(&g, SIM_MS(i % 7));
        uint64_t stamp = replay_rig_stamp(&g) + 60;
        enum drop drop = replay_rig_build(&g, 2000 + i, stamp);
        replay_rig_crash(&g);
        replay_rig_settle(&g);
        if (drop == DROP_NONE)
            for (unsigned s = 0; s < 480; s += 20) {
                cr_assert_neq(replay_rig_build(&g, 2000 + i, stamp), DROP_NONE);
                pass(20);
            }
        pass(200);
    }
}

Test(replay_crash, with_the_clock_set_back_is_no_way_in)
{
    const uint64_t back[] = { 10, 300, 7200 };
    for (unsigned i = 0; i < 3; i++) {
        uint64_t stamp = replay_rig_stamp(&g) + 60, then = g.now;
        pass(60 - g.now % 60 + 50); /* in the last ten seconds: stamps of the next minute pass */
        stamp = replay_rig_stamp(&g) + 60;
        then = g.now;
        expect(1 + i, stamp, DROP_NONE);
        sim_node_crash(g.node);
        g.greatest = then - 59; /* T is written once a minute */
        g.now = then - back[i];
        replay_rig_boot(&g);
        for (unsigned s = 0; s < back[i] + 600; s += 10) {
            replay_rig_settle(&g);
            cr_assert_neq(replay_rig_build(&g, 1 + i, stamp), DROP_NONE, "%u s later", s);
            g.now += 10;
            cr_assert_eq(onion_replay_tick(g.replay, g.now),
                         onion_replay_wait(g.replay, g.now) > ONION_REPLAY_WAIT_MAX_S);
        }
    }
}

Test(replay_crash, without_a_file_goes_by_the_greatest_time_used)
{
    uint64_t stamp = replay_rig_stamp(&g) + 60;
    pass(60 - g.now % 60);
    expect(1, replay_rig_stamp(&g) + 60, DROP_NONE);
    stamp = replay_rig_stamp(&g) + 60;
    sim_node_crash(g.node);
    sim_node_wipe_disk(g.node);
    g.greatest = g.now - 59;
    g.now -= 300; /* and the clock went back */
    replay_rig_boot(&g);
    cr_assert_eq(info().past, ONION_REPLAY_LOST);
    for (unsigned s = 0; s < 900; s += 10) {
        replay_rig_settle(&g);
        cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
        pass(10);
    }
    expect(2, replay_rig_stamp(&g), DROP_NONE);
}

Test(replay_crash, with_a_damaged_file_goes_by_the_greatest_time_used)
{
    struct env *env = sim_node_env(g.node);
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    env_blob_store(env, ONION_REPLAY_FILE, (const uint8_t *)"cyx-rpl1 and then junk", 22, NULL,
                   NULL);
    replay_rig_settle(&g);
    replay_rig_crash(&g);
    cr_assert_eq(info().past, ONION_REPLAY_LOST);
    cr_assert_gt(onion_replay_wait(g.replay, g.now), 60u);
    replay_rig_settle(&g);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
}

/* ---- time goes back -------------------------------------------------------------------------- */

Test(replay, in_a_running_node_does_not_mind_time_that_goes_back_a_little)
{
    const uint64_t back[] = { 10, 60, 300 };
    for (unsigned i = 0; i < 3; i++) {
        uint64_t stamp = replay_rig_stamp(&g);
        expect(1 + i, stamp, DROP_NONE);
        pass(400);
        g.now -= back[i];
        cr_assert_not(onion_replay_tick(g.replay, g.now));
        cr_assert_eq(onion_replay_wait(g.replay, g.now), 0u);
        expect(1 + i, stamp, DROP_REPLAY);
        expect(100 + i, replay_rig_stamp(&g), DROP_NONE);
        pass(1000);
    }
}

/* A build each half minute: the floor follows what is forgotten. */
static void be_busy(uint64_t seconds)
{
    for (uint32_t i = 0; i < seconds / 30; i++) {
        pass(30);
        expect(10000 + i, replay_rig_stamp(&g), DROP_NONE);
    }
}

/* Nothing accepted, nothing forgotten: then no wait either. */
Test(replay, of_an_idle_node_does_not_mind_time_that_goes_back_by_hours)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    pass(7200);
    g.now = RIG_NOW + 60;
    cr_assert_not(onion_replay_tick(g.replay, g.now));
    expect(1, stamp, DROP_EXPIRED);
    expect(2, replay_rig_stamp(&g), DROP_NONE);
    pass(2000);
    expect(3, replay_rig_stamp(&g), DROP_NONE);
}

Test(replay, asks_for_a_new_key_when_time_went_back_by_hours)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    be_busy(7200);
    g.now = RIG_NOW;
    cr_assert(onion_replay_tick(g.replay, g.now));
    cr_assert_gt(onion_replay_wait(g.replay, g.now), (uint64_t)ONION_REPLAY_WAIT_MAX_S);
    expect(1, stamp, DROP_STATE);
    mesh_identity_renew_onion(g.identity, sim_node_env(g.node), g.now);
    expect(3, stamp, DROP_STATE); /* the file names no key of ours */
    onion_replay_renewed(g.replay, g.now);
    expect(3, stamp, DROP_STATE); /* ... and does once it is on disk */
    replay_rig_settle(&g);
    expect(3, stamp, DROP_NONE);
    expect(3, stamp, DROP_REPLAY);
    cr_assert_not(onion_replay_tick(g.replay, g.now));
}

Test(replay, forgets_nothing_when_told_of_new_keys_that_are_none)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    onion_replay_renewed(g.replay, g.now);
    expect(1, stamp, DROP_REPLAY);
    g.now += 12 * 3600;
    cr_assert(mesh_identity_rotate(g.identity, sim_node_env(g.node), g.now, true));
    pass(60);
    expect(2, replay_rig_stamp(&g), DROP_NONE);
    g.identity->onion[1] = (struct mesh_keypair){ 0 }; /* the key it was opened with is gone */
    pass(60);
    expect(3, replay_rig_stamp(&g), DROP_NONE);
    onion_replay_renewed(g.replay, g.now);
    expect(3, replay_rig_stamp(&g), DROP_REPLAY);
}

Test(replay, waits_when_time_went_back_and_the_wait_is_short)
{
    be_busy(2000);
    g.now -= 1000;
    uint64_t wait = onion_replay_wait(g.replay, g.now);
    cr_assert(wait > 0 && wait <= 600, "waits %u s", (unsigned)wait);
    cr_assert_not(onion_replay_tick(g.replay, g.now));
    expect(3, replay_rig_stamp(&g), DROP_STATE);
    g.now += wait;
    expect(3, replay_rig_stamp(&g), DROP_NONE);
}

/* ---- keys ------------------------------------------------------------------------------------ */

Test(replay_crash, in_the_middle_of_new_keys_lets_nothing_in)
{
    /* The old identity comes back although the cache was told that the new one is on disk. */
    struct mesh_identity before = *g.identity;
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    mesh_identity_renew_onion(g.identity, sim_node_env(g.node), g.now);
    onion_replay_renewed(g.replay, g.now);
    replay_rig_settle(&g);
    sim_node_crash(g.node);
    *g.identity = before;
    replay_rig_boot(&g);
    cr_assert_eq(info().past, ONION_REPLAY_LOST);
    replay_rig_settle(&g);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
}

Test(replay_crash, after_rotations_knows_the_file_by_any_key)
{
    for (unsigned n = 0; n < 12; n++) {
        uint64_t stamp = replay_rig_stamp(&g);
        expect(1, stamp, DROP_NONE);
        replay_rig_restart(&g);
        cr_assert_eq(info().past, ONION_REPLAY_SAVED);
        replay_rig_settle(&g);
        expect(1, stamp, DROP_REPLAY);
        g.now += 12 * 3600;
        cr_assert(mesh_identity_rotate(g.identity, sim_node_env(g.node), g.now, true));
        pass(20);
        expect(2, replay_rig_stamp(&g), DROP_NONE);
        replay_rig_crash(&g);
        cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
        pass(900);
    }
}

Test(replay, accepts_nothing_while_the_file_names_none_of_the_keys)
{
    uint64_t stamp = replay_rig_stamp(&g);
    mesh_identity_renew_onion(g.identity, sim_node_env(g.node), g.now);
    expect(1, stamp, DROP_STATE);
    replay_rig_settle(&g);
    expect(1, stamp, DROP_NONE);
}

/* ---- the disk -------------------------------------------------------------------------------- */

Test(replay, stops_accepting_when_the_disk_refuses_and_goes_on_when_it_does_not)
{
    sim_node_set_disk(g.node, SIM_DISK_FULL);
    pass(200);
    expect(1, replay_rig_stamp(&g), DROP_STATE);
    cr_assert_gt(info().refused, 0u);
    cr_assert_leq(info().stores, 25u); /* once a tick, not once a millisecond */
    for (uint32_t i = 0; i < 100; i++) {
        expect(i, replay_rig_stamp(&g), DROP_STATE);
        replay_rig_settle(&g);
    }
    cr_assert_leq(info().stores, 26u);
    sim_node_set_disk(g.node, SIM_DISK_OK);
    pass(1);
    expect(1, replay_rig_stamp(&g), DROP_NONE);
}

Test(replay, writes_its_file_once_a_minute)
{
    uint64_t before = info().stores;
    for (unsigned i = 0; i < 3600; i += 10) {
        pass(10);
        for (uint32_t k = 0; k < 10; k++)
            expect(i * 10 + k, replay_rig_stamp(&g), DROP_NONE);
    }
    cr_assert_leq(info().stores - before, 61u);
}

Test(replay, that_could_not_be_saved_is_one_after_a_crash)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    sim_node_set_disk(g.node, SIM_DISK_READ_ONLY);
    g.code = 1;
    cr_assert_eq(onion_replay_stop(g.replay, g.now, NULL, NULL), 0);
    replay_rig_settle(&g);
    sim_node_crash(g.node);
    sim_node_set_disk(g.node, SIM_DISK_OK);
    replay_rig_boot(&g);
    cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
    replay_rig_settle(&g);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
    onion_replay_close(NULL);
}
