/* Sequences of events for a pair of nodes in a small world: any datagram, valid packets with any
 * frames under the right keys, dials, calls, cells, ends, crashes, time. Whatever the order,
 * nothing may break but the link. The world is the same at every input, so a crash replays by
 * itself. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"
#include "tests/fuzz/lib/nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { NODES = 2, OPS_MAX = 200 };

static struct fuzz_node nodes[NODES];
static struct mesh_network net;
static struct sim_world *world;
static uint8_t caught[MESH_PACKET];
static size_t caught_len;
static struct env_addr caught_from, caught_to;

/* ---- the nodes' program ---------------------------------------------------------------------- */

static void on_cell(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL])
{
    (void)arg;
    if (cell[0] == 1)
        mesh_path_destroy(l, path);
    else if (cell[0] == 2)
        mesh_link_close(l, MESH_BYE_LEAVING);
    else if (cell[0] == 3) {
        cell[0] = 0; /* back once: two ends that echo would go on for ever */
        mesh_cell_send(l, path, cell);
    }
}

static void on_destroy(void *arg, struct mesh_link *l, uint32_t path)
{
    (void)arg;
    mesh_path_forget(l, path);
}

static void on_train(void *arg, struct mesh_link *l, uint32_t path, bool is_reply,
                     const uint8_t *train, size_t len)
{
    (void)arg;
    (void)train;
    if (!is_reply && len > 6400 && mesh_train_send(l, path, true, train, 6400) != 0)
        mesh_path_destroy(l, path);
}

static const struct mesh_paths paths = { .cell = on_cell,
                                         .destroy = on_destroy,
                                         .train = on_train };

/* Method 8 answers at once, 9 when the input says so. */
static void serve_now(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    (void)arg;
    (void)items;
    mesh_reply(rq, n % 2 ? MESH_RPC_OK : MESH_RPC_REFUSED, NULL);
}

static void serve_later(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct fuzz_node *me = arg;
    (void)items;
    (void)n;
    if (me->n_held == FUZZ_HELD)
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
    else
        me->held[me->n_held++] = rq;
}

static void boot(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    me->mesh = mesh_create(sim_node_env(s), &me->config, NULL);
    fuzz_must(me->mesh != NULL && mesh_start(me->mesh, NULL) == 0);
    mesh_set_paths(me->mesh, &paths, me);
    fuzz_must(mesh_serve(me->mesh, 8, serve_now, me) == 0);
    fuzz_must(mesh_serve(me->mesh, 9, serve_later, me) == 0);
}

static void drop(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    (void)s;
    mesh_destroy(me->mesh);
    me->mesh = NULL;
    fuzz_node_let_go(me, MESH_RPC_OK);
}

static bool catch_one(void *arg, const struct sim_datagram *d)
{
    (void)arg;
    if (d->len <= sizeof caught) {
        memcpy(caught, d->data, d->len);
        caught_len = d->len;
        caught_from = d->from;
        caught_to = d->to;
    }
    return true;
}

static void begin(void)
{
    world = fuzz_nodes_begin(nodes, NODES, 5000, boot, drop);
    fuzz_must(sim_tap(world, catch_one, NULL) == 0);
    caught_len = 0;
    sim_run_until(world, SIM_MS(20));
}

/* ---- events ---------------------------------------------------------------------------------- */

struct event {
    struct fuzz_node *me, *other;
    struct mesh_link *l; /* some link of me, or NULL */
    struct reader *in;
};

static void pinged(void *arg, int code, uint64_t rtt_ns)
{
    (void)arg;
    (void)code;
    (void)rtt_ns;
}

/* Any bytes, as they are. */
static void raw(struct event *e)
{
    uint8_t data[MESH_PACKET + 8];
    size_t len = reader_u16(e->in) % sizeof data;
    reader_copy(e->in, data, len <= reader_left(e->in) ? len : 0);
    if (!e->in->bad)
        sim_inject(world, &e->other->contact.addr, &e->me->contact.addr, data, len, 0);
    e->in->bad = false;
}

/* The last datagram that travelled, changed in one place, cut, or as it was, from here or there. */
static void changed(struct event *e)
{
    uint8_t data[MESH_PACKET];
    uint16_t at = reader_u16(e->in), mask = reader_u8(e->in), cut = reader_u8(e->in);
    struct env_addr from = caught_from;
    if (caught_len == 0)
        return;
    memcpy(data, caught, caught_len);
    data[at % caught_len] ^= (uint8_t)mask;
    if (cut & 1)
        from.port ^= 1;
    sim_inject(world, &from, &caught_to, data,
               cut > 200 ? caught_len - cut % caught_len : caught_len, 0);
}

