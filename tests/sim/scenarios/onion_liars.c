/* A share of the relays lies, in one way after another; then clients that misbehave, and a service
 * that vanishes. Whatever they do, a stream brings exactly the bytes that were sent or ends with an
 * error, and honest visits mostly succeed. */
#include <stdlib.h>
#include <string.h>

#include "onion/service_internal.h"
#include "tests/sim/scenarios/builds.h"
#include "tests/sim/scenarios/rogue.h"
#include "tests/sim/scenarios/seek.h"
#include "tests/sim/scenarios/trade.h"

enum {
    OTHER_ANSWER = 60000, /* bytes, beside marked cells: those need more to be noticed */
    REQUEST = 3000,
    PATIENCE_S = 90, /* longer than a visit has to tell what went wrong */
    VISITS_S = 8,    /* visits begin within this */
    REST_S = 2,      /* from one kind to the next: what was held back is out */
    PESTER_MS = 20,
    PEST_ANSWER = 4000000, /* that is never read */
    VANISH_AFTER_S = 3,
    VANISH_FOR_S = 5,
    VANISH_PACE = 20000, /* bytes a second: nobody is done by then */
    VANISH_ANSWER = 200000,
    VANISH_PATIENCE_S = 200, /* a client must know it before */
    LIES_DUE = 700,   /* of 1000 visits, among a fifth of liars: few are made, so one is a lot */
    HONEST_DUE = 990, /* of 1000 visits, where nobody lies */
    JUNK_ROUNDS = 40,
    SEEKS = 24, /* lookups of the descriptor */
    SEEK_S = 6, /* between two of one client: younger ones are remembered */
    SEEK_WAIT_S = 25,
};

enum {
    PASS_PATHS = ROGUE_KINDS_, /* a client opens paths without end */
    PASS_JUNK,                 /* ... and sends junk over them */
    PASS_DEAF,                 /* clients that never read */
    PASS_VANISH,               /* the service's machine loses power */
    PASS_STALE,                /* it is back: first visits of clients who know what isn't so */
    PASS_AFTER,                /* ... and later ones */
    PASSES,
};

struct outcome {
    struct trade_tally visits, pests;
    struct seek_tally seeks;
    uint64_t touched, noise, paths_dropped, replaced;
    bool was_run;
};

struct runner {
    struct sim_run *r;
    struct maze *m;
    struct trade *t;
    struct rogues *g;
    struct outcome *out; /* of all passes */
    struct builds *pest;
    uint32_t clients, next_tag;
};

static const char *pass_name(unsigned pass)
{
    static const char *const names[] = {
        "paths", "junk_client", "deaf", "vanish", "stale", "after"
    };
    return pass < ROGUE_KINDS_ ? rogue_name((enum rogue_kind)pass) : names[pass - ROGUE_KINDS_];
}

/* ---- visits ---- */

/* The client is the host's neighbour in number; the last user is the pest. */
static struct trade_order order(struct runner *q, uint32_t i, uint32_t answer,
                                struct trade_tally *t)
{
    return (struct trade_order){ .client = 1 + i % q->clients,
                                 .host = 0,
                                 .request = REQUEST,
                                 .answer = answer,
                                 .tag = ++q->next_tag, /* so that each has a path of its own */
                                 .patience_ns = SIM_S(PATIENCE_S),
                                 .tally = t };
}

static void visits(struct runner *q, struct trade_tally *t, uint32_t answer)
{
    uint64_t n = run_arg(q->r, "visits");
    for (uint32_t i = 0; i < n; i++) {
        const struct trade_order o = order(q, i, answer, t);
        trade_visit(q->t, &o, sim_random_below(q->m->w, SIM_S(VISITS_S)));
    }
}

/* A counter that went down went with its node. */
static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static uint64_t noise_of(const struct maze *m)
{
    return maze_metric(m, MAZE_ALL, "cyx_onion_own_cells_noise_total", NULL) +
           maze_metric(m, MAZE_RELAYS, "cyx_onion_cells_dropped_total", "noise");
}

