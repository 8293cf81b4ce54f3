#include "dht/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "dht/limits.h"
#include "dht/store_internal.h"

const char *dht_verdict_name(enum dht_verdict v)
{
    static const char *const names[] = {
        "taken", "refreshed", "stale", "quota", "refused", "busy"
    };
    return names[v];
}

/* ---- life ------------------------------------------------------------------------------------ */

static void store_free(struct dht_store *s)
{
    if (s->slots != NULL && s->sources != NULL && s->publishers != NULL)
        store__index_drop(s);
    map_destroy(s->slots);
    map_destroy(s->sources);
    map_destroy(s->publishers);
    env_kv_close(s->o.env, s->kv);
    free(s);
}

struct dht_store *dht_store_open(const struct dht_store_options *o, uint64_t now,
                                 struct cyx_err *err)
{
    struct dht_store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the DHT's store");
        return NULL;
    }
    s->o = *o;
    if (s->o.max_bytes == 0)
        s->o.max_bytes = DHT_STORE_BYTES;
    list_init(&s->all);
    list_init(&s->writes);
    s->slots = map_create(STORE__SLOT_KEY, STORE__ENTRIES_MAX);
    s->sources = map_create(sizeof(uint64_t), STORE__ENTRIES_MAX);
    s->publishers = map_create(32, STORE__ENTRIES_MAX);
    if (s->slots == NULL || s->sources == NULL || s->publishers == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the DHT's store");
        store_free(s);
        return NULL;
    }
    /* Pages are rarely full, and a change takes free ones. */
    size_t disk = 2 * s->o.max_bytes + ((size_t)16 << 20);
    if (env_kv_open(o->env, "dht", disk, &s->kv, err) < 0 || store__load(s, now, err) < 0) {
        store_free(s);
        return NULL;
    }
    return s;
}

void dht_store_close(struct dht_store *s)
{
    if (s == NULL)
        return;
    store__writes_end(s);
    store_free(s);
}

/* ---- offers ---------------------------------------------------------------------------------- */

static enum dht_verdict against_held(struct store__entry *e, const struct dht_value *v,
                                     uint64_t now_ns)
{
    bool is_same_age = v->serial == e->serial && v->head.sequence == e->sequence;
    if (v->serial > e->serial || (v->serial == e->serial && v->head.sequence > e->sequence))
        return DHT_TAKEN;
    if (!is_same_age || e->digest != store__digest(v->data, v->len))
        return DHT_STALE;
    e->refreshed_ns = now_ns;
    return DHT_REFRESHED;
}

/* Into index and disk; everything was checked. */
static bool put(struct dht_store *s, const struct dht_value *v, const uint8_t *place,
                uint64_t source, struct store__entry *held, struct store__victims *victims,
                dht_verdict_fn done, void *arg)
{
    struct store__entry *e =
        store__index_add(s, v, place, held != NULL ? store__source_of(held) : source);
    if (e == NULL)
        return false;
    if (!store__write(s, e, v, victims, done, arg)) {
        store__index_remove(s, e);
        return false;
    }
    for (size_t i = 0; i < victims->n; i++)
        store__index_remove(s, victims->at[i]);
    s->n.evicted += victims->n;
    if (held != NULL)
        store__index_remove(s, held); /* its key on disk is the new one's */
    return true;
}

/* *is_later: the verdict comes when it is on disk. */
static enum dht_verdict consider(struct dht_store *s, const struct dht_value *v,
                                 const uint8_t *place, uint64_t source, dht_verdict_fn done,
                                 void *arg, enum drop *reason, bool *is_later)
{
    const struct store__slot *slot = store__slot_find(s, place, v->type->number);
    struct store__entry *held = slot != NULL ? store__entry_find(slot, v->head.publisher) : NULL;
    struct store__victims victims;
    if (held != NULL) {
        enum dht_verdict verdict = against_held(held, v, env_now_ns(s->o.env));
        if (verdict == DHT_REFRESHED && held->write != NULL) {
            *is_later = store__write_join(held->write, done, arg);
            return DHT_BUSY;
        }
        if (verdict != DHT_TAKEN)
            return verdict;
    }
    if (!store__room_plan(s, v, place, source, held, &victims))
        return DHT_QUOTA;
    *reason = dht_value_verify(v, s->o.network, s->now);
    if (*reason != DROP_NONE)
        return DHT_REFUSED;
    *is_later = put(s, v, place, source, held, &victims, done, arg);
    return DHT_BUSY;
}

