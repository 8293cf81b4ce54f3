/* dht/serve.c - FIND and STORE of other nodes. Spec: protocol.md, section 6, "RPC", "Store rules".
 */
#include <stdlib.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "dht/dht_internal.h"

uint64_t dht__source(const struct dht *d, const struct mesh_asker *from)
{
    uint64_t link;
    memcpy(&link, from->key, sizeof link);
    return d->is_lab ? link : env_addr_prefix(&from->addr);
}

bool dht__is_near(const struct dht *d, const uint8_t place[static DHT_ID], size_t most)
{
    return dht_table_nearer(d->table, place, d->self, most) < most;
}

/* Who asks is alive. */
static void touch(struct dht *d, const struct mesh_request *rq)
{
    struct mesh_asker from;
    if (mesh_request_asker(rq, &from) && from.has_id)
        dht_table_touch(d->table, from.id, dht__now(d));
}

/* ---- FIND ------------------------------------------------------------------------------------ */

struct answer {
    msgpack_packer pk;
    struct writer w;
    unsigned n, n_values;
    size_t most; /* bytes of values */
};

static bool pack_value(void *arg, const uint8_t *record, size_t len)
{
    struct answer *a = arg;
    if (writer_len(&a->w) + len + 3 > a->most)
        return false;
    mp_pack_bin(&a->pk, record, len);
    a->n++;
    a->n_values++;
    return true;
}

static void pack_node(void *arg, const uint8_t *record, size_t len)
{
    struct answer *a = arg;
    if (writer_left(&a->w) < len + 3)
        return;
    mp_pack_bin(&a->pk, record, len);
    a->n++;
}

static void pack_nodes(struct dht *d, struct answer *a, const uint8_t *key, size_t most)
{
    struct dht_near near;
    dht_table_nearest(d->table, key, most, &near);
    for (size_t i = 0; i < dht_near_len(&near); i++) {
        const struct dht_contact *c = dht_near_at(&near, i)->what;
        pack_node(a, c->record, c->len);
    }
    /* A node that has just started knows its links' peers, if nobody else. */
    if (dht_near_len(&near) < most && dht_table_len(d->table) == 0)
        (void)mesh_known_nearest(d->mesh, key, most, pack_node, a);
}

/* [key 32, type, most] */
static void find_serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct dht *d = arg;
    const uint8_t *key;
    uint64_t type = 0;
    uint64_t most = 0;
    if (n < 3 || !mp_bin(&items[0], DHT_ID, &key) || !mp_u64(&items[1], &type) ||
        !mp_u64(&items[2], &most)) {
        d->n.served_bad++;
        mesh_reply(rq, MESH_RPC_BAD, NULL);
        return;
    }
    enum { ROOM = DHT_ANSWER_BYTES + DHT_ANSWER_NODES * (MESH_NODE_RECORD_MAX + 3) };
    uint8_t *buf = malloc(ROOM);
    if (buf == NULL) {
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
        return;
    }
    struct answer a = { .w = writer_on(buf, ROOM), .most = DHT_ANSWER_BYTES };
    mp_packer(&a.pk, &a.w);
    d->n.served_finds++;
    touch(d, rq);
    if (type != 0 && type <= UINT8_MAX)
        (void)dht_store_read(d->store, key, (unsigned)type, mesh_time(d->mesh), pack_value, &a);
    pack_nodes(d, &a, key, most < DHT_ANSWER_NODES ? (size_t)most : DHT_ANSWER_NODES);
    mesh_reply(rq, type == 0 || a.n_values > 0 ? MESH_RPC_OK : MESH_RPC_NOT_FOUND,
               &(struct mesh_items){ .data = buf, .len = writer_len(&a.w), .n = a.n });
    free(buf);
}

/* ---- STORE ----------------------------------------------------------------------------------- */

/* A record on its way to our disk, at each of its places that we are near to, for a peer that
 * waits. */
struct dht__offer {
    struct list node;
    struct dht *d;
    struct mesh_request *rq;
    unsigned open; /* verdicts that are still to come */
    bool is_any;   /* one came */
    enum dht_verdict worst;
    uint8_t place[DHT_ID]; /* that `worst` is of */
    uint8_t type, publisher[32];
    struct dht__offer_place {
        struct dht__offer *offer;
        uint8_t place[DHT_ID];
    } at[DHT_PLACES_MAX];
};

static enum mesh_rpc_status status_of(enum dht_verdict v)
{
    switch (v) {
    case DHT_TAKEN:
    case DHT_REFRESHED:
        return MESH_RPC_OK;
    case DHT_STALE:
        return MESH_RPC_STALE;
    case DHT_QUOTA:
        return MESH_RPC_QUOTA;
    case DHT_REFUSED:
        return MESH_RPC_REFUSED;
    case DHT_BUSY:
        return MESH_RPC_BUSY;
    }
    return MESH_RPC_BUSY;
}

