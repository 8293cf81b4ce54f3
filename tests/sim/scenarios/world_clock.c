/* Clocks: the wall clock jumps as told, the monotonic one never; timers keep order and time;
 * deferred tasks run at the end of the turn; posted calls and work come in order. */
#include <string.h>

#include "tests/sim/scenarios/probe.h"

enum { TIMERS = 64, LOG_MAX = 256 };
#define YEAR_MS (INT64_C(365) * 24 * 3600 * 1000)

struct clock_program {
    struct sim_run *run;
    struct sim_node *node;
    struct env_timer timers[TIMERS];
    struct env_task task;
    struct env_work *work;
    char order[LOG_MAX]; /* what happened, one letter each */
    size_t n_order;
    unsigned n_fired, n_wrong;
    uint64_t last_ns;
    int work_code;
};

static void note(struct clock_program *p, char what)
{
    if (p->n_order + 1 < LOG_MAX)
        p->order[p->n_order++] = what;
}

static void fired(struct env_timer *t, void *arg)
{
    struct clock_program *p = arg;
    uint64_t now = env_now_ns(sim_node_env(p->node));
    if (now != t->at_ns || now < p->last_ns)
        p->n_wrong++;
    p->last_ns = now;
    p->n_fired++;
}

static void task_again(void *arg)
{
    struct clock_program *p = arg;
    note(p, 'd');
    if (p->n_order < 8)
        env_defer(sim_node_env(p->node), &p->task);
}

static void posted(void *arg)
{
    note(arg, 'p');
}

static void worked(void *arg)
{
    note(arg, 'w');
}

static void work_over(void *arg, int code)
{
    struct clock_program *p = arg;
    p->work_code = code;
    note(p, 'o');
}

static void entered(void *arg)
{
    struct clock_program *p = arg;
    struct env *e = sim_node_env(p->node);
    note(p, '(');
    env_defer(e, &p->task);
    env_defer(e, &p->task); /* once, however often */
    env_post(e, posted, p);
    run_check(p->run, env_work(e, worked, work_over, p, &p->work) == 0, "no work");
    note(p, ')');
}

static void check_order(struct sim_run *r, struct sim_world *w, struct clock_program *p)
{
    sim_node_enter(p->node, entered, p);
    run_for(w, SIM_S(1));
    run_check(r, strcmp(p->order, "()ddddddpwo") == 0, "order of a turn: %s", p->order);
    run_check(r, p->work_code == 0, "work ended with %d", p->work_code);
    memset(p->order, 0, sizeof p->order);
    p->n_order = 0;
    entered(p); /* from outside of a turn: the same must happen */
    env_work_cancel(sim_node_env(p->node), p->work);
    run_for(w, SIM_S(1));
    run_check(r, strcmp(p->order, "()ddddddpo") == 0 || strcmp(p->order, "()pdddddo") == 0,
              "order with canceled work: %s", p->order);
    run_check(r, p->work_code == CYX_ECANCELED, "canceled work ended with %d", p->work_code);
}

static void check_timers(struct sim_run *r, struct sim_world *w, struct clock_program *p)
{
    struct env *e = sim_node_env(p->node);
    unsigned want = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        env_timer_init(&p->timers[i], fired, p);
        env_timer_in(e, &p->timers[i], SIM_MS(1) + env_random_below(e, SIM_S(10)));
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        if (i % 4 == 0)
            env_timer_stop(e, &p->timers[i]);
        else
            want++;
        if (i % 4 == 1)
            env_timer_in(e, &p->timers[i], SIM_MS(1) + env_random_below(e, SIM_S(10)));
    }
    run_for(w, SIM_S(11));
    run_check(r, p->n_fired == want, "%u timers fired, want %u", p->n_fired, want);
    run_check(r, p->n_wrong == 0, "%u timers fired at a wrong time", p->n_wrong);
}

static void check_clocks(struct sim_run *r, struct sim_world *w, struct clock_program *p,
                         struct sim_node *other)
{
    struct env *e = sim_node_env(p->node);
    int64_t wall = env_wall_ms(e);
    uint64_t mono = env_now_ns(e);
    run_check(r, env_wall_ms(sim_node_env(other)) == wall + 5000, "skew from the start");
    run_check(r, env_now_ns(sim_node_env(other)) != mono, "two machines started at one instant");
    run_for(w, SIM_S(3));
    run_check(r, env_wall_ms(e) == wall + 3000, "wall clock runs at another speed");
    sim_node_set_skew(p->node, YEAR_MS);
    run_check(r, env_wall_ms(e) == wall + 3000 + YEAR_MS, "jump ahead");
    sim_node_set_skew(p->node, -YEAR_MS);
    run_check(r, env_wall_ms(e) == wall + 3000 - YEAR_MS, "jump back");
    run_check(r, env_now_ns(e) == mono + SIM_S(3), "the monotonic clock jumped");
    uint64_t at = env_now_ns(e);
    sim_node_crash(p->node);
    run_for(w, SIM_S(1));
    sim_node_boot(p->node);
    run_check(r, env_now_ns(e) == at + SIM_S(1), "the monotonic clock starts anew");
}

static void run(struct sim_run *r)
{
    struct sim_world *w = run_world(r, &sim_link_clean);
    struct clock_program p = { .run = r };
    struct sim_node_options o = { .address = probe_address(1, 0) };
    p.node = sim_node_add(w, &o);
    o.address = probe_address(2, 0);
    o.wall_skew_ms = 5000;
    struct sim_node *other = sim_node_add(w, &o);
    env_task_init(&p.task, task_again, &p);
    sim_node_boot(p.node);
    sim_node_boot(other);
    check_order(r, w, &p);
    check_timers(r, w, &p);
    check_clocks(r, w, &p, other);
    run_hash(r, w);
    run_figure(r, "nodes", "nodes", 2, "");
    sim_destroy(w);
}

extern const struct sim_scenario scenario_world_clock;
const struct sim_scenario scenario_world_clock = {
    .name = "world-clock",
    .help = "wall clocks jump, monotonic ones don't; timers, tasks, posts and work keep order",
    .run = run,
};
