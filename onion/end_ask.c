/* onion/end_ask.c - what is asked over a path that ends here. Lookups and stores are run as our
 * own: whoever sees them sees us, and what we hand back was proven here. Spec: protocol.md, section
 * 10, "At END"; the bounds: section 16. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "onion/end_internal.h"

/* A lookup or a publication under way. The path may end before it does. */
struct end_ask {
    struct list node;
    struct end_path *path; /* NULL: nobody waits for it any more */
    uint32_t id;
    struct dht_find *find; /* NULL: a publication, which can't be taken back */
    unsigned most;         /* node records wanted */
    bool is_nodes;
};

bool end__is_under_way(const struct end_path *p, uint32_t id)
{
    list_each (at, &p->under_way)
        if (container_of(at, struct end_ask, node)->id == id)
            return true;
    return false;
}

static struct end_ask *ask_begin(struct end_path *p, uint32_t id)
{
    struct end_ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->path = p;
    a->id = id;
    list_init(&a->node);
    list_push_back(&p->under_way, &a->node);
    p->n_under_way++;
    p->end->n_asks++;
    return a;
}

/* Off its path: what ends it may come later. */
static struct end_path *ask_leave(struct end_ask *a)
{
    struct end_path *p = a->path;
    a->path = NULL;
    if (p == NULL)
        return NULL;
    list_del(&a->node);
    p->n_under_way--;
    p->end->n_asks--;
    return p;
}

