/* A flood of splices at one hidden service. Its pivots ask for work; visitors who do it get in, the
 * service holds no more than before, and when the flood is over the work is, too. */
#include <string.h>

#include "tests/sim/scenarios/replay.h"
#include "tests/sim/scenarios/siege.h"
#include "tests/sim/scenarios/town.h"

enum {
    REQUEST = 500,
    ANSWER = 2000,
    BEFORE_S = 5,
    GAP_S = 3,         /* between two honest visits of one client */
    RISEN_S = 20,      /* the effort has risen by then */
    LIMIT_MS = 5000,   /* for a visitor's first byte from then on */
    CALM_S = 200,      /* the effort is gone by then */
    AGAIN_S = 10,      /* visits after the flood */
    SPARE = 32,        /* a load this much above another isn't more */
    CONNECTIONS = 512, /* bounds of protocol.md, section 16 */
    HELD = 4096,
    CROWD_PATIENCE_S = 20,
    DUE = 950,
};

struct outcome {
    char hash[33];
    struct trade_tally before, early, paid, after, crowd;
    struct siege_load first, second;    /* most of each, in the halves of the flood */
    uint32_t effort_least, effort_most; /* after RISEN_S */
    uint64_t effort_end, risen_ms, calm_s;
    uint64_t sent, unsent, spliced, dropped, refused, gave_way, work;
    double seconds;
};

struct runner {
    struct sim_run *r;
    struct maze *m;
    struct trade *t;
    struct siege *s;
    struct outcome *out;
    uint32_t clients, dialers, next_tag;
};

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void keep_most(struct siege_load *a, const struct siege_load *b)
{
    a->connections = most(a->connections, b->connections);
    a->splices = most(a->splices, b->splices);
    a->held = most(a->held, b->held);
    a->buffered = most(a->buffered, b->buffered);
}

/* Each on a connection and a path of its own. */
static void visit(struct runner *q, uint32_t client, uint64_t in_ns, struct trade_tally *t)
{
    const struct trade_order o = { .client = 1 + client,
                                   .host = 0,
                                   .request = REQUEST,
                                   .answer = ANSWER,
                                   .tag = ++q->next_tag,
                                   .tally = t };
    trade_visit(q->t, &o, in_ns);
}

static void visits(struct runner *q, uint64_t from_s, uint64_t until_s, struct trade_tally *t)
{
    for (uint32_t i = 0; i < q->clients; i++)
        for (uint64_t at = SIM_S(from_s) + i * SIM_S(GAP_S) / q->clients; at < SIM_S(until_s);
             at += SIM_S(GAP_S))
            visit(q, i, at, t);
}

/* Users who come in the ordinary way, but far too often, and never read what they asked for. */
static void crowd(struct runner *q, uint64_t span_s)
{
    uint64_t each = run_arg(q->r, "dials");
    for (uint32_t i = 0; i < q->dialers; i++)
        for (uint64_t k = 0; k < each * span_s; k++) {
            const struct trade_order o = { .client = 1 + q->clients + i,
                                           .host = 0,
                                           .request = REQUEST,
                                           .answer = 100 * ANSWER,
                                           .tag = ++q->next_tag,
                                           .never_reads = true,
                                           .patience_ns = SIM_S(CROWD_PATIENCE_S),
                                           .tally = &q->out->crowd };
            trade_visit(q->t, &o, k * SIM_S(1) / each);
        }
}

/* Second by second: loads, and when the effort came. */
static void watch(struct runner *q, uint64_t span_s)
{
    uint64_t start = sim_now(q->m->w);
    for (uint64_t s = 0; s < 10 * span_s; s++) {
        struct siege_load now;
        uint32_t least, high;
        maze_pass(q->m, q->r, SIM_MS(100));
        siege_weigh(q->s, &now);
        siege_effort(q->s, &least, &high);
        keep_most(s < 5 * span_s ? &q->out->first : &q->out->second, &now);
        if (q->out->risen_ms == 0 && least > 0)
            q->out->risen_ms = (sim_now(q->m->w) - start) / 1000000;
        if (s == 10 * RISEN_S) {
            q->out->effort_least = least;
            q->out->effort_most = high;
        }
        q->out->effort_most = high > q->out->effort_most ? high : q->out->effort_most;
    }
}

