#include "dht/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

enum { KEY = DHT_ID + 1 };

struct answer {
    uint64_t put_ns;
    size_t n;
    struct {
        size_t at, len;
    } records[64];
    uint8_t bytes[];
};

struct dht_cache {
    size_t max;
    struct map *answers; /* in order of insertion */
};

struct dht_cache *dht_cache_create(size_t max)
{
    struct dht_cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->max = max;
    c->answers = map_create(KEY, max);
    if (c->answers == NULL) {
        free(c);
        return NULL;
    }
    return c;
}

static void key_of(uint8_t out[static KEY], const uint8_t *place, unsigned type)
{
    memcpy(out, place, DHT_ID);
    out[DHT_ID] = (uint8_t)type;
}

static void drop_oldest(struct dht_cache *c)
{
    const void *key;
    uint8_t copy[KEY];
    if (map_oldest(c->answers, &key) == NULL)
        return;
    memcpy(copy, key, sizeof copy);
    free(map_del(c->answers, copy));
}

void dht_cache_destroy(struct dht_cache *c)
{
    if (c == NULL)
        return;
    while (map_len(c->answers) > 0)
        drop_oldest(c);
    map_destroy(c->answers);
    free(c);
}

static struct answer *answer_make(const struct dht_value *values, size_t n, uint64_t now_ns)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += values[i].len;
    struct answer *a = malloc(sizeof *a + total);
    if (a == NULL)
        return NULL;
    a->put_ns = now_ns;
    a->n = n;
    total = 0;
    for (size_t i = 0; i < n; i++) {
        a->records[i].at = total;
        a->records[i].len = values[i].len;
        memcpy(a->bytes + total, values[i].data, values[i].len);
        total += values[i].len;
    }
    return a;
}

void dht_cache_put(struct dht_cache *c, const uint8_t place[static DHT_ID], unsigned type,
                   const struct dht_value *values, size_t n, uint64_t now_ns)
{
    uint8_t key[KEY];
    size_t most = sizeof((struct answer *)0)->records / sizeof((struct answer *)0)->records[0];
    struct answer *a = answer_make(values, n < most ? n : most, now_ns);
    if (a == NULL)
        return;
    key_of(key, place, type);
    free(map_del(c->answers, key));
    if (map_len(c->answers) == c->max)
        drop_oldest(c);
    if (map_put(c->answers, key, a) != 0)
        free(a);
}

size_t dht_cache_get(struct dht_cache *c, const uint8_t place[static DHT_ID], unsigned type,
                     uint64_t now_ns, uint64_t age_ns,
                     void (*fn)(void *arg, const uint8_t *record, size_t len), void *arg)
{
    uint8_t key[KEY];
    key_of(key, place, type);
    const struct answer *a = map_get(c->answers, key);
    if (a == NULL || now_ns - a->put_ns >= age_ns)
        return 0;
    for (size_t i = 0; i < a->n; i++)
        fn(arg, a->bytes + a->records[i].at, a->records[i].len);
    return a->n;
}

size_t dht_cache_len(const struct dht_cache *c)
{
    return map_len(c->answers);
}
