/* Splices that come and go under a connection, and what a pivot can do to it. */
#include <criterion/criterion.h>
#include <string.h>

#include "stream_pair.h"

TestSuite(onion_conn_paths, .timeout = 60);

enum { MB = 1000 * 1000 };

static void serve_long(struct pair *p, struct pair_end *e)
{
    e->to_send = 20 * MB;
    pair_serve_pattern(p, e);
}

static void serve_nothing(struct pair *p, struct pair_end *e)
{
    (void)p;
    e->ends = false;
}

static void serve_1000(struct pair *p, struct pair_end *e)
{
    e->to_send = 1000;
    pair_serve_pattern(p, e);
}

static struct onion_early early_of(struct pair *p)
{
    struct onion_early e;
    cr_assert_eq(onion_conn_early(p->client, &e), 0);
    return e;
}

static void inject_early(struct pair *p, const struct onion_early *e, uint32_t splice)
{
    struct pair_cell c = { .len = e->len, .kind = e->kind, .to_service = true };
    memcpy(c.bytes, e->bytes, e->len);
    pair_inject(p, &c, splice);
    pair_run(p, 1);
}

static struct pair *open_pair(struct pair_end **e)
{
    struct pair *p = pair_create();
    p->serve = serve_nothing;
    pair_connect(p);
    *e = pair_open(p, 80, 100);
    (*e)->ends = false;
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 300);
    return p;
}

/* ---- another path ---------------------------------------------------------------------------- */

Test(onion_conn_paths, download_survives_the_death_of_its_path)
{
    struct pair *p = pair_create();
    p->serve = serve_long;
    p->up.delay_ns = p->down.delay_ns = SIM_MS(20);
    p->down.loss_ppm = 1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    pair_up(p, 1);
    while (e->received < 5 * MB)
        cr_assert(sim_step(p->world));
    p->cut[1] = true;
    uint64_t died = pair_now(p);
    cr_assert(pair_until(p, &p->is_dead, 10000)); /* it only receives, and finds out all the same */
    cr_expect_lt(pair_now(p) - died, SIM_MS(4000));
    struct onion_early early = early_of(p);
    cr_expect_eq(early.kind, ONION_KIND_ATTACH);
    cr_expect_eq(early.len, (size_t)ONION_LOCATOR);
    onion_conn_path_down(p->client, 1);
    pair_run(p, 200); /* the build */
    onion_conn_path_up(p->client, 2, &early, ONION_EARLY_TO_SEND);
    cr_assert(pair_until(p, &e->has_ended, 30000), "got %llu", (unsigned long long)e->received);
    cr_expect_eq(e->received, 20u * MB);
    cr_expect_not(e->is_wrong);
    struct onion_conns_info i;
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.attached, 1u);
    cr_expect_eq(i.accepted, 1u);
    pair_destroy(p);
}

/* Noise in the shape of a 1-RTT packet, as a pivot can write it that forwards nothing else. */
static void inject_noise(struct pair *p, uint32_t splice)
{
    struct pair_cell c = { .len = 600, .kind = ONION_KIND_QUIC };
    memset(c.bytes, 0x5a, sizeof c.bytes);
    c.bytes[0] = 0x40;
    pair_inject(p, &c, splice);
}

Test(onion_conn_paths, noise_keeps_no_dead_path_alive)
{
    struct pair *p = pair_create();
    p->serve = serve_long;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    pair_up(p, 1);
    while (e->received < MB)
        cr_assert(sim_step(p->world));
    p->cut[1] = true;
    for (unsigned i = 0; i < 50 && !p->is_dead; i++) {
        inject_noise(p, 1);
        pair_run(p, 100);
    }
    cr_expect(p->is_dead);
    pair_destroy(p);
}

Test(onion_conn_paths, one_dead_path_after_the_other_is_asked_about_ever_more_rarely)
{
    struct pair *p = pair_create();
    p->serve = serve_long;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    pair_up(p, 1);
    while (e->received < MB)
        cr_assert(sim_step(p->world));
    unsigned n = 0;
    memset(p->cut, true, sizeof p->cut);
    for (uint32_t splice = 2; pair_until(p, &p->is_dead, 20000) && !p->client_over; splice++, n++) {
        struct onion_early early = early_of(p);
        p->is_dead = false;
        onion_conn_path_down(p->client, splice - 1);
        onion_conn_path_up(p->client, splice % 16, &early, ONION_EARLY_TO_SEND);
    }
    cr_expect_geq(n, 4u, "%u paths", n);
    cr_expect_leq(n, 10u, "%u paths in a minute", n);
    pair_destroy(p);
}

