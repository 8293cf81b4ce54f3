/* tests/fuzz/lib/nodes.h - a few meshes in a small simulated world, for fuzz targets that feed them
 * sequences of events. Identities are made once for the process; each input begins with the same
 * world, so that a crash replays by itself. */
#pragma once
#include "mesh/mesh.h"
#include "tests/sim/world.h"

enum { FUZZ_NODES_MAX = 4, FUZZ_HELD = 64, FUZZ_PORT = 4100 };

struct fuzz_node {
    unsigned number;
    struct sim_node *sim;
    struct mesh *mesh; /* NULL while off: the target's boot makes it, its drop destroys it */
    struct mesh_identity *identity;
    struct mesh_config config;
    struct mesh_contact contact;
    struct mesh_request *held[FUZZ_HELD]; /* answers that it owes */
    unsigned n_held;
    void *above; /* the target's */
};

/* Aborts: the target's own assumptions. */
void fuzz_must(bool ok);

/* Once: network, identities, configurations (listed, at 10.0.0.number+1) and contacts of n nodes.
 * Returns the world's wall clock in seconds, which every later world has as well. */
uint64_t fuzz_nodes_make(struct fuzz_node *nodes, unsigned n, struct mesh_network *net);
/* For each input: a new world with the nodes as they were made, booted. `boot` and `drop` get a
 * struct fuzz_node. */
struct sim_world *fuzz_nodes_begin(struct fuzz_node *nodes, unsigned n, uint32_t latency_us,
                                   void (*boot)(void *arg, struct sim_node *s),
                                   void (*drop)(void *arg, struct sim_node *s));
/* Crashes it, or boots it again. */
void fuzz_node_power(struct fuzz_node *me);
/* Answers all that is held. */
void fuzz_node_let_go(struct fuzz_node *me, enum mesh_rpc_status status);
/* For calls whose answers matter to nobody. */
void fuzz_ignore(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n);
