/* Timers, deferred tasks, the clock. */
#include <criterion/criterion.h>

#include "world.h"

enum { N_TIMERS = 60 };

struct shot {
    struct env_timer t;
    struct timer_run *run;
    uint64_t at_ns;
};

struct timer_run {
    struct env *e;
    struct shot shots[N_TIMERS];
    uint64_t last_at_ns;
    unsigned n_fired, n_early, n_disorder;
};

static void on_shot(struct env_timer *t, void *arg)
{
    (void)t;
    struct shot *s = arg;
    struct timer_run *r = s->run;
    r->n_early += env_uv__clock_ns() < s->at_ns;
    r->n_disorder += s->at_ns < r->last_at_ns;
    r->last_at_ns = s->at_ns;
    r->n_fired++;
}

Test(uv_turn, timers_fire_in_order_and_never_early, .timeout = 60)
{
    struct world w = world_make();
    static struct timer_run r;
    r.e = w.e;
    uint64_t start = env_now_ns(w.e);
    for (unsigned i = 0; i < N_TIMERS; i++) {
        struct shot *s = &r.shots[i];
        s->run = &r;
        s->at_ns = start + (uint64_t)((i * 37) % N_TIMERS) * 333333u; /* 0 to 20 ms, all unequal */
        env_timer_init(&s->t, on_shot, s);
        env_timer_set(w.e, &s->t, s->at_ns);
    }
    run_until(w.e, &r.n_fired, N_TIMERS);
    cr_expect_eq(r.n_early, 0);
    cr_expect_eq(r.n_disorder, 0);
    world_end(&w);
}

struct chain {
    struct env *e;
    struct env_timer a, b;
    unsigned n_a, n_b;
};

static void chain_a(struct env_timer *t, void *arg)
{
    struct chain *c = arg;
    if (++c->n_a < 5)
        env_timer_in(c->e, t, 100000); /* a tenth of a millisecond */
    else
        env_timer_stop(c->e, &c->b);
}

static void chain_b(struct env_timer *t, void *arg)
{
    (void)t;
    ((struct chain *)arg)->n_b++;
}

Test(uv_turn, a_timer_may_set_itself_again_and_stop_another, .timeout = 60)
{
    struct world w = world_make();
    struct chain c = { .e = w.e };
    env_timer_init(&c.a, chain_a, &c);
    env_timer_init(&c.b, chain_b, &c);
    env_timer_in(w.e, &c.b, ENV_S(3600));
    env_timer_in(w.e, &c.a, 0);
    run_until(w.e, &c.n_a, 5);
    cr_expect(!c.b.is_set);
    cr_expect_eq(c.n_b, 0);
    world_end(&w);
}

Test(uv_turn, a_timer_moved_to_an_earlier_time_fires_then, .timeout = 60)
{
    struct world w = world_make();
    struct chain c = { .e = w.e };
    env_timer_init(&c.b, chain_b, &c);
    env_timer_in(w.e, &c.b, ENV_S(3600));
    run_turns(w.e, 3); /* the descriptor is armed for an hour by now, or was */
    env_timer_in(w.e, &c.b, ENV_MS(1));
    run_until(w.e, &c.n_b, 1);
    world_end(&w);
}

struct still {
    struct env *e;
    uint64_t first, second;
    unsigned n;
};

static void look_at_clock(struct env_timer *t, void *arg)
{
    (void)t;
    struct still *s = arg;
    s->first = env_now_ns(s->e);
    uint64_t until = env_uv__clock_ns() + 3000000;
    while (env_uv__clock_ns() < until) {
    }
    s->second = env_now_ns(s->e);
    s->n++;
}

