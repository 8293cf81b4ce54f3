/* A service of ours: what its visitors see when it ends, and what its pivots can make it do. */
#include "guest.h"
#include "onion/path_internal.h"
#include "onion/service_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9 };

static struct towns t;
static struct inn inn;

static void start(void)
{
    memset(&inn, 0, sizeof inn);
    towns_init(&t, RELAYS, 2, 1, NULL);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

static void end(void)
{
    towns_fini(&t);
}

TestSuite(onion_service, .init = start, .fini = end);

/* ---- the end ------------------------------------------------------------------------------------
 */

Test(onion_service, closing_it_ends_its_streams_and_tells_its_visitors)
{
    static struct guest g = { .keeps_open = true };
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    cr_assert_eq(g.closed, 0u);
    inn_close(&inn);
    cr_expect_eq(inn.closed, 1u, "its own end of the stream is told");
    cr_expect_eq(inn.last, ONION_FAIL_CLOSING);
    cr_expect(towns_until(&t, 1000, guest_is_over, &g), "the visitor is told");
    cr_expect_eq(g.why, ONION_FAIL_LOST, "%s", onion_fail_text(g.why));
}

static void close_inside(struct inn *i)
{
    onion_service_close(i->s);
    i->s = NULL;
}

Test(onion_service, may_be_closed_from_inside_a_visitors_first_cell)
{
    static struct guest g = { .keeps_open = true };
    inn.on_stream = close_inside;
    guest_dial(&g, &t, USER, 80, 1000);
    cr_expect(towns_until(&t, 10000, guest_is_over, &g));
    cr_expect_neq(g.why, ONION_FAIL_NONE);
    towns_run_ms(&t, 2000);
}

Test(onion_service, may_be_closed_from_its_own_changed)
{
    inn_close(&inn);
    inn.on_change = close_inside;
    inn_open(&inn, &t, SERVICE);
    for (unsigned ms = 0; ms < 10000 && inn.s != NULL; ms++)
        towns_run_ms(&t, 1);
    cr_expect_null(inn.s);
    towns_run_ms(&t, 2000);
}

Test(onion_service, can_be_opened_anew_at_once_with_other_keys)
{
    static struct guest g = { .keeps_open = true }, again = { .keeps_open = true };
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    inn_close(&inn);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
    cr_assert(guest_is_over(&g));
    guest_dial(&again, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 20000, guest_has_all, &again));
    if (again.closed > 0) { /* it went by the old descriptor: what it sent isn't sent twice */
        cr_expect_eq(again.why, ONION_FAIL_RESET, "%s", onion_fail_text(again.why));
        memset(&again, 0, sizeof again);
        guest_dial(&again, &t, USER, 80, 1000);
        cr_assert(towns_until(&t, 20000, guest_has_all, &again));
    }
    cr_expect_eq(again.got, 1000u, "%s", onion_fail_text(again.why));
}

/* ---- what a pivot can make it do
 * ----------------------------------------------------------------- */

static struct onion *onion(void)
{
    return t.at[SERVICE].onion;
}

static struct service_period *period(void)
{
    return &inn.s->periods[0];
}

static void in_service(env_fn fn, void *arg)
{
    few_in(&t.few.node[SERVICE], fn, arg);
}

static void end_path(void *arg)
{
    path__end(arg, ONION_PATH_DESTROYED);
}

Test(onion_service, a_relay_that_ends_its_paths_at_once_is_not_fed_with_more)
{
    towns_run_ms(&t, 5000);
    uint64_t before = onion()->paths->c.opened;
    for (unsigned ms = 0; ms < 60000; ms++) {
        struct service_pivot *v = &period()->pivots[0];
        if (v->p != NULL && v->is_up)
            in_service(end_path, v->path);
        towns_run_ms(&t, 1);
    }
    uint64_t built = onion()->paths->c.opened - before;
    cr_expect_lt(built, 60u, "%u paths in a minute", (unsigned)built);
    cr_expect_geq(built, 4u);
    static struct guest g;
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 30000, guest_is_over, &g), "and visitors come by the others");
    cr_expect_eq(g.why, ONION_FAIL_NONE, "%s", onion_fail_text(g.why));
}

