#include <criterion/criterion.h>
#include <string.h>

#include "dht/limits.h"
#include "dht/table.h"

static const uint8_t self[DHT_ID];
static struct dht_table *table;
static const struct dht_contact *probe;

static void begin(void)
{
    table = dht_table_create(self, false);
    cr_assert_not_null(table);
}

static void end(void)
{
    dht_table_destroy(table);
}

TestSuite(dht_table, .init = begin, .fini = end);

/* Node `number` of a bucket: shares so many leading bits with us, and is alone in its prefix. */
struct one {
    struct dht_sighting s;
    uint8_t record[4];
};

static struct one node(unsigned bucket, unsigned number)
{
    struct one n = { .s = { .sequence = 1, .len = 4 }, .record = { 1, 2, 3, 4 } };
    n.s.to.id[bucket / 8] = (uint8_t)(0x80u >> (bucket % 8));
    n.s.to.id[30] = (uint8_t)(number >> 8);
    n.s.to.id[31] = (uint8_t)number;
    n.s.to.addr = env_addr_v4(10, (uint8_t)(number >> 8), (uint8_t)number, 1, 4100);
    return n;
}

static struct one node_of(unsigned bucket, unsigned number, uint8_t prefix)
{
    struct one n = node(bucket, number);
    n.s.to.addr = env_addr_v4(192, 168, prefix, (uint8_t)number, 4100);
    return n;
}

static enum dht_seen seen_at(struct one n, uint64_t now_ns)
{
    n.s.record = n.record;
    return dht_table_seen(table, &n.s, now_ns, &probe);
}

static enum dht_seen seen(struct one n)
{
    return seen_at(n, 1);
}

static void fill(unsigned bucket)
{
    for (unsigned i = 0; i < DHT_K; i++)
        cr_assert_eq(seen(node(bucket, i)), DHT_SEEN_ADDED);
}

static const struct dht_contact *get(struct one n)
{
    return dht_table_get(table, n.s.to.id);
}

static bool fail(struct one n)
{
    return dht_table_failed(table, n.s.to.id);
}

Test(dht_table, takes_who_answered_and_never_ourselves)
{
    struct one us = node(0, 0);
    memset(us.s.to.id, 0, DHT_ID);
    cr_expect_eq(seen(us), DHT_SEEN_NO);
    cr_expect_eq(seen(node(3, 1)), DHT_SEEN_ADDED);
    cr_expect_eq(seen(node(3, 1)), DHT_SEEN_KNOWN);
    cr_expect_eq(get(node(3, 1))->bucket, 3);
    cr_expect_eq(get(node(3, 1))->len, 4);
    cr_expect_eq(seen(node(255, 1)), DHT_SEEN_ADDED, "our nearest possible neighbour");
    cr_expect_eq(dht_table_len(table), 2);
    cr_expect_eq(dht_table_buckets(table), 2);
}

Test(dht_table, a_full_bucket_lets_newcomers_wait_and_costs_nobody_a_place)
{
    fill(0);
    for (unsigned i = DHT_K; i < 10 * DHT_K; i++)
        cr_expect_eq(seen(node(0, i)), DHT_SEEN_WAITS);
    cr_expect_eq(dht_table_len(table), DHT_K);
    cr_expect_eq(dht_table_replacements(table), DHT_REPLACEMENTS);
    for (unsigned i = 0; i < DHT_K; i++)
        cr_expect_not_null(get(node(0, i)));
    cr_expect_null(get(node(0, 10 * DHT_K - 1)), "replacements have no place");
}

Test(dht_table, the_most_silent_contact_is_pinged_once_it_is_stale)
{
    fill(0);
    uint64_t stale = 1 + ENV_MS(DHT_STALE_MS);
    cr_expect_eq(seen_at(node(0, 50), stale - 1), DHT_SEEN_WAITS);
    cr_expect_null(probe);
    cr_expect_eq(seen_at(node(0, 51), stale), DHT_SEEN_WAITS);
    cr_assert_not_null(probe);
    cr_expect_eq(probe, get(node(0, 0)));
    cr_expect_eq(seen_at(node(0, 52), stale), DHT_SEEN_WAITS);
    cr_expect_null(probe, "one at a time");
}

