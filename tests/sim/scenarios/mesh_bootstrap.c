/* Nodes join over a window through a few bootstrap nodes, over a network that
 * loses, reorders, doubles and corrupts, while machines leave, crash, come back
 * and move. When it has been quiet for a while, every listed node that has been
 * up for a minute holds links, and they answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/scenarios/probe.h"
#include "tests/sim/scenarios/town.h"

enum {
    QUIET_S = 90,    /* at the end, without new accidents */
    SETTLED_S = 60,  /* who has been up this long must hold links */
    PING_TRIES = 8,  /* a ping and its answer both survive 5% loss nine times in ten */
    PING_WAIT_S = 4, /* above mesh_ping's own 3 s */
};

/* One run's outcome. */
struct outcome {
    char hash[33];
    struct town_counters n;
    struct sim_stats st;
    struct town_samples links, first_link, ready;
    uint64_t up, settled, memory;
    double seconds;
};

/* ---- checks at the end ---- */

struct pinger {
    struct town_node *me;
    unsigned n_tries;
    bool is_asked; /* it was settled when the pings began: who settles later has fewer tries */
    bool is_waiting, has_answer;
};

struct pick {
    unsigned skip;
    struct mesh_link *l;
};

/* Takes the link that is up after `skip` others, or the last one. */
static bool pick_up(void *arg, struct mesh_link *l)
{
    struct mesh_link_info info;
    struct pick *want = arg;
    mesh_link_info(l, &info);
    if (info.state != MESH_LINK_UP)
        return true;
    want->l = l;
    return want->skip-- > 0;
}

static void ponged(void *arg, int code, uint64_t rtt_ns)
{
    struct pinger *p = arg;
    (void)rtt_ns;
    p->is_waiting = false;
    p->has_answer = p->has_answer || code == 0;
}

static bool count_up(void *arg, struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    *(uint64_t *)arg += info.state == MESH_LINK_UP;
    return true;
}

/* Another link for each try, spread over all: the other end of one may just have gone. */
static void ping(void *arg)
{
    struct pinger *p = arg;
    uint64_t links = 0;
    if (p->me->mesh == NULL)
        return;
    mesh_links_each(p->me->mesh, count_up, &links);
    struct pick want = { .skip = (unsigned)(links * p->n_tries++ / PING_TRIES) };
    mesh_links_each(p->me->mesh, pick_up, &want);
    if (want.l != NULL && mesh_ping(want.l, ponged, p) == 0)
        p->is_waiting = true;
}

static bool is_settled(const struct town_node *me)
{
    uint64_t now = sim_now(me->town->w);
    return sim_node_is_up(me->node) && me->kind != TOWN_USER &&
           me->boot_ns + SIM_S(SETTLED_S) <= now;
}

static void check_pings(struct sim_run *r, struct town *t)
{
    struct pinger *pingers = calloc(t->o.nodes, sizeof *pingers);
    if (pingers == NULL)
        abort();
    for (uint32_t i = 0; i < t->o.nodes; i++) {
        pingers[i].me = &t->nodes[i];
        pingers[i].is_asked = is_settled(&t->nodes[i]);
    }
    for (unsigned round = 0; round < PING_TRIES; round++) {
        for (uint32_t i = 0; i < t->o.nodes; i++) {
            struct pinger *p = &pingers[i];
            if (p->is_asked && !p->has_answer && !p->is_waiting)
                sim_node_enter(p->me->node, ping, p);
        }
        run_for(t->w, SIM_S(PING_WAIT_S));
    }
    for (uint32_t i = 0; i < t->o.nodes; i++)
        if (pingers[i].is_asked && sim_node_is_up(t->nodes[i].node))
            run_check(r, pingers[i].has_answer, "node %u: none of %u links answered a ping", i,
                      pingers[i].n_tries);
    free(pingers);
}

static void check_links(struct sim_run *r, struct town *t, struct outcome *out)
{
    uint64_t floor = run_arg(r, "floor");
    if (floor > t->o.nodes - 1)
        floor = t->o.nodes - 1;
    for (uint32_t i = 0; i < t->o.nodes; i++) {
        const struct town_node *me = &t->nodes[i];
        uint64_t links = 0;
        if (me->mesh == NULL)
            continue;
        out->up++;
        mesh_links_each(me->mesh, count_up, &links);
        town_sample(&out->links, links);
        if (!is_settled(me))
            continue;
        out->settled++;
        run_check(r, links >= floor, "node %u: %u links after %u s", i, (unsigned)links,
                  (unsigned)((sim_now(t->w) - me->boot_ns) / SIM_S(1)));
    }
    run_check(r, out->settled >= t->o.nodes / 4, "only %u of %u nodes were up for a minute",
              (unsigned)out->settled, t->o.nodes);
}

