/* Splices that come and go under a connection. */
#include <criterion/criterion.h>
#include <string.h>

#include "conn_case.h"

enum { MB = 1000 * 1000 };

static void serve_long(struct pair *p, struct pair_end *e)
{
    e->to_send = 20 * MB;
    pair_serve_pattern(p, e);
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
    struct onion_early early = conn_early_of(p);
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
        struct onion_early early = conn_early_of(p);
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
    p->serve = conn_serve_nothing;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 8 * MB);
    pair_up(p, 1);
    while (p->n_answers == 0 || p->answers[0].received < 2 * MB)
        cr_assert(sim_step(p->world));
    p->cut[1] = true;
    cr_assert(pair_until(p, &p->is_dead, 10000));
    struct onion_early early = conn_early_of(p);
    conn_inject_early(p, &early, 2);
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
    struct pair *p = conn_open_pair(&e);
    p->down.loss_ppm = 1000000; /* no answer confirms it */
    p->records = true;
    struct onion_early early = conn_early_of(p);
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
    struct pair *p = conn_open_pair(&e);
    struct onion_early first = conn_early_of(p), l[ONION_LOCATORS];
    struct onion_conns_info i;
    conn_inject_early(p, &first, 2);
    cr_expect(onion_conn_is_bound(p->service, 2));
    conn_inject_early(p, &first, 2); /* again on its own splice: nothing */
    conn_inject_early(p, &first, 3); /* on another: neither */
    cr_expect_not(onion_conn_is_bound(p->service, 3));
    onion_conns_info(p->conns, &i);
    cr_expect_eq(i.attached, 1u);
    cr_expect_eq(i.dropped[DROP_UNKNOWN], 1u);
    for (unsigned k = 0; k < ONION_LOCATORS - 1; k++)
        l[k] = conn_early_of(p);
    conn_inject_early(p, &l[ONION_LOCATORS - 2], 4); /* 14 were lost before it */
    cr_expect(onion_conn_is_bound(p->service, 4));
    conn_inject_early(p, &l[0], 5); /* and are over */
    cr_expect_not(onion_conn_is_bound(p->service, 5));
    pair_destroy(p);
}

Test(onion_conn_paths, client_whose_locators_all_failed_begins_again_at_the_oldest)
{
    struct pair_end *e;
    struct pair *p = conn_open_pair(&e);
    struct onion_early l[ONION_LOCATORS + 1];
    for (unsigned k = 0; k <= ONION_LOCATORS; k++)
        l[k] = conn_early_of(p);
    cr_expect_eq(l[ONION_LOCATORS].locator, l[0].locator);
    cr_expect_arr_eq(l[ONION_LOCATORS].bytes, l[0].bytes, ONION_LOCATOR);
    cr_expect_arr_neq(l[1].bytes, l[0].bytes, ONION_LOCATOR);
    onion_conn_path_up(p->client, 2, &l[ONION_LOCATORS], ONION_EARLY_TO_SEND);
    pair_run(p, 500);
    cr_expect(onion_conn_is_bound(p->service, 2));
    /* Confirmed by an answer on the new path: the next one counts on. */
    cr_expect_eq(conn_early_of(p).locator, l[0].locator + 1);
    pair_destroy(p);
}

Test(onion_conn_paths, packets_before_their_attach_wait_for_it)
{
    struct pair_end *e;
    struct pair *p = conn_open_pair(&e);
    struct onion_early early = conn_early_of(p);
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
    conn_inject_early(p, &early, 2);
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
    struct pair *p = conn_open_pair(&e);
    for (uint32_t splice = 2; splice <= 4; splice++) {
        struct onion_early early = conn_early_of(p);
        conn_inject_early(p, &early, splice);
    }
    cr_expect_eq(p->closes, 0u);
    struct onion_early early = conn_early_of(p);
    conn_inject_early(p, &early, 5);
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
    struct pair *p = conn_open_pair(&e);
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
