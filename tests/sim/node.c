/* Nodes: switching on and off, turns of their loop, clocks, timers, randomness. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/world_internal.h"

enum { TIMERS_PER_WAKE = 4096 };

/* ---- turns ---- */

static void run_deferred(struct sim_node *n)
{
    for (unsigned round = 0; round < SIM_DEFER_ROUNDS_MAX && !list_empty(&n->deferred); round++) {
        struct list batch;
        list_init(&batch);
        list_add_before(&n->deferred, &batch); /* take the whole list over */
        list_del(&n->deferred);
        while (!list_empty(&batch)) {
            struct env_task *t = container_of(batch.next, struct env_task, node);
            list_del(&t->node);
            t->fn(t->arg);
        }
    }
}

static uint64_t next_wake(const struct sim_node *n)
{
    uint64_t now = n->world->now;
    if (!list_empty(&n->deferred))
        return now + 1;
    uint64_t at = timers_next(&n->timers);
    if (at == UINT64_MAX)
        return UINT64_MAX;
    return at > now + n->mono_offset ? at - n->mono_offset : now;
}

static void rearm(struct sim_node *n)
{
    uint64_t at = next_wake(n);
    if (at != n->wake_at)
        sim__alarm_set(&n->world->alarm, n, at);
}

void sim__turn_begin(struct sim_node *n)
{
    assert(n->up && !n->in_turn);
    n->in_turn = true;
    n->world->stats.turns++;
}

void sim__turn_end(struct sim_node *n)
{
    run_deferred(n);
    n->in_turn = false;
    rearm(n);
}

void sim__node_wake(struct sim_node *n)
{
    sim__note(n->world, SIM_EV_TURN, n->index, 0, 0);
    sim__turn_begin(n);
    uint64_t now = n->world->now + n->mono_offset;
    struct env_timer *t;
    for (unsigned i = 0; i < TIMERS_PER_WAKE && (t = timers_pop(&n->timers, now)) != NULL; i++)
        t->fn(t, t->arg);
    sim__turn_end(n);
}

/* ---- life ---- */

static bool make_room(struct sim_world *w)
{
    if (w->n_nodes < w->cap_nodes)
        return true;
    size_t cap = w->cap_nodes == 0 ? 64 : w->cap_nodes * 2;
    struct sim_node **nodes = realloc(w->nodes, cap * sizeof(struct sim_node *));
    if (nodes == NULL)
        return false;
    w->nodes = nodes;
    w->cap_nodes = cap;
    return true;
}

static bool take_addresses(struct sim_node *n, const struct sim_node_options *o)
{
    struct sim_world *w = n->world;
    if (sim__site_put(w, n->realm, &o->address, &n->site) < 0)
        return false;
    n->address[0] = o->address;
    if (sim__addr_is_zero(&o->address6))
        return true;
    if (sim__site_put(w, n->realm, &o->address6, &n->site) < 0) {
        sim__site_del(w, n->realm, &o->address);
        return false;
    }
    n->address[1] = o->address6;
    return true;
}

static void init_lists(struct sim_node *n)
{
    list_init(&n->deferred);
    list_init(&n->sockets);
    list_init(&n->ends);
    list_init(&n->listeners);
    list_init(&n->reachable);
    list_init(&n->kvs);
    list_init(&n->ops);
    list_init(&n->stores);
    list_init(&n->blobs);
    list_init(&n->trails);
    timers_init(&n->timers);
}

struct sim_node *sim_node_add(struct sim_world *w, const struct sim_node_options *o)
{
    struct sim_node *n = calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->env = (struct env){ .ops = &sim__ops, .log = o->log };
    n->world = w;
    n->index = (uint32_t)w->n_nodes;
    n->site.id = w->n_sites++;
    n->realm = o->nat != NULL ? o->nat->inside : 0;
    n->lan = o->lan != 0 ? o->lan : n->realm;
    n->host = o->same_host != NULL ? o->same_host->host : n->index;
    n->wake_at = UINT64_MAX;
    n->chance = sim__mix(w->o.seed, 0x6e6f6465u + ((uint64_t)n->index << 32)); /* "node" */
    n->mono_offset = SIM_S(1) + sim__below(&n->chance, SIM_S(100000));
    n->skew_ms = o->wall_skew_ms;
    n->uplink_bps = o->uplink_bps;
    n->boot = o->boot;
    n->drop = o->drop;
    n->arg = o->arg;
    init_lists(n);
    if (!make_room(w) || !take_addresses(n, o)) {
        free(n);
        return NULL;
    }
    w->nodes[w->n_nodes++] = n;
    return n;
}

void sim_node_boot(struct sim_node *n)
{
    assert(!n->up);
    n->up = true;
    n->boot_count++;
    sim__rng_seed(&n->rng, n->world->o.seed, n->index, n->boot_count);
    sim__note(n->world, SIM_EV_BOOT, n->index, n->boot_count, 0);
    n->world->stats.boots++;
    sim__turn_begin(n);
    if (n->boot != NULL)
        n->boot(n->arg, n);
    sim__turn_end(n);
}

/* What a power cut takes from the running program at once, before its memory is freed. */
static void stop_loop(struct sim_node *n)
{
    while (timers_pop(&n->timers, UINT64_MAX) != NULL) {
    }
    while (!list_empty(&n->deferred))
        list_del(n->deferred.next);
    sim__alarm_set(&n->world->alarm, n, UINT64_MAX);
}

