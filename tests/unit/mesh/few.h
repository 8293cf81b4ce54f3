/* tests/unit/mesh/few.h - a few meshes in a simulated world, for the tests of links and requests.
 */
#pragma once
#include <criterion/criterion.h>
#include <string.h>

#include "mesh/link_internal.h"
#include "mesh/mesh.h"
#include "tests/sim/world.h"

enum { FEW_MAX = 24, FEW_LOG = 256 };

struct few;

struct few_node {
    struct few *few;
    unsigned number;
    struct sim_node *sim;
    struct mesh *mesh; /* NULL while off */
    struct mesh_identity *identity;
    struct mesh_config config;
    struct mesh_contact contact; /* how to dial it */
    struct mesh_watcher watcher;
    unsigned ups, knowns, downs;
    char why[64]; /* of the last link_down */
    bool is_stopped;
    /* the stand-in for paths */
    uint32_t cells[FEW_LOG]; /* first four bytes of each cell that came */
    size_t n_cells;
    uint32_t destroyed[FEW_LOG];
    size_t n_destroyed;
    uint32_t trains, train_path;
    size_t train_len;
    unsigned writables;
    void (*on_up)(struct few_node *n, struct mesh_link *l);
    /* what stands above its mesh: after each mesh_start, before each mesh_destroy */
    void (*started)(struct few_node *n);
    void (*dropping)(struct few_node *n);
    void *above;
};

struct few {
    struct sim_world *world;
    struct few_node node[FEW_MAX];
    unsigned n;
    uint32_t lan; /* of the nodes to be added; 0: none */
};

/* `link` NULL: 10 ms each way, nothing lost. */
void few_init(struct few *f, uint64_t seed, const struct sim_link *link);
/* The same, from that moment of the wall clock on (0: the world's own). */
void few_init_at(struct few *f, uint64_t seed, const struct sim_link *link, int64_t epoch_ms);
void few_fini(struct few *f);
/* Adds a listed node at 10.0.`net`.`number + 1` of a lab network, off; change `config` before
 * few_boot. */
struct few_node *few_add(struct few *f, uint8_t net);
void few_boot(struct few_node *n);
void few_run_ms(struct few *f, uint64_t ms);
/* Dials `to` from `from` inside its turn and returns the link. */
struct mesh_link *few_dial(struct few_node *from, const struct few_node *to);
/* Their one link, or NULL. */
struct mesh_link *few_link(const struct few_node *n, const struct few_node *peer);
/* Two nodes with a link between them, up and idle; the first dialled. */
void few_pair(struct few *f, uint64_t seed);
/* Runs fn(arg) in the node's turn, now. */
void few_in(struct few_node *n, env_fn fn, void *arg);
/* Sum of all drops of a packet type for one reason. */
uint64_t few_drops(const struct few_node *n, unsigned type, enum drop reason);
void few_stop(struct few_node *n);
