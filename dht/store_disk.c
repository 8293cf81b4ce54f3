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

static bool load_one(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                     size_t val_len)
{
    struct load *l = arg;
    struct dht_value v;
    uint64_t source;
    if (key_len != STORE__KEY || val_len <= STORE__VALUE_HEAD) {
        drop_bad(l, key, key_len);
        return true;
    }
    memcpy(&source, val, sizeof source);
    enum drop drop = dht_value_parse(&v, l->s->o.network, l->now, val + STORE__VALUE_HEAD,
                                     val_len - STORE__VALUE_HEAD);
    if (drop != DROP_NONE || !dht_value_belongs(&v, key) || key[DHT_ID] != v.type->number ||
        memcmp(key + STORE__SLOT_KEY, v.head.publisher, 32) != 0 ||
        l->s->bytes + v.len > l->s->o.max_bytes) {
        drop_bad(l, key, key_len);
        return true;
    }
    l->is_out_of_memory = store__index_add(l->s, &v, key, source) == NULL;
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

/* What the disk refused is not held. Of a newer one that came meanwhile the entry stays. */
static void unwrite(struct dht_store *s, const struct store__write *w)
{
    const struct store__slot *slot = store__slot_find(s, w->key, w->key[DHT_ID]);
    struct store__entry *e =
        slot != NULL ? store__entry_find(slot, w->key + STORE__SLOT_KEY) : NULL;
    if (e != NULL && e->digest == w->digest)
        store__index_remove(s, e);
}

static void written(void *arg, int code)
{
    struct store__write *w = arg;
    struct dht_store *s = w->store;
    list_del(&w->node);
    if (s != NULL) {
        enum dht_verdict v = code == 0 ? DHT_TAKEN : DHT_BUSY;
        s->n.verdicts[v]++;
        if (code != 0)
            unwrite(s, w);
        w->done(w->arg, v);
    }
    free(w);
}

static bool fill(struct dht_store *s, struct env_kv_batch *b, const struct store__write *w,
                 const struct store__entry *e, const struct dht_value *v,
                 const struct store__victims *victims)
{
    uint8_t value[STORE__VALUE_HEAD + MESH_RECORD_MAX];
    uint8_t key[STORE__KEY];
    uint64_t source = store__source_of(e);
    for (size_t i = 0; i < victims->n; i++) {
        store__entry_key(victims->at[i], key);
        if (env_kv_del(s->o.env, b, key, sizeof key) != 0)
            return false;
    }
    memcpy(value, &source, sizeof source);
    memcpy(value + STORE__VALUE_HEAD, v->data, v->len);
    return env_kv_put(s->o.env, b, w->key, sizeof w->key, value, STORE__VALUE_HEAD + v->len) == 0;
}

bool store__write(struct dht_store *s, const struct store__entry *e, const struct dht_value *v,
                  const struct store__victims *victims, dht_verdict_fn done, void *arg)
{
    struct store__write *w = calloc(1, sizeof *w);
    struct env_kv_batch *b = w != NULL ? env_kv_batch(s->o.env, s->kv) : NULL;
    if (b == NULL) {
        free(w);
        return false;
    }
    *w = (struct store__write){ .store = s, .digest = e->digest, .done = done, .arg = arg };
    list_init(&w->node);
    store__entry_key(e, w->key);
    if (!fill(s, b, w, e, v, victims)) {
        env_kv_abort(s->o.env, b);
        free(w);
        return false;
    }
    list_push_back(&s->writes, &w->node);
    env_kv_commit(s->o.env, b, written, w);
    return true;
}

void store__delete(struct dht_store *s, const struct store__entry *e)
{
    uint8_t key[STORE__KEY];
    struct env_kv_batch *b = env_kv_batch(s->o.env, s->kv);
    if (b == NULL)
        return; /* it is found expired at the next start */
    store__entry_key(e, key);
    if (env_kv_del(s->o.env, b, key, sizeof key) == 0)
        env_kv_commit(s->o.env, b, NULL, NULL);
    else
        env_kv_abort(s->o.env, b);
}

/* Commits under way end by themselves; whoever waits hears of it now. */
void store__writes_end(struct dht_store *s)
{
    while (!list_empty(&s->writes)) {
        struct store__write *w = container_of(s->writes.next, struct store__write, node);
        list_del(&w->node);
        w->store = NULL;
        w->done(w->arg, DHT_BUSY);
    }
}