Test(dht_table, a_pinged_contact_that_answers_keeps_its_place)
{
    uint64_t stale = 1 + ENV_MS(DHT_STALE_MS);
    fill(0);
    (void)seen_at(node(0, 50), stale);
    dht_table_answered(table, node(0, 0).s.to.id, stale);
    cr_expect_not(get(node(0, 0))->is_probed);
    (void)seen_at(node(0, 51), stale);
    cr_expect_eq(probe, get(node(0, 1)), "the next most silent one");
}

Test(dht_table, a_pinged_contact_that_does_not_goes_for_the_freshest_that_waits)
{
    fill(0);
    (void)seen(node(0, 50));
    (void)seen_at(node(0, 51), 1 + ENV_MS(DHT_STALE_MS));
    cr_expect(fail(node(0, 0)));
    cr_expect_null(get(node(0, 0)));
    cr_expect_not_null(get(node(0, 51)));
    cr_expect_null(get(node(0, 50)));
    cr_expect_eq(dht_table_len(table), DHT_K);
}

Test(dht_table, a_contact_that_could_not_be_pinged_is_pinged_another_time)
{
    uint64_t stale = 1 + ENV_MS(DHT_STALE_MS);
    fill(0);
    (void)seen_at(node(0, 50), stale);
    dht_table_unprobe(table, node(0, 0).s.to.id);
    cr_expect_not(fail(node(0, 0)), "and one failure is not enough then");
    (void)seen_at(node(0, 51), stale);
    cr_expect_eq(probe, get(node(0, 0)));
}

Test(dht_table, two_failures_in_a_row_cost_the_place)
{
    (void)seen(node(0, 1));
    cr_expect_not(fail(node(0, 1)));
    (void)seen(node(0, 1));
    cr_expect_not(fail(node(0, 1)), "it answered between them");
    cr_expect(fail(node(0, 1)));
    cr_expect_not(fail(node(0, 1)));
    cr_expect_eq(dht_table_len(table), 0);
}

Test(dht_table, who_asks_but_does_not_answer_loses_its_place)
{
    uint64_t stale = 1 + ENV_MS(DHT_STALE_MS);
    (void)seen(node(0, 1));
    dht_table_touch(table, node(0, 1).s.to.id, 5);
    cr_expect_eq(get(node(0, 1))->seen_ns, 5);
    (void)fail(node(0, 1));
    dht_table_touch(table, node(0, 1).s.to.id, 6);
    cr_expect(fail(node(0, 1)));
    fill(1);
    (void)seen_at(node(1, 50), stale);
    dht_table_touch(table, node(1, 0).s.to.id, stale);
    cr_expect(fail(node(1, 0)), "a request does not answer the ping");
}

Test(dht_table, two_of_a_prefix_live_in_a_bucket_and_two_wait)
{
    cr_expect_eq(seen(node_of(0, 1, 7)), DHT_SEEN_ADDED);
    cr_expect_eq(seen(node_of(0, 2, 7)), DHT_SEEN_ADDED);
    cr_expect_eq(seen(node_of(0, 3, 7)), DHT_SEEN_NO);
    cr_expect_eq(seen(node_of(1, 1, 7)), DHT_SEEN_ADDED, "each bucket for itself");
    fill(2);
    for (unsigned i = 20; i < 40; i++)
        cr_expect_eq(seen(node_of(2, i, 7)), DHT_SEEN_WAITS);
    cr_expect_eq(dht_table_replacements(table), DHT_PREFIX_BUCKET);
}

Test(dht_table, a_lab_has_no_prefix_limits)
{
    dht_table_destroy(table);
    table = dht_table_create(self, true);
    for (unsigned i = 0; i < DHT_K; i++)
        cr_expect_eq(seen(node_of(0, i, 7)), DHT_SEEN_ADDED);
}

Test(dht_table, a_replacement_of_a_full_prefix_waits_on)
{
    for (unsigned i = 0; i < DHT_K - 2; i++)
        (void)seen(node(0, i));
    (void)seen(node_of(0, 100, 7));
    (void)seen(node_of(0, 101, 8));
    (void)seen(node_of(0, 102, 7));
    (void)seen(node_of(0, 103, 7));
    struct one moved = node_of(0, 101, 7); /* now two of 7 live */
    (void)seen(moved);
    dht_table_remove(table, node(0, 0).s.to.id);
    cr_expect_eq(dht_table_len(table), DHT_K - 1);
    cr_expect_eq(dht_table_replacements(table), 2);
    dht_table_remove(table, moved.s.to.id);
    cr_expect_not_null(get(node_of(0, 103, 7)));
    cr_expect_eq(seen(node_of(0, 102, 7)), DHT_SEEN_WAITS, "two of its prefix live again");
}

