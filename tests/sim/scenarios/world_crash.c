/* A crash takes what was not on disk and nothing else: acknowledged writes survive, batches are
 * whole, order holds; the dead program hears of nothing but its memory coming back. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenarios/probe.h"

enum { CYCLES = 300, KEYS = 3, STORE_BYTES = 1 << 20 };

struct writer_program {
    struct sim_run *run;
    struct sim_node *node;
    struct env_kv *kv;
    struct env_timer timer;
    struct env_task task;
    uint64_t issued, acked, blob_issued, blob_acked;
    uint64_t first_random;
    unsigned n_under_way, n_canceled, n_after_death, n_torn, n_lost, n_early;
    bool is_dead;
};

static void note_life(struct writer_program *p)
{
    if (p->is_dead)
        p->n_after_death++;
}

static void committed(void *arg, int code)
{
    struct writer_program *p = arg;
    p->n_under_way--;
    if (code == 0)
        p->acked++;
    else
        p->n_canceled++;
}

static void blob_stored(void *arg, int code)
{
    struct writer_program *p = arg;
    p->n_under_way--;
    if (code == 0)
        p->blob_acked++;
}

static void work_run(void *arg)
{
    note_life(arg);
}

static void work_done(void *arg, int code)
{
    struct writer_program *p = arg;
    p->n_under_way--;
    if (code == 0)
        note_life(p);
}

static void deferred(void *arg)
{
    note_life(arg);
}

static void write_all(struct writer_program *p)
{
    struct env *e = sim_node_env(p->node);
    struct env_kv_batch *b = env_kv_batch(e, p->kv);
    p->issued++;
    for (uint8_t key = 0; key < KEYS; key++)
        if (env_kv_put(e, b, &key, 1, &p->issued, sizeof p->issued) < 0)
            abort();
    env_kv_commit(e, b, committed, p);
    p->blob_issued++;
    env_blob_store(e, "seed", (const uint8_t *)&p->blob_issued, sizeof p->blob_issued, blob_stored,
                   p);
    p->n_under_way += 2;
    if (env_work(e, work_run, work_done, p, NULL) == 0)
        p->n_under_way++;
}

static void tick(struct env_timer *t, void *arg)
{
    struct writer_program *p = arg;
    struct env *e = sim_node_env(p->node);
    note_life(p);
    write_all(p);
    env_defer(e, &p->task);
    env_timer_in(e, t, ENV_MS(1) + env_random_below(e, ENV_MS(4)));
}

static uint64_t stored(struct writer_program *p, uint8_t key)
{
    uint64_t v = 0;
    size_t len;
    int rc = env_kv_get(sim_node_env(p->node), p->kv, &key, 1, &v, sizeof v, &len);
    return rc == 0 ? v : 0;
}

/* What a start finds on disk, against what the last life knew. */
static void look_back(struct writer_program *p)
{
    uint64_t blob = 0;
    size_t len;
    struct env *e = sim_node_env(p->node);
    uint64_t first = stored(p, 0);
    for (uint8_t key = 1; key < KEYS; key++)
        if (stored(p, key) != first)
            p->n_torn++;
    if (env_blob_load(e, "seed", (uint8_t *)&blob, sizeof blob, &len, NULL) < 0)
        blob = 0;
    if (first < p->acked || blob < p->blob_acked)
        p->n_lost++;
    if (first > p->issued || blob > p->blob_issued)
        p->n_early++;
    p->issued = p->acked = first;
    p->blob_issued = p->blob_acked = blob;
}

static void boot(void *arg, struct sim_node *n)
{
    struct writer_program *p = arg;
    struct env *e = sim_node_env(n);
    uint64_t random = env_random_u64(e);
    p->node = n;
    p->is_dead = false;
    if (env_kv_open(e, "writer", STORE_BYTES, &p->kv, NULL) < 0)
        abort();
    run_check(p->run, random != p->first_random, "two lives draw the same randomness");
    p->first_random = random;
    look_back(p);
    env_timer_init(&p->timer, tick, p);
    env_task_init(&p->task, deferred, p);
    env_timer_in(e, &p->timer, ENV_MS(1));
}

