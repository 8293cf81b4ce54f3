#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

Test(pool, gives_aligned_buffers_that_do_not_overlap)
{
    static const size_t sizes[] = { 1, 63, 64, 65, 1328, 4096, 65536, 65537 };
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        enum { MAX = 40 };
        uint8_t *bufs[MAX];
        struct pool *p = pool_create(sizes[s], MAX, 0);
        for (unsigned i = 0; i < MAX; i++) {
            bufs[i] = pool_get(p);
            cr_assert_not_null(bufs[i]);
            cr_assert_eq((uintptr_t)bufs[i] % 64, 0);
            memset(bufs[i], (int)i, sizes[s]);
        }
        for (unsigned i = 0; i < MAX; i++) {
            for (size_t b = 0; b < sizes[s]; b++)
                cr_assert_eq(bufs[i][b], i);
            pool_put(p, bufs[i]);
        }
        pool_destroy(p);
    }
}

Test(pool, refuses_more_than_max_and_counts)
{
    void *a, *b;
    struct pool *p = pool_create(100, 2, 2);
    cr_expect_eq(pool_max(p), 2);
    cr_assert_not_null(a = pool_get(p));
    cr_assert_not_null(b = pool_get(p));
    cr_expect_eq(pool_used(p), 2);
    cr_expect_null(pool_get(p));
    pool_put(p, a);
    cr_expect_eq(pool_used(p), 1);
    cr_assert_not_null(a = pool_get(p));
    pool_put(p, a);
    pool_put(p, b);
    pool_put(p, NULL);
    cr_expect_eq(pool_used(p), 0);
    pool_destroy(p);
    pool_destroy(NULL);
}

Test(pool, keeps_warm_buffers_for_reuse)
{
    struct pool *p = pool_create(1328, 100, 1);
    void *a = pool_get(p);
    pool_put(p, a);
    for (unsigned i = 0; i < 1000; i++) {
        void *b = pool_get(p);
        cr_assert_eq(a, b, "the last one back is the first one out");
        pool_put(p, b);
    }
    pool_destroy(p);
}

Test(pool, refuses_senseless_sizes)
{
    cr_expect_null(pool_create(0, 1, 0));
    cr_expect_null(pool_create(1, 0, 0));
    cr_expect_null(pool_create(SIZE_MAX, 1, 0));
}

/* Random takes and returns: each buffer carries its owner's mark the whole time. */
Test(pool, survives_random_use_across_many_chunks)
{
    enum { MAX = 500, SIZE = 200 };
    static uint8_t *held[MAX];
    struct pool *p = pool_create(SIZE, MAX, 20);
    uint64_t state = 7;
    size_t n = 0;
    for (unsigned step = 0; step < 200000; step++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t i = (size_t)(state >> 33) % MAX;
        if (held[i] == NULL) {
            held[i] = pool_get(p);
            cr_assert_not_null(held[i]);
            memcpy(held[i], &i, sizeof i);
            n++;
        } else if ((state >> 20) % 16 < (step / 20000 % 2 == 0 ? 4u : 12u)) {
            cr_assert_eq(memcmp(held[i], &i, sizeof i), 0);
            pool_put(p, held[i]);
            held[i] = NULL;
            n--;
        }
        cr_assert_eq(pool_used(p), n);
    }
    for (size_t i = 0; i < MAX; i++)
        pool_put(p, held[i]);
    pool_destroy(p);
}
