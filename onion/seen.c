#include "onion/seen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 16, NONE = 0 };

static_assert(ONION_WINDOW_CELLS <= 255, "places fit a byte, NONE among them");
static_assert((ONION_WINDOW_CELLS & (ONION_WINDOW_CELLS - 1)) == 0, "the ring doubles up to it");

/* Places are counted from 1. keys[cap], then next[cap] (the place behind in the same chain, the
 * older one), then head[cap] (the newest of each chain). */
struct onion_seen {
    uint8_t cap, len;
    uint8_t at; /* where the next one goes, from 0: the oldest stands there once all are used */
    uint32_t keys[];
};

static size_t bytes_of(size_t cap)
{
    return sizeof(struct onion_seen) + cap * (sizeof(uint32_t) + 2);
}

size_t onion_seen_bytes(const struct onion_seen *s)
{
    return s != NULL ? bytes_of(s->cap) : 0;
}

static uint8_t *next_of(struct onion_seen *s)
{
    return (uint8_t *)(s->keys + s->cap);
}

/* Cells are ciphertext: any bits do. Who makes them collide makes a look walk the ring, no more. */
static uint8_t *head_of(struct onion_seen *s, uint32_t key)
{
    return next_of(s) + s->cap + (key & (s->cap - 1u));
}

static bool has(struct onion_seen *s, uint32_t key)
{
    const uint8_t *next = next_of(s);
    for (uint8_t at = *head_of(s, key); at != NONE; at = next[at - 1])
        if (s->keys[at - 1] == key)
            return true;
    return false;
}

/* The oldest of all is the last of its chain. */
static void forget_oldest(struct onion_seen *s)
{
    uint8_t *next = next_of(s);
    uint8_t *link = head_of(s, s->keys[s->at]);
    while (*link != s->at + 1)
        link = &next[*link - 1];
    *link = NONE;
}

static void add(struct onion_seen *s, uint32_t key)
{
    if (s->len == s->cap)
        forget_oldest(s);
    else
        s->len++;
    uint8_t *head = head_of(s, key);
    s->keys[s->at] = key;
    next_of(s)[s->at] = *head;
    *head = (uint8_t)(s->at + 1);
    s->at = (uint8_t)((s->at + 1u) % s->cap);
}

static bool grow(struct onion_seen **s)
{
    const struct onion_seen *old = *s;
    size_t cap = old == NULL ? FIRST : 2u * old->cap;
    struct onion_seen *grown = calloc(1, bytes_of(cap));
    if (grown == NULL)
        return false;
    grown->cap = (uint8_t)cap;
    for (size_t i = 0; old != NULL && i < old->len; i++)
        add(grown, old->keys[i]); /* only full rings grow, and before they turn: oldest first */
    free(*s);
    *s = grown;
    return true;
}

enum onion_seen_answer onion_seen_note(struct onion_seen **s, const uint8_t cell[static MESH_CELL])
{
    uint64_t first;
    memcpy(&first, cell, sizeof first);
    uint32_t key = (uint32_t)((first * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    if (*s != NULL && has(*s, key))
        return ONION_SEEN_REPEAT;
    if ((*s == NULL || ((*s)->len == (*s)->cap && (*s)->cap < ONION_WINDOW_CELLS)) && !grow(s))
        return ONION_SEEN_NO_MEMORY;
    add(*s, key);
    return ONION_SEEN_NEW;
}
