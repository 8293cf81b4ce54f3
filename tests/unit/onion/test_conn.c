#include <criterion/criterion.h>
#include <string.h>

#include "stream_pair.h"

TestSuite(onion_conn, .timeout = 60);

static void serve_1000(struct pair *p, struct pair_end *e)
{
    e->to_send = 1000;
    pair_serve_pattern(p, e);
}

Test(onion_conn, first_byte_comes_after_exactly_one_round_trip)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 300);
    uint64_t start = pair_now(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->has_ended, 2000));
    cr_expect_eq(e->first_byte_ns - start, SIM_MS(100));
    cr_expect_eq(e->received, 1000u);
    cr_expect_eq(e->status, ONION_ANSWER_OPEN);
    cr_expect_not(e->is_wrong);
    cr_expect_eq(p->n_answers, 1u);
    cr_expect_eq(p->answers[0].port, 80);
    cr_expect_eq(p->answers[0].received, 300u);
    cr_expect_eq(p->answers[0].early, 300u);
    cr_expect(p->answers[0].is_early);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    cr_assert(pair_until(p, &p->answers[0].is_closed, 2000));
    cr_expect(p->service_open);
    pair_destroy(p);
}

/* Up to the splice's early payload: what a build's train carries. */
static struct onion_early early_of(struct pair *p)
{
    struct onion_early e;
    cr_assert_eq(onion_conn_early(p->client, &e), 0);
    return e;
}

Test(onion_conn, first_datagram_is_full_and_holds_1051_bytes_of_the_stream)
{
    for (unsigned more = 0; more < 2; more++) {
        struct pair *p = pair_create();
        pair_connect(p);
        (void)pair_open(p, 80, ONION_FIRST_DATA + more);
        struct onion_early e = early_of(p);
        cr_expect_eq(e.kind, ONION_KIND_QUIC);
        cr_expect_eq(e.len, (size_t)ONION_PAYLOAD);
        struct pair_cell c = { .len = e.len, .to_service = true };
        memcpy(c.bytes, e.bytes, e.len);
        pair_inject(p, &c, 3);
        pair_run(p, 1);
        cr_assert_eq(p->n_answers, 1u);
        cr_expect_eq(p->answers[0].received, (uint64_t)ONION_FIRST_DATA, "%llu",
                     (unsigned long long)p->answers[0].received);
        cr_expect_eq(p->answers[0].has_ended, more == 0);
        pair_destroy(p);
    }
}

Test(onion_conn, first_flight_is_the_same_however_often_it_is_asked_for)
{
    struct pair *p = pair_create();
    pair_connect(p);
    (void)pair_open(p, 80, 100);
    struct onion_early a = early_of(p);
    (void)pair_open(p, 81, 100);
    pair_run(p, 1000);
    struct onion_early b = early_of(p);
    cr_expect_arr_eq(a.bytes, b.bytes, ONION_PAYLOAD);
    cr_expect_eq(p->cells_up, 0u);
    pair_destroy(p);
}

Test(onion_conn, flight_that_went_in_the_train_is_not_sent_again)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 300);
    struct onion_early early = early_of(p);
    struct pair_cell c = { .len = early.len, .to_service = true };
    memcpy(c.bytes, early.bytes, early.len);
    pair_inject(p, &c, 5);
    onion_conn_path_up(p->client, 5, &early, ONION_EARLY_WENT);
    pair_poke(p);
    cr_expect_eq(p->cells_up, 0u);
    uint64_t start = pair_now(p);
    cr_assert(pair_until(p, &e->has_ended, 500));
    cr_expect_eq(e->first_byte_ns - start, SIM_MS(50));
    pair_destroy(p);
}

Test(onion_conn, request_longer_than_the_flight_goes_when_the_path_is_up)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 20000);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 3000));
    cr_expect_eq(p->answers[0].received, 20000u);
    cr_expect_not(p->answers[0].is_wrong);
    cr_expect_gt(p->answers[0].early, 1051u);
    pair_destroy(p);
}

