/* Own paths, from their beginning: how builds end, what is counted of cells, how paths are kept and
 * how they die. */
#include "guest.h"
#include "onion/onion_internal.h"
#include "onion/path_internal.h"

enum { RELAYS = 8, USER = 8 };

static struct towns t;

/* A path and what it said. */
struct walk {
    struct onion_path *path;
    struct onion_route route;
    struct onion_path_built built;
    unsigned opened, late, old, closed, cells, stats;
    uint64_t old_ns, closed_ns;
    enum onion_path_end why;
    struct onion_path_options options;
    int code;
};

static struct walk w;

static void start(void)
{
    towns_init(&t, RELAYS, 1, 1, NULL);
    towns_run_ms(&t, 3000);
}

static void end(void)
{
    towns_fini(&t);
}

TestSuite(onion_path, .init = start, .fini = end);

static struct onion *user(void)
{
    return t.at[USER].onion;
}

static void on_opened(void *arg, const struct onion_path_built *b)
{
    struct walk *x = arg;
    x->opened++;
    x->built = *b;
    if (b->code != 0)
        x->path = NULL;
}

static void on_late(void *arg)
{
    struct walk *x = arg;
    x->late++;
}

static void on_old(void *arg)
{
    struct walk *x = arg;
    x->old++;
    x->old_ns = sim_now(t.few.world);
}

static void on_cell(void *arg, const struct onion_cell *c)
{
    struct walk *x = arg;
    (void)c;
    x->cells++;
}

static void on_stats(void *arg, const struct onion_stats *s)
{
    struct walk *x = arg;
    (void)s;
    x->stats++;
}

static void on_closed(void *arg, enum onion_path_end why)
{
    struct walk *x = arg;
    x->closed++;
    x->why = why;
    x->path = NULL;
    x->closed_ns = sim_now(t.few.world);
}

static void begin(void *arg)
{
    static const struct onion_path_events ev = { .opened = on_opened,
                                                 .late = on_late,
                                                 .old = on_old,
                                                 .cell = on_cell,
                                                 .stats = on_stats,
                                                 .closed = on_closed };
    struct walk *x = arg;
    struct cyx_err err = { 0 };
    if (x->route.n_hops == 0)
        cr_assert_eq(onion_pick_end(user()->picker, NULL, &x->route, &err), 0, "%s", err.msg);
    x->options.route = &x->route;
    x->path = onion_path_open(user()->paths, &x->options, &ev, x, &err);
    x->code = err.code;
}

static void walk(unsigned command)
{
    w.options.last.command = (uint8_t)command;
    few_in(&t.few.node[USER], begin, &w);
}

static bool is_built(void *arg)
{
    const struct walk *x = arg;
    return x->opened > 0;
}

static bool is_closed(void *arg)
{
    const struct walk *x = arg;
    return x->closed > 0;
}

static void open_end(void)
{
    walk(ONION_BUILD_END);
    cr_assert(towns_until(&t, 3000, is_built, &w));
    cr_assert_eq(w.built.code, 0);
}

/* The relay that is hop i of the path. */
static struct few_node *hop(size_t i)
{
    for (unsigned k = 0; k < RELAYS; k++)
        if (memcmp(t.few.node[k].identity->id, w.route.hops[i].id, 32) == 0)
            return &t.few.node[k];
    cr_assert_fail("no such relay");
    return NULL;
}

static size_t guards_usable(void)
{
    return onion_picker_is_ready(user()->picker);
}

/* ---- builds
 * ---------------------------------------------------------------------------------------- */

Test(onion_path, a_build_takes_one_round_trip_and_the_path_is_used_at_once)
{
    struct onion_path_info info;
    open_end();
    onion_path_info(w.path, &info);
    cr_expect(info.is_open);
    cr_expect_eq(info.n_hops, w.route.n_hops);
    cr_expect_eq(info.sent, 1u, "PADDING: what never carried a cell is forgotten soon");
    cr_expect_geq(w.built.ns, ENV_MS(20) * w.route.n_hops);
    cr_expect_eq(w.late, 0u);
}

Test(onion_path, the_last_hops_refusal_is_told_with_its_place)
{
    walk(ONION_BUILD_SPLICE); /* of no token */
    cr_assert(towns_until(&t, 3000, is_built, &w));
    cr_expect_eq(w.built.code, CYX_EREFUSED);
    cr_expect_eq(w.built.status, ONION_NO_TOKEN);
    cr_expect_eq(w.built.hop + 1, w.route.n_hops);
}

