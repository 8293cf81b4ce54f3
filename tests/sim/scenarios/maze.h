/* tests/sim/scenarios/maze.h - relays and unlisted users, each with the real mesh, DHT and onion.
 * Every node has a /16 of its own, so that paths may be built of any relays. The first relays stand
 * in everybody's list; relays may come and go, users stay. */
#pragma once
#include "onion/onion.h"
#include "tests/sim/scenarios/folk.h"

struct maze_node;

/* What a user does with its onion. Both in the node's turn. */
struct maze_hooks {
    void (*started)(void *arg, struct maze_node *me);
    void (*dropped)(void *arg, struct maze_node *me); /* before its onion is destroyed */
    void *arg;
};

struct maze_options {
    uint64_t seed;
    struct cards *cards; /* borrowed; its network is the maze's */
    uint32_t relays, contacts, users;
    uint64_t window_ns; /* all join within it */
    struct sim_link link;
    struct maze_hooks hooks;
};

struct maze;
struct maze_node {
    struct folk_node base; /* relays first, then users */
    bool is_relay;
    bool is_rogue; /* tests/sim/scenarios/rogue.h */
    struct dht *dht;
    struct onion *onion;
};

struct maze {
    struct sim_world *w; /* folk.w */
    struct folk folk;
    struct maze_options o;
};
/* They never move. */
struct maze_node *maze_at(const struct maze *m, uint32_t i);
struct maze *maze_of(const struct maze_node *me);

/* What every scenario with a maze lets the command line set, beside `nodes` (relays). */
#define MAZE_PARAMS                                                                                \
    { "contacts", 4, 2, 100, "relays in everybody's list" },                                       \
        { "latency", 20, 1, 1000, "milliseconds that a datagram takes between any two" },          \
        { "lab", 0, 0, 1, "a lab network: descriptors cost nothing, for large runs" },             \
    {                                                                                              \
        "loss", 0, 0, 20, "percent of datagrams lost"                                              \
    }

/* Options from these; the network of `cards` becomes the lab's when asked for. */
struct maze_options maze_options_of(const struct sim_run *r, struct cards *cards, uint32_t users);

struct maze *maze_create(const struct maze_options *o);
void maze_destroy(struct maze *m);
/* User i, from 0. */
struct maze_node *maze_user(const struct maze *m, uint32_t i);

/* Passes time until all can build paths. Checks that it comes to that. */
void maze_settle(struct maze *m, struct sim_run *r);
/* Passes time with a word on stderr now and then. */
void maze_pass(struct maze *m, struct sim_run *r, uint64_t ns);
/* Nobody failed to start; call it at the end of every run. */
void maze_check(const struct maze *m, struct sim_run *r);

/* From now on relays' lifetimes are exponential with this half-life; a new one with a new identity
 * and disk takes the place a few seconds later. Contacts stay. */
void maze_churn(struct maze *m, uint64_t half_life_ns);
void maze_calm(struct maze *m);
/* A power cut; the node boots again after so long, with its disk. */
void maze_cut(struct maze_node *me, uint64_t off_ns);
/* kill -9 of its program, which starts again after so long. */
void maze_kill(struct maze_node *me, uint64_t off_ns);

enum maze_who { MAZE_RELAYS = 1, MAZE_USERS = 2, MAZE_ALL = 3 };
/* The sum of an onion counter (onion_metrics), and of one label's value when not NULL. */
uint64_t maze_metric(const struct maze *m, enum maze_who who, const char *name,
                     const char *value_of_label);
