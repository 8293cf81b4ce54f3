/* A visit to a service: why it fails, how it goes on when paths die, who shares it, how it ends. */
#include "guest.h"
#include "onion/address.h"
#include "onion/path_internal.h"
#include "onion/service_internal.h"
#include "onion/visit_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9 };

static struct towns t;
static struct inn inn;
static struct guest g, h;

static void start(void)
{
    towns_init(&t, RELAYS, 2, 1, NULL);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

static void end(void)
{
    if (t.few.world != NULL)
        towns_fini(&t);
}

TestSuite(onion_visit, .init = start, .fini = end);

static struct onion *user(void)
{
    return t.at[USER].onion;
}

static struct visit *the_visit(void)
{
    cr_assert(!list_empty(&user()->all_visits), "there is a visit");
    return container_of(user()->all_visits.next, struct visit, node);
}

static void in_user(env_fn fn, void *arg)
{
    few_in(&t.few.node[USER], fn, arg);
}

static bool is_open(void *arg)
{
    (void)arg;
    return !list_empty(&user()->all_visits) && the_visit()->state == VISIT_OPEN;
}

/* A stream that stays open, its echo heard. */
static void settle(void)
{
    g.keeps_open = true;
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    cr_assert_eq(g.got, 1000u, "%s", onion_fail_text(g.why));
    towns_run_ms(&t, 300); /* message 3 is there */
}

static void expect_goes_on(void)
{
    guest_send(&g, 5000);
    cr_expect(towns_until(&t, 30000, guest_has_all, &g));
    cr_expect_eq(g.got, 6000u, "got %zu: %s", g.got, onion_fail_text(g.why));
    cr_expect_eq(g.closed, 0u);
}

static void end_path(void *arg)
{
    path__end(arg, ONION_PATH_DESTROYED);
}

/* ---- users come and go
 * --------------------------------------------------------------------------- */

Test(onion_visit, one_who_gives_up_while_it_connects_does_no_harm_to_the_next)
{
    guest_dial(&g, &t, USER, 80, 100);
    while (list_empty(&user()->all_visits) || the_visit()->state != VISIT_CONNECTING)
        towns_run_ms(&t, 1);
    guest_reset(&g);
    guest_dial(&h, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &h));
    cr_expect_eq(h.why, ONION_FAIL_NONE, "%s", onion_fail_text(h.why));
}

static void reset_and_dial(void *arg)
{
    static const struct onion_stream_events ev = { .opened = NULL };
    struct onion_target to = { .port = 80 };
    struct onion_stream **s = arg;
    onion_stream_reset(g.s);
    g.s = NULL;
    onion_address_of_seed(to.address, t.seed);
    *s = onion_dial(user(), &to, &ev, NULL, NULL);
}

Test(onion_visit, the_same_in_one_turn)
{
    static struct onion_stream *s;
    guest_dial(&g, &t, USER, 80, 100);
    while (list_empty(&user()->all_visits) || the_visit()->state != VISIT_CONNECTING)
        towns_run_ms(&t, 1);
    in_user(reset_and_dial, &s);
    towns_run_ms(&t, 1);
    cr_assert(!list_empty(&user()->all_visits));
    cr_assert(towns_until(&t, 5000, is_open, NULL));
    cr_expect_eq(user()->c.fails[ONION_FAIL_TIMEOUT], 0u);
}

Test(onion_visit, two_with_one_tag_share_it_and_two_tags_share_nothing)
{
    static struct guest other;
    settle();
    size_t paths = onion_paths_count(user()->paths);
    guest_dial(&h, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 5000, guest_is_over, &h));
    cr_expect_eq(visits__count(user()), 1u);
    cr_expect_eq(onion_paths_count(user()->paths), paths);
    other.tag = 7;
    guest_dial(&other, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &other));
    cr_expect_eq(other.why, ONION_FAIL_NONE);
    cr_expect_eq(visits__count(user()), 2u);
    struct visit *a = container_of(user()->all_visits.next, struct visit, node);
    struct visit *b = container_of(user()->all_visits.prev, struct visit, node);
    cr_expect_neq(a->conn, b->conn);
    cr_expect(memcmp(&a->why, &b->why, sizeof a->why) != 0, "nor lookup paths");
    cr_expect_neq(way__up(a)->path, way__up(b)->path);
}

