/* tests/unit/onion/town.h - a small lab network in the simulated world, every node with mesh, DHT
 * and onion: what hidden endpoints need to be reached. */
#pragma once
#include "onion/onion.h"
#include "tests/unit/mesh/few.h"

struct towns;

struct town_node {
    struct few_node *few;
    struct dht *dht;
    struct onion *onion;
    bool is_user; /* unlisted: no relay */
};

struct towns {
    struct few few;
    struct town_node at[FEW_MAX];
    uint8_t seed[32]; /* of the service's address */
};

/* `relays` listed nodes, then `users` unlisted ones; all are booted and ready when it returns. */
void towns_init(struct towns *t, unsigned relays, unsigned users, uint64_t seed,
                const struct sim_link *link);
/* The same, from that moment of the wall clock on. */
void towns_init_at(struct towns *t, unsigned relays, unsigned users, uint64_t seed,
                   int64_t epoch_ms);
void towns_fini(struct towns *t);
void towns_run_ms(struct towns *t, uint64_t ms);
/* Runs until `done(arg)` or for so long; returns whether it was. */
bool towns_until(struct towns *t, uint64_t most_ms, bool (*done)(void *arg), void *arg);

struct onion_relay;
/* The seed (0), or the one before (1), that a relay holds as the pivot of a registration; NULL: it
 * isn't. */
const uint8_t *town_pivot_seed(struct onion_relay *relay, const uint8_t token[static 32],
                               unsigned which);
