#include "tests/sim/scenarios/city.h"

#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/sim/scenarios/probe.h"

enum {
    CITY_PORT = 4100,
    OPEN_MS = 1000,      /* contacts have their keys on disk by then */
    COME_MS = 10000,     /* a newcomer takes an empty place within this */
    REMEMBERED = 32,     /* the same: the DHT has a table of its own */
    LINKS_TARGET = 3,    /* the DHT dials whom it asks; few links beside keep nodes small */
    WINDOW_S = 20,       /* all join within it, */
    JOINS_A_S = 40,      /* ... many at this rate */
    SETTLE_S = 40,       /* from the last one's coming until all know their neighbours */
    DRAWS = 100,         /* for one that is ready */
    HALF_LIFE_PPM = 693, /* ln 2, in thousandths */
};

/* ---- one node's life ---- */

static void failed(struct city *c, const char *what, const struct cyx_err *err)
{
    if (c->n.failures++ == 0)
        snprintf(c->n.failure, sizeof c->n.failure, "%s: %.150s", what, err->msg);
}

static void fill_config(const struct city_node *me, struct mesh_config *m)
{
    const struct city *c = me->city;
    *m = (struct mesh_config){
        .network = c->o.cards->network,
        .identity = me->identity,
        .is_listed = true,
        .rotate_link_key = !me->is_contact,
        .listen.port = CITY_PORT,
        .advertise = { me->addr },
        .n_advertise = 1,
        .bootstrap = c->contacts,
        .n_bootstrap = c->n_contacts,
        .links_target = LINKS_TARGET,
        .remembered_max = REMEMBERED,
        .no_gcm = true, /* the same bytes on every machine that replays */
    };
}

static int start_dht(struct city_node *me, struct cyx_err *err)
{
    const struct city_options *o = &me->city->o;
    struct dht_config config = {
        .is_serving = true,
        .store_bytes = o->store_bytes,
        .roster_max = SIZE_MAX, /* lookups have to find their way */
        .is_plain = o->is_plain && !me->is_liar,
    };
    me->dht = dht_create(me->mesh, &config, err);
    return me->dht != NULL ? dht_start(me->dht, err) : err->code;
}

static void start(void *arg)
{
    struct city_node *me = arg;
    struct cyx_err err = { 0 };
    struct mesh_config config;
    if (me->mesh != NULL || me->identity == NULL)
        return;
    fill_config(me, &config);
    me->mesh = mesh_create(sim_node_env(me->node), &config, &err);
    if (me->mesh == NULL || mesh_start(me->mesh, &err) < 0 || start_dht(me, &err) < 0)
        failed(me->city, "start", &err);
    else
        me->is_started = true;
}

static void identity_stored(void *arg, int code)
{
    struct city_node *me = arg;
    if (code == 0 && me->identity != NULL && (!me->is_contact || me->city->is_open))
        start(me);
}

static void store_identity(struct city_node *me)
{
    struct env *e = sim_node_env(me->node);
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    int len = mesh_identity_encode(me->identity, e, blob);
    if (len > 0)
        env_blob_store(e, MESH_IDENTITY_FILE, blob, (size_t)len, identity_stored, me);
    sodium_memzero(blob, sizeof blob);
}

/* From the disk of an earlier boot, else from the card. */
static void find_identity(struct city_node *me)
{
    struct env *e = sim_node_env(me->node);
    struct cyx_err err = { 0 };
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len = 0;
    bool is_new = env_blob_load(e, MESH_IDENTITY_FILE, blob, sizeof blob, &len, NULL) < 0;
    if (is_new)
        me->identity = card_identity(&me->card, &me->city->o.cards->network, e, &err);
    else
        me->identity = mesh_identity_decode(blob, len, NULL, &err);
    sodium_memzero(blob, sizeof blob);
    if (me->identity == NULL)
        failed(me->city, "identity", &err);
    else if (is_new)
        store_identity(me);
    else
        start(me);
}

