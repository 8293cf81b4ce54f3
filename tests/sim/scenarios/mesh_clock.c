/* Clocks that jump a year, either way, in half of a running mesh: links hold and rekey, network
 * time stays true everywhere. A machine that restarts with its clock a year behind finds the time
 * again by itself; one that restarts a year ahead keeps its links and waits for its user's word. */
#include <stdlib.h>

#include "tests/sim/scenarios/probe.h"
#include "tests/sim/scenarios/town.h"

enum {
    JOIN_S = 90,          /* everybody is there */
    LONG_S = 400,         /* three rekeys, six looks of housekeeping */
    RECOVER_S = 120,      /* after a restart */
    TIME_OFF_S = 60,      /* two right clocks differ by at most a minute (section 1) */
    RESTARTS = 4,         /* of each kind */
    EPOCH_S = 1767225600, /* sim_options: 2026-01-01T00:00Z */
};
#define YEAR_MS (INT64_C(365) * 24 * 3600 * 1000)

enum victim { VICTIM_NONE, VICTIM_AHEAD, VICTIM_BEHIND };

static enum victim victim_of(uint32_t i)
{
    return i % 4 == 0 ? VICTIM_AHEAD : i % 4 == 1 ? VICTIM_BEHIND : VICTIM_NONE;
}

static uint64_t true_time(const struct town *t)
{
    return EPOCH_S + sim_now(t->w) / SIM_S(1);
}

static void pass(struct town *t, unsigned seconds)
{
    sim_run_until(t->w, sim_now(t->w) + SIM_S(seconds));
}

static bool count_up(void *arg, struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    *(unsigned *)arg += info.state == MESH_LINK_UP;
    return true;
}

/* What one node is asked, in its own turn. */
struct question {
    struct town_node *me;
    unsigned links;
    uint64_t time;
    enum mesh_time_state state;
    bool accepts; /* the user's word is given first */
};

static void ask(void *arg)
{
    struct question *q = arg;
    struct mesh_status st;
    if (q->me->mesh == NULL)
        return;
    if (q->accepts)
        mesh_time_accept(q->me->mesh);
    mesh_links_each(q->me->mesh, count_up, &q->links);
    mesh_get_status(q->me->mesh, &st);
    q->time = st.time;
    q->state = st.time_state;
}

static struct question look(struct town_node *me, bool accepts)
{
    struct question q = { .me = me, .accepts = accepts };
    if (!sim_node_is_up(me->node))
        return q;
    sim_node_enter(me->node, ask, &q);
    sim_run_until(me->town->w, sim_now(me->town->w)); /* it is an event of its own */
    return q;
}

static bool is_true(const struct town *t, uint64_t time)
{
    uint64_t want = true_time(t);
    return time + TIME_OFF_S >= want && time <= want + TIME_OFF_S;
}

static void check_all(struct sim_run *r, struct town *t, const char *when)
{
    for (uint32_t i = 0; i < t->o.nodes; i++) {
        struct question q = look(&t->nodes[i], false);
        run_check(r, q.links >= 4, "%s: node %u has %u links", when, i, q.links);
        run_check(r, is_true(t, q.time), "%s: node %u says %llu, true is %llu", when, i,
                  (unsigned long long)q.time, (unsigned long long)true_time(t));
    }
}

static void jump(struct town *t)
{
    for (uint32_t i = 0; i < t->o.nodes; i++)
        if (victim_of(i) != VICTIM_NONE)
            sim_node_set_skew(t->nodes[i].node, victim_of(i) == VICTIM_AHEAD ? YEAR_MS : -YEAR_MS);
}

/* Restarts the first RESTARTS victims of a kind; bootstrap nodes stay up. */
static uint32_t restart(struct town *t, enum victim kind, uint32_t who[static RESTARTS])
{
    uint32_t n = 0;
    for (uint32_t i = t->o.bootstrap; i < t->o.nodes && n < RESTARTS; i++) {
        if (victim_of(i) != kind)
            continue;
        sim_node_crash(t->nodes[i].node);
        sim_node_boot(t->nodes[i].node);
        who[n++] = i;
    }
    return n;
}

static void check_behind(struct sim_run *r, struct town *t)
{
    uint32_t who[RESTARTS];
    uint32_t n = restart(t, VICTIM_BEHIND, who);
    pass(t, RECOVER_S);
    for (uint32_t i = 0; i < n; i++) {
        struct question q = look(&t->nodes[who[i]], false);
        run_check(r, q.links >= 4, "behind: node %u has %u links", who[i], q.links);
        run_check(r, is_true(t, q.time), "behind: node %u says %llu, true is %llu", who[i],
                  (unsigned long long)q.time, (unsigned long long)true_time(t));
    }
}

static void check_ahead(struct sim_run *r, struct town *t)
{
    uint32_t who[RESTARTS];
    uint32_t n = restart(t, VICTIM_AHEAD, who);
    pass(t, RECOVER_S);
    for (uint32_t i = 0; i < n; i++) {
        struct question q = look(&t->nodes[who[i]], true);
        run_check(r, q.links >= 1, "ahead: node %u has no link", who[i]);
        run_check(r, q.state == MESH_TIME_REFUSED || is_true(t, q.time),
                  "ahead: node %u believes its own clock (state %d)", who[i], (int)q.state);
    }
    pass(t, RECOVER_S);
    for (uint32_t i = 0; i < n; i++) {
        struct question q = look(&t->nodes[who[i]], false);
        run_check(r, q.links >= 4, "after its user's word node %u has %u links", who[i], q.links);
        run_check(r, is_true(t, q.time), "after its user's word node %u says %llu, true is %llu",
                  who[i], (unsigned long long)q.time, (unsigned long long)true_time(t));
    }
}

static void run(struct sim_run *r)
{
    struct town_options o = {
        .seed = run_seed(r),
        .nodes = (uint32_t)run_arg(r, "nodes"),
        .bootstrap = 4,
        .window_ns = SIM_S(10),
        .loss_ppm = 10000,
    };
    struct town *t = town_create(&o);
    pass(t, JOIN_S);
    check_all(r, t, "before");
    jump(t);
    pass(t, LONG_S);
    check_all(r, t, "after the jump");
    check_behind(r, t);
    check_ahead(r, t);
    check_all(r, t, "at the end");
    run_check(r, t->n.failures == 0, "%u failures, the first: %s", (unsigned)t->n.failures,
              t->n.failure);
    run_figure(r, "jumped", "clocks that jumped a year", o.nodes / 2, "");
    run_figure(r, "virtual_s", "virtual time", sim_now(t->w) / SIM_S(1), "s");
    run_hash(r, t->w);
    town_destroy(t);
}

static const struct sim_param params[] = {
    { "nodes", 40, 24, 10000, "nodes" },
    { 0 },
};

extern const struct sim_scenario scenario_mesh_clock;
const struct sim_scenario scenario_mesh_clock = {
    .name = "mesh-clock",
    .help = "half of the clocks jump a year: links hold, network time stays true",
    .params = params,
    .run = run,
};
