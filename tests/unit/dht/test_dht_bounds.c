/* A DHT of a few nodes: bounds that are hit on purpose. */
#include <sodium.h>

#include "base/mp.h"
#include "dht/store_internal.h"
#include "dht_rig.h"

struct many {
    struct member *m;
    unsigned begun, ended, refused;
};

static void one_of_many(void *arg, int code, const struct dht_found *f)
{
    struct many *q = arg;
    (void)code;
    (void)f;
    q->ended++;
}

static void begin_many(void *arg)
{
    struct many *q = arg;
    uint8_t key[DHT_ID] = { 0 };
    for (unsigned i = 0; i < DHT_LOOKUPS_WAITING + 50; i++) {
        key[0] = (uint8_t)i;
        int code = dht_find(q->m->dht, key, MESH_RECORD_OFFER, 0, one_of_many, q, NULL);
        cr_expect(code == 0 || code == CYX_EFULL);
        q->begun += code == 0;
        q->refused += code == CYX_EFULL;
    }
}

/* The cable is out: that says nothing about anybody else. */
Test(dht, a_dead_uplink_costs_no_contact)
{
    members_boot(5);
    struct dht_stats before, after;
    dht_get_stats(members[0].dht, &before);
    cr_assert_geq(before.contacts, 4u);
    sim_node_set_group(few.node[0].sim, 1);
    struct record r;
    record_provider(&r, 1, 7);
    for (unsigned i = 0; i < 8; i++) {
        few_run_ms(&few, 60000);
        struct finding g = member_find(&members[0], &r, DHT_FIND_FRESH);
        cr_expect_neq(g.code, 0);
    }
    dht_get_stats(members[0].dht, &after);
    cr_expect_eq(after.contacts, before.contacts);
    sim_node_set_group(few.node[0].sim, 0);
    few_run_ms(&few, 1000);
    dht_get_stats(members[0].dht, &after);
    cr_expect_eq(after.contacts, before.contacts);
}

Test(dht, lookups_wait_up_to_the_bound_and_all_end)
{
    members_boot(4);
    struct many q = { .m = &members[1] };
    few_in(q.m->node, begin_many, &q);
    cr_expect_eq(q.begun, DHT_LOOKUPS_WAITING);
    cr_expect_eq(q.refused, 50);
    cr_expect_leq(q.m->dht->n_finds, DHT_LOOKUPS);
    members_check();
    few_run_ms(&few, 60000);
    cr_expect_eq(q.ended, q.begun);
    cr_expect_eq(q.m->dht->n_finds + q.m->dht->n_waiting, 0);
}

static void send_many(void *arg)
{
    struct member *m = arg;
    static const uint8_t record[200];
    struct mesh_contact to = few.node[0].contact;
    for (unsigned i = 0; i < DHT__SENDS_WAITING + 100; i++)
        dht__send(m->dht, &to, record, sizeof record);
}

Test(dht, stores_of_upkeep_wait_up_to_the_bound)
{
    members_boot(3);
    few_in(members[1].node, send_many, &members[1]);
    cr_expect_leq(members[1].dht->n_sends, DHT_SENDS);
    cr_expect_leq(members[1].dht->n_sends_waiting, DHT__SENDS_WAITING);
    cr_expect_gt(members[1].dht->n.sends_dropped, 0);
    members_check();
}

struct publishing {
    unsigned published, refused, next;
};

static void publish_many(void *arg)
{
    struct publishing *q = arg;
    for (unsigned end = q->next + DHT_LOOKUPS; q->next < end; q->next++) {
        unsigned i = q->next;
        uint8_t record[DHT_PROVIDER_MAX];
        struct dht_provider p = made_provider(&made);
        p.content[0] = (uint8_t)i;
        p.content[1] = (uint8_t)(i >> 8);
        p.expiry = network_now() + 7200;
        int len = dht_provider_build(&p, &made.net, made.self.sk, record);
        cr_assert_gt(len, 0);
        int code = dht_publish(members[0].dht, record, (size_t)len, NULL, NULL, NULL);
        cr_expect(code == 0 || code == CYX_EFULL, "record %u: %d", i, code);
        q->published += code == 0;
        q->refused += code == CYX_EFULL;
    }
}

