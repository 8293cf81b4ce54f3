/* Paths through relays: repeats, timers, bounds and memory. */
#include "relay_case.h"

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
    relays_start(3);
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
    relays_start(2);
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
    relays_start(1);
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
    relays_start(2);
    struct mesh_link *l = relays_find(&r, 1, 2);
    few_in(&r.few.node[1], add_tombs, l);
    relays_run_ms(&r, 100);
    cr_expect_eq(r.at[1].relay->n_tombs, (size_t)ONION_TOMBSTONES);
    relays_unlink(&r, 1, 2);
    cr_expect_eq(r.at[1].relay->n_tombs, 0u);
}

struct many_tombs {
    struct mesh_link *l;
    uint32_t n;
};

static void add_many_tombs(void *arg)
{
    const struct many_tombs *m = arg;
    for (uint32_t i = 1; i <= m->n; i++)
        relay__tomb_add(r.at[1].relay, m->l, i);
}

Test(onion_relay, forgets_the_oldest_tombstone_of_all)
{
    enum { LINKS = ONION_TOMBSTONES_ALL / ONION_TOMBSTONES, MORE = 100 };
    relays_start(LINKS + 2);
    for (unsigned i = 0; i <= LINKS; i++) {
        struct many_tombs m = { relays_find(&r, 1, 2 + i), i < LINKS ? ONION_TOMBSTONES : MORE };
        few_in(&r.few.node[1], add_many_tombs, &m);
    }
    cr_expect_eq(r.at[1].relay->n_tombs, (size_t)ONION_TOMBSTONES_ALL);
    const struct relay__link *oldest = relay__link_find(r.at[1].relay, relays_find(&r, 1, 2));
    cr_expect_eq(oldest->n_tombs, (size_t)ONION_TOMBSTONES - MORE);
    relays_run_ms(&r, 10);
}

/* Two others take a second's worth between them. */
static void drain_builds(void *arg)
{
    struct onion_relay *relay = arg;
    unsigned n = 0;
    for (uint64_t who = 1; who <= 2; who++)
        while (onion_share_take(relay->builds, who, who, relay__now(relay)))
            n++;
    cr_expect_eq(n, (unsigned)ONION_BUILDS_ALL);
}

Test(onion_relay, takes_so_many_builds_of_all_links_in_a_second)
{
    static const struct sim_link near = { .latency_min_us = 1, .latency_max_us = 1 };
    const struct client_spec s = client_to_service(1, 1, 7, 1);
    relays_start(1);
    relays_link(&r, 0, 1);
    sim_set_link(r.few.world, &near); /* nothing of the rate is back when it arrives */
    relays_run_ms(&r, 500);
    few_in(&r.few.node[1], drain_builds, r.at[1].relay);
    client_build(&r, 0, &a, &s);
    relays_run_ms(&r, 100);
    cr_expect_not(a.has_reply);
    cr_expect_eq(counters(1)->build_dropped[BUILD_DROP_BUDGET], 1u);
    relays_run_ms(&r, 1000);
    client_open(&r, 0, &a, &s);
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
    relays_start(2);
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
    relays_start(1);
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
    relays_start(1);
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
    relays_start(3);
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
