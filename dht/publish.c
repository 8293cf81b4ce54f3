/* dht/publish.c - what this node publishes: its own node record, and records that it was given,
 * again and again at half their life. The given ones are on disk (store "published"), so that a
 * restart forgets none. Spec: protocol.md, section 6, "the publisher republishes at half life". */
#include <stdlib.h>

#include "base/crypto.h"
#include "dht/dht_internal.h"

enum {
    OWN_KEY = 32,
    RETRY_S = 60, /* after a publication that found too few stores */
};

/* A record that we publish. */
struct dht__own {
    struct list node;
    struct dht *d;
    uint8_t key[OWN_KEY]; /* of its place, type and publisher */
    uint64_t next_s;      /* network time */
    uint64_t expiry;
    uint32_t serial;
    uint64_t sequence;
    bool is_putting, is_gone;
    size_t len;
    uint8_t record[];
};

static void own_key(uint8_t out[static OWN_KEY], const struct dht_value *v)
{
    const struct bytes x[] = { BYTES(v->places[0], DHT_ID), BYTES(&v->type->number, 1),
                               BYTES(v->head.publisher, 32) };
    crypto_h(out, "cyx own", x, 3);
}

static struct dht__own *own_find(const struct dht *d, const uint8_t key[static OWN_KEY])
{
    list_each (at, &d->own) {
        struct dht__own *o = container_of(at, struct dht__own, node);
        if (memcmp(o->key, key, OWN_KEY) == 0)
            return o;
    }
    return NULL;
}

/* One that is being put belongs to that put until it ends. */
static void own_drop(struct dht__own *o)
{
    list_del(&o->node);
    o->d->n_own--;
    if (o->is_putting)
        o->is_gone = true;
    else
        free(o);
}

static struct dht__own *own_add(struct dht *d, const struct dht_value *v)
{
    struct dht__own *o = malloc(sizeof *o + v->len);
    if (o == NULL)
        return NULL;
    *o = (struct dht__own){ .d = d,
                            .expiry = v->head.expiry,
                            .serial = v->serial,
                            .sequence = v->head.sequence,
                            .len = v->len };
    own_key(o->key, v);
    memcpy(o->record, v->data, v->len);
    list_init(&o->node);
    list_push_back(&d->own, &o->node);
    d->n_own++;
    return o;
}

static void forget_on_disk(struct dht *d, const struct dht__own *o)
{
    struct env_kv_batch *b = env_kv_batch(d->env, d->own_kv);
    if (b == NULL)
        return; /* it is found expired at the next start */
    if (env_kv_del(d->env, b, o->key, OWN_KEY) == 0)
        env_kv_commit(d->env, b, NULL, NULL);
    else
        env_kv_abort(d->env, b);
}

/* ---- again and again ------------------------------------------------------------------------- */

static void own_put(void *arg, int code, const struct dht_stored *s)
{
    struct dht__own *o = arg;
    (void)s;
    o->is_putting = false;
    if (o->is_gone) {
        free(o);
        return;
    }
    uint64_t now = mesh_time(o->d->mesh);
    uint64_t half = o->expiry > now ? (o->expiry - now) / 2 : 0;
    o->next_s = now + (code == 0 || half < RETRY_S ? half : RETRY_S);
}

static void publish_again(struct dht *d)
{
    uint64_t now = mesh_time(d->mesh);
    list_each_safe (at, &d->own) {
        struct dht__own *o = container_of(at, struct dht__own, node);
        if (o->is_putting)
            continue;
        if (o->expiry <= now) {
            forget_on_disk(d, o);
            own_drop(o);
        } else if (o->next_s <= now && d->n_waiting < DHT_LOOKUPS_WAITING / 2) {
            /* Half of the queue is for lookups that somebody waits for. */
            o->is_putting = dht_put(d, o->record, o->len, own_put, o, NULL) == 0;
        }
    }
}

/* ---- our node record ------------------------------------------------------------------------- */