Test(dht, publishes_no_more_records_than_its_bound)
{
    struct publishing q = { 0 };
    members_boot(1);
    while (q.next <= DHT_OWN_RECORDS) { /* as many at a time as there may be lookups */
        few_in(members[0].node, publish_many, &q);
        few_run_ms(&few, 20000);
    }
    cr_expect_eq(q.published, (unsigned)DHT_OWN_RECORDS);
    cr_expect_eq(q.refused, q.next - DHT_OWN_RECORDS);
    members_check();
}

/* ---- probes ---------------------------------------------------------------------------------- */

enum { FULL_BUCKETS = DHT_PROBES + 3 };

/* Somebody whom nobody can reach, number `n` of a bucket. */
static void stranger(const struct member *m, unsigned bucket, uint8_t n, struct mesh_node *node,
                     struct mesh_contact *to)
{
    *node = (struct mesh_node){ .sequence = 1, .expiry = network_now() + 7200 };
    memcpy(node->id, m->dht->self, sizeof node->id);
    node->id[bucket / 8] ^= (uint8_t)(0x80 >> bucket % 8);
    node->id[20] ^= (uint8_t)(n + 1);
    *to = (struct mesh_contact){ .addr = env_addr_v4(10, 99, (uint8_t)bucket, n, 4100) };
    memcpy(to->id, node->id, sizeof to->id);
    memcpy(to->link_key, node->id, sizeof to->link_key);
}

static void fill_buckets(struct member *m, unsigned buckets)
{
    static const uint8_t record[100];
    const struct dht_contact *stale;
    struct mesh_node node;
    for (unsigned b = 0; b < buckets; b++)
        for (uint8_t n = 0; n < DHT_K; n++) {
            struct dht_sighting s = { .record = record, .len = sizeof record };
            stranger(m, b, n, &node, &s.to);
            (void)dht_table_seen(m->dht->table, &s, dht__now(m->dht) - ENV_MS(DHT_STALE_MS),
                                 &stale);
        }
}

/* One more for each of the buckets, which are full of contacts that were silent for too long. */
static void crowd_in(void *arg)
{
    struct member *m = arg;
    static const uint8_t record[100];
    struct mesh_node node;
    struct mesh_contact to;
    fill_buckets(m, FULL_BUCKETS);
    for (unsigned b = 0; b < FULL_BUCKETS; b++) {
        stranger(m, b, DHT_K, &node, &to);
        dht__seen(m->dht, &node, &to, record, sizeof record);
    }
}

Test(dht, no_more_contacts_are_probed_at_once_than_its_bound)
{
    members_boot(2);
    few_run_ms(&few, DHT_STALE_MS);
    uint64_t before = members[1].dht->n.probes;
    few_in(members[1].node, crowd_in, &members[1]);
    cr_expect_eq(members[1].dht->n_probes, DHT_PROBES);
    cr_expect_eq(members[1].dht->n.probes - before, DHT_PROBES);
    members_check();
    few_run_ms(&few, 2 * DHT_ASK_MS);
    cr_expect_eq(members[1].dht->n_probes, 0, "nobody answered");
    members_check();
}

/* ---- what a node with many neighbours answers and takes -------------------------------------- */

struct asking {
    unsigned method, n;
    const uint8_t *data;
    size_t len;
    unsigned status, n_items;
    bool is_over;
};

static void asked(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct asking *a = arg;
    (void)items;
    cr_expect_eq(code, 0);
    a->is_over = true;
    a->status = status;
    a->n_items = n;
}

static void begin_ask(void *arg)
{
    struct asking *a = arg;
    struct mesh_items items = { .data = a->data, .len = a->len, .n = a->n };
    cr_assert_eq(
        mesh_ask(members[1].node->mesh, &few.node[0].contact, a->method, &items, 0, asked, a, NULL),
        0);
}

static void ask(struct asking *a)
{
    few_in(members[1].node, begin_ask, a);
    few_run_ms(&few, 300);
    cr_assert(a->is_over);
}

static void fill_table(void *arg)
{
    fill_buckets(arg, 4); /* 64: half of all places are nearer to 32 of them than to us */
}

