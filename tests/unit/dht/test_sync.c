#include <sodium.h>

#include "base/mp.h"
#include "dht/sync_internal.h"
#include "tests/unit/mesh/few.h"

/* ---- nodes with a roster --------------------------------------------------------------------- */

struct keeper {
    struct few_node *node;
    struct dht_roster *roster;
    struct dht_sync *sync;
    size_t max;
    bool is_late; /* it starts by hand */
};

static struct keeper keepers[FEW_MAX];

static void start_keeper(void *arg)
{
    struct keeper *k = arg;
    struct cyx_err err = { 0 };
    static const uint8_t secret[32] = { 1 };
    k->roster = dht_roster_create(k->max, k->node->identity->id, secret, true);
    cr_assert_not_null(k->roster);
    k->sync = dht_sync_create(k->node->mesh, k->roster, k->node->config.is_listed, &err);
    cr_assert_not_null(k->sync, "%s", err.msg);
    cr_assert_eq(dht_sync_start(k->sync, &err), 0, "%s", err.msg);
}

static void stop_keeper(void *arg)
{
    struct keeper *k = arg;
    dht_sync_stop(k->sync);
    dht_sync_stop(k->sync);
}

static void started(struct few_node *n)
{
    struct keeper *k = n->above;
    if (!k->is_late)
        start_keeper(k);
}

static void dropping(struct few_node *n)
{
    struct keeper *k = n->above;
    dht_sync_destroy(k->sync);
    dht_roster_destroy(k->roster);
    k->sync = NULL;
    k->roster = NULL;
}

/* A listed node that keeps a roster; the first is everybody's bootstrap node. */
static struct keeper *add(struct few *f)
{
    struct few_node *n = few_add(f, 0);
    struct keeper *k = &keepers[n->number];
    *k = (struct keeper){ .node = n, .max = DHT_ROSTER_MAX };
    n->above = k;
    n->started = started;
    n->dropping = dropping;
    if (n->number > 0) {
        n->config.bootstrap = &f->node[0].contact;
        n->config.n_bootstrap = 1;
    }
    return k;
}

static void boot_all(struct few *f, unsigned n)
{
    few_init(f, 11, NULL);
    for (unsigned i = 0; i < n; i++)
        few_boot(add(f)->node);
}

static const struct dht_roster_entry *entry(const struct keeper *of, const struct keeper *at)
{
    return dht_roster_get(at->roster, of->node->identity->id);
}

/* ---- records of nodes that aren't there ------------------------------------------------------ */

struct made {
    struct mesh_node node;
    uint8_t sk[64];
    uint8_t data[MESH_NODE_RECORD_MAX];
    size_t len;
};

static void sign_again(struct made *m, const struct mesh_network *net)
{
    int len = mesh_node_record_build(&m->node, net, m->sk, m->data);
    cr_assert_gt(len, 0);
    m->len = (size_t)len;
}

/* A valid record of a node nobody can dial. */
static void make(struct made *m, const struct few *f, uint8_t number)
{
    const struct mesh_network *net = &f->node[0].config.network;
    uint8_t seed[32] = { number, 77 };
    uint8_t nonce[16] = { number };
    struct mesh_pow_subject subject = { .purpose = MESH_POW_ID };
    *m = (struct made){ .node = { .sequence = 10, .n_addrs = 1, .version = { 1, 1, 0, 0 } } };
    crypto_sign_seed_keypair(m->node.identity, m->sk, seed);
    memcpy(subject.x, m->node.identity, 32);
    cr_assert_eq(mesh_pow_solve(&subject, 1, nonce, NULL, m->node.puzzle, NULL), 0);
    mesh_node_id(m->node.id, m->node.identity, m->node.puzzle);
    m->node.expiry = mesh_time(f->node[0].mesh) + 3600 * 24;
    m->node.addrs[0] =
        (struct mesh_node_addr){ .kind = 4, .ip = env_addr_v4(10, 9, number, 1, 4100) };
    m->node.link_key[0] = number;
    sign_again(m, net);
}

struct hearing {
    struct keeper *k;
    const struct made *m;
    bool is_reached;
};