struct claim {
    struct service_pivot *v;
    uint32_t effort;
};

static void claim(void *arg)
{
    const struct claim *c = arg;
    const struct onion_stats s = { .effort = c->effort };
    c->v->path->ev.stats(c->v->path->arg, &s);
}

static void say(unsigned pivot, uint32_t effort)
{
    struct claim c = { &period()->pivots[pivot], effort };
    in_service(claim, &c);
}

Test(onion_service, a_pivot_that_lies_about_its_load_frightens_nobody)
{
    static struct guest g;
    cr_assert_eq(pivots__up(period()), 3u);
    say(1, 0);
    say(2, 0);
    say(0, UINT32_MAX);
    towns_run_ms(&t, 3000);
    cr_expect_eq(period()->effort, 0u);
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_NONE, "%s", onion_fail_text(g.why));
}

static const uint8_t *seed_at_pivot(const struct service_pivot *v, unsigned which)
{
    for (unsigned i = 0; i < RELAYS; i++) {
        const uint8_t *seed = town_pivot_seed(t.at[i].onion->relay, v->token, which);
        if (seed != NULL)
            return seed;
    }
    cr_assert_fail("no relay knows the token");
    return NULL;
}

Test(onion_service, under_load_its_descriptor_asks_for_work_and_seeds_change)
{
    static struct guest g;
    uint8_t seed[16];
    for (unsigned i = 0; i < 3; i++)
        say(i, 8);
    cr_expect_eq(period()->effort, 8u);
    towns_run_ms(&t, 3000);
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_NONE, "%s", onion_fail_text(g.why));
    cr_expect_eq(t.at[USER].onion->c.work_done, 1u, "the visitor worked before it was asked");
    memcpy(seed, period()->seed, sizeof seed);
    period()->seed_ns -= ENV_S(SERVICE__SEED_S);
    for (unsigned s = 0; s < 3; s++) {
        towns_run_ms(&t, 700);
        for (unsigned i = 0; i < 3; i++)
            say(i, 8); /* what the true pivots say meanwhile is 0 */
    }
    cr_expect(memcmp(seed, period()->seed, sizeof seed) != 0, "a new one");
    for (unsigned i = 0; i < 3; i++) {
        const struct service_pivot *v = &period()->pivots[i];
        cr_expect_arr_eq(seed_at_pivot(v, 0), period()->seed, sizeof seed, "pivot %u heard", i);
        cr_expect_arr_eq(seed_at_pivot(v, 1), seed, sizeof seed, "... and takes the last as well");
    }
}

struct flood {
    struct service_pivot *v;
    uint32_t n;
};

static void flood(void *arg)
{
    const struct flood *f = arg;
    uint8_t junk[100] = { 0x40 };
    for (uint32_t i = 0; i < f->n; i++)
        f->v->path->ev.cell(f->v->path->arg, &(struct onion_cell){ .splice = i + 1,
                                                                   .command = ONION_CELL_DATA,
                                                                   .payload = junk,
                                                                   .len = sizeof junk });
}

Test(onion_service, a_pivot_cannot_fill_its_table_with_splices)
{
    struct flood f = { .v = &period()->pivots[0], .n = 5000 };
    in_service(flood, &f);
    cr_expect_leq(map_len(inn.s->by_number), 2u * ONION_CONNS / 3);
    towns_run_ms(&t, 1500);
    cr_expect_eq(map_len(inn.s->by_number), 0u, "and each is closed after a second");
    cr_expect_eq(f.v->n_splices, 0u);
}

/* ---- pivots by age
 * --------------------------------------------------------------------------------- */

static void grow_old(void *arg)
{
    struct service_pivot *v = arg;
    v->replace_s = 0;
    env_timer_in(onion()->env, &v->timer, 0);
}