Test(onion_conn_paths, upload_survives_with_the_locator_in_the_train)
{
    struct pair *p = pair_create();
    p->serve = serve_nothing;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 8 * MB);
    pair_up(p, 1);
    while (p->n_answers == 0 || p->answers[0].received < 2 * MB)
        cr_assert(sim_step(p->world));
    p->cut[1] = true;
    cr_assert(pair_until(p, &p->is_dead, 10000));
    struct onion_early early = early_of(p);
    inject_early(p, &early, 2);
    onion_conn_path_up(p->client, 2, &early, ONION_EARLY_WENT);
    cr_assert(pair_until(p, &p->answers[0].has_ended, 30000));
    cr_expect_eq(p->answers[0].received, 8u * MB);
    cr_expect_not(p->answers[0].is_wrong);
    (void)e;
    pair_destroy(p);
}

Test(onion_conn_paths, attach_goes_ahead_of_the_first_three_cells_only)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    p->down.loss_ppm = 1000000; /* no answer confirms it */
    p->records = true;
    struct onion_early early = early_of(p);
    onion_conn_path_up(p->client, 2, &early, ONION_EARLY_TO_SEND);
    for (unsigned i = 0; i < 6; i++) {
        e->to_send += 10;
        pair_poke(p);
        cr_assert_eq(onion_conn_datagram(p->client, 1, 1, "x", 1), 0);
        pair_run(p, 5);
    }
    unsigned attaches = 0, last = 0;
    for (unsigned i = 0; i < p->n_tape; i++)
        if (p->tape[i].to_service && p->tape[i].kind == ONION_KIND_ATTACH) {
            attaches++;
            last = i;
            cr_expect_eq(p->tape[i].len, (size_t)ONION_LOCATOR);
        }
    cr_expect_eq(attaches, (unsigned)ONION_ATTACH_TIMES);
    cr_expect_gt(p->n_tape, last + 2u);
    pair_destroy(p);
}

Test(onion_conn_paths, locator_is_good_once_and_the_next_sixteen_are_kept)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    struct onion_early first = early_of(p), l[ONION_LOCATORS];
    struct onion_conns_info i;
    inject_early(p, &first, 2);
    cr_expect(onion_conn_is_bound(p->service, 2));
    inject_early(p, &first, 2); /* again on its own splice: nothing */
    inject_early(p, &first, 3); /* on another: neither */
    cr_expect_not(onion_conn_is_bound(p->service, 3));
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.attached, 1u);
    cr_expect_eq(i.dropped[DROP_UNKNOWN], 1u);
    for (unsigned k = 0; k < ONION_LOCATORS - 1; k++)
        l[k] = early_of(p);
    inject_early(p, &l[ONION_LOCATORS - 2], 4); /* 14 were lost before it */
    cr_expect(onion_conn_is_bound(p->service, 4));
    inject_early(p, &l[0], 5); /* and are over */
    cr_expect_not(onion_conn_is_bound(p->service, 5));
    pair_destroy(p);
}

Test(onion_conn_paths, client_whose_locators_all_failed_begins_again_at_the_oldest)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    struct onion_early l[ONION_LOCATORS + 1];
    for (unsigned k = 0; k <= ONION_LOCATORS; k++)
        l[k] = early_of(p);
    cr_expect_eq(l[ONION_LOCATORS].locator, l[0].locator);
    cr_expect_arr_eq(l[ONION_LOCATORS].bytes, l[0].bytes, ONION_LOCATOR);
    cr_expect_arr_neq(l[1].bytes, l[0].bytes, ONION_LOCATOR);
    onion_conn_path_up(p->client, 2, &l[ONION_LOCATORS], ONION_EARLY_TO_SEND);
    pair_run(p, 500);
    cr_expect(onion_conn_is_bound(p->service, 2));
    /* Confirmed by an answer on the new path: the next one counts on. */
    cr_expect_eq(early_of(p).locator, l[0].locator + 1);
    pair_destroy(p);
}

Test(onion_conn_paths, packets_before_their_attach_wait_for_it)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    struct onion_early early = early_of(p);
    p->records = true;
    p->cut[2] = true;
    onion_conn_path_up(p->client, 2, &early, ONION_EARLY_WENT);
    pair_run(p, 1);
    p->cut[2] = false;
    struct pair_cell packet = { 0 };
    for (unsigned i = 0; i < p->n_tape; i++)
        if (p->tape[i].kind == ONION_KIND_QUIC && p->tape[i].to_service)
            packet = p->tape[i];
    cr_assert_gt(packet.len, 0u);
    pair_inject(p, &packet, 2);
    pair_run(p, 500);
    cr_expect_not(onion_conn_is_bound(p->service, 2));
    inject_early(p, &early, 2);
    cr_expect(onion_conn_is_bound(p->service, 2));
    cr_expect_eq(p->service->answer, 2u);
    cr_expect_eq(p->closes, 0u);
    pair_destroy(p);
}

