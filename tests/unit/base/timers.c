#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/timers.h"

enum { N = 512, STEPS = 100000 };

/* A small generator of our own: the run is the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* The model: who is set, for when, and which came first. */
struct model {
    bool is_set[N];
    uint64_t at[N], seq[N], next_seq;
};

static int model_first(const struct model *m)
{
    int first = -1;
    for (int i = 0; i < N; i++) {
        if (!m->is_set[i])
            continue;
        if (first < 0 || m->at[i] < m->at[first] ||
            (m->at[i] == m->at[first] && m->seq[i] < m->seq[first]))
            first = i;
    }
    return first;
}

static void expect_same_pop(struct timers *ts, struct model *m, struct env_timer *t, uint64_t now)
{
    int first = model_first(m);
    struct env_timer *got = timers_pop(ts, now);
    if (first < 0 || m->at[first] > now) {
        cr_assert_null(got);
        return;
    }
    cr_assert_eq(got, &t[first]);
    cr_assert_not(got->is_set);
    m->is_set[first] = false;
}

Test(timers, agrees_with_a_plain_model_over_100000_random_steps)
{
    static struct env_timer t[N];
    static struct model m;
    struct timers ts;
    uint64_t state = 42, now = 0;
    timers_init(&ts);
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t i = next_random(&state) % N, what = next_random(&state) % 8;
        if (what < 4) {
            m.at[i] = now + next_random(&state) % 50; /* few values: many are equal */
            m.seq[i] = m.next_seq++;
            m.is_set[i] = true;
            timers_set(&ts, &t[i], m.at[i]);
        } else if (what < 5) {
            m.is_set[i] = false;
            timers_stop(&ts, &t[i]);
        } else {
            expect_same_pop(&ts, &m, t, now);
            now += next_random(&state) % 2;
        }
        cr_assert_eq(t[i].is_set, m.is_set[i]);
        if (step % 64 == 0) {
            int first = model_first(&m);
            cr_assert_eq(timers_next(&ts), first < 0 ? UINT64_MAX : m.at[first]);
        }
    }
}

Test(timers, equal_deadlines_fire_in_order_of_setting)
{
    struct env_timer t[20] = { { 0 } };
    struct timers ts;
    timers_init(&ts);
    for (unsigned i = 0; i < 20; i++)
        timers_set(&ts, &t[i], 7);
    for (unsigned i = 0; i < 20; i++)
        cr_expect_eq(timers_pop(&ts, 7), &t[i], "timer %u", i);
    cr_expect_null(timers_pop(&ts, UINT64_MAX));
}

Test(timers, a_timer_set_again_goes_behind_its_equals)
{
    struct env_timer a = { 0 }, b = { 0 };
    struct timers ts;
    timers_init(&ts);
    timers_set(&ts, &a, 5);
    timers_set(&ts, &b, 5);
    timers_set(&ts, &a, 5);
    cr_expect_eq(timers_pop(&ts, 5), &b);
    cr_expect_eq(timers_pop(&ts, 5), &a);
}

Test(timers, moves_either_way)
{
    struct env_timer t[3] = { { 0 } };
    struct timers ts;
    timers_init(&ts);
    for (unsigned i = 0; i < 3; i++)
        timers_set(&ts, &t[i], 10 + i);
    timers_set(&ts, &t[2], 1);
    timers_set(&ts, &t[0], 100);
    cr_expect_eq(timers_next(&ts), 1);
    cr_expect_null(timers_pop(&ts, 0), "not before its time");
    cr_expect_eq(timers_pop(&ts, 1000), &t[2]);
    cr_expect_eq(timers_pop(&ts, 1000), &t[1]);
    cr_expect_eq(timers_pop(&ts, 1000), &t[0]);
    cr_expect_eq(timers_next(&ts), UINT64_MAX);
}

Test(timers, stopping_an_unset_timer_is_harmless)
{
    struct env_timer a = { 0 }, b = { 0 };
    struct timers ts;
    timers_init(&ts);
    timers_stop(&ts, &a);
    timers_set(&ts, &b, 1);
    timers_stop(&ts, &a);
    timers_stop(&ts, &b);
    timers_stop(&ts, &b);
    cr_expect_null(timers_pop(&ts, UINT64_MAX));
}

/* A heap that is one long row or chain must not cost stack. */
Test(timers, a_million_timers_in_either_order_come_out_sorted)
{
    enum { MANY = 1000000 };
    struct env_timer *t = calloc(MANY, sizeof *t);
    cr_assert_not_null(t);
    for (unsigned turn = 0; turn < 2; turn++) {
        struct timers ts;
        uint64_t last = 0, n = 0;
        timers_init(&ts);
        for (uint64_t i = 0; i < MANY; i++)
            timers_set(&ts, &t[i], turn == 0 ? i : MANY - i);
        for (struct env_timer *p; (p = timers_pop(&ts, UINT64_MAX)) != NULL; n++) {
            cr_assert_leq(last, p->at_ns);
            last = p->at_ns;
        }
        cr_expect_eq(n, MANY);
    }
    free(t);
}