Test(onion_conn, nothing_leaves_before_a_path_is_up)
{
    struct pair *p = pair_create();
    pair_connect(p);
    (void)pair_open(p, 80, 50000);
    pair_run(p, 20000);
    cr_expect_eq(p->cells_up, 0u);
    cr_expect_not(p->client_over);
    pair_destroy(p);
}

Test(onion_conn, connection_without_a_path_ends_idle)
{
    struct pair *p = pair_create();
    pair_connect(p);
    pair_poke(p);
    cr_assert(pair_until(p, &p->client_over, 61000));
    cr_expect_eq(p->client_end.how, ONION_END_IDLE);
    pair_destroy(p);
}

/* ---- transfers ------------------------------------------------------------------------------- */

enum { MB = 1000 * 1000 };

static void serve_10mb(struct pair *p, struct pair_end *e)
{
    e->to_send = 10 * MB;
    pair_serve_pattern(p, e);
}

static void transfer(unsigned loss_percent, uint64_t limit_ms)
{
    struct pair *p = pair_create();
    p->serve = serve_10mb;
    p->up.loss_ppm = p->down.loss_ppm = loss_percent * 10000;
    p->up.delay_ns = p->down.delay_ns = SIM_MS(20);
    p->up.jitter_ns = p->down.jitter_ns = SIM_MS(1);
    p->up.copy_ppm = p->down.copy_ppm = 5000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 10 * MB);
    uint64_t start = pair_now(p);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, limit_ms), "client got %llu, service %llu",
              (unsigned long long)e->received,
              p->n_answers > 0 ? (unsigned long long)p->answers[0].received : 0ull);
    cr_expect_eq(e->received, 10u * MB);
    cr_expect_eq(p->answers[0].received, 10u * MB);
    cr_expect_not(e->is_wrong);
    cr_expect_not(p->answers[0].is_wrong);
    cr_log_info("%u%%: %.1f s", loss_percent, (double)(pair_now(p) - start) / 1e9);
    pair_destroy(p);
}

Test(onion_conn, ten_megabytes_each_way_without_loss)
{
    transfer(0, 20000);
}

Test(onion_conn, ten_megabytes_each_way_at_2_percent_loss)
{
    transfer(2, 60000);
}

Test(onion_conn, ten_megabytes_each_way_at_10_percent_loss)
{
    transfer(10, 300000);
}

Test(onion_conn, ten_megabytes_each_way_at_30_percent_loss)
{
    transfer(30, 3000000);
}

/* Short exchanges over a bad path: how many of `n` end well, and soon. */
static unsigned short_exchanges(unsigned loss_percent, unsigned n)
{
    unsigned good = 0;
    for (unsigned seed = 0; seed < n; seed++) {
        struct pair *p = pair_create();
        p->random = seed * 7919 + loss_percent;
        p->serve = serve_1000;
        p->up = p->down = (struct pair_link){ .delay_ns = SIM_MS(40),
                                              .jitter_ns = SIM_MS(10),
                                              .loss_ppm = loss_percent * 10000,
                                              .copy_ppm = 10000 };
        pair_connect(p);
        struct pair_end *e = pair_open(p, 80, 3000);
        pair_up(p, 1);
        good += pair_until(p, &e->has_ended, 30000) && e->received == 1000 && !e->is_wrong;
        pair_destroy(p);
    }
    return good;
}

Test(onion_conn, short_exchanges_get_through_bad_paths)
{
    cr_expect_eq(short_exchanges(2, 60), 60u);
    cr_expect_eq(short_exchanges(10, 60), 60u);
    cr_expect_geq(short_exchanges(30, 60), 57u);
}

/* ---- ends and resets ------------------------------------------------------------------------- */

static void serve_when_client_ended(struct pair *p, struct pair_end *e)
{
    (void)p;
    e->ends = false;
}

static void connect_and_open(struct pair *p, struct pair_end **e, uint64_t n)
{
    pair_connect(p);
    *e = pair_open(p, 80, n);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 300);
}