void dht_store_offer(struct dht_store *s, const struct dht_value *v,
                     const uint8_t place[static DHT_ID], uint64_t source, uint64_t now,
                     dht_verdict_fn done, void *arg, enum drop *reason)
{
    enum drop why = DROP_NONE;
    bool is_later = false;
    s->now = now;
    enum dht_verdict verdict = dht_value_belongs(v, place)
                                   ? consider(s, v, place, source, done, arg, &why, &is_later)
                                   : DHT_REFUSED;
    if (reason != NULL)
        *reason = why;
    if (is_later)
        return;
    s->n.verdicts[verdict]++;
    done(arg, verdict);
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t read_key(struct dht_store *s, const uint8_t key[static STORE__KEY],
                       uint8_t out[static STORE__VALUE_HEAD + MESH_RECORD_MAX])
{
    size_t len = 0;
    int code = env_kv_get(s->o.env, s->kv, key, STORE__KEY, out,
                          STORE__VALUE_HEAD + MESH_RECORD_MAX, &len);
    return code == 0 && len > STORE__VALUE_HEAD ? len - STORE__VALUE_HEAD : 0;
}

size_t dht_store_read(struct dht_store *s, const uint8_t place[static DHT_ID], unsigned type,
                      uint64_t now, bool (*fn)(void *arg, const uint8_t *record, size_t len),
                      void *arg)
{
    uint8_t value[STORE__VALUE_HEAD + MESH_RECORD_MAX];
    uint8_t key[STORE__KEY];
    const struct store__slot *slot = store__slot_find(s, place, type);
    size_t n = 0;
    if (slot == NULL)
        return 0;
    list_each (at, &slot->entries) {
        const struct store__entry *e = container_of(at, struct store__entry, of_slot);
        store__entry_key(e, key);
        size_t len = e->expiry > now ? read_key(s, key, value) : 0;
        if (len == 0)
            continue;
        n++;
        if (!fn(arg, value + STORE__VALUE_HEAD, len))
            break;
    }
    return n;
}

static void describe(const struct store__entry *e, struct dht_held *out)
{
    *out = (struct dht_held){ .type = e->slot->key[DHT_ID],
                              .serial = e->serial,
                              .sequence = e->sequence,
                              .expiry = e->expiry,
                              .len = e->len,
                              .refreshed_ns = e->refreshed_ns };
    memcpy(out->place, e->slot->key, sizeof out->place);
    memcpy(out->publisher, e->publisher->key, sizeof out->publisher);
}

size_t dht_store_get(struct dht_store *s, const struct dht_held *h,
                     uint8_t out[static MESH_RECORD_MAX])
{
    uint8_t value[STORE__VALUE_HEAD + MESH_RECORD_MAX];
    uint8_t key[STORE__KEY];
    store__slot_key(key, h->place, h->type);
    memcpy(key + STORE__SLOT_KEY, h->publisher, 32);
    size_t len = read_key(s, key, value);
    memcpy(out, value + STORE__VALUE_HEAD, len);
    return len;
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

void dht_store_sweep(struct dht_store *s, uint64_t now, size_t most,
                     void (*fn)(void *arg, const struct dht_held *h), void *arg)
{
    size_t n = s->n_records < most ? s->n_records : most;
    struct env_kv_batch *expired = NULL; /* one commit for all of them */
    for (; n > 0 && !list_empty(&s->all); n--) {
        struct store__entry *e = container_of(s->all.next, struct store__entry, of_all);
        struct dht_held h;
        if (e->expiry <= now) {
            s->n.expired++;
            store__delete(s, &expired, e);
            store__index_remove(s, e);
            continue;
        }
        list_del(&e->of_all);
        list_push_back(&s->all, &e->of_all);
        describe(e, &h);
        if (fn != NULL)
            fn(arg, &h);
    }
    store__deletes_end(s, expired);
}

void dht_store_each(struct dht_store *s, bool (*fn)(void *arg, const struct dht_held *h), void *arg)
{
    list_each (at, &s->all) {
        struct dht_held h;
        describe(container_of(at, struct store__entry, of_all), &h);
        if (!fn(arg, &h))
            return;
    }
}

void dht_store_refreshed(struct dht_store *s, const struct dht_held *h)
{
    const struct store__slot *slot = store__slot_find(s, h->place, h->type);
    struct store__entry *e = slot != NULL ? store__entry_find(slot, h->publisher) : NULL;
    if (e != NULL)
        e->refreshed_ns = env_now_ns(s->o.env);
}

void dht_store_get_stats(const struct dht_store *s, struct dht_store_stats *out)
{
    *out = s->n;
    out->records = s->n_records;
    out->bytes = s->bytes;
    out->max_bytes = s->o.max_bytes;
    out->sources = map_len(s->sources);
    out->publishers = map_len(s->publishers);
}
