#include <criterion/criterion.h>

#include "base/env.h"
#include "mesh/budget.h"

Test(mesh_budget, a_new_bucket_is_full_and_no_more)
{
    struct mesh_bucket b;
    mesh_bucket_init(&b, 10, 40, 5);
    for (unsigned i = 0; i < 40; i++)
        cr_assert(mesh_bucket_take(&b, 1, 5));
    cr_expect_not(mesh_bucket_take(&b, 1, 5));
    cr_expect_not(mesh_bucket_take(&b, 41, ENV_S(1000)), "more than it can ever hold");
}

Test(mesh_budget, refills_at_its_rate_even_when_asked_all_the_time)
{
    struct mesh_bucket b;
    unsigned taken = 0;
    mesh_bucket_init(&b, 10, 40, 0);
    cr_assert(mesh_bucket_take(&b, 40, 0));
    for (uint64_t t = 0; t <= ENV_S(3); t += 700) /* a flood: 1.4 million asks a second */
        taken += mesh_bucket_take(&b, 1, t);
    cr_expect_geq(taken, 29u);
    cr_expect_leq(taken, 30u);
}

Test(mesh_budget, says_exactly_when_tokens_will_be_there)
{
    struct mesh_bucket b;
    mesh_bucket_init(&b, 3, 5, 77);
    cr_expect_eq(mesh_bucket_when(&b, 5, 100), 100u);
    cr_assert(mesh_bucket_take(&b, 5, 100));
    uint64_t at = mesh_bucket_when(&b, 2, 100);
    cr_expect_leq(at, 100 + ENV_S(2) / 3 + 2);
    cr_expect_not(mesh_bucket_take(&b, 2, at - 2));
    cr_expect(mesh_bucket_take(&b, 2, at));
    cr_expect_eq(mesh_bucket_when(&b, 6, at), UINT64_MAX);
    mesh_bucket_init(&b, 0, 1, 0);
    cr_expect(mesh_bucket_take(&b, 1, 0));
    cr_expect_eq(mesh_bucket_when(&b, 1, 9), UINT64_MAX);
}

Test(mesh_budget, bears_every_extreme_of_rate_time_and_burst)
{
    struct mesh_bucket b;
    mesh_bucket_init(&b, UINT64_MAX, UINT64_MAX, 0);
    uint64_t most = b.burst;
    cr_expect(mesh_bucket_take(&b, most, 0));
    cr_expect_not(mesh_bucket_take(&b, 1, 0));
    cr_expect(mesh_bucket_take(&b, most, UINT64_MAX));
    mesh_bucket_init(&b, 1, 1, ENV_S(50));
    cr_expect(mesh_bucket_take(&b, 1, ENV_S(50)));
    cr_expect_not(mesh_bucket_take(&b, 1, 0), "time before its last look gives nothing");
    cr_expect_eq(b.at_ns, ENV_S(50));
    cr_expect(mesh_bucket_take(&b, 1, ENV_S(51)));
    mesh_bucket_init(&b, 1, most, UINT64_MAX - 1);
    cr_expect(mesh_bucket_take(&b, most, UINT64_MAX - 1));
    cr_expect_eq(mesh_bucket_when(&b, most, UINT64_MAX), UINT64_MAX);
}

Test(mesh_budget, each_prefix_has_its_own_bucket)
{
    struct mesh_prefix_budget *p = mesh_prefix_budget_create(8, 10, 2);
    for (uint64_t prefix = 0; prefix < 8; prefix++) {
        cr_expect(mesh_prefix_budget_take(p, prefix, 0));
        cr_expect(mesh_prefix_budget_take(p, prefix, 0));
        cr_expect_not(mesh_prefix_budget_take(p, prefix, 0));
    }
    cr_expect(mesh_prefix_budget_take(p, 3, ENV_MS(100)));
    cr_expect_not(mesh_prefix_budget_take(p, 3, ENV_MS(100)));
    mesh_prefix_budget_destroy(p);
}

Test(mesh_budget, when_full_the_prefix_idle_longest_gives_way)
{
    struct mesh_prefix_budget *p = mesh_prefix_budget_create(3, 0, 1);
    for (uint64_t prefix = 1; prefix <= 3; prefix++)
        cr_assert(mesh_prefix_budget_take(p, prefix, prefix));
    cr_expect_not(mesh_prefix_budget_take(p, 1, 4), "asking counts as use");
    cr_expect(mesh_prefix_budget_take(p, 4, 5), "takes the place of 2");
    cr_expect_not(mesh_prefix_budget_take(p, 1, 6));
    cr_expect_not(mesh_prefix_budget_take(p, 3, 6));
    cr_expect(mesh_prefix_budget_take(p, 2, 7), "was forgotten");
    mesh_prefix_budget_destroy(p);
    mesh_prefix_budget_destroy(NULL);
}

Test(mesh_budget, counts_name_the_prefix_that_holds_most)
{
    struct mesh_prefix_count *p = mesh_prefix_count_create();
    size_t n = 9;
    cr_expect_eq(mesh_prefix_count_greatest(p, &n), 0u);
    cr_expect_eq(n, 0u);
    mesh_prefix_count_sub(p, 5);
    uint64_t x = 2463534242u;
    size_t have[50] = { 0 };
    for (unsigned step = 0; step < 20000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t prefix = x % 50;
        if ((x >> 20) % 5 < 3) {
            cr_assert(mesh_prefix_count_add(p, prefix, NULL));
            have[prefix]++;
        } else {
            mesh_prefix_count_sub(p, prefix);
            have[prefix] -= have[prefix] > 0;
        }
        size_t most = 0;
        for (size_t i = 0; i < 50; i++)
            most = have[i] > most ? have[i] : most;
        uint64_t greatest = mesh_prefix_count_greatest(p, &n);
        cr_assert_eq(n, most);
        if (most > 0)
            cr_assert_eq(have[greatest], most);
        cr_assert_eq(mesh_prefix_count_get(p, prefix), have[prefix]);
    }
    mesh_prefix_count_destroy(p);
    mesh_prefix_count_destroy(NULL);
}