static void record_put(void *arg, int code, const struct dht_stored *s)
{
    struct dht *d = arg;
    (void)s;
    d->is_publishing_record = false;
    if (code == 0)
        return;
    d->own_record_sequence = 0; /* in a minute again */
    d->own_record_ns = dht__now(d);
}

static void publish_record(struct dht *d)
{
    uint8_t record[MESH_NODE_RECORD_MAX];
    struct mesh_record head;
    size_t len = mesh_own_record(d->mesh, record);
    uint64_t now = dht__now(d);
    if (d->is_publishing_record || !d->is_joined || len == 0 ||
        mesh_record_parse(&head, record, len) != DROP_NONE)
        return;
    bool is_new = head.sequence != d->own_record_sequence;
    uint64_t wait = d->own_record_sequence == 0 ? RETRY_S : MESH_NODE_RECORD_RENEW_S;
    if (d->own_record_ns != 0 && now - d->own_record_ns < ENV_S(wait) &&
        (!is_new || d->own_record_sequence == 0))
        return;
    if (dht_put(d, record, len, record_put, d, NULL) != 0)
        return;
    d->is_publishing_record = true;
    d->own_record_sequence = head.sequence;
    d->own_record_ns = now;
}

void dht__publish_tick(struct dht *d)
{
    if (!d->is_joined)
        return;
    if (d->config.is_serving)
        publish_record(d);
    publish_again(d);
}

/* ---- given records --------------------------------------------------------------------------- */

/* A publication that somebody waits for: it is over when it is on our own disk as well. */
struct publication {
    struct list node;
    struct dht__own *own;
    dht_put_fn done;
    void *arg;
    bool is_on_disk, is_put;
    int code;
    struct dht_stored stored;
};

/* Tells who asked, once. */
static void publication_tell(struct publication *p, int code)
{
    dht_put_fn done = p->done;
    p->done = NULL;
    if (done != NULL)
        done(p->arg, code, &p->stored);
}

static void publication_step(struct publication *p)
{
    if (!p->is_on_disk || !p->is_put)
        return;
    list_del(&p->node);
    publication_tell(p, p->code);
    free(p);
}

static void put_over(void *arg, int code, const struct dht_stored *s)
{
    struct publication *p = arg;
    own_put(p->own, code, s);
    p->own = NULL;
    p->is_put = true;
    p->stored = *s;
    if (p->code == 0)
        p->code = code;
    publication_step(p);
}

/* The disk may refuse: published once, then, but not again after a restart; so who asked hears. */
static void kept(void *arg, int code)
{
    struct publication *p = arg;
    p->is_on_disk = true;
    if (code != 0)
        p->code = code;
    publication_step(p);
}

/* `p` then waits for kept. */
static int keep_on_disk(struct dht *d, const struct dht__own *o, struct publication *p)
{
    struct env_kv_batch *b = env_kv_batch(d->env, d->own_kv);
    if (b == NULL)
        return CYX_ENOMEM;
    int code = env_kv_put(d->env, b, o->key, OWN_KEY, o->record, o->len);
    if (code != 0)
        env_kv_abort(d->env, b);
    else
        env_kv_commit(d->env, b, kept, p);
    return code;
}

/* *old: the one that it takes the turn of, or NULL. */
static int check_room(struct dht *d, const struct dht_value *v, struct dht__own **old,
                      struct cyx_err *err)
{
    uint8_t key[OWN_KEY];
    own_key(key, v);
    struct dht__own *o = own_find(d, key);
    if (o != NULL &&
        (o->serial > v->serial || (o->serial == v->serial && o->sequence > v->head.sequence)))
        return cyx_fail(err, CYX_EEXIST, "a newer record (sequence %llu) is published already",
                        (unsigned long long)o->sequence);
    if (o == NULL && d->n_own >= DHT_OWN_RECORDS)
        return cyx_fail(err, CYX_EFULL, "this node publishes %d records already: the limit",
                        DHT_OWN_RECORDS);
    *old = o;
    return 0;
}

