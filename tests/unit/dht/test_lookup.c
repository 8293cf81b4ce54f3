#include <criterion/criterion.h>
#include <string.h>

#include "dht/lookup.h"

static const uint8_t key[DHT_ID];
static struct dht_lookup *l;

static void begin(void)
{
    l = dht_lookup_create(key, &dht_lookup_rules);
    cr_assert_not_null(l);
}

static void end(void)
{
    dht_lookup_destroy(l);
}

TestSuite(dht_lookup, .init = begin, .fini = end);

static void use(const struct dht_lookup_rules *rules)
{
    dht_lookup_destroy(l);
    l = dht_lookup_create(key, rules);
    cr_assert_not_null(l);
}

/* Node `far`: the greater, the farther from the key; alone in its prefix. */
struct one {
    uint8_t id[DHT_ID];
};

static struct one node(unsigned far)
{
    return (struct one){ { [2] = (uint8_t)(far >> 8), [3] = (uint8_t)far, [31] = 1 } };
}

static unsigned far_of(const struct dht_candidate *c)
{
    return (unsigned)(c->id[2] << 8 | c->id[3]);
}

static void seed(unsigned far)
{
    static const uint8_t record[] = { 1 };
    struct one n = node(far);
    dht_lookup_seed(l, n.id, 1000 + far, record, 1, true);
}

static void tell_of(const struct dht_candidate *teller, unsigned far, uint64_t prefix,
                    uint8_t record)
{
    struct one n = node(far);
    dht_lookup_told(l, teller, n.id, prefix, &record, 1);
}

static void tell(const struct dht_candidate *teller, unsigned far)
{
    tell_of(teller, far, 1000 + far, 1);
}

/* Asks all that may be asked now; none answers yet. */
static size_t ask_all(struct dht_candidate *asked[static 64])
{
    size_t n = 0;
    while (n < 64 && (asked[n] = dht_lookup_next(l)) != NULL)
        n++;
    return n;
}

/* Everybody who is asked answers with nothing. */
static unsigned run(void)
{
    unsigned n = 0;
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l)) != NULL) {
        n++;
        dht_lookup_answered(l, c, true);
    }
    cr_assert(dht_lookup_is_done(l));
    return n;
}

Test(dht_lookup, is_done_at_once_when_nobody_is_known)
{
    cr_expect(dht_lookup_is_done(l));
    cr_expect_null(dht_lookup_next(l));
}

Test(dht_lookup, asks_each_path_three_at_a_time_nearest_first)
{
    struct dht_candidate *asked[64];
    for (unsigned i = 64; i > 0; i--)
        seed(i);
    cr_assert_eq(ask_all(asked), DHT_PATHS * DHT_ALPHA);
    for (unsigned i = 0; i < DHT_PATHS; i++)
        cr_expect_leq(far_of(asked[i]), DHT_PATHS, "the nearest of each path");
    dht_lookup_answered(l, asked[0], true);
    cr_expect_eq(ask_all(asked), 1);
}

Test(dht_lookup, a_path_ends_when_its_four_nearest_have_answered)
{
    for (unsigned i = 1; i <= 40; i++)
        seed(i);
    cr_expect_eq(run(), DHT_PATHS * DHT_PATH_NEAREST);
}

Test(dht_lookup, no_path_ends_before_its_requests_do)
{
    struct dht_candidate *c;
    seed(1);
    c = dht_lookup_next(l);
    cr_expect_null(dht_lookup_next(l));
    cr_expect_not(dht_lookup_is_done(l));
    dht_lookup_answered(l, c, false);
    cr_expect(dht_lookup_is_done(l));
}

Test(dht_lookup, asks_a_node_once_whoever_names_it)
{
    struct dht_candidate *asked[64];
    for (unsigned i = 101; i <= 104; i++)
        seed(i);
    cr_assert_eq(ask_all(asked), 4);
    for (unsigned i = 0; i < 4; i++) {
        dht_lookup_answered(l, asked[i], true);
        for (unsigned k = 1; k <= 3; k++)
            tell(asked[i], k);
    }
    cr_expect_eq(run(), 3);
    cr_expect_eq(dht_lookup_asked(l), 7);
}

Test(dht_lookup, endless_nearer_nodes_end_a_path_at_its_bound)
{
    struct dht_candidate *c;
    unsigned far = 60000;
    use(&(struct dht_lookup_rules){ .paths = 1, .alpha = 1, .asks = DHT_PATH_ASKS, .nearest = 4 });
    seed(far);
    while ((c = dht_lookup_next(l)) != NULL) {
        dht_lookup_answered(l, c, true);
        tell(c, --far);
    }
    cr_expect_eq(dht_lookup_asked(l), DHT_PATH_ASKS);
    cr_expect(dht_lookup_is_done(l));
}

Test(dht_lookup, a_slow_node_keeps_nobody_waiting_and_may_still_answer)
{
    struct dht_candidate *c;
    struct dht_near near;
    use(&dht_lookup_plain);
    seed(1);
    c = dht_lookup_next(l);
    dht_lookup_slow(l, c);
    cr_expect(dht_lookup_is_done(l));
    dht_lookup_answered(l, c, true);
    dht_lookup_nearest(l, 16, &near);
    cr_expect_eq(dht_near_len(&near), 1);
}

