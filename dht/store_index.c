/* dht/store_index.c - what is held, in memory: by place and type, by source, by publisher. */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "dht/store_internal.h"

void store__slot_key(uint8_t out[static STORE__SLOT_KEY], const uint8_t place[static DHT_ID],
                     unsigned type)
{
    memcpy(out, place, DHT_ID);
    out[DHT_ID] = (uint8_t)type;
}

void store__entry_key(const struct store__entry *e, uint8_t out[static STORE__KEY])
{
    memcpy(out, e->slot->key, STORE__SLOT_KEY);
    memcpy(out + STORE__SLOT_KEY, e->publisher->key, 32);
}

struct store__slot *store__slot_find(const struct dht_store *s, const uint8_t place[static DHT_ID],
                                     unsigned type)
{
    uint8_t key[STORE__SLOT_KEY];
    store__slot_key(key, place, type);
    return map_get(s->slots, key);
}

struct store__entry *store__entry_find(const struct store__slot *slot,
                                       const uint8_t publisher[static 32])
{
    list_each (at, &slot->entries) {
        struct store__entry *e = container_of(at, struct store__entry, of_slot);
        if (memcmp(e->publisher->key, publisher, 32) == 0)
            return e;
    }
    return NULL;
}

static uint64_t first8(const uint8_t *hash)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | hash[i];
    return v;
}

uint64_t store__rank(const struct dht_store *s, const uint8_t publisher[static 32])
{
    uint8_t hash[CRYPTO_HASH];
    const struct bytes x[] = { BYTES(s->o.secret, sizeof s->o.secret), BYTES(publisher, 32) };
    crypto_h(hash, "cyx keep", x, 2);
    return first8(hash);
}

uint64_t store__digest(const uint8_t *record, size_t len)
{
    uint8_t hash[CRYPTO_HASH];
    const struct bytes x[] = { BYTES(record, len) };
    crypto_h(hash, "cyx held", x, 1);
    return first8(hash);
}

uint64_t store__source_of(const struct store__entry *e)
{
    uint64_t source;
    memcpy(&source, e->source->key, sizeof source);
    return source;
}

/* ---- accounts -------------------------------------------------------------------------------- */

/* The account under `key`, made when it isn't there. */
static struct store__account *account_of(struct map *m, const void *key, size_t len)
{
    struct store__account *a = map_get(m, key);
    if (a != NULL)
        return a;
    a = calloc(1, sizeof *a);
    if (a == NULL || map_put(m, key, a) != 0) {
        free(a);
        return NULL;
    }
    memcpy(a->key, key, len);
    list_init(&a->entries);
    return a;
}

static void account_unused(struct map *m, struct store__account *a)
{
    if (a != NULL && a->n == 0) {
        map_del(m, a->key);
        free(a);
    }
}

static struct store__slot *slot_of(struct dht_store *s, const uint8_t place[static DHT_ID],
                                   unsigned type)
{
    struct store__slot *slot = store__slot_find(s, place, type);
    if (slot != NULL)
        return slot;
    slot = calloc(1, sizeof *slot);
    if (slot == NULL)
        return NULL;
    store__slot_key(slot->key, place, type);
    list_init(&slot->entries);
    if (map_put(s->slots, slot->key, slot) != 0) {
        free(slot);
        return NULL;
    }
    return slot;
}

