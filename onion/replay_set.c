#include <stdlib.h>

#include "onion/replay_internal.h"

enum { CAP_FIRST = 16 };

/* Where `hash` is, or the empty slot where it would be. The hashes are keyed (SipHash): no stranger
 * chooses which of them meet. */
static size_t place(const struct onion__set *s, uint64_t hash)
{
    size_t at = (size_t)hash & (s->cap - 1);
    while (s->slots[at] != 0 && s->slots[at] != hash)
        at = (at + 1) & (s->cap - 1);
    return at;
}

bool onion__set_has(const struct onion__set *s, uint64_t hash)
{
    return s->cap > 0 && s->slots[place(s, hash)] == hash;
}

/* Doubles it: 8 MiB, and some milliseconds, at the bound of 2^19 entries. */
static int grow(struct onion__set *s)
{
    size_t cap = s->cap > 0 ? s->cap * 2 : CAP_FIRST;
    struct onion__set next = { .slots = calloc(cap, sizeof *next.slots), .cap = cap, .n = s->n };
    if (next.slots == NULL)
        return CYX_ENOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i] != 0)
            next.slots[place(&next, s->slots[i])] = s->slots[i];
    free(s->slots);
    *s = next;
    return 0;
}

int onion__set_add(struct onion__set *s, uint64_t hash)
{
    if (onion__set_has(s, hash))
        return CYX_EEXIST;
    if (s->n + 1 > s->cap / 4 * 3 && grow(s) != 0)
        return CYX_ENOMEM;
    s->slots[place(s, hash)] = hash;
    s->n++;
    return 0;
}

void onion__set_clear(struct onion__set *s)
{
    free(s->slots);
    *s = (struct onion__set){ 0 };
}
