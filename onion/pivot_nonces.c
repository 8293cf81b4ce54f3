/* An open table of words: the hash above, the power of two below. 0 is an empty slot; the lowest
 * byte of a used one is never 0. */
#include "onion/pivot_nonces.h"

#include <stdlib.h>

#include "base/map.h"

enum { FIRST = 64, LOG_BITS = 8 };

void onion_nonces_fini(struct onion_nonces *n)
{
    free(n->slots);
    *n = (struct onion_nonces){ 0 };
}

static uint64_t word_of(const uint8_t nonce[static 16], uint32_t effort)
{
    unsigned log =
        effort > 0 ? 32u - (unsigned)__builtin_clz(effort) : 1u; /* 2^(log-1) <= effort */
    return map_hash(nonce, 16) << LOG_BITS | log;
}

static size_t place_of(const struct onion_nonces *n, uint64_t word)
{
    size_t at = (word >> LOG_BITS) & (n->cap - 1);
    while (n->slots[at] != 0 && n->slots[at] >> LOG_BITS != word >> LOG_BITS)
        at = (at + 1) & (n->cap - 1);
    return at;
}

bool onion_nonces_has(const struct onion_nonces *n, const uint8_t nonce[static 16])
{
    return n->cap > 0 && n->slots[place_of(n, word_of(nonce, 1))] != 0;
}

/* Moves all that are worth at least 2^(least-1) into a table of `cap`. */
static bool rebuild(struct onion_nonces *n, size_t cap, unsigned least)
{
    struct onion_nonces fresh = { .slots = calloc(cap, sizeof *n->slots), .cap = cap };
    if (fresh.slots == NULL)
        return false;
    for (size_t i = 0; i < n->cap; i++) {
        if (n->slots[i] == 0 || (n->slots[i] & ((1u << LOG_BITS) - 1)) < least)
            continue;
        fresh.slots[place_of(&fresh, n->slots[i])] = n->slots[i];
        fresh.len++;
    }
    free(n->slots);
    *n = fresh;
    return true;
}

int onion_nonces_add(struct onion_nonces *n, const uint8_t nonce[static 16], uint32_t effort)
{
    uint64_t word = word_of(nonce, effort);
    if (n->len >= ONION_NONCES)
        return CYX_EFULL;
    if (2 * (n->len + 1) > n->cap && !rebuild(n, n->cap > 0 ? 2 * n->cap : FIRST, 0))
        return CYX_ENOMEM;
    size_t at = place_of(n, word);
    n->len += n->slots[at] == 0;
    n->slots[at] = word;
    return 0;
}

void onion_nonces_below(struct onion_nonces *n, uint32_t effort)
{
    /* one of power `log` is worth less than 2^log */
    unsigned least = effort > 0 ? 32u - (unsigned)__builtin_clz(effort) : 0;
    if (n->cap > 0)
        (void)rebuild(n, n->cap, least);
}
