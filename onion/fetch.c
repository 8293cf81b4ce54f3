/* onion/fetch.c - one lookup after the other: our own period first, then the neighbour that our
 * clock is nearer to. */
#include "onion/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/map.h"
#include "base/secret.h"
#include "onion/blind.h"

enum { PERIODS = 2 };

/* What is remembered of an address. */
struct kept {
    uint8_t address[32];
    struct onion_descriptor d[PERIODS]; /* newest verified of two periods; period 0: none */
    bool is_doubted;
};

struct onion_fetch {
    struct onion_asks *asks;
    struct mesh *mesh;
    struct env *env;
    struct map *kept; /* address -> struct kept */
    struct map *keys; /* address -> client secret, 32 bytes, locked */
    struct list under_way;
};

struct onion_fetching {
    struct list node;
    struct onion_fetch *f;
    uint8_t address[32];
    struct onion_purpose why;
    uint64_t periods[PERIODS];
    unsigned at; /* of periods */
    enum onion_fetch_how how;
    int worst; /* what the lookups so far say */
    uint64_t begun_ns;
    struct onion_ask *ask;
    struct env_timer now; /* a remembered one, from the loop */
    onion_fetched_fn done;
    void *arg;
};

/* ---- remembering ------------------------------------------------------------------------------
 */

static void kept_free(struct kept *k)
{
    for (unsigned i = 0; i < PERIODS; i++)
        onion_descriptor_wipe(&k->d[i]);
    free(k);
}

static struct kept *kept_get(struct onion_fetch *f, const uint8_t address[static 32])
{
    struct kept *k = map_get(f->kept, address);
    if (k != NULL)
        return k;
    if (map_len(f->kept) == ONION_FETCH_KEPT) {
        struct kept *old = map_oldest(f->kept, NULL);
        map_del(f->kept, old->address);
        kept_free(old);
    }
    k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    memcpy(k->address, address, sizeof k->address);
    if (map_put(f->kept, k->address, k) == 0)
        return k;
    free(k);
    return NULL;
}

/* The newest that lives, our own period first. */
static const struct onion_descriptor *kept_best(const struct kept *k, uint64_t now)
{
    uint64_t periods[PERIODS];
    onion_periods(now, periods);
    for (unsigned p = 0; p < PERIODS; p++)
        for (unsigned i = 0; i < PERIODS; i++)
            if (k->d[i].expiry > now && k->d[i].period == periods[p])
                return &k->d[i];
    return NULL;
}

static struct onion_descriptor *slot_for(struct kept *k, const struct onion_descriptor *d)
{
    for (unsigned i = 0; i < PERIODS; i++)
        if (k->d[i].period == d->period)
            return &k->d[i];
    return k->d[0].period < k->d[1].period ? &k->d[0] : &k->d[1];
}

static void remember(struct onion_fetch *f, const uint8_t address[static 32],
                     const struct onion_descriptor *d)
{
    struct kept *k = kept_get(f, address);
    if (k == NULL)
        return;
    *slot_for(k, d) = *d;
    k->is_doubted = false;
    /* In use: to the end of the line. */
    map_del(f->kept, k->address);
    if (map_put(f->kept, k->address, k) != 0)
        kept_free(k);
}