static void hear(void *arg)
{
    struct hearing *h = arg;
    dht_sync_heard(h->k->sync, &h->m->node, h->m->data, h->m->len, h->is_reached);
}

static void tell(struct keeper *k, const struct made *m, bool is_reached)
{
    struct hearing h = { k, m, is_reached };
    few_in(k->node, hear, &h);
}

/* ---- asking by hand -------------------------------------------------------------------------- */

struct asking {
    struct few_node *from;
    struct few_node *to;
    unsigned method;
    struct mesh_items items;
    int code;
    unsigned status, n;
    size_t bytes;
    uint8_t first[MESH_NODE_RECORD_MAX];
};

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct asking *a = arg;
    const uint8_t *p;
    size_t len;
    a->code = code;
    a->status = status;
    a->n = n;
    for (unsigned i = 0; i < n; i++)
        if (mp_bin_any(&items[i], &p, &len)) {
            a->bytes += len;
            if (i == 0 && len <= sizeof a->first)
                memcpy(a->first, p, len);
        }
}

static void ask_now(void *arg)
{
    struct asking *a = arg;
    struct mesh_link *l = few_link(a->from, a->to);
    cr_assert_not_null(l);
    cr_assert_eq(mesh_call(l, a->method, &a->items, 0, answered, a, NULL), 0);
}

static void ask(struct asking *a, struct few *f)
{
    a->code = 1;
    a->n = 0;
    a->bytes = 0;
    few_in(a->from, ask_now, a);
    few_run_ms(f, 300);
    cr_assert_eq(a->code, 0);
}

static struct asking asking(struct few_node *from, struct few_node *to, unsigned method)
{
    return (struct asking){ .from = from, .to = to, .method = method };
}

static struct mesh_items items_on(const struct writer *w, unsigned n)
{
    return (struct mesh_items){ .data = w->start, .len = writer_len(w), .n = n };
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(dht_sync, eight_nodes_know_each_other_and_are_ready_within_a_second)
{
    struct few f;
    boot_all(&f, 8);
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
    boot_all(&f, 4);
    few_run_ms(&f, 3600000);
    uint64_t before = keepers[2].sync->n.rounds;
    few_run_ms(&f, 3600000);
    uint64_t rounds = keepers[2].sync->n.rounds - before;
    cr_expect(rounds >= 5 && rounds <= 8, "%u rounds in an hour", (unsigned)rounds);
    cr_expect(entry(&keepers[1], &keepers[2]) != NULL);
    cr_expect(dht_roster_is_told(entry(&keepers[1], &keepers[2]), mesh_time(f.node[2].mesh)));
    few_fini(&f);
}

Test(dht_sync, a_node_that_joins_is_known_to_all_within_seconds)
{
    struct few f;
    boot_all(&f, 6);
    few_run_ms(&f, 3600000); /* all are at rest */
    struct keeper *late = add(&f);
    few_boot(late->node);
    few_run_ms(&f, 5000);
    for (unsigned i = 0; i < 6; i++)
        cr_expect_not_null(entry(late, &keepers[i]), "node %u", i);
    cr_expect_eq(dht_roster_len(late->roster), 6u);
    few_fini(&f);
}

Test(dht_sync, a_change_is_pushed_to_peers_that_ask_back)
{
    struct few f;
    struct made m;
    boot_all(&f, 4);
    few_run_ms(&f, 3600000);
    make(&m, &f, 1);
    uint64_t pushes = keepers[1].sync->n.pushes;
    tell(&keepers[1], &m, true); /* as if it had been dialled */
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
    struct made m;
    uint8_t buf[16];
    boot_all(&f, 2);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    tell(&keepers[0], &m, false);
    few_run_ms(&f, 3600000);
    cr_expect_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    cr_expect_null(dht_roster_get(keepers[1].roster, m.node.id));

    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, m.node.id, SYNC__BEGIN);
    struct asking a = asking(&f.node[1], &f.node[0], MESH_METHOD_RECORDS);
    a.items = items_on(&w, 1);
    ask(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_OK);
    cr_expect_eq(a.n, 0u);
    tell(&keepers[0], &m, true);
    ask(&a, &f);
    cr_expect_eq(a.n, 1u);
    cr_expect_eq(memcmp(a.first, m.data, m.len), 0);
    few_run_ms(&f, 200000);
    cr_expect_not_null(dht_roster_get(keepers[1].roster, m.node.id));
    few_fini(&f);
}