Test(onion_conn_paths, junk_on_a_splice_waits_a_second_and_is_refused)
{
    struct pair *p = pair_create();
    struct onion_conns_info i;
    struct pair_cell junk = { .len = 200, .kind = ONION_KIND_QUIC, .to_service = true };
    junk.bytes[0] = 0x41;
    for (unsigned k = 0; k < 20; k++)
        pair_inject(p, &junk, 6);
    pair_run(p, 900);
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.n_held, (size_t)ONION_HELD);
    cr_expect_eq(i.dropped[DROP_LIMIT], 20u - ONION_HELD);
    cr_expect_eq(p->closes, 0u);
    pair_run(p, 200);
    cr_expect_eq(p->closes, 1u);
    cr_expect_eq(p->last_close, ONION_CLOSE_REFUSED);
    cr_expect_eq(p->last_closed, 6u);
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.n_splices, 0u);
    cr_expect_eq(i.n_held, 0u);
    pair_destroy(p);
}

Test(onion_conn_paths, fifth_splice_pushes_out_the_oldest_that_is_not_in_use)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    for (uint32_t splice = 2; splice <= 4; splice++) {
        struct onion_early early = early_of(p);
        inject_early(p, &early, splice);
    }
    cr_expect_eq(p->closes, 0u);
    struct onion_early early = early_of(p);
    inject_early(p, &early, 5);
    cr_expect_eq(p->closes, 1u);
    cr_expect_eq(p->last_closed, 2u); /* 1 is answered on */
    cr_expect_eq(p->last_close, ONION_CLOSE_LIMIT);
    cr_expect(onion_conn_is_bound(p->service, 1));
    cr_expect(onion_conn_is_bound(p->service, 5));
    cr_expect_not(onion_conn_is_bound(p->service, 2));
    pair_destroy(p);
}

Test(onion_conn_paths, service_without_a_path_waits_for_the_client_and_goes_on)
{
    struct pair_end *e;
    struct pair *p = open_pair(&e);
    onion_conns_splice_gone(p->conns, 1);
    pair_poke(p);
    struct pair_end *a = &p->answers[0];
    a->to_send = 50000;
    pair_serve_pattern(p, a);
    pair_poke(p);
    uint64_t sent = p->cells_down;
    pair_run(p, 5000);
    cr_expect_eq(p->cells_down, sent);
    onion_conn_path_up(p->client, 2, NULL, ONION_EARLY_TO_SEND);
    pair_poke(p);
    pair_run(p, 3000);
    cr_expect_eq(e->received, 50000u);
    pair_destroy(p);
}

/* ---- repeats --------------------------------------------------------------------------------- */

