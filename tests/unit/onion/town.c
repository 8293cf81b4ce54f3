#include "town.h"

#include "onion/pivot_internal.h"

enum { READY_MS = 10000, STEP_MS = 1 };

static void started(struct few_node *n)
{
    struct town_node *me = n->above;
    struct cyx_err err = { 0 };
    const struct dht_config d = { .is_serving = !me->is_user };
    const struct onion_config o = { .is_relay = !me->is_user };
    me->dht = dht_create(n->mesh, &d, &err);
    cr_assert(me->dht != NULL && dht_start(me->dht, &err) == 0, "dht: %s", err.msg);
    me->onion = onion_create(n->mesh, me->dht, &o, &err);
    cr_assert(me->onion != NULL && onion_start(me->onion, &err) == 0, "onion: %s", err.msg);
}

static void dropping(struct few_node *n)
{
    struct town_node *me = n->above;
    onion_destroy(me->onion);
    dht_destroy(me->dht);
    me->onion = NULL;
    me->dht = NULL;
}

static void add(struct towns *t, bool is_user)
{
    struct few_node *f = few_add(&t->few, 0);
    struct town_node *me = &t->at[f->number];
    *me = (struct town_node){ .few = f, .is_user = is_user };
    f->above = me;
    f->started = started;
    f->dropping = dropping;
    f->config.is_listed = !is_user;
    f->config.roles = is_user ? 0 : MESH_ROLE_RELAY_PATHS;
    if (f->number > 0) {
        f->config.bootstrap = &t->few.node[0].contact;
        f->config.n_bootstrap = 1;
    }
    few_boot(f);
    few_run_ms(&t->few, 20);
}

static bool are_ready(void *arg)
{
    struct towns *t = arg;
    for (unsigned i = 0; i < t->few.n; i++) {
        struct onion_summary s;
        onion_get_status(t->at[i].onion, &s);
        if (!s.is_ready)
            return false;
    }
    return true;
}

static void fill(struct towns *t, unsigned relays, unsigned users)
{
    memset(t->seed, 7, sizeof t->seed);
    for (unsigned i = 0; i < relays + users; i++)
        add(t, i >= relays);
    cr_assert(towns_until(t, READY_MS, are_ready, t), "not ready");
}

void towns_init(struct towns *t, unsigned relays, unsigned users, uint64_t seed,
                const struct sim_link *link)
{
    memset(t, 0, sizeof *t);
    few_init(&t->few, seed, link);
    fill(t, relays, users);
}

void towns_init_at(struct towns *t, unsigned relays, unsigned users, uint64_t seed,
                   int64_t epoch_ms)
{
    memset(t, 0, sizeof *t);
    few_init_at(&t->few, seed, NULL, epoch_ms);
    fill(t, relays, users);
}

void towns_fini(struct towns *t)
{
    few_fini(&t->few);
}

void towns_run_ms(struct towns *t, uint64_t ms)
{
    few_run_ms(&t->few, ms);
}

bool towns_until(struct towns *t, uint64_t most_ms, bool (*done)(void *arg), void *arg)
{
    for (uint64_t ms = 0; ms < most_ms; ms += STEP_MS) {
        if (done(arg))
            return true;
        few_run_ms(&t->few, STEP_MS);
    }
    return done(arg);
}

const uint8_t *town_pivot_seed(struct onion_relay *relay, const uint8_t token[static 32],
                               unsigned which)
{
    const struct pivot_registration *g = map_get(relay->pivot->by_token, token);
    return g != NULL ? g->seed[which] : NULL;
}