Test(onion_conn, one_side_may_end_long_before_the_other)
{
    struct pair *p = pair_create();
    struct pair_end *e, *a = &p->answers[0];
    p->serve = serve_when_client_ended;
    connect_and_open(p, &e, 100);
    cr_assert(a->has_ended);
    cr_expect_not(e->has_ended);
    pair_run(p, 50000); /* half-closed for long: pings keep the connection */
    cr_expect_not(p->client_over);
    a->to_send = 5000;
    a->ends = true;
    pair_serve_pattern(p, a);
    pair_poke(p);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    cr_expect_eq(e->received, 5000u);
    cr_assert(pair_until(p, &a->is_closed, 2000));
    cr_expect_eq(p->client != NULL && p->service != NULL, true);
    pair_destroy(p);
}

Test(onion_conn, reset_reaches_the_other_side_with_its_code_and_ends_both_directions)
{
    for (unsigned from_client = 0; from_client < 2; from_client++) {
        struct pair *p = pair_create();
        struct pair_end *e, *a = &p->answers[0];
        p->serve = serve_when_client_ended;
        connect_and_open(p, &e, 200000);
        struct pair_end *from = from_client ? e : a, *to = from_client ? a : e;
        onion_conn_stream_reset(from->stream, 77);
        from->stream = NULL;
        pair_poke(p);
        cr_assert(pair_until(p, &to->was_reset, 2000));
        cr_expect_eq(to->code, 77u);
        cr_expect_not(from->was_reset);
        pair_run(p, 2000);
        struct onion_conn_info i;
        onion_conn_info(p->client, &i);
        cr_expect_eq(i.n_streams, 0u);
        onion_conn_info(p->service, &i);
        cr_expect_eq(i.n_streams, 0u);
        /* Whatever was unread or unsent gave its window back: another stream has all of it. */
        struct pair_end *again = pair_open(p, 81, 300000);
        pair_poke(p);
        cr_assert(pair_until(p, &p->answers[1].has_ended, 5000));
        cr_expect_eq(p->answers[1].received, 300000u);
        cr_expect_not(again->was_reset);
        pair_destroy(p);
    }
}

Test(onion_conn, status_other_than_open_ends_the_stream_alone)
{
    struct pair *p = pair_create();
    p->answer = ONION_ANSWER_REFUSED;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 500000);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->has_status, 2000));
    cr_expect_eq(e->status, ONION_ANSWER_REFUSED);
    cr_expect_eq(e->received, 0u);
    pair_run(p, 1000);
    p->answer = ONION_ANSWER_OPEN;
    p->serve = serve_1000;
    struct pair_end *f = pair_open(p, 81, 10);
    pair_poke(p);
    cr_assert(pair_until(p, &f->is_closed, 2000));
    cr_expect_not(e->was_reset);
    struct onion_conn_info i;
    onion_conn_info(p->client, &i);
    cr_expect_eq(i.n_streams, 0u);
    pair_destroy(p);
}

Test(onion_conn, all_streams_of_a_closed_connection_are_reset_and_both_sides_know_why)
{
    struct pair *p = pair_create();
    struct pair_end *e, *a = &p->answers[0];
    p->serve = serve_when_client_ended;
    connect_and_open(p, &e, 100);
    onion_conn_close(p->service, ONION_CODE_LEAVING);
    pair_poke(p);
    cr_expect(a->was_reset);
    cr_expect(p->service_over);
    cr_expect_eq(p->service_end.how, ONION_END_OURS);
    cr_assert(pair_until(p, &p->client_over, 500));
    cr_expect(e->was_reset);
    cr_expect_eq(p->client_end.how, ONION_END_PEER);
    cr_expect_not(p->client_end.is_transport);
    cr_expect_eq(p->client_end.code, (uint64_t)ONION_CODE_LEAVING);
    pair_destroy(p);
}