Test(onion_conn_paths, repeated_first_flight_starts_nothing_and_after_message_3_moves_nothing)
{
    struct pair *p = pair_create();
    p->serve = serve_nothing;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    e->ends = false;
    struct onion_early flight = early_of(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 300);
    inject_early(p, &flight, 2);
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
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    struct onion_early flight = early_of(p);
    p->down.loss_ppm = 1000000;
    onion_conn_path_up(p->client, 1, &flight, ONION_EARLY_TO_SEND);
    pair_poke(p);
    pair_run(p, 60);
    cr_assert_eq(p->accepted, 1u);
    cr_expect_not(p->client_open);
    p->down.loss_ppm = 0;
    p->cut[1] = true;
    flight = early_of(p);
    cr_expect_eq(flight.kind, ONION_KIND_QUIC);
    inject_early(p, &flight, 2); /* in the train */
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
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    struct onion_early flight = early_of(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    onion_conn_close(p->client, ONION_CODE_DONE);
    pair_poke(p);
    cr_assert(pair_until(p, &p->service_over, 2000));
    inject_early(p, &flight, 2);
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
    struct pair *p = open_pair(&e);
    struct onion_early early = early_of(p);
    inject_early(p, &early, 2); /* bound: the worst case */
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
    p->serve = serve_1000;
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

/* ---- forgeries ------------------------------------------------------------------------------- */

/* Retry and version negotiation for this client, as anybody on the way could write them. */
static void forge(struct pair *p, bool is_retry)
{
    struct pair_cell c = { .kind = ONION_KIND_QUIC, .len = 60 };
    memset(c.bytes, 0xAA, c.len);
    c.bytes[0] = is_retry ? 0xF0 : 0x80;
    memset(c.bytes + 1, 0, 6);
    c.bytes[4] = is_retry ? 1 : 0; /* version; both ids empty */
    pair_inject(p, &c, 1);
    /* The same behind a packet that ngtcp2 would skip: Handshake, version 1, 20 bytes. */
    struct pair_cell d = { .kind = ONION_KIND_QUIC, .len = 28 + c.len };
    memset(d.bytes, 0, 28);
    d.bytes[0] = 0xE0;
    d.bytes[4] = 1;
    d.bytes[7] = 20;
    memcpy(d.bytes + 28, c.bytes, c.len);
    pair_inject(p, &d, 1);
}

Test(onion_conn_paths, forged_retry_and_version_negotiation_change_nothing)
{
    for (unsigned when = 0; when < 2; when++) {
        struct pair *p = pair_create();
        struct onion_conn_info i;
        p->serve = serve_1000;
        pair_connect(p);
        struct pair_end *e = pair_open(p, 80, 100);
        pair_up(p, 1);
        if (when == 1)
            cr_assert(pair_until(p, &p->client_open, 2000));
        forge(p, true);
        forge(p, false);
        cr_assert(pair_until(p, &e->is_closed, 1000));
        onion_conn_info(p->client, &i);
        cr_expect_eq(i.dropped[DROP_TYPE], 2u);
        cr_expect_eq(i.dropped[DROP_VERSION], 2u);
        pair_destroy(p);
    }
}

/* Flips bits of every cell's copy and sends it ahead of the true one. */
static bool corrupting_tap(struct pair *p, struct pair_cell *c)
{
    struct pair_cell bad = *c;
    for (unsigned i = 0; i < 3; i++) {
        p->random = p->random * 6364136223846793005u + 1442695040888963407u;
        bad.bytes[(p->random >> 33) % bad.len] ^= (uint8_t)(1u << ((p->random >> 20) % 8));
    }
    pair_inject(p, &bad, c->splice);
    return true;
}

Test(onion_conn_paths, changed_copies_of_every_packet_are_harmless)
{
    for (unsigned seed = 0; seed < 20; seed++) {
        struct pair *p = pair_create();
        p->random = seed;
        p->serve = serve_1000;
        p->tap = corrupting_tap;
        pair_connect(p);
        struct pair_end *e = pair_open(p, 80, 100000);
        pair_up(p, 1);
        bool done = pair_until(p, &e->is_closed, 5000);
        /* The first flight's changed copy is ahead of it, and a splice has one handshake only: then
         * nothing comes of it, cleanly. */
        if (!done)
            cr_expect_eq(p->accepted, 0u, "seed %u", seed);
        else
            cr_expect_eq(e->received, 1000u);
        pair_destroy(p);
    }
}

/* Hands 1-RTT packets to the client ahead of message 2. */
static bool reordering_tap(struct pair *p, struct pair_cell *c)
{
    if (c->to_service || c->kind != ONION_KIND_QUIC)
        return true;
    if ((c->bytes[0] & 0x80) == 0) {
        pair_inject(p, c, c->splice);
        return false;
    }
    return true;
}

static void serve_200k(struct pair *p, struct pair_end *e)
{
    e->to_send = 200000;
    pair_serve_pattern(p, e);
}

Test(onion_conn_paths, packets_that_overtake_message_2_are_held_by_the_client)
{
    struct pair *p = pair_create();
    p->serve = serve_200k;
    p->tap = reordering_tap;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 5000));
    cr_expect_eq(e->received, 200000u);
    cr_expect_not(e->is_wrong);
    pair_destroy(p);
}

/* The first flight comes last. */
static bool late_flight_tap(struct pair *p, struct pair_cell *c)
{
    if (c->to_service && p->n_tape < 2)
        p->tape[p->n_tape++] = *c; /* both copies */
    else
        return true;
    return false;
}

Test(onion_conn_paths, early_packets_that_overtake_the_first_flight_wait_for_it)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    p->tap = late_flight_tap;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 6000);
    pair_up(p, 1);
    pair_run(p, 55);
    cr_expect_eq(p->accepted, 0u);
    pair_inject(p, &p->tape[0], 1);
    pair_run(p, 1);
    cr_expect_eq(p->accepted, 1u);
    cr_expect_eq(p->answers[0].early, 6000u);
    cr_assert(pair_until(p, &e->is_closed, 1000));
    pair_destroy(p);
}