Test(onion_path, a_silent_hop_farther_out_is_late_then_refused_and_no_guards_fault)
{
    cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
    sim_node_set_group(hop(2)->sim, 7);
    walk(ONION_BUILD_END);
    cr_assert(towns_until(&t, 13000, is_built, &w));
    cr_expect_eq(w.late, 1u);
    cr_expect(w.built.code == CYX_EREFUSED, "%d", w.built.code);
    cr_expect_lt(w.built.hop, 2u);
    cr_expect(guards_usable());
}

Test(onion_path, a_guard_that_is_gone_is_told_in_time)
{
    cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
    sim_node_set_group(hop(0)->sim, 7);
    walk(ONION_BUILD_END);
    cr_assert(towns_until(&t, PATH__GIVE_UP_MS + 100, is_built, &w));
    cr_expect(w.built.code == CYX_ETIMEDOUT || w.built.code == CYX_ECLOSED, "%d", w.built.code);
}

Test(onion_path, closed_while_it_is_built_it_says_nothing)
{
    walk(ONION_BUILD_END);
    towns_run_ms(&t, 5);
    onion_path_close(w.path);
    towns_run_ms(&t, 2000);
    cr_expect_eq(w.opened + w.closed + w.late, 0u);
}

Test(onion_path, no_hops_or_too_many_make_no_path)
{
    static const size_t lengths[] = { ONION_HOPS_MAX + 1, 99 };
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
        size_t before = onion_paths_count(user()->paths);
        w.route.n_hops = lengths[i];
        walk(ONION_BUILD_END);
        cr_expect_null(w.path);
        cr_expect_eq(w.code, CYX_EINVAL);
        cr_expect_eq(onion_paths_count(user()->paths), before);
    }
}

/* ---- cells
 * ----------------------------------------------------------------------------------------- */

static void feed_junk(void *arg)
{
    uint8_t cell[MESH_CELL];
    unsigned n = *(unsigned *)arg;
    for (unsigned i = 0; i < n && w.path != NULL; i++) {
        memset(cell, (int)i + 1, sizeof cell);
        w.path->slot.ops->cell(&w.path->slot, cell);
    }
}

static void junk(unsigned n)
{
    few_in(&t.few.node[USER], feed_junk, &n);
}

Test(onion_path, cells_that_overtake_the_reply_are_held_up_to_a_bound)
{
    walk(ONION_BUILD_END);
    while (w.path->state != PATH_BUILDING)
        towns_run_ms(&t, 1);
    junk(ONION_EARLY_CELLS + 10);
    cr_assert_eq(w.path->early->n, (size_t)ONION_EARLY_CELLS);
    cr_assert(towns_until(&t, 3000, is_built, &w));
    cr_expect_eq(w.closed, 1u, "they were all noise");
    cr_expect_eq(w.why, ONION_PATH_NOISE);
}

Test(onion_path, noise_ends_it_once_it_is_more_than_a_few_cells_and_a_hundredth)
{
    open_end();
    junk(ONION_NOISE_CELLS);
    cr_expect_eq(w.closed, 0u);
    w.path->noise_of = 100 * (ONION_NOISE_CELLS + 1) + 1;
    junk(1);
    cr_expect_eq(w.closed, 0u, "of many cells it is little");
    w.path->noise_of = 0;
    junk(1);
    cr_expect_eq(w.closed, 1u);
    cr_expect_eq(w.why, ONION_PATH_NOISE);
}

static uint8_t copy[MESH_CELL];

static void tap_cell(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    memcpy(copy, cell, sizeof copy);
    path__cell(container_of(s, struct onion_path, slot), cell);
}

static void feed_copy(void *arg)
{
    uint8_t cell[MESH_CELL];
    (void)arg;
    memcpy(cell, copy, sizeof cell);
    if (w.path != NULL)
        path__cell(w.path, cell);
}

/* The far end's answer, kept in `copy`. */
static void tap_answer(void)
{
    static struct onion_slot_ops ops;
    open_end();
    ops = *w.path->slot.ops;
    ops.cell = tap_cell;
    w.path->slot.ops = &ops;
    onion_path_probe(w.path);
    towns_run_ms(&t, 500);
    cr_assert_eq(w.stats, 1u);
}

static void feed_copies(void)
{
    for (unsigned i = 0; i <= ONION_NOISE_CELLS; i++)
        few_in(&t.few.node[USER], feed_copy, NULL);
    cr_expect_eq(w.stats, 1u, "it does nothing twice");
}

Test(onion_path, a_cell_that_comes_again_at_once_is_the_guards_doing_and_does_no_harm)
{
    tap_answer();
    feed_copies();
    cr_expect_eq(w.closed, 0u);
    cr_expect_eq(w.path->repeated, ONION_NOISE_CELLS + 1u);
}