Test(dht, an_answer_names_no_more_nodes_than_its_bound)
{
    uint8_t buf[64], key[DHT_ID] = { 0 };
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    members_boot(2);
    few_run_ms(&few, DHT_STALE_MS);
    few_in(members[0].node, fill_table, &members[0]);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, key, DHT_ID);
    msgpack_pack_uint32(&pk, 0);
    msgpack_pack_uint32(&pk, 100);
    struct asking a = { .method = MESH_METHOD_FIND, .data = buf, .len = writer_len(&w), .n = 3 };
    ask(&a);
    cr_expect_eq(a.status, MESH_RPC_OK);
    cr_expect_eq(a.n_items, (unsigned)DHT_ANSWER_NODES);
}

/* The first record from `content` on whose place node 0 is near to, or isn't. */
static void record_that(struct record *r, bool is_near)
{
    for (uint8_t content = 1; content < 255; content++) {
        record_provider(r, content, 7);
        if (dht__is_near(members[0].dht, r->v.places[0], DHT_STORE_NEAR) == is_near)
            return;
    }
    cr_assert(false, "no such record");
}

static unsigned ask_store(const struct record *r)
{
    uint8_t buf[DHT_DESCRIPTOR_MAX + 8];
    struct mesh_items items = dht__store_items(buf, r->data, r->len);
    struct asking a = { .method = MESH_METHOD_STORE, .data = items.data, .len = items.len, .n = 1 };
    ask(&a);
    return a.status;
}

Test(dht, a_record_that_32_others_are_nearer_to_is_refused)
{
    static struct record near, far;
    members_boot(2);
    few_run_ms(&few, DHT_STALE_MS);
    few_in(members[0].node, fill_table, &members[0]);
    record_that(&near, true);
    record_that(&far, false);
    cr_expect_eq(ask_store(&near), MESH_RPC_OK);
    cr_expect_eq(ask_store(&far), MESH_RPC_REFUSED);
    cr_expect_eq(holders(&far, 0), 0u);
}

Test(dht, a_new_neighbour_is_handed_no_more_than_its_bound_at_once)
{
    static struct record r;
    struct dht_stats st;
    members_boot(2);
    for (uint8_t i = 1; i <= DHT_HANDOVERS + 20; i++) {
        record_provider(&r, i, 7);
        member_plant(&members[0], &r);
    }
    few_boot(member_add()->node);
    few_run_ms(&few, 30000);
    dht_get_stats(members[2].dht, &st);
    cr_expect_eq(members[0].dht->n.handovers, (uint64_t)DHT_HANDOVERS);
    cr_expect_gt(st.stored_of[MESH_RECORD_PROVIDER], 0u);
    cr_expect_leq(st.stored_of[MESH_RECORD_PROVIDER], (uint64_t)DHT_HANDOVERS);
}

/* ---- answers that are remembered ------------------------------------------------------------- */

enum { ASKED_FOR = DHT_CACHE + 20, AT_ONCE = 46 };

struct asking_many {
    struct member *m;
    unsigned next, found;
    uint8_t keys[ASKED_FOR][DHT_ID];
};

static void one_found(void *arg, int code, const struct dht_found *f)
{
    struct asking_many *q = arg;
    q->found += code == 0 && f->n_values == 1;
}

static void ask_some(void *arg)
{
    struct asking_many *q = arg;
    for (unsigned end = q->next + AT_ONCE; q->next < end; q->next++)
        cr_assert_eq(
            dht_find(q->m->dht, q->keys[q->next], MESH_RECORD_PROVIDER, 0, one_found, q, NULL), 0);
}

Test(dht, no_more_answers_are_remembered_than_its_bound)
{
    static struct asking_many q;
    static struct record r, first, last;
    members_boot(2);
    q = (struct asking_many){ .m = &members[1] };
    for (unsigned i = 0; i < ASKED_FOR; i++) {
        struct dht_provider p = made_provider(&made);
        p.content[0] = (uint8_t)i;
        p.content[1] = (uint8_t)(i >> 8);
        p.expiry = network_now() + 7200;
        int len = dht_provider_build(&p, &made.net, made.self.sk, r.data);
        cr_assert_gt(len, 0);
        r.len = (size_t)len;
        cr_assert_eq(dht_value_parse(&r.v, &made.net, network_now(), r.data, r.len), DROP_NONE);
        member_plant(&members[0], &r);
        memcpy(q.keys[i], r.v.places[0], DHT_ID);
        *(i == 0 ? &first : &last) = r;
    }
    while (q.next < ASKED_FOR) {
        few_in(q.m->node, ask_some, &q);
        few_run_ms(&few, 10000);
    }
    cr_expect_eq(q.found, ASKED_FOR);
    cr_expect_eq(dht_cache_len(q.m->dht->cache), DHT_CACHE);
    cr_expect_not(member_find(q.m, &first, 0).is_cached, "the oldest gave way");
    cr_expect(member_find(q.m, &last, 0).is_cached);
    members_check();
}

