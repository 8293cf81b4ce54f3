/* tests/sim/scenarios/chatter.h - a world in which everything happens at once: datagrams through
 * all kinds of NAT over a rough network, timers, disk, work, streams, crashes, partitions, roaming.
 * It has no protocol; it is there to be run twice. */
#pragma once
#include "tests/sim/scenarios/probe.h"

struct chatter;

/* n nodes with the given seed; boots them all. Aborts when memory is out. */
struct chatter *chatter_create(uint64_t seed, uint32_t n);
struct sim_world *chatter_world(const struct chatter *c);
void chatter_destroy(struct chatter *c);
