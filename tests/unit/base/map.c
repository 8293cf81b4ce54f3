#include <criterion/criterion.h>
#include <string.h>

#include "base/map.h"

static int values[4096];

/* Keys that spread over all bytes. */
static void make_key(uint8_t *key, size_t len, uint32_t i)
{
    for (size_t b = 0; b < len; b++)
        key[b] = (uint8_t)(i >> (8 * (b % 4)));
}

Test(map, finds_what_was_put_for_every_key_length)
{
    for (size_t len = 1; len <= 64; len++) {
        uint8_t key[64];
        struct map *m = map_create(len, 4096);
        unsigned n = len == 1 ? 256 : 1000;
        for (uint32_t i = 0; i < n; i++) {
            make_key(key, len, i);
            cr_assert_eq(map_put(m, key, &values[i]), 0);
        }
        cr_expect_eq(map_len(m), n);
        for (uint32_t i = 0; i < n; i++) {
            make_key(key, len, i);
            cr_assert_eq(map_get(m, key), &values[i], "key %u of %zu bytes", i, len);
        }
        map_destroy(m);
    }
}

Test(map, copies_its_keys)
{
    uint8_t key[4] = { 1, 2, 3, 4 };
    struct map *m = map_create(4, 8);
    cr_assert_eq(map_put(m, key, &values[0]), 0);
    key[0] = 9;
    cr_expect_null(map_get(m, key));
    key[0] = 1;
    cr_expect_eq(map_get(m, key), &values[0]);
    map_destroy(m);
}

Test(map, refuses_more_than_its_cap_but_replaces_at_the_cap)
{
    uint32_t key;
    struct map *m = map_create(sizeof key, 3);
    for (key = 0; key < 3; key++)
        cr_assert_eq(map_put(m, &key, &values[key]), 0);
    cr_expect_eq(map_put(m, &key, &values[3]), CYX_EFULL);
    cr_expect_null(map_get(m, &key));
    key = 1;
    cr_expect_eq(map_put(m, &key, &values[7]), 0);
    cr_expect_eq(map_get(m, &key), &values[7]);
    cr_expect_eq(map_len(m), 3);
    cr_expect_eq(map_del(m, &key), &values[7]);
    key = 3;
    cr_expect_eq(map_put(m, &key, &values[3]), 0, "room again");
    map_destroy(m);
}

Test(map, an_empty_map_answers_everything)
{
    uint64_t key = 0;
    const void *borrowed = &key;
    struct map *m = map_create(sizeof key, 1);
    cr_expect_eq(map_len(m), 0);
    cr_expect_null(map_get(m, &key));
    cr_expect_null(map_del(m, &key));
    cr_expect_null(map_oldest(m, &borrowed));
    cr_expect_eq(borrowed, &key, "outputs are left alone");
    map_destroy(m);
    map_destroy(NULL);
}

struct seen {
    struct map *m;
    uint32_t keys[2000];
    unsigned n, stop_at;
    bool delete_odd;
};

static bool see(void *arg, const void *key, void *value)
{
    struct seen *s = arg;
    uint32_t k;
    memcpy(&k, key, sizeof k);
    cr_assert_eq(value, &values[k]);
    s->keys[s->n++] = k;
    if (s->delete_odd && k % 2 == 1)
        map_del(s->m, &k);
    return s->n != s->stop_at;
}

static struct map *filled(uint32_t n)
{
    struct map *m = map_create(sizeof(uint32_t), 4096);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = i * 7919 % n; /* n is prime to 7919: a shuffle */
        cr_assert_eq(map_put(m, &key, &values[key]), 0);
    }
    return m;
}

Test(map, iterates_in_order_of_insertion)
{
    static struct seen s;
    struct map *m = filled(1000);
    uint32_t again = 7919 % 1000;
    cr_assert_eq(map_put(m, &again, &values[again]), 0); /* replacing keeps the place */
    map_each(m, see, &s);
    cr_assert_eq(s.n, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(s.keys[i], i * 7919 % 1000);
    map_destroy(m);
}

Test(map, each_stops_when_told)
{
    static struct seen s = { .stop_at = 10 };
    struct map *m = filled(100);
    map_each(m, see, &s);
    cr_expect_eq(s.n, 10);
    map_destroy(m);
}

Test(map, each_may_delete_the_entry_it_is_at)
{
    static struct seen s = { .delete_odd = true }, rest;
    struct map *m = filled(1000);
    s.m = m;
    map_each(m, see, &s);
    cr_expect_eq(s.n, 1000);
    cr_expect_eq(map_len(m), 500);
    map_each(m, see, &rest);
    cr_expect_eq(rest.n, 500);
    for (unsigned i = 0; i < rest.n; i++)
        cr_expect_eq(rest.keys[i] % 2, 0);
    map_destroy(m);
}

Test(map, oldest_follows_insertions_and_deletions)
{
    uint32_t k = 5;
    const void *key;
    struct map *m = map_create(sizeof k, 8);
    for (k = 5; k > 0; k--)
        cr_assert_eq(map_put(m, &k, &values[k]), 0);
    for (uint32_t want = 5; want > 0; want--) {
        cr_expect_eq(map_oldest(m, &key), &values[want]);
        cr_expect_eq(memcmp(key, &want, sizeof want), 0);
        cr_expect_eq(map_del(m, &want), &values[want]);
    }
    cr_expect_null(map_oldest(m, NULL));
    map_destroy(m);
}

Test(map, survives_filling_and_emptying_over_and_over)
{
    struct map *m = map_create(sizeof(uint32_t), 300);
    for (uint32_t i = 0; i < 30000; i++) {
        uint32_t old = i - 300;
        if (i >= 300)
            cr_assert_eq(map_del(m, &old), &values[old % 4096]);
        cr_assert_eq(map_put(m, &i, &values[i % 4096]), 0);
    }
    cr_expect_eq(map_len(m), 300);
    map_destroy(m);
}

Test(map, hash_depends_on_every_byte_and_is_stable_in_one_process)
{
    uint8_t data[32] = { 0 };
    uint64_t h = map_hash(data, sizeof data);
    cr_expect_eq(map_hash(data, sizeof data), h);
    for (unsigned i = 0; i < sizeof data; i++) {
        data[i] ^= 1;
        cr_expect_neq(map_hash(data, sizeof data), h);
        data[i] ^= 1;
    }
}
