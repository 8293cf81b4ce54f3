#include <sodium.h>

#include "base/mp.h"
#include "dht/dht_internal.h"
#include "dht/store_internal.h"
#include "tests/unit/dht/made.h"
#include "tests/unit/mesh/few.h"

/* ---- a few nodes with a DHT ------------------------------------------------------------------ */

struct member {
    struct few_node *node;
    struct dht *dht;
    bool is_late; /* its DHT starts by hand */
};

static struct few few;
static struct member members[FEW_MAX];
static struct made made;

static void start_dht(void *arg)
{
    struct member *m = arg;
    struct cyx_err err = { 0 };
    if (m->dht == NULL)
        m->dht =
            dht_create(m->node->mesh,
                       &(struct dht_config){ .is_serving = true, .roster_max = SIZE_MAX }, &err);
    cr_assert_not_null(m->dht, "%s", err.msg);
    cr_assert_eq(dht_start(m->dht, &err), 0, "%s", err.msg);
}

static void started(struct few_node *n)
{
    struct member *m = n->above;
    if (!m->is_late)
        start_dht(m);
}

static void dropping(struct few_node *n)
{
    struct member *m = n->above;
    cr_expect(m->dht == NULL || dht__check(m->dht));
    dht_destroy(m->dht);
    m->dht = NULL;
}

static struct member *add(void)
{
    struct few_node *n = few_add(&few, 0);
    struct member *m = &members[n->number];
    *m = (struct member){ .node = n };
    n->above = m;
    n->started = started;
    n->dropping = dropping;
    n->config.advertise[n->config.n_advertise++] = n->contact.addr;
    if (n->number > 0) {
        n->config.bootstrap = &few.node[0].contact;
        n->config.n_bootstrap = 1;
    }
    return m;
}

static void boot_all(unsigned n)
{
    few_init(&few, 5, NULL);
    made = made_start();
    for (unsigned i = 0; i < n; i++)
        few_boot(add()->node);
    made.net = few.node[0].config.network;
    few_run_ms(&few, 20000);
}

static void end(void)
{
    few_fini(&few);
}

TestSuite(dht, .fini = end);

static uint64_t now(void)
{
    return mesh_time(few.node[0].mesh);
}

/* ---- records --------------------------------------------------------------------------------- */

struct record {
    uint8_t data[DHT_DESCRIPTOR_MAX];
    size_t len;
    struct dht_value v;
};

static void parse(struct record *r, int len)
{
    cr_assert_gt(len, 0);
    r->len = (size_t)len;
    cr_assert_eq(dht_value_parse(&r->v, &made.net, now(), r->data, r->len), DROP_NONE);
}

static void provider(struct record *r, uint8_t content, uint64_t sequence)
{
    struct dht_provider p = made_provider(&made);
    p.content[0] = content;
    p.sequence = sequence;
    p.expiry = now() + 7200;
    parse(r, dht_provider_build(&p, &made.net, made.self.sk, r->data));
}

static void descriptor(struct record *r)
{
    struct dht_descriptor d = made_descriptor(&made, 2048);
    d.period = dht_period(now());
    made_delegate(&made, &d);
    parse(r, dht_descriptor_build(&d, &made.net, made.d.sk, r->data));
}

/* Puts it right into the store of a node. */
static void planted(void *arg, enum dht_verdict v)
{
    (void)arg;
    cr_expect_eq(v, DHT_TAKEN);
}

static void plant(struct member *m, const struct record *r)
{
    dht_store_offer(m->dht->store, &r->v, r->v.places[0], 0, now(), planted, NULL, NULL);
    few_run_ms(&few, 50);
}

static bool holds_at(struct member *m, const struct record *r, unsigned place)
{
    const struct store__slot *slot =
        store__slot_find(m->dht->store, r->v.places[place], r->v.type->number);
    const struct store__entry *e =
        slot != NULL ? store__entry_find(slot, r->v.head.publisher) : NULL;
    return e != NULL && e->digest == store__digest(r->data, r->len);
}

static unsigned holders(const struct record *r, unsigned place)
{
    unsigned n = 0;
    for (unsigned i = 0; i < few.n; i++)
        n += members[i].dht != NULL && holds_at(&members[i], r, place);
    return n;
}

/* ---- calls inside a node's turn -------------------------------------------------------------- */

enum after { NOTHING, STOP, DESTROY };

struct finding {
    struct member *m;
    const uint8_t *key;
    unsigned type, flags;
    struct dht_find *find;
    enum after after;
    bool is_over, is_cached;
    int code, started;
    size_t n_values, n_nodes;
    uint64_t sequence;
};

