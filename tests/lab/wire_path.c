/* tests/lab/wire_path.c - a packet's way through the forwarder: route, lose, hold, deliver. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/wire.h"

static double chance(struct wire *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(w->random >> 11) / (double)(1ull << 53);
}

/* Port number from 1, or 0 when the packet is for none. Multicast and link-local stay at home. */
static unsigned route(const struct wire *w, const uint8_t *p, size_t len)
{
    unsigned port = 0;
    if (len >= 20 && p[0] >> 4 == 4 && p[16] == 10 && p[17] == 77)
        port = p[19];
    else if (len >= 40 && p[0] >> 4 == 6 && p[24] == 0xfd && p[25] == 0x77)
        port = (unsigned)p[38] << 8 | p[39];
    return port <= w->n_ports ? port : 0;
}

static bool is_full(const uint8_t *p, size_t len)
{
    size_t head = p[0] >> 4 == 4 ? 20 : 40;
    return len == head + 8 + WIRE_FULL && p[p[0] >> 4 == 4 ? 9 : 6] == 17;
}

static bool before(const struct wire_packet *a, const struct wire_packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void heap_push(struct wire *w, struct wire_packet *k)
{
    size_t i = w->n_held++;
    for (; i > 0 && before(k, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = k;
}

static struct wire_packet *heap_pop(struct wire *w)
{
    struct wire_packet *first = w->heap[0], *last = w->heap[--w->n_held];
    size_t i = 0;
    for (size_t c = 1; c < w->n_held; c = 2 * i + 1) {
        if (c + 1 < w->n_held && before(w->heap[c + 1], w->heap[c]))
            c++;
        if (!before(w->heap[c], last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    return first;
}

/* When a packet of `len` bytes leaves a pipe with a rate, or 0 when its queue is too long. */
static uint64_t leaves_at(struct wire_pipe *p, size_t len, uint64_t now_ns)
{
    if (p->rate_bps == 0)
        return now_ns;
    uint64_t start = p->free_at_ns > now_ns ? p->free_at_ns : now_ns;
    if (start - now_ns > p->queue_ns)
        return 0;
    p->free_at_ns = start + (uint64_t)len * 8 * 1000000000u / p->rate_bps;
    return p->free_at_ns;
}

/* Does the pipe let it through now? Counts why not. */
static bool admit(struct wire *w, struct wire_pipe *p, const uint8_t *data, size_t len)
{
    p->n.packets++;
    p->n.bytes += len;
    p->n.biggest = len > p->n.biggest ? len : p->n.biggest;
    if (p->is_cut) {
        p->n.cut++;
        p->n.cut_full += is_full(data, len);
        return false;
    }
    if (p->mtu != 0 && len > p->mtu) {
        p->n.oversize++;
        return false;
    }
    if (p->loss > 0 && chance(w) < p->loss) {
        p->n.lost++;
        p->n.lost_full += is_full(data, len);
        return false;
    }
    return true;
}

static void hold(struct wire *w, struct wire_packet k, const uint8_t *data)
{
    struct wire_packet *held = malloc(sizeof *held);
    k.data = malloc(k.len);
    if (held == NULL || k.data == NULL) {
        free(held);
        free(k.data);
        w->pipe[k.from][k.to].n.queue++;
        return;
    }
    memcpy(k.data, data, k.len);
    *held = k;
    heap_push(w, held);
}

void wire_take(struct wire *w, unsigned from, const uint8_t *data, size_t len, uint64_t now_ns)
{
    unsigned to = route(w, data, len);
    if (to == 0) {
        w->unroutable++;
        w->unroutable_bytes += len;
        w->from_unroutable_bytes[from] += len;
        return;
    }
    struct wire_pipe *p = &w->pipe[from][to - 1];
    if (!admit(w, p, data, len))
        return;
    uint64_t leaves = w->n_held < WIRE_HELD_MAX ? leaves_at(p, len, now_ns) : 0;
    if (leaves == 0) {
        p->n.queue++;
        p->n.queue_full += is_full(data, len);
        return;
    }
    uint64_t wait = p->delay_ns + (uint64_t)(chance(w) * (double)p->jitter_ns);
    if (p->reorder > 0 && chance(w) < p->reorder)
        wait = 0;
    hold(w,
         (struct wire_packet){ .due_ns = leaves + wait,
                               .order = w->n_arrived++,
                               .from = from,
                               .to = to - 1,
                               .len = len },
         data);
}

/* One packet of a pcap file of raw IP packets. */
static void capture(FILE *f, const struct wire_packet *k)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint32_t head[4] = { (uint32_t)t.tv_sec, (uint32_t)(t.tv_nsec / 1000), (uint32_t)k->len,
                         (uint32_t)k->len };
    fwrite(head, sizeof head, 1, f);
    fwrite(k->data, k->len, 1, f);
}

uint64_t wire_deliver(struct wire *w, uint64_t now_ns)
{
    while (w->n_held > 0 && w->heap[0]->due_ns <= now_ns) {
        struct wire_packet *k = heap_pop(w);
        struct wire_counts *n = &w->pipe[k->from][k->to].n;
        if (write(w->fd[k->to], k->data, k->len) == (ssize_t)k->len) {
            n->delivered++;
            n->delivered_bytes += k->len;
            if (w->capture != NULL)
                capture(w->capture, k);
        } else {
            n->queue++;
            n->queue_full += is_full(k->data, k->len);
        }
        free(k->data);
        free(k);
    }
    return w->n_held > 0 ? w->heap[0]->due_ns : 0;
}
