#include <criterion/criterion.h>
#include <string.h>

#include "dht/near.h"

enum { NODES = 120 };

struct node {
    uint8_t id[DHT_ID];
    uint64_t prefix;
};

static struct node nodes[NODES];
static const uint8_t key[DHT_ID] = { 0x42 };

/* The same ids each time; `prefixes` of them in turn. */
static void make(unsigned prefixes)
{
    uint32_t x = 7;
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned k = 0; k < DHT_ID; k++)
            nodes[i].id[k] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
        nodes[i].prefix = i % prefixes;
    }
}

static void fill(struct dht_near *n, size_t most, bool any_prefix, bool backwards)
{
    dht_near_init(n, key, most, any_prefix);
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *x = &nodes[backwards ? NODES - 1 - i : i];
        dht_near_add(n, x->id, x->prefix, x);
    }
}

/* The rule again, the slow way: how many nearer ones are of another prefix's first, and so on. */
static bool is_first(const struct node *x)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].prefix == x->prefix && dht_id_is_nearer(key, nodes[i].id, x->id))
            return false;
    return true;
}

static bool goes_before(const struct node *a, const struct node *b, bool any_prefix)
{
    if (!any_prefix && is_first(a) != is_first(b))
        return is_first(a);
    return dht_id_is_nearer(key, a->id, b->id);
}

static size_t place_by_the_rule(const struct node *x, bool any_prefix)
{
    size_t place = 0;
    for (unsigned i = 0; i < NODES; i++)
        place += &nodes[i] != x && goes_before(&nodes[i], x, any_prefix);
    return place;
}

static void expect_rule(size_t most, bool any_prefix, bool backwards)
{
    struct dht_near n;
    fill(&n, most, any_prefix, backwards);
    cr_assert_eq(dht_near_len(&n), most);
    for (size_t i = 0; i < most; i++)
        cr_expect_eq(place_by_the_rule(dht_near_at(&n, i)->what, any_prefix), i, "place %zu", i);
}

Test(dht_near, one_of_each_prefix_comes_before_a_second_of_any)
{
    static const unsigned prefixes[] = { 1, 3, 10, 16, 17, 40, NODES };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        make(prefixes[i]);
        for (size_t most = 1; most <= DHT_NEAR_MAX; most += 5) {
            expect_rule(most, false, false);
            expect_rule(most, false, true);
        }
    }
}

Test(dht_near, is_plain_nearness_in_a_lab_and_where_prefixes_are_many)
{
    struct dht_near plain, ruled;
    make(3);
    expect_rule(16, true, false);
    make(NODES);
    fill(&plain, 16, true, false);
    fill(&ruled, 16, false, false);
    for (size_t i = 0; i < 16; i++)
        cr_expect_eq(dht_near_at(&plain, i)->what, dht_near_at(&ruled, i)->what);
}

Test(dht_near, two_hundred_sybils_in_ten_prefixes_take_ten_places)
{
    struct dht_near n;
    uint8_t sybils[200][DHT_ID];
    size_t theirs = 0;
    make(NODES);
    fill(&n, 16, false, false);
    for (unsigned i = 0; i < 200; i++) {
        memcpy(sybils[i], key, DHT_ID);
        sybils[i][31] = (uint8_t)i;
        dht_near_add(&n, sybils[i], 1000 + i % 10, NULL);
    }
    cr_assert_eq(dht_near_len(&n), 16);
    for (size_t i = 0; i < 16; i++)
        theirs += dht_near_at(&n, i)->what == NULL;
    cr_expect_eq(theirs, 10);
}

Test(dht_near, holds_none_when_none_are_wanted_and_at_most_its_bound)
{
    struct dht_near n;
    make(NODES);
    fill(&n, 0, false, false);
    cr_expect_eq(dht_near_len(&n), 0);
    fill(&n, 1000, false, false);
    cr_expect_eq(dht_near_len(&n), DHT_NEAR_MAX);
}

Test(dht_near, few_prefixes_fill_the_rest_with_second_ones)
{
    struct dht_near n;
    make(2);
    fill(&n, 16, false, false);
    cr_expect_eq(n.n_first, 2);
    cr_expect_eq(dht_near_len(&n), 16);
}
