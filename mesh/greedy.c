#include "mesh/greedy.h"

void greedy_init(struct greedy *g)
{
    for (size_t i = 0; i < GREEDY_CLASSES; i++)
        list_init(&g->by_log2[i]);
}

void greedy_item_init(struct greedy_item *it)
{
    list_init(&it->node);
    it->weight = 0;
}

/* floor(log2(weight)), weight > 0. */
static unsigned class_of(size_t weight)
{
    unsigned log2 = 63u - (unsigned)__builtin_clzll((unsigned long long)weight);
    return log2 < GREEDY_CLASSES ? log2 : GREEDY_CLASSES - 1;
}

void greedy_set(struct greedy *g, struct greedy_item *it, size_t weight)
{
    size_t before = it->weight;
    it->weight = weight;
    if (before != 0 && weight != 0 && class_of(before) == class_of(weight))
        return;
    list_del(&it->node);
    if (weight != 0)
        list_push_back(&g->by_log2[class_of(weight)], &it->node);
}

static struct greedy_item *heaviest(const struct list *head, size_t most)
{
    struct greedy_item *best = NULL;
    for (struct list *n = head->next; n != head && most > 0; n = n->next, most--) {
        struct greedy_item *it = container_of(n, struct greedy_item, node);
        if (best == NULL || it->weight > best->weight)
            best = it;
    }
    return best;
}

struct greedy_item *greedy_top(const struct greedy *g, size_t most)
{
    for (size_t i = GREEDY_CLASSES; i-- > 0;)
        if (!list_empty(&g->by_log2[i]))
            return heaviest(&g->by_log2[i], most);
    return NULL;
}
