/* The world: time, the main loop, the fingerprint of all events. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/world_internal.h"

enum { EPOCH_S = 1767225600 }; /* 2026-01-01T00:00:00Z */

const struct sim_link sim_link_clean = {
    .latency_min_us = 5000,
    .latency_max_us = 150000,
    .jitter_us = 2000,
};

const struct sim_link sim_link_rough = {
    .latency_min_us = 5000,
    .latency_max_us = 150000,
    .jitter_us = 2000,
    .loss_ppm = 50000,
    .reorder_ppm = 10000,
    .reorder_us = 50000,
    .duplicate_ppm = 5000,
    .corrupt_ppm = 1000,
};

void *sim__alloc(size_t n)
{
    void *p = calloc(1, n);
    if (p == NULL)
        abort(); /* a world without memory can't go on */
    return p;
}

static struct sim_options with_defaults(const struct sim_options *o)
{
    struct sim_options out = *o;
    if (out.link.latency_max_us == 0)
        out.link = sim_link_clean;
    if (out.epoch_ms == 0)
        out.epoch_ms = (int64_t)EPOCH_S * 1000;
    if (out.disk_max_us == 0) {
        out.disk_min_us = 1000;
        out.disk_max_us = 5000;
    }
    if (out.work_us == 0)
        out.work_us = 1000;
    return out;
}

struct sim_world *sim_create(const struct sim_options *o)
{
    struct sim_world *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->o = with_defaults(o);
    w->chance = sim__mix(o->seed, 0x776f726c64u); /* "world" */
    w->hash[0] = sim__mix(o->seed, 1);
    w->hash[1] = sim__mix(o->seed, 2);
    list_init(&w->multicast);
    return w;
}

/* Frees what an event would have brought. */
static void event_discard(struct sim_world *w, const struct sim_event *ev)
{
    switch ((enum sim_kind)(ev->seq_kind & 0xff)) {
    case SIM_EV_PACKET:
        sim__packet_free(w, ev->obj);
        break;
    case SIM_EV_CALL:
        free(ev->obj);
        break;
    case SIM_EV_OP:
        sim__op_free(ev->obj);
        break;
    case SIM_EV_CONN:
        sim__half_drop(ev->obj);
        break;
    case SIM_EV_TURN:
    case SIM_EV_SEND:
    case SIM_EV_DROP:
    case SIM_EV_BOOT:
    case SIM_EV_CRASH:
    case SIM_EV_STREAM:
        break; /* never queued */
    }
}

void sim_destroy(struct sim_world *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->n_nodes; i++)
        if (w->nodes[i]->up)
            sim_node_crash(w->nodes[i]);
    for (size_t i = 0; i < w->queue.n; i++)
        event_discard(w, &w->queue.heap[i]);
    for (size_t i = 0; i < w->n_nodes; i++)
        sim__node_free(w->nodes[i]);
    for (size_t i = 0; i < w->n_nats; i++)
        sim__nat_free(w->nats[i]);
    sim__packets_fini(w);
    free(w->sites.slots);
    free(w->queue.heap);
    free(w->alarm.heap);
    free(w->nodes);
    free(w->nats);
    free(w);
}

uint64_t sim_now(const struct sim_world *w)
{
    return w->now;
}

uint64_t sim_random_below(struct sim_world *w, uint64_t bound)
{
    return sim__below(&w->chance, bound);
}

/* Two chained words over (time, kind, node, x, y): a difference anywhere stays a difference. */
void sim__note(struct sim_world *w, enum sim_kind kind, uint32_t node, uint64_t x, uint64_t y)
{
    uint64_t who = (uint64_t)kind << 32 | node;
    w->hash[0] = sim__mix(w->hash[0] ^ w->now, who ^ x << 7);
    w->hash[1] = sim__mix(w->hash[1] + x, w->hash[0] ^ y);
    w->stats.events++;
}

const char *sim_hash(const struct sim_world *w, char out[static 33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)w->hash[0],
             (unsigned long long)w->hash[1]);
    return out;
}

void sim_at(struct sim_world *w, uint64_t t_ns, env_fn fn, void *arg)
{
    struct sim_call *c = sim__alloc(sizeof *c);
    *c = (struct sim_call){ .fn = fn, .arg = arg };
    sim__queue_push(&w->queue, t_ns > w->now ? t_ns : w->now, SIM_EV_CALL, c);
}

void sim_node_enter(struct sim_node *n, env_fn fn, void *arg)
{
    struct sim_call *c = sim__alloc(sizeof *c);
    *c = (struct sim_call){ .fn = fn, .arg = arg, .node = n };
    sim__queue_push(&n->world->queue, n->world->now, SIM_EV_CALL, c);
}

static void call_fire(struct sim_world *w, struct sim_call *c)
{
    struct sim_call now = *c;
    free(c);
    sim__note(w, SIM_EV_CALL, now.node != NULL ? now.node->index : SIM_NOBODY, 0, 0);
    if (now.node == NULL) {
        now.fn(now.arg);
        return;
    }
    if (!now.node->up)
        return;
    sim__turn_begin(now.node);
    now.fn(now.arg);
    sim__turn_end(now.node);
}

static void event_fire(struct sim_world *w, const struct sim_event *ev)
{
    switch ((enum sim_kind)(ev->seq_kind & 0xff)) {
    case SIM_EV_PACKET:
        sim__arrive(w, ev->obj);
        break;
    case SIM_EV_CALL:
        call_fire(w, ev->obj);
        break;
    case SIM_EV_OP:
        sim__op_fire(w, ev->obj);
        break;
    case SIM_EV_CONN:
        sim__half_fire(w, ev->obj);
        break;
    case SIM_EV_TURN:
    case SIM_EV_SEND:
    case SIM_EV_DROP:
    case SIM_EV_BOOT:
    case SIM_EV_CRASH:
    case SIM_EV_STREAM:
        assert(false && "never queued");
    }
}

static uint64_t next_time(const struct sim_world *w)
{
    uint64_t t = w->queue.n > 0 ? w->queue.heap[0].at : UINT64_MAX;
    if (w->alarm.n > 0 && w->alarm.heap[0]->wake_at < t)
        t = w->alarm.heap[0]->wake_at;
    return t;
}

/* A program that sets a timer for "now" over and over would hang the run without a word. */
static void watch_instant(struct sim_world *w, uint64_t t)
{
    if (t != w->instant) {
        w->instant = t;
        w->instant_events = 0;
    } else if (++w->instant_events > SIM_INSTANT_EVENTS_MAX) {
        fprintf(stderr, "sim: time stands still at %llu ns (seed %llu)\n", (unsigned long long)t,
                (unsigned long long)w->o.seed);
        abort();
    }
}

bool sim_step(struct sim_world *w)
{
    uint64_t t = next_time(w);
    if (t == UINT64_MAX)
        return false;
    assert(t >= w->now);
    w->now = t;
    watch_instant(w, t);
    /* Events before alarms at the same instant: any fixed rule will do. */
    if (w->queue.n > 0 && w->queue.heap[0].at == t) {
        struct sim_event ev = sim__queue_pop(&w->queue);
        event_fire(w, &ev);
    } else {
        sim__node_wake(w->alarm.heap[0]);
    }
    return true;
}

void sim_run_until(struct sim_world *w, uint64_t t_ns)
{
    while (next_time(w) <= t_ns)
        sim_step(w);
    if (w->now < t_ns)
        w->now = t_ns;
}

void sim_stats(const struct sim_world *w, struct sim_stats *out)
{
    *out = w->stats;
    out->events_waiting = w->queue.n;
}
