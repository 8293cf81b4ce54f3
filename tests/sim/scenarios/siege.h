/* tests/sim/scenarios/siege.h - a flood of splices at one hidden service: relays that build trains
 * straight to its pivots, as many as they like, with a first flight of noise in each and no proof
 * of work. Nobody waits for replies. */
#pragma once
#include "tests/sim/scenarios/trade.h"

enum { SIEGE_PIVOTS = ONION_PIVOTS_MAX };
struct onion_relay;

struct siege {
    struct trade *trade; /* host 0 is besieged */
    uint32_t attackers;  /* the last so many relays */
    uint64_t per_second; /* trains of all together; 0: peace */
    uint64_t owed;       /* thousandths of a train */
    uint64_t sent, unsent;
    struct siege_target {
        struct maze_node *at;
        uint8_t token[32];
    } targets[SIEGE_PIVOTS];
    size_t n_targets, next;
};

/* Takes aim at the pivots of the service's descriptor and lets attackers make links to them. */
struct siege *siege_create(struct trade *t, uint32_t attackers);
void siege_set(struct siege *s, uint64_t per_second);
void siege_destroy(struct siege *s); /* after maze_destroy */

/* Of the besieged pivots' registrations: the least and the most work that a splice costs now. */
void siege_effort(struct siege *s, uint32_t *least, uint32_t *most);

/* What a splice costs now at the registration under that token; 0 also when there is none. */
uint32_t siege__effort_at(const struct onion_relay *r, const uint8_t token[static 32]);

/* What the service holds for visitors and whoever claims to be one. */
struct siege_load {
    uint64_t connections, splices, held, buffered; /* held: packets; buffered: bytes */
};
void siege_weigh(const struct siege *s, struct siege_load *out);
