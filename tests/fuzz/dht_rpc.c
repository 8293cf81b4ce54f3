/* Sequences of events for a node with a DHT and two peers that obey no rule: their requests (FIND,
 * STORE) carry any items, and so do their answers to its lookups and publications, at any time, in
 * any order, or never; lookups and publications begin and are cancelled, the DHT stops, starts and
 * goes away, in the middle of its own callbacks too; the disk fills up, power fails, time passes.
 * Whatever comes, every account must be right, and nothing leak. The world is the same at every
 * input, so a crash replays by itself. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/dht_internal.h"
#include "tests/fuzz/lib/nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { NODES = 3, OPS_MAX = 120, HELD = 64, FINDS = 16, RECORDS = 64, KEYS = 5 };

struct record {
    uint8_t data[DHT_DESCRIPTOR_MAX];
    size_t len;
};

static struct fuzz_node nodes[NODES];
static struct mesh_network net;
static struct sim_world *world;
static struct record pool[RECORDS];
static size_t n_pool;
static uint8_t places[RECORDS][DHT_ID];
static size_t n_places;

static struct dht *dht; /* of the first node */
static struct dht_find *finds[FINDS];
static uint8_t mood; /* what the next callback of the DHT does */
static bool is_on_the_stack;

/* ---- the pool of records --------------------------------------------------------------------- */

struct key {
    uint8_t pk[32], sk[64], puzzle[MESH_POW_PROOF];
};

static void make_key(struct key *k, uint8_t seed, enum mesh_pow_purpose purpose)
{
    const uint8_t nonce[16] = { 0 };
    const uint8_t seed32[32] = { seed, 1 };
    struct mesh_pow_subject s = { .purpose = purpose };
    crypto_sign_seed_keypair(k->pk, k->sk, seed32);
    memcpy(s.x, k->pk, sizeof s.x);
    fuzz_must(mesh_pow_solve(&s, 1, nonce, NULL, k->puzzle, NULL) == 0);
}

static uint8_t *next_record(void)
{
    fuzz_must(n_pool < RECORDS);
    return pool[n_pool].data;
}

static void keep_record(int len, uint64_t now)
{
    struct dht_value v;
    fuzz_must(len > 0);
    pool[n_pool].len = (size_t)len;
    fuzz_must(dht_value_parse(&v, &net, now, pool[n_pool].data, (size_t)len) == DROP_NONE);
    memcpy(places[n_places++], v.places[0], DHT_ID);
    n_pool++;
}

static void make_nodes(const struct key *k, uint64_t now)
{
    for (uint8_t i = 0; i < KEYS * 3; i++) {
        struct mesh_node n = { .sequence = 5u + i % 3,
                               .expiry = now + 7200,
                               .addrs = { { .kind = 4,
                                            .ip = env_addr_v4(10, 0, 0, 2 + i % 4, 4100) } },
                               .n_addrs = 1,
                               .version = { 1, 1, 0, 0 } };
        memcpy(n.identity, k[i % KEYS].pk, sizeof n.identity);
        memcpy(n.puzzle, k[i % KEYS].puzzle, sizeof n.puzzle);
        n.link_key[0] = 9;
        keep_record(mesh_node_record_build(&n, &net, k[i % KEYS].sk, next_record()), now);
    }
}

static void make_providers(const struct key *k, uint64_t now)
{
    for (uint8_t i = 0; i < KEYS * 2; i++) {
        struct dht_provider p = { .size = 1, .sequence = 1u + i / KEYS, .expiry = now + 7200 };
        p.content[0] = i % 2;
        memcpy(p.address, k->pk, sizeof p.address);
        memcpy(p.puzzle, k[i % KEYS].puzzle, sizeof p.puzzle);
        keep_record(dht_provider_build(&p, &net, k[i % KEYS].sk, next_record()), now);
    }
}

static void make_offers(const struct key *k, uint64_t now)
{
    static const uint8_t map[] = { 0x81, 1, 0xa2, 'h', 'i' };
    for (uint8_t i = 0; i < KEYS; i++) {
        struct dht_offer o = {
            .map = map, .map_len = sizeof map, .sequence = 3, .expiry = now + 7200
        };
        memcpy(o.puzzle, k[i].puzzle, sizeof o.puzzle);
        keep_record(dht_offer_build(&o, &net, k[i].sk, next_record()), now);
    }
}

