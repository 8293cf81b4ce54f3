/* tests/sim/scenarios/town.h - a population of mesh nodes as the world has
 * them: a few bootstrap nodes, many public ones, some behind NATs, machines
 * that leave, crash, lose their disk, come back and move. The real mesh code
 * runs in each. */
#pragma once
#include "mesh/mesh.h"
#include "tests/sim/scenario.h"
#include "tests/sim/world.h"

enum town_kind {
    TOWN_BOOTSTRAP, /* public, in everybody's list */
    TOWN_LISTED,    /* public, has a record */
    TOWN_USER,      /* behind a NAT, unlisted */
    TOWN_HIDDEN,    /* behind a NAT, says it is listed, at an address where nobody answers */
};

struct town_node;

/* What stands above the mesh of each node. Both are called in the node's turn. */
struct town_hooks {
    void (*started)(void *arg, struct town_node *me); /* its mesh runs */
    /* Once for each `started`: its mesh will stop, or the machine is off and memory must go. */
    void (*dropped)(void *arg, struct town_node *me);
    void *arg;
};

struct town_options {
    uint64_t seed;
    uint32_t nodes, bootstrap; /* bootstrap nodes are among the nodes */
    uint32_t nat_percent;      /* users behind NATs */
    uint64_t window_ns;        /* all join within it */
    uint32_t loss_ppm;
    uint32_t hidden; /* so many of the users are TOWN_HIDDEN instead */
    struct town_hooks hooks;
};

struct town;
struct town_node {
    struct town *town;
    struct sim_node *node;
    enum town_kind kind;
    struct mesh_identity *identity;
    struct mesh *mesh;
    struct mesh_watcher watcher;
    uint64_t boot_ns, first_link_ns; /* world time; 0: not yet in this life */
    bool is_started, is_leaving;
    bool has_joined; /* it has come for the first time */
    bool is_above;   /* hooks.started was called, hooks.dropped wasn't */
    void *above;     /* theirs */
};

/* A growing row of numbers. */
struct town_samples {
    uint64_t *v;
    size_t n, cap;
};
void town_sample(struct town_samples *s, uint64_t v);
/* The value that `percent` of them do not exceed; 0 when there are none. Sorts.
 */
uint64_t town_percentile(struct town_samples *s, unsigned percent);

struct town_counters {
    uint64_t drops[DROP_COUNT_];
    uint64_t handshakes_in, handshakes_out, links_up, roams, rekeys, calls_timed_out;
    uint64_t leaves, crashes, wipes, moves;
    uint64_t node_ns;  /* time that nodes were up, summed over finished lives */
    uint64_t failures; /* of mesh_create, mesh_start, identities: none may happen */
    char failure[192]; /* the first one */
};

struct town {
    struct sim_world *w;
    struct town_options o;
    struct mesh_network network;
    struct town_node *nodes;
    struct mesh_contact *contacts; /* of the bootstrap nodes */
    size_t n_contacts;
    bool is_open; /* the bootstrap nodes have their keys: meshes may start */
    bool has_churn;
    uint64_t churn_every_ns;
    uint32_t n_moves, n_hidden;
    struct town_samples first_link, ready;
    struct town_counters n;
};

/* Builds the population; everybody joins by themselves as time passes. Aborts
 * when memory is out.
 */
struct town *town_create(const struct town_options *o);
void town_destroy(struct town *t);

/* From now on one in `every_ns` leaves, crashes, loses its disk or moves; those
 * that went come back within a minute or two. */
void town_churn(struct town *t, uint64_t every_ns);
/* No new accidents; those away still come back. */
void town_calm(struct town *t);

/* Adds a living node's counters to `n` (those of finished lives are in t->n
 * already). */
void town_count(const struct town_node *me, struct town_counters *n);
