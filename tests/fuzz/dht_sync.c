/* Sequences of requests and answers for a live sync: one node keeps a roster, its only peer says
 * what the input says: DIGEST, LIST and RECORDS asked with any items, and answers to them of any
 * items, with true records among them, bent ones, late ones. Whatever comes, the roster holds only
 * who is there, and asking ends. The world is the same at every input, so a crash replays by
 * itself. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/sync_internal.h"
#include "mesh/link_internal.h"
#include "tests/fuzz/lib/nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { NODES = 2, PEOPLE = 4, OPS_MAX = 200, SCRIPT = 64, HELD = 32 };

/* Somebody whose record the peer may tell; two sequences of each. */
struct person {
    uint8_t id[DHT_ID];
    uint8_t record[2][MESH_NODE_RECORD_MAX];
    size_t len[2];
};

static struct fuzz_node nodes[NODES];
static struct mesh_network net;
static struct sim_world *world;
static struct person people[PEOPLE];
static struct dht_roster *roster;
static struct dht_sync *keeper;
static struct mesh_request *held[HELD];
static unsigned n_held, n_asked;
static uint8_t script[SCRIPT]; /* what the peer answers next, and so on around */
static unsigned at_script;

/* ---- items ----------------------------------------------------------------------------------- */

static void pack_person(msgpack_packer *pk, uint8_t how)
{
    const struct person *p = &people[how % PEOPLE];
    uint8_t record[MESH_NODE_RECORD_MAX + 2] = { 0 };
    size_t len = p->len[how >> 2 & 1];
    memcpy(record, p->record[how >> 2 & 1], len);
    if (how & 8)
        record[(how * 7u) % len] ^= 0x10;
    if (how & 16)
        len = how & 32 ? MESH_NODE_RECORD_MAX + 1 : len / 2;
    mp_pack_bin(pk, record, len);
}

static void pack_pair(msgpack_packer *pk, uint8_t byte, uint8_t how)
{
    uint8_t begin[SYNC__BEGIN] = { byte, how };
    if (how & 1)
        memcpy(begin, people[how >> 1 & 3].id, sizeof begin);
    msgpack_pack_array(pk, how & 0x40 ? 3 : 2);
    mp_pack_bin(pk, begin, how & 0x80 ? 7 : 8);
    msgpack_pack_uint64(pk, how & 8 ? UINT64_MAX : 1000);
    if (how & 0x40)
        msgpack_pack_nil(pk);
}

static void pack_list(msgpack_packer *pk, uint8_t byte, uint8_t n, uint8_t how, unsigned *count)
{
    for (unsigned i = 0; i < n * 5u; i++, ++*count) {
        uint8_t begin[SYNC__BEGIN] = { byte, (uint8_t)(i >> 8), (uint8_t)i };
        msgpack_pack_array(pk, 2);
        mp_pack_bin(pk, begin, sizeof begin);
        msgpack_pack_uint64(pk, how);
    }
}

static void pack_one(msgpack_packer *pk, struct writer *w, struct reader *in, uint8_t byte,
                     unsigned *count)
{
    static const uint8_t zeros[DHT_ROSTER_DIGEST];
    uint8_t what = reader_u8(in), how = reader_u8(in);
    ++*count;
    switch (what % 8) {
    case 0:
        pack_person(pk, how);
        break;
    case 1:
        pack_pair(pk, byte, how);
        break;
    case 2:
        msgpack_pack_uint8(pk, how);
        break;
    case 3:
        mp_pack_bin(pk, people[how % PEOPLE].id, how & 4 ? DHT_ID : how & 8 ? 7 : SYNC__BEGIN);
        break;
    case 4:
        *w->p = how; /* any byte as an item: most are none */
        writer_reserve(w, 1);
        break;
    case 5:
        mp_pack_bin(pk, zeros, how & 1 ? DHT_ROSTER_DIGEST : how);
        break;
    case 6:
        --*count;
        pack_list(pk, byte, how, what, count);
        break;
    default:
        msgpack_pack_nil(pk);
        break;
    }
}

/* `n` items of the input, in `w`. */
static struct mesh_items items_of(struct writer *w, struct reader *in, unsigned n, uint8_t byte)
{
    msgpack_packer pk;
    unsigned count = 0;
    mp_packer(&pk, w);
    for (unsigned i = 0; i < n && writer_left(w) > 2 * MESH_NODE_RECORD_MAX; i++)
        pack_one(&pk, w, in, byte, &count);
    if (!writer_ok(w))
        return (struct mesh_items){ 0 };
    return (struct mesh_items){ .data = w->start, .len = writer_len(w), .n = count };
}

/* ---- the peer -------------------------------------------------------------------------------- */

static uint8_t buffer[MESH_MSG_MAX];

static uint8_t next_word(void)
{
    return script[at_script++ % SCRIPT];
}

