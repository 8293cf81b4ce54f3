/* A DHT of a few nodes: put, get, keep, answer. */
#include <sodium.h>

#include "base/mp.h"
#include "dht/store_internal.h"
#include "dht_rig.h"

/* ---- put and get ----------------------------------------------------------------------------- */

Test(dht, what_one_node_puts_another_finds)
{
    struct record r;
    members_boot(6);
    record_provider(&r, 1, 7);
    struct putting p = member_put(&members[1], &r);
    cr_expect_eq(p.code, 0);
    cr_expect_eq(holders(&r, 0), 6);
    struct finding g = member_find(&members[4], &r, 0);
    cr_expect_eq(g.code, 0);
    cr_expect_eq(g.n_values, 1);
    members_check();
}

Test(dht, a_descriptor_is_kept_at_both_its_places)
{
    struct record r;
    members_boot(5);
    record_descriptor(&r);
    cr_expect_eq(member_put(&members[1], &r).code, 0);
    cr_expect_eq(holders(&r, 0), 5);
    cr_expect_eq(holders(&r, 1), 5);
}

Test(dht, what_nobody_has_is_not_found)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    struct finding g = member_find(&members[2], &r, 0);
    cr_expect_eq(g.code, CYX_ENOENT);
    cr_expect_eq(g.n_nodes, 3);
}

Test(dht, a_node_alone_says_that_it_knows_nobody)
{
    struct record r;
    members_boot(1);
    record_provider(&r, 1, 7);
    cr_expect_eq(member_find(&members[0], &r, 0).code, CYX_EAGAIN);
}

Test(dht, the_newest_wins_and_those_that_lacked_it_get_it)
{
    struct record old, new;
    members_boot(5);
    record_provider(&old, 1, 7);
    record_provider(&new, 1, 8);
    for (unsigned i = 0; i < 5; i++)
        member_plant(&members[i], i == 3 ? &new : &old);
    cr_expect_eq(member_find(&members[1], &old, 0).sequence, 8);
    cr_expect_eq(holders(&new, 0), 4, "all that were asked");
}

Test(dht, an_answer_is_remembered_and_asked_for_again_when_it_must_be_fresh)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    member_plant(&members[2], &r);
    cr_expect_not(member_find(&members[1], &r, 0).is_cached);
    cr_expect(member_find(&members[1], &r, 0).is_cached);
    cr_expect_not(member_find(&members[1], &r, DHT_FIND_FRESH).is_cached);
}

Test(dht, what_was_seen_newer_is_not_rolled_back)
{
    struct record old, new;
    members_boot(4);
    record_provider(&old, 1, 7);
    record_provider(&new, 1, 8);
    member_plant(&members[1], &old);
    struct dht_value v = new.v;
    dht_cache_put(members[3].dht->cache, new.v.places[0], MESH_RECORD_PROVIDER, &v, 1, 0);
    cr_expect_eq(member_find(&members[3], &old, DHT_FIND_FRESH).sequence, 8);
    cr_expect_eq(member_find(&members[3], &old, 0).sequence, 8);
}

Test(dht, an_older_record_is_refused_by_those_that_show_a_newer_one)
{
    struct record old, new;
    members_boot(5);
    record_provider(&old, 1, 7);
    record_provider(&new, 1, 8);
    (void)member_put(&members[1], &new);
    struct putting p = member_put(&members[2], &old);
    cr_expect_eq(p.code, CYX_EEXIST);
    cr_expect_eq(holders(&new, 0), 5);
}

Test(dht, a_full_disk_is_busy_and_nothing_is_claimed)
{
    struct record r;
    members_boot(4);
    for (unsigned i = 0; i < 4; i++)
        sim_node_set_disk(few.node[i].sim, SIM_DISK_FULL);
    record_provider(&r, 1, 7);
    struct putting p = member_put(&members[1], &r);
    cr_expect_eq(p.code, CYX_EIO);
    cr_expect_eq(p.stored.stored, 0);
    cr_expect_eq(holders(&r, 0), 0);
    members_check();
}

Test(dht, a_record_that_breaks_its_own_rules_is_not_sent)
{
    struct record r;
    members_boot(1);
    record_provider(&r, 1, 7);
    r.data[r.len - 1] ^= 1;
    struct putting p = { .m = &members[0], .r = &r };
    few_in(p.m->node, begin_put, &p);
    cr_expect_eq(p.started, CYX_EINVAL);
    p.is_published = true;
    few_in(p.m->node, begin_put, &p);
    cr_expect_eq(p.started, CYX_EINVAL);
}

/* ---- staying --------------------------------------------------------------------------------- */

Test(dht, a_newcomer_gets_what_it_is_near_to)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    (void)member_put(&members[1], &r);
    struct member *m = member_add();
    few_boot(m->node);
    few_run_ms(&few, 60000);
    cr_expect(holds_at(m, &r, 0));
}

