/* tests/unit/onion/replay_rig.h - a node with a replay cache in a simulated world: its disk is the
 * world's, network time is a number of the test's own. */
#pragma once
#include <criterion/criterion.h>

#include "onion/replay_internal.h"
#include "tests/sim/world.h"

enum { RIG_NOW = 1700000000 };

struct replay_rig {
    struct sim_world *world;
    struct sim_node *node;
    struct mesh_identity *identity; /* in memory; stored by nobody here */
    struct onion_replay *replay;    /* NULL while the node is off */
    uint64_t now, greatest;         /* network time, T on disk */
    bool keys_are_new;              /* at the next boot */
    int code;                       /* of the last stop; 1: none */
};

/* Boots with new keys. The disk takes `disk_us`, or 1 to 5 ms. */
void replay_rig_init(struct replay_rig *g, uint64_t seed, uint32_t disk_us);
void replay_rig_fini(struct replay_rig *g);
/* What is under way reaches the disk: 50 ms of the world's time; the network's stands still. */
void replay_rig_settle(struct replay_rig *g);
void replay_rig_run(struct replay_rig *g, uint64_t ns);
/* The machine loses power and starts again; what was under way is on disk or not, by the seed's
 * coin. */
void replay_rig_crash(struct replay_rig *g);
/* kill -9 of the program, and its next start. */
void replay_rig_kill(struct replay_rig *g);
/* A clean stop and the next start. */
void replay_rig_restart(struct replay_rig *g);
void replay_rig_boot(struct replay_rig *g);

/* Both steps, as a hop takes them. `who` stands for e. */
enum drop replay_rig_build(struct replay_rig *g, uint32_t who, uint64_t stamp);
/* `now`, as a client with our clock stamps it. */
uint64_t replay_rig_stamp(const struct replay_rig *g);
