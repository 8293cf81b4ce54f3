#include <criterion/criterion.h>

#include "tests/unit/onion/crowd.h"

Test(onion_relays, are_those_of_the_roster_that_carry_paths)
{
    struct crowd *c = crowd_start(1, false);
    crowd_fill(c, 20);
    c->nodes[3].roles = MESH_ROLE_HOST;
    crowd_hear(c, &c->nodes[3]);
    c->nodes[4].expiry = CROWD_NOW + 5;
    crowd_hear(c, &c->nodes[4]);
    crowd_refresh(c);
    cr_expect_eq(onion_relays_len(c->relays), 19u);
    cr_expect_null(onion_relays_find(c->relays, c->nodes[3].id));
    cr_expect_not_null(onion_relays_find(c->relays, c->nodes[4].id));
    c->now = CROWD_NOW + 5 + ONION_RELAYS_FRESH_S;
    crowd_refresh(c);
    cr_expect_null(onion_relays_find(c->relays, c->nodes[4].id));
    for (size_t i = 1; i < onion_relays_len(c->relays); i++)
        cr_assert_lt(
            memcmp(onion_relays_at(c->relays, i - 1)->id, onion_relays_at(c->relays, i)->id, 32),
            0);
    cr_expect(onion_relays_is_self(c->relays, c->self));
    crowd_destroy(c);
}

Test(onion_relays, are_decoded_once_and_again_when_their_record_changes)
{
    struct crowd *c = crowd_start(1, false);
    crowd_fill(c, 50);
    crowd_refresh(c);
    cr_expect_eq(c->n_decoded, 50u);
    crowd_refresh(c);
    c->now += 2 * ONION_RELAYS_FRESH_S;
    crowd_refresh(c);
    cr_expect_eq(c->n_decoded, 50u);
    c->nodes[7].capacity = 3999;
    crowd_hear(c, &c->nodes[7]);
    crowd_refresh(c);
    cr_expect_eq(c->n_decoded, 51u);
    cr_expect_eq(onion_relays_find(c->relays, c->nodes[7].id)->weight, 3999u);
    crowd_destroy(c);
}

Test(onion_relays, weigh_at_most_four_times_the_median_and_never_nothing)
{
    struct crowd *c = crowd_start(1, false);
    for (uint8_t i = 0; i < 9; i++)
        (void)crowd_add(c, i, 0, i == 0 ? 0 : i == 8 ? UINT32_MAX : 1000u * i);
    crowd_refresh(c); /* 0, 1000 ... 7000, 2^32 - 1: the median is 4000 */
    for (uint8_t i = 0; i < 9; i++) {
        uint64_t want = i == 0 ? 1 : i == 8 ? 16000 : 1000u * i;
        cr_expect_eq(onion_relays_find(c->relays, c->nodes[i].id)->weight, want, "relay %u", i);
    }
    crowd_destroy(c);
}

Test(onion_relays, of_no_age_are_neither_drawn_nor_counted_once_ages_count)
{
    struct crowd *c = crowd_start(1, false);
    crowd_fill(c, 40);
    for (unsigned i = 0; i < 200; i++) {
        struct mesh_node *n = crowd_add(c, (uint8_t)(40 + i), 0, UINT32_MAX);
        dht_roster_restore(c->roster, n->id, CROWD_NOW - 1800, CROWD_NOW);
    }
    crowd_refresh(c);
    for (size_t i = 0; i < c->n; i++) {
        const struct onion_candidate *r = onion_relays_find(c->relays, c->nodes[i].id);
        cr_assert_eq(r->may_path, i < 40, "relay %zu", i);
        cr_assert_eq(r->may_guard, i < 40, "relay %zu", i);
        cr_assert_leq(r->weight, 4000u, "a flood moves no median");
    }
    c->now += 1800; /* an hour old: for paths, not as guards */
    crowd_refresh(c);
    cr_expect(onion_relays_find(c->relays, c->nodes[100].id)->may_path);
    cr_expect_not(onion_relays_find(c->relays, c->nodes[100].id)->may_guard);
    crowd_destroy(c);
}