Test(dht_table, who_waits_takes_a_free_place_when_seen_again)
{
    fill(0);
    (void)seen(node_of(0, 100, 7));
    (void)seen(node_of(0, 101, 7));
    dht_table_remove(table, node(0, 0).s.to.id);
    dht_table_remove(table, node(0, 1).s.to.id);
    cr_expect_eq(dht_table_len(table), DHT_K);
    dht_table_remove(table, node(0, 2).s.to.id);
    cr_expect_eq(seen(node_of(0, 102, 9)), DHT_SEEN_ADDED);
}

Test(dht_table, a_move_into_a_full_prefix_costs_the_place_for_one_that_waits)
{
    for (unsigned i = 0; i < DHT_K - 2; i++)
        (void)seen(node(0, i));
    (void)seen(node_of(0, 100, 7));
    (void)seen(node_of(0, 101, 7));
    (void)seen(node(0, 200));
    cr_expect_eq(seen(node_of(0, 0, 7)), DHT_SEEN_NO);
    cr_expect_null(get(node(0, 0)));
    cr_expect_not_null(get(node(0, 200)));
}

Test(dht_table, an_older_record_never_replaces_a_newer_one)
{
    struct one new = node(0, 1);
    struct one old = node_of(0, 1, 9);
    new.s.sequence = 5;
    new.record[0] = 5;
    (void)seen(new);
    cr_expect_eq(seen(old), DHT_SEEN_KNOWN);
    cr_expect_eq(get(new)->sequence, 5);
    cr_expect_eq(get(new)->record[0], 5);
    cr_expect(env_addr_equal(&get(new)->to.addr, &new.s.to.addr));
    old.s.sequence = 6;
    (void)seen(old);
    cr_expect_eq(get(new)->record[0], 1);
    cr_expect(env_addr_equal(&get(new)->to.addr, &old.s.to.addr));
}

Test(dht_table, tells_the_nearest_by_the_rule_and_counts_who_is_nearer)
{
    struct dht_near near;
    struct one at = node(7, 7);
    struct one fifth = node(5, 5);
    for (unsigned b = 0; b < 20; b++)
        (void)seen(node(b, b));
    (void)seen(node_of(30, 1, 3));
    (void)seen(node_of(31, 2, 3));
    dht_table_nearest(table, at.s.to.id, 4, &near);
    cr_expect_eq(dht_near_at(&near, 0)->what, get(at));
    cr_expect_eq(dht_table_nearer(table, at.s.to.id, self, 32), 1);
    cr_expect_eq(dht_table_nearer(table, self, fifth.s.to.id, 32), 15, "of prefix 3 one counts");
    cr_expect_eq(dht_table_nearer(table, self, fifth.s.to.id, 4), 4, "no further than asked");
    cr_expect_eq(dht_table_nearer(table, self, fifth.s.to.id, 0), 0);
}

Test(dht_table, refresh_goes_through_the_buckets_from_the_widest)
{
    (void)seen(node(2, 0));
    cr_expect_eq(dht_table_unlooked(table, 1), 0);
    dht_table_looked(table, node(0, 0).s.to.id, 10);
    cr_expect_eq(dht_table_unlooked(table, 1), 1);
    dht_table_looked(table, node(1, 0).s.to.id, 10);
    dht_table_looked(table, node(2, 0).s.to.id, 10);
    cr_expect_eq(dht_table_unlooked(table, 10), -1);
    cr_expect_eq(dht_table_unlooked(table, 11), 0);
    dht_table_looked(table, self, 10); /* no bucket: harmless */
}

Test(dht_table, estimates_how_many_nodes_there_are)
{
    cr_expect_eq(dht_table_estimate(table), 0);
    uint32_t x = 1;
    for (unsigned i = 0; i < 1000; i++) {
        struct one n = node(0, i);
        for (unsigned k = 0; k < DHT_ID; k++)
            n.s.to.id[k] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
        (void)seen(n);
    }
    uint64_t guess = dht_table_estimate(table);
    cr_expect(guess > 300 && guess < 3000, "%lu", (unsigned long)guess);
}
