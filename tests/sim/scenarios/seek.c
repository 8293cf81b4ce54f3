#include "tests/sim/scenarios/seek.h"

#include <stdlib.h>
#include <string.h>

#include "onion/onion_internal.h"
#include "onion/service_internal.h"

struct seeker {
    struct trade *trade;
    struct maze_node *at;
    struct seek_tally *tally;
};

/* The service key says which life of the service it is from. */
static bool is_newest(const struct trade *t, const struct onion_descriptor *d)
{
    const struct onion_service *s = t->hosts[0].s;
    for (unsigned i = 0; s != NULL && i < SERVICE__PERIODS; i++)
        if (s->periods[i].period == d->period)
            return memcmp(s->periods[i].key.pub, d->inner.service_key, 32) == 0;
    return false;
}

static void found(void *arg, int code, const struct onion_descriptor *d, uint64_t ns)
{
    struct seeker *k = arg;
    struct seek_tally *t = k->tally;
    t->found += code == 0;
    t->missing += code == CYX_ENOENT;
    t->failed += code != 0 && code != CYX_ENOENT;
    if (code == 0) {
        t->old += !is_newest(k->trade, d);
        town_sample(&t->us, ns / 1000);
    }
    free(k);
}

static void look(void *arg)
{
    struct seeker *k = arg;
    struct onion_purpose why = { .tag = { 0 } };
    env_random(sim_node_env(k->at->base.node), why.tag, sizeof why.tag);
    if (onion_fetch_start(k->at->onion->fetch, k->trade->hosts[0].address, &why, ONION_FETCH_FRESH,
                          found, k) == NULL)
        abort();
}

static void begin(void *arg)
{
    struct seeker *k = arg;
    k->tally->asked++;
    sim_node_enter(k->at->base.node, look, k);
}

void seek(struct trade *t, uint32_t client, struct seek_tally *tally, uint64_t in_ns)
{
    struct seeker *k = calloc(1, sizeof *k);
    if (k == NULL)
        abort();
    *k = (struct seeker){ .trade = t, .at = maze_user(t->maze, client), .tally = tally };
    sim_at(t->maze->w, sim_now(t->maze->w) + in_ns, begin, k);
}
