/* What a pivot, or a service that obeys no rule, can make up. */
#include <criterion/criterion.h>
#include <string.h>

#include "conn_case.h"

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
        p->serve = conn_serve_1000;
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
        p->serve = conn_serve_1000;
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
    p->serve = conn_serve_1000;
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
        p->serve = conn_serve_nothing;
        p->tap = done_too_early_tap;
        pair_connect(p);
        (void)pair_open(p, 80, sizes[i]);
        struct onion_early flight = conn_early_of(p);
        p->up.loss_ppm = 1000000; /* nothing more is acknowledged */
        onion_conn_path_up(p->client, 1, &flight, ONION_EARLY_WENT);
        pair_poke(p);
        conn_inject_early(p, &flight, 1);
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
        p->serve = conn_serve_nothing;
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
    p->serve = conn_serve_nothing;
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