static void must_be_empty(const struct sim_node *n, const struct list *l, const char *what)
{
    if (list_empty(l))
        return;
    fprintf(stderr, "sim: node %u: the program left a %s open after `drop`\n", n->index, what);
    abort();
}

static void switch_off(struct sim_node *n, bool is_crash)
{
    assert(n->up && !n->in_turn);
    sim__note(n->world, SIM_EV_CRASH, n->index, is_crash, 0);
    n->up = false;
    stop_loop(n);
    sim__udp_crash(n);
    sim__streams_crash(n);
    sim__ops_settle(n, is_crash);
    sim__kv_crash(n);
    if (n->drop != NULL)
        n->drop(n->arg, n);
    sim__ops_report(n, is_crash);
    must_be_empty(n, &n->sockets, "socket");
    must_be_empty(n, &n->ends, "stream");
    must_be_empty(n, &n->listeners, "listener");
    must_be_empty(n, &n->kvs, "store");
}

void sim_node_crash(struct sim_node *n)
{
    sim_node_kill(n);
    sim__trails_free(n);
}

void sim_node_kill(struct sim_node *n)
{
    n->world->stats.crashes++;
    switch_off(n, true);
}

void sim_node_shutdown(struct sim_node *n)
{
    switch_off(n, false);
}

void sim__node_free(struct sim_node *n)
{
    sim__stores_free(n);
    sim__blobs_free(n);
    sim__trails_free(n);
    free(n);
}

uint32_t sim_node_index(const struct sim_node *n)
{
    return n->index;
}

struct env *sim_node_env(struct sim_node *n)
{
    return &n->env;
}

struct sim_world *sim_node_world(const struct sim_node *n)
{
    return n->world;
}

void *sim_node_arg(const struct sim_node *n)
{
    return n->arg;
}

bool sim_node_is_up(const struct sim_node *n)
{
    return n->up;
}

void sim_node_set_skew(struct sim_node *n, int64_t skew_ms)
{
    n->skew_ms = skew_ms;
}

void sim_node_set_link(struct sim_node *n, const struct sim_link *l)
{
    n->link = l;
}

void sim_node_set_group(struct sim_node *n, uint32_t group)
{
    n->group = group;
}

void sim_heal(struct sim_world *w)
{
    for (size_t i = 0; i < w->n_nodes; i++)
        w->nodes[i]->group = 0;
}

void sim_node_set_disk(struct sim_node *n, enum sim_disk state)
{
    n->disk_state = state;
}

void sim_node_wipe_disk(struct sim_node *n)
{
    assert(!n->up);
    sim__stores_free(n);
    sim__blobs_free(n);
    sim__trails_free(n);
}

/* ---- env: clocks, timers, tasks, randomness ---- */

static uint64_t op_now_ns(struct env *e)
{
    const struct sim_node *n = sim__node_of(e);
    return n->world->now + n->mono_offset;
}

static int64_t op_wall_ms(struct env *e)
{
    const struct sim_node *n = sim__node_of(e);
    return n->world->o.epoch_ms + (int64_t)(n->world->now / 1000000u) + n->skew_ms;
}

static void op_timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return;
    timers_set(&n->timers, t, at_ns);
    if (!n->in_turn)
        rearm(n);
}

static void op_timer_stop(struct env *e, struct env_timer *t)
{
    struct sim_node *n = sim__node_of(e);
    timers_stop(&n->timers, t); /* a crash has unset every timer: harmless then */
    if (n->up && !n->in_turn)
        rearm(n);
}

static void op_defer(struct env *e, struct env_task *t)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up || list_linked(&t->node))
        return;
    list_push_back(&n->deferred, &t->node);
    if (!n->in_turn)
        rearm(n);
}

static void op_random(struct env *e, void *buf, size_t len)
{
    sim__rng_fill(&sim__node_of(e)->rng, buf, len);
}

const struct env_ops sim__ops = {
    .now_ns = op_now_ns,
    .wall_ms = op_wall_ms,
    .timer_set = op_timer_set,
    .timer_stop = op_timer_stop,
    .defer = op_defer,
    .random = op_random,
    .udp_open = sim__udp_open,
    .udp_close = sim__udp_close,
    .udp_send = sim__udp_send,
    .udp_info = sim__udp_info,
    .listen = sim__listen,
    .listener_close = sim__listener_close,
    .connect = sim__connect,
    .stream_attach = sim__stream_attach,
    .stream_write = sim__stream_write,
    .stream_pause = sim__stream_pause,
    .stream_end = sim__stream_end,
    .stream_close = sim__stream_close,
    .stream_queued = sim__stream_queued,
    .stream_cred = sim__stream_cred,
    .kv_open = sim__kv_open,
    .kv_close = sim__kv_close,
    .kv_get = sim__kv_get,
    .kv_each = sim__kv_each,
    .kv_batch = sim__kv_batch,
    .kv_put = sim__kv_put,
    .kv_del = sim__kv_del,
    .kv_commit = sim__kv_commit,
    .kv_abort = sim__kv_abort,
    .blob_load = sim__blob_load,
    .blob_store = sim__blob_store,
    .trail_load = sim__trail_load,
    .trail_open = sim__trail_open,
    .trail_add = sim__trail_add,
    .trail_close = sim__trail_close,
    .work = sim__work,
    .work_cancel = sim__work_cancel,
    .post = sim__post,
    .listener_addr = sim__listener_addr,
    .stream_reset = sim__stream_reset,
};
