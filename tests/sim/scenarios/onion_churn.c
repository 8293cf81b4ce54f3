/* Relays come and go under long downloads from hidden services: all bytes arrive, and streams pause
 * for as long as it takes to see that a path is gone and to build another. */
#include <string.h>

#include "tests/sim/scenarios/replay.h"
#include "tests/sim/scenarios/trade.h"

enum {
    BEGIN_S = 10, /* downloads begin within this */
    REQUEST = 200,
    SPARE_S = 120,  /* for pauses, beyond what an undisturbed download takes */
    DONE_DUE = 700, /* of 1000: there are few */
};

struct outcome {
    char hash[33];
    struct trade_tally downloads;
    struct folk_counters n;
    struct sim_stats st;
    uint64_t replaced;
    double seconds;
};

static void download(struct sim_run *r, struct trade *t, struct outcome *out)
{
    uint64_t span_s = run_arg(r, "seconds");
    uint32_t services = (uint32_t)run_arg(r, "services");
    uint32_t pace = (uint32_t)run_arg(r, "rate");
    for (uint32_t i = 0; i < run_arg(r, "clients"); i++) {
        const struct trade_order o = { .client = services + i,
                                       .host = i % services,
                                       .request = REQUEST,
                                       .answer = (uint32_t)(pace * span_s),
                                       .pace = pace,
                                       .patience_ns = SIM_S(span_s + SPARE_S),
                                       .tally = &out->downloads };
        trade_visit(t, &o, sim_random_below(t->maze->w, SIM_S(BEGIN_S)));
    }
}

static void once(struct sim_run *r, struct cards *cards, void *outcome)
{
    struct outcome *out = outcome;
    double start = run_wall_seconds(r);
    uint32_t services = (uint32_t)run_arg(r, "services");
    struct maze_options o = maze_options_of(r, cards, services + (uint32_t)run_arg(r, "clients"));
    *out = (struct outcome){ .replaced = 0 };
    struct trade *t = trade_create(services);
    o.hooks = trade_hooks(t);
    struct maze *m = maze_create(&o);
    trade_open(t, m);
    maze_settle(m, r);
    trade_settle(t, r);
    download(r, t, out);
    maze_churn(m, SIM_S(60 * run_arg(r, "half-life")));
    trade_wait(t, r);
    maze_calm(m);
    out->replaced = maze_metric(m, MAZE_USERS, "cyx_onion_paths_replaced_total", NULL);
    out->n = m->folk.n;
    maze_check(m, r);
    trade_check(t, r, &out->downloads, "downloads");
    sim_stats(m->w, &out->st);
    sim_hash(m->w, out->hash);
    run_hash(r, m->w);
    maze_destroy(m);
    trade_destroy(t);
    out->seconds = run_wall_seconds(r) - start;
}

static void check(struct sim_run *r, const struct outcome *out)
{
    run_check(r, trade_permille(&out->downloads) >= DONE_DUE,
              "%u of %u downloads brought every byte", (unsigned)out->downloads.done,
              (unsigned)out->downloads.asked);
    run_check(r, out->n.leaves + out->n.crashes > 0, "no relay went");
}

static void report(struct sim_run *r, struct outcome *out)
{
    struct trade_tally *t = &out->downloads;
    trade_report(r, t, "downloads", "downloads");
    run_figure(r, "bytes", "bytes that came", t->bytes, "");
    run_figure(r, "leaves", "relays that left in order", out->n.leaves, "");
    run_figure(r, "crashes", "relays that crashed", out->n.crashes, "");
    run_figure(r, "replaced", "paths replaced under a stream", out->replaced, "");
    run_figure_real(r, "pause_p50", "longest pause of a download, median",
                    (double)town_percentile(&t->pause_us, 50) / 1000, "ms");
    run_figure_real(r, "pause_p90", "longest pause of a download, 90th percentile",
                    (double)town_percentile(&t->pause_us, 90) / 1000, "ms");
    run_figure_real(r, "pause_max", "longest pause",
                    (double)town_percentile(&t->pause_us, 100) / 1000, "ms");
    run_figure(r, "events", "events", out->st.events, "");
    run_figure_real(r, "run_s", "real time of one run", out->seconds, "s");
}

static void outcome_fini(void *outcome)
{
    struct outcome *out = outcome;
    trade_tally_fini(&out->downloads);
}

static void judge(struct sim_run *r, void *outcome)
{
    struct outcome *out = outcome;
    check(r, out);
    report(r, out);
}

static void run(struct sim_run *r)
{
    static const struct replay x = {
        .size = sizeof(struct outcome), .once = once, .judge = judge, .fini = outcome_fini
    };
    if (!run_check(r, run_arg(r, "contacts") < run_arg(r, "nodes"), "more relays than contacts"))
        return;
    replay_run(r, &x);
}

static const struct sim_param params[] = {
    { "nodes", 40, 12, 1000, "relays at any time" },
    { "half-life", 10, 1, 100000, "minutes after which half of the relays are others" },
    { "services", 2, 1, 200, "hidden services" },
    { "clients", 8, 1, 2000, "users, with one download each" },
    { "seconds", 90, 1, 3600, "that a download takes when nothing happens" },
    { "rate", 10000, 100, 10000000, "bytes a second of each" },
    REPLAY_PARAM,
    MAZE_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_onion_churn;
const struct sim_scenario scenario_onion_churn = {
    .name = "onion-churn",
    .help = "long downloads from hidden services while relays come and go",
    .params = params,
    .run = run,
};