static void make_descriptors(uint64_t now)
{
    static const size_t sizes[] = { 2048, 4096, 8192 };
    static uint8_t inner[DHT_DESCRIPTOR_MAX];
    struct key blinded;
    uint8_t text[DHT_DELEGATION_TEXT];
    make_key(&blinded, 99, MESH_POW_DESCRIPTOR);
    for (uint8_t i = 0; i < 6; i++) {
        struct dht_descriptor d = { .period = dht_period(now),
                                    .serial = 1u + i / 3,
                                    .inner = inner,
                                    .inner_len = sizes[i % 3] - DHT_DESCRIPTOR_OUTER + 16,
                                    .sequence = 24 * 60 * 256 + i % 2 };
        memcpy(d.blinded, blinded.pk, sizeof d.blinded);
        memcpy(d.d, blinded.pk, sizeof d.d);
        memcpy(d.proof, blinded.puzzle, sizeof d.proof);
        dht_delegation_text(text, &net, d.period, d.serial, d.d);
        crypto_sign_detached(d.delegation, NULL, text, sizeof text, blinded.sk);
        keep_record(dht_descriptor_build(&d, &net, blinded.sk, next_record()), now);
    }
}

static void make_pool(uint64_t now)
{
    struct key k[KEYS];
    for (uint8_t i = 0; i < KEYS; i++)
        make_key(&k[i], i, MESH_POW_ID);
    make_nodes(k, now);
    make_providers(k, now);
    make_offers(k, now);
    make_descriptors(now);
}

/* ---- items ----------------------------------------------------------------------------------- */

static uint8_t *pick(struct reader *in, struct record *copy)
{
    uint8_t what = reader_u8(in);
    *copy = pool[what % n_pool];
    if (what >= 192) { /* changed in one place */
        uint16_t at = reader_u16(in);
        copy->data[at % copy->len] ^= (uint8_t)(1u << (what & 7));
    }
    return copy->data;
}

/* A few MessagePack values: records as they are, changed or cut, and other things. */
static unsigned pack_items(struct reader *in, struct writer *w)
{
    static struct record r;
    msgpack_packer pk;
    unsigned n = reader_u8(in) % 24;
    mp_packer(&pk, w);
    for (unsigned i = 0; i < n; i++) {
        uint8_t kind = reader_u8(in) % 8;
        if (kind == 0)
            msgpack_pack_uint32(&pk, reader_u8(in));
        else if (kind == 1)
            msgpack_pack_nil(&pk);
        else if (kind == 2)
            mp_pack_bin(&pk, pick(in, &r), r.len / (1u + reader_u8(in) % 7));
        else
            mp_pack_bin(&pk, pick(in, &r), r.len);
        if (!writer_ok(w))
            return 0;
    }
    return n;
}

static struct mesh_items any_items(struct reader *in)
{
    static uint8_t buf[60000];
    struct writer w = writer_on(buf, sizeof buf);
    unsigned n = pack_items(in, &w);
    return (struct mesh_items){ .data = buf, .len = n > 0 ? writer_len(&w) : 0, .n = n };
}

/* ---- the peers ------------------------------------------------------------------------------- */

static void serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct fuzz_node *me = arg;
    (void)items;
    (void)n;
    if (me->n_held == HELD)
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
    else
        me->held[me->n_held++] = rq;
}

static void reply_one(struct fuzz_node *me, struct reader *in)
{
    uint8_t status = reader_u8(in) % 9;
    struct mesh_items items = any_items(in);
    mesh_reply(me->held[--me->n_held], (enum mesh_rpc_status)status, &items);
}

static struct mesh_link *link_to_dht(struct fuzz_node *me)
{
    return mesh_link_by_id(me->mesh, nodes[0].identity->id);
}

static void ask(struct fuzz_node *me, unsigned method, const struct mesh_items *items)
{
    struct mesh_link *l = link_to_dht(me);
    if (l == NULL)
        (void)mesh_dial(me->mesh, &nodes[0].contact, NULL);
    else if (mesh_call(l, method, items, 0, fuzz_ignore, NULL, NULL) != 0)
        return;
}

