#include "tests/sim/scenarios/replay.h"

#include <stdlib.h>
#include <string.h>

static void *outcome_new(const struct replay *x)
{
    void *outcome = calloc(1, x->size);
    if (outcome == NULL)
        abort();
    return outcome;
}

static void outcome_free(const struct replay *x, void *outcome)
{
    x->fini(outcome);
    free(outcome);
}

void replay_run(struct sim_run *r, const struct replay *x)
{
    struct cards *cards = cards_create(run_seed(r));
    void *first = outcome_new(x);
    x->once(r, cards, first);
    x->judge(r, first);
    if (run_arg(r, "replay") != 0) {
        void *again = outcome_new(x);
        x->once(r, cards, again);
        run_check(r, strcmp(first, again) == 0, "a run and its replay: %s and %s",
                  (const char *)first, (const char *)again);
        outcome_free(x, again);
    }
    outcome_free(x, first);
    cards_destroy(cards);
}