/* ---- an answer's bytes ----------------------------------------------------------------------- */

enum { MAP_BYTES = 1880 };

/* Publisher i's first nonce whose puzzle leads to place 0 of the 256: to find one takes 256 of
 * them, which is why nobody crowds a place for nothing. */
static const uint16_t nonces[] = {
    316, 51,  170, 381, 118, 406, 16,  138, 203, 301,  5,  290, 383,
    437, 165, 402, 380, 1,   106, 303, 251, 205, 1209, 18, 3,   442
};
enum { OFFERS = sizeof nonces / sizeof nonces[0] };

static void plant_offer(struct member *m, uint8_t number)
{
    static uint8_t map[MAP_BYTES + 5] = { 0x81, 1, 0xc5, MAP_BYTES >> 8, MAP_BYTES & 0xff };
    static struct record r;
    uint8_t pk[32], sk[64], seed[32] = { number, 3 };
    uint8_t nonce[16] = { [14] = (uint8_t)(nonces[number] >> 8), [15] = (uint8_t)nonces[number] };
    struct mesh_pow_subject subject = { .purpose = MESH_POW_ID };
    struct dht_offer o = {
        .map = map, .map_len = sizeof map, .sequence = 1, .expiry = network_now() + 3600
    };
    crypto_sign_seed_keypair(pk, sk, seed);
    memcpy(subject.x, pk, sizeof subject.x);
    cr_assert_eq(mesh_pow_solve(&subject, 1, nonce, NULL, o.puzzle, NULL), 0);
    int len = dht_offer_build(&o, &made.net, sk, r.data);
    cr_assert_gt(len, 0, "%d", len);
    r.len = (size_t)len;
    cr_assert_eq(dht_value_parse(&r.v, &made.net, network_now(), r.data, r.len), DROP_NONE);
    member_plant(m, &r);
}

struct sizes {
    size_t offers, bytes, nodes;
    bool is_over;
};

static void weigh(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct sizes *s = arg;
    const uint8_t *record;
    size_t len;
    cr_expect_eq(code, 0);
    cr_expect_eq(status, MESH_RPC_OK);
    s->is_over = true;
    for (unsigned i = 0; i < n; i++) {
        cr_assert(mp_bin_any(&items[i], &record, &len));
        bool is_offer = len > MAP_BYTES;
        s->offers += is_offer;
        s->bytes += is_offer ? len + 3 : 0;
        s->nodes += !is_offer;
    }
}

static void ask_for_offers(void *arg)
{
    uint8_t buf[64];
    uint8_t place[DHT_ID];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    dht_offer_place(place, 0);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, place, DHT_ID);
    msgpack_pack_uint32(&pk, MESH_RECORD_OFFER);
    msgpack_pack_uint32(&pk, DHT_ANSWER_NODES);
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = 3 };
    cr_assert_eq(mesh_ask(members[1].node->mesh, &few.node[0].contact, MESH_METHOD_FIND, &items, 0,
                          weigh, arg, NULL),
                 0);
}

Test(dht, an_answer_brings_records_up_to_its_bound_and_nodes_beside_them)
{
    struct sizes s = { 0 };
    members_boot(3);
    for (uint8_t i = 0; i < OFFERS; i++)
        plant_offer(&members[0], i);
    few_in(members[1].node, ask_for_offers, &s);
    few_run_ms(&few, 2000);
    cr_assert(s.is_over);
    cr_expect_leq(s.bytes, (size_t)DHT_ANSWER_BYTES);
    cr_expect_gt(s.bytes, (size_t)DHT_ANSWER_BYTES - DHT_OFFER_MAX, "one more had no room");
    cr_expect_lt(s.offers, (size_t)OFFERS);
    cr_expect_eq(s.nodes, 2u);
}