static void boot(void *arg, struct sim_node *n)
{
    struct city_node *me = arg;
    me->node = n;
    me->boot_ns = sim_now(me->city->w);
    me->is_started = me->is_leaving = false;
    find_identity(me);
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

static void drop(void *arg, struct sim_node *n)
{
    struct city_node *me = arg;
    (void)n;
    if (me->mesh != NULL)
        mesh_metrics(me->mesh, count_metric, &me->city->n);
    dht_destroy(me->dht);
    mesh_destroy(me->mesh);
    mesh_identity_destroy(me->identity);
    me->dht = NULL;
    me->mesh = NULL;
    me->identity = NULL;
    me->is_started = false;
}

/* ---- coming and going ---- */

static void come(void *arg)
{
    struct city_node *me = arg;
    if (!sim_node_is_up(me->node))
        sim_node_boot(me->node);
}

/* A stranger in the same place: nothing of the last one is left. */
static void renew(void *arg)
{
    struct city_node *me = arg;
    struct city *c = me->city;
    if (sim_node_is_up(me->node))
        return;
    me->life++;
    c->n.newcomers++;
    me->card = cards_get(c->o.cards, CARD_NODE, c->n_cards++);
    me->addr = probe_address(c->n_addresses++, CITY_PORT);
    struct env_addr to = me->addr;
    to.port = 0;
    sim_node_wipe_disk(me->node);
    if (sim_node_move(me->node, &to, NULL) < 0)
        abort();
    sim_node_boot(me->node);
}

static void renew_later(struct city_node *me)
{
    struct sim_world *w = me->city->w;
    sim_at(w, sim_now(w) + sim_random_below(w, SIM_MS(COME_MS)), renew, me);
}

static void switch_off(void *arg)
{
    struct city_node *me = arg;
    if (!sim_node_is_up(me->node) || !me->is_leaving)
        return;
    sim_node_shutdown(me->node);
    renew_later(me);
}

static void stopped(void *arg)
{
    struct city_node *me = arg;
    sim_at(me->city->w, sim_now(me->city->w), switch_off, me);
}

static void leave(void *arg)
{
    struct city_node *me = arg;
    if (me->is_leaving || !me->is_started)
        return;
    me->is_leaving = true;
    dht_stop(me->dht);
    mesh_stop(me->mesh, stopped, me);
}

static void go(struct city_node *me)
{
    struct city *c = me->city;
    if (me->is_contact || me->is_liar || !me->is_started || me->is_leaving)
        return;
    if (sim_random_below(c->w, 2) == 0) {
        c->n.leaves++;
        sim_node_enter(me->node, leave, me);
    } else {
        c->n.crashes++;
        sim_node_crash(me->node);
        renew_later(me);
    }
}

static void churn_tick(void *arg)
{
    struct city *c = arg;
    if (c->churn_every_ns == 0)
        return;
    go(c->nodes[sim_random_below(c->w, c->n_nodes)]);
    sim_at(c->w, sim_now(c->w) + c->churn_every_ns, churn_tick, c);
}

/* Each tick takes one of n, so a node outlives m ticks with (1 - 1/n)^m: half of them n ln 2. */
void city_churn(struct city *c, uint64_t half_life_ns)
{
    c->churn_every_ns = half_life_ns / c->n_nodes * 1000 / HALF_LIFE_PPM;
    churn_tick(c);
}

void city_calm(struct city *c)
{
    c->churn_every_ns = 0;
}

void city_depart(struct city *c, unsigned percent)
{
    uint32_t rest = c->n_nodes - c->o.contacts;
    uint32_t due = (uint32_t)((uint64_t)rest * percent / 100);
    /* Each is taken with the probability that makes the share exact. */
    for (uint32_t i = c->o.contacts; i < c->n_nodes; i++, rest--) {
        if (sim_random_below(c->w, rest) >= due)
            continue;
        due--;
        if (sim_node_is_up(c->nodes[i]->node))
            sim_node_crash(c->nodes[i]->node);
    }
}

void city_restart(struct city *c)
{
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (sim_node_is_up(c->nodes[i]->node))
            sim_node_crash(c->nodes[i]->node);
    for (uint32_t i = 0; i < c->n_nodes; i++)
        sim_at(c->w, sim_now(c->w) + sim_random_below(c->w, SIM_S(1)), come, c->nodes[i]);
}

/* ---- building it ---- */

struct city_node *city_add(struct city *c, const struct card *card, const struct env_addr *addr,
                           uint64_t at_ns)
{
    struct city_node *me = calloc(1, sizeof *me);
    struct sim_node_options o = { .address = *addr,
                                  .boot = boot,
                                  .drop = drop,
                                  .arg = me,
                                  /* some seconds off, as machines without a time server are */
                                  .wall_skew_ms = (int64_t)sim_random_below(c->w, 20000) - 10000 };
    if (me == NULL || c->n_nodes >= c->o.nodes_max)
        abort();
    o.address.port = 0;
    me->city = c;
    me->number = c->n_nodes;
    me->is_contact = c->n_nodes < c->o.contacts;
    me->is_liar = c->n_nodes < c->o.nodes && c->n_nodes >= c->o.nodes - c->o.liars;
    me->card = *card;
    me->addr = *addr;
    me->addr.port = CITY_PORT;
    me->node = sim_node_add(c->w, &o);
    if (me->node == NULL)
        abort();
    c->nodes[c->n_nodes++] = me;
    sim_at(c->w, at_ns, come, me);
    return me;
}

/* The contacts have keys: from now on everybody knows them. */
static void open_city(void *arg)
{
    struct city *c = arg;
    for (uint32_t i = 0; i < c->o.contacts; i++) {
        const struct city_node *me = c->nodes[i];
        if (me->identity == NULL)
            abort(); /* not on disk after a second: the world is wrong */
        memcpy(c->contacts[i].id, me->identity->id, sizeof c->contacts[i].id);
        memcpy(c->contacts[i].link_key, me->identity->link.pub, sizeof c->contacts[i].link_key);
        c->contacts[i].addr = me->addr;
    }
    c->n_contacts = c->o.contacts;
    c->is_open = true;
    for (uint32_t i = 0; i < c->o.contacts; i++)
        sim_node_enter(c->nodes[i]->node, start, c->nodes[i]);
}

static void people(struct city *c)
{
    for (uint32_t i = 0; i < c->o.nodes; i++) {
        struct card card = cards_get(c->o.cards, CARD_NODE, c->n_cards++);
        struct env_addr addr = probe_address(c->n_addresses++, CITY_PORT);
        uint64_t at =
            i < c->o.contacts ? 0 : SIM_MS(OPEN_MS) + sim_random_below(c->w, c->o.window_ns);
        city_add(c, &card, &addr, at);
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
    c->nodes = calloc(c->o.nodes_max, sizeof(struct city_node *));
    c->contacts = calloc(o->contacts, sizeof *c->contacts);
    c->w = sim_create(&so);
    if (c->nodes == NULL || c->contacts == NULL || c->w == NULL)
        abort();
    people(c);
    sim_at(c->w, SIM_MS(OPEN_MS), open_city, c);
    return c;
}

void city_destroy(struct city *c)
{
    sim_destroy(c->w);
    for (uint32_t i = 0; i < c->n_nodes; i++)
        free(c->nodes[i]);
    free(c->nodes);
    free(c->contacts);
    free(c);
}

/* ---- looking at it ---- */

bool city_is_ready(const struct city_node *me)
{
    struct dht_stats st;
    if (me->is_liar || !me->is_started || me->is_leaving)
        return false;
    dht_get_stats(me->dht, &st);
    return st.is_ready;
}

struct city_node *city_draw(struct city *c)
{
    for (unsigned i = 0; i < DRAWS; i++) {
        struct city_node *me = c->nodes[sim_random_below(c->w, c->n_nodes)];
        if (city_is_ready(me))
            return me;
    }
    return NULL;
}

void city_count(const struct city *c, uint32_t *ready, uint32_t *up)
{
    *ready = *up = 0;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        *up += !c->nodes[i]->is_liar && sim_node_is_up(c->nodes[i]->node);
        *ready += city_is_ready(c->nodes[i]);
    }
}

struct city_counters city_totals(const struct city *c)
{
    struct city_counters n = c->n;
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (c->nodes[i]->mesh != NULL)
            mesh_metrics(c->nodes[i]->mesh, count_metric, &n);
    return n;
}

void city_held(const struct city *c, unsigned type, uint64_t *records, uint32_t *nodes)
{
    *records = 0;
    *nodes = 0;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        struct dht_stats st;
        if (c->nodes[i]->is_liar || !c->nodes[i]->is_started)
            continue;
        dht_get_stats(c->nodes[i]->dht, &st);
        *records += st.stored_of[type];
        *nodes += st.stored_of[type] > 0;
    }
}

