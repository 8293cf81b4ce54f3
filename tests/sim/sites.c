/* Who owns an address: open addressing on a 64-bit fingerprint of realm and address, because every
 * datagram asks twice and a general map costs three cache misses an answer. Two addresses with one
 * fingerprint are refused when added, so answers are exact for what is there. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

enum { SITES_FIRST = 64 };

struct sim_slot {
    uint64_t print; /* 0: free */
    struct sim_site *site;
};

static uint64_t print_of(uint32_t realm, const struct env_addr *a)
{
    uint64_t halves[2];
    memcpy(halves, a->ip, sizeof halves);
    uint64_t print = sim__mix(sim__mix(realm, halves[0]), halves[1]);
    return print != 0 ? print : 1;
}

/* The slot that holds `print`, or the free one where it would go. */
static size_t slot_of(const struct sim_sites *t, uint64_t print)
{
    size_t i = print & (t->cap - 1);
    while (t->slots[i].print != 0 && t->slots[i].print != print)
        i = (i + 1) & (t->cap - 1);
    return i;
}

static void grow(struct sim_sites *t)
{
    struct sim_sites old = *t;
    t->cap = old.cap == 0 ? SITES_FIRST : old.cap * 2;
    t->slots = sim__alloc(t->cap * sizeof *t->slots);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].print != 0)
            t->slots[slot_of(t, old.slots[i].print)] = old.slots[i];
    free(old.slots);
}

struct sim_site *sim__site_get(const struct sim_world *w, uint32_t realm, const struct env_addr *a)
{
    const struct sim_sites *t = &w->sites;
    return t->cap == 0 ? NULL : t->slots[slot_of(t, print_of(realm, a))].site;
}

int sim__site_put(struct sim_world *w, uint32_t realm, const struct env_addr *a, struct sim_site *s)
{
    struct sim_sites *t = &w->sites;
    uint64_t print = print_of(realm, a);
    if (2 * (t->n + 1) > t->cap)
        grow(t);
    struct sim_slot *slot = &t->slots[slot_of(t, print)];
    if (slot->print != 0)
        return CYX_EEXIST;
    *slot = (struct sim_slot){ .print = print, .site = s };
    t->n++;
    return 0;
}

void sim__site_del(struct sim_world *w, uint32_t realm, const struct env_addr *a)
{
    struct sim_sites *t = &w->sites;
    if (t->cap == 0)
        return;
    size_t hole = slot_of(t, print_of(realm, a));
    if (t->slots[hole].print == 0)
        return;
    t->slots[hole] = (struct sim_slot){ 0 };
    t->n--;
    /* What was pushed along behind it moves up, so that no search ends early. */
    for (size_t i = (hole + 1) & (t->cap - 1); t->slots[i].print != 0; i = (i + 1) & (t->cap - 1)) {
        struct sim_slot moved = t->slots[i];
        t->slots[i] = (struct sim_slot){ 0 };
        t->slots[slot_of(t, moved.print)] = moved;
    }
}
