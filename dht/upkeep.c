/* dht/upkeep.c - staying in the network: joining, knowing the neighbours, handing records on.
 *
 *   joining      until a lookup of our own id was answered: again every second
 *   neighbours   our own id again every DHT_NEIGHBOURS_S: finds new ones, notices dead ones
 *   refresh      buckets nobody looked into for DHT_REFRESH_S, the widest first, one a tick; at the
 *                start all of them
 *   handing on   a new neighbour gets what it is one of the 16 nearest to, from the node nearest to
 *                it; after neighbours went, the nearest node sends what it holds to the 16 nearest
 *   replication  what nobody stored here again for DHT_REPLICATE_S goes to the 16 nearest */
#include "dht/dht_internal.h"

enum {
    NEAREST_OF = 2, /* a record is handed on by the so many nearest to it that we know of */
};

static bool is_neighbour(const struct dht *d, const uint8_t id[static DHT_ID])
{
    return dht_table_nearer(d->table, d->self, id, DHT_K) < DHT_K;
}

/* ---- handing on ------------------------------------------------------------------------------ */

struct handing {
    struct dht *d;
    const struct dht_contact *to;
    unsigned n_looked, n;
};

/* To the newcomer, if it is one of the 16 nearest and nobody nearer than us will do it. Whether we
 * are near comes first: of most records we aren't, and a store holds many. */
static bool hand_over(void *arg, const struct dht_held *h)
{
    struct handing *g = arg;
    struct dht *d = g->d;
    uint8_t record[MESH_RECORD_MAX];
    if (++g->n_looked > DHT__SWEEP)
        return false;
    if (!dht__is_near(d, h->place, NEAREST_OF + 1) || /* the newcomer itself may be nearer */
        dht_table_nearer(d->table, h->place, g->to->to.id, DHT_K) >= DHT_K)
        return true;
    size_t len = dht_store_get(d->store, h, record);
    if (len == 0)
        return true;
    d->n.handovers++;
    dht__send(d, &g->to->to, record, len);
    return ++g->n < DHT_HANDOVERS;
}

void dht__upkeep_met(struct dht *d, const struct dht_contact *c)
{
    struct handing g = { .d = d, .to = c };
    if (d->store == NULL || !d->is_joined || !is_neighbour(d, c->to.id))
        return;
    dht_store_each(d->store, hand_over, &g);
}

void dht__upkeep_lost(struct dht *d, const uint8_t id[static DHT_ID])
{
    if (is_neighbour(d, id))
        d->is_neighbourhood_new = true;
}

static void send_to_nearest(struct dht *d, const struct dht_held *h)
{
    struct dht_near near;
    uint8_t record[MESH_RECORD_MAX];
    size_t len = dht_store_get(d->store, h, record);
    if (len == 0)
        return; /* on its way to the disk */
    d->n.replicated++;
    dht_table_nearest(d->table, h->place, DHT_K, &near);
    for (size_t i = 0; i < dht_near_len(&near); i++) {
        const struct dht_contact *c = dht_near_at(&near, i)->what;
        dht__send(d, &c->to, record, len);
    }
    dht_store_refreshed(d->store, h);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

/* Each store waits a little longer or shorter, so that one of the sixteen does it for all. */
static uint64_t replicate_after(const struct dht *d, const struct dht_held *h)
{
    uint64_t spread = (uint64_t)(d->self[0] ^ h->place[31]) * DHT_REPLICATE_S / 1024;
    return ENV_S(DHT_REPLICATE_S + spread);
}

/* Neighbours went since it was last sent to all: the nearest one does it. */
static bool was_bereft(const struct dht *d, const struct dht_held *h)
{
    return h->refreshed_ns < d->neighbours_new_ns && dht__is_near(d, h->place, 1);
}

static void sweep_one(void *arg, const struct dht_held *h)
{
    struct dht *d = arg;
    bool is_due = dht__now(d) - h->refreshed_ns >= replicate_after(d, h) || was_bereft(d, h);
    /* With half of the queue in use the rest waits for the next round: what finds no room there is
     * lost, and must not count as sent. */
    if (d->is_joined && is_due && d->n_sends_waiting <= DHT__SENDS_WAITING / 2)
        send_to_nearest(d, h);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void self_looked(void *arg, int code, const struct dht_found *f)
{
    struct dht *d = arg;
    d->is_joining = false;
    if (code != 0 || f->answered == 0)
        return;
    d->is_joined = true;
    d->self_looked_ns = dht__now(d);
    if (d->is_neighbourhood_new)
        d->neighbours_new_ns = dht__now(d); /* the sweep passes on what we hold */
    d->is_neighbourhood_new = false;
}

static void look_self(struct dht *d)
{
    if (d->is_joining)
        return;
    d->is_joining =
        dht__find(d, d->self, 0, DHT_FIND_NODES, &dht_lookup_self, self_looked, d, NULL) == 0;
}

static void refreshed(void *arg, int code, const struct dht_found *f)
{
    struct dht *d = arg;
    (void)code;
    (void)f;
    d->n_refreshing--;
}

/* A random id that shares exactly `bucket` leading bits with ours. */
static void random_id(struct dht *d, unsigned bucket, uint8_t out[static DHT_ID])
{
    env_random(d->env, out, DHT_ID);
    for (unsigned i = 0; i <= bucket; i++) {
        uint8_t bit = (uint8_t)(0x80u >> (i % 8));
        uint8_t ours = d->self[i / 8] & bit;
        bool is_set = (ours != 0) != (i == bucket);
        out[i / 8] = (uint8_t)((out[i / 8] & ~bit) | (is_set ? bit : 0));
    }
}

static void refresh(struct dht *d)
{
    uint8_t key[DHT_ID];
    uint64_t now = dht__now(d);
    uint64_t age = ENV_S(DHT_REFRESH_S);
    int bucket = dht_table_unlooked(d->table, now > age ? now - age : 1);
    if (bucket < 0 || d->n_refreshing > 0)
        return;
    random_id(d, (unsigned)bucket, key);
    dht_table_looked(d->table, key, now);
    if (dht__find(d, key, 0, DHT_FIND_NODES, &dht_lookup_light, refreshed, d, NULL) == 0)
        d->n_refreshing++;
}

/* ---- the tick -------------------------------------------------------------------------------- */

static void tick(struct env_timer *t, void *arg)
{
    struct dht *d = arg;
    uint64_t now = dht__now(d);
    uint64_t next = d->is_joined ? DHT__TICK_MS : DHT__JOIN_MS;
    env_timer_in(d->env, t, ENV_MS(next + env_random_below(d->env, next / 4)));
    if (!d->is_joined || now - d->self_looked_ns >= ENV_S(DHT_NEIGHBOURS_S))
        look_self(d);
    else
        refresh(d);
    if (d->store != NULL)
        dht_store_sweep(d->store, mesh_time(d->mesh), DHT__SWEEP, sweep_one, d);
    dht__publish_tick(d);
}

void dht__upkeep_start(struct dht *d)
{
    env_timer_init(&d->tick, tick, d);
    env_timer_in(d->env, &d->tick, ENV_MS(DHT__JOIN_MS / 2));
}

void dht__upkeep_stop(struct dht *d)
{
    env_timer_stop(d->env, &d->tick);
}
