/* The price of a splice, and the nonces that were paid with. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/env.h"
#include "mesh/pow.h"
#include "onion/pivot_effort.h"
#include "onion/pivot_nonces.h"

static struct onion_effort e;
static uint64_t t; /* milliseconds */

static void start(void)
{
    t = 1000000;
    onion_effort_init(&e, 10, 20, 100, 0, ENV_MS(t));
}

TestSuite(onion_effort, .init = start);

static uint32_t price(void)
{
    return onion_effort_now(&e, ENV_MS(t));
}

/* `per_s` takes a second for `s` seconds; returns how many there were tokens for. */
static unsigned takes(unsigned per_s, unsigned s)
{
    unsigned got = 0;
    for (unsigned i = 0; i < s * per_s; i++) {
        t += 1000 / per_s;
        (void)price();
        got += onion_effort_take(&e, ENV_MS(t));
    }
    return got;
}

Test(onion_effort, is_nothing_while_all_is_quiet)
{
    for (unsigned i = 0; i < 100; i++) {
        takes(5, 10);
        cr_assert_eq(price(), 0u);
    }
}

Test(onion_effort, doubles_from_eight_every_ten_seconds_while_the_bucket_is_dry)
{
    uint32_t last = ONION_EFFORT_FIRST;
    takes(50, 4);
    cr_expect_eq(price(), 0u, "not in a moment");
    takes(50, 5); /* more than half of the last ten seconds were dry, since two or three ago */
    cr_expect_eq(price(), last);
    takes(50, 5);
    cr_expect_eq(price(), last);
    for (; last <= 64; last *= 2) {
        takes(50, 3);
        cr_expect_eq(price(), 2 * last);
        takes(50, 7);
        cr_expect_eq(price(), 2 * last);
    }
}

Test(onion_effort, does_not_mind_a_dry_second_now_and_then)
{
    for (unsigned i = 0; i < 30; i++) {
        takes(50, 1);
        takes(2, 4);
        cr_assert_eq(price(), 0u);
    }
}

Test(onion_effort, doubles_while_more_than_three_quarters_are_open)
{
    for (unsigned i = 0; i < 75; i++)
        onion_effort_opened(&e, ENV_MS(t));
    cr_expect_eq(price(), 0u);
    onion_effort_opened(&e, ENV_MS(t));
    cr_expect_eq(price(), 8u);
    t += 9999;
    cr_expect_eq(price(), 8u);
    t += 1;
    cr_expect_eq(price(), 16u);
}

Test(onion_effort, halves_every_minute_once_both_are_less_than_half_used)
{
    for (unsigned i = 0; i < 80; i++)
        onion_effort_opened(&e, ENV_MS(t));
    for (unsigned i = 0; i < 3; i++, t += 10000)
        (void)price();
    cr_expect_eq(price(), 64u);
    for (unsigned i = 0; i < 29; i++)
        onion_effort_closed(&e, ENV_MS(t));
    t += 300000;
    cr_expect_eq(price(), 64u, "51 of 100 are open still");
    onion_effort_closed(&e, ENV_MS(t));
    onion_effort_closed(&e, ENV_MS(t));
    t += 59999;
    cr_expect_eq(price(), 64u);
    t += 1;
    cr_expect_eq(price(), 32u);
    t += 60000;
    cr_expect_eq(price(), 16u);
    t += 60000;
    cr_expect_eq(price(), 8u);
    t += 60000;
    cr_expect_eq(price(), 0u);
}

Test(onion_effort, falls_by_itself_while_nobody_asks)
{
    takes(50, 40);
    cr_assert_gt(price(), 32u);
    t += 3600000;
    cr_expect_eq(price(), 0u);
}

Test(onion_effort, stays_up_while_the_bucket_is_half_used)
{
    takes(50, 12);
    cr_assert_eq(price(), 8u);
    takes(10, 300); /* exactly its rate: no dry second, but never half full */
    cr_expect_geq(price(), 8u);
    takes(1, 3600);
    cr_expect_eq(price(), 0u);
}

Test(onion_effort, is_never_under_the_services_lowest)
{
    onion_effort_set(&e, 10, 20, 100, 100, ENV_MS(t));
    cr_expect_eq(price(), 100u);
    takes(50, 9);
    cr_expect_eq(price(), 200u);
    t += 3600000;
    cr_expect_eq(price(), 100u);
    onion_effort_set(&e, 10, 20, 100, 0, ENV_MS(t));
    cr_expect_eq(price(), 0u);
}

Test(onion_effort, ends_at_the_greatest_there_is)
{
    for (unsigned i = 0; i < 40; i++)
        takes(50, 10);
    cr_expect_eq(price(), (uint32_t)MESH_POW_EFFORT_MAX);
    cr_expect_eq(onion_effort_full(&e, ENV_MS(t)), (uint32_t)MESH_POW_EFFORT_MAX);
}

Test(onion_effort, has_a_floor_while_forgotten_nonces_could_count_again)
{
    onion_effort_set(&e, 10, 20, 100, 16, ENV_MS(t));
    cr_expect_eq(onion_effort_full(&e, ENV_MS(t)), 32u);
    t += 3600000;
    cr_expect_eq(price(), 32u);
    onion_effort_reseeded(&e);
    cr_expect_eq(price(), 16u);
}

Test(onion_effort, new_terms_do_not_fill_a_bucket_that_ran_dry)
{
    while (onion_effort_take(&e, ENV_MS(t)))
        ;
    onion_effort_set(&e, 10, 30, 100, 0, ENV_MS(t));
    cr_expect_not(onion_effort_take(&e, ENV_MS(t)));
    t += 1000;
    cr_expect(onion_effort_take(&e, ENV_MS(t)));
}

/* ---- nonces ------------------------------------------------------------------------------------
 */

static struct onion_nonces nonces;

static void nonces_end(void)
{
    onion_nonces_fini(&nonces);
}

TestSuite(onion_nonces, .fini = nonces_end);

static const uint8_t *numbered(uint32_t n)
{
    static uint8_t nonce[16];
    memcpy(nonce, &n, sizeof n);
    return nonce;
}

Test(onion_nonces, knows_every_one_it_took)
{
    cr_expect_not(onion_nonces_has(&nonces, numbered(1)));
    for (uint32_t i = 0; i < ONION_NONCES; i++) {
        cr_assert_not(onion_nonces_has(&nonces, numbered(i)));
        cr_assert_eq(onion_nonces_add(&nonces, numbered(i), 1 + i % 100), 0);
    }
    cr_expect_eq(nonces.len, (size_t)ONION_NONCES);
    for (uint32_t i = 0; i < ONION_NONCES; i++)
        cr_assert(onion_nonces_has(&nonces, numbered(i)));
    cr_expect_eq(onion_nonces_add(&nonces, numbered(ONION_NONCES), 1), CYX_EFULL);
}

Test(onion_nonces, counts_a_repeated_one_once)
{
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(onion_nonces_add(&nonces, numbered(5), 8), 0);
    cr_expect_eq(nonces.len, 1u);
}

Test(onion_nonces, forgets_only_those_that_can_not_have_been_worth_it)
{
    for (uint32_t effort = 1; effort <= 64; effort++)
        cr_assert_eq(onion_nonces_add(&nonces, numbered(effort), effort), 0);
    onion_nonces_below(&nonces, 24);
    for (uint32_t effort = 1; effort <= 64; effort++)
        cr_expect_eq(onion_nonces_has(&nonces, numbered(effort)), effort >= 16, "%u", effort);
    cr_expect_eq(nonces.len, 49u);
}
