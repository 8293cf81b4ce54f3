/* Paths through relays: what builds them, and what is refused. */
#include "relay_case.h"

/* ---- building ----------------------------------------------------------------------------------
 */

Test(onion_relay, builds_paths_of_one_to_five_hops_that_carry_cells_both_ways)
{
    relays_start(5);
    for (unsigned n = 1; n <= 5; n++) {
        const struct client_spec spec = client_to_service(1, n, (uint8_t)n, 1);
        client_open(&r, 0, &a, &spec);
        ping(&a);
        struct onion_stats s;
        cr_assert_eq(onion_stats_read(&s, client_last(&a, ONION_CELL_STATS)->payload, ONION_STATS),
                     DROP_NONE);
        cr_expect_eq(s.recognised, 1u);
        cr_expect_eq(s.unrecognised, 0u);
        cr_expect_eq(a.n_noise, 0u);
        client_destroy(&a);
    }
}

Test(onion_relay, sends_cells_of_another_kind_at_every_hop)
{
    relays_start(3);
    const struct client_spec spec = client_to_service(1, 3, 1, 1);
    client_open(&r, 0, &a, &spec);
    for (unsigned i = 0; i < 20; i++)
        ping(&a);
    for (unsigned relay = 1; relay <= 3; relay++) {
        cr_expect_eq(counters(relay)->cells_forward, 20u);
        cr_expect_eq(counters(relay)->cells_backward, 20u);
        cr_expect_eq(counters(relay)->cells_dropped[CELL_DROP_NOISE], 0u);
    }
}

/* A path of one hop whose relay is asked to go on to `target`. */

static void expect_status(const struct client_spec *s, unsigned status, uint64_t within_ms)
{
    client_build(&r, 0, &a, s);
    relays_run_ms(&r, within_ms);
    cr_expect_eq(client_status(&a), status, "%u", client_status(&a));
    cr_expect_eq(a.built.n_hops, s->n_hops - 1, "%zu", a.built.n_hops);
    client_forget(&a);
}

Test(onion_relay, says_that_it_does_not_know_the_next_hop)
{
    relays_start(1);
    const struct client_spec s = to_node(1, (const uint8_t[32]){ 0xee });
    expect_status(&s, ONION_NEXT_UNKNOWN, 200);
    cr_expect_eq(counters(1)->build_status[ONION_NEXT_UNKNOWN], 1u);
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
}

Test(onion_relay, refuses_itself_and_the_one_before_as_the_next_hop)
{
    relays_start(2);
    const struct client_spec self = to_node(1, r.few.node[1].identity->id);
    expect_status(&self, ONION_REFUSED, 200);
    struct client_spec back = to_node(1, r.few.node[1].identity->id);
    back.n_hops = 2;
    back.hops[1] = 2;
    expect_status(&back, ONION_REFUSED, 300);
    cr_expect_eq(counters(2)->build_status[ONION_REFUSED], 1u);
}

Test(onion_relay, does_not_know_unlisted_commands_and_has_no_end_without_a_dht)
{
    relays_start(1);
    struct client_spec s = client_to_end(1, 1);
    expect_status(&s, ONION_UNSUPPORTED, 200);
    s.last.command = 9;
    expect_status(&s, ONION_UNSUPPORTED, 200);
    cr_expect_eq(counters(1)->build_status[ONION_UNSUPPORTED], 2u);
}

Test(onion_relay, dials_a_next_hop_whose_record_it_holds)
{
    relays_start(2);
    relays_unlink(&r, 1, 2);
    const struct client_spec spec = client_to_service(1, 2, 1, 1);
    client_open(&r, 0, &a, &spec);
    cr_expect_eq(counters(1)->dials, 1u);
    ping(&a);
}

Test(onion_relay, says_that_the_next_hop_is_unreachable_and_at_once_while_its_address_rests)
{
    relays_start(2);
    relays_unlink(&r, 1, 2);
    sim_node_shutdown(r.few.node[2].sim);
    const struct client_spec s = to_node(1, r.few.node[2].identity->id);
    expect_status(&s, ONION_NEXT_UNREACHABLE, 9000);
    cr_expect_eq(r.at[1].relay->n_waiting, 0u);
    expect_status(&s, ONION_NEXT_UNREACHABLE, 100);
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
}

