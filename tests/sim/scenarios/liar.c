#include "tests/sim/scenarios/liar.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "mesh/record.h"

enum {
    ANSWER_NODES = 16,
    FORGED = 8,         /* of the nodes in a fake answer */
    FAKES_MAX = 256,    /* ids nobody lives under */
    FAKES_TURN = 4,     /* an endless answer begins so many fakes further than the last one */
    FLOOD_MS = 500,     /* one junk record each */
    FLOOD_RECORDS = 50, /* of one liar */
    FLOOD_COPIES = 16,  /* ... sent to so many nodes nearest to its place */
    FLOOD_TRIES = 4096, /* hashes for a place near the victim's */
    ANSWER_ROOM = (ANSWER_NODES + 1) * (MESH_NODE_RECORD_MAX + 8),
};

/* A node record, ready to be told. */
struct told {
    uint8_t id[DHT_ID];
    uint8_t record[MESH_NODE_RECORD_MAX];
    size_t len;
};

/* The first version of somebody's record. */
struct old {
    uint8_t place[DHT_ID];
    uint8_t record[DHT_PROVIDER_MAX];
    size_t len;
};

struct liar {
    struct gang *gang;
    struct city_node *me;
    enum liar_kind kind;
    struct card pseudonym; /* of its junk */
    uint64_t n_junk;
    uint32_t next_fake;
    struct env_timer timer;
};

struct gang {
    struct city *city;
    struct shelf *shelf;
    struct liar *liars;
    struct told *members; /* as many, in the same order */
    uint32_t n_liars;
    struct told *fakes;
    uint32_t n_fakes;
    struct old *olds;
    uint32_t n_olds;
    struct gang_counters n;
};

const char *liar_name(enum liar_kind kind)
{
    static const char *const names[LIAR_KINDS_] = {
        [LIAR_FAKE] = "fake",   [LIAR_WITHHOLD] = "withhold", [LIAR_STALE] = "stale",
        [LIAR_FLOOD] = "flood", [LIAR_ENDLESS] = "endless",   [LIAR_MIXTURE] = "mixture",
    };
    return names[kind];
}

/* ---- what is nearest ---- */

struct nearest {
    const uint8_t *key;
    const void *at[ANSWER_NODES];
    const uint8_t *id[ANSWER_NODES];
    size_t n, most;
};

static void consider(struct nearest *q, const uint8_t *id, const void *what)
{
    size_t i = q->n;
    while (i > 0 && dht_id_is_nearer(q->key, id, q->id[i - 1]))
        i--;
    if (i == q->most)
        return;
    if (q->n < q->most)
        q->n++;
    memmove(&q->at[i + 1], &q->at[i], (q->n - i - 1) * sizeof q->at[0]);
    memmove(&q->id[i + 1], &q->id[i], (q->n - i - 1) * sizeof q->id[0]);
    q->at[i] = what;
    q->id[i] = id;
}

/* ---- answers ----
 * FIND: [status, records found..., node records...]; STORE: [status]. */

struct answer {
    uint8_t bytes[ANSWER_ROOM];
    struct writer w;
    msgpack_packer pk;
    const struct told *nodes[ANSWER_NODES];
    bool is_forged[ANSWER_NODES];
    size_t n_nodes;
    const struct old *found;
};

static void add_node(struct answer *a, const struct told *t, bool is_forged)
{
    if (a->n_nodes == ANSWER_NODES)
        return;
    a->is_forged[a->n_nodes] = is_forged;
    a->nodes[a->n_nodes++] = t;
}

static void add_members(struct answer *a, const struct gang *g, const uint8_t *key, size_t most)
{
    struct nearest q = { .key = key, .most = most };
    for (uint32_t i = 0; i < g->n_liars; i++)
        consider(&q, g->members[i].id, &g->members[i]);
    for (size_t i = 0; i < q.n; i++)
        add_node(a, q.at[i], false);
}

