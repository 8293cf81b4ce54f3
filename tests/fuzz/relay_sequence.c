/* Sequences of events at one relay in a small world: a client that builds trains (whole or
 * changed), sends cells under the right keys or any bytes, destroys, and asks an END; a next hop
 * that answers by hand, or doesn't; links that go and come; time. After each event all accounts are
 * recomputed (relay__check). The world is the same at every input, so a crash replays by
 * itself. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/end_internal.h"
#include "onion/pivot_internal.h"
#include "tests/fuzz/lib/nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { CLIENT, RELAY, NEXT, NODES };
enum { OPS_MAX = 96, PATHS = 8, SECRETS = 4 };

/* One of the client's. */
struct path {
    struct onion_slot slot;
    struct onion_train *train;
    struct onion_built built;
    struct onion_layer forward[ONION_HOPS_MAX];
    uint64_t sent;
    bool has_reply;
};

static struct fuzz_node nodes[NODES];
static struct mesh_network net;
static struct sim_world *world;
static struct onion_relay *relay;
static struct onion_replay *replay;
static struct dht *dht;
static struct env_timer tick;
static struct path paths[PATHS];
static uint8_t last_train[ONION_TRAIN];
/* what came to the next hop */
static struct mesh_link *next_link;
static uint32_t next_path;
static uint8_t next_train[ONION_TRAIN];

/* ---- the client's paths ------------------------------------------------------------------------
 */

static struct path *path_of(struct onion_slot *s)
{
    return container_of(s, struct path, slot);
}

static void heard_cell(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    (void)s;
    (void)cell;
}

static void heard_reply(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    struct path *p = path_of(s);
    if (p->train == NULL || p->has_reply)
        return;
    p->has_reply = onion_train_reply(p->train, train, &p->built) == DROP_NONE;
    for (size_t i = 0; i < p->built.n_hops; i++)
        onion_layer_init(&p->forward[i], p->built.keys[i].forward);
}

static void heard_destroy(struct onion_slot *s)
{
    onion_switch_remove(nodes[CLIENT].above, s);
}

static void lost(struct onion_slot *s)
{
    (void)s;
}

static const struct onion_slot_ops ops = {
    .cell = heard_cell, .reply = heard_reply, .destroy = heard_destroy, .link_down = lost
};

static void path_reset(struct path *p)
{
    if (nodes[CLIENT].above != NULL)
        onion_switch_remove(nodes[CLIENT].above, &p->slot);
    onion_train_destroy(p->train);
    onion_built_wipe(&p->built);
    memset(p, 0, sizeof *p);
    p->slot.ops = &ops;
}

/* ---- the nodes' programs ------------------------------------------------------------------------
 */

static void on_tick(struct env_timer *t, void *arg)
{
    struct fuzz_node *me = arg;
    (void)!onion_replay_tick(replay, mesh_time(me->mesh));
    env_timer_in(mesh_env(me->mesh), t, ENV_S(ONION_REPLAY_TICK_S));
}

static void next_build(void *arg, struct mesh_link *l, uint32_t path,
                       const uint8_t train[static ONION_TRAIN])
{
    (void)arg;
    next_link = l;
    next_path = path;
    memcpy(next_train, train, ONION_TRAIN);
}

static const struct onion_strays next_strays = { .build = next_build };

static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    (void)arg;
    (void)why;
    if (l == next_link)
        next_link = NULL;
}

static struct mesh_watcher watcher = { .link_down = link_down };

static void start_relay(struct fuzz_node *me)
{
    struct env *env = mesh_env(me->mesh);
    replay = onion_replay_open(env,
                               &(struct onion_replay_start){ .identity = me->identity,
                                                             .keys_are_new = true,
                                                             .now = mesh_time(me->mesh) },
                               NULL);
    dht = dht_create(me->mesh, &(struct dht_config){ .is_serving = true }, NULL);
    fuzz_must(replay != NULL && dht != NULL && dht_start(dht, NULL) == 0);
    relay = onion_relay_create(
        &(struct onion_relay_config){
            .paths = me->above, .dht = dht, .replay = replay, .paths_max = 6 },
        NULL);
    fuzz_must(relay != NULL);
    env_timer_init(&tick, on_tick, me);
    env_timer_in(env, &tick, ENV_S(ONION_REPLAY_TICK_S));
}

