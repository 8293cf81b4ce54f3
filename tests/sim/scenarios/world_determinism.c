/* One seed, one exact run: the chatter twice with one seed gives one fingerprint, another seed
 * gives another. */
#include <string.h>

#include "tests/sim/scenarios/chatter.h"

struct outcome {
    char hash[33];
    struct sim_stats st;
    double seconds;
};

static void once(struct sim_run *r, uint64_t seed, struct outcome *out)
{
    uint64_t end = SIM_S(run_arg(r, "seconds"));
    double start = run_wall_seconds(r);
    struct chatter *c = chatter_create(seed, (uint32_t)run_arg(r, "nodes"));
    struct sim_world *w = chatter_world(c);
    while (sim_now(w) < end) {
        run_for(w, SIM_S(1));
        run_progress(r, "seed %llu, virtual second %llu", (unsigned long long)seed,
                     (unsigned long long)(sim_now(w) / SIM_S(1)));
    }
    sim_hash(w, out->hash);
    sim_stats(w, &out->st);
    run_hash(r, w);
    chatter_destroy(c);
    out->seconds = run_wall_seconds(r) - start;
}

/* Every path of the world must have been taken, or equal fingerprints prove little. */
static void check_coverage(struct sim_run *r, const struct sim_stats *st)
{
    const struct {
        uint64_t n;
        const char *what;
    } seen[] = {
        { st->delivered, "delivered" },
        { st->lost, "lost" },
        { st->duplicated, "duplicated" },
        { st->reordered, "reordered" },
        { st->corrupted, "corrupted" },
        { st->dropped_nat, "filtered by a NAT" },
        { st->dropped_down, "to a node that is off" },
        { st->commits, "commits" },
        { st->stream_bytes, "stream bytes" },
        { st->crashes, "crashes" },
        { st->dropped_partition, "cut by a partition" },
    };
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        run_check(r, seen[i].n > 0, "never happened: %s", seen[i].what);
}

static void run(struct sim_run *r)
{
    struct outcome other, first, again;
    once(r, run_seed(r) + 1, &other);
    once(r, run_seed(r), &first);
    once(r, run_seed(r), &again);
    run_check(r, strcmp(first.hash, again.hash) == 0, "one seed, two runs: %s and %s", first.hash,
              again.hash);
    run_check(r, memcmp(&first.st, &again.st, sizeof first.st) == 0, "counters differ");
    run_check(r, strcmp(first.hash, other.hash) != 0, "two seeds, one run");
    check_coverage(r, &first.st);
    run_figure(r, "events", "events in a run", first.st.events, "");
    run_figure(r, "sent", "datagrams sent", first.st.sent, "");
    run_figure(r, "delivered", "datagrams delivered", first.st.delivered, "");
    run_figure(r, "crashes", "crashes", first.st.crashes, "");
    run_figure_real(r, "events_per_s", "events a real second",
                    (double)first.st.events / first.seconds, "");
}

static const struct sim_param params[] = {
    { "nodes", 200, 10, 1000000, "nodes" },
    { "seconds", 60, 1, 1000000, "virtual time of each of three runs" },
    { 0 },
};

extern const struct sim_scenario scenario_world_determinism;
const struct sim_scenario scenario_world_determinism = {
    .name = "world-determinism",
    .help = "everything at once, twice: one seed gives one fingerprint",
    .params = params,
    .run = run,
};
