/* kill -9 of relays, one after another, under a long download: it arrives whole, and its longest
 * pause is what it takes to notice and to go on another way. */
#include <stdlib.h>

#include "tests/sim/scenarios/trade.h"

enum {
    REQUEST = 200,
    WARM_S = 3,      /* the download is under way */
    SETTLE_MS = 500, /* undisturbed bytes before a kill, and up to so much more */
    SETTLE_MORE_MS = 1500,
    DOWN_MS = 500, /* until it is started again, likewise */
    DOWN_MORE_MS = 1000,
    SPARE_S = 120,
};

struct outcome {
    struct trade_tally downloads;
    struct town_samples pause_us; /* after each kill */
    double seconds;
};

/* The longest time without a byte from now on. */
static uint64_t pause_after(struct maze *m, struct sim_run *r, struct trade_call *c, uint64_t ns)
{
    uint64_t until = sim_now(m->w) + ns, longest = 0;
    while (sim_now(m->w) < until && !c->is_over) {
        maze_pass(m, r, SIM_MS(10));
        uint64_t silent = sim_now(m->w) > c->last_ns ? sim_now(m->w) - c->last_ns : 0;
        longest = silent > longest ? silent : longest;
    }
    return longest;
}

static bool is_up(const struct maze *m)
{
    for (uint32_t i = 0; i < m->o.relays; i++)
        if (maze_at(m, i)->base.mesh == NULL)
            return false;
    return true;
}

static void kill_some(struct sim_run *r, struct maze *m, struct trade_call *c, struct outcome *out)
{
    for (uint64_t left = run_arg(r, "kills"); left > 0 && !c->is_over; left--) {
        uint64_t down = SIM_MS(DOWN_MS) + sim_random_below(m->w, SIM_MS(DOWN_MORE_MS));
        uint64_t settle = SIM_MS(SETTLE_MS) + sim_random_below(m->w, SIM_MS(SETTLE_MORE_MS));
        maze_kill(maze_at(m, (uint32_t)sim_random_below(m->w, m->o.relays)), down);
        uint64_t longest = pause_after(m, r, c, down + settle);
        while (!c->is_over && (!is_up(m) || sim_now(m->w) - c->last_ns > SIM_MS(100))) {
            uint64_t more = pause_after(m, r, c, SIM_MS(100));
            longest = more > longest ? more : longest;
        }
        town_sample(&out->pause_us, longest / 1000);
    }
}

static void once(struct sim_run *r, struct cards *cards, struct outcome *out)
{
    double start = run_wall_seconds(r);
    struct maze_options o = maze_options_of(r, cards, 2);
    uint32_t pace = (uint32_t)run_arg(r, "rate");
    uint32_t span_s = (uint32_t)run_arg(r, "kills") * 4 + SPARE_S;
    struct trade *t = trade_create(1);
    o.hooks = trade_hooks(t);
    struct maze *m = maze_create(&o);
    trade_open(t, m);
    maze_settle(m, r);
    trade_settle(t, r);
    const struct trade_order order = { .client = 1,
                                       .host = 0,
                                       .request = REQUEST,
                                       .answer = pace * span_s,
                                       .pace = pace,
                                       .patience_ns = SIM_S(4 * span_s),
                                       .tally = &out->downloads };
    struct trade_call *c = trade_visit(t, &order, 0);
    maze_pass(m, r, SIM_S(WARM_S));
    kill_some(r, m, c, out);
    trade_wait(t, r);
    maze_check(m, r);
    trade_check(t, r, &out->downloads, "download");
    run_hash(r, m->w);
    maze_destroy(m);
    trade_destroy(t);
    out->seconds = run_wall_seconds(r) - start;
}

static void run(struct sim_run *r)
{
    struct outcome out = { .seconds = 0 };
    if (!run_check(r, run_arg(r, "contacts") < run_arg(r, "nodes"), "more relays than contacts"))
        return;
    struct cards *cards = cards_create(run_seed(r));
    once(r, cards, &out);
    uint64_t longest = town_percentile(&out.pause_us, 100);
    run_check(r, out.downloads.done == 1, "the download didn't arrive");
    run_check(r, longest <= 1000 * run_arg(r, "bound"), "a pause of %u ms",
              (unsigned)(longest / 1000));
    trade_report(r, &out.downloads, "downloads", "downloads");
    run_figure(r, "kills", "kills under it", out.pause_us.n, "");
    run_figure_real(r, "pause_p50", "longest pause after a kill, median",
                    (double)town_percentile(&out.pause_us, 50) / 1000, "ms");
    run_figure_real(r, "pause_max", "longest pause", (double)longest / 1000, "ms");
    run_figure_real(r, "run_s", "real time of one run", out.seconds, "s");
    trade_tally_fini(&out.downloads);
    free(out.pause_us.v);
    cards_destroy(cards);
}

static const struct sim_param params[] = {
    { "nodes", 12, 12, 1000, "relays" },
    { "kills", 20, 1, 1000, "relays killed, one after another" },
    { "bound", 30000, 1, 1000000, "milliseconds: no pause is longer (2000 is what is wanted)" },
    { "rate", 50000, 100, 10000000, "bytes a second of the download" },
    MAZE_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_onion_kill;
const struct sim_scenario scenario_onion_kill = {
    .name = "onion-kill",
    .help = "kill -9 of relays under a download: every byte arrives, without long pauses",
    .params = params,
    .run = run,
};