void end__asks_end(struct end_path *p)
{
    while (!list_empty(&p->under_way)) {
        struct end_ask *a = container_of(p->under_way.next, struct end_ask, node);
        ask_leave(a);
        if (a->find == NULL)
            continue; /* `stored` frees it */
        dht_find_cancel(a->find);
        free(a);
    }
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

static bool refuse(struct end_path *p, uint32_t id, enum end_refusal why)
{
    p->end->n.refused[why]++;
    end__answer(p, id, MESH_RPC_BUSY, NULL);
    return false;
}

static void minute_passes(struct end_path *p, uint64_t now)
{
    if (now - p->minute_ns < ENV_S(60))
        return;
    p->minute_ns = now;
    p->asks = p->stores = 0;
}

static bool may_ask(struct end_path *p, uint32_t id)
{
    minute_passes(p, relay__now(p->end->relay));
    if (p->n_under_way >= ONION_ASKS_PATH)
        return refuse(p, id, END_REFUSED_FLIGHT);
    if (p->asks >= ONION_ASKS_MINUTE)
        return refuse(p, id, END_REFUSED_MINUTE);
    p->asks++;
    return true;
}

/* ---- FIND --------------------------------------------------------------------------------------
 */

static void pack(struct dht_answer *a, const uint8_t *record, size_t len, size_t room)
{
    enum { OVER = 3 }; /* bytes in front of a record */
    msgpack_packer pk;
    if (writer_len(&a->w) + len + OVER > room)
        return;
    mp_packer(&pk, &a->w);
    mp_pack_bin(&pk, record, len);
    a->n++;
}

static void pack_found(struct dht_answer *a, const struct end_ask *ask, const struct dht_found *f)
{
    for (size_t i = 0; !ask->is_nodes && i < f->n_values; i++)
        pack(a, f->values[i].data, f->values[i].len, DHT_ANSWER_BYTES);
    for (size_t i = 0; ask->is_nodes && i < f->n_nodes && i < ask->most; i++)
        pack(a, f->nodes[i].record, f->nodes[i].len, DHT_ANSWER_ROOM);
}

static enum mesh_rpc_status status_of_find(int code)
{
    switch (code) {
    case 0:
        return MESH_RPC_OK;
    case CYX_ENOENT:
        return MESH_RPC_NOT_FOUND;
    default:
        return MESH_RPC_BUSY; /* nobody answered, or nobody is known: another END may do better */
    }
}

static void found(void *arg, int code, const struct dht_found *f)
{
    struct end_ask *a = arg;
    struct end_path *p = ask_leave(a);
    uint32_t id = a->id;
    uint8_t *buf = code == 0 ? malloc(DHT_ANSWER_ROOM) : NULL;
    struct mesh_items items = { .data = buf };
    enum mesh_rpc_status status = status_of_find(code);
    if (buf != NULL) {
        struct dht_answer answer = { .w = writer_on(buf, DHT_ANSWER_ROOM) };
        pack_found(&answer, a, f);
        items.len = writer_len(&answer.w);
        items.n = answer.n;
    } else if (code == 0) {
        status = MESH_RPC_BUSY;
    }
    free(a);
    end__answer(p, id, status, &items);
    free(buf);
}

/* [key, type, most] */
static void find(struct end_path *p, uint32_t id, const msgpack_object *items, unsigned n)
{
    struct onion_end *e = p->end;
    const uint8_t *key;
    uint64_t type = 0, most = 0;
    if (n < 3 || !mp_bin(&items[0], DHT_ID, &key) || !mp_u64(&items[1], &type) ||
        !mp_u64(&items[2], &most) || type > UINT8_MAX) {
        end__answer(p, id, MESH_RPC_BAD, NULL);
        return;
    }
    e->n.finds++;
    if (!onion_share_take(e->finds, p->link, p->link, relay__now(e->relay))) {
        refuse(p, id, END_REFUSED_ALL);
        return;
    }
    struct end_ask *a = ask_begin(p, id);
    if (a == NULL) {
        end__answer(p, id, MESH_RPC_BUSY, NULL);
        return;
    }
    a->is_nodes = type == 0;
    a->most = most < DHT_ANSWER_NODES ? (unsigned)most : DHT_ANSWER_NODES;
    /* A descriptor that changed is asked for again at once: what we remember may be what failed. */
    unsigned flags = type == 0                        ? DHT_FIND_NODES
                     : type == MESH_RECORD_DESCRIPTOR ? DHT_FIND_FRESH
                                                      : 0;
    int code = dht_find(e->dht, key, (unsigned)type, flags, found, a, &a->find);
    if (code == 0)
        return;
    ask_leave(a);
    free(a);
    if (code == CYX_EINVAL)
        end__answer(p, id, MESH_RPC_BAD, NULL); /* no such type */
    else
        refuse(p, id, END_REFUSED_DHT);
}

/* ---- STORE -------------------------------------------------------------------------------------
 */

static enum mesh_rpc_status status_of_put(int code, const struct dht_stored *s)
{
    switch (code) {
    case 0:
        return MESH_RPC_OK;
    case CYX_EEXIST:
        return MESH_RPC_STALE;
    case CYX_EIO:
        return s != NULL && s->refused > 0 ? MESH_RPC_REFUSED : MESH_RPC_BUSY;
    default:
        return MESH_RPC_BUSY;
    }
}

static void stored(void *arg, int code, const struct dht_stored *s)
{
    struct end_ask *a = arg;
    struct end_path *p = ask_leave(a);
    uint32_t id = a->id;
    free(a);
    if (p != NULL)
        end__answer(p, id, status_of_put(code, s), NULL);
}

static bool may_store(struct end_path *p, uint32_t id)
{
    struct onion_end *e = p->end;
    if (p->stores >= ONION_STORES_MINUTE)
        return refuse(p, id, END_REFUSED_MINUTE);
    if (!onion_share_take(e->stores, p->link, p->link, relay__now(e->relay)))
        return refuse(p, id, END_REFUSED_ALL);
    p->stores++;
    return true;
}

/* [record] */
static void store(struct end_path *p, uint32_t id, const msgpack_object *items, unsigned n)
{
    struct onion_end *e = p->end;
    const uint8_t *record;
    size_t len;
    if (n < 1 || !mp_bin_any(&items[0], &record, &len)) {
        end__answer(p, id, MESH_RPC_BAD, NULL);
        return;
    }
    e->n.stores++;
    if (!may_store(p, id))
        return;
    struct end_ask *a = ask_begin(p, id);
    int code = a != NULL ? dht_put(e->dht, record, len, stored, a, NULL) : CYX_ENOMEM;
    if (code == 0)
        return;
    if (a != NULL)
        ask_leave(a);
    free(a);
    if (code == CYX_EINVAL)
        end__answer(p, id, MESH_RPC_REFUSED, NULL); /* it fails its own checks */
    else
        refuse(p, id, END_REFUSED_DHT);
}

/* ---- DIGEST, LIST, RECORDS ---------------------------------------------------------------------
 */

static void roster(struct end_path *p, uint32_t id, unsigned method, const msgpack_object *items,
                   unsigned n)
{
    uint8_t *buf = malloc(DHT_ANSWER_ROOM);
    p->end->n.rosters++;
    if (buf == NULL) {
        end__answer(p, id, MESH_RPC_BUSY, NULL);
        return;
    }
    struct dht_answer a = { .w = writer_on(buf, DHT_ANSWER_ROOM) };
    enum mesh_rpc_status status = dht_roster_answer(p->end->dht, method, items, n, &a);
    end__answer(p, id, status,
                &(struct mesh_items){ .data = buf, .len = writer_len(&a.w), .n = a.n });
    free(buf);
}

/* ---- a request ---------------------------------------------------------------------------------
 */

static void dispatch(struct end_path *p, uint32_t id, uint64_t method, const msgpack_object *items,
                     unsigned n)
{
    switch (method) {
    case MESH_METHOD_FIND:
        find(p, id, items, n);
        break;
    case MESH_METHOD_STORE:
        store(p, id, items, n);
        break;
    case MESH_METHOD_DIGEST:
    case MESH_METHOD_LIST:
    case MESH_METHOD_RECORDS:
        roster(p, id, (unsigned)method, items, n);
        break;
    default: /* HELLO and CALL are for links */
        p->end->n.bad++;
        end__answer(p, id, MESH_RPC_BAD, NULL);
        break;
    }
}

void end__request(struct end_path *p, uint32_t id, const uint8_t *data, size_t len)
{
    cleanup_mp struct mp_doc doc = { 0 };
    uint64_t method = 0;
    if (!may_ask(p, id))
        return;
    if (mp_parse(&doc, data, len, &mp_wire_rules) != DROP_NONE ||
        doc.root.type != MSGPACK_OBJECT_ARRAY || doc.root.via.array.size < 1 ||
        !mp_u64(&doc.root.via.array.ptr[0], &method)) {
        p->end->n.bad++;
        end__answer(p, id, MESH_RPC_BAD, NULL);
        return;
    }
    dispatch(p, id, method, doc.root.via.array.ptr + 1, doc.root.via.array.size - 1);
}