static void boot(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    me->mesh = mesh_create(sim_node_env(s), &me->config, NULL);
    fuzz_must(me->mesh != NULL && mesh_start(me->mesh, NULL) == 0);
    me->above = onion_switch_create(me->mesh);
    fuzz_must(me->above != NULL);
    if (me == &nodes[RELAY])
        start_relay(me);
    if (me == &nodes[NEXT]) {
        onion_switch_set_strays(me->above, &next_strays, NULL);
        mesh_watch(me->mesh, &watcher);
    }
}

static void drop(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    (void)s;
    if (me == &nodes[RELAY]) {
        env_timer_stop(mesh_env(me->mesh), &tick);
        onion_relay_destroy(relay);
        onion_replay_close(replay);
        relay = NULL;
        replay = NULL;
    }
    if (me == &nodes[NEXT]) {
        next_link = NULL;
        mesh_unwatch(&watcher);
    }
    for (unsigned i = 0; me == &nodes[CLIENT] && i < PATHS; i++)
        path_reset(&paths[i]);
    onion_switch_destroy(me->above);
    me->above = NULL;
    if (me == &nodes[RELAY]) {
        dht_destroy(dht);
        dht = NULL;
    }
    mesh_destroy(me->mesh);
    me->mesh = NULL;
}

/* ---- once for the process
 * ------------------------------------------------------------------------ */

static void prepare(void)
{
    (void)fuzz_nodes_make(nodes, NODES, &net);
    for (unsigned i = 0; i < NODES; i++) {
        struct mesh_config *c = &nodes[i].config;
        c->is_listed = i != CLIENT;
        if (c->is_listed)
            c->advertise[c->n_advertise++] = nodes[i].contact.addr;
    }
}

struct dialling {
    unsigned from, to;
};

static void dial(void *arg)
{
    const struct dialling *d = arg;
    if (nodes[d->from].mesh != NULL)
        (void)mesh_dial(nodes[d->from].mesh, &nodes[d->to].contact, NULL);
}

static void enter(unsigned node, env_fn fn, void *arg)
{
    sim_node_enter(nodes[node].sim, fn, arg);
    sim_run_until(world, sim_now(world));
}

static void run_ms(uint64_t ms)
{
    sim_run_until(world, sim_now(world) + SIM_MS(ms));
}

static void begin(void)
{
    world = fuzz_nodes_begin(nodes, NODES, 2000, boot, drop);
    for (unsigned i = 0; i < PATHS; i++)
        paths[i].slot.ops = &ops;
    run_ms(20);
    enter(CLIENT, dial, &(struct dialling){ CLIENT, RELAY });
    enter(RELAY, dial, &(struct dialling){ RELAY, NEXT });
    run_ms(100);
}

/* ---- events
 * -------------------------------------------------------------------------------------- */

struct event {
    struct reader *in;
    struct mesh_link *l; /* the client's, or the next hop's, to the relay; NULL: none that is up */
    struct path *p;
};

static bool find_up(void *arg, struct mesh_link *l)
{
    struct mesh_link **out = arg;
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.state == MESH_LINK_UP)
        *out = l;
    return *out == NULL;
}

static struct mesh_link *link_of(unsigned node)
{
    struct mesh_link *l = NULL;
    if (nodes[node].mesh != NULL)
        mesh_links_each(nodes[node].mesh, find_up, &l);
    return l;
}

static void token_of(uint8_t out[static 32], uint8_t secret)
{
    uint8_t owner[32];
    memset(owner, secret, sizeof owner);
    crypto_h(out, "cyx token", &BYTES(owner, sizeof owner), 1);
}

static void target_of(struct onion_fields *f, uint8_t what)
{
    memset(f->target, what % SECRETS, sizeof f->target);
    if (f->command == ONION_BUILD_SPLICE)
        token_of(f->target, what % SECRETS);
    if (f->command == ONION_BUILD_RELAY && what % 4 < NODES)
        memcpy(f->target, nodes[what % 4].identity->id, sizeof f->target);
}

/* Terms and serial, or seed and proof: any bytes. */
static void fields_of(struct onion_build *b, struct reader *in)
{
    static const uint8_t early[ONION_PAYLOAD];
    struct onion_fields *f = &b->last;
    f->command = 1 + reader_u8(in) % 5;
    target_of(f, reader_u8(in));
    f->rest[35] = reader_u8(in); /* serial; part of a solution */
    f->rest[3] = reader_u8(in);  /* burst */
    f->rest[5] = reader_u8(in);  /* most open */
    f->rest[11] = reader_u8(in); /* least effort */
    if (f->command != ONION_BUILD_SPLICE || b->n_hops > ONION_EARLY_HOPS_MAX)
        return;
    f->early_len = (uint16_t)(reader_u8(in) * 8 % (ONION_PAYLOAD + 1));
    f->early_kind = reader_u8(in);
    b->early = early;
}

