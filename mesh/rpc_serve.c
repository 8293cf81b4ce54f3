/* mesh/rpc_serve.c - requests from peers: budgets first (status 5), then a strict parse (status 6),
 * then the handler of the method, which replies now or later. Spec: protocol.md, sections 6, 16. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "mesh/link_internal.h"

struct mesh_request {
    struct list of_link; /* link->serving */
    struct list of_mesh; /* mesh->serving */
    struct mesh *mesh;   /* NULL once the mesh is gone */
    struct mesh_link *link;
    uint32_t id;
};

static void answer(struct mesh_link *l, uint32_t id, unsigned status,
                   const struct mesh_items *items)
{
    size_t len = 0;
    uint8_t *data = mesh__rpc_encode(status, items, &len);
    if (data == NULL && items != NULL)
        data = mesh__rpc_encode(MESH_RPC_BUSY, NULL, &len); /* too long, or no memory for it */
    if (data == NULL)
        return; /* the caller's deadline ends it */
    if (mesh__msg_send(l, MESH_MSG_RESPONSE, id, data, len) != 0)
        l->mesh->n.served_busy++; /* more answers wait than the outbox holds */
    free(data);
}

static bool within_budget(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    return mesh_bucket_take(&l->requests_in, 1, mesh__now(m)) &&
           l->n_serving < MESH_RPC_FROM_PEER && m->n_rpc < MESH_RPC_ALL;
}

static struct mesh_request *request_create(struct mesh_link *l, uint32_t id)
{
    struct mesh_request *rq = calloc(1, sizeof *rq);
    if (rq == NULL)
        return NULL;
    rq->mesh = l->mesh;
    rq->link = l;
    rq->id = id;
    list_init(&rq->of_link);
    list_init(&rq->of_mesh);
    list_push_back(&l->serving, &rq->of_link);
    list_push_back(&l->mesh->serving, &rq->of_mesh);
    l->n_serving++;
    l->mesh->n_rpc++;
    return rq;
}

/* The request was asked again while it is being served: its answer comes. */
static bool is_served(const struct mesh_link *l, uint32_t id)
{
    list_each (at, &l->serving)
        if (container_of(at, struct mesh_request, of_link)->id == id)
            return true;
    return false;
}

static void dispatch(struct mesh_link *l, uint32_t id, const msgpack_object *root)
{
    struct mesh *m = l->mesh;
    const msgpack_object_array *a = &root->via.array;
    uint64_t method = 0;
    bool is_known = root->type == MSGPACK_OBJECT_ARRAY && a->size > 0 &&
                    mp_u64(&a->ptr[0], &method) && method < sizeof m->serve / sizeof m->serve[0] &&
                    m->serve[method].fn != NULL;
    struct mesh_request *rq = is_known ? request_create(l, id) : NULL;
    if (rq == NULL) {
        m->n.served_bad++;
        answer(l, id, is_known ? MESH_RPC_BUSY : MESH_RPC_BAD, NULL);
        return;
    }
    m->n.served++;
    m->serve[method].fn(m->serve[method].arg, rq, a->ptr + 1, a->size - 1);
}

void mesh__rpc_request(struct mesh_link *l, uint32_t id, const uint8_t *data, size_t len)
{
    struct mesh *m = l->mesh;
    cleanup_mp struct mp_doc doc = { 0 };
    if (is_served(l, id))
        return;
    if (mesh__msg_again(l, MESH_MSG_RESPONSE, id)) {
        m->n.answers_again++; /* asked again: the answer was lost. Forgotten ones are worked out
                                 anew, all methods being idempotent */
        return;
    }
    if (!within_budget(l)) {
        m->n.served_busy++;
        answer(l, id, MESH_RPC_BUSY, NULL);
        return;
    }
    enum drop drop = mp_parse(&doc, data, len, &mp_wire_rules);
    if (drop != DROP_NONE) {
        m->n.served_bad++;
        mesh__drop(m, MESH_FULL, drop);
        answer(l, id, MESH_RPC_BAD, NULL);
        return;
    }
    dispatch(l, id, &doc.root);
}

struct mesh_link *mesh_request_link(const struct mesh_request *rq)
{
    return rq->link;
}

void mesh_reply(struct mesh_request *rq, enum mesh_rpc_status status,
                const struct mesh_items *items)
{
    struct mesh_link *l = rq->link;
    list_del(&rq->of_link);
    list_del(&rq->of_mesh);
    if (rq->mesh != NULL)
        rq->mesh->n_rpc--;
    if (l != NULL)
        l->n_serving--;
    if (l != NULL && l->state == MESH_LINK_UP)
        answer(l, rq->id, status, items);
    free(rq);
}

int mesh_serve(struct mesh *m, unsigned method, mesh_serve_fn fn, void *arg)
{
    if (method >= sizeof m->serve / sizeof m->serve[0])
        return CYX_EINVAL;
    m->serve[method].fn = fn;
    m->serve[method].arg = arg;
    return 0;
}

/* Whoever serves them still owes a reply, which then does nothing. */
void mesh__requests_detach(struct mesh_link *l)
{
    while (!list_empty(&l->serving)) {
        struct mesh_request *rq = container_of(l->serving.next, struct mesh_request, of_link);
        list_del(&rq->of_link);
        rq->link = NULL;
    }
    l->n_serving = 0;
}

void mesh__requests_drop(struct mesh *m)
{
    while (!list_empty(&m->serving)) {
        struct mesh_request *rq = container_of(m->serving.next, struct mesh_request, of_mesh);
        list_del(&rq->of_mesh);
        rq->mesh = NULL;
    }
}
