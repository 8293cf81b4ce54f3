/* What lookups and a node's memory cost as the network grows. */
#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/probe.h"
#include "tests/sim/scenarios/shelf.h"

enum {
    PUBLISH_S = 20,
    WAIT_S = 20,
    LOOK_S = 60,
    LOOKUPS_EACH = 10, /* no more than so many for a node: small runs stay short */
};

static const uint32_t sizes[] = { 100, 1000, 10000, 50000 };

struct outcome {
    uint32_t nodes, ready;
    struct tally records;
    struct put_tally puts;
    uint64_t join_calls, join_handshakes, join_datagrams, memory;
    uint64_t contacts;
    double seconds;
};

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static void note_join(const struct city *c, uint64_t before, struct outcome *out)
{
    struct city_counters n = city_totals(c);
    struct sim_stats st;
    uint64_t now = city_allocated_bytes();
    uint32_t up;
    sim_stats(c->w, &st);
    city_count(c, &out->ready, &up);
    out->join_calls = n.calls;
    out->join_handshakes = n.handshakes;
    out->join_datagrams = st.sent;
    out->memory = now > before ? (now - before) / c->folk.n_nodes : 0;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        struct dht_stats ds;
        if (!city_at(c, i)->base.is_started)
            continue;
        dht_get_stats(city_at(c, i)->dht, &ds);
        out->contacts += ds.contacts;
    }
}

static void once(struct sim_run *r, struct cards *cards, uint32_t nodes, struct outcome *out)
{
    struct city_options o = city_options_of(r, cards);
    double start = run_wall_seconds(r);
    *out = (struct outcome){ .nodes = nodes };
    o.nodes = nodes;
    (void)cards_get(cards, CARD_NODE, nodes); /* not a node's memory */
    uint64_t before = city_allocated_bytes();
    struct city *c = city_create(&o);
    city_settle(c, r);
    note_join(c, before, out);
    struct shelf *s = shelf_create(c, 0, at_most(run_arg(r, "records"), nodes));
    shelf_publish_all(s, SIM_S(PUBLISH_S), SHELF_ONCE);
    city_pass(c, r, sim_now(c->w) + SIM_S(PUBLISH_S + WAIT_S));
    uint64_t from = sim_now(c->w);
    shelf_look_often(s, at_most(run_arg(r, "lookups"), LOOKUPS_EACH * nodes), from,
                     from + SIM_S(LOOK_S), &out->records, NULL);
    city_pass(c, r, from + SIM_S(LOOK_S + WAIT_S));
    city_check(c, r);
    run_hash(r, c->w);
    city_destroy(c);
    out->puts = s->puts;
    s->puts = (struct put_tally){ .asked = 0 };
    shelf_destroy(s);
    out->seconds = run_wall_seconds(r) - start;
}

static void check(struct sim_run *r, const struct outcome *out)
{
    tally_check(r, &out->records, 999, run_text(r, "%u nodes", out->nodes));
    tally_check_hops(r, &out->records, out->nodes);
    run_check(r, out->ready == out->nodes, "%u of %u nodes are ready", out->ready, out->nodes);
    run_check(r, out->puts.stored == out->puts.asked, "%u nodes: %u of %u publications were stored",
              out->nodes, (unsigned)out->puts.stored, (unsigned)out->puts.asked);
}

/* Keys end in the number of nodes. */
static void figure(struct sim_run *r, const struct outcome *out, const char *key, const char *label,
                   double value, const char *unit)
{
    run_figure_real(r, run_text(r, "%s_%u", key, out->nodes),
                    run_text(r, "%u nodes: %s", out->nodes, label), value, unit);
}

static void report(struct sim_run *r, struct outcome *out)
{
    double n = out->nodes;
    struct tally *t = &out->records;
    const char *name = run_text(r, "at_%u", out->nodes);
    tally_report(r, t, name, run_text(r, "%u nodes", out->nodes));
    figure(r, out, "log16", "log_16(nodes)", (double)city_log16_milli(out->nodes) / 1000, "");
    figure(r, out, "memory", "memory of a node, its world included", (double)out->memory, "bytes");
    figure(r, out, "contacts", "contacts of a node's table", (double)out->contacts / n, "");
    figure(r, out, "join_calls", "requests sent to join, a node", (double)out->join_calls / n, "");
    figure(r, out, "join_handshakes", "handshakes to join, a node",
           (double)out->join_handshakes / n, "");
    figure(r, out, "join_datagrams", "datagrams to join, a node", (double)out->join_datagrams / n,
           "");
    figure(r, out, "run_s", "real time", out->seconds, "s");
}

static void one_size(struct sim_run *r, struct cards *cards, uint32_t nodes)
{
    struct outcome out;
    once(r, cards, nodes, &out);
    check(r, &out);
    report(r, &out);
    tally_fini(&out.records);
    put_tally_fini(&out.puts);
}

static void run(struct sim_run *r)
{
    uint32_t nodes = (uint32_t)run_arg(r, "nodes");
    if (!run_check(r, run_arg(r, "contacts") < nodes, "more nodes than contacts"))
        return;
    struct cards *cards = cards_create(run_seed(r));
    if (run_arg(r, "sweep") == 0)
        one_size(r, cards, nodes);
    for (size_t i = 0; run_arg(r, "sweep") != 0 && i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] <= nodes)
            one_size(r, cards, sizes[i]);
    cards_destroy(cards);
}

static const struct sim_param params[] = {
    { "nodes", 300, 10, 50000, "nodes" },
    { "sweep", 0, 0, 1, "runs 100, 1000, 10000 and 50000 nodes, as far as `nodes`" },
    { "records", 100, 1, 100000, "records published (at most one for each node)" },
    { "lookups", 1000, 10, 1000000, "lookups of them" },
    CITY_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_dht_scale;
const struct sim_scenario scenario_dht_scale = {
    .name = "dht-scale",
    .help = "hops, requests, latency and memory as the network grows",
    .params = params,
    .run = run,
};
