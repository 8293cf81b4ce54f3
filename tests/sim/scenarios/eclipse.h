/* tests/sim/scenarios/eclipse.h - Sybils around one key. */
#pragma once
#include "tests/sim/scenario.h"
#include "tests/sim/scenarios/cards.h"

/* A city with the defences, then one without (figures begin with "plain_"): an attacker has tried
 * many ids, keeps those nearest to a key, and withholds what is stored there. Uses the parameters
 * `sybils`, `prefixes`, `grind` and `lookups`. */
void eclipse_run(struct sim_run *r, struct cards *cards);