static void found(void *arg, int code, const struct dht_found *f)
{
    struct finding *g = arg;
    cr_expect_not(g->is_over);
    g->is_over = true;
    g->code = code;
    g->n_values = f->n_values;
    g->n_nodes = f->n_nodes;
    g->is_cached = f->is_cached;
    g->sequence = f->n_values > 0 ? f->values[0].head.sequence : 0;
    if (g->after == STOP)
        dht_stop(g->m->dht);
    if (g->after == DESTROY) {
        dht_destroy(g->m->dht);
        g->m->dht = NULL;
    }
}

static void begin_find(void *arg)
{
    struct finding *g = arg;
    g->started = dht_find(g->m->dht, g->key, g->type, g->flags, found, g, &g->find);
}

static struct finding find(struct member *m, const struct record *r, unsigned flags)
{
    struct finding g = { .m = m, .key = r->v.places[0], .type = r->v.type->number, .flags = flags };
    few_in(m->node, begin_find, &g);
    cr_assert_eq(g.started, 0);
    few_run_ms(&few, 10000);
    cr_expect(g.is_over);
    return g;
}

struct putting {
    struct member *m;
    const struct record *r;
    bool is_published, is_over;
    enum after after;
    int started, code;
    struct dht_stored stored;
};

static void put_over(void *arg, int code, const struct dht_stored *s)
{
    struct putting *p = arg;
    cr_expect_not(p->is_over);
    p->is_over = true;
    p->code = code;
    p->stored = *s;
    if (p->after == STOP)
        dht_stop(p->m->dht);
    if (p->after == DESTROY) {
        dht_destroy(p->m->dht);
        p->m->dht = NULL;
    }
}

static void begin_put(void *arg)
{
    struct putting *p = arg;
    p->started = (p->is_published ? dht_publish : dht_put)(p->m->dht, p->r->data, p->r->len,
                                                           put_over, p, NULL);
}

static struct putting put(struct member *m, const struct record *r)
{
    struct putting p = { .m = m, .r = r };
    few_in(m->node, begin_put, &p);
    cr_assert_eq(p.started, 0);
    few_run_ms(&few, 15000);
    cr_expect(p.is_over);
    return p;
}

static struct putting publish(struct member *m, const struct record *r)
{
    struct putting p = { .m = m, .r = r, .is_published = true };
    few_in(m->node, begin_put, &p);
    few_run_ms(&few, 15000);
    return p;
}

static void stop_dht(void *arg)
{
    struct member *m = arg;
    dht_stop(m->dht);
    dht_stop(m->dht);
}

static void check_all(void)
{
    for (unsigned i = 0; i < few.n; i++)
        cr_expect(members[i].dht == NULL || dht__check(members[i].dht), "node %u", i);
}

/* ---- put and get ----------------------------------------------------------------------------- */

Test(dht, what_one_node_puts_another_finds)
{
    struct record r;
    boot_all(6);
    provider(&r, 1, 7);
    struct putting p = put(&members[1], &r);
    cr_expect_eq(p.code, 0);
    cr_expect_eq(holders(&r, 0), 6);
    struct finding g = find(&members[4], &r, 0);
    cr_expect_eq(g.code, 0);
    cr_expect_eq(g.n_values, 1);
    check_all();
}

Test(dht, a_descriptor_is_kept_at_both_its_places)
{
    struct record r;
    boot_all(5);
    descriptor(&r);
    cr_expect_eq(put(&members[1], &r).code, 0);
    cr_expect_eq(holders(&r, 0), 5);
    cr_expect_eq(holders(&r, 1), 5);
}

Test(dht, what_nobody_has_is_not_found)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    struct finding g = find(&members[2], &r, 0);
    cr_expect_eq(g.code, CYX_ENOENT);
    cr_expect_eq(g.n_nodes, 3);
}

Test(dht, a_node_alone_says_that_it_knows_nobody)
{
    struct record r;
    boot_all(1);
    provider(&r, 1, 7);
    cr_expect_eq(find(&members[0], &r, 0).code, CYX_EAGAIN);
}

Test(dht, the_newest_wins_and_those_that_lacked_it_get_it)
{
    struct record old, new;
    boot_all(5);
    provider(&old, 1, 7);
    provider(&new, 1, 8);
    for (unsigned i = 0; i < 5; i++)
        plant(&members[i], i == 3 ? &new : &old);
    cr_expect_eq(find(&members[1], &old, 0).sequence, 8);
    cr_expect_eq(holders(&new, 0), 4, "all that were asked");
}

Test(dht, an_answer_is_remembered_and_asked_for_again_when_it_must_be_fresh)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    plant(&members[2], &r);
    cr_expect_not(find(&members[1], &r, 0).is_cached);
    cr_expect(find(&members[1], &r, 0).is_cached);
    cr_expect_not(find(&members[1], &r, DHT_FIND_FRESH).is_cached);
}

