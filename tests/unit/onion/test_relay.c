/* Paths through relays: section 9's table, statuses, timers. */
#include "relay_rig.h"

static struct relays r;
static struct client_path a, b;

static void end(void)
{
    client_forget(&a);
    client_forget(&b);
    relays_fini(&r);
}

static void start(unsigned n)
{
    relays_init(&r, n, false);
    a.at = b.at = &r.at[0];
}

TestSuite(onion_relay, .fini = end);

static const struct relay__counters *counters(unsigned relay)
{
    return &r.at[relay].relay->n;
}

/* Asks the end for STATS over the path and checks that the answer gets through. */
static void ping(struct client_path *p)
{
    uint8_t payload[ONION_STATS];
    unsigned before = client_count(p, ONION_CELL_STATS);
    onion_stats_write(payload, &(struct onion_stats){ .sent = p->sent, .wants_answer = true });
    client_send(p, &(struct onion_cell){
                       .command = ONION_CELL_STATS, .payload = payload, .len = sizeof payload });
    relays_run_ms(&r, 200);
    cr_assert_eq(client_count(p, ONION_CELL_STATS), before + 1);
}

/* ---- building ----------------------------------------------------------------------------------
 */

Test(onion_relay, builds_paths_of_one_to_five_hops_that_carry_cells_both_ways)
{
    start(5);
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
    start(3);
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
static struct client_spec to_node(unsigned relay, const uint8_t target[32])
{
    struct client_spec s = { .n_hops = 1, .hops = { relay }, .last.command = ONION_BUILD_RELAY };
    memcpy(s.last.target, target, sizeof s.last.target);
    return s;
}

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
    start(1);
    const struct client_spec s = to_node(1, (const uint8_t[32]){ 0xee });
    expect_status(&s, ONION_NEXT_UNKNOWN, 200);
    cr_expect_eq(counters(1)->build_status[ONION_NEXT_UNKNOWN], 1u);
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
}

Test(onion_relay, refuses_itself_and_the_one_before_as_the_next_hop)
{
    start(2);
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
    start(1);
    struct client_spec s = client_to_end(1, 1);
    expect_status(&s, ONION_UNSUPPORTED, 200);
    s.last.command = 9;
    expect_status(&s, ONION_UNSUPPORTED, 200);
    cr_expect_eq(counters(1)->build_status[ONION_UNSUPPORTED], 2u);
}

Test(onion_relay, dials_a_next_hop_whose_record_it_holds)
{
    start(2);
    relays_unlink(&r, 1, 2);
    const struct client_spec spec = client_to_service(1, 2, 1, 1);
    client_open(&r, 0, &a, &spec);
    cr_expect_eq(counters(1)->dials, 1u);
    ping(&a);
}

Test(onion_relay, says_that_the_next_hop_is_unreachable_and_at_once_while_its_address_rests)
{
    start(2);
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
    start(3);
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
    start(1);
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
    start(1);
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
    start(1);
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
    start(1);
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

/* ---- a hop by hand: user -> relay 1 -> mock -----------------------------------------------------
 */

static struct relay_node *mock;

static void start_mock(void)
{
    start(1);
    mock = relays_add_mock(&r);
    relays_link(&r, 1, 2);
    relays_run_ms(&r, 500);
    client_build(
        &r, 0, &a,
        &(struct client_spec){ .n_hops = 2, .hops = { 1, 2 }, .last.command = ONION_BUILD_END });
    relays_run_ms(&r, 200);
    cr_assert_eq(mock->n_builds, 1u);
    cr_assert_not(a.has_reply);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_BUILDING], 1u);
}

static void open_mock(void)
{
    start_mock();
    relays_mock_reply(mock);
    relays_run_ms(&r, 100);
    cr_assert_eq(client_status(&a), ONION_OK);
    cr_assert_eq(a.built.n_hops, 2u);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_OPEN], 1u);
}

static void send_text(void)
{
    client_send_text(&a, ONION_CELL_DATA, "forward");
}

static void mock_sends(uint64_t counter)
{
    uint8_t cell[MESH_CELL];
    onion_cell_write(cell,
                     &(struct onion_cell){
                         .command = ONION_CELL_DATA, .payload = (const uint8_t *)"back", .len = 4 },
                     counter);
    onion_layer_encipher(&mock->backward, cell);
    relays_mock_cell(mock, cell);
}