static void note_ready(struct town *t, struct outcome *out)
{
    for (uint32_t i = 0; i < t->o.nodes; i++) {
        struct mesh_status st;
        if (t->nodes[i].mesh == NULL)
            continue;
        mesh_get_status(t->nodes[i].mesh, &st);
        if (st.ready_ns != 0)
            town_sample(&out->ready, st.ready_ns - st.started_ns);
    }
}

/* ---- one run ---- */

/* Bytes this process holds; a figure, nothing decides on it. */
static uint64_t resident_bytes(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void pass_time(struct sim_run *r, struct town *t, uint64_t until)
{
    while (sim_now(t->w) < until) {
        struct sim_stats st;
        run_for(t->w, SIM_S(1));
        sim_stats(t->w, &st);
        run_progress(r, "virtual second %u, %u datagrams", (unsigned)(sim_now(t->w) / SIM_S(1)),
                     (unsigned)st.sent);
    }
}

static struct town_options options_of(const struct sim_run *r)
{
    return (struct town_options){
        .seed = run_seed(r),
        .nodes = (uint32_t)run_arg(r, "nodes"),
        .bootstrap = (uint32_t)run_arg(r, "bootstrap"),
        .nat_percent = (uint32_t)run_arg(r, "nat"),
        .window_ns = SIM_S(run_arg(r, "window")),
        .loss_ppm = (uint32_t)run_arg(r, "loss") * 10000u,
    };
}

static void finish(struct sim_run *r, struct town *t, struct outcome *out)
{
    out->n = t->n;
    for (uint32_t i = 0; i < t->o.nodes; i++)
        town_count(&t->nodes[i], &out->n);
    sim_hash(t->w, out->hash);
    sim_stats(t->w, &out->st);
    run_hash(r, t->w);
    out->first_link = t->first_link;
    t->first_link = (struct town_samples){ 0 };
    town_destroy(t);
}

static void once(struct sim_run *r, struct outcome *out)
{
    struct town_options o = options_of(r);
    uint64_t end = SIM_S(run_arg(r, "minutes") * 60);
    uint64_t before = resident_bytes();
    double start = run_wall_seconds(r);
    *out = (struct outcome){ 0 };
    struct town *t = town_create(&o);
    pass_time(r, t, SIM_S(1) + o.window_ns);
    /* `churn` of a thousand nodes a minute. */
    uint64_t churn = run_arg(r, "churn") * o.nodes;
    if (churn > 0)
        town_churn(t, SIM_S(60) * 1000 / churn);
    pass_time(r, t, end - SIM_S(QUIET_S));
    town_calm(t);
    pass_time(r, t, end);
    uint64_t after = resident_bytes();
    out->memory = after > before ? (after - before) / o.nodes : 0;
    note_ready(t, out);
    check_links(r, t, out);
    check_pings(r, t);
    run_check(r, t->n.failures == 0, "%u failures, the first: %s", (unsigned)t->n.failures,
              t->n.failure);
    finish(r, t, out);
    out->seconds = run_wall_seconds(r) - start;
}

/* ---- figures ---- */

static void report_drops(struct sim_run *r, const struct town_counters *n)
{
    static char keys[DROP_COUNT_][2][40];
    for (unsigned i = 1; i < DROP_COUNT_; i++) {
        if (n->drops[i] == 0)
            continue;
        snprintf(keys[i][0], sizeof keys[i][0], "drop_%s", drop_name((enum drop)i));
        snprintf(keys[i][1], sizeof keys[i][1], "dropped: %s", drop_name((enum drop)i));
        run_figure(r, keys[i][0], keys[i][1], n->drops[i], "packets");
    }
}

static void report_times(struct sim_run *r, struct outcome *out)
{
    run_figure(r, "first_link_ms_p50", "first link, median",
               town_percentile(&out->first_link, 50) / SIM_MS(1), "ms");
    run_figure(r, "first_link_ms_p99", "first link, p99",
               town_percentile(&out->first_link, 99) / SIM_MS(1), "ms");
    run_figure(r, "ready_ms_p50", "ready, median", town_percentile(&out->ready, 50) / SIM_MS(1),
               "ms");
    run_figure(r, "ready_ms_p99", "ready, p99", town_percentile(&out->ready, 99) / SIM_MS(1), "ms");
    run_figure(r, "links_min", "links of a node, least", town_percentile(&out->links, 0), "");
    run_figure(r, "links_p50", "links of a node, median", town_percentile(&out->links, 50), "");
    run_figure(r, "links_max", "links of a node, most", town_percentile(&out->links, 100), "");
}

static void report(struct sim_run *r, struct outcome *out)
{
    const struct town_counters *n = &out->n;
    double node_s = (double)n->node_ns / 1e9;
    run_figure(r, "up", "nodes up at the end", out->up, "");
    run_figure(r, "settled", "listed ones up for a minute", out->settled, "");
    report_times(r, out);
    run_figure(r, "handshakes", "handshakes answered", n->handshakes_in, "");
    run_figure(r, "links_up", "links that came up", n->links_up, "");
    run_figure(r, "rekeys", "rekeys", n->rekeys, "");
    run_figure(r, "roams", "addresses followed", n->roams, "");
    run_figure(r, "calls_timed_out", "requests without answer", n->calls_timed_out, "");
    run_figure_real(r, "bytes_per_node_s", "sent, for a node and second",
                    (double)out->st.sent_bytes / node_s, "bytes");
    run_figure_real(r, "packets_per_node_s", "sent, for a node and second",
                    (double)out->st.sent / node_s, "packets");
    report_drops(r, n);
    run_figure(r, "leaves", "orderly departures", n->leaves, "");
    run_figure(r, "crashes", "crashes", n->crashes, "");
    run_figure(r, "wipes", "crashes with loss of the disk", n->wipes, "");
    run_figure(r, "moves", "changes of address", n->moves, "");
    run_figure(r, "lost", "datagrams lost on the way", out->st.lost, "");
    run_figure(r, "events", "events", out->st.events, "");
    run_figure(r, "memory_per_node", "memory of a node, world included", out->memory, "bytes");
    run_figure_real(r, "run_s", "real time of one run", out->seconds, "s");
}

static void outcome_fini(struct outcome *out)
{
    free(out->links.v);
    free(out->first_link.v);
    free(out->ready.v);
}

static void run(struct sim_run *r)
{
    struct outcome first, again;
    if (!run_check(r,
                   run_arg(r, "bootstrap") < run_arg(r, "nodes") &&
                       run_arg(r, "minutes") * 60 > run_arg(r, "window") + QUIET_S,
                   "more nodes than bootstrap nodes, more minutes than window "
                   "and %u s of quiet",
                   QUIET_S))
        return;
    once(r, &first);
    report(r, &first);
    if (run_arg(r, "replay") != 0) {
        once(r, &again);
        run_check(r, strcmp(first.hash, again.hash) == 0, "a run and its replay: %s and %s",
                  first.hash, again.hash);
        outcome_fini(&again);
    }
    outcome_fini(&first);
}

/* At least two bootstrap nodes: an address is believed when two prefixes have seen it, and who has
 * no address publishes no record. */
static const struct sim_param params[] = {
    { "nodes", 200, 5, 100000, "nodes" },
    { "minutes", 5, 2, 100000, "virtual time" },
    { "bootstrap", 4, 2, 1000, "bootstrap nodes" },
    { "window", 30, 1, 100000, "seconds within which all join" },
    { "loss", 5, 0, 50, "percent of datagrams lost" },
    { "nat", 20, 0, 90, "percent of nodes behind NATs (unlisted users)" },
    { "churn", 50, 0, 1000, "accidents a minute for a thousand nodes" },
    { "floor", 4, 1, 8, "links a settled node must hold" },
    { "replay", 1, 0, 1, "runs it twice and compares" },
    { 0 },
};

extern const struct sim_scenario scenario_mesh_bootstrap;
const struct sim_scenario scenario_mesh_bootstrap = {
    .name = "mesh-bootstrap",
    .help = "nodes find each other under loss, NATs and churn, and hold links "
            "that answer",
    .params = params,
    .run = run,
};