Test(dht, what_was_seen_newer_is_not_rolled_back)
{
    struct record old, new;
    boot_all(4);
    provider(&old, 1, 7);
    provider(&new, 1, 8);
    plant(&members[1], &old);
    struct dht_value v = new.v;
    dht_cache_put(members[3].dht->cache, new.v.places[0], MESH_RECORD_PROVIDER, &v, 1, 0);
    cr_expect_eq(find(&members[3], &old, DHT_FIND_FRESH).sequence, 8);
    cr_expect_eq(find(&members[3], &old, 0).sequence, 8);
}

Test(dht, an_older_record_is_refused_by_those_that_show_a_newer_one)
{
    struct record old, new;
    boot_all(5);
    provider(&old, 1, 7);
    provider(&new, 1, 8);
    (void)put(&members[1], &new);
    struct putting p = put(&members[2], &old);
    cr_expect_eq(p.code, CYX_EEXIST);
    cr_expect_eq(holders(&new, 0), 5);
}

Test(dht, a_full_disk_is_busy_and_nothing_is_claimed)
{
    struct record r;
    boot_all(4);
    for (unsigned i = 0; i < 4; i++)
        sim_node_set_disk(few.node[i].sim, SIM_DISK_FULL);
    provider(&r, 1, 7);
    struct putting p = put(&members[1], &r);
    cr_expect_eq(p.code, CYX_EIO);
    cr_expect_eq(p.stored.stored, 0);
    cr_expect_eq(holders(&r, 0), 0);
    check_all();
}

Test(dht, a_record_that_breaks_its_own_rules_is_not_sent)
{
    struct record r;
    boot_all(1);
    provider(&r, 1, 7);
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
    boot_all(4);
    provider(&r, 1, 7);
    (void)put(&members[1], &r);
    struct member *m = add();
    few_boot(m->node);
    few_run_ms(&few, 60000);
    cr_expect(holds_at(m, &r, 0));
}

Test(dht, publishes_again_after_a_restart)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    struct putting p = publish(&members[3], &r);
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
    boot_all(3);
    for (unsigned i = 0; i < 3; i++)
        provider(&r[i], 1, 7 + i);
    (void)publish(&members[1], &r[1]);
    cr_expect_eq(publish(&members[1], &r[0]).started, CYX_EEXIST);
    (void)publish(&members[1], &r[2]);
    cr_expect_eq(members[1].dht->n_own, 1);
    cr_expect_eq(holders(&r[2], 0), 3);
}

Test(dht, a_publication_that_our_disk_refuses_says_so)
{
    struct record r;
    boot_all(3);
    provider(&r, 1, 7);
    sim_node_set_disk(few.node[1].sim, SIM_DISK_FULL);
    struct putting p = publish(&members[1], &r);
    cr_expect(p.is_over);
    cr_expect_neq(p.code, 0);
}

Test(dht, forgets_a_neighbour_that_went_silent)
{
    struct record r;
    boot_all(4);
    cr_expect_eq(dht_table_len(members[0].dht->table), 3);
    sim_node_crash(few.node[2].sim);
    provider(&r, 1, 7);
    for (unsigned i = 0; i < 3; i++)
        (void)find(&members[0], &r, DHT_FIND_FRESH);
    cr_expect_eq(dht_table_len(members[0].dht->table), 2);
    check_all();
}

/* ---- bounds ---------------------------------------------------------------------------------- */

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
    boot_all(5);
    struct dht_stats before, after;
    dht_get_stats(members[0].dht, &before);
    cr_assert_geq(before.contacts, 4u);
    sim_node_set_group(few.node[0].sim, 1);
    struct record r;
    provider(&r, 1, 7);
    for (unsigned i = 0; i < 8; i++) {
        few_run_ms(&few, 60000);
        struct finding g = find(&members[0], &r, DHT_FIND_FRESH);
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
    boot_all(4);
    struct many q = { .m = &members[1] };
    few_in(q.m->node, begin_many, &q);
    cr_expect_eq(q.begun, DHT_LOOKUPS_WAITING);
    cr_expect_eq(q.refused, 50);
    cr_expect_leq(q.m->dht->n_finds, DHT_LOOKUPS);
    check_all();
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
    boot_all(3);
    few_in(members[1].node, send_many, &members[1]);
    cr_expect_leq(members[1].dht->n_sends, DHT_SENDS);
    cr_expect_leq(members[1].dht->n_sends_waiting, DHT__SENDS_WAITING);
    cr_expect_gt(members[1].dht->n.sends_dropped, 0);
    check_all();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void cancel(void *arg)
{
    struct finding *g = arg;
    dht_find_cancel(g->find);
}

static void begin_and_cancel(void *arg)
{
    begin_find(arg);
    cancel(arg);
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
        p.expiry = now() + 7200;
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
    boot_all(1);
    while (q.next <= DHT_OWN_RECORDS) { /* as many at a time as there may be lookups */
        few_in(members[0].node, publish_many, &q);
        few_run_ms(&few, 20000);
    }
    cr_expect_eq(q.published, (unsigned)DHT_OWN_RECORDS);
    cr_expect_eq(q.refused, q.next - DHT_OWN_RECORDS);
    check_all();
}

Test(dht, a_lookup_can_be_cancelled_at_any_moment)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    struct finding g = { .m = &members[1],
                         .key = r.v.places[0],
                         .type = MESH_RECORD_PROVIDER,
                         .flags = DHT_FIND_FRESH };
    few_in(g.m->node, begin_and_cancel, &g);
    for (unsigned ms = 0; ms < 40; ms += 5) {
        few_in(g.m->node, begin_find, &g);
        few_run_ms(&few, ms);
        if (g.is_over)
            break;
        few_in(g.m->node, cancel, &g);
        check_all();
    }
    few_run_ms(&few, 10000);
    check_all();
}

