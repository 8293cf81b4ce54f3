/* A service of ours: what its visitors see when it ends, and what its pivots can make it do. */
#include "guest.h"
#include "onion/service_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9 };

static struct towns t;
static struct inn inn;

static void start(void)
{
    memset(&inn, 0, sizeof inn);
    towns_init(&t, RELAYS, 2, 1, NULL);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

static void end(void)
{
    towns_fini(&t);
}

TestSuite(onion_service, .init = start, .fini = end);

/* ---- the end ------------------------------------------------------------------------------------
 */

Test(onion_service, closing_it_ends_its_streams_and_tells_its_visitors)
{
    static struct guest g = { .keeps_open = true };
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    cr_assert_eq(g.closed, 0u);
    inn_close(&inn);
    cr_expect_eq(inn.closed, 1u, "its own end of the stream is told");
    cr_expect_eq(inn.last, ONION_FAIL_CLOSING);
    cr_expect(towns_until(&t, 1000, guest_is_over, &g), "the visitor is told");
    cr_expect_eq(g.why, ONION_FAIL_LOST, "%s", onion_fail_text(g.why));
}

static void close_inside(struct inn *i)
{
    onion_service_close(i->s);
    i->s = NULL;
}

Test(onion_service, may_be_closed_from_inside_a_visitors_first_cell)
{
    static struct guest g = { .keeps_open = true };
    inn.on_stream = close_inside;
    guest_dial(&g, &t, USER, 80, 1000);
    cr_expect(towns_until(&t, 10000, guest_is_over, &g));
    cr_expect_neq(g.why, ONION_FAIL_NONE);
    towns_run_ms(&t, 2000);
}

Test(onion_service, may_be_closed_from_its_own_changed)
{
    inn_close(&inn);
    inn.on_change = close_inside;
    inn_open(&inn, &t, SERVICE);
    for (unsigned ms = 0; ms < 10000 && inn.s != NULL; ms++)
        towns_run_ms(&t, 1);
    cr_expect_null(inn.s);
    towns_run_ms(&t, 2000);
}

Test(onion_service, can_be_opened_anew_at_once_with_other_keys)
{
    static struct guest g = { .keeps_open = true }, again = { .keeps_open = true };
    guest_dial(&g, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 10000, guest_has_all, &g));
    inn_close(&inn);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
    cr_assert(guest_is_over(&g));
    guest_dial(&again, &t, USER, 80, 1000);
    cr_assert(towns_until(&t, 20000, guest_has_all, &again));
    if (again.closed > 0) { /* it went by the old descriptor: what it sent isn't sent twice */
        cr_expect_eq(again.why, ONION_FAIL_RESET, "%s", onion_fail_text(again.why));
        memset(&again, 0, sizeof again);
        guest_dial(&again, &t, USER, 80, 1000);
        cr_assert(towns_until(&t, 20000, guest_has_all, &again));
    }
    cr_expect_eq(again.got, 1000u, "%s", onion_fail_text(again.why));
}