Test(uv_turn, the_clock_stands_still_in_a_turn_and_moves_between_turns, .timeout = 60)
{
    struct world w = world_make();
    struct still s = { .e = w.e };
    struct env_timer t;
    env_timer_init(&t, look_at_clock, &s);
    env_timer_in(w.e, &t, 0);
    run_until(w.e, &s.n, 1);
    cr_expect_eq(s.first, s.second);
    uint64_t before = s.second;
    env_timer_in(w.e, &t, 0);
    run_until(w.e, &s.n, 2);
    cr_expect_geq(s.first, before + 3000000, "the busy 3 ms must show in the next turn");
    world_end(&w);
}

struct trace {
    struct env *e;
    struct env_task a, b, c;
    char seen[16];
    unsigned n;
};

static void task_a(void *arg)
{
    struct trace *t = arg;
    t->seen[t->n++] = 'a';
    env_defer(t->e, &t->c);
    env_defer(t->e, &t->c);
}

static void task_b(void *arg)
{
    struct trace *t = arg;
    t->seen[t->n++] = 'b';
}

static void task_c(void *arg)
{
    struct trace *t = arg;
    t->seen[t->n++] = 'c';
    env_uv_stop(t->e);
}

Test(uv_turn, deferred_tasks_run_once_in_order_before_the_loop_sleeps, .timeout = 60)
{
    struct world w = world_make();
    struct trace t = { .e = w.e };
    env_task_init(&t.a, task_a, &t);
    env_task_init(&t.b, task_b, &t);
    env_task_init(&t.c, task_c, &t);
    env_defer(w.e, &t.a);
    env_defer(w.e, &t.b);
    env_defer(w.e, &t.a);
    env_uv_run(w.e); /* nothing else would ever wake it */
    cr_expect_str_eq(t.seen, "abc");
    world_end(&w);
}

Test(uv_turn, a_cancelled_task_does_not_run, .timeout = 60)
{
    struct world w = world_make();
    struct trace t = { .e = w.e };
    env_task_init(&t.a, task_a, &t);
    env_task_init(&t.b, task_b, &t);
    env_defer(w.e, &t.b);
    env_defer(w.e, &t.a);
    env_task_cancel(&t.a);
    run_until(w.e, &t.n, 1);
    run_turns(w.e, 3);
    cr_expect_str_eq(t.seen, "b");
    world_end(&w);
}

struct greedy {
    struct env *e;
    struct env_task task;
    struct env_timer timer;
    unsigned n_tasks, n_timers, n_other;
};

static void greedy_task(void *arg)
{
    struct greedy *g = arg;
    g->n_tasks++;
    env_defer(g->e, &g->task);
}

static void greedy_timer(struct env_timer *t, void *arg)
{
    struct greedy *g = arg;
    g->n_timers++;
    env_timer_set(g->e, t, 0);
}

static void other(void *arg)
{
    ((struct greedy *)arg)->n_other++;
}

Test(uv_turn, endless_tasks_and_timers_starve_nobody, .timeout = 60)
{
    struct world w = world_make();
    struct greedy g = { .e = w.e };
    env_task_init(&g.task, greedy_task, &g);
    env_timer_init(&g.timer, greedy_timer, &g);
    env_defer(w.e, &g.task);
    env_timer_set(w.e, &g.timer, 0);
    env_post(w.e, other, &g);
    run_until(w.e, &g.n_other, 1);
    unsigned tasks = g.n_tasks;
    run_until(w.e, &g.n_tasks, tasks + 2 * ENV_UV_TASKS_PER_TURN); /* leftovers go on */
    cr_expect_gt(g.n_timers, 0);
    env_task_cancel(&g.task);
    env_timer_stop(w.e, &g.timer);
    world_end(&w);
}

Test(uv_turn, random_bytes_differ_and_the_wall_clock_is_this_century, .timeout = 60)
{
    struct world w = world_make();
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    env_random(w.e, a, sizeof a);
    env_random(w.e, b, sizeof b);
    cr_expect_arr_neq(a, b, sizeof a);
    cr_expect_gt(env_wall_ms(w.e), INT64_C(1700000000000));
    world_end(&w);
}