static void add_forged(struct answer *a, const struct gang *g, const uint8_t *key)
{
    struct nearest q = { .key = key, .most = FORGED };
    for (uint32_t i = 0; i < g->n_fakes; i++)
        consider(&q, g->fakes[i].id, &g->fakes[i]);
    for (size_t i = 0; i < q.n; i++)
        add_node(a, q.at[i], true);
}

/* The nearest of another part of the fakes each time: there is always somebody new to ask. */
static void add_endless(struct answer *a, struct liar *l, const uint8_t *key)
{
    const struct gang *g = l->gang;
    struct nearest q = { .key = key, .most = ANSWER_NODES - 2 };
    for (uint32_t i = 0; i < g->n_fakes / 2; i++) {
        const struct told *t = &g->fakes[(l->next_fake + i) % g->n_fakes];
        consider(&q, t->id, t);
    }
    l->next_fake = (l->next_fake + FAKES_TURN) % g->n_fakes;
    for (size_t i = 0; i < q.n; i++)
        add_node(a, q.at[i], false);
    add_members(a, g, key, 2);
}

static void add_old(struct answer *a, const struct gang *g, const uint8_t *key)
{
    for (uint32_t i = 0; i < g->n_olds; i++)
        if (memcmp(g->olds[i].place, key, DHT_ID) == 0)
            a->found = &g->olds[i];
}

static void fill(struct answer *a, struct liar *l, const uint8_t *key)
{
    switch (l->kind) {
    case LIAR_FAKE:
        add_forged(a, l->gang, key);
        add_members(a, l->gang, key, ANSWER_NODES - FORGED);
        break;
    case LIAR_STALE:
        add_old(a, l->gang, key);
        add_members(a, l->gang, key, ANSWER_NODES);
        break;
    case LIAR_ENDLESS:
        add_endless(a, l, key);
        break;
    case LIAR_WITHHOLD:
    case LIAR_FLOOD:
    case LIAR_MIXTURE:
    case LIAR_KINDS_:
        add_members(a, l->gang, key, ANSWER_NODES);
        break;
    }
}

static void pack_node(struct answer *a, size_t i)
{
    const struct told *t = a->nodes[i];
    uint8_t forged[MESH_NODE_RECORD_MAX];
    memcpy(forged, t->record, t->len);
    if (a->is_forged[i])
        forged[t->len - 1] ^= 1; /* its signature's last byte */
    mp_pack_bin(&a->pk, forged, t->len);
}

static void tell(struct answer *a, struct mesh_request *rq)
{
    unsigned n = (unsigned)a->n_nodes + (a->found != NULL ? 1 : 0);
    a->w = writer_on(a->bytes, sizeof a->bytes);
    mp_packer(&a->pk, &a->w);
    if (a->found != NULL)
        mp_pack_bin(&a->pk, a->found->record, a->found->len);
    for (size_t i = 0; i < a->n_nodes; i++)
        pack_node(a, i);
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = a->bytes, .len = writer_len(&a->w), .n = n });
}

static void serve_find(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct liar *l = arg;
    const uint8_t *key;
    struct answer a = { .found = NULL };
    if (n < 1 || !mp_bin(&items[0], DHT_ID, &key)) {
        mesh_reply(rq, MESH_RPC_BAD, NULL);
        return;
    }
    l->gang->n.finds++;
    fill(&a, l, key);
    tell(&a, rq);
}

/* Takes everything, keeps nothing. */
static void serve_store(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct liar *l = arg;
    (void)items;
    (void)n;
    l->gang->n.stores++;
    mesh_reply(rq, MESH_RPC_OK, NULL);
}

/* ---- the flood ---- */

static void stored(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct gang *g = arg;
    (void)items;
    (void)n;
    g->n.junk_taken += code == 0 && status == MESH_RPC_OK;
}

