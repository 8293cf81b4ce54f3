/* dht/sync_serve.c - DIGEST, LIST and RECORDS: only of nodes that we reached within a day. Spec:
 * protocol.md, section 6, "Roster". */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/sync_internal.h"

enum {
    RECORD_OVER = 3, /* bytes in front of a record */
};

static_assert(DHT_ANSWER_ROOM >= DHT_SYNC_LIST * 24, "an entry: array, bin 8, u64");

static const uint8_t *id_or_beginning(const msgpack_object *o, size_t *len)
{
    const uint8_t *p;
    *len = mp_bin(o, DHT_ID, &p) ? (size_t)DHT_ID : mp_bin(o, SYNC__BEGIN, &p) ? SYNC__BEGIN : 0;
    return *len > 0 ? p : NULL;
}

static enum mesh_rpc_status bad(struct dht_sync *s)
{
    s->n.refused_in++;
    return MESH_RPC_BAD;
}

static enum mesh_rpc_status digest(struct dht_sync *s, struct dht_answer *a)
{
    msgpack_packer pk;
    mp_packer(&pk, &a->w);
    mp_pack_bin(&pk, sync__digest(s), DHT_ROSTER_DIGEST);
    a->n = 1;
    s->n.digests_in++;
    return MESH_RPC_OK;
}

static void pack_entry(msgpack_packer *pk, const struct dht_roster_entry *e)
{
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, e->id, SYNC__BEGIN);
    msgpack_pack_uint64(pk, e->sequence);
}

static enum mesh_rpc_status list(struct dht_sync *s, const msgpack_object *items, unsigned n,
                                 struct dht_answer *a)
{
    uint64_t byte, now = mesh_time(s->mesh);
    msgpack_packer pk;
    if (n < 1 || !mp_u64(&items[0], &byte) || byte > UINT8_MAX)
        return bad(s);
    size_t end = dht_roster_from(s->roster, (unsigned)byte + 1);
    mp_packer(&pk, &a->w);
    for (size_t i = dht_roster_from(s->roster, (unsigned)byte); i < end; i++) {
        const struct dht_roster_entry *e = dht_roster_at(s->roster, i);
        if (!dht_roster_is_told(e, now) || a->n == DHT_SYNC_LIST)
            continue;
        pack_entry(&pk, e);
        a->n++;
    }
    s->n.lists_in++;
    return MESH_RPC_OK;
}

static bool are_ids(const msgpack_object *items, unsigned n)
{
    size_t len;
    for (unsigned i = 0; i < n; i++)
        if (id_or_beginning(&items[i], &len) == NULL)
            return false;
    return n >= 1 && n <= DHT_SYNC_RECORDS;
}

/* As many as fit, in the order in which they were asked for. */
static unsigned pack_records(struct dht_sync *s, struct writer *w, const msgpack_object *items,
                             unsigned n)
{
    uint64_t now = mesh_time(s->mesh);
    uint8_t record[MESH_NODE_RECORD_MAX];
    msgpack_packer pk;
    unsigned n_packed = 0;
    mp_packer(&pk, w);
    for (unsigned i = 0; i < n; i++) {
        size_t len;
        const uint8_t *begin = id_or_beginning(&items[i], &len);
        const struct dht_roster_entry *e = dht_roster_begins(s->roster, begin, len);
        if (e == NULL || !dht_roster_is_told(e, now))
            continue;
        size_t record_len = dht_sync_record(s, e->id, record);
        if (record_len == 0)
            continue;
        if (writer_left(w) < record_len + RECORD_OVER)
            break;
        mp_pack_bin(&pk, record, record_len);
        n_packed++;
    }
    s->n.records_out += n_packed;
    return n_packed;
}

static enum mesh_rpc_status records(struct dht_sync *s, const msgpack_object *items, unsigned n,
                                    struct dht_answer *a)
{
    if (!are_ids(items, n))
        return bad(s);
    a->n = pack_records(s, &a->w, items, n);
    s->n.records_in++;
    return MESH_RPC_OK;
}

enum mesh_rpc_status dht_sync_answer(struct dht_sync *s, unsigned method,
                                     const msgpack_object *items, unsigned n, struct dht_answer *a)
{
    switch (method) {
    case MESH_METHOD_DIGEST:
        return digest(s, a); /* no items in this version; a later one's are not for us */
    case MESH_METHOD_LIST:
        return list(s, items, n, a);
    case MESH_METHOD_RECORDS:
        return records(s, items, n, a);
    default:
        return bad(s);
    }
}

/* ---- to whoever asks over a link --------------------------------------------------------------
 */

static void serve(struct dht_sync *s, struct mesh_request *rq, unsigned method,
                  const msgpack_object *items, unsigned n)
{
    uint8_t *buf = malloc(DHT_ANSWER_ROOM);
    if (buf == NULL) {
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
        return;
    }
    struct dht_answer a = { .w = writer_on(buf, DHT_ANSWER_ROOM) };
    enum mesh_rpc_status status = dht_sync_answer(s, method, items, n, &a);
    mesh_reply(rq, status, &(struct mesh_items){ .data = buf, .len = writer_len(&a.w), .n = a.n });
    free(buf);
}

static void serve_digest(void *arg, struct mesh_request *rq, const msgpack_object *items,
                         unsigned n)
{
    struct dht_sync *s = arg;
    struct mesh_link *l = mesh_request_link(rq);
    serve(s, rq, MESH_METHOD_DIGEST, items, n);
    sync__ask_back(s, l);
}

static void serve_list(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    serve(arg, rq, MESH_METHOD_LIST, items, n);
}

static void serve_records(void *arg, struct mesh_request *rq, const msgpack_object *items,
                          unsigned n)
{
    serve(arg, rq, MESH_METHOD_RECORDS, items, n);
}

bool sync__serve_start(struct dht_sync *s)
{
    return mesh_serve(s->mesh, MESH_METHOD_DIGEST, serve_digest, s) == 0 &&
           mesh_serve(s->mesh, MESH_METHOD_LIST, serve_list, s) == 0 &&
           mesh_serve(s->mesh, MESH_METHOD_RECORDS, serve_records, s) == 0;
}

void sync__serve_stop(struct dht_sync *s)
{
    static const unsigned methods[] = { MESH_METHOD_DIGEST, MESH_METHOD_LIST, MESH_METHOD_RECORDS };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (mesh_serve(s->mesh, methods[i], NULL, NULL) != 0)
            s->n.refused_in++; /* can't be: they were served */
}