Test(onion_relay, building_drops_cells_from_before_and_passes_those_of_the_next)
{
    uint8_t cell[MESH_CELL] = { 1, 2, 3 };
    start_mock();
    client_send_raw(&a, cell);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_EARLY], 1u);
    cr_expect_eq(mock->n_stray_cells, 0u);
    relays_mock_cell(mock, cell);
    relays_run_ms(&r, 100);
    cr_expect_eq(a.n_raw, 1u);
    cr_expect_neq(memcmp(a.last_raw, cell, sizeof cell), 0, "enciphered on the way");
}

Test(onion_relay, a_cell_may_overtake_its_reply)
{
    uint8_t first[MESH_CELL];
    start_mock();
    /* the reply waits at the mock, a cell goes ahead: keys are the same once the reply is there */
    memset(first, 0x11, sizeof first);
    relays_mock_cell(mock, first);
    relays_run_ms(&r, 100);
    cr_assert_eq(a.n_raw, 1u);
    relays_mock_reply(mock);
    relays_run_ms(&r, 100);
    cr_assert_eq(client_status(&a), ONION_OK);
    onion_layer_decipher(&a.backward[0], a.last_raw);
    cr_expect_arr_eq(a.last_raw, first, sizeof first);
}

static void expect_end_at_relay(void)
{
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
    cr_expect_eq(map_len(r.at[1].relay->groups), 0u);
}

Test(onion_relay, building_destroys_the_next_when_the_one_before_does)
{
    start_mock();
    client_destroy(&a);
    relays_run_ms(&r, 100);
    cr_expect_eq(mock->n_stray_destroys, 1u);
    cr_expect_eq(mock->stray_path, mock->build_path);
    expect_end_at_relay();
}

Test(onion_relay, building_says_unreachable_when_the_next_destroys)
{
    start_mock();
    relays_mock_destroy(mock);
    relays_run_ms(&r, 100);
    cr_expect_eq(client_status(&a), ONION_NEXT_UNREACHABLE);
    cr_expect_not(a.is_destroyed, "the reply says it all");
    expect_end_at_relay();
}

Test(onion_relay, building_says_unreachable_when_the_next_link_is_lost)
{
    start_mock();
    relays_unlink(&r, 2, 1);
    relays_run_ms(&r, 100);
    cr_expect_eq(client_status(&a), ONION_NEXT_UNREACHABLE);
    expect_end_at_relay();
}

Test(onion_relay, building_destroys_the_next_when_the_link_before_is_lost)
{
    start_mock();
    relays_unlink(&r, 0, 1);
    relays_run_ms(&r, 100);
    cr_expect(a.is_lost);
    cr_expect_eq(mock->n_stray_destroys, 1u);
    expect_end_at_relay();
}

Test(onion_relay, building_gives_up_after_ten_seconds_and_destroys_the_next)
{
    start_mock();
    relays_run_ms(&r, 10000);
    cr_expect_eq(client_status(&a), ONION_NOTHING_BACK);
    cr_expect_eq(mock->n_stray_destroys, 1u);
    expect_end_at_relay();
    relays_mock_reply(mock); /* late: GONE */
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->trains_gone, 1u);
}

Test(onion_relay, counts_builds_of_an_id_in_use_in_every_state)
{
    start_mock();
    client_send_train(&a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->violations, 1u);
    relays_mock_reply(mock);
    relays_run_ms(&r, 100);
    client_send_train(&a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->violations, 2u);
    cr_expect_eq(mock->n_builds, 1u);
    send_text();
    relays_run_ms(&r, 100);
    cr_expect_eq(mock->n_stray_cells, 1u, "the path is as it was");
}

Test(onion_relay, open_passes_cells_both_ways)
{
    open_mock();
    send_text();
    relays_run_ms(&r, 100);
    cr_expect_eq(mock->n_stray_cells, 1u);
    mock_sends(0);
    relays_run_ms(&r, 100);
    cr_assert_eq(client_count(&a, ONION_CELL_DATA), 1u);
    cr_expect_eq(memcmp(client_last(&a, ONION_CELL_DATA)->payload, "back", 4), 0);
    cr_expect_eq(a.n_noise, 0u);
}

Test(onion_relay, open_counts_a_second_reply)
{
    open_mock();
    relays_mock_reply(mock);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->violations, 1u);
}

