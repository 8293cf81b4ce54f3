#include "tests/sim/scenarios/siege.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"
#include "onion/service_internal.h"

enum { TICK_MS = 5, NOISE = 1200 };

/* ---- whom to aim at ---- */

static struct maze_node *relay_of(const struct maze *m, const uint8_t id[static 32])
{
    for (uint32_t i = 0; i < m->o.relays; i++)
        if (memcmp(maze_at(m, i)->base.card.id, id, 32) == 0)
            return maze_at(m, i);
    return NULL;
}

static void take_aim(struct siege *s)
{
    const struct onion_service *of = s->trade->hosts[0].s;
    for (unsigned k = 0; k < SERVICE__PERIODS; k++) {
        const struct service_period *p = &of->periods[k];
        for (unsigned i = 0; p->published_s != 0 && i < ONION_PIVOTS_MAX; i++) {
            struct maze_node *at =
                p->pivots[i].p != NULL ? relay_of(s->trade->maze, p->pivots[i].id) : NULL;
            if (at == NULL || s->n_targets == SIEGE_PIVOTS)
                continue;
            s->targets[s->n_targets].at = at;
            memcpy(s->targets[s->n_targets++].token, p->pivots[i].token, 32);
        }
        if (s->n_targets > 0)
            return; /* one descriptor's are enough */
    }
}

/* ---- an attacker ---- */

static struct mesh_link *link_to(struct maze_node *me, const struct maze_node *to)
{
    struct cyx_err err = { 0 };
    struct mesh_contact c = { .addr = to->base.addr };
    if (to->base.identity == NULL || me->base.mesh == NULL || to == me)
        return NULL;
    memcpy(c.id, to->base.identity->id, sizeof c.id);
    memcpy(c.link_key, to->base.identity->link.pub, sizeof c.link_key);
    struct mesh_link *l = mesh_dial(me->base.mesh, &c, &err);
    return l != NULL && l->state == MESH_LINK_UP ? l : NULL;
}

/* A fresh train, valid to the last bit; its reply will be nobody's. */
static bool assault(struct maze_node *me, const struct siege_target *t)
{
    uint8_t train[ONION_TRAIN], noise[NOISE];
    struct mesh_link *l = link_to(me, t->at);
    struct env *env = sim_node_env(me->base.node);
    struct onion_build b = { .n_hops = 1, .stamp = mesh_time(me->base.mesh), .early = noise };
    uint32_t path = l != NULL ? mesh_path_id(l) : 0;
    if (path == 0)
        return false;
    env_random(env, noise, sizeof noise);
    noise[0] = 0xc0; /* so that it looks like a long header */
    memcpy(b.hops[0].id, t->at->base.identity->id, 32);
    memcpy(b.hops[0].onion_key, t->at->base.identity->onion[0].pub, 32);
    b.last.command = ONION_BUILD_SPLICE;
    b.last.early_len = NOISE;
    memcpy(b.last.target, t->token, 32);
    struct onion_train *own =
        onion_train_create(&b, mesh_network_of(me->base.mesh), env, train, NULL);
    bool was_sent = own != NULL && mesh_train_send(l, path, false, train, sizeof train) == 0;
    onion_train_destroy(own);
    return was_sent;
}

struct wave {
    struct siege *siege;
    struct maze_node *me;
    uint32_t n;
};

static void wave_in(void *arg)
{
    struct wave *w = arg;
    struct siege *s = w->siege;
    for (; w->n > 0 && w->me->base.mesh != NULL; w->n--) {
        bool was_sent = assault(w->me, &s->targets[s->next++ % s->n_targets]);
        s->sent += was_sent;
        s->unsent += !was_sent;
    }
    free(w);
}

static void wave_begin(struct siege *s, uint32_t i, uint32_t n)
{
    struct maze *m = s->trade->maze;
    struct wave *w = calloc(1, sizeof *w);
    if (w == NULL)
        abort();
    *w = (struct wave){ .siege = s, .me = maze_at(m, m->o.relays - 1 - i), .n = n };
    sim_node_enter(w->me->base.node, wave_in, w);
}

static void tick(void *arg)
{
    struct siege *s = arg;
    struct sim_world *w = s->trade->maze->w;
    s->owed += s->per_second * TICK_MS;
    for (uint32_t i = 0; i < s->attackers; i++) {
        uint32_t n = (uint32_t)(s->owed / 1000 / (s->attackers - i));
        s->owed -= (uint64_t)n * 1000;
        if (n > 0)
            wave_begin(s, i, n);
    }
    sim_at(w, sim_now(w) + SIM_MS(TICK_MS), tick, s);
}

static void approach(void *arg)
{
    struct wave *w = arg;
    for (size_t i = 0; i < w->siege->n_targets; i++)
        (void)link_to(w->me, w->siege->targets[i].at);
    free(w);
}

/* ---- life ---- */

struct siege *siege_create(struct trade *t, uint32_t attackers)
{
    struct siege *s = calloc(1, sizeof *s);
    struct maze *m = t->maze;
    if (s == NULL)
        abort();
    s->trade = t;
    s->attackers = attackers;
    take_aim(s);
    for (uint32_t i = 0; i < attackers; i++) {
        struct wave *w = calloc(1, sizeof *w);
        if (w == NULL)
            abort();
        *w = (struct wave){ .siege = s, .me = maze_at(m, m->o.relays - 1 - i) };
        sim_node_enter(w->me->base.node, approach, w);
    }
    sim_at(m->w, sim_now(m->w), tick, s);
    return s;
}

void siege_set(struct siege *s, uint64_t per_second)
{
    s->per_second = per_second;
    s->owed = 0;
}

void siege_destroy(struct siege *s)
{
    free(s);
}

/* ---- figures ---- */

void siege_effort(struct siege *s, uint32_t *least, uint32_t *most)
{
    *least = UINT32_MAX;
    *most = 0;
    for (size_t i = 0; i < s->n_targets; i++) {
        const struct maze_node *at = s->targets[i].at;
        uint32_t effort =
            at->base.is_started ? siege__effort_at(at->onion->relay, s->targets[i].token) : 0;
        *least = effort < *least ? effort : *least;
        *most = effort > *most ? effort : *most;
    }
}

void siege_weigh(const struct siege *s, struct siege_load *out)
{
    const struct onion_service *of = s->trade->hosts[0].s;
    struct onion_conns_info info;
    onion_conns_info(of->conns, &info);
    *out = (struct siege_load){ .connections = info.n,
                                .splices = map_len(of->by_number),
                                .held = info.n_held,
                                .buffered = of->o->buffers.rx.used + of->o->buffers.tx.used };
}
