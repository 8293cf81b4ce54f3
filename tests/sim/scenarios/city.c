#include "tests/sim/scenarios/city.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/sim/scenarios/probe.h"

enum {
    CITY_PORT = 4100,
    COME_MS = 10000, /* a newcomer takes an empty place within this */
    SKEW_MS = 20000,
    REMEMBERED = 32,  /* the same: the DHT has a table of its own */
    LINKS_TARGET = 3, /* the DHT dials whom it asks; few links beside keep nodes small */
    WINDOW_S = 20,    /* all join within it, */
    JOINS_A_S = 40,   /* ... many at this rate */
    SETTLE_S = 40,    /* from the last one's coming until all know their neighbours */
    DRAWS = 100,      /* for one that is ready */
};

/* ---- one node's life ---- */

static struct city_node *of(struct folk_node *me)
{
    return container_of(me, struct city_node, base);
}

static struct city *city_of(const struct folk_node *me)
{
    return container_of(me->folk, struct city, folk);
}

static struct env_addr address(uint32_t i)
{
    return probe_address(i, CITY_PORT);
}

static int start_dht(struct city_node *me, struct cyx_err *err)
{
    const struct city_options *o = &city_of(&me->base)->o;
    struct dht_config config = {
        .is_serving = true,
        .store_bytes = o->store_bytes,
        .roster_max = SIZE_MAX, /* lookups have to find their way */
        .is_plain = o->is_plain && !me->is_liar,
    };
    me->dht = dht_create(me->base.mesh, &config, err);
    return me->dht != NULL ? dht_start(me->dht, err) : err->code;
}

static int start(struct folk_node *base, struct cyx_err *err)
{
    struct mesh_config config = folk_config(base);
    config.is_listed = true;
    config.advertise[0] = base->addr;
    config.n_advertise = 1;
    config.links_target = LINKS_TARGET;
    config.remembered_max = REMEMBERED;
    base->mesh = mesh_create(sim_node_env(base->node), &config, err);
    if (base->mesh == NULL || mesh_start(base->mesh, err) < 0)
        return err->code;
    return start_dht(of(base), err);
}

static void count_metric(void *arg, const struct metric *m)
{
    struct city_counters *n = arg;
    if (strcmp(m->name, "cyx_mesh_calls_total") == 0)
        n->calls += m->value;
    else if (strcmp(m->name, "cyx_mesh_calls_timed_out_total") == 0)
        n->calls_timed_out += m->value;
    else if (strcmp(m->name, "cyx_mesh_handshakes_in_total") == 0)
        n->handshakes += m->value;
}

static void drop(struct folk_node *base)
{
    struct city_node *me = of(base);
    if (base->mesh != NULL)
        mesh_metrics(base->mesh, count_metric, &city_of(base)->n);
    dht_destroy(me->dht);
    mesh_destroy(base->mesh);
    me->dht = NULL;
}

static void stop(struct folk_node *base)
{
    dht_stop(of(base)->dht);
    mesh_stop(base->mesh, folk_stopped, base);
}

static const struct folk_ops ops = {
    .address = address, .start = start, .drop = drop, .stop = stop
};

/* ---- coming and going ---- */

void city_churn(struct city *c, uint64_t half_life_ns)
{
    folk_churn(&c->folk, 0, half_life_ns);
    folk_churn_tick(&c->folk);
}

void city_calm(struct city *c)
{
    c->folk.churn_every_ns = 0;
}

void city_depart(struct city *c, unsigned percent)
{
    uint32_t rest = c->folk.n_nodes - c->o.contacts;
    uint32_t due = (uint32_t)((uint64_t)rest * percent / 100);
    /* Each is taken with the probability that makes the share exact. */
    for (uint32_t i = c->o.contacts; i < c->folk.n_nodes; i++, rest--) {
        if (sim_random_below(c->w, rest) >= due)
            continue;
        due--;
        if (sim_node_is_up(city_at(c, i)->base.node))
            sim_node_crash(city_at(c, i)->base.node);
    }
}

void city_restart(struct city *c)
{
    for (uint32_t i = 0; i < c->folk.n_nodes; i++)
        if (sim_node_is_up(city_at(c, i)->base.node))
            sim_node_crash(city_at(c, i)->base.node);
    for (uint32_t i = 0; i < c->folk.n_nodes; i++)
        sim_at(c->w, sim_now(c->w) + sim_random_below(c->w, SIM_S(1)), folk_come,
               &city_at(c, i)->base);
}

/* ---- building it ---- */

struct city_node *city_at(const struct city *c, uint32_t i)
{
    return container_of(c->folk.nodes[i], struct city_node, base);
}

struct city_node *city_add(struct city *c, const struct card *card, const struct env_addr *addr,
                           uint64_t at_ns)
{
    struct city_node *me = calloc(1, sizeof *me);
    uint32_t number = c->folk.n_nodes;
    struct env_addr own;
    if (me == NULL)
        abort();
    if (addr != NULL) {
        own = *addr;
        own.port = CITY_PORT;
    }
    me->is_liar = me->base.is_settled = number < c->o.nodes && number >= c->o.nodes - c->o.liars;
    folk_add(&c->folk, &me->base, card, addr != NULL ? &own : NULL, at_ns);
    return me;
}

static void people(struct city *c)
{
    for (uint32_t i = 0; i < c->o.nodes; i++) {
        uint64_t at =
            i < c->o.contacts ? 0 : SIM_MS(FOLK_OPEN_MS) + sim_random_below(c->w, c->o.window_ns);
        city_add(c, NULL, NULL, at);
    }
}