Test(onion_relay, open_passes_a_destroy_from_before_on)
{
    open_mock();
    client_destroy(&a);
    relays_run_ms(&r, 100);
    cr_expect_eq(mock->n_stray_destroys, 1u);
    expect_end_at_relay();
}

Test(onion_relay, open_passes_a_destroy_from_the_next_back)
{
    open_mock();
    relays_mock_destroy(mock);
    relays_run_ms(&r, 100);
    cr_expect(a.is_destroyed);
    expect_end_at_relay();
}

Test(onion_relay, open_ends_when_the_link_before_is_lost)
{
    open_mock();
    relays_unlink(&r, 0, 1);
    cr_expect_eq(mock->n_stray_destroys, 1u);
    expect_end_at_relay();
}

Test(onion_relay, open_ends_when_the_next_link_is_lost)
{
    open_mock();
    relays_unlink(&r, 2, 1);
    cr_expect(a.is_destroyed);
    expect_end_at_relay();
}

/* ---- the last hop ------------------------------------------------------------------------------
 */

static void open_end(void)
{
    start(1);
    const struct client_spec spec = client_to_service(1, 1, 1, 1);
    client_open(&r, 0, &a, &spec);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_END], 1u);
}

Test(onion_relay, end_counts_builds_of_its_id_and_recognises_cells)
{
    open_end();
    client_send_train(&a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->violations, 1u);
    ping(&a);
}

Test(onion_relay, end_drops_noise_and_what_it_had)
{
    uint8_t cell[MESH_CELL] = { 0 };
    open_end();
    client_send_raw(&a, cell);
    client_encode(&a, &(struct onion_cell){ .command = ONION_CELL_PADDING }, cell);
    client_send_raw(&a, cell);
    client_send_raw(&a, cell);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_NOISE], 2u);
    ping(&a);
    struct onion_stats s;
    cr_assert_eq(onion_stats_read(&s, client_last(&a, ONION_CELL_STATS)->payload, ONION_STATS),
                 DROP_NONE);
    cr_expect_eq(s.unrecognised, 2u);
    cr_expect_eq(s.recognised, 2u);
}

Test(onion_relay, end_ignores_commands_that_are_not_for_it)
{
    open_end();
    client_send_text(&a, ONION_CELL_MSG, "not here");
    client_send_text(&a, 77, "of a later version");
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_COMMAND], 2u);
    ping(&a);
}

Test(onion_relay, end_says_stats_every_ten_seconds_of_use)
{
    open_end();
    for (unsigned i = 0; i < 41; i++) {
        client_send_text(&a, ONION_CELL_PADDING, "");
        relays_run_ms(&r, 1000);
    }
    cr_expect_eq(client_count(&a, ONION_CELL_STATS), 4u);
    unsigned before = client_count(&a, ONION_CELL_STATS);
    relays_run_ms(&r, 60000);
    cr_expect_eq(client_count(&a, ONION_CELL_STATS), before, "a quiet path stays quiet");
}

/* ---- none and GONE ------------------------------------------------------------------------------
 */

static void say_destroy(void *arg)
{
    const struct client_path *p = arg;
    mesh_path_destroy(p->slot.link, p->slot.path);
}

Test(onion_relay, a_destroy_that_overtakes_its_build_ends_it)
{
    start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    s.keep_back = true;
    client_build(&r, 0, &a, &s);
    few_in(&r.few.node[0], say_destroy, &a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->destroys_stray, 1u);
    client_send_train(&a);
    relays_run_ms(&r, 11000);
    cr_expect_not(a.has_reply);
    cr_expect_eq(counters(1)->trains_gone, 1u);
    cr_expect_eq(counters(1)->builds, 0u, "no key was touched");
}

Test(onion_relay, answers_a_cell_of_no_path_with_destroy)
{
    uint8_t cell[MESH_CELL] = { 0 };
    start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    s.keep_back = true;
    client_build(&r, 0, &a, &s);
    client_send_raw(&a, cell);
    relays_run_ms(&r, 100);
    cr_expect(a.is_destroyed);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_STRAY], 1u);
}

static void send_reply(void *arg)
{
    static const uint8_t reply[ONION_REPLY];
    const struct client_path *p = arg;
    cr_assert_eq(mesh_train_send(p->slot.link, p->slot.path, true, reply, ONION_REPLY), 0);
}

