#include "tests/sim/scenarios/folk.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HALF_LIFE_PPM = 693 }; /* ln 2, in thousandths */

/* ---- one node's life ---- */

static void failed(struct folk *f, const char *what, const struct cyx_err *err)
{
    if (f->n.failures++ == 0)
        snprintf(f->n.failure, sizeof f->n.failure, "%s: %.150s", what, err->msg);
}

struct mesh_config folk_config(const struct folk_node *me)
{
    const struct folk *f = me->folk;
    return (struct mesh_config){
        .network = f->o.cards->network,
        .identity = me->identity,
        .rotate_link_key = !me->is_contact,
        .listen.port = me->addr.port,
        .bootstrap = f->contacts,
        .n_bootstrap = f->n_contacts,
        .no_gcm = true, /* the same bytes on every machine that replays */
    };
}

static void start(void *arg)
{
    struct folk_node *me = arg;
    struct cyx_err err = { 0 };
    if (me->mesh != NULL || me->identity == NULL)
        return;
    if (me->folk->o.ops->start(me, &err) < 0) {
        failed(me->folk, "start", &err);
        return;
    }
    me->is_started = true;
    if (me->folk->o.ops->started != NULL)
        me->folk->o.ops->started(me);
}

static void identity_stored(void *arg, int code)
{
    struct folk_node *me = arg;
    if (code == 0 && me->identity != NULL && (!me->is_contact || me->folk->is_open))
        start(me);
}

static void store_identity(struct folk_node *me)
{
    struct env *e = sim_node_env(me->node);
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    int len = mesh_identity_encode(me->identity, e, blob);
    if (len > 0)
        env_blob_store(e, MESH_IDENTITY_FILE, blob, (size_t)len, identity_stored, me);
    sodium_memzero(blob, sizeof blob);
}

/* From the disk of an earlier boot, else from the card. */
static void find_identity(struct folk_node *me)
{
    struct env *e = sim_node_env(me->node);
    struct cyx_err err = { 0 };
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len = 0;
    bool is_new = env_blob_load(e, MESH_IDENTITY_FILE, blob, sizeof blob, &len, NULL) < 0;
    if (is_new)
        me->identity = card_identity(&me->card, &me->folk->o.cards->network, e, &err);
    else
        me->identity = mesh_identity_decode(blob, len, NULL, &err);
    sodium_memzero(blob, sizeof blob);
    if (me->identity == NULL)
        failed(me->folk, "identity", &err);
    else if (is_new)
        store_identity(me);
    else
        start(me);
}

static void boot(void *arg, struct sim_node *n)
{
    struct folk_node *me = arg;
    me->node = n;
    me->boot_ns = sim_now(me->folk->w);
    me->is_started = me->is_leaving = false;
    find_identity(me);
}

static void drop(void *arg, struct sim_node *n)
{
    struct folk_node *me = arg;
    (void)n;
    me->folk->o.ops->drop(me);
    mesh_identity_destroy(me->identity);
    me->mesh = NULL;
    me->identity = NULL;
    me->is_started = false;
}

/* ---- coming and going ---- */

struct card folk_card(struct folk *f)
{
    return cards_get(f->o.cards, CARD_NODE, f->n_cards++);
}

struct env_addr folk_address(struct folk *f)
{
    return f->o.ops->address(f->n_addresses++);
}

void folk_come(void *arg)
{
    struct folk_node *me = arg;
    if (!sim_node_is_up(me->node))
        sim_node_boot(me->node);
}

/* A stranger in the same place: nothing of the last one is left. */
static void renew(void *arg)
{
    struct folk_node *me = arg;
    struct folk *f = me->folk;
    if (sim_node_is_up(me->node))
        return;
    me->life++;
    f->n.newcomers++;
    me->card = folk_card(f);
    me->addr = folk_address(f);
    struct env_addr to = me->addr;
    to.port = 0;
    sim_node_wipe_disk(me->node);
    if (sim_node_move(me->node, &to, NULL) < 0)
        abort();
    sim_node_boot(me->node);
}

static void renew_later(struct folk_node *me)
{
    struct sim_world *w = me->folk->w;
    sim_at(w, sim_now(w) + sim_random_below(w, SIM_MS(me->folk->o.come_ms)), renew, me);
}

static void switch_off(void *arg)
{
    struct folk_node *me = arg;
    if (!sim_node_is_up(me->node) || !me->is_leaving)
        return;
    sim_node_shutdown(me->node);
    renew_later(me);
}

void folk_stopped(void *arg)
{
    struct folk_node *me = arg;
    sim_at(me->folk->w, sim_now(me->folk->w), switch_off, me);
}

static void leave(void *arg)
{
    struct folk_node *me = arg;
    if (me->is_leaving || !me->is_started)
        return;
    me->is_leaving = true;
    me->folk->o.ops->stop(me);
}

