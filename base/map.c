#include "base/map.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void map__hash32(const void *key, size_t len, unsigned *out);

/* uthash with our keyed hash, small first tables (the simulator holds many thousand small maps),
 * and out-of-memory as an ordinary result: the entry then is not in the table. */
#define HASH_FUNCTION(key, len, out)  map__hash32((key), (len), &(out))
#define HASH_INITIAL_NUM_BUCKETS      4U
#define HASH_INITIAL_NUM_BUCKETS_LOG2 2U
#define HASH_NONFATAL_OOM             1
#define uthash_nonfatal_oom(entry)    ((entry)->value = NULL)
#include <uthash.h>

struct entry {
    void *value;
    UT_hash_handle hh; /* also the order of insertion */
    uint8_t key[];
};

struct map {
    struct entry *head;
    size_t key_len;
    size_t cap;
};

static uint8_t secret[crypto_shorthash_KEYBYTES];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

/* Drawn outside the environment on purpose: it decides only where an entry lies, never the order
 * of anything a caller can see. */
static void draw_secret(void)
{
    randombytes_buf(secret, sizeof secret);
}

uint64_t map_hash(const void *data, size_t len)
{
    uint8_t h[crypto_shorthash_BYTES];
    uint64_t v;
    pthread_once(&secret_once, draw_secret);
    crypto_shorthash(h, data, len, secret);
    memcpy(&v, h, sizeof v);
    return v;
}

static void map__hash32(const void *key, size_t len, unsigned *out)
{
    *out = (unsigned)map_hash(key, len);
}

struct map *map_create(size_t key_len, size_t cap)
{
    assert(key_len >= 1 && key_len <= 64);
    struct map *m = malloc(sizeof *m);
    if (m != NULL)
        *m = (struct map){ .head = NULL, .key_len = key_len, .cap = cap };
    return m;
}

static struct entry *find(const struct map *m, const void *key)
{
    struct entry *e;
    HASH_FIND(hh, m->head, key, m->key_len, e);
    return e;
}

static void *remove_entry(struct map *m, struct entry *e)
{
    void *value = e->value;
    HASH_DEL(m->head, e);
    free(e);
    return value;
}

void map_destroy(struct map *m)
{
    if (m == NULL)
        return;
    while (m->head != NULL)
        remove_entry(m, m->head);
    free(m);
}

void *map_get(const struct map *m, const void *key)
{
    struct entry *e = find(m, key);
    return e != NULL ? e->value : NULL;
}

int map_put(struct map *m, const void *key, void *value)
{
    assert(value != NULL);
    struct entry *e = find(m, key);
    if (e != NULL) {
        e->value = value;
        return 0;
    }
    if (map_len(m) >= m->cap)
        return CYX_EFULL;
    e = malloc(sizeof *e + m->key_len);
    if (e == NULL)
        return CYX_ENOMEM;
    e->value = value;
    memcpy(e->key, key, m->key_len);
    HASH_ADD_KEYPTR(hh, m->head, e->key, m->key_len, e);
    if (e->value == NULL) { /* uthash_nonfatal_oom */
        free(e);
        return CYX_ENOMEM;
    }
    return 0;
}

void *map_del(struct map *m, const void *key)
{
    struct entry *e = find(m, key);
    return e != NULL ? remove_entry(m, e) : NULL;
}

size_t map_len(const struct map *m)
{
    return HASH_COUNT(m->head);
}

void map_each(struct map *m, bool (*fn)(void *arg, const void *key, void *value), void *arg)
{
    struct entry *next;
    for (struct entry *e = m->head; e != NULL; e = next) {
        next = e->hh.next; /* first: fn may delete e */
        if (!fn(arg, e->key, e->value))
            return;
    }
}

void *map_oldest(const struct map *m, const void **key)
{
    if (m->head == NULL)
        return NULL;
    if (key != NULL)
        *key = m->head->key;
    return m->head->value;
}