static void reply_verdict(const struct dht__offer *o)
{
    uint8_t record[MESH_RECORD_MAX];
    uint8_t buf[MESH_RECORD_MAX + 8];
    struct mesh_items items = { 0 };
    struct dht_held held = { .type = o->type };
    memcpy(held.place, o->place, sizeof held.place);
    memcpy(held.publisher, o->publisher, sizeof held.publisher);
    size_t len = o->worst == DHT_STALE ? dht_store_get(o->d->store, &held, record) : 0;
    if (len > 0)
        items = dht__store_items(buf, record, len);
    mesh_reply(o->rq, status_of(o->worst), &items);
}

static void offer_closed(struct dht__offer *o)
{
    if (--o->open > 0)
        return;
    reply_verdict(o);
    list_del(&o->node);
    free(o);
}

/* Verdicts are sorted, the best first; the worst is told: OK claims all of the places. */
static void offered(void *arg, enum dht_verdict v)
{
    const struct dht__offer_place *at = arg;
    struct dht__offer *o = at->offer;
    if (!o->is_any || v > o->worst) {
        o->worst = v;
        memcpy(o->place, at->place, sizeof o->place);
    }
    o->is_any = true;
    offer_closed(o);
}

static void offer(struct dht *d, struct mesh_request *rq, const struct dht_value *v,
                  const bool is_near[static DHT_PLACES_MAX])
{
    struct mesh_asker from;
    struct dht__offer *o = mesh_request_asker(rq, &from) ? calloc(1, sizeof *o) : NULL;
    if (o == NULL) {
        mesh_reply(rq, MESH_RPC_BUSY, NULL);
        return;
    }
    *o = (struct dht__offer){ .d = d, .rq = rq, .open = 1, .type = v->type->number };
    memcpy(o->publisher, v->head.publisher, sizeof o->publisher);
    list_init(&o->node);
    list_push_back(&d->requests, &o->node);
    for (unsigned i = 0; i < v->n_places; i++) {
        struct dht__offer_place *at = &o->at[i];
        if (!is_near[i])
            continue;
        at->offer = o;
        memcpy(at->place, v->places[i], sizeof at->place);
        o->open++;
        dht_store_offer(d->store, v, at->place, dht__source(d, &from), mesh_time(d->mesh), offered,
                        at, NULL);
    }
    offer_closed(o);
}

/* [record]: kept at all of its places that we are near to, since the request names none. */
static void store_serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct dht *d = arg;
    const uint8_t *record;
    size_t len;
    struct dht_value v;
    bool is_near[DHT_PLACES_MAX] = { 0 };
    bool is_any = false;
    if (n < 1 || !mp_bin_any(&items[0], &record, &len)) {
        d->n.served_bad++;
        mesh_reply(rq, MESH_RPC_BAD, NULL);
        return;
    }
    d->n.served_stores++;
    touch(d, rq);
    enum drop drop = dht_value_parse(&v, mesh_network_of(d->mesh), mesh_time(d->mesh), record, len);
    if (drop != DROP_NONE) {
        d->n.values_refused[drop]++;
        mesh_reply(rq, MESH_RPC_REFUSED, NULL);
        return;
    }
    for (unsigned i = 0; i < v.n_places; i++)
        is_any |= is_near[i] = dht__is_near(d, v.places[i], DHT_STORE_NEAR);
    if (is_any) {
        offer(d, rq, &v, is_near);
        return;
    }
    d->n.served_far++;
    mesh_reply(rq, MESH_RPC_REFUSED, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

int dht__serve_start(struct dht *d, struct cyx_err *err)
{
    struct dht_store_options o = { .env = d->env,
                                   .network = mesh_network_of(d->mesh),
                                   .max_bytes = d->config.store_bytes };
    memcpy(o.self, d->self, sizeof o.self);
    memcpy(o.secret, d->secret, sizeof o.secret);
    d->store = dht_store_open(&o, mesh_time(d->mesh), err);
    if (d->store == NULL)
        return err->code;
    if (mesh_serve(d->mesh, MESH_METHOD_FIND, find_serve, d) != 0 ||
        mesh_serve(d->mesh, MESH_METHOD_STORE, store_serve, d) != 0)
        return cyx_fail(err, CYX_EINVAL, "FIND and STORE can't be served");
    return 0;
}

void dht__serve_stop(struct dht *d)
{
    if (d->store == NULL)
        return;
    (void)!mesh_serve(d->mesh, MESH_METHOD_FIND, NULL, NULL);
    (void)!mesh_serve(d->mesh, MESH_METHOD_STORE, NULL, NULL);
    dht_store_close(d->store); /* tells those that wait */
    d->store = NULL;
}
