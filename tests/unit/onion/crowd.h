/* tests/unit/onion/crowd.h - a roster of made-up relays, their records, and the candidates made of
 * them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "onion/relays.h"
#include "tests/unit/onion/dice.h"

enum { CROWD_NOW = 1800000000, CROWD_MAX = 1024, CROWD_DAY = 86400 };

struct crowd {
    struct dht_roster *roster;
    struct onion_relays *relays;
    struct dice dice;
    struct mesh_node nodes[CROWD_MAX];
    size_t n;
    unsigned n_decoded; /* how often a record was asked for */
    uint64_t now;
    uint8_t self[32];
};

/* Empty. On the heap: it is large. */
struct crowd *crowd_start(uint64_t seed, bool is_lab);
void crowd_destroy(struct crowd *c);
/* A relay at 30.`net`.x.1 (its /16 is `net`) in family `family` (0: none), known for two days,
 * whose record lives on. Heard at once. */
struct mesh_node *crowd_add(struct crowd *c, uint8_t net, uint8_t family, uint32_t capacity);
/* `n` relays, each in a /16 of its own. */
void crowd_fill(struct crowd *c, size_t n);
/* `n` relays in few nets and families, capacities all over. */
void crowd_fill_mixed(struct crowd *c, size_t n);
/* Tells the roster what changed in the record. */
void crowd_hear(struct crowd *c, struct mesh_node *n);
/* Its record expires, and comes back. */
void crowd_lose(struct crowd *c, const uint8_t id[static 32]);
void crowd_find_again(struct crowd *c, const uint8_t id[static 32]);
struct mesh_node *crowd_node(struct crowd *c, const uint8_t id[static 32]);
void crowd_refresh(struct crowd *c);