static unsigned leaving(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        n += period()->pivots[i].p != NULL && period()->pivots[i].is_leaving;
    return n;
}

Test(onion_service, pivots_are_replaced_by_age_without_a_visitor_noticing)
{
    static struct guest g, late;
    g.keeps_open = true;
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    for (unsigned i = 0; i < 3; i++)
        in_service(grow_old, &period()->pivots[i]);
    towns_run_ms(&t, 5000);
    cr_expect_eq(leaving(), 3u);
    cr_expect_eq(pivots__up(period()), 3u, "the next ones are there");
    guest_dial(&late, &t, USER, 80, 100); /* by the old descriptor */
    cr_assert(towns_until(&t, 10000, guest_is_over, &late));
    cr_expect_eq(late.why, ONION_FAIL_NONE);
    towns_run_ms(&t, 1000 * SERVICE__LEAVE_S);
    cr_expect_eq(leaving(), 0u);
    guest_send(&g, 5000);
    cr_expect(towns_until(&t, 20000, guest_has_all, &g));
    cr_expect_eq(g.got, 6000u, "it moved: %s", onion_fail_text(g.why));
}

/* ---- restarts
 * ----------------------------------------------------------------------------------------
 */

Test(onion_service, comes_back_after_a_power_cut_with_greater_sequences)
{
    static struct guest g, again;
    uint64_t sequence = period()->sequence;
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &g));
    sim_node_crash(t.few.node[SERVICE].sim);
    sim_node_boot(t.few.node[SERVICE].sim);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 30000);
    cr_expect_gt(period()->sequence, sequence);
    for (unsigned i = 0; i < 2; i++) { /* the remembered descriptor may cost a try */
        memset(&again, 0, sizeof again);
        again.tag = (uint8_t)(i + 1);
        guest_dial(&again, &t, USER, 80, 100);
        cr_assert(towns_until(&t, 60000, guest_is_over, &again));
    }
    cr_expect_eq(again.why, ONION_FAIL_NONE, "%s", onion_fail_text(again.why));
}

/* ---- datagrams
 * ----------------------------------------------------------------------------------------
 */

struct flowing {
    struct onion_flow *f;
    uint16_t port;
    unsigned got, closed;
    enum onion_fail why;
};

static void flow_heard(void *arg, const uint8_t *data, size_t len)
{
    struct flowing *x = arg;
    x->got += len == 5 && memcmp(data, "hello", 5) == 0;
}

static void flow_closed(void *arg, enum onion_fail why)
{
    struct flowing *x = arg;
    x->f = NULL;
    x->closed++;
    x->why = why;
}

static void flow_open(void *arg)
{
    static const struct onion_flow_events ev = { .datagram = flow_heard, .closed = flow_closed };
    struct flowing *x = arg;
    struct onion_target to = { .port = x->port };
    memcpy(to.address, inn.s->address, sizeof to.address);
    x->f = onion_flow_open(t.at[USER].onion, &to, &ev, x, NULL);
    cr_assert_not_null(x->f);
}

static void flow_send(void *arg)
{
    struct flowing *x = arg;
    (void)onion_flow_send(x->f, (const uint8_t *)"hello", 5);
}

static void flow_close(void *arg)
{
    struct flowing *x = arg;
    onion_flow_close(x->f);
}

Test(onion_service, datagrams_go_both_ways_and_end_when_they_are_idle)
{
    static struct flowing x = { .port = 53 };
    struct few_node *user = &t.few.node[USER];
    few_in(user, flow_open, &x);
    for (unsigned ms = 0; ms < 5000 && x.got == 0; ms += 50) {
        few_in(user, flow_send, &x);
        towns_run_ms(&t, 50);
    }
    cr_expect_geq(x.got, 1u);
    cr_expect_eq(inn.flows, 1u);
    towns_run_ms(&t, 1000 * ONION__FLOW_IDLE_S + 1000);
    cr_expect_eq(x.closed, 1u);
    cr_expect_eq(x.why, ONION_FAIL_NONE);
    cr_expect_eq(inn.flows_closed, 1u);
}

