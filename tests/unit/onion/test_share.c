/* A rate that is shared. */
#include <criterion/criterion.h>

#include "base/env.h"
#include "onion/share.h"

static struct onion_share *share;

static void start(void)
{
    share = onion_share_create(1000, 1000);
    cr_assert_not_null(share);
}

static void end(void)
{
    onion_share_destroy(share);
}

TestSuite(onion_share, .init = start, .fini = end);

/* `wants` a second from (prefix, link) for a millisecond each, over `ms`; counts what passed. */
struct wish {
    uint64_t prefix, link;
    unsigned per_ms_x10; /* tenths */
    unsigned got, asked;
};

static void run(struct wish *w, unsigned n, uint64_t from_ms, uint64_t ms)
{
    for (uint64_t t = from_ms; t < from_ms + ms; t++)
        for (unsigned i = 0; i < n; i++)
            for (unsigned k = 0; k < (w[i].per_ms_x10 * (t + 1)) / 10 - w[i].per_ms_x10 * t / 10;
                 k++) {
                w[i].asked++;
                w[i].got += onion_share_take(share, w[i].prefix, w[i].link, ENV_MS(t));
            }
}

Test(onion_share, gives_all_to_one_who_is_alone)
{
    struct wish w = { .prefix = 1, .link = 1, .per_ms_x10 = 50 };
    run(&w, 1, 1000, 4000);
    cr_expect_geq(w.got, 3990u);
    cr_expect_leq(w.got, 5010u);
}

Test(onion_share, lets_everybody_have_a_part_beside_a_flood)
{
    struct wish w[] = { { .prefix = 1, .link = 1, .per_ms_x10 = 200 },
                        { .prefix = 2, .link = 2, .per_ms_x10 = 2 },
                        { .prefix = 3, .link = 3, .per_ms_x10 = 3 } };
    run(w, 1, 1000, 3000); /* the flood was there first */
    w[0].got = 0;
    run(w, 3, 4000, 5000);
    cr_expect_eq(w[1].got, w[1].asked);
    cr_expect_eq(w[2].got, w[2].asked);
    cr_expect_geq(w[0].got, 2200u, "%u: what is over is the flood's", w[0].got);
}

Test(onion_share, is_fair_between_the_links_of_a_prefix)
{
    struct wish w[] = { { .prefix = 1, .link = 1, .per_ms_x10 = 200 },
                        { .prefix = 1, .link = 2, .per_ms_x10 = 2 },
                        { .prefix = 2, .link = 3, .per_ms_x10 = 200 } };
    run(w, 3, 1000, 3000);
    w[1].got = w[1].asked = 0;
    run(w, 3, 4000, 5000);
    cr_expect_eq(w[1].got, w[1].asked);
}

Test(onion_share, does_not_pay_for_many_links_of_one_prefix)
{
    struct wish w[22];
    for (unsigned i = 0; i < 20; i++)
        w[i] = (struct wish){ .prefix = 1, .link = i, .per_ms_x10 = 20 };
    w[20] = (struct wish){ .prefix = 2, .link = 100, .per_ms_x10 = 3 };
    w[21] = (struct wish){ .prefix = 3, .link = 101, .per_ms_x10 = 3 };
    run(w, 22, 1000, 5000);
    cr_expect_eq(w[20].got, w[20].asked);
    cr_expect_eq(w[21].got, w[21].asked);
}

Test(onion_share, forgets_who_rests)
{
    for (uint64_t i = 0; i < 100; i++)
        onion_share_take(share, i, i, ENV_S(1));
    cr_expect_eq(onion_share_prefixes(share), 100u);
    cr_expect(onion_share_take(share, 7, 7, ENV_S(2 + ONION_SHARE_REST_S)));
    cr_expect_eq(onion_share_prefixes(share), 1u);
}
