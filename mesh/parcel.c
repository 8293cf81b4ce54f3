/* mesh/parcel.c - questions and requests that pass between workers. A peer is asked by the worker
 * that has its links; what a peer asks of all of the node (dht/) is served by worker 0 alone:
 *
 *   who asks         ASK -------> the peer's worker: mesh_ask there
 *                        <------- ANSWER           (CANCEL takes an ASK back)
 *   the peer's worker    REQUEST -> worker 0: the handler
 *                        <- REPLY
 *
 * A ticket stands for what waits; nobody holds a pointer into another worker's memory, and what
 * comes for a ticket that is gone is dropped. docs/decisions/0003. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "mesh/link_internal.h"

enum { TICKET_WORKER_SHIFT = 56 };

/* A question of another worker's that we put to a peer of ours. */
struct mesh__asked {
    struct mesh *mesh;
    struct mesh_ask *ask;
    uint64_t ticket;
};

bool mesh__parcels_create(struct mesh *m)
{
    m->asks_out = map_create(sizeof(uint64_t), MESH_RPC_ALL);
    m->asks_in = map_create(sizeof(uint64_t), MESH_RPC_ALL);
    m->requests_out = map_create(sizeof(uint64_t), MESH_RPC_ALL);
    return m->asks_out != NULL && m->asks_in != NULL && m->requests_out != NULL;
}

static uint64_t draw_ticket(struct mesh *m)
{
    return (uint64_t)m->config.worker << TICKET_WORKER_SHIFT | m->next_ticket++;
}

static bool send_parcel(struct mesh *m, unsigned to, const struct mesh_parcel *p)
{
    const struct mesh_siblings *s = m->config.siblings;
    return s != NULL && s->parcel(m->config.siblings_arg, to, p);
}

/* ---- asking ---------------------------------------------------------------------------------- */

int mesh__ask_out(struct mesh *m, struct mesh_ask *a, uint64_t *ticket, const struct mesh_parcel *p)
{
    struct mesh_parcel mine = *p;
    if (m->is_stopping)
        return CYX_ECLOSED;
    *ticket = mine.ticket = draw_ticket(m);
    int code = map_put(m->asks_out, ticket, a);
    if (code != 0)
        return code;
    if (send_parcel(m, mesh_worker_of(p->to->link_key, m->config.n_workers), &mine))
        return 0;
    (void)map_del(m->asks_out, ticket);
    m->n.calls_refused++;
    return CYX_EFULL;
}

void mesh__ask_out_cancel(struct mesh *m, uint64_t ticket, unsigned worker)
{
    if (map_del(m->asks_out, &ticket) != NULL)
        (void)send_parcel(m, worker,
                          &(struct mesh_parcel){ .kind = MESH_PARCEL_CANCEL, .ticket = ticket });
}

static void take_answer(struct mesh *m, const struct mesh_parcel *p)
{
    cleanup_mp struct mp_doc doc = { 0 };
    struct mesh_ask *a = map_del(m->asks_out, &p->ticket);
    uint64_t status = 0;
    if (a == NULL)
        return; /* taken back in the meantime */
    if (p->code != 0) {
        mesh__ask_end(a, p->code, 0, NULL, 0);
        return;
    }
    const msgpack_object_array *items = &doc.root.via.array;
    if (mp_parse(&doc, p->data, p->len, &mp_wire_rules) != DROP_NONE ||
        doc.root.type != MSGPACK_OBJECT_ARRAY || items->size == 0 ||
        !mp_u64(&items->ptr[0], &status))
        mesh__ask_end(a, CYX_ENOMEM, 0, NULL, 0); /* it was well-formed over there */
    else
        mesh__ask_end(a, 0, (unsigned)status, items->ptr + 1, items->size - 1);
}

/* ---- asking for another worker --------------------------------------------------------------- */

static void send_answer(struct mesh *m, uint64_t ticket, int code, const msgpack_sbuffer *message)
{
    (void)send_parcel(m, (unsigned)(ticket >> TICKET_WORKER_SHIFT),
                      &(struct mesh_parcel){
                          .kind = MESH_PARCEL_ANSWER,
                          .ticket = ticket,
                          .code = code,
                          .data = message != NULL ? (const uint8_t *)message->data : NULL,
                          .len = message != NULL ? message->size : 0,
                      });
}

/* The answer as it was: every value has one encoding only, and msgpack-c writes that one. */
static bool pack_message(msgpack_sbuffer *to, unsigned status, const msgpack_object *items,
                         unsigned n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, to, msgpack_sbuffer_write);
    bool ok = msgpack_pack_array(&pk, (size_t)n + 1) == 0 && msgpack_pack_uint32(&pk, status) == 0;
    for (unsigned i = 0; ok && i < n; i++)
        ok = msgpack_pack_object(&pk, items[i]) == 0;
    return ok;
}

