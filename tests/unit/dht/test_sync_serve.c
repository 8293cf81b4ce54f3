/* Rosters: requests of others, whole and malformed. */
#include <sodium.h>

#include "base/mp.h"
#include "sync_rig.h"

Test(dht_sync, malformed_requests_get_status_6)
{
    struct few f;
    static const struct {
        unsigned method, n;
        const char *bytes;
        size_t len;
    } bad[] = {
        { MESH_METHOD_LIST, 0, "", 0 },
        { MESH_METHOD_LIST, 1, "\xcd\x01\x00", 3 }, /* 256 */
        { MESH_METHOD_LIST, 1, "\xa1x", 2 },
        { MESH_METHOD_LIST, 1, "\xff", 1 }, /* -1 */
        { MESH_METHOD_RECORDS, 0, "", 0 },
        { MESH_METHOD_RECORDS, 1,
          "\xc4\x07"
          "1234567",
          9 },
        { MESH_METHOD_RECORDS, 2,
          "\xc4\x08"
          "12345678\x01",
          11 },
    };
    keepers_boot(&f, 2);
    few_run_ms(&f, 1000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct asking a = asking_of(&f.node[1], &f.node[0], bad[i].method);
        a.items = (struct mesh_items){ (const uint8_t *)bad[i].bytes, bad[i].len, bad[i].n };
        asking_run(&a, &f);
        cr_expect_eq(a.status, (unsigned)MESH_RPC_BAD, "request %zu", i);
    }
    cr_expect_eq(keepers[0].sync->n.refused_in, 7u);
    few_fini(&f);
}

/* Fills the roster with nodes that share a first byte, whose "records" are long. */
static void crowd(struct keeper *k, const struct few *f, unsigned n, size_t len)
{
    struct neighbour m;
    neighbour_make(&m, f, 1);
    m.len = len;
    for (unsigned i = 0; i < n; i++) {
        m.node.id[0] = 7;
        m.node.id[1] = (uint8_t)(i >> 8);
        m.node.id[2] = (uint8_t)i;
        keeper_tell(k, &m, true);
    }
}

Test(dht_sync, lists_at_most_1024)
{
    struct few f;
    static const uint8_t seven = 7;
    keepers_boot(&f, 2);
    few_run_ms(&f, 1000);
    few_in(&f.node[1], keeper_stop, &keepers[1]);
    crowd(&keepers[0], &f, 1100, 100);
    struct asking a = asking_of(&f.node[1], &f.node[0], MESH_METHOD_LIST);
    a.items = (struct mesh_items){ &seven, 1, 1 };
    asking_run(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_OK);
    cr_expect_eq(a.n, (unsigned)DHT_SYNC_LIST);
    few_fini(&f);
}

/* The first `n` ids of that crowd, every second one cut. */
static struct mesh_items crowd_ids(struct writer *w, const struct keeper *k, unsigned n)
{
    msgpack_packer pk;
    size_t from = dht_roster_from(k->roster, 7);
    mp_packer(&pk, w);
    for (unsigned i = 0; i < n; i++)
        mp_pack_bin(&pk, dht_roster_at(k->roster, from + i)->id, i % 2 == 0 ? DHT_ID : SYNC__BEGIN);
    return items_on(w, n);
}

Test(dht_sync, sends_as_many_records_as_fit_a_message)
{
    struct few f;
    static uint8_t buf[2][200 * 40];
    keepers_boot(&f, 2);
    few_run_ms(&f, 1000);
    few_in(&f.node[1], keeper_stop, &keepers[1]);
    crowd(&keepers[0], &f, 129, MESH_NODE_RECORD_MAX);
    struct writer w = writer_on(buf[0], sizeof buf[0]);
    struct asking a = asking_of(&f.node[1], &f.node[0], MESH_METHOD_RECORDS);
    a.items = crowd_ids(&w, &keepers[0], 129);
    asking_run(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_BAD, "129 ids");
    w = writer_on(buf[1], sizeof buf[1]);
    a.items = crowd_ids(&w, &keepers[0], 128);
    asking_run(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_OK);
    cr_expect_eq(a.n, 63u);
    cr_expect_eq(a.bytes, 63u * MESH_NODE_RECORD_MAX);
    few_fini(&f);
}

Test(dht_sync, who_asks_is_asked_back_once_a_minute)
{
    struct few f;
    keepers_boot(&f, 2);
    few_run_ms(&f, 3600000);
    few_in(&f.node[1], keeper_stop, &keepers[1]);
    few_run_ms(&f, 70000);
    uint64_t before = keepers[0].sync->n.backs;
    struct asking a = asking_of(&f.node[1], &f.node[0], MESH_METHOD_DIGEST);
    for (unsigned i = 0; i < 50; i++)
        asking_run(&a, &f);
    cr_expect_eq(keepers[0].sync->n.backs, before + 1);
    few_fini(&f);
}