Test(onion_conn, draining_lets_streams_end_and_then_closes)
{
    struct pair *p = pair_create();
    struct pair_end *e, *a = &p->answers[0];
    p->serve = serve_when_client_ended;
    connect_and_open(p, &e, 100);
    onion_conn_drain(p->client);
    pair_run(p, 1000);
    cr_expect_not(p->client_over);
    cr_expect_null(onion_conn_stream_open(p->client, 81, NULL, NULL, NULL));
    a->to_send = 100;
    a->ends = true;
    pair_serve_pattern(p, a);
    pair_poke(p);
    cr_assert(pair_until(p, &p->client_over, 2000));
    cr_expect_eq(e->received, 100u);
    cr_expect(e->is_closed);
    cr_assert(pair_until(p, &p->service_over, 2000));
    cr_expect_eq(p->service_end.how, ONION_END_PEER);
    cr_expect_eq(p->service_end.code, (uint64_t)ONION_CODE_DONE);
    pair_destroy(p);
}

Test(onion_conn, connection_without_streams_ends_idle_on_both_sides)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 10);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 2000));
    cr_assert(pair_until(p, &p->client_over, 70000));
    cr_expect_eq(p->client_end.how, ONION_END_IDLE);
    cr_assert(pair_until(p, &p->service_over, 70000));
    cr_expect_eq(p->service_end.how, ONION_END_IDLE);
    pair_destroy(p);
}

Test(onion_conn, open_stream_keeps_a_silent_connection)
{
    struct pair *p = pair_create();
    struct pair_end *e;
    p->serve = serve_when_client_ended;
    connect_and_open(p, &e, 0);
    uint64_t before = p->cells_up;
    pair_run(p, 600000);
    cr_expect_not(p->client_over);
    cr_expect_not(p->service_over);
    cr_expect_lt(p->cells_up - before, 100u); /* three questions a minute, and acknowledgements */
    pair_destroy(p);
}

/* ---- many streams, datagrams ----------------------------------------------------------------- */

Test(onion_conn, a_hundred_and_twenty_eight_streams_at_once_and_the_next_when_one_is_gone)
{
    struct pair *p = pair_create();
    p->serve = serve_1000;
    pair_connect(p);
    struct cyx_err err = { 0 };
    for (unsigned i = 0; i < ONION_STREAMS; i++)
        cr_assert_not_null(pair_open(p, (uint16_t)(1000 + i), 100 + i));
    cr_expect_null(onion_conn_stream_open(p->client, 9, NULL, NULL, &err));
    cr_expect_eq(err.code, CYX_EFULL);
    pair_up(p, 1);
    for (unsigned i = 0; i < ONION_STREAMS; i++)
        cr_assert(pair_until(p, &p->ends[i].is_closed, 10000), "stream %u", i);
    for (unsigned i = 0; i < ONION_STREAMS; i++)
        cr_expect(p->ends[i].received == 1000 && !p->ends[i].is_wrong, "stream %u", i);
    cr_assert(pair_until(p, &p->answers[0].is_closed, 2000));
    pair_run(p, 1000);
    cr_expect_eq(p->can_open, 1u);
    cr_assert_not_null(pair_open(p, 2000, 100));
    pair_poke(p);
    cr_assert(pair_until(p, &p->ends[ONION_STREAMS].is_closed, 2000));
    pair_destroy(p);
}

Test(onion_conn, small_requests_share_packets)
{
    struct pair *p = pair_create();
    pair_connect(p);
    for (unsigned i = 0; i < 20; i++)
        (void)pair_open(p, (uint16_t)i, 20);
    (void)early_of(p);
    pair_up(p, 1);
    pair_run(p, 60);
    cr_expect_eq(p->n_answers, 20u);
    cr_expect_leq(p->cells_up, 2u); /* the first flight, twice */
    pair_destroy(p);
}

