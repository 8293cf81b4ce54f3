/* tests/unit/dht/sync_rig.h - a few nodes that keep rosters, neighbours of theirs that aren't
 * there, and requests by hand. */
#pragma once
#include "dht/sync_internal.h"
#include "tests/unit/mesh/few.h"

struct keeper {
    struct few_node *node;
    struct dht_roster *roster;
    struct dht_sync *sync;
    size_t max;
    bool is_late; /* it starts by hand */
};
extern struct keeper keepers[FEW_MAX];

/* A listed node that keeps a roster; the first is everybody's bootstrap node. */
struct keeper *keeper_add(struct few *f);
void keepers_boot(struct few *f, unsigned n);
/* Inside the node's turn. */
void keeper_start(void *keeper);
void keeper_stop(void *keeper);
/* What `at` knows of `of`. */
const struct dht_roster_entry *keeper_entry(const struct keeper *of, const struct keeper *at);

/* The record of a node nobody can dial. */
struct neighbour {
    struct mesh_node node;
    uint8_t sk[64];
    uint8_t data[MESH_NODE_RECORD_MAX];
    size_t len;
};
void neighbour_make(struct neighbour *m, const struct few *f, uint8_t number);
void neighbour_sign(struct neighbour *m, const struct mesh_network *net); /* after a change */
void keeper_tell(struct keeper *k, const struct neighbour *m, bool is_reached);

/* A request and what was answered. */
struct asking {
    struct few_node *from;
    struct few_node *to;
    unsigned method;
    struct mesh_items items;
    int code;
    unsigned status, n;
    size_t bytes;
    uint8_t first[MESH_NODE_RECORD_MAX];
};
struct asking asking_of(struct few_node *from, struct few_node *to, unsigned method);
void asking_run(struct asking *a, struct few *f);
struct mesh_items items_on(const struct writer *w, unsigned n);
