/* Paths through relays: the table of protocol.md, section 9, state by state. */
#include "relay_case.h"

/* ---- a hop by hand: user -> relay 1 -> mock -----------------------------------------------------
 */

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
    relays_start(1);
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
    relays_start(1);
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
    relays_start(1);
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
