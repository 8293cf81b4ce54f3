#include "tests/sim/scenarios/maze.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAZE_PORT = 4100,
    COME_MS = 5000, /* a newcomer takes an empty place within this */
    WINDOW_S = 3,   /* all join within it, */
    JOINS_A_S = 40, /* ... many at this rate */
    SETTLE_S = 120, /* all can build paths within this */
    LINKS_TARGET = 3,
    SKEW_MS = 10000,
};

/* ---- one node's life ---- */

static struct maze_node *of(struct folk_node *me)
{
    return container_of(me, struct maze_node, base);
}

struct maze *maze_of(const struct maze_node *me)
{
    return container_of(me->base.folk, struct maze, folk);
}

static struct env_addr address(uint32_t i)
{
    /* From 20.0.0.0 up, a /16 for each. */
    return env_addr_v4((uint8_t)(20 + (i >> 8)), (uint8_t)i, 1, 1, MAZE_PORT);
}

static void fill_config(const struct maze_node *me, struct mesh_config *c)
{
    *c = folk_config(&me->base);
    c->is_listed = me->is_relay;
    c->roles = me->is_relay ? MESH_ROLE_RELAY_PATHS : 0;
    c->links_target = LINKS_TARGET;
    if (!me->is_relay)
        return;
    c->advertise[0] = me->base.addr;
    c->n_advertise = 1;
}

static int start_onion(struct maze_node *me, struct cyx_err *err)
{
    const struct dht_config d = { .is_serving = me->is_relay };
    const struct onion_config o = { .is_relay = me->is_relay };
    me->dht = dht_create(me->base.mesh, &d, err);
    if (me->dht == NULL || dht_start(me->dht, err) < 0)
        return err->code;
    me->onion = onion_create(me->base.mesh, me->dht, &o, err);
    return me->onion != NULL ? onion_start(me->onion, err) : err->code;
}

static int start(struct folk_node *base, struct cyx_err *err)
{
    struct mesh_config config;
    fill_config(of(base), &config);
    base->mesh = mesh_create(sim_node_env(base->node), &config, err);
    if (base->mesh == NULL || mesh_start(base->mesh, err) < 0)
        return err->code;
    return start_onion(of(base), err);
}

static void started(struct folk_node *base)
{
    const struct maze_hooks *hooks = &maze_of(of(base))->o.hooks;
    if (hooks->started != NULL)
        hooks->started(hooks->arg, of(base));
}

static void drop(struct folk_node *base)
{
    struct maze_node *me = of(base);
    const struct maze_hooks *hooks = &maze_of(me)->o.hooks;
    if (base->is_started && hooks->dropped != NULL)
        hooks->dropped(hooks->arg, me);
    onion_destroy(me->onion);
    dht_destroy(me->dht);
    mesh_destroy(base->mesh);
    me->onion = NULL;
    me->dht = NULL;
}

static void onion_stopped(void *arg)
{
    struct maze_node *me = arg;
    dht_stop(me->dht);
    mesh_stop(me->base.mesh, folk_stopped, &me->base);
}

static void stop(struct folk_node *base)
{
    onion_stop(of(base)->onion, onion_stopped, of(base));
}

static const struct folk_ops ops = {
    .address = address, .start = start, .started = started, .drop = drop, .stop = stop
};

/* ---- coming and going ---- */

void maze_cut(struct maze_node *me, uint64_t off_ns)
{
    struct sim_world *w = me->base.folk->w;
    sim_node_crash(me->base.node);
    sim_at(w, sim_now(w) + off_ns, folk_come, &me->base);
}

void maze_kill(struct maze_node *me, uint64_t off_ns)
{
    struct sim_world *w = me->base.folk->w;
    sim_node_kill(me->base.node);
    sim_at(w, sim_now(w) + off_ns, folk_come, &me->base);
}

void maze_churn(struct maze *m, uint64_t half_life_ns)
{
    struct folk *f = &m->folk;
    folk_churn(f, m->o.relays, half_life_ns);
    sim_at(f->w, sim_now(f->w) + f->churn_every_ns, folk_churn_tick, f);
}

void maze_calm(struct maze *m)
{
    m->folk.churn_every_ns = 0;
}

/* ---- building it ---- */

struct maze_node *maze_at(const struct maze *m, uint32_t i)
{
    return container_of(m->folk.nodes[i], struct maze_node, base);
}

static void add(struct maze *m, uint64_t at_ns)
{
    struct maze_node *me = calloc(1, sizeof *me);
    if (me == NULL)
        abort();
    me->is_relay = m->folk.n_nodes < m->o.relays;
    folk_add(&m->folk, &me->base, NULL, NULL, at_ns);
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
    const struct folk_options f = { .ops = &ops,
                                    .cards = o->cards,
                                    .contacts = o->contacts,
                                    .nodes_max = n,
                                    .come_ms = COME_MS,
                                    .skew_ms = SKEW_MS };
    if (m == NULL)
        abort();
    m->o = *o;
    m->w = sim_create(&so);
    folk_init(&m->folk, &f, m->w);
    for (uint32_t i = 0; i < n; i++)
        add(m, i < o->contacts ? 0 : SIM_MS(FOLK_OPEN_MS) + sim_random_below(m->w, o->window_ns));
    folk_open_later(&m->folk);
    return m;
}

static void free_node(struct folk_node *me)
{
    free(of(me));
}

void maze_destroy(struct maze *m)
{
    folk_fini(&m->folk, free_node);
    free(m);
}

struct maze_node *maze_user(const struct maze *m, uint32_t i)
{
    return maze_at(m, m->o.relays + i);
}

/* ---- time and figures ---- */

static uint32_t count_ready(const struct maze *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->folk.n_nodes; i++) {
        struct onion_summary s = { 0 };
        if (maze_at(m, i)->base.is_started)
            onion_get_status(maze_at(m, i)->onion, &s);
        n += s.is_ready;
    }
    return n;
}

void maze_settle(struct maze *m, struct sim_run *r)
{
    uint64_t end = SIM_MS(FOLK_OPEN_MS) + m->o.window_ns + SIM_S(SETTLE_S);
    maze_pass(m, r, SIM_MS(FOLK_OPEN_MS) + m->o.window_ns);
    while (count_ready(m) < m->folk.n_nodes && sim_now(m->w) < end)
        maze_pass(m, r, SIM_MS(100));
    run_check(r, count_ready(m) == m->folk.n_nodes, "%u of %u nodes can build paths after %u s",
              count_ready(m), m->folk.n_nodes, (unsigned)(sim_now(m->w) / SIM_S(1)));
}

void maze_pass(struct maze *m, struct sim_run *r, uint64_t ns)
{
    folk_pass(&m->folk, r, sim_now(m->w) + ns);
}

void maze_check(const struct maze *m, struct sim_run *r)
{
    folk_check(&m->folk, r);
}

uint64_t maze_metric(const struct maze *m, enum maze_who who, const char *name,
                     const char *value_of_label)
{
    struct folk_sum s = { .name = name, .value = value_of_label };
    for (uint32_t i = 0; i < m->folk.n_nodes; i++) {
        const struct maze_node *me = maze_at(m, i);
        if (me->base.is_started && (who & (me->is_relay ? MAZE_RELAYS : MAZE_USERS)) != 0)
            onion_metrics(me->onion, folk_sum_metric, &s);
    }
    return s.total;
}
