/* tests/sim/scenarios/replay.h - a scenario that runs once for its figures and, when `replay` says
 * so, once more: both must end in the same fingerprint. */
#pragma once
#include "tests/sim/scenario.h"
#include "tests/sim/scenarios/cards.h"

struct replay {
    size_t size; /* of an outcome, which begins with the world's fingerprint: char[33] */
    void (*once)(struct sim_run *r, struct cards *cards, void *outcome);
    void (*judge)(struct sim_run *r, void *outcome); /* checks and figures of the first */
    void (*fini)(void *outcome);
};
void replay_run(struct sim_run *r, const struct replay *x);

/* Its parameter, among those of the scenario. */
#define REPLAY_PARAM                                                                               \
    {                                                                                              \
        "replay", 0, 0, 1, "runs it twice and compares"                                            \
    }