/* Some content whose place is nearer to the victim's than honest ones are likely to be. */
static void find_content(const struct liar *l, const uint8_t *victim, uint8_t content[static 32],
                         uint8_t place[static DHT_ID])
{
    uint64_t of[2] = { l->me->base.number, l->n_junk };
    uint8_t next[32], at[DHT_ID];
    crypto_h(content, "sim junk", &BYTES(of, sizeof of), 1);
    dht_provider_place(place, content);
    memcpy(next, content, sizeof next);
    for (unsigned i = 0; i < FLOOD_TRIES; i++) {
        crypto_h(next, "sim junk", &BYTES(next, sizeof next), 1);
        dht_provider_place(at, next);
        if (!dht_id_is_nearer(victim, at, place))
            continue;
        memcpy(content, next, 32);
        memcpy(place, at, DHT_ID);
        if (dht_id_shared(victim, place) >= 8)
            return;
    }
}

static void store_at(struct liar *l, const struct city_node *to, const uint8_t *record, size_t len)
{
    uint8_t bytes[DHT_PROVIDER_MAX + 8];
    struct writer w = writer_on(bytes, sizeof bytes);
    msgpack_packer pk;
    struct mesh_contact c = { .addr = to->base.addr };
    memcpy(c.id, to->base.card.id, sizeof c.id);
    memcpy(c.link_key, to->base.identity->link.pub, sizeof c.link_key);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, record, len);
    struct mesh_items items = { .data = bytes, .len = writer_len(&w), .n = 1 };
    if (mesh_ask(l->me->base.mesh, &c, MESH_METHOD_STORE, &items, 0, stored, l->gang, NULL) == 0)
        l->gang->n.junk++;
}

static void flood(struct liar *l)
{
    const struct shelf *s = l->gang->shelf;
    const struct city *c = l->gang->city;
    uint8_t content[32], place[DHT_ID], record[DHT_PROVIDER_MAX];
    const uint8_t *victim = s->records[(l->me->base.number + l->n_junk) % s->n_records].place;
    find_content(l, victim, content, place);
    size_t len = shelf_build(&c->o.cards->network, &l->pseudonym, content, 1,
                             mesh_time(l->me->base.mesh), record);
    struct nearest q = { .key = place, .most = FLOOD_COPIES };
    for (uint32_t i = 0; i < c->folk.n_nodes; i++)
        if (city_at(c, i)->base.is_started && !city_at(c, i)->is_liar)
            consider(&q, city_at(c, i)->base.card.id, city_at(c, i));
    for (size_t i = 0; i < q.n; i++)
        store_at(l, q.at[i], record, len);
    l->n_junk++;
}

static void flood_timer(struct env_timer *t, void *arg)
{
    struct liar *l = arg;
    flood(l);
    if (l->n_junk < FLOOD_RECORDS)
        env_timer_in(sim_node_env(l->me->base.node), t, ENV_MS(FLOOD_MS));
}

/* ---- the gang ---- */

static void begin(void *arg)
{
    struct liar *l = arg;
    struct env *e = sim_node_env(l->me->base.node);
    if (!l->me->base.is_started)
        return;
    if (l->kind == LIAR_FLOOD) {
        env_timer_init(&l->timer, flood_timer, l);
        env_timer_in(e, &l->timer, env_random_below(e, ENV_MS(FLOOD_MS)));
        return;
    }
    if (mesh_serve(l->me->base.mesh, MESH_METHOD_FIND, serve_find, l) < 0 ||
        mesh_serve(l->me->base.mesh, MESH_METHOD_STORE, serve_store, l) < 0)
        abort();
}

