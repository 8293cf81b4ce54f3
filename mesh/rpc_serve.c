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
    bool is_from_worker; /* another worker has the link: */
    uint64_t ticket;
    struct mesh_asker asker;
};

static void send_answer(struct mesh_link *l, uint32_t id, const uint8_t *data, size_t len)
{
    if (mesh__msg_send(l, MESH_MSG_RESPONSE, id, data, len) != 0)
        l->mesh->n.served_busy++; /* more answers wait than the outbox holds */
}

static void answer(struct mesh_link *l, uint32_t id, unsigned status,
                   const struct mesh_items *items)
{
    size_t len = 0;
    uint8_t *data = mesh__rpc_encode(status, items, &len);
    if (data == NULL && items != NULL)
        data = mesh__rpc_encode(MESH_RPC_BUSY, NULL, &len); /* too long, or no memory for it */
    if (data == NULL)
        return; /* the caller's deadline ends it */
    send_answer(l, id, data, len);
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

/* Reads the method's number. False: none that anybody here or, handed on, at worker 0 serves. */
static bool is_served_here(const struct mesh *m, const msgpack_object *root, uint64_t *method)
{
    const msgpack_object_array *a = &root->via.array;
    return root->type == MSGPACK_OBJECT_ARRAY && a->size > 0 && mp_u64(&a->ptr[0], method) &&
           *method < sizeof m->serve / sizeof m->serve[0] &&
           (m->serve[*method].fn != NULL || m->serve[*method].is_handed);
}

static void call_handler(struct mesh *m, uint64_t method, struct mesh_request *rq,
                         const msgpack_object *root)
{
    m->n.served++;
    m->serve[method].fn(m->serve[method].arg, rq, root->via.array.ptr + 1,
                        root->via.array.size - 1);
}

static void dispatch(struct mesh_link *l, uint32_t id, const msgpack_object *root,
                     const uint8_t *data, size_t len)
{
    struct mesh *m = l->mesh;
    uint64_t method = 0;
    bool is_known = is_served_here(m, root, &method);
    struct mesh_request *rq = is_known ? request_create(l, id) : NULL;
    if (rq == NULL) {
        m->n.served_bad++;
        answer(l, id, is_known ? MESH_RPC_BUSY : MESH_RPC_BAD, NULL);
    } else if (!m->serve[method].is_handed) {
        call_handler(m, method, rq, root);
    } else if (!mesh__request_out(m, rq, data, len)) {
        m->n.served_busy++;
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
    }
}

static void reply_to_worker(struct mesh *m, uint64_t ticket, unsigned status,
                            const struct mesh_items *items)
{
    struct mesh_parcel p = { .kind = MESH_PARCEL_REPLY, .ticket = ticket };
    uint8_t *data = mesh__rpc_encode(status, items, &p.len);
    if (data == NULL && items != NULL)
        data = mesh__rpc_encode(MESH_RPC_BUSY, NULL, &p.len);
    p.data = data; /* NULL: no memory; the request ends over there all the same */
    m->config.siblings->parcel(m->config.siblings_arg, (unsigned)(ticket >> 56), &p);
    free(data);
}

void mesh__request_in(struct mesh *m, uint64_t ticket, const struct mesh_asker *from,
                      const uint8_t *data, size_t len)
{
    cleanup_mp struct mp_doc doc = { 0 };
    uint64_t method = 0;
    struct mesh_request *rq = NULL;
    bool is_known = mp_parse(&doc, data, len, &mp_wire_rules) == DROP_NONE &&
                    is_served_here(m, &doc.root, &method) && m->serve[method].fn != NULL;
    if (is_known && m->n_rpc < MESH_RPC_ALL)
        rq = calloc(1, sizeof *rq);
    if (rq == NULL) {
        reply_to_worker(m, ticket, is_known ? MESH_RPC_BUSY : MESH_RPC_BAD, NULL);
        return;
    }
    *rq = (struct mesh_request){
        .mesh = m, .is_from_worker = true, .ticket = ticket, .asker = *from
    };
    list_init(&rq->of_link);
    list_init(&rq->of_mesh);
    list_push_back(&m->serving, &rq->of_mesh);
    m->n_rpc++;
    call_handler(m, method, rq, &doc.root);
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
    dispatch(l, id, &doc.root, data, len);
}

struct mesh_link *mesh_request_link(const struct mesh_request *rq)
{
    return rq->link;
}

bool mesh_request_asker(const struct mesh_request *rq, struct mesh_asker *out)
{
    const struct mesh_link *l = rq->link;
    if (rq->is_from_worker) {
        *out = rq->asker;
        return true;
    }
    if (l == NULL)
        return false;
    *out = (struct mesh_asker){ .addr = l->addr, .is_listed = l->is_listed, .has_id = l->has_id };
    memcpy(out->key, l->key, sizeof out->key);
    memcpy(out->id, l->id, sizeof out->id);
    return true;
}

/* Out of every list. Its link, when an answer can go there. */
static struct mesh_link *let_go(struct mesh_request *rq)
{
    struct mesh_link *l = rq->link;
    list_del(&rq->of_link);
    list_del(&rq->of_mesh);
    if (rq->mesh != NULL)
        rq->mesh->n_rpc--;
    if (l != NULL)
        l->n_serving--;
    return l != NULL && l->state == MESH_LINK_UP ? l : NULL;
}

void mesh_reply(struct mesh_request *rq, enum mesh_rpc_status status,
                const struct mesh_items *items)
{
    struct mesh_link *l = let_go(rq);
    if (l != NULL)
        answer(l, rq->id, status, items);
    if (rq->is_from_worker && rq->mesh != NULL)
        reply_to_worker(rq->mesh, rq->ticket, status, items);
    free(rq);
}

void mesh__reply_message(struct mesh_request *rq, const uint8_t *data, size_t len)
{
    struct mesh_link *l = let_go(rq);
    if (l != NULL && len == 0)
        answer(l, rq->id, MESH_RPC_BUSY, NULL);
    else if (l != NULL)
        send_answer(l, rq->id, data, len);
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