Test(onion_path, a_cell_that_comes_again_much_later_is_noise)
{
    tap_answer();
    w.path->window.top += ONION_WINDOW_CELLS;
    feed_copies();
    cr_expect_eq(w.closed, 1u);
    cr_expect_eq(w.why, ONION_PATH_NOISE);
}

/* ---- life
 * ------------------------------------------------------------------------------------------ */

Test(onion_path, a_probe_that_is_answered_changes_nothing)
{
    open_end();
    onion_path_probe(w.path);
    towns_run_ms(&t, 5000);
    cr_expect_eq(w.stats, 1u);
    cr_expect_eq(w.closed, 0u);
}

Test(onion_path, two_that_are_not_end_it)
{
    open_end();
    sim_node_set_group(hop(w.route.n_hops - 1)->sim, 7);
    onion_path_probe(w.path);
    cr_assert(towns_until(&t, 3000, is_closed, &w));
    cr_expect_eq(w.why, ONION_PATH_SILENT);
}

Test(onion_path, one_that_is_kept_outlives_the_relays_patience)
{
    w.options.is_kept = true;
    open_end();
    towns_run_ms(&t, 3 * 1000 * ONION_IDLE_S);
    cr_expect_eq(w.closed, 0u);
    cr_expect_geq(w.stats, 5u, "its end answers");
}

Test(onion_path, one_that_is_not_goes)
{
    open_end();
    cr_assert(towns_until(&t, 1000 * (ONION_IDLE_S + 5), is_closed, &w));
    cr_expect_eq(w.why, ONION_PATH_DESTROYED);
}

Test(onion_path, it_grows_old_at_a_random_time_and_ends_before_its_relays_end_it)
{
    w.options.is_kept = true;
    open_end();
    uint64_t begun = sim_now(t.few.world);
    for (unsigned s = 0; s < ONION_LIFE_S && w.closed == 0; s += 10)
        towns_run_ms(&t, 10000);
    cr_expect_eq(w.old, 1u);
    cr_expect_geq(w.old_ns - begun, ENV_S(PATH__OLD_MIN_S - 1));
    cr_expect_leq(w.old_ns - begun, ENV_S(PATH__OLD_MAX_S));
    cr_expect_eq(w.closed, 1u);
    cr_expect_eq(w.why, ONION_PATH_OLD);
}

/* ---- the guards' books
 * ------------------------------------------------------------------------------- */

static void report(void *arg)
{
    const struct onion_path_built *b = arg;
    onion_picker_built(user()->picker, &w.route, b);
}

static bool is_first_choice(const uint8_t *guard)
{
    struct onion_route r;
    return onion_pick_end(user()->picker, NULL, &r, NULL) == 0 &&
           memcmp(r.hops[0].id, guard, 32) == 0;
}

Test(onion_path, only_what_a_guard_answers_for_counts_against_it)
{
    static struct onion_path_built b;
    cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
    const uint8_t *guard = w.route.hops[0].id;
    cr_assert(is_first_choice(guard));
    for (unsigned i = 0; i < 50; i++) {
        b = (struct onion_path_built){ .code = CYX_EREFUSED,
                                       .hop = i % 4,
                                       .status = (uint8_t)(i % 9) };
        few_in(&t.few.node[USER], report, &b);
        b = (struct onion_path_built){ .code = i % 2 != 0 ? CYX_ENOMEM : CYX_EFULL };
        few_in(&t.few.node[USER], report, &b);
    }
    cr_expect(is_first_choice(guard), "what others say, and our own troubles, don't");
    b = (struct onion_path_built){ .code = CYX_ETIMEDOUT };
    for (unsigned i = 0; i + 1 < ONION_GUARD_SILENT; i++)
        few_in(&t.few.node[USER], report, &b);
    cr_expect(is_first_choice(guard));
    few_in(&t.few.node[USER], report, &b);
    cr_expect(!is_first_choice(guard), "eight in a row without any answer do");
}

Test(onion_path, a_failed_link_makes_it_rest_and_all_failed_are_tried_again_soon)
{
    static struct onion_path_built b = { .code = CYX_ECLOSED };
    uint8_t first[32];
    cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
    memcpy(first, w.route.hops[0].id, 32);
    for (unsigned i = 0; i < ONION_GUARDS; i++) {
        cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0, "guard %u", i);
        few_in(&t.few.node[USER], report, &b);
    }
    cr_expect_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), CYX_EAGAIN);
    towns_run_ms(&t, 5100);
    cr_assert_eq(onion_pick_end(user()->picker, NULL, &w.route, NULL), 0);
    cr_expect_arr_eq(w.route.hops[0].id, first, 32, "the same ones: nobody drives us to others");
}