Test(dht_sync, newer_records_replace_older_ones_everywhere)
{
    struct few f;
    struct made m;
    boot_all(&f, 3);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    tell(&keepers[0], &m, true);
    few_run_ms(&f, 900000);
    cr_assert_not_null(dht_roster_get(keepers[2].roster, m.node.id));
    m.node.sequence = 20;
    sign_again(&m, &f.node[0].config.network);
    tell(&keepers[0], &m, false);
    few_run_ms(&f, 900000);
    uint8_t record[MESH_NODE_RECORD_MAX];
    cr_expect_eq(dht_roster_get(keepers[2].roster, m.node.id)->sequence, 20u);
    cr_expect_eq(dht_sync_record(keepers[2].sync, m.node.id, record), m.len);
    cr_expect_eq(memcmp(record, m.data, m.len), 0);
    cr_expect_gt(keepers[2].sync->n.renewed, 0u);
    few_fini(&f);
}

/* ---- the disk ---- */

Test(dht_sync, a_restart_remembers_records_and_ages)
{
    struct few f;
    struct made m;
    uint8_t record[MESH_NODE_RECORD_MAX];
    boot_all(&f, 3);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    tell(&keepers[1], &m, true);
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
    struct made m;
    boot_all(&f, 1);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    tell(&keepers[0], &m, false);
    few_in(&f.node[0], stop_keeper, &keepers[0]);
    cr_expect_eq(dht_sync_record(keepers[0].sync, m.node.id, m.data), 0u, "the store is closed");
    sim_node_shutdown(f.node[0].sim);
    few_boot(&f.node[0]);
    cr_expect_not_null(dht_roster_get(keepers[0].roster, m.node.id));
    few_fini(&f);
}

