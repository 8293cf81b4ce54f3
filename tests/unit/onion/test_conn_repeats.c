/* What a pivot can send again, and when. */
#include <criterion/criterion.h>
#include <string.h>

#include "conn_case.h"

Test(onion_conn_paths, repeated_first_flight_starts_nothing_and_after_message_3_moves_nothing)
{
    struct pair *p = pair_create();
    p->serve = conn_serve_nothing;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    e->ends = false;
    struct onion_early flight = conn_early_of(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 300);
    conn_inject_early(p, &flight, 2);
    pair_run(p, 100);
    struct onion_conns_info i;
    onion_conns_info(p->conns, &i);
    cr_expect_eq(p->accepted, 1u);
    cr_expect_eq(i.repeated, 1u);
    cr_expect_eq(p->n_answers, 1u);
    cr_expect_eq(p->answers[0].received, 100u);
    cr_expect(onion_conn_is_bound(p->service, 2));
    /* All that the service says now goes to 1. */
    struct pair_end *a = &p->answers[0];
    a->to_send = 100000;
    pair_serve_pattern(p, a);
    pair_poke(p);
    pair_run(p, 3000);
    cr_expect_eq(e->received, 100000u);
    cr_expect_eq(p->to_client_on[2], 0u);
    pair_destroy(p);
}

Test(onion_conn_paths, client_without_message_2_gets_it_through_another_pivot)
{
    struct pair *p = pair_create();
    p->serve = conn_serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    struct onion_early flight = conn_early_of(p);
    p->down.loss_ppm = 1000000;
    onion_conn_path_up(p->client, 1, &flight, ONION_EARLY_TO_SEND);
    pair_poke(p);
    pair_run(p, 60);
    cr_assert_eq(p->accepted, 1u);
    cr_expect_not(p->client_open);
    p->down.loss_ppm = 0;
    p->cut[1] = true;
    flight = conn_early_of(p);
    cr_expect_eq(flight.kind, ONION_KIND_QUIC);
    conn_inject_early(p, &flight, 2); /* in the train */
    onion_conn_path_up(p->client, 2, &flight, ONION_EARLY_WENT);
    uint64_t start = pair_now(p);
    cr_assert(pair_until(p, &p->client_open, 100));
    cr_expect_leq(pair_now(p) - start, SIM_MS(51)); /* kept for this: no time-out in between */
    cr_assert(pair_until(p, &e->is_closed, 2000));
    cr_expect_eq(p->accepted, 1u);
    cr_expect_eq(p->n_answers, 1u);
    cr_expect_eq(e->received, 1000u);
    pair_destroy(p);
}

Test(onion_conn_paths, flight_of_a_connection_that_is_over_starts_no_other)
{
    struct pair *p = pair_create();
    p->serve = conn_serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    struct onion_early flight = conn_early_of(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    onion_conn_close(p->client, ONION_CODE_DONE);
    pair_poke(p);
    cr_assert(pair_until(p, &p->service_over, 2000));
    conn_inject_early(p, &flight, 2);
    pair_run(p, 100);
    cr_expect_eq(p->accepted, 1u);
    cr_expect_eq(p->n_answers, 1u);
    cr_expect_eq(p->last_closed, 2u);
    cr_expect_eq(p->last_close, ONION_CLOSE_REFUSED);
    pair_destroy(p);
}

Test(onion_conn_paths, repeated_1rtt_packet_on_another_splice_moves_nothing)
{
    struct pair_end *e;
    struct pair *p = conn_open_pair(&e);
    struct onion_early early = conn_early_of(p);
    conn_inject_early(p, &early, 2); /* bound: the worst case */
    p->records = true;
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(onion_conn_datagram(p->client, 1, 1, "x", 1), 0);
        pair_poke(p);
        pair_run(p, 100);
    }
    p->records = false;
    cr_expect_eq(p->n_datagrams, 5u);
    unsigned n = 0;
    for (unsigned i = 0; i < p->n_tape; i++)
        if (p->tape[i].to_service) {
            pair_inject(p, &p->tape[i], 2);
            n++;
        }
    cr_assert_geq(n, 5u);
    pair_run(p, 100);
    cr_expect_eq(p->service->answer, 1u);
    cr_expect_eq(p->n_datagrams, 5u);
    struct pair_end *a = &p->answers[0];
    a->to_send = 20000;
    pair_serve_pattern(p, a);
    pair_poke(p);
    pair_run(p, 2000);
    cr_expect_eq(e->received, 20000u);
    cr_expect_eq(p->to_client_on[2], 0u);
    pair_destroy(p);
}

Test(onion_conn_paths, early_data_waits_for_message_3_after_a_restart)
{
    struct pair *p = pair_create();
    p->serve = conn_serve_1000;
    onion_flights_doubt(p->flights, p->net_time + 3600, pair_now(p));
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 3000);
    cr_assert_eq(onion_conn_datagram(p->client, 1, 1, "x", 1), 0);
    pair_up(p, 1);
    pair_run(p, 120); /* the flight is there, message 3 isn't */
    cr_expect_eq(p->accepted, 1u);
    cr_expect_eq(p->n_answers, 0u);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    cr_expect_eq(p->answers[0].received, 3000u);
    cr_expect_eq(p->answers[0].early, 0u);
    cr_expect_not(p->answers[0].is_early);
    cr_expect_eq(e->received, 1000u);
    cr_expect_eq(p->n_datagrams, 0u);
    struct onion_conns_info i;
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.waiting, 1u);
    pair_destroy(p);
}

Test(onion_conn_paths, stamp_out_of_the_window_is_met_with_silence)
{
    const int64_t off[] = { -430, -300, 50, 130 };
    const bool is_taken[] = { false, true, true, false };
    for (unsigned i = 0; i < 4; i++) {
        struct pair *p = pair_create();
        p->net_time += (uint64_t)off[i];
        pair_connect(p);
        p->net_time -= (uint64_t)off[i];
        (void)pair_open(p, 80, 10);
        pair_up(p, 1);
        pair_run(p, 500);
        cr_expect_eq(p->accepted, is_taken[i] ? 1u : 0u, "%lld s", (long long)off[i]);
        cr_expect_eq(p->cells_down > 0, is_taken[i]);
        pair_destroy(p);
    }
}

Test(onion_conn_paths, service_takes_no_more_connections_than_its_bound)
{
    struct pair *p = pair_create();
    struct onion_conns_info i;
    p->refuses = true;
    pair_connect(p);
    (void)pair_open(p, 80, 10);
    pair_up(p, 1);
    pair_run(p, 200);
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.n, 0u);
    cr_expect_geq(i.dropped[DROP_LOAD], 1u);
    cr_expect_eq(p->last_close, ONION_CLOSE_LIMIT);
    cr_expect_eq(p->cells_down, 0u);
    pair_destroy(p);
}
