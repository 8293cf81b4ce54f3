/* dht/store_disk.c - the records on disk: key place 32, type 1, publisher 32; value source 8, then
 * the record as it came. On disk before it is acknowledged. */
#include <stdlib.h>
#include <string.h>

#include "dht/limits.h"
#include "dht/store_internal.h"

/* ---- reading at the start -------------------------------------------------------------------- */

struct load {
    struct dht_store *s;
    uint64_t now;
    struct env_kv_batch *bad; /* deletes */
    bool is_out_of_memory;
};

static void drop_bad(struct load *l, const uint8_t *key, size_t key_len)
{
    struct env *e = l->s->o.env;
    l->s->n.bad_entries++;
    if (l->bad == NULL)
        l->bad = env_kv_batch(e, l->s->kv);
    if (l->bad != NULL)
        (void)!env_kv_del(e, l->bad, key, key_len); /* no memory: it is met again next time */
}

/* Into the index, if it is a record that belongs there. DROP_MEMORY: no memory. */
static enum drop take_up(struct dht_store *s, uint64_t now, const uint8_t key[static STORE__KEY],
                         const uint8_t *val, size_t val_len)
{
    struct dht_value v;
    uint64_t source;
    if (val_len <= STORE__VALUE_HEAD)
        return DROP_SHORT;
    memcpy(&source, val, sizeof source);
    enum drop drop = dht_value_parse(&v, s->o.network, now, val + STORE__VALUE_HEAD,
                                     val_len - STORE__VALUE_HEAD);
    if (drop != DROP_NONE)
        return drop;
    if (!dht_value_belongs(&v, key) || key[DHT_ID] != v.type->number ||
        memcmp(key + STORE__SLOT_KEY, v.head.publisher, 32) != 0)
        return DROP_KEY;
    return store__index_add(s, &v, key, source) != NULL ? DROP_NONE : DROP_MEMORY;
}

static bool load_one(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                     size_t val_len)
{
    struct load *l = arg;
    bool is_sized = key_len == STORE__KEY && val_len > STORE__VALUE_HEAD &&
                    l->s->bytes + val_len - STORE__VALUE_HEAD <= l->s->o.max_bytes;
    enum drop drop = is_sized ? take_up(l->s, l->now, key, val, val_len) : DROP_LIMIT;
    l->is_out_of_memory = drop == DROP_MEMORY;
    if (drop != DROP_NONE && drop != DROP_MEMORY)
        drop_bad(l, key, key_len);
    return !l->is_out_of_memory;
}