Test(onion_relays, of_a_young_network_may_all_be_used)
{
    struct crowd *c = crowd_start(1, false);
    for (uint8_t i = 0; i < 31; i++)
        (void)crowd_add(c, i, 0, 1000);
    struct mesh_node *young = crowd_add(c, 99, 0, 1000);
    dht_roster_restore(c->roster, young->id, CROWD_NOW, CROWD_NOW);
    crowd_refresh(c);
    cr_expect(onion_relays_find(c->relays, young->id)->may_guard);
    (void)crowd_add(c, 32, 0, 1000); /* the 32nd of age */
    crowd_refresh(c);
    cr_expect_not(onion_relays_find(c->relays, young->id)->may_path);
    crowd_destroy(c);
}

static struct mesh_node node_at(const char *a, const char *b, uint8_t family)
{
    struct mesh_node n = { .has_family = family != 0, .family = { family } };
    const char *texts[] = { a, b };
    for (size_t i = 0; i < 2 && texts[i] != NULL; i++) {
        struct mesh_node_addr *at = &n.addrs[n.n_addrs++];
        cr_assert_eq(env_addr_parse(&at->ip, texts[i], NULL), 0);
        at->kind = env_addr_is_v4(&at->ip) ? 4 : 6;
    }
    return n;
}

Test(onion_relays, are_kin_by_family_or_by_any_address)
{
    static const struct {
        const char *a1, *a2, *b1, *b2;
        uint8_t family_a, family_b;
        bool want;
    } cases[] = {
        { "192.0.2.1:1", NULL, "192.0.3.1:1", NULL, 0, 0, true },
        { "192.0.2.1:1", NULL, "192.1.2.1:1", NULL, 0, 0, false },
        { "192.0.2.1:1", NULL, "192.1.2.1:1", NULL, 4, 4, true },
        { "192.0.2.1:1", NULL, "192.1.2.1:1", NULL, 4, 5, false },
        { "192.0.2.1:1", NULL, "192.1.2.1:1", NULL, 4, 0, false },
        { "[2001:db8:1::1]:1", NULL, "[2001:db8:2::1]:1", NULL, 0, 0, true },
        { "[2001:db8::1]:1", NULL, "[2001:db9::1]:1", NULL, 0, 0, false },
        { "192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::9]:1", "198.51.100.1:1", 0, 0, true },
        { "192.0.2.1:1", "[2001:db8::1]:1", "[2001:db9::9]:1", "198.51.100.1:1", 0, 0, false },
        { NULL, NULL, NULL, NULL, 0, 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mesh_node a = node_at(cases[i].a1, cases[i].a2, cases[i].family_a);
        struct mesh_node b = node_at(cases[i].b1, cases[i].b2, cases[i].family_b);
        struct onion_kin x, y;
        onion_kin_of(&x, &a);
        onion_kin_of(&y, &b);
        cr_expect_eq(onion_kin_is_near(&x, &y), cases[i].want, "case %zu", i);
        cr_expect_eq(onion_kin_is_near(&y, &x), cases[i].want, "case %zu", i);
    }
}

static bool anybody(const void *arg, const struct onion_candidate *r)
{
    (void)arg, (void)r;
    return true;
}

static bool nobody(const void *arg, const struct onion_candidate *r)
{
    (void)arg, (void)r;
    return false;
}

Test(onion_relays, are_drawn_by_weight)
{
    struct crowd *c = crowd_start(5, false);
    enum { N = 10, DRAWS = 55000 };
    unsigned got[N] = { 0 };
    for (uint8_t i = 0; i < N; i++)
        (void)crowd_add(c, i, 0, 100u * (i + 1)); /* 100 to 1000, of 5500 */
    crowd_refresh(c);
    for (unsigned k = 0; k < DRAWS; k++) {
        const struct onion_candidate *r = onion_relays_draw(c->relays, &c->dice.env, anybody, NULL);
        got[crowd_node(c, r->id) - c->nodes]++;
    }
    for (unsigned i = 0; i < N; i++) {
        unsigned want = 1000 * (i + 1);
        cr_expect_gt(got[i], want * 85 / 100, "relay %u: %u", i, got[i]);
        cr_expect_lt(got[i], want * 115 / 100, "relay %u: %u", i, got[i]);
    }
    cr_expect_null(onion_relays_draw(c->relays, &c->dice.env, nobody, NULL));
    crowd_destroy(c);
}
