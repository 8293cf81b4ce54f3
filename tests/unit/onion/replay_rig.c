#include "replay_rig.h"

#include <string.h>

#include "base/secret.h"

static void boot(void *arg, struct sim_node *n)
{
    struct replay_rig *g = arg;
    struct env *env = sim_node_env(n);
    struct cyx_err err = { 0 };
    if (g->identity == NULL)
        g->identity = mesh_identity_create(env, g->now, &err);
    cr_assert_not_null(g->identity, "%s", err.msg);
    const struct onion_replay_start start = { .identity = g->identity,
                                              .keys_are_new = g->keys_are_new,
                                              .greatest = g->greatest,
                                              .now = g->now };
    g->replay = onion_replay_open(env, &start, &err);
    cr_assert_not_null(g->replay, "%s", err.msg);
    g->keys_are_new = false;
}

static void drop(void *arg, struct sim_node *n)
{
    struct replay_rig *g = arg;
    (void)n;
    onion_replay_close(g->replay);
    g->replay = NULL;
}

void replay_rig_init(struct replay_rig *g, uint64_t seed, uint32_t disk_us)
{
    memset(g, 0, sizeof *g);
    cr_assert_eq(secret_init(NULL), 0);
    g->world = sim_create(
        &(struct sim_options){ .seed = seed, .disk_min_us = disk_us, .disk_max_us = disk_us });
    cr_assert_not_null(g->world);
    g->node = sim_node_add(
        g->world,
        &(struct sim_node_options){
            .address = env_addr_v4(10, 0, 0, 1, 0), .boot = boot, .drop = drop, .arg = g });
    cr_assert_not_null(g->node);
    g->now = RIG_NOW;
    g->keys_are_new = true;
    g->code = 1;
    sim_node_boot(g->node);
}

void replay_rig_fini(struct replay_rig *g)
{
    sim_destroy(g->world);
    mesh_identity_destroy(g->identity);
}

void replay_rig_run(struct replay_rig *g, uint64_t ns)
{
    sim_run_until(g->world, sim_now(g->world) + ns);
}

void replay_rig_settle(struct replay_rig *g)
{
    replay_rig_run(g, SIM_MS(50));
}

void replay_rig_boot(struct replay_rig *g)
{
    sim_node_boot(g->node);
}

void replay_rig_crash(struct replay_rig *g)
{
    sim_node_crash(g->node);
    sim_node_boot(g->node);
}

void replay_rig_kill(struct replay_rig *g)
{
    sim_node_kill(g->node);
    sim_node_boot(g->node);
}

static void on_stopped(void *arg, int code)
{
    struct replay_rig *g = arg;
    g->code = code;
}

void replay_rig_restart(struct replay_rig *g)
{
    g->code = 1;
    cr_assert_eq(onion_replay_stop(g->replay, g->now, on_stopped, g), 0);
    replay_rig_settle(g);
    cr_assert_eq(g->code, 0);
    sim_node_shutdown(g->node);
    sim_node_boot(g->node);
}

enum drop replay_rig_build(struct replay_rig *g, uint32_t who, uint64_t stamp)
{
    uint8_t e[32] = { 0 };
    memcpy(e, &who, sizeof who);
    enum drop drop = onion_replay_check(g->replay, e, g->now);
    return drop != DROP_NONE ? drop : onion_replay_enter(g->replay, e, stamp, g->now);
}

uint64_t replay_rig_stamp(const struct replay_rig *g)
{
    return g->now - g->now % 60;
}
