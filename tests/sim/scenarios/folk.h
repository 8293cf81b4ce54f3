/* tests/sim/scenarios/folk.h - what every population is made of: nodes whose identity lies on their
 * disk, contacts that stand in everybody's list, comings and goings. What a node runs is its
 * owner's (city.h, maze.h), which embeds what is here. */
#pragma once
#include "mesh/mesh.h"
#include "tests/sim/scenario.h"
#include "tests/sim/scenarios/cards.h"
#include "tests/sim/world.h"

struct folk;
struct folk_node {
    struct folk *folk;
    struct sim_node *node;
    uint32_t number; /* its place */
    uint32_t life;   /* of the nodes that held this place one after another */
    bool is_contact;
    bool is_settled; /* never goes by itself */
    struct card card;
    struct env_addr addr;
    struct mesh_identity *identity;
    struct mesh *mesh; /* NULL while off */
    bool is_started, is_leaving;
    uint64_t boot_ns; /* world time */
};

struct folk_counters {
    uint64_t leaves, crashes, newcomers;
    uint64_t failures; /* to start something: none may happen */
    char failure[192]; /* the first one */
};

/* All of the node's turn. */
struct folk_ops {
    struct env_addr (*address)(uint32_t i); /* of the i-th node that ever was */
    /* Whatever it runs, from the mesh up: CYX_E* with `err`. */
    int (*start)(struct folk_node *me, struct cyx_err *err);
    void (*started)(struct folk_node *me); /* it could: may be NULL */
    void (*drop)(struct folk_node *me);    /* frees it all, but for the identity */
    /* Ends it in order and calls folk_stopped. */
    void (*stop)(struct folk_node *me);
};

struct folk_options {
    const struct folk_ops *ops;
    struct cards *cards; /* borrowed; its network is everybody's */
    uint32_t contacts, nodes_max;
    uint32_t come_ms;    /* a newcomer takes an empty place within this */
    uint32_t skew_ms;    /* clocks are up to half of this off, as those without a time server are */
    bool opens_by_event; /* contacts begin in events of their own */
};

struct folk {
    struct sim_world *w;
    struct folk_options o;
    struct folk_node **nodes; /* they never move */
    uint32_t n_nodes;
    struct mesh_contact *contacts;
    size_t n_contacts;
    bool is_open; /* the contacts have their keys: everybody may start */
    uint32_t n_addresses, n_cards;
    uint64_t churn_every_ns; /* 0: calm */
    uint32_t churn_among;    /* the first so many come and go; 0: all */
    struct folk_counters n;
};

enum { FOLK_OPEN_MS = 1000 }; /* contacts have their keys on disk by then */

/* Takes the world over. Aborts when memory is out, like all here. */
void folk_init(struct folk *f, const struct folk_options *o, struct sim_world *w);
/* Ends the world, then frees the nodes. */
void folk_fini(struct folk *f, void (*free_node)(struct folk_node *me));
/* One more, zero but for what its owner needs: it joins at `at_ns`. NULL: the next card, the next
 * address. */
void folk_add(struct folk *f, struct folk_node *me, const struct card *card,
              const struct env_addr *addr, uint64_t at_ns);
/* Once all that begin are added: contacts start after FOLK_OPEN_MS. */
void folk_open_later(struct folk *f);
struct card folk_card(struct folk *f);
struct env_addr folk_address(struct folk *f);
void folk_stopped(void *me);

/* What all have in common of a mesh's configuration. */
struct mesh_config folk_config(const struct folk_node *me);

/* From now on lifetimes are exponential with this half-life among the first so many (0: all): every
 * so often one goes, in order or by power cut, and a new node with a new identity, address and disk
 * takes the place a few seconds later. The first tick is the caller's. */
void folk_churn(struct folk *f, uint32_t among, uint64_t half_life_ns);
void folk_churn_tick(void *folk);
/* Boots it, unless it is up. */
void folk_come(void *me);

/* Passes time with a word on stderr now and then. */
void folk_pass(struct folk *f, struct sim_run *r, uint64_t until_ns);
/* Nobody failed to start; call it at the end of every run. */
void folk_check(const struct folk *f, struct sim_run *r);

/* Adds up one metric, or one label's value of it: a metric_fn. */
struct folk_sum {
    const char *name, *value; /* value: NULL: all */
    uint64_t total;
};
void folk_sum_metric(void *sum, const struct metric *m);