/* Somebody else's id, at the address of a member. */
static void make_fake(struct gang *g, uint32_t number, uint64_t now)
{
    struct told *t = &g->fakes[number];
    struct card card = cards_get(g->city->o.cards, CARD_FAKE, number);
    const struct city_node *host = g->liars[number % g->n_liars].me;
    struct mesh_node n = { .sequence = now, .n_addrs = 1 };
    uint8_t sk[64];
    n.expiry = now + MESH_NODE_RECORD_LIFE_S / 2;
    memcpy(n.identity, card.sign_pk, sizeof n.identity);
    memcpy(n.link_key, host->base.identity->link.pub, sizeof n.link_key);
    memcpy(n.onion_key, host->base.identity->onion[0].pub, sizeof n.onion_key);
    memcpy(n.puzzle, card.puzzle, sizeof n.puzzle);
    memcpy(n.version, (uint8_t[4]){ MESH_MAJOR, MESH_MAJOR, 0, 0 }, sizeof n.version);
    n.addrs[0].ip = host->base.addr;
    card_secret(&card, sk);
    memcpy(t->id, card.id, sizeof t->id);
    int len = mesh_node_record_build(&n, &g->city->o.cards->network, sk, t->record);
    if (len <= 0)
        abort();
    t->len = (size_t)len;
}

static void make_fakes(struct gang *g, uint64_t now)
{
    g->n_fakes = 2 * g->city->folk.n_nodes < FAKES_MAX ? 2 * g->city->folk.n_nodes : FAKES_MAX;
    g->fakes = calloc(g->n_fakes, sizeof *g->fakes);
    if (g->fakes == NULL)
        abort();
    for (uint32_t i = 0; i < g->n_fakes; i++)
        make_fake(g, i, now);
}

static void make_olds(struct gang *g, uint64_t now)
{
    g->n_olds = g->shelf->n_records;
    g->olds = calloc(g->n_olds, sizeof *g->olds);
    if (g->olds == NULL)
        abort();
    for (uint32_t i = 0; i < g->n_olds; i++) {
        const struct shelf_record *rec = &g->shelf->records[i];
        memcpy(g->olds[i].place, rec->place, DHT_ID);
        g->olds[i].len = shelf_build(&g->city->o.cards->network, &rec->pseudonym, rec->content, 1,
                                     now, g->olds[i].record);
    }
}

static void recruit(struct gang *g, struct city_node *me)
{
    struct liar *l = &g->liars[g->n_liars];
    struct told *t = &g->members[g->n_liars];
    if (me->base.mesh == NULL || (t->len = mesh_own_record(me->base.mesh, t->record)) == 0)
        return;
    memcpy(t->id, me->base.card.id, sizeof t->id);
    *l = (struct liar){ .gang = g, .me = me };
    l->pseudonym = cards_get(g->city->o.cards, CARD_JUNK, g->n_liars);
    g->n_liars++;
}

struct gang *gang_create(struct city *city, struct shelf *shelf)
{
    struct gang *g = calloc(1, sizeof *g);
    if (g == NULL || (g->liars = calloc(city->folk.n_nodes, sizeof *g->liars)) == NULL ||
        (g->members = calloc(city->folk.n_nodes, sizeof *g->members)) == NULL)
        abort();
    g->city = city;
    g->shelf = shelf;
    for (uint32_t i = 0; i < city->folk.n_nodes; i++)
        if (city_at(city, i)->is_liar)
            recruit(g, city_at(city, i));
    return g;
}

static uint64_t now_s(const struct gang *g)
{
    return g->n_liars > 0 ? mesh_time(g->liars[0].me->base.mesh) : 0;
}

void gang_turn(struct gang *g, enum liar_kind kind)
{
    if (g->n_liars == 0)
        return;
    if (kind == LIAR_FAKE || kind == LIAR_ENDLESS || kind == LIAR_MIXTURE)
        make_fakes(g, now_s(g));
    if (kind == LIAR_STALE || kind == LIAR_MIXTURE)
        make_olds(g, now_s(g));
    for (uint32_t i = 0; i < g->n_liars; i++) {
        struct liar *l = &g->liars[i];
        l->kind = kind == LIAR_MIXTURE ? (enum liar_kind)(i % LIAR_MIXTURE) : kind;
        sim_node_enter(l->me->base.node, begin, l);
    }
}

struct gang_counters gang_counted(const struct gang *g)
{
    return g->n;
}

void gang_destroy(struct gang *g)
{
    free(g->liars);
    free(g->members);
    free(g->fakes);
    free(g->olds);
    free(g);
}
