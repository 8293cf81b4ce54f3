/* Rosters kept alike: who is known to whom, and when. */
#include <sodium.h>

#include "base/mp.h"
#include "sync_rig.h"

Test(dht_sync, eight_nodes_know_each_other_and_are_ready_within_a_second)
{
    struct few f;
    keepers_boot(&f, 8);
    few_run_ms(&f, 1000);
    for (unsigned i = 0; i < 8; i++) {
        cr_expect_eq(dht_roster_len(keepers[i].roster), 7u, "node %u: %zu", i,
                     dht_roster_len(keepers[i].roster));
        cr_expect(dht_sync_is_ready(keepers[i].sync), "node %u", i);
    }
    few_fini(&f);
}

Test(dht_sync, a_roster_at_rest_asks_every_ten_minutes)
{
    struct few f;
    keepers_boot(&f, 4);
    few_run_ms(&f, 3600000);
    uint64_t before = keepers[2].sync->n.rounds;
    few_run_ms(&f, 3600000);
    uint64_t rounds = keepers[2].sync->n.rounds - before;
    cr_expect(rounds >= 5 && rounds <= 8, "%u rounds in an hour", (unsigned)rounds);
    cr_expect(keeper_entry(&keepers[1], &keepers[2]) != NULL);
    cr_expect(
        dht_roster_is_told(keeper_entry(&keepers[1], &keepers[2]), mesh_time(f.node[2].mesh)));
    few_fini(&f);
}

Test(dht_sync, a_node_that_joins_is_known_to_all_within_seconds)
{
    struct few f;
    keepers_boot(&f, 6);
    few_run_ms(&f, 3600000); /* all are at rest */
    struct keeper *late = keeper_add(&f);
    few_boot(late->node);
    few_run_ms(&f, 5000);
    for (unsigned i = 0; i < 6; i++)
        cr_expect_not_null(keeper_entry(late, &keepers[i]), "node %u", i);
    cr_expect_eq(dht_roster_len(late->roster), 6u);
    few_fini(&f);
}

Test(dht_sync, a_change_is_pushed_to_peers_that_ask_back)
{
    struct few f;
    struct neighbour m;
    keepers_boot(&f, 4);
    few_run_ms(&f, 3600000);
    neighbour_make(&m, &f, 1);
    uint64_t pushes = keepers[1].sync->n.pushes;
    keeper_tell(&keepers[1], &m, true); /* as if it had been dialled */
    few_run_ms(&f, 200000);
    cr_expect_eq(keepers[1].sync->n.pushes, pushes + 1);
    unsigned know = 0; /* one of the three that are asked may be the new one, which isn't there */
    for (unsigned i = 0; i < 4; i++)
        know += dht_roster_get(keepers[i].roster, m.node.id) != NULL;
    cr_expect_geq(know, 3u);
    few_fini(&f);
}

Test(dht_sync, only_nodes_that_were_reached_are_told_of)
{
    struct few f;
    struct neighbour m;
    uint8_t buf[16];
    keepers_boot(&f, 2);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    keeper_tell(&keepers[0], &m, false);
    few_run_ms(&f, 3600000);
    cr_expect_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    cr_expect_null(dht_roster_get(keepers[1].roster, m.node.id));

    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, m.node.id, SYNC__BEGIN);
    struct asking a = asking_of(&f.node[1], &f.node[0], MESH_METHOD_RECORDS);
    a.items = items_on(&w, 1);
    asking_run(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_OK);
    cr_expect_eq(a.n, 0u);
    keeper_tell(&keepers[0], &m, true);
    asking_run(&a, &f);
    cr_expect_eq(a.n, 1u);
    cr_expect_eq(memcmp(a.first, m.data, m.len), 0);
    few_run_ms(&f, 200000);
    cr_expect_not_null(dht_roster_get(keepers[1].roster, m.node.id));
    few_fini(&f);
}