static void flood(struct runner *q)
{
    uint64_t span = run_arg(q->r, "seconds");
    siege_set(q->s, run_arg(q->r, "rate"));
    crowd(q, span);
    visits(q, 1, RISEN_S - GAP_S, &q->out->early);
    visits(q, RISEN_S, span, &q->out->paid);
    watch(q, span);
    siege_set(q->s, 0);
}

static void calm(struct runner *q)
{
    uint32_t least = 1, high = 1;
    uint64_t start = sim_now(q->m->w);
    while (high > 0 && sim_now(q->m->w) < start + SIM_S(CALM_S)) {
        maze_pass(q->m, q->r, SIM_S(1));
        siege_effort(q->s, &least, &high);
    }
    q->out->effort_end = high;
    q->out->calm_s = (sim_now(q->m->w) - start) / SIM_S(1);
    visits(q, 0, AGAIN_S, &q->out->after);
    trade_wait(q->t, q->r);
}

static void count(struct runner *q)
{
    const struct maze *m = q->m;
    q->out->sent = q->s->sent;
    q->out->unsent = q->s->unsent;
    q->out->spliced = maze_metric(m, MAZE_RELAYS, "cyx_onion_spliced_total", NULL);
    q->out->refused = maze_metric(m, MAZE_RELAYS, "cyx_onion_splice_refused_total", NULL);
    q->out->dropped = maze_metric(m, MAZE_RELAYS, "cyx_onion_build_dropped_total", "budget");
    q->out->gave_way = maze_metric(m, MAZE_RELAYS, "cyx_onion_splices_gave_way_total", NULL);
    q->out->work = maze_metric(m, MAZE_USERS, "cyx_onion_work_total", NULL);
}

static void once(struct sim_run *r, struct cards *cards, void *outcome)
{
    struct outcome *out = outcome;
    double start = run_wall_seconds(r);
    struct runner q = { .r = r, .out = out };
    q.clients = (uint32_t)run_arg(r, "clients");
    q.dialers = (uint32_t)run_arg(r, "dialers");
    struct maze_options o = maze_options_of(r, cards, 1 + q.clients + q.dialers);
    *out = (struct outcome){ .sent = 0 };
    q.t = trade_create(1);
    o.hooks = trade_hooks(q.t);
    q.m = maze_create(&o);
    trade_open(q.t, q.m);
    maze_settle(q.m, r);
    trade_settle(q.t, r);
    q.s = siege_create(q.t, (uint32_t)run_arg(r, "attackers"));
    visits(&q, 0, BEFORE_S, &out->before);
    trade_wait(q.t, r);
    flood(&q);
    calm(&q);
    count(&q);
    maze_check(q.m, r);
    trade_check(q.t, r, &out->paid, "visits");
    trade_check(q.t, r, &out->crowd, "crowd");
    sim_hash(q.m->w, out->hash);
    run_hash(r, q.m->w);
    maze_destroy(q.m);
    trade_destroy(q.t);
    siege_destroy(q.s);
    out->seconds = run_wall_seconds(r) - start;
}

static void check(struct sim_run *r, const struct outcome *out, struct trade_tally *paid)
{
    run_check(r, out->sent > 0 && out->risen_ms > 0 && out->effort_least > 0,
              "the effort did not rise");
    run_check(r, trade_permille(paid) >= DUE, "%u of %u visitors got in", (unsigned)paid->done,
              (unsigned)paid->asked);
    run_check(r, town_percentile(&paid->first_us, 95) <= LIMIT_MS * 1000, "a visitor waited %u ms",
              (unsigned)(town_percentile(&paid->first_us, 95) / 1000));
    run_check(r, out->second.splices <= out->first.splices * 11 / 10 + SPARE,
              "splices at the service grew from %u to %u", (unsigned)out->first.splices,
              (unsigned)out->second.splices);
    run_check(r, out->first.connections <= CONNECTIONS && out->second.connections <= CONNECTIONS,
              "more connections than the bound");
    run_check(r, out->first.held <= HELD && out->second.held <= HELD,
              "more packets held than the bound");
    run_check(r, out->effort_end == 0, "the effort is still %u", (unsigned)out->effort_end);
    run_check(r, trade_permille(&out->after) >= DUE, "%u of %u visits after the flood",
              (unsigned)out->after.done, (unsigned)out->after.asked);
}