Test(onion_conn, datagrams_go_both_ways_whole_or_not_at_all)
{
    struct pair *p = pair_create();
    uint8_t data[ONION_DATAGRAM + 1];
    memset(data, 7, sizeof data);
    pair_connect(p);
    cr_expect_eq(onion_conn_datagram(p->client, 53, 9, data, sizeof data), CYX_EINVAL);
    cr_expect_eq(onion_conn_datagram(p->client, 53, 9, data, ONION_DATAGRAM), 0);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    cr_expect_eq(p->n_datagrams, 1u);
    cr_expect_eq(p->n_datagrams_early, 1u);
    cr_expect_eq(p->datagram_port, 53);
    cr_expect_eq(p->datagram_flow, 9);
    cr_expect_eq(p->datagram_len, (size_t)ONION_DATAGRAM);
    cr_expect_arr_eq(p->datagram, data, ONION_DATAGRAM);
    cr_expect_eq(onion_conn_datagram(p->service, 53, 10, data, 0), 0);
    pair_poke(p);
    pair_run(p, 200);
    cr_expect_eq(p->n_datagrams, 2u);
    cr_expect_eq(p->n_datagrams_early, 1u);
    cr_expect_eq(p->datagram_flow, 10);
    cr_expect_eq(p->datagram_len, 0u);
    pair_destroy(p);
}

Test(onion_conn, full_queue_of_datagrams_drops_the_oldest)
{
    struct pair *p = pair_create();
    struct onion_conn_info i;
    pair_connect(p);
    for (unsigned k = 0; k < ONION_DATAGRAMS_QUEUED + 10; k++)
        cr_expect_eq(onion_conn_datagram(p->client, 1, (uint16_t)k, "x", 1), 0);
    onion_conn_info(p->client, &i);
    cr_expect_eq(i.datagrams_dropped, 10u);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    pair_run(p, 500);
    cr_expect_eq(p->n_datagrams, (unsigned)ONION_DATAGRAMS_QUEUED);
    cr_expect_eq(p->datagram_flow, ONION_DATAGRAMS_QUEUED + 9);
    pair_destroy(p);
}

/* ---- windows and memory ---------------------------------------------------------------------- */

static void serve_slow(struct pair *p, struct pair_end *e)
{
    (void)p;
    e->is_slow = true;
    e->ends = false;
}

Test(onion_conn, reader_that_reads_nothing_holds_the_writer_at_64_kib)
{
    struct pair *p = pair_create();
    struct pair_end *e, *a = &p->answers[0];
    p->serve = serve_slow;
    connect_and_open(p, &e, 50 * MB);
    pair_run(p, 20000);
    cr_expect_leq(a->received, (uint64_t)ONION_WINDOW_FREE);
    cr_expect_geq(a->received, (uint64_t)ONION_WINDOW_FREE - 3);
    cr_expect_leq(e->written, (uint64_t)ONION_WINDOW_FREE + ONION_UNSENT + 3);
    cr_expect_leq(p->service_buffers.rx.used, (size_t)ONION_WINDOW_FREE);
    /* A little read, a little more comes. */
    uint64_t had = a->received;
    pair_read(a, 40000);
    pair_run(p, 2000);
    cr_expect_eq(a->received, had + 40000 + 3); /* the opening needs no memory any more */
    pair_destroy(p);
}

Test(onion_conn, slow_reader_does_not_stop_other_streams)
{
    struct pair *p = pair_create();
    struct pair_end *e, *f;
    p->serve = serve_slow;
    connect_and_open(p, &e, 1 * MB);
    p->serve = serve_1000;
    f = pair_open(p, 81, 2 * MB);
    pair_poke(p);
    cr_assert(pair_until(p, &f->is_closed, 10000));
    cr_expect_eq(p->answers[1].received, 2u * MB);
    cr_expect_leq(p->answers[0].received, (uint64_t)ONION_WINDOW_FREE);
    pair_destroy(p);
}