static int check_record(struct dht *d, struct dht_value *v, const uint8_t *record, size_t len,
                        struct cyx_err *err)
{
    enum drop drop = dht_value_parse(v, mesh_network_of(d->mesh), mesh_time(d->mesh), record, len);
    if (drop == DROP_NONE)
        drop = dht_value_verify(v, mesh_network_of(d->mesh), mesh_time(d->mesh));
    return drop == DROP_NONE
               ? 0
               : cyx_fail(err, CYX_EINVAL, "the record is refused by its own rules: %s",
                          drop_name(drop));
}

/* Among our own, and on its way to our disk; the older one, if any, stays until then. NULL: no
 * memory. */
static struct publication *publication_begin(struct dht *d, const struct dht_value *v,
                                             struct dht__own *old)
{
    struct publication *p = calloc(1, sizeof *p);
    struct dht__own *o = p != NULL ? own_add(d, v) : NULL;
    if (o == NULL || keep_on_disk(d, o, p) != 0) {
        if (o != NULL)
            own_drop(o);
        free(p);
        return NULL;
    }
    p->own = o;
    list_init(&p->node);
    list_push_back(&d->publications, &p->node);
    if (old != NULL)
        own_drop(old);
    return p;
}

int dht_publish(struct dht *d, const uint8_t *record, size_t len, dht_put_fn done, void *arg,
                struct cyx_err *err)
{
    struct dht_value v;
    struct dht__own *old = NULL;
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    if (!d->is_started)
        return cyx_fail(err, CYX_ECANCELED, "the DHT has stopped");
    int code = check_record(d, &v, record, len, err);
    if (code == 0)
        code = check_room(d, &v, &old, err);
    if (code != 0)
        return code;
    struct publication *p = publication_begin(d, &v, old);
    if (p == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory to publish a record");
    code = dht_put(d, record, len, put_over, p, err);
    p->own->is_putting = code == 0;
    if (code == 0) {
        p->done = done;
        p->arg = arg;
        return 0;
    }
    /* Later, by itself; but who asked hears that it did not work now. */
    p->own->next_s = mesh_time(d->mesh) + RETRY_S;
    p->own = NULL;
    p->is_put = true;
    publication_step(p);
    return code;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct load {
    struct dht *d;
    struct env_kv_batch *bad;
};

static bool load_one(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                     size_t val_len)
{
    struct load *l = arg;
    struct dht *d = l->d;
    struct dht_value v;
    if (dht_value_parse(&v, mesh_network_of(d->mesh), mesh_time(d->mesh), val, val_len) ==
            DROP_NONE &&
        d->n_own < DHT_OWN_RECORDS && own_add(d, &v) != NULL)
        return true;
    if (l->bad == NULL)
        l->bad = env_kv_batch(d->env, d->own_kv);
    if (l->bad != NULL)
        (void)!env_kv_del(d->env, l->bad, key, key_len); /* no memory: at the next start */
    return true;
}

int dht__publish_start(struct dht *d, struct cyx_err *err)
{
    enum { KV_BYTES = 32 << 20 }; /* DHT_OWN_RECORDS of 8 KiB, and pages that aren't full */
    struct load l = { .d = d };
    int code = env_kv_open(d->env, "published", KV_BYTES, &d->own_kv, err);
    if (code < 0)
        return code;
    code = env_kv_each(d->env, d->own_kv, NULL, 0, load_one, &l);
    if (l.bad != NULL)
        env_kv_commit(d->env, l.bad, NULL, NULL);
    return code < 0 ? cyx_fail(err, code, "the list of published records can't be read") : 0;
}

/* Our disk may still owe the end of some: their memory waits for it, who asked does not. */
static void publications_end(struct dht *d)
{
    while (!list_empty(&d->publications)) {
        struct publication *p = container_of(d->publications.next, struct publication, node);
        list_del(&p->node);
        publication_tell(p, CYX_ECANCELED);
    }
}

void dht__publish_stop(struct dht *d)
{
    publications_end(d);
    while (!list_empty(&d->own))
        own_drop(container_of(d->own.next, struct dht__own, node));
    env_kv_close(d->env, d->own_kv);
    d->own_kv = NULL;
}
