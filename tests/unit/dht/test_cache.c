#include <criterion/criterion.h>
#include <string.h>

#include "dht/cache.h"

static struct dht_cache *cache;
static unsigned n_got;
static uint8_t last;

static void begin(void)
{
    cache = dht_cache_create(4);
    cr_assert_not_null(cache);
}

static void end(void)
{
    dht_cache_destroy(cache);
}

TestSuite(dht_cache, .init = begin, .fini = end);

static void got(void *arg, const uint8_t *record, size_t len)
{
    (void)arg;
    cr_expect_eq(len, 3);
    last = record[2];
    n_got++;
}

static void put(uint8_t place, unsigned type, uint8_t mark, size_t n, uint64_t now)
{
    const uint8_t at[DHT_ID] = { place }, record[3] = { 9, 9, mark };
    struct dht_value v[80];
    for (size_t i = 0; i < n; i++)
        v[i] = (struct dht_value){ .data = record, .len = sizeof record };
    dht_cache_put(cache, at, type, v, n, now);
}

static size_t get(uint8_t place, unsigned type, uint64_t now, uint64_t age)
{
    const uint8_t at[DHT_ID] = { place };
    n_got = 0;
    size_t n = dht_cache_get(cache, at, type, now, age, got, NULL);
    cr_expect_eq(n, n_got);
    return n;
}

Test(dht_cache, remembers_by_place_and_type)
{
    put(1, 3, 7, 2, 0);
    cr_expect_eq(get(1, 3, 0, 10), 2);
    cr_expect_eq(last, 7);
    cr_expect_eq(get(1, 4, 0, 10), 0);
    cr_expect_eq(get(2, 3, 0, 10), 0);
}

Test(dht_cache, an_answer_grows_too_old_but_is_not_forgotten)
{
    put(1, 3, 7, 1, 100);
    cr_expect_eq(get(1, 3, 109, 10), 1);
    cr_expect_eq(get(1, 3, 110, 10), 0);
    cr_expect_eq(get(1, 3, 100, 0), 0, "age 0: never young enough");
    cr_expect_eq(get(1, 3, 1 << 30, UINT64_MAX), 1);
}

Test(dht_cache, at_its_bound_the_one_not_put_longest_gives_way)
{
    for (uint8_t i = 1; i <= 4; i++)
        put(i, 3, i, 1, 0);
    put(1, 3, 11, 1, 0);
    put(5, 3, 5, 1, 0);
    cr_expect_eq(dht_cache_len(cache), 4);
    cr_expect_eq(get(2, 3, 0, 10), 0);
    cr_expect_eq(get(1, 3, 0, 10), 1);
    cr_expect_eq(last, 11);
}

Test(dht_cache, an_answer_holds_as_many_records_as_any_type_keeps)
{
    put(1, 3, 1, 80, 0);
    cr_expect_eq(get(1, 3, 0, 10), 64);
}
