#include "mute.h"

#include "onion/pivot_internal.h"

static void swallow(struct onion_tail *t, const struct onion_cell *c)
{
    (void)t;
    (void)c;
}

bool mute_registration(struct onion_relay *r, const uint8_t token[static 32])
{
    static const struct onion_tail_ops ops = { .cell = swallow, .gone = pivot__service_gone };
    struct pivot_registration *g = map_get(r->pivot->by_token, token);
    if (g == NULL)
        return false;
    g->tail.ops = &ops;
    return true;
}