static void hop_set(struct onion_hop *h, const struct fuzz_node *n)
{
    memcpy(h->id, n->identity->id, sizeof h->id);
    memcpy(h->onion_key, n->identity->onion[0].pub, sizeof h->onion_key);
}

/* A train over the relay, or the relay and the next hop. */
static void build(struct event *e)
{
    uint8_t how = reader_u8(e->in);
    uint16_t at = reader_u16(e->in);
    struct onion_build b = { .n_hops = 1 + (how & 1), .stamp = mesh_time(nodes[CLIENT].mesh) };
    hop_set(&b.hops[0], &nodes[RELAY]);
    hop_set(&b.hops[1], &nodes[NEXT]);
    fields_of(&b, e->in);
    b.stamp += how & 2 ? (uint64_t)at : 0;
    path_reset(e->p);
    e->p->train = onion_train_create(&b, &net, mesh_env(nodes[CLIENT].mesh), last_train, NULL);
    fuzz_must(e->p->train != NULL);
    if (how & 4)
        last_train[at % ONION_TRAIN] ^= (uint8_t)(1 + (how >> 3));
    uint32_t id = mesh_path_id(e->l) ^ (how & 8 ? 0x80000000u : 0);
    if (onion_switch_add(nodes[CLIENT].above, &e->p->slot, e->l, id) != 0 ||
        mesh_train_send(e->l, id, false, last_train, ONION_TRAIN) != 0)
        path_reset(e->p);
}

/* The last train once more, under the path's id or another. */
static void build_again(struct event *e)
{
    uint8_t how = reader_u8(e->in);
    uint32_t id = how & 1 && e->p->slot.link != NULL ? e->p->slot.path : mesh_path_id(e->l);
    (void)!mesh_train_send(e->l, id, false, last_train, ONION_TRAIN);
}

static void cell_send(struct event *e, const struct onion_cell *c)
{
    struct path *p = e->p;
    uint8_t cell[MESH_CELL];
    onion_cell_write(cell, c, p->sent++);
    for (size_t i = p->built.n_hops; i > 0; i--)
        onion_layer_encipher(&p->forward[i - 1], cell);
    if (p->slot.link != NULL)
        (void)mesh_cell_send(p->slot.link, p->slot.path, cell);
}

/* Under the right keys, with any command and payload. */
static void cell(struct event *e)
{
    uint8_t payload[256];
    struct onion_cell c = { .command = reader_u8(e->in) % 9, .kind = reader_u8(e->in) % 3 };
    uint8_t len = reader_u8(e->in), n = reader_u8(e->in) % 64;
    memset(payload, len, sizeof payload);
    reader_copy(e->in, payload, len <= reader_left(e->in) ? len : reader_left(e->in));
    c.payload = payload;
    c.len = len;
    /* splices that exist, told of by the relay itself: the client is the service as well */
    for (unsigned i = 0; i <= n; i++)
        cell_send(e, &c);
}

static bool first_splice(void *arg, const void *key, void *value)
{
    const struct pivot_registration *g = value;
    const struct pivot_splice *s = map_oldest(g->splices, NULL);
    (void)key;
    if (s != NULL)
        *(uint32_t *)arg = s->id;
    return s == NULL;
}

/* As a service would, to a splice that there is. */
static void service_cell(struct event *e)
{
    uint8_t payload[] = { reader_u8(e->in) };
    struct onion_cell c = { .command = 1 + reader_u8(e->in) % 2, .payload = payload, .len = 1 };
    map_each(relay->pivot->by_token, first_splice, &c.splice);
    cell_send(e, &c);
}

static void raw_cell(struct event *e)
{
    uint8_t bytes[MESH_CELL] = { reader_u8(e->in), reader_u8(e->in) };
    bool own = e->p->slot.link != NULL && bytes[0] % 4 != 0;
    (void)mesh_cell_send(e->l, own ? e->p->slot.path : 1u + bytes[1], bytes);
}

static void destroy(struct event *e)
{
    uint8_t what = reader_u8(e->in);
    if (what & 1)
        mesh_path_destroy(e->l, mesh_path_id(e->l));
    if (e->p->slot.link == NULL)
        return;
    mesh_path_destroy(e->p->slot.link, e->p->slot.path);
    if (what & 2)
        path_reset(e->p);
}

