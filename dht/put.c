/* dht/put.c - publishing once: for each place of the record a lookup for the nearest nodes, then
 * STORE to all of them, ourselves included when we are one. Spec: protocol.md, section 6, "STORE
 * goes to the 16 nearest of the union, and counts as done at 8". */
#include <stdlib.h>

#include "base/mp.h"
#include "dht/dht_internal.h"

struct dht__put;

struct place {
    struct dht__put *put;
    uint8_t key[DHT_ID];
    struct dht_find *find;
    bool is_looked, is_done;
    int code; /* of the lookup */
    unsigned asked, stored, stale, refused, open;
};

struct dht__put {
    struct list node;
    struct dht *d;
    dht_put_fn done;
    void *arg;
    struct place places[DHT_PLACES_MAX];
    unsigned n_places;
    struct list asks; /* struct store_ask */
    struct env_task ending;
    struct dht_value v; /* borrows from `record` */
    size_t len;
    uint8_t record[];
};

struct store_ask {
    struct list node;
    struct place *place;
    struct mesh_ask *ask; /* NULL: to our own store */
    uint8_t id[DHT_ID];
};

/* ---- the end --------------------------------------------------------------------------------- */

static void put_free(struct dht__put *p)
{
    env_task_cancel(&p->ending);
    list_del(&p->node);
    for (unsigned i = 0; i < p->n_places; i++)
        if (p->places[i].find != NULL)
            dht_find_cancel(p->places[i].find);
    while (!list_empty(&p->asks)) {
        struct store_ask *a = container_of(p->asks.next, struct store_ask, node);
        list_del(&a->node);
        if (a->ask != NULL) {
            mesh_ask_cancel(a->ask);
            free(a);
        } else {
            a->place = NULL; /* our disk still owes the end of it */
        }
    }
    free(p);
}

static int place_code(const struct place *at)
{
    unsigned half = (at->asked + 1) / 2;
    unsigned want = half < DHT_STORE_DONE ? half : DHT_STORE_DONE;
    if (at->code != 0)
        return at->code;
    if (at->stale > at->stored)
        return CYX_EEXIST;
    return at->stored >= (want > 0 ? want : 1) ? 0 : CYX_EIO;
}

static void tell(struct dht__put *p, int code)
{
    struct dht_stored s = { .n_places = p->n_places };
    for (unsigned i = 0; i < p->n_places; i++) {
        const struct place *at = &p->places[i];
        if (i == 0 || at->stored < s.stored) {
            s.asked = at->asked;
            s.stored = at->stored;
            s.stale = at->stale;
            s.refused = at->refused;
        }
        if (code == 0)
            code = place_code(at);
    }
    *(code == 0 ? &p->d->n.puts_ok : &p->d->n.puts_failed) += 1;
    dht_put_fn done = p->done;
    void *arg = p->arg;
    put_free(p);
    if (done != NULL)
        done(arg, code, &s);
}

static void end(void *arg)
{
    tell(arg, 0);
}

static void look_over(struct dht__put *p)
{
    for (unsigned i = 0; i < p->n_places; i++)
        if (!p->places[i].is_looked || p->places[i].open > 0)
            return;
    env_defer(p->d->env, &p->ending);
}

/* ---- storing --------------------------------------------------------------------------------- */

static void ask_end(struct store_ask *a)
{
    struct place *at = a->place;
    list_del(&a->node);
    free(a);
    at->open--;
    look_over(at->put);
}

/* The store holds a newer one, or another of the same age: so it says, and so it must show. Ours
 * sent back shows nothing, nor does a newer one that belongs elsewhere. */
static bool shows_newer(const struct place *at, const msgpack_object *items, unsigned n)
{
    const struct dht__put *p = at->put;
    struct dht *d = p->d;
    const uint8_t *record;
    size_t len;
    struct dht_value v;
    if (n < 1 || !mp_bin_any(&items[0], &record, &len) ||
        (len == p->len && memcmp(record, p->record, len) == 0) ||
        dht_value_parse(&v, mesh_network_of(d->mesh), mesh_time(d->mesh), record, len) != DROP_NONE)
        return false;
    return v.type == p->v.type && memcmp(v.head.publisher, p->v.head.publisher, 32) == 0 &&
           dht_value_belongs(&v, at->key) && dht_value_compare(&v, &p->v) >= 0 &&
           dht_value_verify(&v, mesh_network_of(d->mesh), mesh_time(d->mesh)) == DROP_NONE;
}

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct store_ask *a = arg;
    struct place *at = a->place;
    struct dht *d = at->put->d;
    if (code == 0 && status == MESH_RPC_OK)
        at->stored++;
    else if (code == 0 && status == MESH_RPC_STALE && shows_newer(at, items, n))
        at->stale++;
    else
        at->refused++;
    if (code == CYX_ETIMEDOUT || code == CYX_ECLOSED)
        dht__failed(d, a->id);
    ask_end(a);
}

