/* mesh/rpc_call.c - requests to a peer: at most 16 in flight, 64 waiting behind them, a deadline
 * each. A request is repeated whole once, with its id, since all methods are idempotent. Spec:
 * protocol.md, sections 4, 6 and 16. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "mesh/link_internal.h"

struct mesh_call {
    struct list node; /* link->calls in flight, else link->waiting */
    struct mesh_link *link;
    struct env_timer timer; /* the repeat, then the deadline */
    uint64_t repeat_ns, until_ns;
    bool is_in_flight, is_repeated;
    uint32_t id;
    uint8_t *data;
    size_t len;
    mesh_call_fn done;
    void *arg;
};

uint8_t *mesh__rpc_encode(unsigned first, const struct mesh_items *items, size_t *len)
{
    static const struct mesh_items none;
    enum { HEAD = 16 };
    if (items == NULL)
        items = &none;
    if (items->len > MESH_MSG_MAX)
        return NULL;
    uint8_t *out = malloc(items->len + HEAD);
    if (out == NULL)
        return NULL;
    msgpack_packer pk;
    struct writer w = writer_on(out, items->len + HEAD);
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, (size_t)items->n + 1);
    msgpack_pack_uint32(&pk, first);
    writer_copy(&w, items->data, items->len);
    if (!writer_ok(&w) || writer_len(&w) > MESH_MSG_MAX) {
        free(out);
        return NULL;
    }
    *len = writer_len(&w);
    return out;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void call_free(struct mesh_call *c)
{
    struct mesh_link *l = c->link;
    env_timer_stop(l->mesh->env, &c->timer);
    list_del(&c->node);
    if (c->is_in_flight) {
        l->n_calls--;
        l->mesh->n_rpc--;
    } else {
        l->n_waiting--;
    }
    free(c->data);
    free(c);
}

/* Frees first, calls out last. */
static void call_end(struct mesh_call *c, int code, unsigned status, const msgpack_object *items,
                     unsigned n)
{
    mesh_call_fn done = c->done;
    void *arg = c->arg;
    call_free(c);
    done(arg, code, status, items, n);
}

/* 0: it is on its way. */
static int call_send(struct mesh_call *c)
{
    struct mesh_link *l = c->link;
    struct mesh *m = l->mesh;
    uint64_t now = mesh__now(m);
    uint32_t id = mesh__msg_id(l, MESH_MSG_REQUEST);
    int code = mesh__msg_send(l, MESH_MSG_REQUEST, id, c->data, c->len);
    if (code != 0)
        return code;
    c->id = id;
    c->is_in_flight = true;
    list_del(&c->node);
    list_push_back(&l->calls, &c->node);
    l->n_waiting--;
    l->n_calls++;
    m->n_rpc++;
    m->n.calls++;
    uint64_t half = (c->until_ns - now) / 2;
    uint64_t most = ENV_MS(MESH__RPC_REPEAT_MS);
    c->repeat_ns = now + (half < most ? half : most);
    env_timer_set(m->env, &c->timer, c->repeat_ns);
    return 0;
}

static bool has_room(const struct mesh_link *l)
{
    return l->state == MESH_LINK_UP && l->n_calls < MESH_RPC_TO_PEER &&
           l->mesh->n_rpc < MESH_RPC_ALL;
}

void mesh__calls_pump(struct mesh_link *l)
{
    while (has_room(l) && !list_empty(&l->waiting)) {
        struct mesh_call *c = container_of(l->waiting.next, struct mesh_call, node);
        if (call_send(c) != 0)
            return; /* the outbox is full: when it has room again, or the deadline */
    }
}

static void repeat(struct mesh_call *c)
{
    struct mesh *m = c->link->mesh;
    c->is_repeated = true;
    env_timer_set(m->env, &c->timer, c->until_ns);
    if (mesh__msg_send(c->link, MESH_MSG_REQUEST, c->id, c->data, c->len) == 0)
        m->n.calls_repeated++;
}

static void call_timer(struct env_timer *t, void *arg)
{
    struct mesh_call *c = arg;
    struct mesh_link *l = c->link;
    (void)t;
    if (c->is_in_flight && !c->is_repeated && mesh__now(l->mesh) < c->until_ns) {
        repeat(c);
        return;
    }
    if (c->is_in_flight && l->outbox != NULL)
        mesh_outbox_cancel(l->outbox, MESH_MSG_REQUEST, c->id);
    l->mesh->n.calls_timed_out++;
    if (l->state == MESH_LINK_UP)
        mesh__ping_want(l); /* is it there at all? */
    call_end(c, CYX_ETIMEDOUT, 0, NULL, 0);
    mesh__calls_pump(l); /* links are freed from the deferred task alone, so `l` is still there */
}