static void asked_answered(void *arg, int code, unsigned status, const msgpack_object *items,
                           unsigned n)
{
    struct mesh__asked asked = *(struct mesh__asked *)arg;
    msgpack_sbuffer message;
    (void)map_del(asked.mesh->asks_in, &asked.ticket);
    free(arg);
    if (code != 0) {
        send_answer(asked.mesh, asked.ticket, code, NULL);
        return;
    }
    msgpack_sbuffer_init(&message);
    if (pack_message(&message, status, items, n))
        send_answer(asked.mesh, asked.ticket, 0, &message);
    else
        send_answer(asked.mesh, asked.ticket, CYX_ENOMEM, NULL);
    msgpack_sbuffer_destroy(&message);
}

static int ask_for(struct mesh *m, struct mesh__asked *asked, const struct mesh_parcel *p)
{
    const struct mesh_items items = { .data = p->data, .len = p->len, .n = p->n_items };
    if (m->is_stopping)
        return CYX_ECLOSED;
    *asked = (struct mesh__asked){ .mesh = m, .ticket = p->ticket };
    int code = map_put(m->asks_in, &p->ticket, asked);
    if (code != 0)
        return code;
    code = mesh__is_mine(m, p->to->link_key) ? mesh_ask(m, p->to, p->method, &items, p->deadline_ms,
                                                        asked_answered, asked, &asked->ask)
                                             : CYX_EINVAL; /* never on to a third worker */
    if (code != 0)
        (void)map_del(m->asks_in, &p->ticket);
    return code;
}

static void take_ask(struct mesh *m, const struct mesh_parcel *p)
{
    struct mesh__asked *asked = malloc(sizeof *asked);
    int code = asked != NULL ? ask_for(m, asked, p) : CYX_ENOMEM;
    if (code == 0)
        return;
    free(asked);
    send_answer(m, p->ticket, code, NULL);
}

static void take_cancel(struct mesh *m, const struct mesh_parcel *p)
{
    struct mesh__asked *asked = map_del(m->asks_in, &p->ticket);
    if (asked == NULL)
        return; /* its answer is on the way */
    mesh_ask_cancel(asked->ask);
    free(asked);
}

/* ---- requests -------------------------------------------------------------------------------- */

void mesh_hand_requests(struct mesh *m, unsigned method)
{
    if (method < sizeof m->serve / sizeof m->serve[0] && m->config.worker != 0)
        m->serve[method].is_handed = true;
}

bool mesh__request_out(struct mesh *m, struct mesh_request *rq, const uint8_t *data, size_t len)
{
    struct mesh_asker from;
    struct mesh_parcel p = { .kind = MESH_PARCEL_REQUEST,
                             .ticket = draw_ticket(m),
                             .from = &from,
                             .data = data,
                             .len = len };
    if (!mesh_request_asker(rq, &from) || map_put(m->requests_out, &p.ticket, rq) != 0)
        return false;
    if (send_parcel(m, 0, &p))
        return true;
    (void)map_del(m->requests_out, &p.ticket);
    return false;
}

static void take_reply(struct mesh *m, const struct mesh_parcel *p)
{
    struct mesh_request *rq = map_del(m->requests_out, &p->ticket);
    if (rq != NULL)
        mesh__reply_message(rq, p->data, p->len);
}

void mesh_take_parcel(struct mesh *m, const struct mesh_parcel *p)
{
    switch (p->kind) {
    case MESH_PARCEL_ASK:
        take_ask(m, p);
        break;
    case MESH_PARCEL_CANCEL:
        take_cancel(m, p);
        break;
    case MESH_PARCEL_ANSWER:
        take_answer(m, p);
        break;
    case MESH_PARCEL_REQUEST:
        mesh__request_in(m, p->ticket, p->from, p->data, p->len);
        break;
    case MESH_PARCEL_REPLY:
        take_reply(m, p);
        break;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void mesh__parcels_fail(struct mesh *m)
{
    const void *key = NULL;
    struct mesh_ask *a;
    uint64_t ticket;
    while ((a = map_oldest(m->asks_out, &key)) != NULL) {
        memcpy(&ticket, key, sizeof ticket);
        (void)map_del(m->asks_out, &ticket);
        mesh__ask_end(a, CYX_ECLOSED, 0, NULL, 0);
    }
}

static bool free_out(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

static bool free_in(void *arg, const void *key, void *value)
{
    struct mesh__asked *asked = value;
    (void)arg;
    (void)key;
    mesh_ask_cancel(asked->ask);
    free(asked);
    return true;
}

static bool end_request(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    mesh_reply(value, MESH_RPC_BUSY, NULL);
    return true;
}

/* While the links' memory is still there. */
void mesh__parcels_destroy(struct mesh *m)
{
    if (m->asks_out != NULL)
        map_each(m->asks_out, free_out, NULL);
    if (m->asks_in != NULL)
        map_each(m->asks_in, free_in, NULL);
    if (m->requests_out != NULL)
        map_each(m->requests_out, end_request, NULL);
    map_destroy(m->asks_out);
    map_destroy(m->asks_in);
    map_destroy(m->requests_out);
    m->asks_out = m->asks_in = m->requests_out = NULL;
}