/* ---- passes ---- */

static void pester(struct runner *q)
{
    if (q->pest == NULL)
        q->pest = builds_create(q->m, true);
    for (unsigned i = 0; i < run_arg(q->r, "pest-paths"); i++)
        builds_add(q->pest, 1 + q->clients, 3, i * SIM_MS(PESTER_MS));
}

static void junk(struct runner *q, struct outcome *out)
{
    for (unsigned i = 0; i < JUNK_ROUNDS; i++) {
        out->touched += builds_junk(q->pest);
        maze_pass(q->m, q->r, SIM_MS(100));
    }
}

static void deafen(struct runner *q, struct outcome *out)
{
    for (uint32_t i = 0; i < q->clients; i++) {
        struct trade_order o = order(q, i, PEST_ANSWER, &out->pests);
        o.client = 1 + q->clients;
        o.never_reads = true;
        trade_visit(q->t, &o, 0);
    }
}

static void vanish(struct runner *q, struct outcome *out)
{
    for (uint32_t i = 0; i < q->clients; i++) {
        struct trade_order o = order(q, i, VANISH_ANSWER, &out->visits);
        o.pace = VANISH_PACE;
        o.patience_ns = SIM_S(VANISH_PATIENCE_S);
        trade_visit(q->t, &o, 0);
    }
    maze_pass(q->m, q->r, SIM_S(VANISH_AFTER_S));
    maze_cut(maze_user(q->m, 0), SIM_S(VANISH_FOR_S));
}

/* All pivots of the descriptor but one are liars: a visitor finds the one that isn't. */
static void recruit_pivots(struct runner *q)
{
    const struct onion_service *s = q->t->hosts[0].s;
    const struct service_period *p = &s->periods[0];
    for (unsigned i = 0; p->published_s == 0 && i < SERVICE__PERIODS; i++)
        p = &s->periods[i];
    rogues_spare(q->g, p->pivots[0].id);
    for (unsigned i = 1; i < s->n_pivots; i++)
        if (p->pivots[i].p != NULL)
            rogues_recruit(q->g, p->pivots[i].id);
}

static void seek_all(struct runner *q, struct outcome *out)
{
    for (uint32_t i = 0; i < SEEKS; i++)
        seek(q->t, 1 + i % q->clients, &out->seeks, (1 + i / q->clients) * SIM_S(SEEK_S));
    maze_pass(q->m, q->r, (2 + SEEKS / q->clients) * SIM_S(SEEK_S) + SIM_S(SEEK_WAIT_S));
}

static void stale(struct runner *q, struct outcome *out)
{
    trade_settle(q->t, q->r);
    for (uint32_t i = 0; i < q->clients; i++) {
        const struct trade_order o = order(q, i, OTHER_ANSWER, &out->visits);
        trade_visit(q->t, &o, 0);
    }
}

static void begin(struct runner *q, unsigned pass, struct outcome *out)
{
    uint32_t answer = pass == ROGUE_FLIP ? (uint32_t)run_arg(q->r, "marked") : OTHER_ANSWER;
    if (pass < ROGUE_KINDS_) {
        rogues_draw(q->g);
        rogues_turn(q->g, (enum rogue_kind)pass);
    }
    if (pass == PASS_VANISH || pass == PASS_STALE) {
        (pass == PASS_VANISH ? vanish : stale)(q, out);
        return;
    }
    if (pass == ROGUE_STATUS || pass == ROGUE_MUTE || pass == ROGUE_FLOOD)
        recruit_pivots(q);
    if (pass == ROGUE_NONE || pass == ROGUE_WITHHOLD || pass == ROGUE_OLD)
        seek_all(q, out);
    if (pass == PASS_PATHS)
        pester(q);
    else if (pass == PASS_DEAF)
        deafen(q, out);
    visits(q, &out->visits, answer);
    if (pass == PASS_JUNK)
        junk(q, out);
}