static bool has_no_visit(void *arg)
{
    (void)arg;
    return visits__count(t.at[USER].onion) == 0;
}

Test(onion_service, a_flow_that_was_closed_keeps_no_connection)
{
    static struct flowing x = { .port = 53 };
    few_in(&t.few.node[USER], flow_open, &x);
    towns_run_ms(&t, 3000);
    few_in(&t.few.node[USER], flow_close, &x);
    cr_expect(!has_no_visit(NULL));
    cr_expect(towns_until(&t, 62000, has_no_visit, NULL));
}

Test(onion_service, a_flow_to_a_port_that_takes_no_datagrams_is_told_so)
{
    static struct flowing x = { .port = 80 };
    few_in(&t.few.node[USER], flow_open, &x);
    for (unsigned ms = 0; ms < 3000 && x.closed == 0; ms += 50) {
        few_in(&t.few.node[USER], flow_send, &x);
        towns_run_ms(&t, 50);
    }
    cr_expect_eq(x.closed, 1u);
    cr_expect_eq(x.why, ONION_FAIL_NO_PORT);
    cr_expect_eq(inn.flows, 0u);
}

/* ---- rollover
 * ---------------------------------------------------------------------------------------- */

static void start_at(int64_t ms_of_day)
{
    memset(&inn, 0, sizeof inn);
    towns_init_at(&t, RELAYS, 2, 1, INT64_C(1767225600000) + ms_of_day);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

enum { MINUTE = 60 * 1000, NOON = 12 * 60 * MINUTE, MIDNIGHT = 24 * 60 * MINUTE };

static void before_noon(void)
{
    start_at(NOON - MINUTE);
}

static void before_midnight(void)
{
    start_at(MIDNIGHT - MINUTE);
}

TestSuite(onion_rollover);

static void cross(void)
{
    static struct guest stays, before, after, fresh;
    uint64_t periods[2] = { inn.s->periods[0].period, inn.s->periods[1].period };
    stays.keeps_open = true;
    guest_dial(&stays, &t, USER, 80, 1000);
    guest_dial(&before, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_has_all, &stays));
    cr_assert(towns_until(&t, 10000, guest_is_over, &before));
    cr_expect_eq(before.why, ONION_FAIL_NONE);
    towns_run_ms(&t, 3 * MINUTE);
    guest_send(&stays, 1000);
    cr_expect(towns_until(&t, 30000, guest_has_all, &stays));
    cr_expect_eq(stays.got, 2000u, "%s", onion_fail_text(stays.why));
    after.tag = 1;
    guest_dial(&after, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 30000, guest_is_over, &after));
    cr_expect_eq(after.why, ONION_FAIL_NONE, "%s", onion_fail_text(after.why));
    guest_dial(&fresh, &t, 0, 80, 100); /* a node that remembers nothing */
    cr_assert(towns_until(&t, 30000, guest_is_over, &fresh));
    cr_expect_eq(fresh.why, ONION_FAIL_NONE, "%s", onion_fail_text(fresh.why));
    cr_expect(inn.s->periods[0].period != 0 && inn.s->periods[1].period != 0);
    cr_expect(sodium_memcmp(inn.s->periods[0].key.pub, inn.s->periods[1].key.pub, 32) != 0);
    for (unsigned i = 0; i < 2; i++)
        cr_log_info("period %u, then %u", (unsigned)periods[i], (unsigned)inn.s->periods[i].period);
}

Test(onion_rollover, at_noon_the_next_periods_descriptor_is_there_already, .init = before_noon,
     .fini = end)
{
    cross();
}

Test(onion_rollover, at_midnight_the_period_before_goes_and_the_next_one_comes,
     .init = before_midnight, .fini = end)
{
    cross();
}
