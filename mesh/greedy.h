/* mesh/greedy.h - who holds most, near enough, in constant time: holders in lists by the power of
 * two of what they hold. For shedding load: the greediest gives way first. Pure. Spec: protocol.md,
 * section 16. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* 2^25 and above share the last list: the largest bound counted so is 16 MiB. */
enum { GREEDY_CLASSES = 26 };

struct greedy {
    struct list by_log2[GREEDY_CLASSES];
};

/* Embedded in a holder; moves between lists only when its weight crosses a power of two. */
struct greedy_item {
    struct list node;
    size_t weight;
};

void greedy_init(struct greedy *g);
void greedy_item_init(struct greedy_item *it); /* weight 0, in no list */

/* Sets what `it` holds; 0 takes it out of every list. */
void greedy_set(struct greedy *g, struct greedy_item *it, size_t weight);

/* The item that holds most among the first `most` of the top list (so within a factor of two of the
 * greatest, and exact when the list is shorter); the earlier one among equals; NULL when empty. */
struct greedy_item *greedy_top(const struct greedy *g, size_t most);