static struct store_ask *ask_make(struct place *at, const uint8_t id[static DHT_ID])
{
    struct store_ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->place = at;
    memcpy(a->id, id, sizeof a->id);
    list_init(&a->node);
    list_push_back(&at->put->asks, &a->node);
    at->asked++;
    at->open++;
    return a;
}

static void store_at(struct place *at, const struct dht_node *to)
{
    struct dht__put *p = at->put;
    struct dht *d = p->d;
    uint8_t buf[MESH_RECORD_MAX + 8];
    struct mesh_node n;
    struct mesh_contact contact;
    if (mesh_node_record_form(&n, mesh_time(d->mesh), to->record, to->len) != DROP_NONE ||
        !mesh_node_contact(d->mesh, &n, &contact))
        return;
    struct store_ask *a = ask_make(at, to->id);
    if (a == NULL)
        return;
    struct mesh_items items = dht__store_items(buf, p->record, p->len);
    if (mesh_ask(d->mesh, &contact, MESH_METHOD_STORE, &items, DHT_ASK_MS, answered, a, &a->ask) !=
        0) {
        at->refused++;
        ask_end(a);
    }
}

static void stored_here(void *arg, enum dht_verdict v)
{
    struct store_ask *a = arg;
    struct place *at = a->place;
    if (at == NULL) {
        free(a); /* the put ended before */
        return;
    }
    at->stored += v == DHT_TAKEN || v == DHT_REFRESHED;
    at->stale += v == DHT_STALE;
    at->refused += v == DHT_QUOTA || v == DHT_REFUSED || v == DHT_BUSY;
    ask_end(a);
}

static void store_here(struct place *at)
{
    struct dht *d = at->put->d;
    struct store_ask *a = ask_make(at, d->self);
    if (a != NULL)
        dht_store_offer(d->store, &at->put->v, at->key, 0, mesh_time(d->mesh), stored_here, a,
                        NULL);
}

static void looked(void *arg, int code, const struct dht_found *f)
{
    struct place *at = arg;
    struct dht *d = at->put->d;
    bool is_near = d->store != NULL && (f->n_nodes < DHT_K || dht__is_near(d, at->key, DHT_K));
    at->find = NULL;
    at->open++; /* nothing is over before all are asked */
    at->code = is_near && (code == CYX_EAGAIN || code == CYX_ETIMEDOUT) ? 0 : code;
    for (size_t i = 0; i < f->n_nodes && code == 0; i++)
        store_at(at, &f->nodes[i]);
    if (is_near && code != CYX_ECANCELED)
        store_here(at);
    at->is_looked = true;
    at->open--;
    look_over(at->put);
}

/* ---- the start ------------------------------------------------------------------------------- */

static struct dht__put *put_make(struct dht *d, const uint8_t *record, size_t len,
                                 struct cyx_err *err)
{
    struct dht__put *p = malloc(sizeof *p + len);
    if (p == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory to publish a record");
        return NULL;
    }
    *p = (struct dht__put){ .d = d, .len = len };
    memcpy(p->record, record, len);
    enum drop drop =
        dht_value_parse(&p->v, mesh_network_of(d->mesh), mesh_time(d->mesh), p->record, len);
    if (drop == DROP_NONE)
        drop = dht_value_verify(&p->v, mesh_network_of(d->mesh), mesh_time(d->mesh));
    if (drop != DROP_NONE) {
        free(p);
        cyx_fail(err, CYX_EINVAL, "the record is refused by its own rules: %s", drop_name(drop));
        return NULL;
    }
    list_init(&p->node);
    list_init(&p->asks);
    env_task_init(&p->ending, end, p);
    return p;
}

int dht_put(struct dht *d, const uint8_t *record, size_t len, dht_put_fn done, void *arg,
            struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    if (!d->is_started)
        return cyx_fail(err, CYX_ECANCELED, "the DHT has stopped");
    struct dht__put *p = put_make(d, record, len, err);
    if (p == NULL)
        return err->code;
    p->done = done;
    p->arg = arg;
    list_push_back(&d->puts, &p->node);
    for (; p->n_places < p->v.n_places; p->n_places++) {
        struct place *at = &p->places[p->n_places];
        at->put = p;
        memcpy(at->key, p->v.places[p->n_places], DHT_ID);
        int code = dht_find(d, at->key, 0, DHT_FIND_NODES, looked, at, &at->find);
        if (code == 0)
            continue;
        put_free(p);
        return cyx_fail(err, code, "more lookups wait than the limit of %d", DHT_LOOKUPS_WAITING);
    }
    d->n.puts++;
    return 0;
}

void dht__puts_end(struct dht *d)
{
    while (!list_empty(&d->puts))
        tell(container_of(d->puts.next, struct dht__put, node), CYX_ECANCELED);
}
