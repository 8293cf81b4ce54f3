#include "dht_rig.h"

#include <sodium.h>

#include "dht/store_internal.h"

/* ---- a few nodes with a DHT ------------------------------------------------------------------ */

struct few few;
struct member members[FEW_MAX];
struct made made;

void member_start(void *arg)
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
        member_start(m);
}

static void dropping(struct few_node *n)
{
    struct member *m = n->above;
    cr_expect(m->dht == NULL || dht__check(m->dht));
    dht_destroy(m->dht);
    m->dht = NULL;
}

struct member *member_add(void)
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

void members_boot(unsigned n)
{
    few_init(&few, 5, NULL);
    made = made_start();
    for (unsigned i = 0; i < n; i++)
        few_boot(member_add()->node);
    made.net = few.node[0].config.network;
    few_run_ms(&few, 20000);
}

static void end(void)
{
    few_fini(&few);
}

TestSuite(dht, .fini = end);

uint64_t network_now(void)
{
    return mesh_time(few.node[0].mesh);
}

/* ---- records --------------------------------------------------------------------------------- */

static void parse(struct record *r, int len)
{
    cr_assert_gt(len, 0);
    r->len = (size_t)len;
    cr_assert_eq(dht_value_parse(&r->v, &made.net, network_now(), r->data, r->len), DROP_NONE);
}

void record_provider(struct record *r, uint8_t content, uint64_t sequence)
{
    struct dht_provider p = made_provider(&made);
    p.content[0] = content;
    p.sequence = sequence;
    p.expiry = network_now() + 7200;
    parse(r, dht_provider_build(&p, &made.net, made.self.sk, r->data));
}

void record_descriptor(struct record *r)
{
    struct dht_descriptor d = made_descriptor(&made, 2048);
    d.period = dht_period(network_now());
    made_delegate(&made, &d);
    parse(r, dht_descriptor_build(&d, &made.net, made.d.sk, r->data));
}

/* Puts it right into the store of a node. */
static void planted(void *arg, enum dht_verdict v)
{
    (void)arg;
    cr_expect_eq(v, DHT_TAKEN);
}

void member_plant(struct member *m, const struct record *r)
{
    dht_store_offer(m->dht->store, &r->v, r->v.places[0], 0, network_now(), planted, NULL, NULL);
    few_run_ms(&few, 50);
}

bool holds_at(struct member *m, const struct record *r, unsigned place)
{
    const struct store__slot *slot =
        store__slot_find(m->dht->store, r->v.places[place], r->v.type->number);
    const struct store__entry *e =
        slot != NULL ? store__entry_find(slot, r->v.head.publisher) : NULL;
    return e != NULL && e->digest == store__digest(r->data, r->len);
}

unsigned holders(const struct record *r, unsigned place)
{
    unsigned n = 0;
    for (unsigned i = 0; i < few.n; i++)
        n += members[i].dht != NULL && holds_at(&members[i], r, place);
    return n;
}

/* ---- calls inside a node's turn -------------------------------------------------------------- */

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

void begin_find(void *arg)
{
    struct finding *g = arg;
    g->started = dht_find(g->m->dht, g->key, g->type, g->flags, found, g, &g->find);
}

struct finding member_find(struct member *m, const struct record *r, unsigned flags)
{
    struct finding g = { .m = m, .key = r->v.places[0], .type = r->v.type->number, .flags = flags };
    few_in(m->node, begin_find, &g);
    cr_assert_eq(g.started, 0);
    few_run_ms(&few, 10000);
    cr_expect(g.is_over);
    return g;
}

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

void begin_put(void *arg)
{
    struct putting *p = arg;
    p->started = (p->is_published ? dht_publish : dht_put)(p->m->dht, p->r->data, p->r->len,
                                                           put_over, p, NULL);
}

struct putting member_put(struct member *m, const struct record *r)
{
    struct putting p = { .m = m, .r = r };
    few_in(m->node, begin_put, &p);
    cr_assert_eq(p.started, 0);
    few_run_ms(&few, 15000);
    cr_expect(p.is_over);
    return p;
}

struct putting member_publish(struct member *m, const struct record *r)
{
    struct putting p = { .m = m, .r = r, .is_published = true };
    few_in(m->node, begin_put, &p);
    few_run_ms(&few, 15000);
    return p;
}

void member_stop(void *arg)
{
    struct member *m = arg;
    dht_stop(m->dht);
    dht_stop(m->dht);
}

void members_check(void)
{
    for (unsigned i = 0; i < few.n; i++)
        cr_expect(members[i].dht == NULL || dht__check(members[i].dht), "node %u", i);
}
