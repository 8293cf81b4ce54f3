/* Rosters: peers that lie. */
#include <sodium.h>

#include "base/mp.h"
#include "sync_rig.h"

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
    struct neighbour told, other;
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
    struct keeper *k = keeper_add(f);
    struct few_node *n = few_add(f, 0);
    n->started = lie_starts;
    few_boot(k->node);
    few_boot(n);
    neighbour_make(&liar.told, f, 1);
    neighbour_make(&liar.other, f, 2);
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
            struct neighbour newer = liar.told;
            newer.node.sequence = 9;
            neighbour_sign(&newer, &f.node[0].config.network);
            struct neighbour held = newer;
            held.node.sequence = 9;
            keeper_tell(k, &held, false);
            liar.told.node.sequence = 8;
            neighbour_sign(&liar.told, &f.node[0].config.network);
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
    struct keeper *k = keeper_add(&f);
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
        neighbour_make(&liar.told, &f, i);
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