Test(dht_sync, what_expired_while_off_is_deleted)
{
    struct few f;
    struct made m;
    boot_all(&f, 1);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    tell(&keepers[0], &m, true);
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
    struct made m;
    uint8_t record[MESH_NODE_RECORD_MAX];
    boot_all(&f, 1);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    sim_node_set_disk(f.node[0].sim, SIM_DISK_FULL);
    tell(&keepers[0], &m, false);
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
    struct made m, gone;
    boot_all(&f, 1);
    few_run_ms(&f, 1000);
    make(&m, &f, 1);
    make(&gone, &f, 2);
    sim_node_set_disk(f.node[0].sim, SIM_DISK_FULL);
    for (unsigned i = 0; i < 40; i++) { /* a commit takes 1 to 5 ms, one a second */
        m.node.sequence++;
        sign_again(&m, &f.node[0].config.network);
        tell(&keepers[0], &m, false);
        tell(&keepers[0], &gone, false);
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
    boot_all(&f, 5);
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

/* ---- serving ---- */

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
    boot_all(&f, 2);
    few_run_ms(&f, 1000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct asking a = asking(&f.node[1], &f.node[0], bad[i].method);
        a.items = (struct mesh_items){ (const uint8_t *)bad[i].bytes, bad[i].len, bad[i].n };
        ask(&a, &f);
        cr_expect_eq(a.status, (unsigned)MESH_RPC_BAD, "request %zu", i);
    }
    cr_expect_eq(keepers[0].sync->n.refused_in, 7u);
    few_fini(&f);
}

/* Fills the roster with nodes that share a first byte, whose "records" are long. */
static void crowd(struct keeper *k, const struct few *f, unsigned n, size_t len)
{
    struct made m;
    make(&m, f, 1);
    m.len = len;
    for (unsigned i = 0; i < n; i++) {
        m.node.id[0] = 7;
        m.node.id[1] = (uint8_t)(i >> 8);
        m.node.id[2] = (uint8_t)i;
        tell(k, &m, true);
    }
}

Test(dht_sync, lists_at_most_1024)
{
    struct few f;
    static const uint8_t seven = 7;
    boot_all(&f, 2);
    few_run_ms(&f, 1000);
    few_in(&f.node[1], stop_keeper, &keepers[1]);
    crowd(&keepers[0], &f, 1100, 100);
    struct asking a = asking(&f.node[1], &f.node[0], MESH_METHOD_LIST);
    a.items = (struct mesh_items){ &seven, 1, 1 };
    ask(&a, &f);
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
    boot_all(&f, 2);
    few_run_ms(&f, 1000);
    few_in(&f.node[1], stop_keeper, &keepers[1]);
    crowd(&keepers[0], &f, 129, MESH_NODE_RECORD_MAX);
    struct writer w = writer_on(buf[0], sizeof buf[0]);
    struct asking a = asking(&f.node[1], &f.node[0], MESH_METHOD_RECORDS);
    a.items = crowd_ids(&w, &keepers[0], 129);
    ask(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_BAD, "129 ids");
    w = writer_on(buf[1], sizeof buf[1]);
    a.items = crowd_ids(&w, &keepers[0], 128);
    ask(&a, &f);
    cr_expect_eq(a.status, (unsigned)MESH_RPC_OK);
    cr_expect_eq(a.n, 63u);
    cr_expect_eq(a.bytes, 63u * MESH_NODE_RECORD_MAX);
    few_fini(&f);
}

Test(dht_sync, who_asks_is_asked_back_once_a_minute)
{
    struct few f;
    boot_all(&f, 2);
    few_run_ms(&f, 3600000);
    few_in(&f.node[1], stop_keeper, &keepers[1]);
    few_run_ms(&f, 70000);
    uint64_t before = keepers[0].sync->n.backs;
    struct asking a = asking(&f.node[1], &f.node[0], MESH_METHOD_DIGEST);
    for (unsigned i = 0; i < 50; i++)
        ask(&a, &f);
    cr_expect_eq(keepers[0].sync->n.backs, before + 1);
    few_fini(&f);
}

/* ---- liars ---- */

enum lie {
    SHORT_DIGEST,
    NO_DIGEST,
    ENDLESS_LISTS,
    LONG_LIST,
    UNSORTED_LIST,
    WRONG_BYTE,
    NO_PAIRS,
    FORGED,
    UNASKED,
    TOO_MANY,
    OVERSIZED,
    NOT_BYTES,
    STALE,
    HONEST,
    LIES
};

struct liar {
    enum lie lie;
    unsigned digests, lists, records;
    struct made told, other;
};

static struct liar liar;

static void lie_digest(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    uint8_t buf[DHT_ROSTER_DIGEST + 8], digest[DHT_ROSTER_DIGEST];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    (void)arg;
    (void)items;
    (void)n;
    liar.digests++;
    memset(digest, 0x5a, sizeof digest);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, digest, liar.lie == SHORT_DIGEST ? 2047 : 2048);
    struct mesh_items answer = items_on(&w, liar.lie == NO_DIGEST ? 0 : 1);
    answer.len = liar.lie == NO_DIGEST ? 0 : answer.len;
    mesh_reply(rq, MESH_RPC_OK, &answer);
}

static void pack_pair(msgpack_packer *pk, const uint8_t begin[static 8], uint64_t sequence)
{
    msgpack_pack_array(pk, liar.lie == NO_PAIRS ? 3 : 2);
    mp_pack_bin(pk, begin, 8);
    msgpack_pack_uint64(pk, sequence);
    if (liar.lie == NO_PAIRS)
        msgpack_pack_nil(pk);
}

static void lie_list(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    static uint8_t buf[1100 * 24];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    uint64_t byte = 0;
    unsigned n_packed = 0;
    (void)arg;
    liar.lists++;
    cr_assert(n == 1 && mp_u64(&items[0], &byte));
    mp_packer(&pk, &w);
    unsigned most = liar.lie == ENDLESS_LISTS ? 1024 : liar.lie == LONG_LIST ? 1025 : 0;
    for (; n_packed < most; n_packed++) {
        uint8_t begin[8] = { (uint8_t)byte, (uint8_t)(n_packed >> 8), (uint8_t)n_packed };
        pack_pair(&pk, begin, UINT64_MAX);
    }
    if (most == 0 && (liar.told.node.id[0] == byte || liar.lie == WRONG_BYTE)) {
        pack_pair(&pk, liar.told.node.id, 10);
        n_packed++;
        if (liar.lie == UNSORTED_LIST) {
            pack_pair(&pk, liar.told.node.id, 11);
            n_packed++;
        }
    }
    struct mesh_items answer = items_on(&w, n_packed);
    mesh_reply(rq, MESH_RPC_OK, &answer);
}

