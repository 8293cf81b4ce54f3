/* The two queues of virtual time: events (a four-way heap on time and sequence; four children share
 * a cache line or two, half the levels of a binary one) and nodes by next alarm. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/world_internal.h"

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at < b->at || (a->at == b->at && a->seq_kind < b->seq_kind);
}

void sim__queue_push(struct sim_queue *q, uint64_t at, enum sim_kind kind, void *obj)
{
    if (q->n == q->cap) {
        size_t cap = q->cap == 0 ? 1024 : q->cap * 2;
        struct sim_event *heap = realloc(q->heap, cap * sizeof *heap);
        if (heap == NULL)
            abort(); /* a world without memory can't go on */
        q->heap = heap;
        q->cap = cap;
    }
    struct sim_event ev = { .at = at, .seq_kind = q->seq++ << 8 | (unsigned)kind, .obj = obj };
    size_t i = q->n++;
    while (i > 0) {
        size_t parent = (i - 1) / 4;
        if (!event_before(&ev, &q->heap[parent]))
            break;
        q->heap[i] = q->heap[parent];
        i = parent;
    }
    q->heap[i] = ev;
}

/* The smallest of up to four children of `i` among `n`. */
static size_t least_child(const struct sim_event *heap, size_t i, size_t n)
{
    size_t first = 4 * i + 1;
    size_t best = first;
    for (size_t c = first + 1; c < n && c < first + 4; c++)
        if (event_before(&heap[c], &heap[best]))
            best = c;
    return best;
}

struct sim_event sim__queue_pop(struct sim_queue *q)
{
    assert(q->n > 0);
    struct sim_event top = q->heap[0];
    struct sim_event last = q->heap[--q->n];
    size_t i = 0;
    while (4 * i + 1 < q->n) {
        size_t c = least_child(q->heap, i, q->n);
        if (!event_before(&q->heap[c], &last))
            break;
        q->heap[i] = q->heap[c];
        i = c;
    }
    if (q->n > 0)
        q->heap[i] = last;
    return top;
}

/* ---- alarms ---- */

static bool alarm_before(const struct sim_node *a, const struct sim_node *b)
{
    return a->wake_at < b->wake_at || (a->wake_at == b->wake_at && a->index < b->index);
}

static void alarm_place(struct sim_alarm *a, size_t i, struct sim_node *n)
{
    a->heap[i] = n;
    n->alarm_place = i + 1;
}

static void alarm_up(struct sim_alarm *a, size_t i)
{
    struct sim_node *n = a->heap[i];
    while (i > 0 && alarm_before(n, a->heap[(i - 1) / 2])) {
        alarm_place(a, i, a->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    alarm_place(a, i, n);
}

static void alarm_down(struct sim_alarm *a, size_t i)
{
    struct sim_node *n = a->heap[i];
    while (2 * i + 1 < a->n) {
        size_t c = 2 * i + 1;
        if (c + 1 < a->n && alarm_before(a->heap[c + 1], a->heap[c]))
            c++;
        if (!alarm_before(a->heap[c], n))
            break;
        alarm_place(a, i, a->heap[c]);
        i = c;
    }
    alarm_place(a, i, n);
}

static void alarm_remove(struct sim_alarm *a, struct sim_node *n)
{
    size_t i = n->alarm_place - 1;
    n->alarm_place = 0;
    struct sim_node *last = a->heap[--a->n];
    if (last == n)
        return;
    alarm_place(a, i, last);
    alarm_up(a, i);
    alarm_down(a, last->alarm_place - 1);
}

static void alarm_insert(struct sim_alarm *a, struct sim_node *n)
{
    if (a->n == a->cap) {
        size_t cap = a->cap == 0 ? 256 : a->cap * 2;
        struct sim_node **heap = realloc(a->heap, cap * sizeof(struct sim_node *));
        if (heap == NULL)
            abort();
        a->heap = heap;
        a->cap = cap;
    }
    alarm_place(a, a->n++, n);
    alarm_up(a, a->n - 1);
}

void sim__alarm_set(struct sim_alarm *a, struct sim_node *n, uint64_t at)
{
    n->wake_at = at;
    if (at == UINT64_MAX) {
        if (n->alarm_place != 0)
            alarm_remove(a, n);
        return;
    }
    if (n->alarm_place == 0) {
        alarm_insert(a, n);
        return;
    }
    alarm_up(a, n->alarm_place - 1);
    alarm_down(a, n->alarm_place - 1);
}
