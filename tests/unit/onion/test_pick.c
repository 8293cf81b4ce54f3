/* Which way paths go after some went wrong: a guard that is late is passed over and comes back,
 * relays in doubt are left out for two minutes where there are others, and what counts for what. */
#include "onion/choose.h"
#include "onion/pick.h"
#include "town.h"

enum { USER = 12, RELAYS = 12, DRAWS = 40, LATE_MS = 10000, DOUBT_MS = 120000 };

static struct towns t;
static struct onion_picker *picker;

/* A picker of its own beside the node's, whose paths would have their say in it. */
static void begin(unsigned relays)
{
    towns_init(&t, relays, 1, 1, NULL);
    picker = onion_picker_create(t.at[relays].dht, NULL);
    cr_assert_not_null(picker);
}

static void end(void)
{
    onion_picker_destroy(picker);
    towns_fini(&t);
}

static struct onion_route draw(void)
{
    struct onion_route r;
    cr_assert_eq(onion_pick_end(picker, NULL, &r, NULL), 0);
    cr_assert_geq(r.n_hops, (size_t)ONION_HOPS_LEAST);
    return r;
}

static bool is_id(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, 32) == 0;
}

static bool begins_with(const uint8_t *guard)
{
    struct onion_route r = draw();
    return is_id(r.hops[0].id, guard);
}

/* How many hops behind the guard, of many routes, are among those of `r`. */
static unsigned count_hops_of(const struct onion_route *r)
{
    unsigned n = 0;
    for (unsigned k = 0; k < DRAWS; k++) {
        struct onion_route other = draw();
        for (size_t i = 1; i < other.n_hops; i++)
            for (size_t j = 1; j < r->n_hops; j++)
                n += is_id(other.hops[i].id, r->hops[j].id);
    }
    return n;
}

static void built(const struct onion_route *r, int code)
{
    onion_picker_built(picker, r, &(struct onion_path_built){ .code = code });
}

Test(onion_pick, a_late_guard_is_passed_over_for_ten_seconds_and_comes_back)
{
    begin(RELAYS);
    struct onion_route r = draw();
    const uint8_t *guard = r.hops[0].id;
    cr_assert(begins_with(guard), "the first of the set, each time");
    onion_picker_doubt(picker, &r);
    struct onion_route second = draw();
    cr_expect_not(is_id(second.hops[0].id, guard));
    cr_expect(begins_with(second.hops[0].id), "the second of the set, each time");
    towns_run_ms(&t, LATE_MS - 10);
    cr_expect_not(begins_with(guard));
    towns_run_ms(&t, 20);
    cr_expect(begins_with(guard));
    end();
}

Test(onion_pick, one_that_is_late_again_and_again_rests_for_longer_up_to_80_s)
{
    static const uint64_t seconds[] = { 10, 20, 40, 80, 80, 80 };
    begin(RELAYS);
    struct onion_route r = draw();
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        onion_picker_doubt(picker, &r);
        towns_run_ms(&t, seconds[i] * 1000 - 10);
        cr_expect_not(begins_with(r.hops[0].id), "time %zu", i);
        towns_run_ms(&t, 20);
        cr_expect(begins_with(r.hops[0].id), "time %zu", i);
    }
    end();
}

Test(onion_pick, a_build_that_succeeds_ends_all_doubt)
{
    begin(RELAYS);
    struct onion_route r = draw();
    onion_picker_doubt(picker, &r);
    cr_assert_not(begins_with(r.hops[0].id));
    built(&r, 0);
    cr_expect(begins_with(r.hops[0].id));
    cr_expect_gt(count_hops_of(&r), 0u);
    onion_picker_doubt(picker, &r); /* the first time again: ten seconds, not twenty */
    towns_run_ms(&t, LATE_MS + 10);
    cr_expect(begins_with(r.hops[0].id));
    end();
}

Test(onion_pick, relays_in_doubt_are_left_out_for_two_minutes)
{
    begin(RELAYS);
    struct onion_route r = draw();
    cr_assert_gt(count_hops_of(&r), 0u);
    onion_picker_doubt(picker, &r);
    cr_expect_eq(count_hops_of(&r), 0u);
    towns_run_ms(&t, DOUBT_MS - 10);
    cr_expect_eq(count_hops_of(&r), 0u);
    towns_run_ms(&t, 20);
    cr_expect_gt(count_hops_of(&r), 0u);
    end();
}

Test(onion_pick, a_build_that_nothing_came_back_from_puts_its_hops_in_doubt)
{
    begin(RELAYS);
    struct onion_route r = draw();
    built(&r, CYX_ETIMEDOUT);
    cr_expect_eq(count_hops_of(&r), 0u);
    cr_expect(begins_with(r.hops[0].id), "once says nothing about the guard");
    end();
}

Test(onion_pick, doubts_give_way_where_few_relays_are_left)
{
    begin(4);
    for (unsigned i = 0; i < 8; i++) {
        struct onion_route r = draw();
        onion_picker_doubt(picker, &r);
    }
    struct onion_route last = draw();
    cr_expect_geq(last.n_hops, (size_t)ONION_HOPS_LEAST);
    end();
}

Test(onion_pick, more_doubts_than_are_remembered_push_out_the_oldest_alone)
{
    enum { REMEMBERED = 32 };
    begin(RELAYS);
    struct onion_route first = draw(), made = { .n_hops = 2 };
    onion_picker_ended(picker, &first, ONION_PATH_DESTROYED);
    size_t n = first.n_hops - 1;
    for (uint8_t i = 0; i < REMEMBERED - n; i++) {
        memset(made.hops[1].id, 200 + i % 50, 32);
        made.hops[1].id[0] = i;
        onion_picker_ended(picker, &made, ONION_PATH_DESTROYED);
    }
    cr_expect_eq(count_hops_of(&first), 0u, "all of them have room");
    for (uint8_t i = 0; i < n; i++) {
        memset(made.hops[1].id, 100, 32);
        made.hops[1].id[0] = i;
        onion_picker_ended(picker, &made, ONION_PATH_DESTROYED);
    }
    cr_expect_gt(count_hops_of(&first), 0u);
    end();
}

Test(onion_pick, how_a_path_ended_says_who_is_passed_over)
{
    static const struct {
        enum onion_path_end why;
        bool guard, hops;
    } rules[] = {
        { ONION_PATH_DESTROYED, false, true }, { ONION_PATH_LINK_DOWN, false, false },
        { ONION_PATH_NOISE, true, true },      { ONION_PATH_SILENT, true, true },
        { ONION_PATH_OLD, false, false },
    };
    begin(RELAYS);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct onion_route r = draw();
        onion_picker_ended(picker, &r, rules[i].why);
        cr_expect_eq(begins_with(r.hops[0].id), !rules[i].guard, "%s",
                     onion_path_end_text(rules[i].why));
        cr_expect_eq(count_hops_of(&r) == 0, rules[i].hops, "%s",
                     onion_path_end_text(rules[i].why));
        built(&r, 0); /* all is well again */
    }
    end();
}