/* A well-formed STORE of a record, or FIND near one. */
static void ask_well(struct fuzz_node *me, struct reader *in)
{
    static struct record r;
    uint8_t buf[DHT_DESCRIPTOR_MAX + 64];
    uint8_t what = reader_u8(in);
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    mp_packer(&pk, &w);
    if (what & 1) {
        mp_pack_bin(&pk, pick(in, &r), r.len);
        ask(me, MESH_METHOD_STORE, &(struct mesh_items){ buf, writer_len(&w), 1 });
        return;
    }
    mp_pack_bin(&pk, places[reader_u8(in) % n_places], DHT_ID);
    msgpack_pack_uint32(&pk, what >> 1 & 7);
    msgpack_pack_uint32(&pk, what >> 4);
    ask(me, MESH_METHOD_FIND, &(struct mesh_items){ buf, writer_len(&w), 3 });
}

static void peer_turn(struct fuzz_node *me, struct reader *in)
{
    uint8_t what = reader_u8(in);
    struct mesh_items items;
    switch (what % 6) {
    case 0:
        items = any_items(in);
        ask(me, what & 0x80 ? MESH_METHOD_STORE : MESH_METHOD_FIND, &items);
        break;
    case 1:
        ask_well(me, in);
        break;
    case 2: /* several at once: hits the limits */
        for (unsigned i = 0; i < what >> 3; i++)
            ask_well(me, in);
        break;
    case 3:
        if (link_to_dht(me) != NULL)
            mesh_link_close(link_to_dht(me), MESH_BYE_LEAVING);
        break;
    default:
        for (unsigned i = 0; i <= what >> 5 && me->n_held > 0; i++)
            reply_one(me, in);
        break;
    }
}

/* ---- the node with the DHT ------------------------------------------------------------------- */

static void destroy_dht(void)
{
    struct dht *d = dht;
    dht = NULL;
    memset(finds, 0, sizeof finds);
    dht_destroy(d);
}

static void begin_find(uint8_t what, unsigned at);

/* In the middle of a callback, once for each event of the input. */
static void act(int code)
{
    uint8_t what = mood;
    mood = 0;
    if (dht == NULL || is_on_the_stack)
        return;
    switch (what % 8) {
    case 1:
        is_on_the_stack = true;
        dht_stop(dht);
        is_on_the_stack = false;
        break;
    case 2:
        if (code != CYX_ECANCELED)
            destroy_dht();
        break;
    case 3:
        begin_find(what, what >> 4);
        break;
    case 4:
        if (finds[what >> 4] != NULL)
            dht_find_cancel(finds[what >> 4]);
        finds[what >> 4] = NULL;
        break;
    case 5:
        (void)!dht_put(dht, pool[what % n_pool].data, pool[what % n_pool].len, NULL, NULL, NULL);
        break;
    default:
        break;
    }
}

static void found(void *arg, int code, const struct dht_found *f)
{
    struct dht_find **at = arg;
    *at = NULL;
    for (size_t i = 0; i < f->n_values; i++)
        fuzz_must(dht_value_verify(&f->values[i], &net, mesh_time(nodes[0].mesh)) == DROP_NONE);
    act(code);
}

static void begin_find(uint8_t what, unsigned at)
{
    static const unsigned flags[] = { 0, DHT_FIND_FIRST, DHT_FIND_FRESH, DHT_FIND_NODES };
    at %= FINDS;
    if (finds[at] == NULL && dht_find(dht, places[what % n_places], 1 + what % 4, flags[what >> 6],
                                      found, &finds[at], &finds[at]) != 0)
        finds[at] = NULL;
}

static void stored(void *arg, int code, const struct dht_stored *s)
{
    (void)arg;
    fuzz_must(s->stored + s->stale + s->refused <= s->asked || code != 0);
    act(code);
}

static void create_dht(void)
{
    dht = dht_create(nodes[0].mesh,
                     &(struct dht_config){ .is_serving = true, .store_bytes = 64 << 10 }, NULL);
    fuzz_must(dht != NULL);
    (void)!dht_start(dht, NULL);
}

