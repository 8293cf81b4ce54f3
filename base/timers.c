/* A pairing heap: insertion is one comparison, the earliest timer comes out in amortised log n, and
 * a timer can leave from anywhere, since each knows its neighbours. A first child's `prev` is its
 * parent, any other's is the sibling before it. No recursion: the heap may be one long list. */
#include "base/timers.h"

#include <stddef.h>

static bool earlier(const struct env_timer *a, const struct env_timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

/* Joins two trees whose roots have no siblings; NULL is an empty tree. */
static struct env_timer *meld(struct env_timer *a, struct env_timer *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    struct env_timer *top = earlier(a, b) ? a : b;
    struct env_timer *low = top == a ? b : a;
    low->next = top->child;
    if (low->next != NULL)
        low->next->prev = low;
    low->prev = top;
    top->child = low;
    return top;
}

/* Cuts `t` and its children out of the row of siblings it heads; returns what followed. */
static struct env_timer *detach_first(struct env_timer *t)
{
    struct env_timer *rest = t->next;
    t->next = NULL;
    t->prev = NULL;
    return rest;
}

/* Makes one tree of a row of siblings: pairs from left to right, then joins from right to left. */
static struct env_timer *meld_row(struct env_timer *row)
{
    struct env_timer *pairs = NULL; /* linked by next, last pair first */
    while (row != NULL) {
        struct env_timer *a = row;
        struct env_timer *b = detach_first(a);
        row = b != NULL ? detach_first(b) : NULL;
        struct env_timer *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    struct env_timer *root = NULL;
    while (pairs != NULL) {
        struct env_timer *pair = pairs;
        pairs = detach_first(pair);
        root = meld(root, pair);
    }
    return root;
}

static void remove_timer(struct timers *ts, struct env_timer *t)
{
    struct env_timer *below = meld_row(t->child);
    if (t == ts->root) {
        ts->root = below;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next != NULL)
            t->next->prev = t->prev;
        ts->root = meld(ts->root, below);
    }
    t->child = t->next = t->prev = NULL;
    t->is_set = false;
}

void timers_init(struct timers *ts)
{
    *ts = (struct timers){ .root = NULL, .next_seq = 0 };
}

void timers_set(struct timers *ts, struct env_timer *t, uint64_t at_ns)
{
    timers_stop(ts, t);
    t->at_ns = at_ns;
    t->seq = ts->next_seq++;
    t->child = t->next = t->prev = NULL;
    t->is_set = true;
    ts->root = meld(ts->root, t);
}

void timers_stop(struct timers *ts, struct env_timer *t)
{
    if (t->is_set)
        remove_timer(ts, t);
}

uint64_t timers_next(const struct timers *ts)
{
    return ts->root != NULL ? ts->root->at_ns : UINT64_MAX;
}

struct env_timer *timers_pop(struct timers *ts, uint64_t now_ns)
{
    struct env_timer *t = ts->root;
    if (t == NULL || t->at_ns > now_ns)
        return NULL;
    remove_timer(ts, t);
    return t;
}