static bool has_no_visit(void *arg)
{
    (void)arg;
    return list_empty(&user()->all_visits);
}

static bool has_no_visitor(void *arg)
{
    struct onion_service_info info;
    (void)arg;
    onion_service_info(inn.s, &info);
    return info.connections == 0;
}

Test(onion_visit, nobody_using_it_ends_it_and_the_service_hears_of_that)
{
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 10000, guest_is_over, &g));
    towns_run_ms(&t, VISIT__SPARE_S * 1000 - 10000);
    cr_expect(!has_no_visit(NULL));
    cr_assert(towns_until(&t, 12000, has_no_visit, NULL));
    cr_expect(towns_until(&t, 200, has_no_visitor, NULL), "not only when it was silent too long");
}

/* ---- why it fails
 * --------------------------------------------------------------------------------- */

Test(onion_visit, an_address_that_nobody_serves)
{
    memset(t.seed, 99, sizeof t.seed);
    guest_dial(&g, &t, USER, 80, 10);
    cr_assert(towns_until(&t, 30000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_NO_DESCRIPTOR, "%s", onion_fail_text(g.why));
}

Test(onion_visit, every_refusal_has_its_word)
{
    static const struct {
        enum onion_open_status status;
        enum onion_fail why;
    } rows[] = { { ONION_OPEN_REFUSED, ONION_FAIL_REFUSED },
                 { ONION_OPEN_NO_PORT, ONION_FAIL_NO_PORT },
                 { ONION_OPEN_NOT_ALLOWED, ONION_FAIL_NOT_FOR_US },
                 { ONION_OPEN_BUSY, ONION_FAIL_BUSY },
                 { ONION_OPEN_UNREACHABLE, ONION_FAIL_UNREACHABLE },
                 { ONION_OPEN_TIMED_OUT, ONION_FAIL_TIMEOUT } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&g, 0, sizeof g);
        g.waits = true;
        inn.refuse = rows[i].status;
        guest_dial(&g, &t, USER, 80, 10);
        cr_assert(towns_until(&t, 10000, guest_is_over, &g));
        cr_expect_eq(g.why, rows[i].why, "status %d: %s", rows[i].status, onion_fail_text(g.why));
        cr_expect_eq(g.opened, 0u);
    }
}

Test(onion_visit, pivots_that_know_nothing_are_looked_up_again_and_then_it_is_unreachable)
{
    inn_close(&inn);
    towns_run_ms(&t, 40000); /* registrations are kept for a while */
    guest_dial(&g, &t, USER, 80, 10);
    cr_assert(towns_until(&t, 60000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_UNREACHABLE, "%s", onion_fail_text(g.why));
}

Test(onion_visit, a_network_that_is_gone_times_out)
{
    sim_node_set_group(t.few.node[USER].sim, 7);
    guest_dial(&g, &t, USER, 80, 10);
    cr_assert(towns_until(&t, VISIT__TOTAL_MS + 1000, guest_is_over, &g));
    cr_expect(g.why == ONION_FAIL_TIMEOUT || g.why == ONION_FAIL_NOT_READY, "%s",
              onion_fail_text(g.why));
}

/* ---- work
 * ------------------------------------------------------------------------------------------ */

/* Stops the visit where the descriptor is here and no way was begun. */
static void until_lingering(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        if (!list_empty(&user()->all_visits) && the_visit()->state == VISIT_LINGERING)
            return;
        cr_assert(sim_step(t.few.world));
    }
    cr_assert_fail("it never lingers");
}

