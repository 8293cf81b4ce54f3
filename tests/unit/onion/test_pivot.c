/* Registrations, splices, the price of a splice. Node 0 is the clients', nodes 1 to 3 are relays;
 * the service's paths come from node 0 as well: to a pivot all are paths. */
#include <sodium.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "relay_rig.h"

enum { SECRET = 0x77, PIVOT = 3 };

static struct relays r;
static struct client_path service, other, client, more;

static void end(void)
{
    client_forget(&service);
    client_forget(&other);
    client_forget(&client);
    client_forget(&more);
    relays_fini(&r);
}

static void start(void)
{
    relays_init(&r, 3, false);
    service.at = other.at = client.at = more.at = &r.at[0];
}

TestSuite(onion_pivot, .init = start, .fini = end);

static struct onion_pivots *pivot(void)
{
    return r.at[PIVOT].relay->pivot;
}

static const struct pivot_counters *counters(void)
{
    return &pivot()->n;
}

static struct pivot_registration *registration(void)
{
    return map_oldest(pivot()->by_token, NULL);
}

static void register_service(uint64_t serial)
{
    const struct client_spec s = client_to_service(1, 3, SECRET, serial);
    client_open(&r, 0, &service, &s);
}

static void register_with(const struct onion_terms *t)
{
    struct client_spec s = client_to_service(1, 3, SECRET, 1);
    client_set_terms(&s, t, 1);
    client_open(&r, 0, &service, &s);
}

static void splice(struct client_path *p)
{
    const struct client_spec s = client_to_splice(1, 3, SECRET);
    client_open(&r, 0, p, &s);
}

static void expect_status(struct client_path *p, const struct client_spec *s, unsigned status)
{
    client_build(&r, 0, p, s);
    relays_run_ms(&r, 500);
    cr_expect_eq(client_status(p), status, "%u", client_status(p));
}

static void service_says(uint32_t id, uint8_t command, const void *payload, size_t len)
{
    client_send(&service, &(struct onion_cell){
                              .splice = id, .command = command, .payload = payload, .len = len });
    relays_run_ms(&r, 300);
}

static void client_says(struct client_path *p, const char *text)
{
    client_send_text(p, ONION_CELL_DATA, text);
    relays_run_ms(&r, 300);
}

static void expect_close(const struct client_path *p, enum onion_close why)
{
    const struct client_got *g = client_last(p, ONION_CELL_CLOSE);
    cr_assert_not_null(g);
    cr_expect_eq(g->c.len, 1u);
    cr_expect_eq(g->payload[0], why);
}

/* ---- registrations -----------------------------------------------------------------------------
 */

Test(onion_pivot, registers_under_a_token_of_the_secret)
{
    register_service(5);
    cr_assert_eq(map_len(pivot()->by_token), 1u);
    const struct client_spec s = client_to_splice(1, 3, SECRET);
    cr_expect_arr_eq(registration()->token, s.last.target, 32);
    cr_expect_eq(registration()->serial, 5u);
    cr_expect_eq(registration()->effort.bucket.rate, (uint64_t)ONION_SPLICE_RATE);
    cr_expect_eq(registration()->effort.bucket.burst, (uint64_t)ONION_SPLICE_BURST);
    cr_expect_eq(registration()->effort.most, (uint32_t)ONION_SPLICES_DEFAULT);
}

Test(onion_pivot, a_greater_serial_takes_over_with_all_splices)
{
    register_service(5);
    splice(&client);
    const struct client_spec again = client_to_service(1, 3, SECRET, 6);
    client_open(&r, 0, &other, &again);
    relays_run_ms(&r, 300);
    cr_expect(service.is_destroyed, "the old path closes");
    cr_expect_not(client.is_destroyed);
    cr_expect_eq(counters()->taken_over, 1u);
    cr_expect_eq(map_len(pivot()->by_token), 1u);
    client_says(&client, "to the new path");
    cr_expect_eq(client_count(&other, ONION_CELL_DATA), 1u);
    cr_expect_eq(client_count(&service, ONION_CELL_DATA), 0u);
}

Test(onion_pivot, refuses_a_serial_that_is_not_greater)
{
    register_service(5);
    struct client_spec s = client_to_service(1, 3, SECRET, 5);
    expect_status(&other, &s, ONION_REFUSED);
    client_forget(&other);
    s = client_to_service(1, 3, SECRET, 4);
    expect_status(&other, &s, ONION_REFUSED);
    cr_expect_not(service.is_destroyed);
    cr_expect_eq(counters()->old_serials, 2u);
    splice(&client);
}