Test(onion_relay, says_that_nothing_came_back_from_a_silent_hop_after_ten_seconds)
{
    relays_start(3);
    struct client_spec s = client_to_service(1, 3, 1, 1);
    s.wrong_key = 3;
    client_build(&r, 0, &a, &s);
    relays_run_ms(&r, 9900);
    cr_expect_not(a.has_reply);
    relays_run_ms(&r, 300);
    cr_expect_eq(client_status(&a), ONION_NOTHING_BACK);
    cr_expect_eq(a.built.n_hops, 0u, "hop 1 says it whichever was silent");
    cr_expect_eq(counters(3)->build_dropped[BUILD_DROP_HINT], 1u);
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
    cr_expect_eq(r.at[2].relay->n_paths, 0u);
}

/* ---- silence -----------------------------------------------------------------------------------
 */

static void flip(uint8_t train[static ONION_TRAIN])
{
    train[ONION_TRAIN - 1] ^= 1;
}

static void other_type(uint8_t train[static ONION_TRAIN])
{
    train[0] = 2;
}

static void expect_silence(struct client_spec *s, enum build_drop why)
{
    uint64_t before = counters(1)->build_dropped[why];
    client_build(&r, 0, &a, s);
    relays_run_ms(&r, 11000);
    cr_expect_not(a.has_reply);
    cr_expect_not(a.is_destroyed);
    cr_expect_eq(counters(1)->build_dropped[why], before + 1);
    cr_expect_eq(onion_switch_len(r.at[1].paths), 0u);
    client_forget(&a);
}

Test(onion_relay, is_silent_to_whatever_is_not_proven_fresh)
{
    relays_start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    s.change = flip;
    expect_silence(&s, BUILD_DROP_OPEN);
    s.change = other_type;
    expect_silence(&s, BUILD_DROP_TYPE);
    s.change = NULL;
    s.wrong_key = 1;
    expect_silence(&s, BUILD_DROP_HINT);
    s.wrong_key = 0;
    s.stamp_shift = -(ONION_STAMP_PAST_S + 61);
    expect_silence(&s, BUILD_DROP_STAMP);
    s.stamp_shift = ONION_STAMP_FUTURE_S + 61;
    expect_silence(&s, BUILD_DROP_STAMP);
}

Test(onion_relay, takes_a_train_once_whatever_its_path_id)
{
    relays_start(1);
    const struct client_spec spec = client_to_service(1, 1, 1, 1);
    client_open(&r, 0, &a, &spec);
    client_build(
        &r, 0, &b,
        &(struct client_spec){
            .n_hops = 1, .hops = { 1 }, .last.command = ONION_BUILD_END, .keep_back = true });
    memcpy(b.out, a.out, sizeof b.out);
    client_send_train(&b);
    relays_run_ms(&r, 11000);
    cr_expect_not(b.has_reply);
    cr_expect_eq(counters(1)->build_dropped[BUILD_DROP_REPLAY], 1u);
    cr_expect_eq(r.at[1].relay->n_paths, 1u);
}

Test(onion_relay, drops_builds_beyond_an_unlisted_links_budget)
{
    relays_start(1);
    struct client_spec s = to_node(1, (const uint8_t[32]){ 0xee });
    client_build(&r, 0, &a, &s);
    relays_run_ms(&r, 5000);
    client_forget(&a);
    for (unsigned i = 0; i < ONION_BUILDS_LINK_BURST + 5; i++) {
        client_build(&r, 0, &a, &s);
        client_forget(&a);
    }
    relays_run_ms(&r, 300);
    /* all come within a moment, in which a few tokens are added */
    cr_expect_geq(counters(1)->build_dropped[BUILD_DROP_BUDGET], 1u);
    cr_expect_leq(counters(1)->build_dropped[BUILD_DROP_BUDGET], 5u);
    client_build(&r, 0, &a, &s);
    relays_run_ms(&r, 300);
    cr_expect_eq(client_status(&a), ONION_NEXT_UNKNOWN, "a second later it goes on");
}

Test(onion_relay, has_so_many_paths_for_an_unlisted_link)
{
    relays_start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    for (unsigned i = 0; i < MESH_PATHS_UNLISTED; i++) {
        s.last.target[0] = (uint8_t)i;
        client_build(&r, 0, &a, &s);
        relays_run_ms(&r, 105);
        cr_assert_eq(client_status(&a), ONION_OK);
        client_forget(&a);
    }
    cr_expect_eq(r.at[1].relay->n_paths, (size_t)MESH_PATHS_UNLISTED);
    s.last.target[1] = 9;
    expect_status(&s, ONION_BUSY, 200);
}