static void lie_records(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    static uint8_t buf[40 * 1030];
    uint8_t record[2000] = { 0 };
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    size_t len = liar.told.len;
    unsigned n_packed = 1;
    (void)arg;
    (void)items;
    cr_assert_leq(n, (unsigned)SYNC__ASK_IDS);
    liar.records++;
    memcpy(record, liar.told.data, len);
    if (liar.lie == FORGED)
        record[len - 1] ^= 1;
    if (liar.lie == UNASKED)
        memcpy(record, liar.other.data, len = liar.other.len);
    if (liar.lie == OVERSIZED)
        len = 1025;
    mp_packer(&pk, &w);
    if (liar.lie == NOT_BYTES)
        msgpack_pack_nil(&pk);
    else
        mp_pack_bin(&pk, record, len);
    for (; liar.lie == TOO_MANY && n_packed < n + 1; n_packed++)
        mp_pack_bin(&pk, record, len);
    struct mesh_items answer = items_on(&w, n_packed);
    if (liar.lie == ENDLESS_LISTS)
        answer = (struct mesh_items){ 0 };
    mesh_reply(rq, MESH_RPC_OK, &answer);
}

static void lie_starts(struct few_node *n)
{
    cr_assert_eq(mesh_serve(n->mesh, MESH_METHOD_DIGEST, lie_digest, NULL), 0);
    cr_assert_eq(mesh_serve(n->mesh, MESH_METHOD_LIST, lie_list, NULL), 0);
    cr_assert_eq(mesh_serve(n->mesh, MESH_METHOD_RECORDS, lie_records, NULL), 0);
}

/* Node 0 keeps a roster, node 1 lies; ten seconds of rounds. */
static struct keeper *meet_liar(struct few *f, enum lie lie)
{
    few_init(f, 5, NULL);
    liar = (struct liar){ .lie = lie };
    struct keeper *k = add(f);
    struct few_node *n = few_add(f, 0);
    n->started = lie_starts;
    few_boot(k->node);
    few_boot(n);
    make(&liar.told, f, 1);
    make(&liar.other, f, 2);
    few_run_ms(f, 50);
    cr_assert_not_null(few_dial(&f->node[0], n));
    return k;
}

Test(dht_sync, who_lies_is_asked_no_further_and_gains_nothing)
{
    for (unsigned lie = 0; lie < HONEST; lie++) {
        struct few f;
        struct keeper *k = meet_liar(&f, (enum lie)lie);
        if (lie == STALE) { /* what it lists as new is older than what is held */
            struct made newer = liar.told;
            newer.node.sequence = 9;
            sign_again(&newer, &f.node[0].config.network);
            struct made held = newer;
            held.node.sequence = 9;
            tell(k, &held, false);
            liar.told.node.sequence = 8;
            sign_again(&liar.told, &f.node[0].config.network);
        }
        few_run_ms(&f, 10000);
        uint64_t refused = k->sync->n.peers_lying;
        size_t expected = lie == STALE ? 2 : 1; /* the liar itself, which is there */
        cr_expect_eq(dht_roster_len(k->roster), expected, "lie %u: %zu", lie,
                     dht_roster_len(k->roster));
        if (lie != STALE && lie != ENDLESS_LISTS)
            cr_expect_gt(refused, 0u, "lie %u", lie);
        cr_expect_leq(liar.digests, 10u, "lie %u", lie);
        cr_expect_leq(liar.lists, 64u * liar.digests, "lie %u", lie);
        cr_expect_leq(liar.records, liar.digests, "lie %u", lie);
        if (lie == STALE)
            cr_expect_eq(dht_roster_get(k->roster, liar.told.node.id)->sequence, 9u);
        few_fini(&f);
    }
}