Test(onion_pivot, a_train_held_back_and_released_later_takes_nothing)
{
    struct client_spec held = client_to_service(1, 3, SECRET, 5);
    held.keep_back = true;
    client_build(&r, 0, &other, &held);
    register_service(6);
    client_destroy(&service);
    /* the registration ends in 30 s, what is known of its serial 7 minutes later */
    relays_run_ms(&r, 1000 * (ONION_SPLICE_WAIT_S + 200));
    cr_expect_eq(map_len(pivot()->by_token), 0u);
    cr_expect_eq(map_len(pivot()->serials), 1u);
    client_send_train(&other); /* 230 s old: its stamp is good still */
    relays_run_ms(&r, 500);
    cr_expect_eq(client_status(&other), ONION_REFUSED);
    cr_expect_eq(map_len(pivot()->by_token), 0u);
    relays_run_ms(&r, 1000 * ONION_SERIAL_S);
    cr_expect_eq(map_len(pivot()->serials), 0u);
}

Test(onion_pivot, a_service_comes_back_with_a_greater_serial_after_its_end)
{
    register_service(6);
    client_destroy(&service);
    relays_run_ms(&r, 1000 * (ONION_SPLICE_WAIT_S + 5));
    cr_expect_eq(map_len(pivot()->serials), 1u);
    register_service(7);
    cr_expect_eq(map_len(pivot()->serials), 0u);
    cr_expect_eq(map_len(pivot()->by_token), 1u);
}

Test(onion_pivot, keeps_splices_for_thirty_seconds_without_a_service_path)
{
    register_service(5);
    splice(&client);
    client_says(&client, "hello");
    client_destroy(&service);
    relays_run_ms(&r, 1000 * ONION_SPLICE_WAIT_S - 2000);
    cr_expect_eq(client_count(&client, ONION_CELL_CLOSE), 0u);
    const struct client_spec s = client_to_splice(1, 3, SECRET);
    expect_status(&more, &s, ONION_BUSY);
    relays_run_ms(&r, 2500);
    expect_close(&client, ONION_CLOSE_NO_SERVICE);
    cr_expect_eq(pivot()->n_splices, 0u);
    cr_expect_eq(counters()->ended, 1u);
    relays_run_ms(&r, 1000 * ONION_CLOSING_S);
    cr_expect(client.is_destroyed);
}

Test(onion_pivot, a_new_path_within_that_time_finds_the_splices)
{
    register_service(5);
    splice(&client);
    client_says(&client, "hello");
    client_destroy(&service);
    relays_run_ms(&r, 20000);
    const struct client_spec again = client_to_service(1, 3, SECRET, 6);
    client_open(&r, 0, &other, &again);
    client_says(&client, "again");
    cr_expect_eq(client_count(&other, ONION_CELL_DATA), 1u);
    relays_run_ms(&r, 25000);
    cr_expect_eq(client_count(&client, ONION_CELL_CLOSE), 0u);
}

static void fill_registrations(void *arg)
{
    struct relay__link *k = arg;
    k->n_registrations = ONION_REGISTRATIONS_LINK;
}

static void empty_registrations(void *arg)
{
    struct relay__link *k = arg;
    k->n_registrations = 1;
}

Test(onion_pivot, takes_so_many_registrations_from_a_link)
{
    const struct client_spec s = client_to_service(1, 3, 1, 1);
    register_service(1);
    struct relay__link *k = relay__link_find(r.at[PIVOT].relay, registration()->from);
    cr_assert_eq(k->n_registrations, 1u);
    few_in(r.at[PIVOT].few, fill_registrations, k);
    expect_status(&other, &s, ONION_BUSY);
    cr_expect_eq(counters()->register_full, 1u);
    few_in(r.at[PIVOT].few, empty_registrations, k);
    client_destroy(&service);
    relays_run_ms(&r, 500);
    cr_expect_eq(k->n_registrations, 0u);
}

/* ---- splices -----------------------------------------------------------------------------------
 */

Test(onion_pivot, knows_no_token_but_those_that_are_registered)
{
    struct client_spec s = client_to_splice(1, 3, SECRET);
    expect_status(&client, &s, ONION_NO_TOKEN);
    register_service(1);
    s = client_to_splice(1, 3, SECRET + 1);
    client_forget(&client);
    expect_status(&client, &s, ONION_NO_TOKEN);
    cr_expect_eq(counters()->refused[SPLICE_NO_TOKEN], 2u);
}