struct sum {
    const char *name, *value;
    uint64_t total;
};

static void sum_metric(void *arg, const struct metric *m)
{
    struct sum *s = arg;
    if (strcmp(m->name, s->name) == 0 &&
        (s->value == NULL ||
         (m->value_of_label != NULL && strcmp(m->value_of_label, s->value) == 0)))
        s->total += m->value;
}

uint64_t city_metric(const struct city *c, const char *name, const char *value_of_label)
{
    struct sum s = { .name = name, .value = value_of_label };
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (c->nodes[i]->is_started && !c->nodes[i]->is_liar)
            dht_metrics(c->nodes[i]->dht, sum_metric, &s);
    return s.total;
}

void city_settle(struct city *c, struct sim_run *r)
{
    city_pass(c, r, SIM_MS(OPEN_MS) + c->o.window_ns + SIM_S(SETTLE_S));
}

void city_pass(struct city *c, struct sim_run *r, uint64_t until_ns)
{
    while (sim_now(c->w) < until_ns) {
        struct sim_stats st;
        uint64_t next = sim_now(c->w) + SIM_S(1);
        sim_run_until(c->w, next < until_ns ? next : until_ns);
        sim_stats(c->w, &st);
        run_progress(r, "virtual second %u, %u datagrams", (unsigned)(sim_now(c->w) / SIM_S(1)),
                     (unsigned)st.sent);
    }
}

void city_check(const struct city *c, struct sim_run *r)
{
    run_check(r, c->n.failures == 0, "%u nodes failed to start, the first: %s",
              (unsigned)c->n.failures, c->n.failure);
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