Test(onion_relay, drops_a_reply_of_no_path_and_counts_one_from_before)
{
    start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    s.keep_back = true;
    client_build(&r, 0, &a, &s);
    few_in(&r.few.node[0], send_reply, &a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->replies_stray, 1u);
    client_send_train(&a);
    relays_run_ms(&r, 300);
    cr_assert_eq(client_status(&a), ONION_OK);
    few_in(&r.few.node[0], send_reply, &a);
    relays_run_ms(&r, 100);
    cr_expect_eq(counters(1)->violations, 1u);
    ping(&a);
}

Test(onion_relay, gone_drops_everything_for_thirty_seconds)
{
    uint8_t cell[MESH_CELL] = { 0 };
    open_end();
    struct mesh_link *l = a.slot.link;
    uint32_t id = a.slot.path;
    few_in(&r.few.node[0], say_destroy, &a);
    relays_run_ms(&r, 100);
    cr_assert_eq(r.at[1].relay->n_paths, 0u);
    cr_assert_eq(r.at[1].relay->n_tombs, 1u);
    client_send_raw(&a, cell);
    few_in(&r.few.node[0], send_reply, &a);
    client_send_train(&a);
    few_in(&r.few.node[0], say_destroy, &a);
    relays_run_ms(&r, 1000);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_GONE], 1u);
    cr_expect_eq(counters(1)->trains_gone, 2u);
    cr_expect_eq(counters(1)->destroys_gone, 1u);
    cr_expect_not(a.is_destroyed);
    cr_expect_eq(counters(1)->violations, 0u);
    relays_run_ms(&r, 1000 * ONION_TOMBSTONE_S);
    cr_expect_eq(r.at[1].relay->n_tombs, 0u);
    cr_expect_eq(onion_switch_len(r.at[1].paths), 0u);
    cr_expect_eq(a.slot.link, l);
    cr_expect_eq(a.slot.path, id);
    client_send_raw(&a, cell);
    relays_run_ms(&r, 100);
    cr_expect(a.is_destroyed, "forgotten: as any id that is none");
}

/* ---- repeats ------------------------------------------------------------------------------------
 */

Test(onion_relay, drops_a_repeated_cell_in_both_directions)
{
    uint8_t cell[MESH_CELL] = { 9 };
    open_mock();
    client_send_raw(&a, cell);
    client_send_raw(&a, cell);
    relays_run_ms(&r, 100);
    cr_expect_eq(mock->n_stray_cells, 1u);
    for (unsigned i = 0; i < 2; i++)
        relays_mock_cell(mock, cell);
    relays_run_ms(&r, 100);
    cr_expect_eq(a.n_raw, 1u);
    cr_expect_eq(counters(1)->cells_dropped[CELL_DROP_REPEAT], 2u);
}

/* ---- timers -------------------------------------------------------------------------------------
 */

Test(onion_relay, an_unused_path_ends_after_thirty_seconds_at_every_hop)
{
    start(3);
    const struct client_spec spec = client_to_service(1, 3, 1, 1);
    client_open(&r, 0, &a, &spec);
    relays_run_ms(&r, 1000 * ONION_UNUSED_S - 1000);
    for (unsigned i = 1; i <= 3; i++)
        cr_expect_eq(r.at[i].relay->n_paths, 1u);
    relays_run_ms(&r, 1000);
    for (unsigned i = 1; i <= 3; i++)
        cr_expect_eq(r.at[i].relay->n_paths, 0u);
    cr_expect(a.is_destroyed);
    /* the last hop was ready first; its DESTROY may meet those of the others */
    cr_expect_geq(counters(3)->expired_unused, 1u);
}

Test(onion_relay, an_idle_path_ends_after_five_minutes)
{
    start(2);
    const struct client_spec spec = client_to_service(1, 2, 1, 1);
    client_open(&r, 0, &a, &spec);
    ping(&a);
    relays_run_ms(&r, 200 * 1000);
    client_send_text(&a, ONION_CELL_PADDING, "");
    relays_run_ms(&r, 1000 * (ONION_IDLE_S - 2));
    cr_expect_not(a.is_destroyed);
    cr_expect_eq(r.at[1].relay->n_paths, 1u);
    relays_run_ms(&r, 4000);
    cr_expect(a.is_destroyed);
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
    cr_expect_eq(r.at[2].relay->n_paths, 0u);
    cr_expect_geq(counters(1)->expired_idle + counters(2)->expired_idle, 1u);
}