Test(onion_pivot, carries_data_both_ways_under_an_id_of_its_own)
{
    register_service(1);
    splice(&client);
    splice(&more);
    client_says(&client, "from the first");
    client_says(&more, "from the second");
    cr_assert_eq(client_count(&service, ONION_CELL_DATA), 2u);
    uint32_t first = service.got[0].c.splice, second = service.got[1].c.splice;
    cr_expect_neq(first, 0u);
    cr_expect_neq(first, second);
    cr_expect_eq(memcmp(service.got[0].payload, "from the first", 14), 0);
    service_says(second, ONION_CELL_DATA, "to the second", 13);
    service_says(first, ONION_CELL_DATA, "to the first", 12);
    cr_assert_eq(client_count(&client, ONION_CELL_DATA), 1u);
    cr_assert_eq(client_count(&more, ONION_CELL_DATA), 1u);
    cr_expect_eq(memcmp(client_last(&client, ONION_CELL_DATA)->payload, "to the first", 12), 0);
    cr_expect_eq(client_last(&client, ONION_CELL_DATA)->c.splice, 0u);
    cr_expect_eq(client.n_noise + more.n_noise + service.n_noise, 0u);
}

Test(onion_pivot, passes_kind_and_every_length)
{
    static uint8_t payload[ONION_PAYLOAD];
    register_service(1);
    splice(&client);
    memset(payload, 0xab, sizeof payload);
    for (size_t len = 0; len <= ONION_PAYLOAD; len += 156) {
        client_send(&client, &(struct onion_cell){ .command = ONION_CELL_DATA,
                                                   .kind = ONION_KIND_ATTACH,
                                                   .payload = payload,
                                                   .len = len });
        relays_run_ms(&r, 200);
        const struct client_got *g = client_last(&service, ONION_CELL_DATA);
        cr_assert_not_null(g);
        cr_expect_eq(g->c.len, len);
        cr_expect_eq(g->c.kind, ONION_KIND_ATTACH);
        cr_expect_arr_eq(g->payload, payload, len);
    }
}

Test(onion_pivot, says_the_early_payload_twice_with_new_counters)
{
    static uint8_t early[ONION_PAYLOAD];
    register_service(1);
    memset(early, 0x3c, sizeof early);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    s.early = early;
    s.last.early_len = ONION_PAYLOAD;
    s.last.early_kind = ONION_KIND_ATTACH;
    client_open(&r, 0, &client, &s);
    cr_assert_eq(service.n_got, 2u);
    cr_expect_eq(service.n_noise, 0u, "two counters");
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(service.got[i].c.command, ONION_CELL_DATA);
        cr_expect_eq(service.got[i].c.kind, ONION_KIND_ATTACH);
        cr_expect_eq(service.got[i].c.len, (size_t)ONION_PAYLOAD);
        cr_expect_arr_eq(service.got[i].payload, early, sizeof early);
        cr_expect_eq(service.got[i].c.splice, service.got[0].c.splice);
    }
}

Test(onion_pivot, a_clients_destroy_closes_its_splice)
{
    register_service(1);
    splice(&client);
    client_says(&client, "hello");
    client_destroy(&client);
    relays_run_ms(&r, 500);
    expect_close(&service, ONION_CLOSE_DONE);
    cr_expect_eq(client_last(&service, ONION_CELL_CLOSE)->c.splice,
                 client_last(&service, ONION_CELL_DATA)->c.splice);
    cr_expect_eq(pivot()->n_splices, 0u);
}

Test(onion_pivot, a_clients_close_reaches_the_service_and_ends_the_splice)
{
    register_service(1);
    splice(&client);
    client_send_text(&client, ONION_CELL_CLOSE, "\x01");
    relays_run_ms(&r, 500);
    expect_close(&service, ONION_CLOSE_DONE);
    cr_expect_eq(pivot()->n_splices, 0u);
    cr_expect_not(client.is_destroyed, "not yet: what is under way gets through");
    relays_run_ms(&r, 1000 * ONION_CLOSING_S);
    cr_expect(client.is_destroyed);
}

