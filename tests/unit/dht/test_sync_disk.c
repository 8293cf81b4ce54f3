/* Rosters on disk. */
#include <sodium.h>

#include "base/mp.h"
#include "sync_rig.h"

Test(dht_sync, a_restart_remembers_records_and_ages)
{
    struct few f;
    struct neighbour m;
    uint8_t record[MESH_NODE_RECORD_MAX];
    keepers_boot(&f, 3);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    keeper_tell(&keepers[1], &m, true);
    uint32_t first = dht_roster_get(keepers[1].roster, m.node.id)->first_s;
    few_run_ms(&f, 1000);
    sim_node_crash(f.node[1].sim);
    sim_node_crash(f.node[0].sim);
    few_run_ms(&f, 600000);
    few_boot(&f.node[1]);
    const struct dht_roster_entry *e = dht_roster_get(keepers[1].roster, m.node.id);
    cr_assert_not_null(e);
    cr_expect_eq(e->first_s, first);
    cr_expect(dht_roster_is_told(e, mesh_time(f.node[1].mesh)));
    cr_expect_eq(dht_sync_record(keepers[1].sync, m.node.id, record), m.len);
    cr_expect_eq(dht_roster_len(keepers[1].roster), 3u);
    few_fini(&f);
}

Test(dht_sync, stopping_writes_what_waits)
{
    struct few f;
    struct neighbour m;
    keepers_boot(&f, 1);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    keeper_tell(&keepers[0], &m, false);
    few_in(&f.node[0], keeper_stop, &keepers[0]);
    cr_expect_eq(dht_sync_record(keepers[0].sync, m.node.id, m.data), 0u, "the store is closed");
    sim_node_shutdown(f.node[0].sim);
    few_boot(&f.node[0]);
    cr_expect_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    few_fini(&f);
}

Test(dht_sync, what_expired_while_off_is_deleted)
{
    struct few f;
    struct neighbour m;
    keepers_boot(&f, 1);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    keeper_tell(&keepers[0], &m, true);
    few_run_ms(&f, 2000);
    sim_node_shutdown(f.node[0].sim);
    few_run_ms(&f, 25 * 3600 * 1000);
    few_boot(&f.node[0]);
    cr_expect_eq(dht_roster_len(keepers[0].roster), 0u);
    cr_expect_eq(keepers[0].sync->n.store_bad, 1u);
    few_run_ms(&f, 2000);
    sim_node_shutdown(f.node[0].sim);
    few_boot(&f.node[0]);
    cr_expect_eq(keepers[0].sync->n.store_bad, 0u);
    few_fini(&f);
}

Test(dht_sync, a_full_disk_is_waited_out)
{
    struct few f;
    struct neighbour m;
    uint8_t record[MESH_NODE_RECORD_MAX];
    keepers_boot(&f, 1);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    sim_node_set_disk(f.node[0].sim, SIM_DISK_FULL);
    keeper_tell(&keepers[0], &m, false);
    few_run_ms(&f, 5000);
    cr_expect_gt(keepers[0].sync->n.store_errors, 1u);
    cr_expect_eq(dht_sync_record(keepers[0].sync, m.node.id, record), m.len);
    sim_node_set_disk(f.node[0].sim, SIM_DISK_OK);
    few_run_ms(&f, 2000);
    cr_expect_eq(map_len(keepers[0].sync->writes), 0u);
    sim_node_crash(f.node[0].sim);
    few_boot(&f.node[0]);
    cr_expect_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    few_fini(&f);
}

/* A newer record comes while the older one is being written, and one goes meanwhile. */
Test(dht_sync, writes_overtake_those_under_way)
{
    struct few f;
    struct neighbour m, gone;
    keepers_boot(&f, 1);
    few_run_ms(&f, 1000);
    neighbour_make(&m, &f, 1);
    neighbour_make(&gone, &f, 2);
    sim_node_set_disk(f.node[0].sim, SIM_DISK_FULL);
    for (unsigned i = 0; i < 40; i++) { /* a commit takes 1 to 5 ms, one a second */
        m.node.sequence++;
        neighbour_sign(&m, &f.node[0].config.network);
        keeper_tell(&keepers[0], &m, false);
        keeper_tell(&keepers[0], &gone, false);
        few_run_ms(&f, 251);
        if (i == 30)
            sim_node_set_disk(f.node[0].sim, SIM_DISK_OK);
    }
    few_run_ms(&f, 3000);
    cr_expect_eq(map_len(keepers[0].sync->writes), 0u);
    sim_node_crash(f.node[0].sim);
    few_boot(&f.node[0]);
    cr_assert_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    cr_expect_eq(dht_roster_get(keepers[0].roster, m.node.id)->sequence, m.node.sequence);
    few_fini(&f);
}

Test(dht_sync, a_crash_at_any_moment_leaves_a_store_that_opens)
{
    struct few f;
    keepers_boot(&f, 5);
    for (unsigned i = 0; i < 40; i++) {
        few_run_ms(&f, 37 + i * 40);
        sim_node_crash(f.node[1 + i % 4].sim);
        few_run_ms(&f, 20);
        few_boot(&f.node[1 + i % 4]);
    }
    few_run_ms(&f, 60000);
    for (unsigned i = 0; i < 5; i++)
        cr_expect_eq(dht_roster_len(keepers[i].roster), 4u, "node %u", i);
    few_fini(&f);
}