/* Frames of the input under the right keys. */
static void sealed(struct event *e)
{
    uint8_t packet[MESH_PACKET] = { 0 };
    size_t len = reader_u8(e->in) * 5u;
    if (len > reader_left(e->in))
        len = reader_left(e->in);
    reader_copy(e->in, packet + MESH_PACKET_HEAD, len);
    if (e->l == NULL || e->l->current == NULL || e->l->state != MESH_LINK_UP ||
        mesh_session_seal(e->l->current->session, packet) != 0)
        return;
    sim_inject(world, &e->me->contact.addr, &e->l->addr, packet, sizeof packet, 0);
}

/* A whole message of any kind. */
static void message(struct event *e)
{
    uint8_t data[2048];
    uint8_t kind = 1 + reader_u8(e->in) % 4;
    uint32_t id = reader_u8(e->in);
    size_t len = 1 + reader_u8(e->in) * 8u;
    memset(data, kind, sizeof data);
    reader_copy(e->in, data, len <= reader_left(e->in) ? len : reader_left(e->in));
    if (e->l != NULL && mesh__msg_send(e->l, kind, id, data, len) != 0)
        return;
}

static void dial(struct event *e)
{
    mesh_dial(e->me->mesh, &e->other->contact, NULL);
}

static void call(struct event *e)
{
    static const uint8_t nil = 0xc0;
    struct mesh_items items = { .data = &nil, .len = 1, .n = 1 };
    uint8_t what = reader_u8(e->in);
    struct mesh_call *c = NULL;
    if (e->l == NULL || mesh_call(e->l, what % 11, &items, what * 10u, fuzz_ignore, NULL, &c) != 0)
        return;
    if (what & 0x80)
        mesh_call_cancel(c);
}

static void cells(struct event *e)
{
    uint8_t cell[MESH_CELL] = { reader_u8(e->in) };
    uint8_t n = reader_u8(e->in);
    for (unsigned i = 0; e->l != NULL && i < n; i++)
        mesh_cell_send(e->l, 1 + i % 7, cell);
}

static void paths_event(struct event *e)
{
    static uint8_t train[7680];
    uint8_t what = reader_u8(e->in);
    if (e->l == NULL)
        return;
    if (what & 1)
        mesh_path_destroy(e->l, mesh_path_id(e->l));
    if ((what & 2) && mesh_train_send(e->l, 1 + what, false, train, 7680) != 0)
        return;
    if ((what & 4) && mesh_ping(e->l, pinged, NULL) != 0)
        return;
}

static void end(struct event *e)
{
    if (e->l != NULL)
        mesh_link_close(e->l, (enum mesh_goodbye)(1 + reader_u8(e->in) % 5));
}

static void reply(struct event *e)
{
    fuzz_node_let_go(e->me, MESH_RPC_OK);
}

/* Events that happen inside the node's turn. */
static void (*const inside[])(struct event *e) = { sealed, message,     dial, call,
                                                   cells,  paths_event, end,  reply };

static void enter(void *arg)
{
    struct event *e = arg;
    uint8_t what = reader_u8(e->in);
    if (e->me->mesh == NULL)
        return;
    if (!list_empty(&e->me->mesh->links))
        e->l = container_of(e->me->mesh->links.next, struct mesh_link, all);
    inside[what % (sizeof inside / sizeof inside[0])](e);
}

static void step(struct reader *in)
{
    uint8_t op = reader_u8(in);
    struct event e = { .me = &nodes[op & 1], .other = &nodes[1 - (op & 1)], .in = in };
    switch (op >> 1 & 7) {
    case 0:
        raw(&e);
        break;
    case 1:
        changed(&e);
        break;
    case 2:
        sim_run_until(world, sim_now(world) + SIM_MS(1 + reader_u8(in)));
        break;
    case 3:
        sim_run_until(world, sim_now(world) + SIM_MS(500) * reader_u8(in));
        break;
    case 4:
        if (op >= 0xe0)
            fuzz_node_power(e.me);
        else
            sim_node_set_group(e.me->sim, op >> 5 & 1);
        break;
    default:
        sim_node_enter(e.me->sim, enter, &e);
        sim_run_until(world, sim_now(world) + SIM_MS(6) * (op >> 6));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = reader_on(data, len);
    if (nodes[0].identity == NULL)
        (void)fuzz_nodes_make(nodes, NODES, &net);
    begin();
    for (unsigned i = 0; i < OPS_MAX && reader_left(&in) > 0; i++)
        step(&in);
    sim_run_until(world, sim_now(world) + SIM_MS(300));
    sim_destroy(world);
    world = NULL;
    return 0;
}