struct city_options city_options_of(const struct sim_run *r, struct cards *cards)
{
    uint32_t nodes = (uint32_t)run_arg(r, "nodes");
    uint64_t window = run_arg(r, "window");
    if (window == 0)
        window = nodes / JOINS_A_S > WINDOW_S ? nodes / JOINS_A_S : WINDOW_S;
    return (struct city_options){
        .seed = run_seed(r),
        .cards = cards,
        .nodes = nodes,
        .contacts = (uint32_t)run_arg(r, "contacts"),
        .window_ns = SIM_S(window),
        .loss_ppm = (uint32_t)run_arg(r, "loss") * 10000u,
    };
}

struct city *city_create(const struct city_options *o)
{
    struct city *c = calloc(1, sizeof *c);
    struct sim_options so = { .seed = o->seed, .link = sim_link_rough };
    so.link.loss_ppm = o->loss_ppm;
    if (c == NULL)
        abort();
    c->o = *o;
    if (c->o.nodes_max < o->nodes)
        c->o.nodes_max = o->nodes;
    const struct folk_options f = { .ops = &ops,
                                    .cards = o->cards,
                                    .contacts = o->contacts,
                                    .nodes_max = c->o.nodes_max,
                                    .come_ms = COME_MS,
                                    .skew_ms = SKEW_MS,
                                    .opens_by_event = true };
    c->w = sim_create(&so);
    folk_init(&c->folk, &f, c->w);
    people(c);
    folk_open_later(&c->folk);
    return c;
}

static void free_node(struct folk_node *me)
{
    free(of(me));
}

void city_destroy(struct city *c)
{
    folk_fini(&c->folk, free_node);
    free(c);
}

/* ---- looking at it ---- */

bool city_is_ready(const struct city_node *me)
{
    struct dht_stats st;
    if (me->is_liar || !me->base.is_started || me->base.is_leaving)
        return false;
    dht_get_stats(me->dht, &st);
    return st.is_ready;
}

struct city_node *city_draw(struct city *c)
{
    for (unsigned i = 0; i < DRAWS; i++) {
        struct city_node *me = city_at(c, (uint32_t)sim_random_below(c->w, c->folk.n_nodes));
        if (city_is_ready(me))
            return me;
    }
    return NULL;
}

void city_count(const struct city *c, uint32_t *ready, uint32_t *up)
{
    *ready = *up = 0;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        *up += !city_at(c, i)->is_liar && sim_node_is_up(city_at(c, i)->base.node);
        *ready += city_is_ready(city_at(c, i));
    }
}

struct city_counters city_totals(const struct city *c)
{
    struct city_counters n = c->n;
    n.folk = c->folk.n;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++)
        if (city_at(c, i)->base.mesh != NULL)
            mesh_metrics(city_at(c, i)->base.mesh, count_metric, &n);
    return n;
}

void city_held(const struct city *c, unsigned type, uint64_t *records, uint32_t *nodes)
{
    *records = 0;
    *nodes = 0;
    for (uint32_t i = 0; i < c->folk.n_nodes; i++) {
        struct dht_stats st;
        if (city_at(c, i)->is_liar || !city_at(c, i)->base.is_started)
            continue;
        dht_get_stats(city_at(c, i)->dht, &st);
        *records += st.stored_of[type];
        *nodes += st.stored_of[type] > 0;
    }
}

uint64_t city_metric(const struct city *c, const char *name, const char *value_of_label)
{
    struct folk_sum s = { .name = name, .value = value_of_label };
    for (uint32_t i = 0; i < c->folk.n_nodes; i++)
        if (city_at(c, i)->base.is_started && !city_at(c, i)->is_liar)
            dht_metrics(city_at(c, i)->dht, folk_sum_metric, &s);
    return s.total;
}

void city_settle(struct city *c, struct sim_run *r)
{
    city_pass(c, r, SIM_MS(FOLK_OPEN_MS) + c->o.window_ns + SIM_S(SETTLE_S));
}

void city_pass(struct city *c, struct sim_run *r, uint64_t until_ns)
{
    folk_pass(&c->folk, r, until_ns);
}

void city_check(const struct city *c, struct sim_run *r)
{
    folk_check(&c->folk, r);
}

/* Squares the mantissa: each time it passes 2 the next bit of the logarithm is 1. */
uint64_t city_log16_milli(uint64_t n)
{
    enum { BITS = 20 };
    if (n < 2)
        return 0;
    unsigned whole = 63u - (unsigned)__builtin_clzll(n);
    uint64_t x = whole >= 31 ? n >> (whole - 31) : n << (31 - whole); /* 1.0 is 2^31 */
    uint64_t log2 = whole;
    for (unsigned i = 0; i < BITS; i++) {
        x = (x * x) >> 31;
        log2 = log2 << 1 | (x >> 32);
        x >>= x >> 32;
    }
    return (log2 * 1000 / 4) >> BITS;
}

/* So that its tables are there before the first difference is taken. */
static void wake_memo(void)
{
    uint8_t secret[32] = { 1 };
    uint8_t pub[32], signature[64] = { 0 };
    crypto_dh_public(pub, secret);
    (void)!crypto_dh(secret, secret, pub);
    (void)!crypto_sign_verify_detached(signature, pub, sizeof pub, pub);
}

uint64_t city_allocated_bytes(void)
{
    wake_memo();
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