Test(dht_sync, an_honest_one_is_believed)
{
    struct few f;
    struct keeper *k = meet_liar(&f, HONEST);
    few_run_ms(&f, 20000);
    cr_expect_eq(dht_roster_len(k->roster), 2u);
    cr_expect_eq(k->sync->n.peers_lying, 0u);
    cr_expect_eq(k->sync->n.taken, 1u);
    few_fini(&f);
}

Test(dht_sync, a_peer_is_asked_for_64_lists_in_a_round)
{
    struct few f;
    struct keeper *k = meet_liar(&f, HONEST);
    liar.told.node.id[0] = 0; /* listed nowhere else, and asked for in vain */
    few_run_ms(&f, 700);
    cr_expect_gt(liar.lists, 10u);
    few_run_ms(&f, 60000);
    cr_expect_gt(k->sync->n.rounds, 3u);
    cr_expect_leq(liar.lists, (unsigned)SYNC__LISTS * liar.digests);
    few_fini(&f);
}

Test(dht_sync, what_found_no_place_is_not_asked_for_again_soon)
{
    struct few f;
    few_init(&f, 5, NULL);
    liar = (struct liar){ .lie = HONEST };
    struct keeper *k = add(&f);
    struct few_node *n = few_add(&f, 0);
    k->max = 1;
    n->started = lie_starts;
    few_boot(k->node);
    few_boot(n);
    static const uint8_t secret[32] = { 1 };
    for (uint8_t i = 1;; i++) { /* one that gives way to the liar itself */
        struct dht_roster *r = dht_roster_create(1, k->node->identity->id, secret, true);
        struct mesh_node first = { .expiry = UINT32_MAX, .sequence = 1, .n_addrs = 1 };
        first.addrs[0] = (struct mesh_node_addr){ .kind = 4, .ip = n->contact.addr };
        memcpy(first.id, n->identity->id, 32);
        make(&liar.told, &f, i);
        cr_assert_eq(dht_roster_heard(r, &first, 1, NULL, NULL), 0);
        int code = dht_roster_heard(r, &liar.told.node, 1, NULL, NULL);
        dht_roster_destroy(r);
        if (code == CYX_EFULL)
            break;
    }
    few_run_ms(&f, 50);
    cr_assert_not_null(few_dial(&f.node[0], n));
    few_run_ms(&f, 1800000);
    cr_expect_eq(liar.records, 1u, "%u", liar.records);
    cr_expect_eq(k->sync->n.full, 1u);
    cr_expect_eq(dht_roster_len(k->roster), 1u);
    few_run_ms(&f, 3600000);
    cr_expect(liar.records >= 2 && liar.records <= 3, "%u", liar.records);
    few_fini(&f);
}

/* ---- others ---- */

Test(dht_sync, unlisted_nodes_ask_bootstrap_peers_only_and_serve_nobody)
{
    struct few f;
    boot_all(&f, 5);
    few_run_ms(&f, 3600000);
    uint64_t before[5];
    for (unsigned i = 0; i < 5; i++)
        before[i] = keepers[i].sync->n.digests_in;
    struct keeper *user = add(&f);
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
    boot_all(&f, 4);
    few_run_ms(&f, 3600000);
    sim_node_crash(f.node[3].sim);
    few_run_ms(&f, 2 * 3600000);
    cr_expect_gt(keepers[0].sync->n.peers_failed, 0u);
    cr_expect_leq(keepers[0].sync->n_round, 3u);
    cr_expect_not_null(entry(&keepers[3], &keepers[0]), "its record lives two days");
    cr_expect_not_null(entry(&keepers[1], &keepers[0]));
    few_fini(&f);
}

Test(dht_sync, stops_in_the_middle_of_everything)
{
    for (unsigned ms = 0; ms < 400; ms += 7) {
        struct few f;
        boot_all(&f, 3);
        few_run_ms(&f, ms);
        few_in(&f.node[1], stop_keeper, &keepers[1]);
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
    boot_all(&f, 4);
    few_run_ms(&f, 2000);
    dht_sync_metrics(keepers[0].sync, sum, &size);
    cr_expect_eq(size, 3u);
    few_fini(&f);
}