/* ---- a malicious service --------------------------------------------------------------------- */

/* HANDSHAKE_DONE right behind message 2, and once ahead of it. */
static bool done_too_early_tap(struct pair *p, struct pair_cell *c)
{
    static const uint8_t done[] = { 0x1E };
    if (c->to_service || p->n_tape > 0 || p->service == NULL)
        return true;
    p->tape[p->n_tape++] = *c;
    struct pair_cell forged = { 0 };
    pair_seal(&forged, p->service->app.server, 40, done, sizeof done);
    pair_inject(p, &forged, c->splice);
    pair_inject(p, c, c->splice);
    pair_seal(&forged, p->service->app.server, 41, done, sizeof done);
    pair_inject(p, &forged, c->splice);
    return false;
}

Test(onion_conn_paths, handshake_done_before_message_3_harms_no_client)
{
    const uint64_t sizes[] = { 100, 200000 }; /* the second fills the congestion window */
    for (unsigned i = 0; i < 2; i++) {
        struct pair *p = pair_create();
        p->serve = serve_nothing;
        p->tap = done_too_early_tap;
        pair_connect(p);
        (void)pair_open(p, 80, sizes[i]);
        struct onion_early flight = early_of(p);
        p->up.loss_ppm = 1000000; /* nothing more is acknowledged */
        onion_conn_path_up(p->client, 1, &flight, ONION_EARLY_WENT);
        pair_poke(p);
        inject_early(p, &flight, 1);
        cr_expect(pair_until(p, &p->client_open, 1000));
        pair_run(p, 20000);
        pair_destroy(p);
    }
}

/* What breaks a rule of streams ends the connection with a code, and no more than that. */
Test(onion_conn_paths, frames_against_the_rules_end_the_connection_cleanly)
{
    static const struct {
        const char *what;
        uint8_t len, frames[20];
    } bad[] = {
        { "a stream beyond the limit", 8, { 0x0A, 0x44, 0x00, 0x04, 1, 0, 80, 0 } },
        { "a one-way stream", 8, { 0x0A, 0x02, 0x04, 1, 0, 80, 0, 0 } },
        { "bytes beyond the window", 12, { 0x0E, 0, 0x80, 0x10, 0, 0, 1, 7 } },
        { "a connection id", 12, { 0x18, 1, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 } },
        { "HANDSHAKE_DONE from a client", 1, { 0x1E } },
        { "an acknowledgement of what was never sent", 5, { 0x02, 0x7F, 0xFF, 0, 0 } },
        { "an unknown frame", 2, { 0x40, 0x55 } },
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pair *p = pair_create();
        p->serve = serve_nothing;
        pair_connect(p);
        struct pair_end *e = pair_open(p, 80, 100);
        e->ends = false;
        pair_up(p, 1);
        while (p->service == NULL)
            cr_assert(sim_step(p->world));
        struct onion_secret_pair app = p->service->app; /* gone with message 3 */
        cr_assert(pair_until(p, &p->service_open, 2000));
        struct pair_cell c = { .to_service = true };
        pair_seal(&c, app.client, 100, bad[i].frames, bad[i].len);
        pair_inject(p, &c, 1);
        cr_expect(pair_until(p, &p->service_over, 100), "%s", bad[i].what);
        cr_expect_eq(p->service_end.how, ONION_END_PROTOCOL, "%s", bad[i].what);
        cr_expect_neq(p->service_end.code, 0u, "%s", bad[i].what);
        cr_expect(p->answers[0].was_reset);
        pair_destroy(p);
    }
}

Test(onion_conn_paths, client_ends_a_connection_whose_service_opens_streams)
{
    static const uint8_t opens[] = { 0x0A, 0x01, 0x02, 'h', 'i' };
    struct pair *p = pair_create();
    p->serve = serve_nothing;
    pair_connect(p);
    (void)pair_open(p, 80, 100);
    pair_up(p, 1);
    while (p->service == NULL)
        cr_assert(sim_step(p->world));
    struct onion_secret_pair app = p->service->app;
    cr_assert(pair_until(p, &p->service_open, 2000));
    struct pair_cell c = { 0 };
    pair_seal(&c, app.server, 100, opens, sizeof opens);
    pair_inject(p, &c, 1);
    cr_expect(pair_until(p, &p->client_over, 100));
    cr_expect_eq(p->client_end.how, ONION_END_PROTOCOL);
    pair_destroy(p);
}