Test(dht_sync, newer_records_replace_older_ones_everywhere)
{
    struct few f;
    struct neighbour m;
    keepers_boot(&f, 3);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    keeper_tell(&keepers[0], &m, true);
    few_run_ms(&f, 900000);
    cr_assert_not_null(dht_roster_get(keepers[2].roster, m.node.id));
    m.node.sequence = 20;
    neighbour_sign(&m, &f.node[0].config.network);
    keeper_tell(&keepers[0], &m, false);
    few_run_ms(&f, 900000);
    uint8_t record[MESH_NODE_RECORD_MAX];
    cr_expect_eq(dht_roster_get(keepers[2].roster, m.node.id)->sequence, 20u);
    cr_expect_eq(dht_sync_record(keepers[2].sync, m.node.id, record), m.len);
    cr_expect_eq(memcmp(record, m.data, m.len), 0);
    cr_expect_gt(keepers[2].sync->n.renewed, 0u);
    few_fini(&f);
}

Test(dht_sync, unlisted_nodes_ask_bootstrap_peers_only_and_serve_nobody)
{
    struct few f;
    keepers_boot(&f, 5);
    few_run_ms(&f, 3600000);
    uint64_t before[5];
    for (unsigned i = 0; i < 5; i++)
        before[i] = keepers[i].sync->n.digests_in;
    struct keeper *user = keeper_add(&f);
    user->node->config.is_listed = false;
    few_boot(user->node);
    few_run_ms(&f, 60000);
    uint64_t others = 0;
    for (unsigned i = 1; i < 5; i++)
        others += keepers[i].sync->n.digests_in - before[i];
    cr_expect_leq(others, 2u, "their own rounds");
    cr_expect_gt(keepers[0].sync->n.digests_in, before[0] + 2);
    cr_expect_eq(dht_roster_len(user->roster), 5u);
    cr_expect(dht_sync_is_ready(user->sync));
    cr_expect_eq(user->sync->n.digests_in, 0u);
    uint64_t rounds = user->sync->n.rounds;
    few_run_ms(&f, 4 * 3600000);
    few_run_ms(&f, 4 * 3600000);
    cr_expect(user->sync->n.rounds - rounds < 25, "%u", (unsigned)(user->sync->n.rounds - rounds));
    cr_expect_gt(keepers[0].sync->n.digests_in, before[0]);
    few_fini(&f);
}

Test(dht_sync, a_peer_that_is_gone_costs_a_round_nothing_else)
{
    struct few f;
    keepers_boot(&f, 4);
    few_run_ms(&f, 3600000);
    sim_node_crash(f.node[3].sim);
    few_run_ms(&f, 2 * 3600000);
    cr_expect_gt(keepers[0].sync->n.peers_failed, 0u);
    cr_expect_leq(keepers[0].sync->n_round, 3u);
    cr_expect_not_null(keeper_entry(&keepers[3], &keepers[0]), "its record lives two days");
    cr_expect_not_null(keeper_entry(&keepers[1], &keepers[0]));
    few_fini(&f);
}

Test(dht_sync, stops_in_the_middle_of_everything)
{
    for (unsigned ms = 0; ms < 400; ms += 7) {
        struct few f;
        keepers_boot(&f, 3);
        few_run_ms(&f, ms);
        few_in(&f.node[1], keeper_stop, &keepers[1]);
        cr_expect(list_empty(&keepers[1].sync->peers));
        few_run_ms(&f, 300);
        few_fini(&f);
    }
}

static void sum(void *arg, const struct metric *m)
{
    uint64_t *seen = arg;
    if (strcmp(m->name, "cyx_dht_roster") == 0)
        *seen = m->value;
    cr_expect_not_null(m->help);
}

Test(dht_sync, metrics_tell_the_size)
{
    struct few f;
    uint64_t size = 0;
    keepers_boot(&f, 4);
    few_run_ms(&f, 2000);
    dht_sync_metrics(keepers[0].sync, sum, &size);
    cr_expect_eq(size, 3u);
    few_fini(&f);
}