Test(dht_lookup, tells_only_of_those_that_answered)
{
    struct dht_near near;
    struct dht_candidate *asked[64];
    for (unsigned i = 1; i <= 8; i++)
        seed(i);
    size_t n = ask_all(asked);
    for (size_t i = 0; i < n; i++)
        dht_lookup_answered(l, asked[i], far_of(asked[i]) % 2 == 0);
    dht_lookup_nearest(l, 16, &near);
    cr_assert_eq(dht_near_len(&near), 4);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(far_of(dht_near_at(&near, i)->what), 2 * (i + 1));
}

Test(dht_lookup, a_second_node_of_a_prefix_comes_after_the_first_of_others)
{
    struct dht_candidate *teller;
    use(&(struct dht_lookup_rules){ .paths = 1, .alpha = 8, .asks = 20, .nearest = 4 });
    seed(5000);
    teller = dht_lookup_next(l);
    dht_lookup_answered(l, teller, true);
    for (unsigned i = 1; i <= 6; i++)
        tell_of(teller, i, 77, 1);
    for (unsigned i = 11; i <= 14; i++)
        tell(teller, i);
    static const unsigned order[] = { 1, 11, 12, 13 };
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(far_of(dht_lookup_next(l)), order[i]);
}

/* ---- liars ----------------------------------------------------------------------------------- */

/* Four tellers, one on each path, that have answered. */
static void tellers(struct dht_candidate *at[static 64])
{
    for (unsigned i = 60001; i <= 60000 + DHT_PATHS; i++)
        seed(i);
    cr_assert_eq(ask_all(at), DHT_PATHS);
    for (unsigned i = 0; i < DHT_PATHS; i++)
        dht_lookup_answered(l, at[i], true);
}

Test(dht_lookup, a_false_record_does_not_hide_the_true_one_of_another_teller)
{
    struct dht_candidate *at[64], *c;
    tellers(at);
    tell_of(at[0], 5, 1, 0xbd);
    tell_of(at[1], 5, 2, 7);
    c = dht_lookup_next(l);
    cr_assert_eq(far_of(c), 5);
    cr_expect_neq(c->record[0], 7);
    dht_lookup_answered(l, c, false);
    c = dht_lookup_next(l);
    cr_assert_not_null(c);
    cr_expect_eq(far_of(c), 5);
    cr_expect_eq(c->record[0], 7);
    cr_expect_eq(c->prefix, 2);
    dht_lookup_answered(l, c, true);
    cr_expect(dht_lookup_is_done(l));
}

Test(dht_lookup, a_record_that_comes_after_the_false_one_failed_is_tried)
{
    struct dht_candidate *at[64], *c;
    tellers(at);
    tell_of(at[0], 5, 1, 1);
    dht_lookup_answered(l, dht_lookup_next(l), false);
    cr_expect(dht_lookup_is_done(l));
    tell_of(at[0], 5, 1, 2);
    cr_expect(dht_lookup_is_done(l), "the same teller has had its say");
    tell_of(at[1], 5, 1, 2);
    c = dht_lookup_next(l);
    cr_assert_not_null(c);
    cr_expect_eq(c->record[0], 2);
    dht_lookup_answered(l, c, true);
}

Test(dht_lookup, keeps_a_bounded_number_of_records_of_one_node)
{
    struct dht_candidate *at[64], *c;
    unsigned tries = 0;
    tellers(at);
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < DHT_PATHS; i++)
            tell_of(at[i], 5, 1, (uint8_t)(round * 4 + i));
    while ((c = dht_lookup_next(l)) != NULL) {
        dht_lookup_answered(l, c, false);
        tries++;
    }
    cr_expect_eq(tries, DHT_PATHS, "one of each teller");
    cr_expect(dht_lookup_is_done(l));
}

Test(dht_lookup, a_liar_fills_its_own_path_s_share_and_no_other)
{
    struct dht_candidate *at[64], *c;
    bool was_asked = false;
    tellers(at);
    tell(at[1], 40000);
    for (unsigned i = 1; i < 2 * DHT_CANDIDATES; i++)
        tell(at[0], i);
    tell(at[2], 50000);
    unsigned n = 0;
    while ((c = dht_lookup_next(l)) != NULL) {
        was_asked |= far_of(c) == 40000;
        n += far_of(c) == 50000;
        dht_lookup_answered(l, c, false);
    }
    cr_expect(was_asked);
    cr_expect_eq(n, 1);
}

Test(dht_lookup, at_its_share_a_path_keeps_the_nearest)
{
    struct dht_candidate *at[64], *c;
    tellers(at);
    for (unsigned i = 1; i < 2 * DHT_CANDIDATES; i++)
        tell(at[0], 2 * DHT_CANDIDATES - i);
    c = dht_lookup_next(l);
    cr_expect_eq(far_of(c), 1);
    dht_lookup_answered(l, c, true);
}

Test(dht_lookup, prefixes_that_nobody_proved_do_not_make_others_second)
{
    struct dht_candidate *at[64], *c;
    bool was_asked = false;
    tellers(at);
    /* Path 0 claims the prefix of an honest node for a hundred nearer ids; path 1 names it, and
     * four others that are farther. */
    for (unsigned i = 1; i <= 100; i++)
        tell_of(at[0], i, 4242, 1);
    tell_of(at[1], 200, 4242, 1);
    for (unsigned i = 201; i <= 206; i++)
        tell(at[1], i);
    while ((c = dht_lookup_next(l)) != NULL) {
        was_asked |= far_of(c) == 200;
        dht_lookup_answered(l, c, c->path == 1);
    }
    cr_expect(was_asked);
}