static void slot_unused(struct dht_store *s, struct store__slot *slot)
{
    if (slot != NULL && slot->n == 0) {
        map_del(s->slots, slot->key);
        free(slot);
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

/* In the order of rank, since an answer may not hold all: which ones it holds is nobody's choice,
 * and not the same at another store. */
static void link_in_slot(struct store__slot *slot, struct store__entry *e)
{
    struct list *at = slot->entries.next;
    while (at != &slot->entries && container_of(at, struct store__entry, of_slot)->rank <= e->rank)
        at = at->next;
    list_add_before(at, &e->of_slot);
    slot->n++;
}

static void link_entry(struct dht_store *s, struct store__entry *e)
{
    link_in_slot(e->slot, e);
    list_push_back(&e->source->entries, &e->of_source);
    list_push_back(&s->all, &e->of_all);
    e->source->n++;
    e->publisher->n++;
    e->source->bytes += e->len;
    e->publisher->bytes += e->len;
    s->n_records++;
    s->bytes += e->len;
    s->n.of_type[e->slot->key[DHT_ID] % 8]++;
}

struct store__entry *store__index_add(struct dht_store *s, const struct dht_value *v,
                                      const uint8_t place[static DHT_ID], uint64_t source)
{
    struct store__entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->slot = slot_of(s, place, v->type->number);
    e->source = account_of(s->sources, &source, sizeof source);
    e->publisher = account_of(s->publishers, v->head.publisher, 32);
    if (e->slot == NULL || e->source == NULL || e->publisher == NULL) {
        slot_unused(s, e->slot);
        account_unused(s->sources, e->source);
        account_unused(s->publishers, e->publisher);
        free(e);
        return NULL;
    }
    e->rank = store__rank(s, v->head.publisher);
    e->digest = store__digest(v->data, v->len);
    e->refreshed_ns = env_now_ns(s->o.env);
    e->sequence = v->head.sequence;
    e->serial = v->serial;
    e->expiry = v->head.expiry;
    e->len = (uint16_t)v->len;
    link_entry(s, e);
    return e;
}

void store__index_remove(struct dht_store *s, struct store__entry *e)
{
    list_del(&e->of_slot);
    list_del(&e->of_source);
    list_del(&e->of_all);
    e->slot->n--;
    e->source->n--;
    e->publisher->n--;
    e->source->bytes -= e->len;
    e->publisher->bytes -= e->len;
    s->n_records--;
    s->bytes -= e->len;
    s->n.of_type[e->slot->key[DHT_ID] % 8]--;
    slot_unused(s, e->slot);
    account_unused(s->sources, e->source);
    account_unused(s->publishers, e->publisher);
    free(e);
}

void store__index_drop(struct dht_store *s)
{
    while (!list_empty(&s->all))
        store__index_remove(s, container_of(s->all.next, struct store__entry, of_all));
}

/* ---- the check ------------------------------------------------------------------------------- */

struct check {
    size_t n, bytes;
    bool is_good;
};

static bool check_source(void *arg, const void *key, void *value)
{
    struct check *c = arg;
    const struct store__account *a = value;
    size_t n = 0;
    size_t bytes = 0;
    list_each (at, &a->entries) {
        const struct store__entry *e = container_of(at, struct store__entry, of_source);
        c->is_good &= e->source == a;
        n++;
        bytes += e->len;
    }
    c->is_good &= n > 0 && n == a->n && bytes == a->bytes && memcmp(key, a->key, 8) == 0;
    c->n += n;
    c->bytes += bytes;
    return true;
}

static bool check_publisher(void *arg, const void *key, void *value)
{
    struct check *c = arg;
    const struct store__account *a = value;
    c->is_good &= a->n > 0 && memcmp(key, a->key, 32) == 0;
    c->n += a->n;
    c->bytes += a->bytes;
    return true;
}

static bool check_slot(void *arg, const void *key, void *value)
{
    struct check *c = arg;
    const struct store__slot *slot = value;
    size_t n = 0;
    uint64_t rank = 0;
    list_each (at, &slot->entries) {
        const struct store__entry *e = container_of(at, struct store__entry, of_slot);
        c->is_good &= e->slot == slot && e->rank >= rank;
        rank = e->rank;
        n++;
        c->bytes += e->len;
    }
    const struct dht_type *t = dht_type_get(slot->key[DHT_ID]);
    c->is_good &= n > 0 && n == slot->n && t != NULL && memcmp(key, slot->key, DHT_ID + 1) == 0;
    c->n += n;
    return true;
}

bool store__check(const struct dht_store *s)
{
    struct check by[3] = { { .is_good = true }, { .is_good = true }, { .is_good = true } };
    size_t n = 0;
    size_t of_type = 0;
    map_each(s->sources, check_source, &by[0]);
    map_each(s->publishers, check_publisher, &by[1]);
    map_each(s->slots, check_slot, &by[2]);
    for (size_t i = 0; i < 3; i++)
        if (!by[i].is_good || by[i].n != s->n_records || by[i].bytes != s->bytes)
            return false;
    for (size_t i = 0; i < sizeof s->n.of_type / sizeof s->n.of_type[0]; i++)
        of_type += s->n.of_type[i];
    list_each (at, &s->all)
        n++;
    return n == s->n_records && of_type == s->n_records;
}
