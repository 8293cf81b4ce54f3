/* tests/sim/scenarios/city.h - a population of listed nodes, each with the real mesh and the real
 * DHT, in a /24 of its own. Some stand in everybody's list and stay; the others come, leave or
 * crash, and brand-new ones take their places. */
#pragma once
#include "dht/dht.h"
#include "tests/sim/scenarios/folk.h"

struct city_options {
    uint64_t seed;
    struct cards *cards;      /* borrowed; its network is the city's */
    uint32_t nodes, contacts; /* contacts are among the nodes */
    uint32_t liars;           /* the last so many of the nodes */
    uint32_t nodes_max;       /* with those that city_add brings later; 0: no more than `nodes` */
    uint64_t window_ns;       /* all join within it */
    uint32_t loss_ppm;        /* beside it what sim_link_rough does */
    size_t store_bytes;       /* of each DHT; 0: its default */
    bool is_plain;            /* no defences: dht_config.is_plain */
};

struct city;
struct city_node {
    struct folk_node base;
    struct dht *dht;
    bool is_liar;
};

struct city_counters {
    struct folk_counters folk;
    uint64_t calls, calls_timed_out, handshakes; /* of finished lives */
};

struct city {
    struct sim_world *w; /* folk.w */
    struct folk folk;
    struct city_options o;
    struct city_counters n;
};
/* They never move. */
struct city_node *city_at(const struct city *c, uint32_t i);

/* What every scenario with a city lets the command line set, beside `nodes`. */
#define CITY_PARAMS                                                                                \
    { "contacts", 4, 2, 100, "nodes in everybody's list" },                                        \
        { "window", 0, 0, 100000, "seconds within which all join; 0: by the number of nodes" },    \
    {                                                                                              \
        "loss", 1, 0, 50, "percent of datagrams lost"                                              \
    }
/* Options from these. */
struct city_options city_options_of(const struct sim_run *r, struct cards *cards);

struct city *city_create(const struct city_options *o);
void city_destroy(struct city *c);

/* One more place, whose first node joins at `at_ns`. */
struct city_node *city_add(struct city *c, const struct card *card, const struct env_addr *addr,
                           uint64_t at_ns);

/* From now on lifetimes are exponential with this half-life: every so often somebody goes, in order
 * or by power cut, and a new node with a new identity, address and disk takes the place a few
 * seconds later. Contacts and liars stay. */
void city_churn(struct city *c, uint64_t half_life_ns);
void city_calm(struct city *c);
/* That share of all but the contacts is cut off at this instant; nobody comes instead. */
void city_depart(struct city *c, unsigned percent);
/* A power cut for everybody at once; all boot again, with their disks, over the next second. */
void city_restart(struct city *c);

/* An honest node, drawn at random, whose DHT is ready; NULL when a hundred draws found none. */
struct city_node *city_draw(struct city *c);
bool city_is_ready(const struct city_node *me);
/* How many honest nodes are up and ready, and up at all. */
void city_count(const struct city *c, uint32_t *ready, uint32_t *up);
/* Counters of everybody, finished lives included. */
struct city_counters city_totals(const struct city *c);
/* Records of a type that honest nodes hold, and at how many nodes. */
void city_held(const struct city *c, unsigned type, uint64_t *records, uint32_t *nodes);
/* The sum of a counter of all DHTs (dht_metrics), and of one label's value when not NULL. */
uint64_t city_metric(const struct city *c, const char *name, const char *value_of_label);

/* Passes time until all have joined and looked around. */
void city_settle(struct city *c, struct sim_run *r);
/* Passes time with a word on stderr now and then. */
void city_pass(struct city *c, struct sim_run *r, uint64_t until_ns);
/* Nobody failed to start; call it at the end of every run. */
void city_check(const struct city *c, struct sim_run *r);

/* log_16(n), in thousandths. */
uint64_t city_log16_milli(uint64_t n);
/* Bytes allocated now, what the simulator remembers for all nodes (memo.c) included as soon as this
 * was called once. A figure: nothing decides on it; under AddressSanitizer it is 0. */
uint64_t city_allocated_bytes(void);