/* The environment is dead: every call below must be harmless. */
static void drop(void *arg, struct sim_node *n)
{
    struct writer_program *p = arg;
    struct env *e = sim_node_env(n);
    struct env_udp *u = NULL;
    uint8_t byte;
    size_t len;
    p->is_dead = true;
    env_timer_set(e, &p->timer, 0);
    env_defer(e, &p->task);
    run_check(p->run, env_udp_open(e, &(struct env_udp_options){ 0 }, &u, NULL) == CYX_ECLOSED,
              "the dead open sockets");
    run_check(p->run, env_kv_get(e, p->kv, "x", 1, &byte, 1, &len) == CYX_ECLOSED,
              "the dead read their disk");
    env_timer_stop(e, &p->timer);
    env_task_cancel(&p->task);
    env_kv_close(e, p->kv);
}

static void check_crashes(struct sim_run *r, struct sim_world *w, struct writer_program *p)
{
    unsigned n_coin_kept = 0;
    unsigned n_coin_lost = 0;
    for (unsigned i = 0; i < CYCLES; i++) {
        run_for(w, SIM_MS(5) + sim_random_below(w, SIM_MS(40)));
        uint64_t acked = p->acked;
        bool was_waiting = p->issued > p->acked;
        sim_node_crash(p->node);
        run_check(r, p->n_under_way == 0, "cycle %u: %u callbacks never came", i, p->n_under_way);
        p->acked = acked;
        run_for(w, SIM_MS(20));
        sim_node_boot(p->node);
        if (was_waiting && p->issued > acked)
            n_coin_kept++;
        if (was_waiting && p->issued == acked)
            n_coin_lost++;
    }
    run_check(r, p->n_torn == 0, "%u batches torn", p->n_torn);
    run_check(r, p->n_lost == 0, "%u acknowledged writes lost", p->n_lost);
    run_check(r, p->n_early == 0, "%u values nobody wrote", p->n_early);
    run_check(r, p->n_after_death == 0, "%u callbacks after death", p->n_after_death);
    run_check(r, n_coin_kept > 0 && n_coin_lost > 0,
              "the coin always falls one way: %u kept, %u lost", n_coin_kept, n_coin_lost);
    run_figure(r, "kept", "unacknowledged writes found after a crash", n_coin_kept, "");
    run_figure(r, "lost", "unacknowledged writes gone after a crash", n_coin_lost, "");
}

static void check_shutdown(struct sim_run *r, struct sim_world *w, struct writer_program *p)
{
    run_for(w, SIM_MS(20));
    uint64_t issued = p->issued;
    sim_node_shutdown(p->node);
    sim_node_boot(p->node);
    run_check(r, p->issued == issued, "an orderly shutdown lost writes");
}

static void check_full_disk(struct sim_run *r, struct sim_world *w, struct writer_program *p)
{
    uint64_t before;
    run_for(w, SIM_MS(20));
    sim_node_set_disk(p->node, SIM_DISK_FULL);
    run_for(w, SIM_MS(20));
    before = stored(p, 0);
    unsigned canceled = p->n_canceled;
    run_for(w, SIM_S(1));
    run_check(r, before > 0 && stored(p, 0) == before, "a full disk takes writes");
    run_check(r, p->n_canceled > canceled, "a full disk reports success");
    struct env_kv *other = NULL;
    run_check(r, env_kv_open(sim_node_env(p->node), "new", 1, &other, NULL) == CYX_ENOSPC,
              "a full disk makes new stores");
    sim_node_set_disk(p->node, SIM_DISK_OK);
    run_for(w, SIM_MS(50));
    run_check(r, stored(p, 0) > before, "a disk with room again refuses");
    sim_node_crash(p->node);
    sim_node_wipe_disk(p->node);
    p->acked = p->blob_acked = 0;
    sim_node_boot(p->node);
    run_check(r, stored(p, 0) == 0, "a wiped disk remembers");
}

static void run(struct sim_run *r)
{
    struct sim_world *w = run_world(r, &sim_link_clean);
    struct writer_program p = { .run = r };
    struct sim_node_options o = {
        .address = probe_address(1, 0), .boot = boot, .drop = drop, .arg = &p
    };
    sim_node_boot(sim_node_add(w, &o));
    check_crashes(r, w, &p);
    check_shutdown(r, w, &p);
    check_full_disk(r, w, &p);
    run_hash(r, w);
    run_figure(r, "nodes", "nodes", 1, "");
    run_figure(r, "crashes", "crashes", CYCLES, "");
    sim_destroy(w);
}

extern const struct sim_scenario scenario_world_crash;
const struct sim_scenario scenario_world_crash = {
    .name = "world-crash",
    .help = "acknowledged writes survive crashes, batches are whole, the dead stay silent",
    .run = run,
};