int onion_fetch_client_key(struct onion_fetch *f, const uint8_t address[static 32],
                           const uint8_t secret[static 32])
{
    uint8_t *key = map_get(f->keys, address);
    int code = 0;
    if (key == NULL) {
        key = secret_alloc(32);
        code = key != NULL ? map_put(f->keys, address, key) : CYX_ENOMEM;
    }
    if (code == 0)
        memcpy(key, secret, 32);
    else
        secret_free(key);
    return code;
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void fetching_free(struct onion_fetching *g)
{
    env_timer_stop(g->f->env, &g->now);
    onion_ask_cancel(g->ask);
    list_del(&g->node);
    free(g);
}

void onion_fetch_doubt(struct onion_fetch *f, const uint8_t address[static 32])
{
    struct kept *k = map_get(f->kept, address);
    if (k != NULL)
        k->is_doubted = true;
}

void onion_fetch_cancel(struct onion_fetching *g)
{
    if (g != NULL)
        fetching_free(g);
}

static void finish(struct onion_fetching *g, int code, const struct onion_descriptor *d)
{
    cleanup_descriptor struct onion_descriptor copy = { .period = 0 };
    uint64_t ns = env_now_ns(g->f->env) - g->begun_ns;
    onion_fetched_fn done = g->done;
    void *arg = g->arg;
    if (d != NULL)
        copy = *d;
    fetching_free(g);
    done(arg, code, d != NULL ? &copy : NULL, ns);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

static void look(struct onion_fetching *g);

static int code_of(enum drop drop)
{
    return drop == DROP_UNKNOWN ? CYX_EPERM : CYX_ECORRUPT;
}

static void reading_of(const struct onion_fetching *g, struct onion_reading *out)
{
    const struct kept *k = map_get(g->f->kept, g->address);
    *out = (struct onion_reading){ .address = g->address,
                                   .client_secret = map_get(g->f->keys, g->address) };
    if (k == NULL)
        return;
    for (unsigned i = 0; i < PERIODS; i++) {
        if (k->d[i].period != g->periods[g->at] || k->d[i].period == 0)
            continue;
        out->has_last = true;
        memcpy(out->last_blinded, k->d[i].blinded, sizeof out->last_blinded);
        out->last_serial = k->d[i].serial;
        out->last_sequence = k->d[i].sequence;
    }
}

/* Nothing was found. Whoever hides news doesn't hide the service from those who know it. (One that
 * is for others now was found.) */
static void finish_with_kept(struct onion_fetching *g)
{
    const struct kept *k = g->worst != CYX_EPERM ? map_get(g->f->kept, g->address) : NULL;
    const struct onion_descriptor *d = k != NULL ? kept_best(k, mesh_time(g->f->mesh)) : NULL;
    finish(g, d != NULL ? 0 : g->worst, d);
}

/* A bad answer is worth less than the next period's: only if nothing better comes is it what is
 * told. */
static void try_next(struct onion_fetching *g, int code)
{
    if (g->at == 0 || code == CYX_EPERM || (code == CYX_ECORRUPT && g->worst != CYX_EPERM))
        g->worst = code;
    if (++g->at < PERIODS)
        look(g);
    else
        finish_with_kept(g);
}

static void found(void *arg, int code, const struct onion_answer_found *a)
{
    struct onion_fetching *g = arg;
    cleanup_descriptor struct onion_descriptor d = { .period = 0 };
    struct onion_reading how;
    g->ask = NULL;
    if (code != 0 || a->n == 0) {
        try_next(g, code != 0 ? code : CYX_ENOENT);
        return;
    }
    reading_of(g, &how);
    enum drop drop =
        onion_descriptor_open(&d, &how, mesh_network_of(g->f->mesh), mesh_time(g->f->mesh),
                              a->values[0].data, a->values[0].len);
    if (drop == DROP_STALE) { /* an old one while we know a newer: that one still holds */
        const struct kept *k = map_get(g->f->kept, g->address);
        const struct onion_descriptor *best =
            k != NULL ? kept_best(k, mesh_time(g->f->mesh)) : NULL;
        if (best != NULL) {
            finish(g, 0, best);
            return;
        }
    }
    if (drop != DROP_NONE) {
        try_next(g, code_of(drop));
        return;
    }
    remember(g->f, g->address, &d);
    finish(g, 0, &d);
}

static void look(struct onion_fetching *g)
{
    const struct mesh_network *net = mesh_network_of(g->f->mesh);
    uint8_t blinded[32], places[DHT_REPLICAS][DHT_ID];
    uint64_t period = g->periods[g->at];
    if (onion_blind_public(blinded, g->address, net, period) != 0) {
        finish(g, CYX_ECORRUPT, NULL);
        return;
    }
    for (uint8_t i = 0; i < DHT_REPLICAS; i++)
        dht_descriptor_place(places[i], net, blinded, period, i);
    g->ask = onion_ask_find(g->f->asks, &g->why, places, DHT_REPLICAS, MESH_RECORD_DESCRIPTOR,
                            found, g, NULL);
    if (g->ask == NULL)
        finish(g, CYX_ENOMEM, NULL);
    else if (g->how == ONION_FETCH_FRESH)
        onion_ask_thoroughly(g->ask);
}

static void begin(struct env_timer *t, void *arg)
{
    struct onion_fetching *g = arg;
    const struct kept *k = map_get(g->f->kept, g->address);
    const struct onion_descriptor *d = k != NULL ? kept_best(k, mesh_time(g->f->mesh)) : NULL;
    (void)t;
    if (k != NULL && k->is_doubted)
        g->how = ONION_FETCH_FRESH;
    if (d != NULL && g->how == ONION_FETCH_ANY) {
        g->begun_ns = env_now_ns(g->f->env);
        finish(g, 0, d);
        return;
    }
    look(g);
}

struct onion_fetching *onion_fetch_start(struct onion_fetch *f, const uint8_t address[static 32],
                                         const struct onion_purpose *why, enum onion_fetch_how how,
                                         onion_fetched_fn done, void *arg)
{
    struct onion_fetching *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->f = f;
    memcpy(g->address, address, sizeof g->address);
    g->why = *why;
    g->done = done;
    g->arg = arg;
    g->begun_ns = env_now_ns(f->env);
    g->how = how;
    g->worst = CYX_ENOENT;
    onion_periods(mesh_time(f->mesh), g->periods);
    list_init(&g->node);
    list_push_back(&f->under_way, &g->node);
    env_timer_init(&g->now, begin, g);
    env_timer_in(f->env, &g->now, 0);
    return g;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct onion_fetch *onion_fetch_create(struct onion_asks *asks, struct mesh *mesh)
{
    struct onion_fetch *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->asks = asks;
    f->mesh = mesh;
    f->env = mesh_env(mesh);
    f->kept = map_create(32, ONION_FETCH_KEPT);
    f->keys = map_create(32, ONION_FETCH_KEYS);
    list_init(&f->under_way);
    if (f->kept != NULL && f->keys != NULL)
        return f;
    map_destroy(f->kept);
    map_destroy(f->keys);
    free(f);
    return NULL;
}

void onion_fetch_destroy(struct onion_fetch *f)
{
    const void *key;
    struct kept *k;
    uint8_t *secret;
    if (f == NULL)
        return;
    while (!list_empty(&f->under_way))
        fetching_free(container_of(f->under_way.next, struct onion_fetching, node));
    while ((k = map_oldest(f->kept, &key)) != NULL) {
        map_del(f->kept, k->address);
        kept_free(k);
    }
    while ((secret = map_oldest(f->keys, &key)) != NULL) {
        (void)map_del(f->keys, key);
        secret_free(secret);
    }
    map_destroy(f->keys);
    map_destroy(f->kept);
    free(f);
}