static void reply_raw(struct event *e)
{
    static const uint8_t reply[ONION_REPLY];
    uint32_t id = e->p->slot.link != NULL ? e->p->slot.path : mesh_path_id(e->l);
    (void)!mesh_train_send(e->l, id, true, reply, ONION_REPLY);
}

/* A request to an END: any bytes, or one that means something. */
static void request(struct event *e)
{
    uint8_t data[128], buf[ONION_PAYLOAD];
    uint8_t how = reader_u8(e->in), len = reader_u8(e->in) % sizeof data;
    memset(data, 0, sizeof data);
    if (how & 8) {
        data[0] = 0x94; /* FIND of a key, type, most */
        data[1] = 2;
        data[2] = 0xc4;
        data[3] = 32;
        data[36] = how >> 4;
        data[37] = 16;
        len = 38;
    } else
        reader_copy(e->in, data, len <= reader_left(e->in) ? len : reader_left(e->in));
    struct writer w = writer_on(buf, sizeof buf);
    writer_u8(&w, 1 + (how >> 6)); /* kind */
    writer_u32(&w, how & 7);
    writer_u16(&w, 1); /* index, count */
    writer_u16(&w, len);
    writer_copy(&w, data, len);
    cell_send(e, &(struct onion_cell){
                     .command = ONION_CELL_MSG, .payload = buf, .len = writer_len(&w) });
}

static void close_link(struct event *e)
{
    mesh_link_close(e->l, (enum mesh_goodbye)(1 + reader_u8(e->in) % 5));
}

static void (*const at_client[])(struct event *e) = { build,   build,        build_again, cell,
                                                      cell,    raw_cell,     destroy,     reply_raw,
                                                      request, service_cell, close_link };

static void client_turn(void *arg)
{
    struct event *e = arg;
    uint8_t what = reader_u8(e->in);
    e->l = link_of(CLIENT);
    e->p = &paths[(what >> 4) % PATHS];
    if (e->l != NULL)
        at_client[(what & 15) % (sizeof at_client / sizeof at_client[0])](e);
    else
        dial(&(struct dialling){ CLIENT, RELAY });
}

/* The next hop answers the last train that came, in some way. */
static void next_turn(void *arg)
{
    struct event *e = arg;
    struct onion_opened o;
    struct onion_answer a;
    uint8_t reply[ONION_REPLY] = { 0 }, what = reader_u8(e->in), opened[ONION_TRAIN];
    struct env *env = mesh_env(nodes[NEXT].mesh);
    if (next_link == NULL)
        return;
    memcpy(opened, next_train, sizeof opened);
    if (what & 1 && onion_hop_open(&o, nodes[NEXT].identity, &net, opened) == DROP_NONE &&
        onion_hop_answer(&a, &o, env) == 0)
        onion_hop_reply(&a, what & 2 ? ONION_OK : ONION_BUSY, 0, NULL, true, env, reply);
    if (what & 3)
        (void)!mesh_train_send(next_link, next_path, true, reply, ONION_REPLY);
    if (what & 4)
        (void)mesh_cell_send(next_link, next_path, reply);
    if (what & 8)
        mesh_path_destroy(next_link, next_path);
    if ((what & 0xf0) == 0xf0)
        mesh_link_close(next_link, MESH_BYE_LEAVING);
}

static void power(unsigned node)
{
    if (sim_node_is_up(nodes[node].sim))
        sim_node_crash(nodes[node].sim);
    else
        sim_node_boot(nodes[node].sim);
}

static void step(struct reader *in)
{
    struct event e = { .in = in };
    uint8_t op = reader_u8(in);
    switch (op & 7) {
    case 0:
        run_ms(1 + (op >> 3));
        break;
    case 1:
        run_ms(500u * (1 + (op >> 3)));
        break;
    case 2:
        if (sim_node_is_up(nodes[NEXT].sim))
            enter(NEXT, next_turn, &e);
        break;
    case 3:
        if (op >> 3 == 31)
            power(NEXT);
        else if (op >> 3 == 30)
            power(CLIENT);
        else
            sim_node_set_group(nodes[NEXT].sim, op >> 3 & 1);
        break;
    default:
        if (sim_node_is_up(nodes[CLIENT].sim))
            enter(CLIENT, client_turn, &e);
        run_ms(op & 4 ? op >> 5 : 0);
        break;
    }
    fuzz_must(relay == NULL || relay__check(relay));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    if (nodes[0].identity == NULL)
        prepare();
    begin();
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++) {
        step(&in);
        in.bad = false;
    }
    run_ms(100);
    fuzz_must(relay__check(relay));
    sim_destroy(world);
    world = NULL;
    return 0;
}