/* What an honest peer would say, of everybody there is. */
static void say_truth(struct mesh_request *rq, unsigned method, const msgpack_object *items,
                      unsigned n)
{
    struct writer w = writer_on(buffer, sizeof buffer);
    msgpack_packer pk;
    uint8_t digest[DHT_ROSTER_DIGEST];
    uint64_t byte = 256;
    unsigned count = 0;
    mp_packer(&pk, &w);
    memset(digest, 1, sizeof digest);
    if (method == MESH_METHOD_DIGEST) {
        mp_pack_bin(&pk, digest, sizeof digest);
        count = 1;
    }
    if (method == MESH_METHOD_LIST && n > 0 && !mp_u64(&items[0], &byte))
        byte = 256;
    for (unsigned i = 0; i < PEOPLE && method == MESH_METHOD_LIST; i++)
        if (people[i].id[0] == byte && count == 0) {
            msgpack_pack_array(&pk, 2);
            mp_pack_bin(&pk, people[i].id, SYNC__BEGIN);
            msgpack_pack_uint64(&pk, 2000);
            count++;
        }
    for (unsigned i = 0; i < PEOPLE * n && method == MESH_METHOD_RECORDS; i++) {
        const uint8_t *begin;
        const struct person *p = &people[i % PEOPLE];
        if (!mp_bin(&items[i / PEOPLE], SYNC__BEGIN, &begin) || memcmp(begin, p->id, 8) != 0)
            continue;
        mp_pack_bin(&pk, p->record[1], p->len[1]);
        count++;
    }
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = buffer, .len = writer_len(&w), .n = count });
}

static void serve(unsigned method, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    uint8_t word = next_word();
    uint64_t byte = 0;
    n_asked++;
    if (n > 0 && method == MESH_METHOD_LIST && !mp_u64(&items[0], &byte))
        byte = 0;
    if (word < 128) {
        say_truth(rq, method, items, n);
    } else if (word < 144 && n_held < HELD) {
        held[n_held++] = rq;
    } else if (word < 160) {
        mesh_reply(rq, (enum mesh_rpc_status)(word % 7), NULL);
    } else {
        struct writer w = writer_on(buffer, sizeof buffer);
        struct reader in = reader_on(script + at_script % SCRIPT, SCRIPT - at_script % SCRIPT);
        struct mesh_items answer = items_of(&w, &in, word % 40, (uint8_t)byte);
        mesh_reply(rq, MESH_RPC_OK, &answer);
    }
}

static void serve_digest(void *arg, struct mesh_request *rq, const msgpack_object *items,
                         unsigned n)
{
    (void)arg;
    serve(MESH_METHOD_DIGEST, rq, items, n);
}

static void serve_list(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    (void)arg;
    serve(MESH_METHOD_LIST, rq, items, n);
}

static void serve_records(void *arg, struct mesh_request *rq, const msgpack_object *items,
                          unsigned n)
{
    (void)arg;
    serve(MESH_METHOD_RECORDS, rq, items, n);
}

static void let_go(void)
{
    while (n_held > 0)
        mesh_reply(held[--n_held], MESH_RPC_OK, NULL);
}

/* ---- the nodes' program ---------------------------------------------------------------------- */

static void boot(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    static const uint8_t secret[32] = { 3 };
    me->mesh = mesh_create(sim_node_env(s), &me->config, NULL);
    fuzz_must(me->mesh != NULL && mesh_start(me->mesh, NULL) == 0);
    if (me == &nodes[0]) {
        /* Room for few: somebody must give way. */
        roster = dht_roster_create(3, me->identity->id, secret, true);
        fuzz_must(roster != NULL);
        keeper = dht_sync_create(me->mesh, roster, true, NULL);
        fuzz_must(keeper != NULL && dht_sync_start(keeper, NULL) == 0);
        return;
    }
    fuzz_must(mesh_serve(me->mesh, MESH_METHOD_DIGEST, serve_digest, me) == 0);
    fuzz_must(mesh_serve(me->mesh, MESH_METHOD_LIST, serve_list, me) == 0);
    fuzz_must(mesh_serve(me->mesh, MESH_METHOD_RECORDS, serve_records, me) == 0);
}

static void drop(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    (void)s;
    if (me == &nodes[0]) {
        dht_sync_destroy(keeper);
        dht_roster_destroy(roster);
        keeper = NULL;
        roster = NULL;
    }
    mesh_destroy(me->mesh);
    me->mesh = NULL;
    if (me == &nodes[1])
        let_go();
}

/* ---- once for the process -------------------------------------------------------------------- */