int store__load(struct dht_store *s, uint64_t now, struct cyx_err *err)
{
    struct load l = { .s = s, .now = now };
    int code = env_kv_each(s->o.env, s->kv, NULL, 0, load_one, &l);
    if (l.bad != NULL)
        env_kv_commit(s->o.env, l.bad, NULL, NULL);
    if (code < 0)
        return cyx_fail(err, code, "the DHT's store can't be read");
    if (l.is_out_of_memory)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the index of the DHT's store");
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct store__waiter {
    struct list node;
    enum dht_verdict verdict; /* when it is on disk */
    dht_verdict_fn done;
    void *arg;
};

static bool wait_for(struct store__write *w, enum dht_verdict verdict, dht_verdict_fn done,
                     void *arg)
{
    struct store__waiter *x = calloc(1, sizeof *x);
    if (x == NULL)
        return false;
    *x = (struct store__waiter){ .verdict = verdict, .done = done, .arg = arg };
    list_init(&x->node);
    list_push_back(&w->waiters, &x->node);
    return true;
}

bool store__write_join(struct store__write *w, dht_verdict_fn done, void *arg)
{
    return wait_for(w, DHT_REFRESHED, done, arg);
}

static struct store__entry *entry_at(const struct dht_store *s, const uint8_t *key)
{
    const struct store__slot *slot = store__slot_find(s, key, key[DHT_ID]);
    return slot != NULL ? store__entry_find(slot, key + STORE__SLOT_KEY) : NULL;
}

/* What is still on disk under a key is held again. */
static void restore(struct dht_store *s, const uint8_t key[static STORE__KEY])
{
    uint8_t value[STORE__VALUE_HEAD + MESH_RECORD_MAX];
    size_t len = 0;
    if (entry_at(s, key) == NULL &&
        env_kv_get(s->o.env, s->kv, key, STORE__KEY, value, sizeof value, &len) == 0)
        (void)take_up(s, s->now, key, value,
                      len); /* no memory: it is met again at the next start */
}

/* What the disk refused is not held. Of a newer one that came meanwhile the entry stays. */
static void unwrite(struct dht_store *s, const struct store__write *w)
{
    struct store__entry *e = entry_at(s, w->key);
    if (e != NULL && e->write == w)
        store__index_remove(s, e);
    restore(s, w->key);
    for (size_t i = 0; i < w->n_victims; i++)
        restore(s, w->victims[i]);
}

/* Callbacks last: one may close the store. */
static void tell_waiters(struct store__write *w, int code)
{
    while (!list_empty(&w->waiters)) {
        struct store__waiter *x = container_of(w->waiters.next, struct store__waiter, node);
        struct dht_store *s = w->store;
        enum dht_verdict v = code == 0 ? x->verdict : DHT_BUSY;
        dht_verdict_fn done = x->done;
        void *arg = x->arg;
        list_del(&x->node);
        free(x);
        if (s != NULL)
            s->n.verdicts[v]++;
        done(arg, v);
    }
}

static void written(void *arg, int code)
{
    struct store__write *w = arg;
    struct dht_store *s = w->store;
    struct store__entry *e = s != NULL ? entry_at(s, w->key) : NULL;
    if (s != NULL && code != 0)
        unwrite(s, w);
    else if (e != NULL && e->write == w)
        e->write = NULL;
    tell_waiters(w, code);
    list_del(&w->node);
    free(w);
}

static bool fill(struct dht_store *s, struct env_kv_batch *b, const struct store__write *w,
                 const struct store__entry *e, const struct dht_value *v)
{
    uint8_t value[STORE__VALUE_HEAD + MESH_RECORD_MAX];
    uint64_t source = store__source_of(e);
    for (size_t i = 0; i < w->n_victims; i++)
        if (env_kv_del(s->o.env, b, w->victims[i], STORE__KEY) != 0)
            return false;
    memcpy(value, &source, sizeof source);
    memcpy(value + STORE__VALUE_HEAD, v->data, v->len);
    return env_kv_put(s->o.env, b, w->key, sizeof w->key, value, STORE__VALUE_HEAD + v->len) == 0;
}

static struct store__write *write_make(struct dht_store *s, const struct store__entry *e,
                                       const struct store__victims *victims)
{
    struct store__write *w = calloc(1, sizeof *w + victims->n * sizeof w->victims[0]);
    if (w == NULL)
        return NULL;
    w->store = s;
    list_init(&w->node);
    list_init(&w->waiters);
    store__entry_key(e, w->key);
    for (; w->n_victims < victims->n; w->n_victims++)
        store__entry_key(victims->at[w->n_victims], w->victims[w->n_victims]);
    return w;
}

static void write_free(struct store__write *w)
{
    while (w != NULL && !list_empty(&w->waiters)) {
        struct store__waiter *x = container_of(w->waiters.next, struct store__waiter, node);
        list_del(&x->node);
        free(x);
    }
    free(w);
}

bool store__write(struct dht_store *s, struct store__entry *e, const struct dht_value *v,
                  const struct store__victims *victims, dht_verdict_fn done, void *arg)
{
    struct store__write *w = write_make(s, e, victims);
    struct env_kv_batch *b = NULL;
    if (w != NULL && wait_for(w, DHT_TAKEN, done, arg))
        b = env_kv_batch(s->o.env, s->kv);
    if (b == NULL || !fill(s, b, w, e, v)) {
        env_kv_abort(s->o.env, b);
        write_free(w);
        return false;
    }
    e->write = w;
    list_push_back(&s->writes, &w->node);
    env_kv_commit(s->o.env, b, written, w);
    return true;
}

void store__delete(struct dht_store *s, struct env_kv_batch **b, const struct store__entry *e)
{
    uint8_t key[STORE__KEY];
    if (*b == NULL)
        *b = env_kv_batch(s->o.env, s->kv);
    store__entry_key(e, key);
    if (*b != NULL)
        (void)!env_kv_del(s->o.env, *b, key, sizeof key); /* or it is expired at the next start */
}

void store__deletes_end(struct dht_store *s, struct env_kv_batch *b)
{
    if (b != NULL)
        env_kv_commit(s->o.env, b, NULL, NULL);
}

/* Commits under way end by themselves; whoever waits hears of it now. */
void store__writes_end(struct dht_store *s)
{
    while (!list_empty(&s->writes)) {
        struct store__write *w = container_of(s->writes.next, struct store__write, node);
        list_del(&w->node);
        w->store = NULL;
        tell_waiters(w, CYX_ECANCELED);
    }
}
