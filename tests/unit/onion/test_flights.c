#include <criterion/criterion.h>
#include <string.h>

#include "base/env.h"
#include "onion/buffers.h"
#include "onion/flights.h"

TestSuite(onion_flights, .timeout = 30);

enum { NOW = 1700000000 };

static uint8_t e[32];
static int conn;

static enum onion_flight enter(struct onion_flights *f, uint8_t which, uint64_t stamp,
                               uint64_t at_s)
{
    e[0] = which;
    return onion_flights_enter(f, e, stamp, NOW + at_s, 0, ENV_S(1000 + at_s), &conn);
}

Test(onion_flights, a_flight_is_fresh_once_and_known_for_as_long_as_its_stamp_is_good)
{
    struct onion_flights *f = onion_flights_create(100, 0, 0);
    void *found = NULL;
    cr_expect_eq(enter(f, 1, NOW, 0), ONION_FLIGHT_FRESH);
    cr_expect_eq(enter(f, 1, NOW, 0), ONION_FLIGHT_KNOWN);
    cr_expect_eq(onion_flights_find(f, e, &found), ONION_FLIGHT_KNOWN);
    cr_expect_eq(found, (void *)&conn);
    onion_flights_over(f, e);
    cr_expect_eq(onion_flights_find(f, e, &found), ONION_FLIGHT_KNOWN);
    cr_expect_null(found);
    cr_expect_eq(enter(f, 1, NOW, 359), ONION_FLIGHT_KNOWN);
    cr_expect_eq(enter(f, 1, NOW, 500), ONION_FLIGHT_STALE); /* forgotten: no matter */
    cr_expect_eq(onion_flights_len(f), 0u);
    onion_flights_destroy(f);
}

Test(onion_flights, whatever_the_stamp_no_flight_is_forgotten_while_it_is_acceptable)
{
    for (int off = -360; off <= 60; off += 20) {
        struct onion_flights *f = onion_flights_create(100, 0, 0);
        uint64_t stamp = (uint64_t)(NOW + off);
        cr_expect_eq(enter(f, 1, stamp, 0), ONION_FLIGHT_FRESH);
        for (uint64_t at = 0; at < 500; at += 5)
            cr_expect_neq(enter(f, 1, stamp, at), ONION_FLIGHT_FRESH, "%d after %llu", off,
                          (unsigned long long)at);
        onion_flights_destroy(f);
    }
}

Test(onion_flights, a_stamp_outside_of_the_window_is_stale_and_not_kept)
{
    struct onion_flights *f = onion_flights_create(100, 0, 0);
    cr_expect_eq(enter(f, 1, NOW - 361, 0), ONION_FLIGHT_STALE);
    cr_expect_eq(enter(f, 2, NOW + 61, 0), ONION_FLIGHT_STALE);
    cr_expect_eq(enter(f, 3, 0, 0), ONION_FLIGHT_STALE);
    cr_expect_eq(enter(f, 4, UINT64_MAX, 0), ONION_FLIGHT_STALE);
    cr_expect_eq(onion_flights_len(f), 0u);
    onion_flights_destroy(f);
}

Test(onion_flights, a_full_cache_makes_early_data_wait_and_forgets_nothing)
{
    struct onion_flights *f = onion_flights_create(3, 0, 0);
    for (uint8_t i = 0; i < 3; i++)
        cr_expect_eq(enter(f, i, NOW, 0), ONION_FLIGHT_FRESH);
    cr_expect_eq(enter(f, 3, NOW, 1), ONION_FLIGHT_WAIT);
    cr_expect_eq(enter(f, 3, NOW, 1), ONION_FLIGHT_WAIT);
    cr_expect_eq(enter(f, 0, NOW, 1), ONION_FLIGHT_KNOWN);
    cr_expect_eq(enter(f, 4, NOW + 480, 483), ONION_FLIGHT_FRESH); /* the three have expired */
    onion_flights_destroy(f);
}

Test(onion_flights, after_a_start_early_data_waits_for_old_keys_and_old_stamps)
{
    struct onion_flights *f = onion_flights_create(100, NOW + 60, ENV_S(1000));
    cr_expect_eq(enter(f, 1, NOW + 60, 10), ONION_FLIGHT_WAIT);
    cr_expect_eq(enter(f, 1, NOW + 60, 10), ONION_FLIGHT_KNOWN);
    cr_expect_eq(enter(f, 2, NOW + 61, 10), ONION_FLIGHT_FRESH);
    e[0] = 3; /* a key drawn since had no earlier flights */
    cr_expect_eq(onion_flights_enter(f, e, NOW, NOW + 10, ENV_S(1001), ENV_S(1010), &conn),
                 ONION_FLIGHT_FRESH);
    onion_flights_destroy(f);
}

Test(onion_flights, when_time_goes_back_early_data_waits_until_the_old_time_is_reached)
{
    struct onion_flights *f = onion_flights_create(100, 0, 0);
    cr_expect_eq(enter(f, 1, NOW + 7200, 7200), ONION_FLIGHT_FRESH);
    onion_flights_doubt(f, NOW + 7200 + 60, ENV_S(8250));
    e[0] = 2;
    cr_expect_eq(onion_flights_enter(f, e, NOW, NOW, 0, ENV_S(8251), &conn), ONION_FLIGHT_WAIT);
    e[0] = 1; /* known by its key, whatever the clocks say */
    cr_expect_eq(onion_flights_find(f, e, NULL), ONION_FLIGHT_KNOWN);
    onion_flights_destroy(f);
}

Test(onion_flights, one_that_nothing_came_of_may_come_again)
{
    struct onion_flights *f = onion_flights_create(100, 0, 0);
    cr_expect_eq(enter(f, 1, NOW, 0), ONION_FLIGHT_FRESH);
    onion_flights_forget(f, e);
    cr_expect_eq(enter(f, 1, NOW, 0), ONION_FLIGHT_FRESH);
    onion_flights_destroy(f);
}

/* ---- buffers --------------------------------------------------------------------------------- */

Test(onion_flights, each_who_takes_of_the_buffers_leaves_as_much_as_it_has)
{
    struct onion_buffers b;
    onion_buffers_init(&b, 6000, 0);
    cr_expect_eq(b.tx.max, (size_t)ONION_BUFFERS_TX);
    size_t first = onion_buffer_take(&b.rx, 1 << 20, 0);
    cr_expect_eq(first, 3000u);
    cr_expect_eq(onion_buffer_take(&b.rx, 100, first), 0u);
    size_t second = onion_buffer_take(&b.rx, 1 << 20, 0);
    cr_expect_eq(second, 1500u);
    size_t third = onion_buffer_take(&b.rx, 10, 0);
    cr_expect_eq(third, 10u);
    onion_buffer_return(&b.rx, first + second + third);
    cr_expect_eq(b.rx.used, 0u);
}
