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
