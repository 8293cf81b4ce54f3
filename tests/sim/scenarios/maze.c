#include "tests/sim/scenarios/maze.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAZE_PORT = 4100,
    OPEN_MS = 1000, /* contacts have their keys on disk by then */
    COME_MS = 5000, /* a newcomer takes an empty place within this */
    WINDOW_S = 3,   /* all join within it, */
    JOINS_A_S = 40, /* ... many at this rate */
    SETTLE_S = 120, /* all can build paths within this */
    LINKS_TARGET = 3,
    HALF_LIFE_PPM = 693, /* ln 2, in thousandths */
};

/* ---- one node's life ---- */

static void failed(struct maze *m, const char *what, const struct cyx_err *err)
{
    if (m->n.failures++ == 0)
        snprintf(m->n.failure, sizeof m->n.failure, "%s: %.150s", what, err->msg);
}

static void fill_config(const struct maze_node *me, struct mesh_config *c)
{
    const struct maze *m = me->maze;
    *c = (struct mesh_config){
        .network = m->o.cards->network,
        .identity = me->identity,
        .is_listed = me->is_relay,
        .rotate_link_key = !me->is_contact,
        .listen.port = MAZE_PORT,
        .bootstrap = m->contacts,
        .n_bootstrap = m->n_contacts,
        .roles = me->is_relay ? MESH_ROLE_RELAY_PATHS : 0,
        .links_target = LINKS_TARGET,
        .no_gcm = true, /* the same bytes on every machine that replays */
    };
    if (!me->is_relay)
        return;
    c->advertise[0] = me->addr;
    c->n_advertise = 1;
}

static int start_onion(struct maze_node *me, struct cyx_err *err)
{
    const struct dht_config d = { .is_serving = me->is_relay };
    const struct onion_config o = { .is_relay = me->is_relay };
    me->dht = dht_create(me->mesh, &d, err);
    if (me->dht == NULL || dht_start(me->dht, err) < 0)
        return err->code;
    me->onion = onion_create(me->mesh, me->dht, &o, err);
    return me->onion != NULL ? onion_start(me->onion, err) : err->code;
}

static void start(struct maze_node *me)
{
    const struct maze_hooks *hooks = &me->maze->o.hooks;
    struct cyx_err err = { 0 };
    struct mesh_config config;
    if (me->mesh != NULL || me->identity == NULL)
        return;
    fill_config(me, &config);
    me->mesh = mesh_create(sim_node_env(me->node), &config, &err);
    if (me->mesh == NULL || mesh_start(me->mesh, &err) < 0 || start_onion(me, &err) < 0) {
        failed(me->maze, "start", &err);
        return;
    }
    me->is_started = true;
    if (hooks->started != NULL)
        hooks->started(hooks->arg, me);
}

static void identity_stored(void *arg, int code)
{
    struct maze_node *me = arg;
    if (code == 0 && me->identity != NULL && (!me->is_contact || me->maze->is_open))
        start(me);
}

static void store_identity(struct maze_node *me)
{
    struct env *e = sim_node_env(me->node);
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    int len = mesh_identity_encode(me->identity, e, blob);
    if (len > 0)
        env_blob_store(e, MESH_IDENTITY_FILE, blob, (size_t)len, identity_stored, me);
    sodium_memzero(blob, sizeof blob);
}

/* From the disk of an earlier boot, else from the card. */
static void find_identity(struct maze_node *me)
{
    struct env *e = sim_node_env(me->node);
    struct cyx_err err = { 0 };
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len = 0;
    bool is_new = env_blob_load(e, MESH_IDENTITY_FILE, blob, sizeof blob, &len, NULL) < 0;
    if (is_new)
        me->identity = card_identity(&me->card, &me->maze->o.cards->network, e, &err);
    else
        me->identity = mesh_identity_decode(blob, len, NULL, &err);
    sodium_memzero(blob, sizeof blob);
    if (me->identity == NULL)
        failed(me->maze, "identity", &err);
    else if (is_new)
        store_identity(me);
    else
        start(me);
}

static void boot(void *arg, struct sim_node *n)
{
    struct maze_node *me = arg;
    me->node = n;
    me->is_started = me->is_leaving = false;
    find_identity(me);
}

static void drop(void *arg, struct sim_node *n)
{
    struct maze_node *me = arg;
    const struct maze_hooks *hooks = &me->maze->o.hooks;
    (void)n;
    if (me->is_started && hooks->dropped != NULL)
        hooks->dropped(hooks->arg, me);
    onion_destroy(me->onion);
    dht_destroy(me->dht);
    mesh_destroy(me->mesh);
    mesh_identity_destroy(me->identity);
    me->onion = NULL;
    me->dht = NULL;
    me->mesh = NULL;
    me->identity = NULL;
    me->is_started = false;
}

/* ---- coming and going ---- */