Test(onion_conn, windows_grow_out_of_the_nodes_buffers_and_go_back)
{
    struct pair *p = pair_create();
    p->serve = serve_10mb;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 10);
    pair_up(p, 1);
    size_t most = 0;
    while (!e->is_closed && sim_step(p->world))
        most = p->client_buffers.rx.used > most ? p->client_buffers.rx.used : most;
    cr_expect_gt(most, (size_t)1 << 20);
    cr_expect_leq(most, (size_t)ONION_BUFFERS_RX);
    cr_assert(pair_until(p, &p->client_over, 70000));
    cr_expect_eq(p->client_buffers.rx.used, 0u);
    pair_destroy(p);
}

Test(onion_conn, without_buffers_to_share_a_transfer_is_slow_but_whole)
{
    struct pair *p = pair_create();
    p->serve = serve_10mb;
    onion_buffers_init(&p->client_buffers, 1, 1);
    onion_buffers_init(&p->service_buffers, 1, 1);
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 100000);
    pair_up(p, 1);
    cr_assert(pair_until(p, &e->is_closed, 100000));
    cr_expect_eq(e->received, 10u * MB);
    cr_expect_not(e->is_wrong);
    pair_destroy(p);
}

/* ---- keys ------------------------------------------------------------------------------------ */

Test(onion_conn, wrong_service_key_is_met_with_silence_and_ends_as_no_answer)
{
    struct pair *p = pair_create();
    uint8_t right[32];
    struct onion_conns_info i;
    memcpy(right, p->key.pub, 32);
    memset(p->key.pub, 0x55, 32);
    pair_connect(p);
    (void)pair_open(p, 80, 10);
    memcpy(p->key.pub, right, 32);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->client_over, 11000));
    cr_expect_eq(p->client_end.how, ONION_END_NO_ANSWER);
    cr_expect(p->ends[0].was_reset);
    cr_expect_eq(p->cells_down, 0u);
    cr_expect_eq(p->accepted, 0u);
    onion_conns_info(p->conns, &i);
    cr_expect_geq(i.dropped[DROP_AUTH], 1u);
    pair_destroy(p);
}

Test(onion_conn, another_name_under_the_same_key_is_met_with_silence)
{
    struct pair *p = pair_create();
    struct onion_conns_info i;
    p->key.address[0] ^= 1;
    pair_connect(p);
    p->key.address[0] ^= 1;
    (void)pair_open(p, 80, 10);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->client_over, 11000));
    cr_expect_eq(p->client_end.how, ONION_END_NO_ANSWER);
    cr_expect_eq(p->cells_down, 0u);
    onion_conns_info(p->conns, &i);
    cr_expect_geq(i.dropped[DROP_AUTH], 1u);
    pair_destroy(p);
}

Test(onion_conn, service_key_of_small_order_is_refused_at_once)
{
    struct pair *p = pair_create();
    struct onion_carrier carrier = { 0 };
    static const struct onion_conn_ops none;
    struct onion_conn_options o = {
        .env = p->env, .buffers = &p->client_buffers, .carrier = &carrier, .ops = &none
    };
    struct onion_stream_id id = { 0 };
    struct cyx_err err = { 0 };
    cr_expect_null(onion_conn_create(&o, &id, 0, &err));
    cr_expect_eq(err.code, CYX_EPROTO);
    pair_destroy(p);
}

Test(onion_conn, keys_are_updated_under_a_transfer)
{
    struct pair *p = pair_create();
    p->serve = serve_10mb;
    pair_connect(p);
    struct pair_end *e = pair_open(p, 80, 10 * MB);
    pair_up(p, 1);
    cr_assert(pair_until(p, &p->service_open, 2000));
    unsigned updates = 0;
    for (unsigned i = 0; i < 100 && !e->is_closed; i++) {
        pair_run(p, 20);
        if (p->client != NULL && !e->is_closed)
            updates += conn__update_keys(i % 2 ? p->client : p->service) == 0;
        pair_poke(p);
    }
    cr_assert(pair_until(p, &e->is_closed, 60000));
    cr_expect_geq(updates, 2u);
    cr_expect_eq(e->received, 10u * MB);
    cr_expect_not(e->is_wrong);
    cr_expect_not(p->answers[0].is_wrong);
    pair_destroy(p);
}