static void begin_all(struct member *m, struct finding *g, struct putting p[2])
{
    few_in(m->node, begin_find, g);
    few_in(m->node, begin_put, &p[0]);
    few_in(m->node, begin_put, &p[1]);
}

Test(dht, stopping_tells_all_who_wait_once)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    for (unsigned ms = 0; ms < 60; ms += 6) {
        struct finding g = { .m = &members[1],
                             .key = r.v.places[0],
                             .type = MESH_RECORD_PROVIDER,
                             .flags = DHT_FIND_FRESH };
        struct putting p[2] = { { .m = &members[1], .r = &r },
                                { .m = &members[1], .r = &r, .is_published = true } };
        begin_all(&members[1], &g, p);
        few_run_ms(&few, ms);
        few_in(members[1].node, stop_dht, &members[1]);
        cr_expect(g.is_over && p[0].is_over && p[1].is_over, "after %u ms", ms);
        few_run_ms(&few, 100);
        few_in(members[1].node, start_dht, &members[1]);
        few_run_ms(&few, 2000);
        check_all();
    }
}

static void end_from(enum after after)
{
    struct record r;
    boot_all(4);
    provider(&r, 1, 7);
    struct finding g = {
        .m = &members[1], .key = r.v.places[0], .type = MESH_RECORD_PROVIDER, .after = after
    };
    few_in(g.m->node, begin_find, &g);
    few_run_ms(&few, 10000);
    cr_expect(g.is_over);
    struct putting p = { .m = &members[2], .r = &r, .after = after };
    few_in(p.m->node, begin_put, &p);
    few_run_ms(&few, 15000);
    cr_expect(p.is_over);
    struct putting q = { .m = &members[3], .r = &r, .is_published = true, .after = after };
    few_in(q.m->node, begin_put, &q);
    few_run_ms(&few, 15000);
    cr_expect(q.is_over);
    check_all();
}

Test(dht, may_be_stopped_from_a_callback)
{
    end_from(STOP);
}

Test(dht, may_be_destroyed_from_a_callback)
{
    end_from(DESTROY);
}

Test(dht, a_stopped_dht_refuses_all)
{
    struct record r;
    boot_all(2);
    provider(&r, 1, 7);
    few_in(members[1].node, stop_dht, &members[1]);
    struct finding g = { .m = &members[1], .key = r.v.places[0], .type = MESH_RECORD_PROVIDER };
    few_in(g.m->node, begin_find, &g);
    cr_expect_eq(g.started, CYX_ECANCELED);
    cr_expect_eq(publish(&members[1], &r).started, CYX_ECANCELED);
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
    boot_all(2);
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
    boot_all(2);
    provider(&r, 1, 7);
    provider(&newer, 1, 8);
    provider(&forged, 2, 7);
    forged.data[forged.len - 1] ^= 1;
    cr_expect_eq(ask_store(&newer), MESH_RPC_OK);
    cr_expect_eq(ask_store(&newer), MESH_RPC_OK);
    cr_expect_eq(ask_store(&r), MESH_RPC_STALE);
    cr_expect_eq(ask_store(&forged), MESH_RPC_REFUSED);
    sim_node_set_disk(few.node[0].sim, SIM_DISK_FULL);
    provider(&r, 3, 7);
    cr_expect_eq(ask_store(&r), MESH_RPC_BUSY);
    sim_node_set_disk(few.node[0].sim, SIM_DISK_OK);
    members[0].dht->store->o.max_bytes = 16 * 100;
    cr_expect_eq(ask_store(&r), MESH_RPC_QUOTA);
}
