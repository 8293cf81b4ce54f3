/* onion/service_period.c - which periods' descriptors live, and what each is made of. A period's
 * keys are drawn when it begins to matter and wiped when its descriptor has expired. Spec:
 * protocol.md, section 12, "Rollover". */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/service_internal.h"

static void period_end(struct service_period *p)
{
    if (p->period == 0)
        return;
    publish__end(p);
    pivots__end(p);
    onion_delegations_destroy(p->delegations);
    sodium_memzero(p, sizeof *p);
}

void periods__end(struct onion_service *s)
{
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        period_end(&s->periods[i]);
}

/* The serial grows with time, so that one that was made later wins wherever both arrive. */
static uint32_t serial_now(struct onion_service *s)
{
    return (uint32_t)(mesh_time(s->o->mesh) / 60);
}

static bool period_begin(struct onion_service *s, struct service_period *p, uint64_t period)
{
    struct onion *o = s->o;
    memset(p, 0, sizeof *p);
    p->s = s;
    p->delegations = onion_delegations_create(s->seed, mesh_network_of(o->mesh), period, 1,
                                              serial_now(s), o->env, NULL);
    if (p->delegations == NULL)
        return false;
    p->period = period;
    memcpy(p->key.address, s->address, sizeof p->key.address);
    env_random(o->env, p->key.secret, sizeof p->key.secret);
    crypto_dh_public(p->key.pub, p->key.secret);
    p->key.drawn_ns =
        env_now_ns(o->env) + 1; /* after the memory of first flights began, if in the same turn */
    publish__init(p);
    return true;
}

static struct service_period *find(struct onion_service *s, uint64_t period)
{
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->periods[i].period == period)
            return &s->periods[i];
    return NULL;
}

static bool is_live(const uint64_t live[static SERVICE__PERIODS], uint64_t period)
{
    return period == live[0] || period == live[1];
}

/* A period that is neither our own nor the neighbour is kept until its descriptors have expired, if
 * nobody needs its place. */
static struct service_period *place_for(struct onion_service *s,
                                        const uint64_t live[static SERVICE__PERIODS])
{
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->periods[i].period == 0)
            return &s->periods[i];
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (!is_live(live, s->periods[i].period)) {
            period_end(&s->periods[i]);
            return &s->periods[i];
        }
    return NULL;
}

void periods__tick(struct onion_service *s)
{
    uint64_t live[SERVICE__PERIODS], now = mesh_time(s->o->mesh);
    if (!onion_picker_is_ready(s->o->picker)) {
        s->trouble = "too few relays are known yet";
        return;
    }
    onion_periods(now, live);
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->periods[i].period != 0 && onion_descriptor_expiry(s->periods[i].period) <= now)
            period_end(&s->periods[i]);
    for (unsigned i = 0; i < SERVICE__PERIODS; i++) {
        struct service_period *p = find(s, live[i]);
        if (p == NULL && live[i] != 0 && (p = place_for(s, live)) != NULL &&
            !period_begin(s, p, live[i]))
            memset(p, 0, sizeof *p);
    }
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->periods[i].period != 0) {
            pivots__tick(&s->periods[i]);
            pivots__seed_tick(&s->periods[i]);
        }
    service__changed(s);
}