static void go(struct folk_node *me)
{
    struct folk *f = me->folk;
    if (me->is_contact || me->is_settled || !me->is_started || me->is_leaving)
        return;
    if (sim_random_below(f->w, 2) == 0) {
        f->n.leaves++;
        sim_node_enter(me->node, leave, me);
    } else {
        f->n.crashes++;
        sim_node_crash(me->node);
        renew_later(me);
    }
}

void folk_churn_tick(void *arg)
{
    struct folk *f = arg;
    uint32_t among = f->churn_among != 0 ? f->churn_among : f->n_nodes;
    if (f->churn_every_ns == 0)
        return;
    go(f->nodes[sim_random_below(f->w, among)]);
    sim_at(f->w, sim_now(f->w) + f->churn_every_ns, folk_churn_tick, f);
}

/* Each tick takes one of n, so a node outlives m ticks with (1 - 1/n)^m: half of them n ln 2. */
void folk_churn(struct folk *f, uint32_t among, uint64_t half_life_ns)
{
    f->churn_among = among;
    f->churn_every_ns = half_life_ns / (among != 0 ? among : f->n_nodes) * 1000 / HALF_LIFE_PPM;
}

/* ---- building it ---- */

void folk_add(struct folk *f, struct folk_node *me, const struct card *card,
              const struct env_addr *addr, uint64_t at_ns)
{
    struct sim_node_options o = { .boot = boot, .drop = drop, .arg = me };
    if (f->n_nodes >= f->o.nodes_max)
        abort();
    o.wall_skew_ms = (int64_t)sim_random_below(f->w, f->o.skew_ms) - f->o.skew_ms / 2;
    me->folk = f;
    me->number = f->n_nodes;
    me->is_contact = f->n_nodes < f->o.contacts;
    me->card = card != NULL ? *card : folk_card(f);
    me->addr = addr != NULL ? *addr : folk_address(f);
    o.address = me->addr;
    o.address.port = 0;
    me->node = sim_node_add(f->w, &o);
    if (me->node == NULL)
        abort();
    f->nodes[f->n_nodes++] = me;
    sim_at(f->w, at_ns, folk_come, me);
}

/* The contacts have keys: from now on everybody knows them. */
static void open_all(void *arg)
{
    struct folk *f = arg;
    for (uint32_t i = 0; i < f->o.contacts; i++) {
        const struct folk_node *me = f->nodes[i];
        if (me->identity == NULL)
            abort(); /* not on disk after a second: the world is wrong */
        memcpy(f->contacts[i].id, me->identity->id, sizeof f->contacts[i].id);
        memcpy(f->contacts[i].link_key, me->identity->link.pub, sizeof f->contacts[i].link_key);
        f->contacts[i].addr = me->addr;
    }
    f->n_contacts = f->o.contacts;
    f->is_open = true;
    for (uint32_t i = 0; i < f->o.contacts; i++)
        if (f->o.opens_by_event)
            sim_node_enter(f->nodes[i]->node, start, f->nodes[i]);
        else
            start(f->nodes[i]);
}

void folk_init(struct folk *f, const struct folk_options *o, struct sim_world *w)
{
    *f = (struct folk){ .w = w, .o = *o };
    f->nodes = calloc(o->nodes_max, sizeof(struct folk_node *));
    f->contacts = calloc(o->contacts, sizeof *f->contacts);
    if (f->nodes == NULL || f->contacts == NULL || w == NULL)
        abort();
}

void folk_open_later(struct folk *f)
{
    sim_at(f->w, SIM_MS(FOLK_OPEN_MS), open_all, f);
}

void folk_fini(struct folk *f, void (*free_node)(struct folk_node *me))
{
    sim_destroy(f->w);
    for (uint32_t i = 0; i < f->n_nodes; i++)
        free_node(f->nodes[i]);
    free(f->nodes);
    free(f->contacts);
}

/* ---- looking at it ---- */

void folk_pass(struct folk *f, struct sim_run *r, uint64_t until_ns)
{
    while (sim_now(f->w) < until_ns) {
        struct sim_stats st;
        uint64_t next = sim_now(f->w) + SIM_S(1);
        sim_run_until(f->w, next < until_ns ? next : until_ns);
        sim_stats(f->w, &st);
        run_progress(r, "virtual second %u, %u datagrams", (unsigned)(sim_now(f->w) / SIM_S(1)),
                     (unsigned)st.sent);
    }
}

void folk_check(const struct folk *f, struct sim_run *r)
{
    run_check(r, f->n.failures == 0, "%u nodes failed to start, the first: %s",
              (unsigned)f->n.failures, f->n.failure);
}

void folk_sum_metric(void *arg, const struct metric *m)
{
    struct folk_sum *s = arg;
    if (strcmp(m->name, s->name) == 0 &&
        (s->value == NULL ||
         (m->value_of_label != NULL && strcmp(m->value_of_label, s->value) == 0)))
        s->total += m->value;
}