static struct env_addr address_of(uint32_t i)
{
    /* From 20.0.0.0 up, a /16 for each. */
    return env_addr_v4((uint8_t)(20 + (i >> 8)), (uint8_t)i, 1, 1, MAZE_PORT);
}

static void come(void *arg)
{
    struct maze_node *me = arg;
    if (!sim_node_is_up(me->node))
        sim_node_boot(me->node);
}

void maze_cut(struct maze_node *me, uint64_t off_ns)
{
    sim_node_crash(me->node);
    sim_at(me->maze->w, sim_now(me->maze->w) + off_ns, come, me);
}

void maze_kill(struct maze_node *me, uint64_t off_ns)
{
    sim_node_kill(me->node);
    sim_at(me->maze->w, sim_now(me->maze->w) + off_ns, come, me);
}

/* A stranger in the same place: nothing of the last one is left. */
static void renew(void *arg)
{
    struct maze_node *me = arg;
    struct maze *m = me->maze;
    if (sim_node_is_up(me->node))
        return;
    me->life++;
    m->n.newcomers++;
    me->card = cards_get(m->o.cards, CARD_NODE, m->n_cards++);
    me->addr = address_of(m->n_addresses++);
    struct env_addr to = me->addr;
    to.port = 0;
    sim_node_wipe_disk(me->node);
    if (sim_node_move(me->node, &to, NULL) < 0)
        abort();
    sim_node_boot(me->node);
}

static void renew_later(struct maze_node *me)
{
    struct sim_world *w = me->maze->w;
    sim_at(w, sim_now(w) + sim_random_below(w, SIM_MS(COME_MS)), renew, me);
}

static void switch_off(void *arg)
{
    struct maze_node *me = arg;
    if (!sim_node_is_up(me->node) || !me->is_leaving)
        return;
    sim_node_shutdown(me->node);
    renew_later(me);
}

static void mesh_stopped(void *arg)
{
    struct maze_node *me = arg;
    sim_at(me->maze->w, sim_now(me->maze->w), switch_off, me);
}

static void onion_stopped(void *arg)
{
    struct maze_node *me = arg;
    dht_stop(me->dht);
    mesh_stop(me->mesh, mesh_stopped, me);
}

static void leave(void *arg)
{
    struct maze_node *me = arg;
    if (me->is_leaving || !me->is_started)
        return;
    me->is_leaving = true;
    onion_stop(me->onion, onion_stopped, me);
}

static void go(struct maze_node *me)
{
    struct maze *m = me->maze;
    if (me->is_contact || !me->is_started || me->is_leaving)
        return;
    if (sim_random_below(m->w, 2) == 0) {
        m->n.leaves++;
        sim_node_enter(me->node, leave, me);
    } else {
        m->n.crashes++;
        sim_node_crash(me->node);
        renew_later(me);
    }
}

static void churn_tick(void *arg)
{
    struct maze *m = arg;
    if (m->churn_every_ns == 0)
        return;
    go(m->nodes[sim_random_below(m->w, m->o.relays)]);
    sim_at(m->w, sim_now(m->w) + m->churn_every_ns, churn_tick, m);
}

/* Each tick takes one of n, so a relay outlives k ticks with (1 - 1/n)^k: half of them n ln 2. */
void maze_churn(struct maze *m, uint64_t half_life_ns)
{
    m->churn_every_ns = half_life_ns / m->o.relays * 1000 / HALF_LIFE_PPM;
    sim_at(m->w, sim_now(m->w) + m->churn_every_ns, churn_tick, m);
}

void maze_calm(struct maze *m)
{
    m->churn_every_ns = 0;
}

/* ---- building it ---- */

static void add(struct maze *m, uint64_t at_ns)
{
    struct maze_node *me = calloc(1, sizeof *me);
    struct sim_node_options o = { .boot = boot,
                                  .drop = drop,
                                  .arg = me,
                                  /* some seconds off, as machines without a time server are */
                                  .wall_skew_ms = (int64_t)sim_random_below(m->w, 10000) - 5000 };
    if (me == NULL)
        abort();
    me->maze = m;
    me->number = m->n_nodes;
    me->is_relay = m->n_nodes < m->o.relays;
    me->is_contact = m->n_nodes < m->o.contacts;
    me->card = cards_get(m->o.cards, CARD_NODE, m->n_cards++);
    me->addr = address_of(m->n_addresses++);
    o.address = me->addr;
    o.address.port = 0;
    me->node = sim_node_add(m->w, &o);
    if (me->node == NULL)
        abort();
    m->nodes[m->n_nodes++] = me;
    sim_at(m->w, at_ns, come, me);
}