Test(onion_pivot, a_services_close_reaches_the_client_with_its_reason)
{
    register_service(1);
    splice(&client);
    client_says(&client, "hello");
    uint32_t id = service.got[0].c.splice;
    service_says(id, ONION_CELL_CLOSE, "\x04", 1);
    expect_close(&client, ONION_CLOSE_REFUSED);
    cr_expect_eq(pivot()->n_splices, 0u);
    client_says(&client, "too late");
    cr_expect_eq(client_count(&service, ONION_CELL_DATA), 1u);
    service_says(id, ONION_CELL_DATA, "x", 1);
    cr_expect_eq(counters()->cells_unknown, 1u);
    relays_run_ms(&r, 1000 * ONION_CLOSING_S);
    cr_expect(client.is_destroyed);
}

Test(onion_pivot, ignores_cells_of_the_wrong_end)
{
    static const uint8_t terms[ONION_TERMS];
    register_service(1);
    splice(&client);
    client_send(&client, &(struct onion_cell){
                             .command = ONION_CELL_TERMS, .payload = terms, .len = sizeof terms });
    client_send_text(&client, ONION_CELL_CLOSE, "");
    client_send_text(&client, ONION_CELL_MSG, "none");
    relays_run_ms(&r, 300);
    cr_expect_eq(r.at[PIVOT].relay->n.cells_dropped[CELL_DROP_COMMAND], 3u);
    cr_expect_eq(counters()->terms, 0u);
    service_says(0, ONION_CELL_TERMS, terms, ONION_TERMS - 1);
    cr_expect_eq(counters()->terms_bad, 1u);
    cr_expect_eq(pivot()->n_splices, 1u);
}

/* ---- bounds and work ---------------------------------------------------------------------------
 */

static const uint8_t seed[16] = { 1, 2, 3, 4, 5 };

/* Puts a proof of `effort` into the SPLICE. */
static void pay(struct client_spec *s, const uint8_t with_seed[16], uint32_t effort)
{
    static uint8_t nonce[16];
    uint8_t proof[MESH_POW_PROOF];
    struct mesh_pow_subject subject = { .purpose = MESH_POW_SPLICE };
    memcpy(subject.seed, with_seed, sizeof subject.seed);
    memcpy(subject.x, s->last.target, sizeof subject.x);
    memcpy(subject.y, r.few.node[PIVOT].identity->id, sizeof subject.y);
    cr_assert_eq(mesh_pow_solve(&subject, effort, nonce, NULL, proof, NULL), 0);
    memcpy(nonce, proof, sizeof nonce);
    nonce[0]++; /* never the same twice */
    memcpy(s->last.rest, with_seed, 4);
    memcpy(s->last.rest + 4, proof, sizeof proof);
}

static struct onion_terms terms_of(uint16_t most, uint32_t least)
{
    struct onion_terms t = { .rate = 100, .burst = 500, .most_open = most, .least_effort = least };
    memcpy(t.seed, seed, sizeof t.seed);
    return t;
}

Test(onion_pivot, asks_for_work_with_effort_and_seed)
{
    const struct onion_terms t = terms_of(100, 16);
    register_with(&t);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    expect_status(&client, &s, ONION_MORE_WORK);
    cr_expect_eq(client.built.effort, 16u);
    cr_expect_arr_eq(client.built.seed, seed, sizeof seed);
    client_forget(&client);
    pay(&s, seed, 16);
    client_open(&r, 0, &client, &s);
    cr_expect_eq(pivot()->n_nonces, 1u);
}

Test(onion_pivot, takes_each_proof_once)
{
    const struct onion_terms t = terms_of(100, 8);
    register_with(&t);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    pay(&s, seed, 8);
    client_open(&r, 0, &client, &s);
    expect_status(&more, &s, ONION_MORE_WORK);
    cr_expect_eq(counters()->refused[SPLICE_NONCE], 1u);
    cr_expect_eq(pivot()->n_splices, 1u);
}

Test(onion_pivot, refuses_work_that_is_too_small_or_wrong_or_for_another_seed)
{
    static const uint8_t other_seed[16] = { 9, 9 };
    const struct onion_terms t = terms_of(100, 16);
    register_with(&t);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    pay(&s, seed, 8);
    expect_status(&client, &s, ONION_MORE_WORK);
    cr_expect_eq(counters()->refused[SPLICE_WORK], 1u);
    client_forget(&client);
    pay(&s, other_seed, 16);
    expect_status(&client, &s, ONION_MORE_WORK);
    cr_expect_eq(counters()->refused[SPLICE_SEED], 1u);
    client_forget(&client);
    pay(&s, seed, 16);
    s.last.rest[39] ^= 1;
    expect_status(&client, &s, ONION_MORE_WORK);
    cr_expect_eq(counters()->refused[SPLICE_PROOF], 1u);
    cr_expect_eq(pivot()->n_nonces, 0u);
    cr_expect_eq(registration()->effort.bucket.tokens, registration()->effort.bucket.burst << 20,
                 "only paid requests draw on it");
}