int mesh_call(struct mesh_link *l, unsigned method, const struct mesh_items *items,
              uint32_t deadline_ms, mesh_call_fn done, void *arg, struct mesh_call **out)
{
    struct mesh *m = l->mesh;
    if (l->state == MESH_LINK_CLOSING)
        return CYX_ECLOSED;
    if (l->n_waiting >= MESH_RPC_WAITING) {
        m->n.calls_refused++;
        return CYX_EFULL;
    }
    struct mesh_call *c = calloc(1, sizeof *c);
    if (c == NULL)
        return CYX_ENOMEM;
    c->data = mesh__rpc_encode(method, items, &c->len);
    if (c->data == NULL) {
        free(c);
        return items != NULL && items->len > MESH_MSG_MAX / 2 ? CYX_EFULL : CYX_ENOMEM;
    }
    c->link = l;
    c->done = done;
    c->arg = arg;
    c->until_ns = mesh__now(m) + ENV_MS(deadline_ms != 0 ? deadline_ms : MESH_RPC_DEADLINE_MS);
    list_init(&c->node);
    list_push_back(&l->waiting, &c->node);
    l->n_waiting++;
    env_timer_init(&c->timer, call_timer, c);
    env_timer_set(m->env, &c->timer, c->until_ns);
    mesh__link_use(l);
    mesh__calls_pump(l);
    if (out != NULL)
        *out = c;
    return 0;
}

void mesh_call_cancel(struct mesh_call *c)
{
    struct mesh_link *l = c->link;
    if (c->is_in_flight && l->outbox != NULL)
        mesh_outbox_cancel(l->outbox, MESH_MSG_REQUEST, c->id);
    call_free(c);
    mesh__calls_pump(l);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct mesh_call *find(const struct mesh_link *l, uint32_t id)
{
    list_each (at, &l->calls) {
        struct mesh_call *c = container_of(at, struct mesh_call, node);
        if (c->id == id)
            return c;
    }
    return NULL;
}

void mesh__rpc_answer(struct mesh_link *l, uint32_t id, const uint8_t *data, size_t len)
{
    struct mesh *m = l->mesh;
    struct mesh_call *c = find(l, id);
    cleanup_mp struct mp_doc doc = { 0 };
    uint64_t status = 0;
    if (c == NULL) {
        mesh__drop(m, MESH_FULL, DROP_UNKNOWN); /* late, or never asked */
        return;
    }
    if (l->outbox != NULL)
        mesh_outbox_cancel(l->outbox, MESH_MSG_REQUEST, id); /* it arrived: no RESEND will come */
    enum drop drop = mp_parse(&doc, data, len, &mp_wire_rules);
    const msgpack_object_array *a = &doc.root.via.array;
    if (drop == DROP_NONE && (doc.root.type != MSGPACK_OBJECT_ARRAY || a->size == 0 ||
                              !mp_u64(&a->ptr[0], &status) || status > UINT8_MAX))
        drop = DROP_FIELD;
    if (drop != DROP_NONE) {
        mesh__drop(m, MESH_FULL, drop);
        call_end(c, CYX_EPROTO, 0, NULL, 0);
    } else {
        call_end(c, 0, (unsigned)status, a->ptr + 1, a->size - 1);
    }
    mesh__calls_pump(l);
}

/* ---- the link's end -------------------------------------------------------------------------- */

void mesh__calls_fail(struct mesh_link *l)
{
    while (!list_empty(&l->calls))
        call_end(container_of(l->calls.next, struct mesh_call, node), CYX_ECLOSED, 0, NULL, 0);
    while (!list_empty(&l->waiting))
        call_end(container_of(l->waiting.next, struct mesh_call, node), CYX_ECLOSED, 0, NULL, 0);
}

void mesh__calls_free(struct mesh_link *l)
{
    while (!list_empty(&l->calls))
        call_free(container_of(l->calls.next, struct mesh_call, node));
    while (!list_empty(&l->waiting))
        call_free(container_of(l->waiting.next, struct mesh_call, node));
}