Test(onion_relay, a_used_path_ends_after_an_hour)
{
    start(1);
    const struct client_spec spec = client_to_service(1, 1, 1, 1);
    client_open(&r, 0, &a, &spec);
    for (unsigned s = 0; s < ONION_LIFE_S - 60; s += 60) {
        client_send_text(&a, ONION_CELL_PADDING, "");
        relays_run_ms(&r, 60000);
    }
    cr_expect_not(a.is_destroyed);
    client_send_text(&a, ONION_CELL_PADDING, "");
    relays_run_ms(&r, 61000);
    cr_expect(a.is_destroyed);
    cr_expect_eq(counters(1)->expired_life, 1u);
}

/* ---- bounds -------------------------------------------------------------------------------------
 */

static void add_tombs(void *arg)
{
    struct mesh_link *l = arg;
    for (uint32_t i = 1; i <= ONION_TOMBSTONES + 100; i++)
        relay__tomb_add(r.at[1].relay, l, i);
}

Test(onion_relay, forgets_the_oldest_tombstone_of_a_link)
{
    start(2);
    struct mesh_link *l = relays_find(&r, 1, 2);
    few_in(&r.few.node[1], add_tombs, l);
    relays_run_ms(&r, 100);
    cr_expect_eq(r.at[1].relay->n_tombs, (size_t)ONION_TOMBSTONES);
    relays_unlink(&r, 1, 2);
    cr_expect_eq(r.at[1].relay->n_tombs, 0u);
}

Test(onion_relay, ends_a_link_that_breaks_rules_a_hundred_times_in_a_minute)
{
    open_end();
    for (unsigned i = 0; i < MESH_VIOLATIONS - 1; i++) {
        client_send_train(&a);
        relays_run_ms(&r, 50);
    }
    cr_expect_eq(counters(1)->violations, (uint64_t)MESH_VIOLATIONS - 1);
    cr_expect_not(a.is_lost);
    client_send_train(&a);
    relays_run_ms(&r, 200);
    cr_expect(a.is_lost);
    cr_expect_eq(counters(1)->links_ended, 1u);
    cr_expect_str_eq(r.few.node[0].why, "the peer says that we broke a rule");
    expect_end_at_relay();
}

static void wait_full(void *arg)
{
    struct onion_relay *relay = arg;
    relay->n_waiting += ONION_TRAINS_WAITING - 1;
}

static void wait_empty(void *arg)
{
    struct onion_relay *relay = arg;
    relay->n_waiting -= ONION_TRAINS_WAITING - 1;
}

Test(onion_relay, lets_so_many_trains_wait_for_links)
{
    start(2);
    relays_unlink(&r, 1, 2);
    sim_node_shutdown(r.few.node[2].sim);
    const struct client_spec s = to_node(1, r.few.node[2].identity->id);
    client_build(&r, 0, &a, &s); /* waits */
    relays_run_ms(&r, 200);
    cr_assert_eq(r.at[1].relay->n_waiting, 1u);
    few_in(r.at[1].few, wait_full, r.at[1].relay); /* as if others did as well */
    client_build(&r, 0, &b, &s);
    few_run_ms(&r.few, 200);
    cr_expect_eq(client_status(&b), ONION_BUSY);
    few_in(r.at[1].few, wait_empty, r.at[1].relay);
    relays_run_ms(&r, 9000);
    cr_expect_eq(client_status(&a), ONION_NEXT_UNREACHABLE);
    cr_expect_eq(r.at[1].relay->n_waiting, 0u);
}

Test(onion_relay, counts_an_id_of_the_wrong_side)
{
    start(1);
    struct client_spec s = client_to_service(1, 1, 1, 1);
    s.keep_back = true;
    client_build(&r, 0, &a, &s);
    a.slot.path ^= 0x80000000u; /* as the train goes out; the slot stays where it was */
    client_send_train(&a);
    a.slot.path ^= 0x80000000u;
    relays_run_ms(&r, 11000);
    cr_expect_not(a.has_reply);
    cr_expect_eq(counters(1)->build_dropped[BUILD_DROP_SIDE], 1u);
    cr_expect_eq(counters(1)->violations, 1u);
}

