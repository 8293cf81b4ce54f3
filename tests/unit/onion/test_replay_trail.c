/* The replay cache when only the program ends: nothing is forgotten, nothing waits. */
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

TestSuite(replay_trail, .init = set_up, .fini = tear_down);

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

static void pass(uint64_t seconds)
{
    for (uint64_t left = seconds; left > 0; left--) {
        g.now++;
        cr_assert_not(onion_replay_tick(g.replay, g.now), "wants a new key");
        replay_rig_settle(&g);
    }
}

static void killed(enum onion_replay_past want)
{
    replay_rig_kill(&g);
    cr_assert_eq(info().past, want, "past is %d", (int)info().past);
    replay_rig_settle(&g);
}

Test(replay_trail, a_kill_costs_no_build_and_no_second)
{
    uint64_t stamp = replay_rig_stamp(&g);
    for (uint32_t i = 0; i < 2000; i++)
        expect(i, stamp, DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    cr_expect_eq(onion_replay_wait(g.replay, g.now), 0u);
    for (uint32_t i = 0; i < 2000; i++)
        expect(i, stamp, DROP_REPLAY);
    expect(5000, stamp, DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    expect(1999, stamp, DROP_REPLAY);
    expect(5000, stamp, DROP_REPLAY);
    expect(5001, stamp, DROP_NONE);
}

Test(replay_trail, both_generations_outlive_it_and_so_does_what_a_clean_stop_saved)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    replay_rig_restart(&g);
    replay_rig_settle(&g);
    pass(200);
    expect(2, replay_rig_stamp(&g), DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    expect(1, stamp, DROP_REPLAY);
    pass(120);
    expect(2, stamp + 180, DROP_REPLAY);
    pass(ONION_REPLAY_GENERATION_S - 300);
    stamp = replay_rig_stamp(&g);
    expect(3, stamp, DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    expect(3, stamp, DROP_REPLAY);
    cr_expect_eq(info().entries, 3u);
}

Test(replay_trail, a_cut_of_power_is_what_it_was)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    replay_rig_kill(&g);
    replay_rig_crash(&g);
    cr_assert_eq(info().past, ONION_REPLAY_CRASHED);
    replay_rig_settle(&g);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
    cr_assert_gt(onion_replay_wait(g.replay, g.now), 0u);
}

/* The trail of the generation before goes when the next one takes its place: here the program is
 * killed between that and the new one's first bytes. */
static void empty_trail(void *arg)
{
    struct env_trail *t;
    cr_assert_eq(env_trail_open(sim_node_env(g.node), arg, true, &t), 0);
    env_trail_close(sim_node_env(g.node), t);
}

static void kill_without(char *name)
{
    sim_node_enter(g.node, empty_trail, name);
    replay_rig_settle(&g);
    killed(ONION_REPLAY_KEPT);
}

Test(replay_trail, a_generation_whose_trail_went_is_behind_the_floor)
{
    static char before[] = "onion.replay.0"; /* turns 1 and 2 at the start: the third is in 1 */
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp + 60, DROP_NONE);
    for (unsigned i = 0; i < 2; i++) { /* one of them is the generation before */
        pass(ONION_REPLAY_GENERATION_S / 2 + 1);
        expect(10 + i, replay_rig_stamp(&g), DROP_NONE);
    }
    cr_assert_leq(info().floor, stamp);
    kill_without(before);
    cr_expect_gt(info().floor, stamp);
    cr_assert_neq(replay_rig_build(&g, 1, stamp + 60), DROP_NONE);
}

Test(replay_trail, where_none_can_be_written_nothing_is_accepted_before_the_file_says_so)
{
    uint64_t stamp = replay_rig_stamp(&g);
    expect(1, stamp, DROP_NONE);
    sim_node_set_disk(g.node, SIM_DISK_FULL);
    expect(2, stamp, DROP_STATE);
    sim_node_set_disk(g.node, SIM_DISK_OK);
    pass(2);
    expect(3, stamp, DROP_NONE); /* without trails */
    killed(ONION_REPLAY_CRASHED);
    cr_assert_neq(replay_rig_build(&g, 1, stamp), DROP_NONE);
    cr_assert_neq(replay_rig_build(&g, 3, stamp), DROP_NONE);
    pass(200); /* the next start has begun new ones */
    stamp = replay_rig_stamp(&g);
    expect(4, stamp, DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    expect(4, stamp, DROP_REPLAY);
}

Test(replay_trail, the_next_generation_begins_them_anew)
{
    expect(1, replay_rig_stamp(&g), DROP_NONE);
    sim_node_set_disk(g.node, SIM_DISK_FULL);
    expect(2, replay_rig_stamp(&g), DROP_STATE);
    sim_node_set_disk(g.node, SIM_DISK_OK);
    pass(ONION_REPLAY_GENERATION_S + 1);
    uint64_t stamp = replay_rig_stamp(&g);
    expect(3, stamp, DROP_NONE);
    killed(ONION_REPLAY_KEPT);
    expect(3, stamp, DROP_REPLAY);
}

Test(replay_trail, nothing_is_left_in_them_after_a_clean_stop)
{
    uint8_t buf[64];
    size_t len = 99;
    expect(1, replay_rig_stamp(&g), DROP_NONE);
    cr_assert_eq(onion_replay_stop(g.replay, g.now, NULL, NULL), 0);
    replay_rig_settle(&g);
    cr_assert_eq(env_trail_load(sim_node_env(g.node), "onion.replay.0", buf, sizeof buf, &len), 0);
    cr_expect_eq(len, 0u);
    cr_assert_eq(env_trail_load(sim_node_env(g.node), "onion.replay.1", buf, sizeof buf, &len), 0);
    cr_expect_eq(len, 0u);
}

/* Bytes that no program of ours wrote: of a run that the file names, but cut, or with an entry that
 * can't be. */
static void spoil(void *arg)
{
    struct env_trail *t;
    struct env *e = sim_node_env(g.node);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(env_trail_open(e, i == 0 ? "onion.replay.0" : "onion.replay.1", false, &t), 0);
        cr_assert_eq(env_trail_add(e, t, (uint8_t[16]){ 0 }, *(size_t *)arg), 0);
        env_trail_close(e, t);
    }
}

Test(replay_trail, that_makes_no_sense_is_none)
{
    for (size_t len = 1; len <= 16; len += 15) {
        uint64_t stamp = replay_rig_stamp(&g);
        expect((uint32_t)len, stamp, DROP_NONE);
        sim_node_enter(g.node, spoil, &len);
        replay_rig_settle(&g);
        killed(ONION_REPLAY_CRASHED);
        cr_assert_neq(replay_rig_build(&g, (uint32_t)len, stamp), DROP_NONE);
        pass(200);
    }
}