Test(dht, publishes_again_after_a_restart)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    struct putting p = member_publish(&members[3], &r);
    cr_expect_eq(p.code, 0);
    for (unsigned i = 0; i < 4; i++)
        sim_node_crash(few.node[i].sim);
    for (unsigned i = 0; i < 3; i++)
        sim_node_wipe_disk(few.node[i].sim);
    for (unsigned i = 0; i < 4; i++)
        sim_node_boot(few.node[i].sim);
    few_run_ms(&few, 60000);
    cr_expect_eq(members[3].dht->n_own, 1);
    cr_expect_eq(holders(&r, 0), 4);
}

Test(dht, a_newer_publication_takes_the_turn_and_an_older_one_is_refused)
{
    struct record r[3];
    members_boot(3);
    for (unsigned i = 0; i < 3; i++)
        record_provider(&r[i], 1, 7 + i);
    (void)member_publish(&members[1], &r[1]);
    cr_expect_eq(member_publish(&members[1], &r[0]).started, CYX_EEXIST);
    (void)member_publish(&members[1], &r[2]);
    cr_expect_eq(members[1].dht->n_own, 1);
    cr_expect_eq(holders(&r[2], 0), 3);
}

Test(dht, a_publication_that_our_disk_refuses_says_so)
{
    struct record r;
    members_boot(3);
    record_provider(&r, 1, 7);
    sim_node_set_disk(few.node[1].sim, SIM_DISK_FULL);
    struct putting p = member_publish(&members[1], &r);
    cr_expect(p.is_over);
    cr_expect_neq(p.code, 0);
}

Test(dht, forgets_a_neighbour_that_went_silent)
{
    struct record r;
    members_boot(4);
    cr_expect_eq(dht_table_len(members[0].dht->table), 3);
    sim_node_crash(few.node[2].sim);
    record_provider(&r, 1, 7);
    for (unsigned i = 0; i < 3; i++)
        (void)member_find(&members[0], &r, DHT_FIND_FRESH);
    cr_expect_eq(dht_table_len(members[0].dht->table), 2);
    members_check();
}

/* ---- requests -------------------------------------------------------------------------------- */

struct asking {
    struct member *m;
    unsigned method, n, status, n_items;
    const uint8_t *data;
    size_t len;
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
        mesh_ask(a->m->node->mesh, &few.node[0].contact, a->method, &items, 0, asked, a, NULL), 0);
}

static unsigned ask(unsigned method, const void *data, size_t len, unsigned n)
{
    struct asking a = { .m = &members[1], .method = method, .data = data, .len = len, .n = n };
    few_in(a.m->node, begin_ask, &a);
    few_run_ms(&few, 2000);
    cr_expect(a.is_over);
    return a.status;
}

Test(dht, requests_that_are_not_well_formed_get_status_6)
{
    static const uint8_t nil[] = { 0xc0, 0xc0, 0xc0 };
    static const uint8_t short_key[] = { 0xc4, 3, 1, 2, 3, 0, 16 };
    members_boot(2);
    cr_expect_eq(ask(MESH_METHOD_FIND, nil, 3, 3), MESH_RPC_BAD);
    cr_expect_eq(ask(MESH_METHOD_FIND, nil, 0, 0), MESH_RPC_BAD);
    cr_expect_eq(ask(MESH_METHOD_FIND, short_key, 7, 3), MESH_RPC_BAD);
    cr_expect_eq(ask(MESH_METHOD_STORE, nil, 1, 1), MESH_RPC_BAD);
    cr_expect_eq(ask(MESH_METHOD_STORE, nil, 0, 0), MESH_RPC_BAD);
    cr_expect_eq(members[0].dht->n.served_bad, 5);
}

static unsigned ask_store(const struct record *r)
{
    uint8_t buf[DHT_DESCRIPTOR_MAX + 8];
    struct mesh_items items = dht__store_items(buf, r->data, r->len);
    return ask(MESH_METHOD_STORE, items.data, items.len, 1);
}

Test(dht, a_store_answers_what_it_thinks_of_a_record)
{
    struct record r, newer, forged;
    members_boot(2);
    record_provider(&r, 1, 7);
    record_provider(&newer, 1, 8);
    record_provider(&forged, 2, 7);
    forged.data[forged.len - 1] ^= 1;
    cr_expect_eq(ask_store(&newer), MESH_RPC_OK);
    cr_expect_eq(ask_store(&newer), MESH_RPC_OK);
    cr_expect_eq(ask_store(&r), MESH_RPC_STALE);
    cr_expect_eq(ask_store(&forged), MESH_RPC_REFUSED);
    sim_node_set_disk(few.node[0].sim, SIM_DISK_FULL);
    record_provider(&r, 3, 7);
    cr_expect_eq(ask_store(&r), MESH_RPC_BUSY);
    sim_node_set_disk(few.node[0].sim, SIM_DISK_OK);
    members[0].dht->store->o.max_bytes = 16 * 100;
    cr_expect_eq(ask_store(&r), MESH_RPC_QUOTA);
}