Test(onion_pivot, takes_this_seed_and_the_last_one)
{
    uint8_t buf[ONION_TERMS];
    struct onion_terms t = terms_of(100, 8);
    register_with(&t);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    pay(&s, seed, 8);
    struct client_spec late = s;
    pay(&late, seed, 8);
    client_open(&r, 0, &client, &s);
    t.seed[0] = 0xaa;
    onion_terms_write(buf, &t);
    service_says(0, ONION_CELL_TERMS, buf, sizeof buf);
    client_open(&r, 0, &more, &late);
    expect_status(&other, &s, ONION_MORE_WORK); /* seen, also by the older seed's set */
    client_forget(&other);
    cr_expect_eq(counters()->refused[SPLICE_NONCE], 1u);
    t.seed[0] = 0xbb;
    onion_terms_write(buf, &t);
    service_says(0, ONION_CELL_TERMS, buf, sizeof buf);
    cr_expect_eq(pivot()->n_nonces, 0u, "those of the first seed are forgotten");
    pay(&s, seed, 8);
    expect_status(&other, &s, ONION_MORE_WORK);
    cr_expect_eq(counters()->refused[SPLICE_SEED], 1u);
}

Test(onion_pivot, the_lowest_effort_gives_way_to_who_paid_more_and_to_nobody_else)
{
    const struct onion_terms t = terms_of(2, 0);
    register_with(&t);
    struct client_spec s = client_to_splice(1, 3, SECRET);
    struct client_path *first = &client, *second = &more, *third = &other;
    struct onion_effort *e = &registration()->effort;
    client_open(&r, 0, first, &s);
    pay(&s, seed, 16);
    client_open(&r, 0, second, &s);
    e->effort = 0; /* no price: what follows is about places */
    e->was_changed = true;
    e->changed_ns = env_now_ns(pivot()->env); /* the next doubling is ten seconds away */
    s = client_to_splice(1, 3, SECRET);
    expect_status(third, &s, ONION_BUSY);
    cr_expect_eq(counters()->refused[SPLICE_OPEN], 1u);
    client_forget(third);
    pay(&s, seed, 16);
    client_open(&r, 0, third, &s);
    expect_close(first, ONION_CLOSE_LIMIT);
    cr_expect_eq(client_count(second, ONION_CELL_CLOSE), 0u);
    cr_expect_eq(pivot()->n_splices, 2u);
    cr_expect_eq(counters()->gave_way, 1u);
    expect_close(&service, ONION_CLOSE_LIMIT);
    /* as much is not more */
    client_forget(first);
    pay(&s, seed, 16);
    expect_status(first, &s, ONION_BUSY);
    client_forget(first);
    pay(&s, seed, 64);
    client_open(&r, 0, first, &s);
    expect_close(second, ONION_CLOSE_LIMIT); /* the idler of two that paid the same */
    cr_expect_eq(client_count(third, ONION_CELL_CLOSE), 0u);
}

Test(onion_pivot, a_dry_bucket_is_busy_and_raises_the_price)
{
    struct onion_terms t = { .rate = 1, .burst = 3, .most_open = 1000 };
    register_with(&t);
    static struct client_path many[24];
    struct client_spec s = client_to_splice(3, 1, SECRET);
    unsigned busy = 0, work = 0;
    for (unsigned i = 0; i < 24; i++) {
        client_build(&r, 0, &many[i], &s);
        relays_run_ms(&r, 400);
        busy += client_status(&many[i]) == ONION_BUSY;
        work += client_status(&many[i]) == ONION_MORE_WORK;
        client_forget(&many[i]);
    }
    cr_expect_geq(busy, 5u);
    cr_expect_geq(work, 1u, "the price is not nothing any more");
    cr_expect_eq(pivot__effort(registration()), 8u);
    struct onion_stats stats;
    relays_run_ms(&r, 11000);
    service_says(0, ONION_CELL_PADDING, NULL, 0);
    relays_run_ms(&r, 300);
    cr_assert_eq(
        onion_stats_read(&stats, client_last(&service, ONION_CELL_STATS)->payload, ONION_STATS),
        DROP_NONE);
    cr_expect_eq(stats.effort, 8u, "the service reads it in STATS");
    relays_run_ms(&r, 70000);
    cr_expect_eq(pivot__effort(registration()), 0u);
}