static void dht_turn(struct reader *in)
{
    uint8_t what = reader_u8(in);
    uint8_t more = reader_u8(in);
    const struct record *r = &pool[more % n_pool];
    if (dht == NULL) {
        create_dht();
        return;
    }
    switch (what % 8) {
    case 0:
    case 1:
        begin_find(more, what >> 4);
        break;
    case 2:
        if (finds[what >> 4] != NULL)
            dht_find_cancel(finds[what >> 4]);
        finds[what >> 4] = NULL;
        break;
    case 3:
        (void)!dht_put(dht, r->data, r->len, stored, NULL, NULL);
        break;
    case 4:
        (void)!dht_publish(dht, r->data, r->len, stored, NULL, NULL);
        break;
    case 5:
        mood = more;
        break;
    case 6:
        if (dht->is_started)
            dht_stop(dht);
        else
            (void)!dht_start(dht, NULL);
        break;
    case 7:
        if (more >= 0xc0)
            destroy_dht();
        else /* many at once: hits the limits */
            for (unsigned i = 0; i < more; i++)
                (void)!dht_find(dht, places[i % n_places], 1 + i % 4, 0, NULL, NULL, NULL);
        break;
    }
}

/* ---- the world ------------------------------------------------------------------------------- */

static void boot(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    me->mesh = mesh_create(sim_node_env(s), &me->config, NULL);
    fuzz_must(me->mesh != NULL && mesh_start(me->mesh, NULL) == 0);
    if (me->number == 0) {
        create_dht();
        return;
    }
    fuzz_must(mesh_serve(me->mesh, MESH_METHOD_FIND, serve, me) == 0);
    fuzz_must(mesh_serve(me->mesh, MESH_METHOD_STORE, serve, me) == 0);
}

static void drop(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    (void)s;
    mood = 0;
    if (me->number == 0)
        destroy_dht();
    mesh_destroy(me->mesh);
    me->mesh = NULL;
    fuzz_node_let_go(me, MESH_RPC_BUSY);
}

static void prepare(void)
{
    make_pool(fuzz_nodes_make(nodes, NODES, &net));
    for (unsigned i = 0; i < NODES; i++) {
        struct fuzz_node *me = &nodes[i];
        me->config.advertise[me->config.n_advertise++] = me->contact.addr;
        memcpy(places[n_places++], me->identity->id, DHT_ID);
    }
    for (unsigned i = 1; i < NODES; i++) {
        nodes[i].config.bootstrap = &nodes[0].contact;
        nodes[i].config.n_bootstrap = 1;
    }
}

static void begin(void)
{
    world = fuzz_nodes_begin(nodes, NODES, 5000, boot, drop);
    mood = 0;
    sim_run_until(world, sim_now(world) + SIM_MS(200));
}

struct turn {
    struct fuzz_node *me;
    struct reader *in;
};

static void enter(void *arg)
{
    struct turn *t = arg;
    if (t->me->mesh == NULL)
        return;
    if (t->me->number == 0)
        dht_turn(t->in);
    else
        peer_turn(t->me, t->in);
}

static void step(struct reader *in)
{
    uint8_t op = reader_u8(in);
    struct turn t = { .me = &nodes[(op >> 3) % NODES], .in = in };
    switch (op & 7) {
    case 0:
        sim_run_until(world, sim_now(world) + SIM_MS(4) * (1 + (op >> 3)));
        break;
    case 1:
        sim_run_until(world, sim_now(world) + SIM_MS(250) * (1 + (op >> 3)));
        break;
    case 2:
        if (op >= 0xe0)
            fuzz_node_power(t.me);
        else
            sim_node_set_disk(nodes[0].sim, op & 0x80 ? SIM_DISK_FULL : SIM_DISK_OK);
        break;
    default:
        sim_node_enter(t.me->sim, enter, &t);
        sim_run_until(world, sim_now(world) + SIM_MS(6) * (op >> 6));
        break;
    }
    fuzz_must(dht == NULL || dht__check(dht));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    if (nodes[0].identity == NULL)
        prepare();
    begin();
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++)
        step(&in);
    sim_run_until(world, sim_now(world) + SIM_MS(100));
    fuzz_must(dht == NULL || dht__check(dht));
    sim_destroy(world);
    world = NULL;
    return 0;
}