Test(onion_relay, the_idlest_path_of_the_largest_prefix_gives_way)
{
    enum { MOST = 5 };
    static struct client_path many[MOST];
    relays_boot(&r, 0, false);
    r.at[1].paths_max = 0;
    struct relay_node *relay = relays_add(&r, false);
    relay->paths_max = MOST;
    few_boot(relay->few);
    struct relay_node *other = relays_add(&r, true);
    few_boot(other->few);
    relays_run_ms(&r, 100);
    struct client_spec s = client_to_service(1, 1, 0, 1);
    for (unsigned i = 0; i < MOST; i++) {
        s.last.target[0] = (uint8_t)(i + 1);
        client_open(&r, i == 0 ? 2 : 0, &many[i], &s);
        client_send_text(&many[i], ONION_CELL_PADDING, "");
        relays_run_ms(&r, 2000);
    }
    client_send_text(&many[1], ONION_CELL_PADDING, ""); /* so the third is the idlest */
    relays_run_ms(&r, 2000);
    s.last.target[0] = 99;
    client_open(&r, 2, &a, &s);
    relays_run_ms(&r, 200);
    cr_expect_eq(relay->relay->n.gave_way, 1u);
    cr_expect_eq(relay->relay->n_paths, (size_t)MOST);
    for (unsigned i = 0; i < MOST; i++)
        cr_expect_eq(many[i].is_destroyed, i == 2, "path %u", i);
    for (unsigned i = 0; i < MOST; i++)
        client_forget(&many[i]);
    b.at = a.at;
}

/* ---- memory -------------------------------------------------------------------------------------
 */

#if defined(__SANITIZE_ADDRESS__)
Test(onion_relay, an_idle_path_takes_at_most_four_kilobytes)
{
    b.at = a.at = &r.at[0];
    start(1);
    cr_skip_test("the sanitizer's allocator tells nothing");
}
#else
#include <malloc.h>

enum { MANY = 2048, TURN = 16 }; /* many, so that what the allocator keeps back counts little */

struct opening {
    unsigned cells;
    uint32_t first;
};

static void open_one(uint32_t id, unsigned cells)
{
    static uint8_t reply[ONION_REPLY];
    struct onion_relay *relay = r.at[2].relay;
    struct mesh_link *before = relays_find(&r, 2, 1), *next = relays_find(&r, 2, 3);
    struct onion_answer answer = { 0 };
    struct relay_path *p = NULL;
    uint8_t cell[MESH_CELL];
    cr_assert_eq(relay__path_create(relay, relay__link_get(relay, before), id, &answer, &p), 0);
    cr_assert_eq(onion_switch_add(r.at[2].paths, &p->next, next, id), 0);
    mesh__path_note(before, id);
    mesh__path_note(next, id);
    relay__path_step(p, RELAY_EV_REPLY, reply);
    cr_assert_eq(p->state, RELAY_OPEN);
    for (unsigned c = 0; c < cells; c++) {
        memset(cell, (int)c, sizeof cell);
        cr_assert_eq(onion_seen_note(&p->seen_forward, cell), ONION_SEEN_NEW);
        cr_assert_eq(onion_seen_note(&p->seen_backward, cell), ONION_SEEN_NEW);
    }
}

/* Paths as they are once they are open: both slots, both notes of the mesh, both windows. */
static void open_some(void *arg)
{
    const struct opening *o = arg;
    for (uint32_t i = 0; i < TURN; i++)
        open_one(o->first + i, o->cells);
}

static size_t bytes_each(unsigned cells)
{
    start(3);
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 1; i <= MANY; i += TURN) {
        few_in(&r.few.node[2], open_some, &(struct opening){ .cells = cells, .first = i });
        relays_run_ms(&r, 100);
    }
    relays_run_ms(&r, 8000); /* what was queued and kept is gone */
    return (mallinfo2().uordblks - before) / MANY;
}

Test(onion_relay, an_idle_path_takes_at_most_four_kilobytes)
{
    size_t bytes = bytes_each(ONION_WINDOW_CELLS);
    cr_log_info("a path that carried %d cells each way: %zu bytes", ONION_WINDOW_CELLS, bytes);
    cr_expect_leq(bytes, 4096u, "%zu", bytes);
}

Test(onion_relay, a_path_that_carried_a_few_cells_takes_two)
{
    size_t bytes = bytes_each(8);
    cr_log_info("a path that carried 8 cells each way: %zu bytes", bytes);
    cr_expect_leq(bytes, 2048u, "%zu", bytes);
}
#endif