static void first_byte(struct sim_run *r, struct trade_tally *t, const char *key)
{
    run_figure_real(r, run_text(r, "%s_p50", key), run_text(r, "%s: first byte, median", key),
                    (double)town_percentile(&t->first_us, 50) / 1000, "ms");
    run_figure_real(r, run_text(r, "%s_max", key), run_text(r, "%s: first byte, most", key),
                    (double)town_percentile(&t->first_us, 100) / 1000, "ms");
}

static void report_load(struct sim_run *r, const struct siege_load *l, const char *key)
{
    run_figure(r, run_text(r, "%s_connections", key), run_text(r, "%s: connections, most", key),
               l->connections, "");
    run_figure(r, run_text(r, "%s_splices", key), run_text(r, "%s: splices, most", key), l->splices,
               "");
    run_figure(r, run_text(r, "%s_held", key), run_text(r, "%s: packets held, most", key), l->held,
               "");
    run_figure(r, run_text(r, "%s_buffered", key), run_text(r, "%s: bytes buffered, most", key),
               l->buffered, "");
}

static void report(struct sim_run *r, struct outcome *out)
{
    run_figure(r, "sent", "trains of the flood", out->sent, "");
    run_figure(r, "unsent", "... that found no room on the link", out->unsent, "");
    run_figure(r, "dropped", "builds dropped by budgets", out->dropped, "");
    run_figure(r, "refused", "splices refused", out->refused, "");
    run_figure(r, "spliced", "splices made", out->spliced, "");
    run_figure(r, "gave_way", "splices that gave way to payers", out->gave_way, "");
    run_figure_real(r, "risen", "all pivots asked for work after", (double)out->risen_ms / 1000,
                    "s");
    run_figure(r, "effort", "work asked for, most", out->effort_most, "");
    run_figure(r, "work", "proofs that users made", out->work, "");
    run_figure(r, "calm", "no work asked for, after the flood", out->calm_s, "s");
    trade_report(r, &out->before, "before", "before");
    first_byte(r, &out->before, "before");
    trade_report(r, &out->early, "early", "early");
    first_byte(r, &out->early, "early");
    trade_report(r, &out->paid, "paid", "paid");
    first_byte(r, &out->paid, "paid");
    trade_report(r, &out->after, "after", "after");
    first_byte(r, &out->after, "after");
    trade_report(r, &out->crowd, "crowd", "crowd");
    report_load(r, &out->first, "first_half");
    report_load(r, &out->second, "second_half");
    run_figure_real(r, "run_s", "real time of one run", out->seconds, "s");
}

static void outcome_fini(void *outcome)
{
    struct outcome *out = outcome;
    trade_tally_fini(&out->before);
    trade_tally_fini(&out->early);
    trade_tally_fini(&out->paid);
    trade_tally_fini(&out->after);
    trade_tally_fini(&out->crowd);
}

static void judge(struct sim_run *r, void *outcome)
{
    struct outcome *out = outcome;
    check(r, out, &out->paid);
    report(r, out);
}

static void run(struct sim_run *r)
{
    static const struct replay x = {
        .size = sizeof(struct outcome), .once = once, .judge = judge, .fini = outcome_fini
    };
    if (!run_check(r, run_arg(r, "contacts") + run_arg(r, "attackers") < run_arg(r, "nodes"),
                   "more relays than contacts and attackers") ||
        !run_check(r, run_arg(r, "seconds") > RISEN_S, "more than %d s of flood", RISEN_S))
        return;
    replay_run(r, &x);
}

static const struct sim_param params[] = {
    { "nodes", 24, 12, 1000, "relays" },
    { "attackers", 4, 1, 100, "relays that flood" },
    { "rate", 300, 0, 100000, "trains a second of all attackers together" },
    { "clients", 3, 1, 100, "honest users" },
    { "dialers", 1, 0, 100, "users who come too often" },
    { "dials", 2, 1, 1000, "visits a second of each of these" },
    { "seconds", 32, 21, 10000, "of flood" },
    REPLAY_PARAM,
    MAZE_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_onion_flood;
const struct sim_scenario scenario_onion_flood = {
    .name = "onion-flood",
    .help = "a flood of splices at a hidden service: who does the work gets in",
    .params = params,
    .run = run,
};