static void fill_nonces(void *arg)
{
    struct pivot_registration *g = arg;
    uint8_t nonce[16] = { 0 };
    for (uint32_t i = 0; i < ONION_NONCES; i++) {
        memcpy(nonce, &i, sizeof i);
        cr_assert_eq(onion_nonces_add(&g->nonces[0], nonce, i % 2 ? 8 : 16), 0);
    }
    g->pivot->n_nonces += ONION_NONCES;
}

Test(onion_pivot, doubles_the_price_when_a_seed_has_all_its_nonces)
{
    const struct onion_terms t = terms_of(100, 8);
    register_with(&t);
    few_in(r.at[PIVOT].few, fill_nonces, registration());
    struct client_spec s = client_to_splice(1, 3, SECRET);
    pay(&s, seed, 8);
    expect_status(&client, &s, ONION_MORE_WORK);
    cr_expect_eq(client.built.effort, 16u);
    cr_expect_eq(counters()->nonces_full, 1u);
    cr_expect_eq(pivot()->n_nonces, (size_t)ONION_NONCES / 2, "those of 16 are known still");
    client_forget(&client);
    pay(&s, seed, 16);
    client_open(&r, 0, &client, &s);
}

/* ---- fairness ----------------------------------------------------------------------------------
 */

/* Its pivot sends slowly, so that cells have to wait. */
static void start_slow(void)
{
    relays_boot(&r, 2, false);
    struct relay_node *slow = relays_add(&r, false);
    slow->few->config.egress_bytes_per_s = 2000000;
    few_boot(slow->few);
    relays_run_ms(&r, 100);
    for (unsigned i = 1; i < PIVOT; i++)
        relays_link(&r, i, PIVOT);
    relays_link(&r, 1, 2);
    relays_run_ms(&r, 500);
    service.at = other.at = client.at = more.at = &r.at[0];
}

TestSuite(onion_pivot_slow, .init = start_slow, .fini = end);

static void flood(void *arg)
{
    struct pivot_registration *g = arg;
    const struct onion_cell c = { .command = ONION_CELL_DATA,
                                  .payload = (const uint8_t *)"flood",
                                  .len = 5 };
    for (unsigned i = 0; i < 1000; i++)
        pivot__to_service(g, 1000, &c);
    for (unsigned i = 0; i < 3; i++)
        pivot__to_service(g, 2000,
                          &(struct onion_cell){ .command = ONION_CELL_DATA,
                                                .payload = (const uint8_t *)"small",
                                                .len = 5 });
}

Test(onion_pivot_slow, a_flood_on_one_splice_does_not_hold_up_another)
{
    register_service(1);
    few_in(r.at[PIVOT].few, flood, registration());
    relays_run_ms(&r, 3000);
    cr_assert_eq(client_count(&service, ONION_CELL_DATA), (unsigned)RELAYS_GOT);
    cr_expect_eq(service.n_got, 1003u);
    cr_expect_gt(counters()->queued, 900u);
    cr_expect_eq(mesh_cells_used(pivot()->cells), 0u);
    /* the ring holds the last 512: the three small ones passed long before */
    for (unsigned i = 0; i < RELAYS_GOT; i++)
        cr_expect_eq(service.got[i].c.splice, 1000u);
}

/* ---- a link is lost -----------------------------------------------------------------------------
 */

Test(onion_pivot, a_lost_link_of_the_service_makes_an_orphan_and_one_of_clients_closes)
{
    register_service(1);
    const struct client_spec s = client_to_splice(1, 3, SECRET);
    client_open(&r, 0, &client, &s);
    client_says(&client, "x");
    relays_unlink(&r, 2, 3); /* both came over it */
    relays_run_ms(&r, 100);
    cr_expect(service.is_destroyed);
    cr_expect(client.is_destroyed);
    cr_expect_eq(pivot()->n_splices, 0u);
    cr_expect_eq(map_len(pivot()->by_token), 1u);
    cr_expect_eq(counters()->orphaned, 1u);
    cr_expect_null(registration()->tail.path);
}
