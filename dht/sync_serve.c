/* dht/sync_serve.c - DIGEST, LIST and RECORDS: only of nodes that we reached within a day. Spec:
 * protocol.md, section 6, "Roster". */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/sync_internal.h"

enum {
    LIST_BYTES = DHT_SYNC_LIST * 24, /* an entry: array, bin 8, u64 */
    RECORDS_BYTES = MESH_MSG_MAX - 64,
    RECORD_OVER = 3, /* bytes in front of a record */
};

static const uint8_t *id_or_beginning(const msgpack_object *o, size_t *len)
{
    const uint8_t *p;
    *len = mp_bin(o, DHT_ID, &p) ? (size_t)DHT_ID : mp_bin(o, SYNC__BEGIN, &p) ? SYNC__BEGIN : 0;
    return *len > 0 ? p : NULL;
}

static void refuse(struct dht_sync *s, struct mesh_request *rq)
{
    s->n.refused_in++;
    mesh_reply(rq, MESH_RPC_BAD, NULL);
}

static void digest(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct dht_sync *s = arg;
    struct mesh_link *l = mesh_request_link(rq);
    uint8_t buf[DHT_ROSTER_DIGEST + 8];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    (void)items; /* none in this version; a later one's are not for us */
    (void)n;
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, sync__digest(s), DHT_ROSTER_DIGEST);
    s->n.digests_in++;
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 });
    sync__ask_back(s, l);
}

static void pack_entry(msgpack_packer *pk, const struct dht_roster_entry *e)
{
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, e->id, SYNC__BEGIN);
    msgpack_pack_uint64(pk, e->sequence);
}

static void list(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct dht_sync *s = arg;
    uint8_t buf[LIST_BYTES];
    uint64_t byte, now = mesh_time(s->mesh);
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    unsigned n_packed = 0;
    if (n < 1 || !mp_u64(&items[0], &byte) || byte > UINT8_MAX) {
        refuse(s, rq);
        return;
    }
    size_t end = dht_roster_from(s->roster, (unsigned)byte + 1);
    mp_packer(&pk, &w);
    for (size_t i = dht_roster_from(s->roster, (unsigned)byte); i < end; i++) {
        const struct dht_roster_entry *e = dht_roster_at(s->roster, i);
        if (!dht_roster_is_told(e, now) || n_packed == DHT_SYNC_LIST)
            continue;
        pack_entry(&pk, e);
        n_packed++;
    }
    s->n.lists_in++;
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = n_packed });
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

static void records(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct dht_sync *s = arg;
    if (!are_ids(items, n)) {
        refuse(s, rq);
        return;
    }
    uint8_t *buf = malloc(RECORDS_BYTES);
    if (buf == NULL) {
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
        return;
    }
    struct writer w = writer_on(buf, RECORDS_BYTES);
    struct mesh_items answer = { .data = buf };
    answer.n = pack_records(s, &w, items, n);
    answer.len = writer_len(&w);
    s->n.records_in++;
    mesh_reply(rq, MESH_RPC_OK, &answer);
    free(buf);
}

bool sync__serve_start(struct dht_sync *s)
{
    return mesh_serve(s->mesh, MESH_METHOD_DIGEST, digest, s) == 0 &&
           mesh_serve(s->mesh, MESH_METHOD_LIST, list, s) == 0 &&
           mesh_serve(s->mesh, MESH_METHOD_RECORDS, records, s) == 0;
}

void sync__serve_stop(struct dht_sync *s)
{
    static const unsigned methods[] = { MESH_METHOD_DIGEST, MESH_METHOD_LIST, MESH_METHOD_RECORDS };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (mesh_serve(s->mesh, methods[i], NULL, NULL) != 0)
            s->n.refused_in++; /* can't be: they were served */
}