static void one(struct runner *q, unsigned pass)
{
    struct outcome *out = &q->out[pass];
    uint64_t noise = noise_of(q->m);
    uint64_t dropped = maze_metric(q->m, MAZE_ALL, "cyx_onion_own_ended_total", "noise");
    uint64_t replaced = maze_metric(q->m, MAZE_ALL, "cyx_onion_paths_replaced_total", NULL);
    out->was_run = true;
    begin(q, pass, out);
    trade_wait(q->t, q->r);
    if (pass < ROGUE_KINDS_)
        out->touched = q->g->touched;
    rogues_turn(q->g, ROGUE_NONE);
    maze_pass(q->m, q->r, SIM_S(REST_S));
    out->noise = more(noise_of(q->m), noise);
    out->paths_dropped =
        more(maze_metric(q->m, MAZE_ALL, "cyx_onion_own_ended_total", "noise"), dropped);
    out->replaced =
        more(maze_metric(q->m, MAZE_ALL, "cyx_onion_paths_replaced_total", NULL), replaced);
    trade_check(q->t, q->r, &out->visits, pass_name(pass));
    trade_check(q->t, q->r, &out->pests, pass_name(pass));
}

/* Old descriptors lie only when there is a newer one: the service came back before. */
static void all(struct runner *q)
{
    uint64_t only = run_arg(q->r, "only");
    for (unsigned pass = 0; pass < PASSES; pass++)
        if (pass != ROGUE_OLD && (only == 0 || only == pass + 1 || pass >= PASS_VANISH))
            one(q, pass);
    if (only == 0 || only == ROGUE_OLD + 1)
        one(q, ROGUE_OLD);
}

/* ---- */

static void check(struct sim_run *r, const struct outcome *out, unsigned pass)
{
    const struct trade_tally *t = &out->visits;
    const char *name = pass_name(pass);
    bool lies = pass != ROGUE_NONE && pass < ROGUE_KINDS_ && run_arg(r, "liars") >= 10;
    run_check(r, t->asked > 0 && t->hung <= t->asked / 10, "%s: %u of %u visits hung", name,
              (unsigned)t->hung, (unsigned)t->asked);
    if (pass == ROGUE_NONE || pass == PASS_AFTER)
        run_check(r, trade_permille(t) >= HONEST_DUE, "%s: %u of %u visits succeeded", name,
                  (unsigned)t->done, (unsigned)t->asked);
    if (lies && run_arg(r, "liars") <= 20)
        run_check(r, trade_permille(t) >= LIES_DUE, "%s: %u of %u visits succeeded", name,
                  (unsigned)t->done, (unsigned)t->asked);
    if (lies)
        run_check(r, out->touched > 0, "%s: nobody was lied to", name);
    if (lies && pass == ROGUE_FLIP)
        run_check(r, out->noise > 0 && out->paths_dropped > 0,
                  "marked cells went unnoticed: %u marked, %u noise, %u paths dropped",
                  (unsigned)out->touched, (unsigned)out->noise, (unsigned)out->paths_dropped);
    if (pass == PASS_VANISH)
        run_check(r, t->done == 0 && t->hung == 0, "vanish: %u done, %u never knew",
                  (unsigned)t->done, (unsigned)t->hung);
}

static void figure(struct sim_run *r, const char *name, const char *what, const char *text,
                   uint64_t n)
{
    if (n > 0)
        run_figure(r, run_text(r, "%s_%s", name, what), run_text(r, "%s: %s", name, text), n, "");
}

static void report_seeks(struct sim_run *r, struct seek_tally *t, const char *name)
{
    if (t->asked == 0)
        return;
    run_figure(r, run_text(r, "%s_found", name),
               run_text(r, "%s: lookups, found of %u", name, (unsigned)t->asked), t->found, "");
    figure(r, name, "found_old", "... an older descriptor", t->old);
    figure(r, name, "missing", "lookups that found none", t->missing);
    figure(r, name, "failed", "lookups without an answer", t->failed);
    run_figure_real(r, run_text(r, "%s_look", name), run_text(r, "%s: a lookup, median", name),
                    (double)town_percentile(&t->us, 50) / 1000, "ms");
    free(t->us.v);
}

