/* Records stay found while nodes come and go with a given half-life, and when half of all leave at
 * one instant. */
#include <string.h>

#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/probe.h"
#include "tests/sim/scenarios/replay.h"
#include "tests/sim/scenarios/shelf.h"

enum {
    PUBLISH_S = 20,    /* records are published over so long, */
    WAIT_S = 20,       /* ... and the last publication or lookup ends within this */
    AFTER_S = 30,      /* from the departure of half of all to the first lookup */
    AGAIN_S = 30,      /* lookups after it are spread over this */
    LOOKUPS_EACH = 10, /* no more than so many for a node: small runs stay short */
    DEPART_PERCENT = 50,
};

struct outcome {
    char hash[33];
    struct tally steady, nodes, after;
    struct put_tally puts;
    struct city_counters n;
    struct sim_stats st;
    uint32_t ready, up;
    uint64_t churn_calls;
    double seconds;
};

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static void churn_and_look(struct sim_run *r, struct city *c, struct shelf *s, struct outcome *out)
{
    uint64_t end = sim_now(c->w) + SIM_S(60 * run_arg(r, "minutes"));
    uint32_t lookups = at_most(run_arg(r, "lookups"), LOOKUPS_EACH * c->o.nodes);
    uint64_t before = city_totals(c).calls;
    city_churn(c, SIM_S(60 * run_arg(r, "half-life")));
    shelf_look_often(s, lookups, sim_now(c->w), end, &out->steady, &out->nodes);
    city_pass(c, r, end);
    city_calm(c);
    city_pass(c, r, sim_now(c->w) + SIM_S(WAIT_S));
    out->churn_calls = city_totals(c).calls - before;
    city_count(c, &out->ready, &out->up);
}

static void depart_and_look(struct sim_run *r, struct city *c, struct shelf *s, struct outcome *out)
{
    uint32_t lookups = at_most(run_arg(r, "lookups"), LOOKUPS_EACH / 2 * c->o.nodes);
    city_depart(c, DEPART_PERCENT);
    city_pass(c, r, sim_now(c->w) + SIM_S(AFTER_S));
    uint64_t from = sim_now(c->w);
    shelf_look_often(s, lookups, from, from + SIM_S(AGAIN_S), &out->after, NULL);
    city_pass(c, r, from + SIM_S(AGAIN_S + WAIT_S));
}

static void once(struct sim_run *r, struct cards *cards, void *outcome)
{
    struct outcome *out = outcome;
    struct city_options o = city_options_of(r, cards);
    double start = run_wall_seconds(r);
    *out = (struct outcome){ .ready = 0 };
    struct city *c = city_create(&o);
    struct shelf *s = shelf_create(c, 0, at_most(run_arg(r, "records"), o.nodes));
    city_settle(c, r);
    shelf_publish_all(s, SIM_S(PUBLISH_S), SHELF_KEEP);
    city_pass(c, r, sim_now(c->w) + SIM_S(PUBLISH_S + WAIT_S));
    churn_and_look(r, c, s, out);
    depart_and_look(r, c, s, out);
    city_check(c, r);
    out->n = city_totals(c);
    sim_stats(c->w, &out->st);
    sim_hash(c->w, out->hash);
    run_hash(r, c->w);
    city_destroy(c);
    out->puts = s->puts;
    s->puts = (struct put_tally){ .asked = 0 };
    shelf_destroy(s);
    out->seconds = run_wall_seconds(r) - start;
}

static void outcome_fini(void *outcome)
{
    struct outcome *out = outcome;
    tally_fini(&out->steady);
    tally_fini(&out->nodes);
    tally_fini(&out->after);
    put_tally_fini(&out->puts);
}

static void check(struct sim_run *r, const struct outcome *out)
{
    uint64_t nodes = run_arg(r, "nodes");
    struct tally all = out->steady;
    tally_check(r, &all, 999, "records under churn");
    tally_check(r, &out->nodes, 999, "node records under churn");
    tally_check(r, &out->after, 990, "records after half of all left");
    tally_check_hops(r, &out->steady, nodes);
    run_check(r, out->puts.few + out->puts.unable <= out->puts.asked / 100,
              "%u of %u publications failed", (unsigned)(out->puts.few + out->puts.unable),
              (unsigned)out->puts.asked);
}

static void report(struct sim_run *r, struct outcome *out)
{
    uint64_t nodes = run_arg(r, "nodes");
    double node_minutes = (double)(nodes * run_arg(r, "minutes"));
    tally_report(r, &out->steady, "churn", "records under churn");
    run_figure_real(r, "log16", "log_16(nodes)", (double)city_log16_milli(nodes) / 1000, "");
    tally_report(r, &out->nodes, "nodes_churn", "node records");
    tally_report(r, &out->after, "after", "half of all left");
    run_figure(r, "puts", "publications", out->puts.asked, "");
    run_figure(r, "puts_stored", "publications done", out->puts.stored, "");
    run_figure(r, "copies_p50", "stores that took one, median",
               town_percentile(&out->puts.copies, 50), "");
    run_figure(r, "up", "nodes up before the departure", out->up, "");
    run_figure(r, "ready", "nodes that were ready", out->ready, "");
    run_figure(r, "newcomers", "nodes replaced by new ones", out->n.folk.newcomers, "");
    run_figure(r, "leaves", "departures in order", out->n.folk.leaves, "");
    run_figure(r, "crashes", "crashes", out->n.folk.crashes, "");
    run_figure_real(r, "calls_per_node_minute", "requests, for a node and minute",
                    (double)out->churn_calls / node_minutes, "");
    run_figure(r, "calls_timed_out", "requests without answer", out->n.calls_timed_out, "");
    run_figure(r, "events", "events", out->st.events, "");
    run_figure_real(r, "run_s", "real time of one run", out->seconds, "s");
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
    if (!run_check(r, run_arg(r, "contacts") < run_arg(r, "nodes"), "more nodes than contacts"))
        return;
    replay_run(r, &x);
}

static const struct sim_param params[] = {
    { "nodes", 200, 10, 100000, "nodes at any time" },
    { "minutes", 6, 1, 100000, "virtual time under churn" },
    { "half-life", 30, 1, 100000, "minutes after which half of the nodes are others" },
    { "records", 100, 1, 100000, "records published (at most one for each node)" },
    { "lookups", 1000, 10, 1000000, "lookups under churn, and again after the departure" },
    REPLAY_PARAM,
    CITY_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_dht_churn;
const struct sim_scenario scenario_dht_churn = {
    .name = "dht-churn",
    .help = "records stay found while nodes come and go, and when half of them leave at once",
    .params = params,
    .run = run,
};
