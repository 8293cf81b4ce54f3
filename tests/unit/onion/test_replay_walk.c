/* A node's life at random, many times over: builds, replays, kills at any moment, clean stops, full
 * disks, lost files, clocks that jump, keys that rotate and are renewed. No build is accepted twice
 * under one onion key. A failing run names its seed. */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "replay_rig.h"

enum { SEEDS = 150, STEPS = 1500, BUILDS_MAX = STEPS };

/* An accepted build: what an onlooker inside the link has to send again. */
struct had {
    uint32_t who;
    uint64_t stamp;
    uint8_t onion_key[32];
};

struct walk {
    struct replay_rig g;
    uint64_t seed;
    struct mesh_identity saved; /* on disk */
    struct had had[BUILDS_MAX];
    size_t n_had;
    uint32_t next;
    unsigned accepted, again, crashes, stops, renewals, losses, kept;
};

static uint64_t draw(struct walk *w, uint64_t bound)
{
    return sim_random_below(w->g.world, bound);
}

static bool holds(const struct walk *w, const uint8_t key[static 32])
{
    for (size_t k = 0; k < MESH_ONION_KEYS; k++)
        if (w->g.identity->onion[k].made != 0 && memcmp(w->g.identity->onion[k].pub, key, 32) == 0)
            return true;
    return false;
}

static void build(struct walk *w)
{
    struct replay_rig *g = &w->g;
    uint64_t stamp = g->now + 120 - draw(w, 540);
    struct had h = { .who = w->next++, .stamp = stamp - stamp % 60 };
    memcpy(h.onion_key, g->identity->onion[0].pub, 32);
    if (replay_rig_build(g, h.who, h.stamp) != DROP_NONE)
        return;
    w->accepted++;
    if (w->n_had < BUILDS_MAX)
        w->had[w->n_had++] = h;
}

static void replay(struct walk *w)
{
    if (w->n_had == 0)
        return;
    size_t recent = w->n_had < 40 ? w->n_had : 40;
    size_t at = draw(w, 4) == 0 ? draw(w, w->n_had) : w->n_had - 1 - draw(w, recent);
    const struct had *h = &w->had[at];
    if (!holds(w, h->onion_key))
        return; /* wouldn't open */
    w->again++;
    cr_assert_neq(replay_rig_build(&w->g, h->who, h->stamp), DROP_NONE,
                  "seed %u: build %u was accepted twice", (unsigned)w->seed, h->who);
}

/* T follows, up to a minute late. */
static void note_time(struct walk *w)
{
    if (w->g.now >= w->g.greatest + 60)
        w->g.greatest = w->g.now - draw(w, 60);
}

/* The identity's store goes first, and is on disk when the cache hears of it. */
static void renew(struct walk *w)
{
    w->renewals++;
    mesh_identity_renew_onion(w->g.identity, sim_node_env(w->g.node), w->g.now);
    if (draw(w, 4) == 0)
        return; /* killed soon, maybe: neither stored nor told */
    w->saved = *w->g.identity;
    if (draw(w, 4) != 0)
        onion_replay_renewed(w->g.replay, w->g.now);
}

static void tick(struct walk *w)
{
    note_time(w);
    if (onion_replay_tick(w->g.replay, w->g.now) && draw(w, 3) == 0)
        renew(w);
}

static void clock_jumps(struct walk *w)
{
    const uint64_t steps[] = { 10, 60, 300, 700, 7200 };
    uint64_t step = steps[draw(w, 5)];
    if (draw(w, 3) > 0)
        w->g.now -= step;
    else
        w->g.now += step;
    note_time(w);
}

static void boot_again(struct walk *w)
{
    *w->g.identity = w->saved;
    if (draw(w, 20) == 0) {
        sim_node_wipe_disk(w->g.node);
        w->losses++;
    }
    if (draw(w, 3) == 0)
        w->g.now += draw(w, 400);
    if (draw(w, 6) == 0)
        clock_jumps(w);
    replay_rig_boot(&w->g);
}

static void crash(struct walk *w)
{
    w->crashes++;
    if (draw(w, 2) == 0)
        sim_node_kill(w->g.node);
    else
        sim_node_crash(w->g.node);
    boot_again(w);
    struct onion_replay_info info;
    onion_replay_info(w->g.replay, &info);
    w->kept += info.past == ONION_REPLAY_KEPT;
}

static void stop(struct walk *w)
{
    w->stops++;
    w->saved = *w->g.identity;
    cr_assert_eq(onion_replay_stop(w->g.replay, w->g.now, NULL, NULL), 0);
    replay_rig_run(&w->g, SIM_MS(draw(w, 8)));
    if (draw(w, 2) == 0)
        build(w); /* too late */
    if (draw(w, 4) == 0)
        sim_node_crash(w->g.node);
    else
        sim_node_shutdown(w->g.node);
    boot_again(w);
}

static void rotate_keys(struct walk *w)
{
    if (mesh_identity_rotate(w->g.identity, sim_node_env(w->g.node), w->g.now, true) &&
        draw(w, 2) == 0)
        w->saved = *w->g.identity;
}

static void step(struct walk *w)
{
    uint64_t what = draw(w, 100);
    note_time(w);
    if (what < 40)
        build(w);
    else if (what < 70)
        replay(w);
    else if (what < 85)
        w->g.now += draw(w, 60);
    else if (what < 92)
        tick(w);
    else if (what < 94)
        crash(w);
    else if (what < 96)
        stop(w);
    else if (what < 97)
        clock_jumps(w);
    else if (what < 98)
        w->g.now += draw(w, 900);
    else if (what < 99)
        rotate_keys(w);
    else
        sim_node_set_disk(w->g.node, draw(w, 3) == 0 ? SIM_DISK_FULL : SIM_DISK_OK);
    if (draw(w, 2) == 0)
        replay_rig_run(&w->g, draw(w, SIM_MS(8)));
}

Test(replay_walk, accepts_no_build_twice_whatever_happens, .timeout = 300)
{
    struct walk *w = calloc(1, sizeof *w);
    struct walk sum = { 0 };
    cr_assert_not_null(w);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(w, 0, sizeof *w);
        w->seed = seed;
        replay_rig_init(&w->g, seed, 0);
        w->saved = *w->g.identity;
        w->g.greatest = w->g.now;
        for (unsigned i = 0; i < STEPS; i++)
            step(w);
        sum.accepted += w->accepted;
        sum.again += w->again;
        sum.crashes += w->crashes;
        sum.stops += w->stops;
        sum.renewals += w->renewals;
        sum.losses += w->losses;
        sum.kept += w->kept;
        replay_rig_fini(&w->g);
    }
    free(w);
    /* It went through everything it is about. */
    cr_assert_gt(sum.accepted, SEEDS * 50u);
    cr_assert_gt(sum.again, SEEDS * 100u);
    cr_assert_gt(sum.crashes, SEEDS * 10u);
    cr_assert_gt(sum.stops, SEEDS * 10u);
    cr_assert_gt(sum.losses, SEEDS * 1u);
    cr_assert_gt(sum.kept, SEEDS * 2u);
    cr_assert_gt(sum.renewals, SEEDS * 1u);
}