static void report(struct sim_run *r, struct outcome *out, unsigned pass)
{
    const char *name = pass_name(pass);
    struct trade_tally *t = &out->visits;
    run_figure(r, run_text(r, "%s_permille", name),
               run_text(r, "%s: visits done of %u", name, (unsigned)t->asked), trade_permille(t),
               "permille");
    trade_report_fails(r, t, name, name);
    if (t->failed_us.n > 0)
        run_figure_real(r, run_text(r, "%s_knew", name),
                        run_text(r, "%s: a client knew after, most", name),
                        (double)town_percentile(&t->failed_us, 100) / 1000, "ms");
    report_seeks(r, &out->seeks, name);
    figure(r, name, "touched", "lies told", out->touched);
    figure(r, name, "noise", "cells that came out as noise", out->noise);
    figure(r, name, "dropped", "paths dropped for noise", out->paths_dropped);
    figure(r, name, "replaced", "paths replaced under a stream", out->replaced);
    run_figure_real(r, run_text(r, "%s_p50", name), run_text(r, "%s: a visit, median", name),
                    (double)town_percentile(&t->whole_us, 50) / 1000, "ms");
    run_figure_real(r, run_text(r, "%s_max", name), run_text(r, "%s: a visit, most", name),
                    (double)town_percentile(&t->whole_us, 100) / 1000, "ms");
}

static void once(struct sim_run *r, struct cards *cards, struct outcome out[static PASSES])
{
    struct runner q = { .r = r, .out = out, .clients = (uint32_t)run_arg(r, "clients") };
    struct maze_options o = maze_options_of(r, cards, 1 + q.clients + 1);
    q.t = trade_create(1);
    o.hooks = trade_hooks(q.t);
    q.m = maze_create(&o);
    trade_open(q.t, q.m);
    q.g = rogues_create(q.m, (unsigned)run_arg(r, "liars"));
    maze_settle(q.m, r);
    trade_settle(q.t, r);
    all(&q);
    maze_check(q.m, r);
    run_hash(r, q.m->w);
    maze_destroy(q.m);
    trade_destroy(q.t);
    rogues_destroy(q.g);
    if (q.pest != NULL)
        builds_destroy(q.pest);
}

static void run(struct sim_run *r)
{
    static struct outcome out[PASSES];
    uint64_t nodes = run_arg(r, "nodes");
    if (!run_check(r, run_arg(r, "contacts") + nodes * run_arg(r, "liars") / 100 < nodes,
                   "more relays than contacts and liars"))
        return;
    struct cards *cards = cards_create(run_seed(r));
    once(r, cards, out);
    for (unsigned pass = 0; pass < PASSES; pass++) {
        if (!out[pass].was_run)
            continue;
        check(r, &out[pass], pass);
        report(r, &out[pass], pass);
        trade_tally_fini(&out[pass].visits);
        trade_tally_fini(&out[pass].pests);
    }
    cards_destroy(cards);
}

static const struct sim_param params[] = {
    { "nodes", 40, 12, 1000, "relays" },
    { "liars", 20, 0, 80, "percent of the relays that lie" },
    { "clients", 6, 1, 500, "honest users" },
    { "visits", 18, 1, 10000, "of each kind" },
    { "marked", 600000, 1000, 100000000, "bytes of an answer whose cells are marked" },
    { "pest-paths", 400, 1, 100000, "paths that one client opens" },
    { "only", 0, 0, 100, "this kind alone, counted from 1; 0: all" },
    MAZE_PARAMS,
    { 0 },
};

extern const struct sim_scenario scenario_onion_liars;
const struct sim_scenario scenario_onion_liars = {
    .name = "onion-liars",
    .help = "visits to a hidden service among relays that lie, clients that pester, a power cut",
    .params = params,
    .run = run,
};