/* The contacts have keys: from now on everybody knows them. */
static void open_maze(void *arg)
{
    struct maze *m = arg;
    for (uint32_t i = 0; i < m->o.contacts; i++) {
        const struct maze_node *me = m->nodes[i];
        if (me->identity == NULL)
            abort(); /* not on disk after a second: the world is wrong */
        memcpy(m->contacts[i].id, me->identity->id, sizeof m->contacts[i].id);
        memcpy(m->contacts[i].link_key, me->identity->link.pub, sizeof m->contacts[i].link_key);
        m->contacts[i].addr = me->addr;
    }
    m->n_contacts = m->o.contacts;
    m->is_open = true;
    for (uint32_t i = 0; i < m->o.contacts; i++)
        start(m->nodes[i]);
}

struct maze_options maze_options_of(const struct sim_run *r, struct cards *cards, uint32_t users)
{
    uint32_t relays = (uint32_t)run_arg(r, "nodes");
    uint32_t latency_us = (uint32_t)run_arg(r, "latency") * 1000;
    uint64_t window = (relays + users) / JOINS_A_S;
    if (run_arg(r, "lab") != 0 && mesh_network_init(&cards->network, "sim lab", 1, true, NULL) < 0)
        abort();
    return (struct maze_options){
        .seed = run_seed(r),
        .cards = cards,
        .relays = relays,
        .contacts = (uint32_t)run_arg(r, "contacts"),
        .users = users,
        .window_ns = SIM_S(window > WINDOW_S ? window : WINDOW_S),
        .link = { .latency_min_us = latency_us,
                  .latency_max_us = latency_us,
                  .loss_ppm = (uint32_t)run_arg(r, "loss") * 10000 },
    };
}

struct maze *maze_create(const struct maze_options *o)
{
    struct maze *m = calloc(1, sizeof *m);
    struct sim_options so = { .seed = o->seed, .link = o->link };
    uint32_t n = o->relays + o->users;
    if (m == NULL)
        abort();
    m->o = *o;
    m->nodes = calloc(n, sizeof(struct maze_node *));
    m->contacts = calloc(o->contacts, sizeof *m->contacts);
    m->w = sim_create(&so);
    if (m->nodes == NULL || m->contacts == NULL || m->w == NULL)
        abort();
    for (uint32_t i = 0; i < n; i++)
        add(m, i < o->contacts ? 0 : SIM_MS(OPEN_MS) + sim_random_below(m->w, o->window_ns));
    sim_at(m->w, SIM_MS(OPEN_MS), open_maze, m);
    return m;
}

void maze_destroy(struct maze *m)
{
    sim_destroy(m->w);
    for (uint32_t i = 0; i < m->n_nodes; i++)
        free(m->nodes[i]);
    free(m->nodes);
    free(m->contacts);
    free(m);
}

struct maze_node *maze_user(const struct maze *m, uint32_t i)
{
    return m->nodes[m->o.relays + i];
}

/* ---- time and figures ---- */

static uint32_t count_ready(const struct maze *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        struct onion_summary s = { 0 };
        if (m->nodes[i]->is_started)
            onion_get_status(m->nodes[i]->onion, &s);
        n += s.is_ready;
    }
    return n;
}

void maze_settle(struct maze *m, struct sim_run *r)
{
    uint64_t end = SIM_MS(OPEN_MS) + m->o.window_ns + SIM_S(SETTLE_S);
    maze_pass(m, r, SIM_MS(OPEN_MS) + m->o.window_ns);
    while (count_ready(m) < m->n_nodes && sim_now(m->w) < end)
        maze_pass(m, r, SIM_MS(100));
    run_check(r, count_ready(m) == m->n_nodes, "%u of %u nodes can build paths after %u s",
              count_ready(m), m->n_nodes, (unsigned)(sim_now(m->w) / SIM_S(1)));
}

void maze_pass(struct maze *m, struct sim_run *r, uint64_t ns)
{
    uint64_t until = sim_now(m->w) + ns;
    while (sim_now(m->w) < until) {
        struct sim_stats st;
        uint64_t next = sim_now(m->w) + SIM_S(1);
        sim_run_until(m->w, next < until ? next : until);
        sim_stats(m->w, &st);
        run_progress(r, "virtual second %u, %u datagrams", (unsigned)(sim_now(m->w) / SIM_S(1)),
                     (unsigned)st.sent);
    }
}

void maze_check(const struct maze *m, struct sim_run *r)
{
    run_check(r, m->n.failures == 0, "%u nodes failed to start, the first: %s",
              (unsigned)m->n.failures, m->n.failure);
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

uint64_t maze_metric(const struct maze *m, enum maze_who who, const char *name,
                     const char *value_of_label)
{
    struct sum s = { .name = name, .value = value_of_label };
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const struct maze_node *me = m->nodes[i];
        if (me->is_started && (who & (me->is_relay ? MAZE_RELAYS : MAZE_USERS)) != 0)
            onion_metrics(me->onion, sum_metric, &s);
    }
    return s.total;
}