static void make_person(struct person *p, uint8_t number, uint64_t now)
{
    uint8_t seed[32] = { number, 9 }, nonce[16] = { number }, sk[64];
    struct mesh_pow_subject subject = { .purpose = MESH_POW_ID };
    struct mesh_node n = { .n_addrs = 1, .version = { 1, 1, 0, 0 }, .expiry = now + 40000 };
    crypto_sign_seed_keypair(n.identity, sk, seed);
    memcpy(subject.x, n.identity, 32);
    fuzz_must(mesh_pow_solve(&subject, 1, nonce, NULL, n.puzzle, NULL) == 0);
    mesh_node_id(p->id, n.identity, n.puzzle);
    n.addrs[0] = (struct mesh_node_addr){ .kind = 4, .ip = env_addr_v4(10, 9, number, 1, 4100) };
    n.link_key[0] = number;
    for (unsigned i = 0; i < 2; i++) {
        n.sequence = 1000 + 1000 * i;
        int len = mesh_node_record_build(&n, &net, sk, p->record[i]);
        fuzz_must(len > 0);
        p->len[i] = (size_t)len;
    }
}

static void prepare(void)
{
    uint64_t now = fuzz_nodes_make(nodes, NODES, &net);
    for (uint8_t i = 0; i < PEOPLE; i++)
        make_person(&people[i], i, now);
}

static void dial(void *arg)
{
    (void)arg;
    if (nodes[0].mesh != NULL)
        mesh_dial(nodes[0].mesh, &nodes[1].contact, NULL);
}

static void begin(void)
{
    world = fuzz_nodes_begin(nodes, NODES, 5000, boot, drop);
    n_asked = at_script = 0;
    sim_node_enter(nodes[0].sim, dial, NULL);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The peer asks. */
static void request(void *arg)
{
    struct reader *in = arg;
    struct writer w = writer_on(buffer, sizeof buffer);
    uint8_t what = reader_u8(in);
    struct mesh_items items = items_of(&w, in, what >> 2 == 63 ? 140 : what >> 2 & 7, what);
    if (nodes[1].mesh == NULL || list_empty(&nodes[1].mesh->links))
        return;
    struct mesh_link *l = container_of(nodes[1].mesh->links.next, struct mesh_link, all);
    if (mesh_call(l, MESH_METHOD_DIGEST + what % 3, &items, 0, fuzz_ignore, NULL, NULL) != 0)
        return;
}

/* A lookup found a record: into the roster, reached or not. */
static void heard(void *arg)
{
    struct reader *in = arg;
    uint8_t how = reader_u8(in);
    const struct person *p = &people[how % PEOPLE];
    struct mesh_node n;
    if (keeper != NULL &&
        mesh_node_record_open(&n, &net, mesh_time(nodes[0].mesh), p->record[how >> 2 & 1],
                              p->len[how >> 2 & 1]) == DROP_NONE)
        dht_sync_heard(keeper, &n, p->record[how >> 2 & 1], p->len[how >> 2 & 1], how & 8);
}

static void step(struct reader *in)
{
    uint8_t op = reader_u8(in);
    switch (op & 7) {
    case 0:
    case 1:
        sim_node_enter(nodes[1].sim, request, in);
        sim_run_until(world, sim_now(world) + SIM_MS(op >> 3));
        break;
    case 2:
        reader_copy(in, script, reader_left(in) < SCRIPT ? reader_left(in) : SCRIPT);
        at_script = 0;
        break;
    case 3:
        sim_run_until(world, sim_now(world) + SIM_MS(1 + reader_u8(in)));
        break;
    case 4:
        sim_run_until(world, sim_now(world) + SIM_MS(500) * reader_u8(in));
        break;
    case 5:
        sim_node_enter(nodes[0].sim, heard, in);
        sim_run_until(world, sim_now(world));
        break;
    case 6:
        if (op >= 0xe0)
            fuzz_node_power(&nodes[op >> 3 & 1]);
        else
            sim_node_set_disk(nodes[0].sim, op & 0x80 ? SIM_DISK_FULL : SIM_DISK_OK);
        break;
    default:
        sim_node_enter(nodes[0].sim, dial, NULL);
        let_go();
        break;
    }
}

/* ---- what must hold -------------------------------------------------------------------------- */

static bool is_real(void *arg, const struct dht_roster_entry *e)
{
    uint8_t record[MESH_NODE_RECORD_MAX];
    bool is_known = memcmp(e->id, nodes[1].identity->id, DHT_ID) == 0;
    (void)arg;
    for (unsigned i = 0; i < PEOPLE; i++)
        is_known = is_known || (memcmp(e->id, people[i].id, DHT_ID) == 0 && e->sequence <= 2000);
    fuzz_must(is_known && dht_sync_record(keeper, e->id, record) > 0);
    return true;
}

static void look(void)
{
    if (keeper == NULL)
        return;
    fuzz_must(dht_roster_len(roster) <= 3);
    dht_roster_each(roster, is_real, NULL);
    /* A round has three peers and 129 requests for each, and there is one who may be asked back. */
    fuzz_must(n_asked <= 4u * 130u * (keeper->n.rounds + keeper->n.backs + OPS_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    if (nodes[0].identity == NULL)
        prepare();
    memset(script, 0, sizeof script);
    begin();
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++) {
        step(&in);
        look();
    }
    sim_run_until(world, sim_now(world) + SIM_MS(2000));
    look();
    let_go();
    sim_destroy(world);
    world = NULL;
    return 0;
}