Test(onion_visit, effort_beyond_a_minute_of_a_core_is_never_begun)
{
    g.waits = true;
    guest_dial(&g, &t, USER, 80, 10);
    until_lingering();
    the_visit()->d.inner.has_proof = true;
    the_visit()->d.inner.effort = MESH_POW_EFFORT_MAX;
    for (unsigned i = 0; i < 200 && !list_empty(&user()->all_visits); i++) {
        cr_assert(sim_step(t.few.world));
        for (unsigned k = 0; k < VISIT__WAYS && !list_empty(&user()->all_visits); k++)
            cr_assert_null(the_visit()->ways[k].work);
    }
}

struct refusal {
    struct way *w;
    uint32_t effort;
};

static void want_more(void *arg)
{
    struct refusal *r = arg;
    path__failed(r->w->path, &(struct onion_path_built){ .code = CYX_EREFUSED,
                                                         .hop = r->w->route.n_hops - 1,
                                                         .status = ONION_MORE_WORK,
                                                         .effort = r->effort });
}

Test(onion_visit, a_pivot_that_wants_more_and_more_work_gets_it_twice)
{
    g.waits = true;
    guest_dial(&g, &t, USER, 80, 10);
    until_lingering();
    while (the_visit()->state == VISIT_LINGERING)
        cr_assert(sim_step(t.few.world));
    struct refusal r = { .w = &the_visit()->ways[0], .effort = 1 };
    uint32_t number = r.w->number;
    unsigned asked = 0;
    for (; asked < 10 && r.w->number == number; asked++) {
        in_user(want_more, &r);
        for (unsigned i = 0; i < 5000 && r.w->number == number && r.w->path == NULL; i++)
            cr_assert(sim_step(t.few.world));
    }
    cr_expect_eq(asked, (unsigned)VISIT__WORKS + 1);
    cr_assert(towns_until(&t, 10000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_NONE, "another pivot will do: %s", onion_fail_text(g.why));
}

/* ---- paths die
 * ------------------------------------------------------------------------------------- */

Test(onion_visit, a_path_that_ends_is_replaced_under_a_running_transfer)
{
    settle();
    in_user(end_path, way__up(the_visit())->path);
    expect_goes_on();
}

Test(onion_visit, again_and_again_for_as_long_as_it_lives)
{
    settle();
    for (unsigned i = 0; i < 12; i++) {
        while (way__up(the_visit()) == NULL)
            towns_run_ms(&t, 1);
        towns_run_ms(&t, 12000);
        in_user(end_path, way__up(the_visit())->path);
        guest_send(&g, 100);
        cr_assert(towns_until(&t, 20000, guest_has_all, &g), "after path %u", i);
        cr_assert_eq(g.closed, 0u, "after path %u: %s", i, onion_fail_text(g.why));
    }
}

Test(onion_visit, a_network_that_comes_back_within_the_minute_finds_it_alive)
{
    settle();
    sim_node_set_group(t.few.node[USER].sim, 7);
    in_user(end_path, way__up(the_visit())->path);
    towns_run_ms(&t, 15000);
    sim_heal(t.few.world);
    cr_assert_eq(g.closed, 0u, "%s", onion_fail_text(g.why));
    guest_send(&g, 5000);
    cr_expect(towns_until(&t, 60000, guest_has_all, &g));
    cr_expect_eq(g.got, 6000u, "got %zu: %s", g.got, onion_fail_text(g.why));
}

Test(onion_visit, a_service_that_forgot_it_loses_it_within_the_minute_or_two)
{
    g.keeps_open = true;
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    sim_node_set_group(t.few.node[USER].sim, 7); /* before message 3 is there */
    in_user(end_path, way__up(the_visit())->path);
    towns_run_ms(&t, 15000);
    sim_heal(t.few.world);
    guest_send(&g, 5000);
    cr_assert(towns_until(&t, 120000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_LOST, "%s", onion_fail_text(g.why));
}

Test(onion_visit, its_path_is_replaced_before_its_relays_forget_it)
{
    settle();
    uint64_t before = user()->c.replaced_paths;
    for (unsigned s = 0; s < 3300; s += 20) {
        towns_run_ms(&t, 20000);
        guest_send(&g, 10);
    }
    cr_expect_geq(user()->c.replaced_paths, before + 1, "make before break, at 40 to 55 minutes");
    cr_expect_eq(user()->paths->c.ended[ONION_PATH_OLD], 0u, "none came to its end");
    towns_run_ms(&t, 5000);
    cr_expect_eq(g.closed, 0u, "%s", onion_fail_text(g.why));
    cr_expect_eq(g.got, g.to_send);
}

Test(onion_visit, a_token_goes_to_its_own_pivot_whatever_the_descriptor_says_by_then)
{
    settle();
    struct visit *v = the_visit();
    struct onion_pivot was = way__up(v)->pivot;
    for (size_t i = 0; i < v->d.inner.n_pivots; i++)
        memset(&v->d.inner.pivots[i], (int)(200 + i), sizeof v->d.inner.pivots[i]);
    cr_expect_arr_eq(&way__up(v)->pivot, &was, sizeof was);
}

/* ---- the end
 * ---------------------------------------------------------------------------------------- */

static bool is_stopped_now;

static void stopped(void *arg)
{
    (void)arg;
    is_stopped_now = true;
}

static void stop_user(void *arg)
{
    (void)arg;
    onion_stop(user(), stopped, NULL);
}

static bool is_stopped(void *arg)
{
    (void)arg;
    return is_stopped_now;
}

Test(onion_visit, stopping_tells_every_stream_and_the_service)
{
    settle();
    in_user(stop_user, NULL);
    cr_assert(towns_until(&t, 1000, is_stopped, NULL));
    cr_expect_eq(g.closed, 1u);
    cr_expect_eq(g.why, ONION_FAIL_CLOSING, "%s", onion_fail_text(g.why));
    cr_expect(towns_until(&t, 300, has_no_visitor, NULL));
}

static unsigned fired;

static void fire(struct env_timer *x, void *arg)
{
    (void)x;
    (void)arg;
    fired++;
}

static struct env_timer timers[64];

static void set_timers(void *arg)
{
    struct env *e = mesh_env(t.few.node[USER].mesh);
    (void)arg;
    for (unsigned i = 0; i < 64; i++) {
        env_timer_init(&timers[i], fire, NULL);
        env_timer_in(e, &timers[i], ENV_MS(900 + 10 * (uint64_t)i));
    }
}

Test(onion_visit, stopping_leaves_the_timers_of_others_alone)
{
    in_user(set_timers, NULL);
    towns_run_ms(&t, 700); /* the onion's tick is about to be the next of all */
    in_user(stop_user, NULL);
    towns_run_ms(&t, 3000);
    cr_expect_eq(fired, 64u);
}

static void dial_again(struct guest *x)
{
    struct onion_target to = { .port = 80 };
    struct cyx_err err = { 0 };
    static const struct onion_stream_events ev = { .opened = NULL };
    memcpy(to.address, x->address, sizeof to.address);
    x->s = onion_dial(user(), &to, &ev, x, &err);
    x->code = err.code;
}

Test(onion_visit, one_who_dials_again_whenever_it_ends_does_not_keep_it_from_stopping)
{
    g.on_closed = dial_again;
    settle();
    in_user(stop_user, NULL);
    cr_assert(towns_until(&t, 1000, is_stopped, NULL));
    cr_expect_null(g.s);
    cr_expect_eq(g.code, CYX_ECLOSED);
}

static void stop_inside(struct guest *x)
{
    (void)x;
    stop_user(NULL);
}

Test(onion_visit, it_may_be_stopped_from_a_streams_last_callback)
{
    g.on_closed = stop_inside;
    inn.refuse = ONION_OPEN_BUSY;
    guest_dial(&g, &t, USER, 80, 10);
    cr_assert(towns_until(&t, 10000, is_stopped, NULL));
}

Test(onion_visit, a_node_that_is_cut_off_takes_its_visits_with_it)
{
    settle();
    sim_node_crash(t.few.node[USER].sim);
    cr_expect_eq(g.closed, 1u);
    cr_expect_eq(g.why, ONION_FAIL_CLOSING);
}

/* ---- why
 * -------------------------------------------------------------------------------------------- */

struct asked {
    struct onion_why *w;
    unsigned steps, done;
    enum onion_fail why;
    bool cancels;
};

static void step(void *arg, const struct onion_step *s)
{
    struct asked *a = arg;
    a->steps++;
    if (a->cancels && s->stage == ONION_STAGE_STREAM) {
        onion_why_cancel(a->w);
        a->w = NULL;
    }
}

static void done(void *arg, enum onion_fail why)
{
    struct asked *a = arg;
    a->done++;
    a->why = why;
    a->w = NULL;
}

static void ask_why(void *arg)
{
    struct asked *a = arg;
    struct onion_target to = { .port = 80 };
    struct cyx_err err = { 0 };
    onion_address_of_seed(to.address, t.seed);
    a->w = onion_why(user(), &to, step, done, a, &err);
    cr_assert_not_null(a->w, "%s", err.msg);
}

static bool is_answered(void *arg)
{
    const struct asked *a = arg;
    return a->done > 0;
}

Test(onion_visit, whoever_asked_why_is_not_told_more_than_he_asked)
{
    struct asked *a = calloc(1, sizeof *a);
    in_user(ask_why, a);
    cr_assert(towns_until(&t, 10000, is_answered, a));
    cr_expect_eq(a->why, ONION_FAIL_NONE);
    cr_expect_eq(a->steps, 4u);
    free(a); /* whoever writes there now is seen by the sanitizer */
    struct visit *v = the_visit();
    cr_expect_null(v->trace);
    in_user(end_path, way__up(v)->path); /* a step: the path is made anew */
    towns_run_ms(&t, 5000);
}

Test(onion_visit, why_may_be_cancelled_in_its_last_step)
{
    static struct asked a = { .cancels = true };
    in_user(ask_why, &a);
    towns_run_ms(&t, 5000);
    cr_expect_eq(a.done, 0u);
    cr_expect_eq(a.steps, 4u);
    cr_expect_null(a.w);
}

/* ---- a first flight that is late
 * ---------------------------------------------------------------------
 */

static struct few_node *relay_of(const uint8_t id[static 32])
{
    for (unsigned i = 0; i < RELAYS; i++)
        if (memcmp(t.few.node[i].identity->id, id, 32) == 0)
            return &t.few.node[i];
    cr_assert_fail("no such relay");
    return NULL;
}

Test(onion_visit, a_pivot_that_is_silent_costs_half_a_second_and_another_takes_the_same_flight)
{
    guest_dial(&g, &t, USER, 80, 500);
    for (unsigned i = 0; i < 100000; i++) {
        if (!list_empty(&user()->all_visits) && the_visit()->state == VISIT_CONNECTING &&
            the_visit()->ways[0].path != NULL)
            break;
        cr_assert(sim_step(t.few.world));
    }
    struct few_node *pivot = relay_of(the_visit()->ways[0].pivot.id);
    sim_node_set_group(pivot->sim, 7);
    cr_assert(towns_until(&t, 5000, guest_is_over, &g));
    cr_expect_eq(g.why, ONION_FAIL_NONE, "%s", onion_fail_text(g.why));
    cr_expect_eq(g.got, 500u);
    cr_expect_lt(g.first_ns - g.begun_ns, ENV_MS(2000));
    cr_expect_eq(user()->paths->c.late, 1u);
    cr_expect_eq(inn.n, 1u, "one stream, however many flights");
}

Test(onion_visit, with_all_pivots_gone_it_says_so_in_time)
{
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (inn.s->periods[0].pivots[i].p != NULL)
            sim_node_set_group(relay_of(inn.s->periods[0].pivots[i].id)->sim, 7);
    guest_dial(&g, &t, USER, 80, 500);
    cr_assert(towns_until(&t, VISIT__TOTAL_MS + 1000, guest_is_over, &g));
    cr_expect(g.why == ONION_FAIL_UNREACHABLE || g.why == ONION_FAIL_TIMEOUT ||
                  g.why == ONION_FAIL_NO_DESCRIPTOR || g.why == ONION_FAIL_NONE,
              "%s", onion_fail_text(g.why));
}
