/* bench_layer [SECONDS] - what the layer cipher costs for a cell of 1280 bytes, in each
 * implementation that this machine has: both directions, one cell a call and sixteen. Beside it
 * AES-256-CTR from libcrypto on the same bytes in the same run: what a cipher without diffusion
 * costs, which any relay could mark. Everything is timed in turns; a figure is the median of the
 * turns, in CPU time of the thread. Exit status 1 when two implementations differ. */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "onion/layer_internal.h"

enum { CELLS = 64, MANY = 16, TURNS = 15, CALLS_BETWEEN = 8, WORKS = 4 };

/* What is timed of an implementation, and its name in the JSON object. */
static const struct work {
    const char *name;
    bool decipher;
    size_t cells; /* a call */
} works[WORKS] = {
    { "encipher_one", false, 1 },
    { "decipher_one", true, 1 },
    { "encipher_many", false, MANY },
    { "decipher_many", true, MANY },
};

struct bench {
    struct onion_layer layer;
    uint8_t cells[CELLS][MESH_CELL];
    EVP_CIPHER_CTX *ctr;
    double turn_s;
};

struct turns {
    double ns[TURNS];
};

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ns for each cell of one turn. */
static double time_layer(struct bench *b, const struct onion__layer_ops *ops, const struct work *w)
{
    onion__layer_fn *run = w->decipher ? ops->decipher : ops->encipher;
    unsigned long n = 0;
    double start = cpu_s(), spent;
    do {
        for (int i = 0; i < CALLS_BETWEEN; i++, n++)
            run(&b->layer, b->cells[n * w->cells % CELLS], w->cells, MESH_CELL);
        spent = cpu_s() - start;
    } while (spent < b->turn_s);
    return spent * 1e9 / ((double)n * (double)w->cells);
}

static double time_ctr(struct bench *b)
{
    static const uint8_t iv[16] = { 0 };
    unsigned long n = 0;
    double start = cpu_s(), spent;
    do {
        for (int i = 0; i < CALLS_BETWEEN; i++, n++) {
            uint8_t *cell = b->cells[n % CELLS];
            int len = 0;
            /* A counter of its own for each cell, as a layer would need. */
            if (EVP_EncryptInit_ex(b->ctr, NULL, NULL, NULL, iv) != 1 ||
                EVP_EncryptUpdate(b->ctr, cell, &len, cell, MESH_CELL) != 1)
                return 0;
        }
        spent = cpu_s() - start;
    } while (spent < b->turn_s);
    return spent * 1e9 / (double)n;
}

static double time_init(struct bench *b)
{
    uint8_t key[32] = { 1 };
    unsigned long n = 0;
    double start = cpu_s(), spent;
    do {
        for (int i = 0; i < CALLS_BETWEEN; i++, n++) {
            onion_layer_init(&b->layer, key);
            memcpy(key, b->layer.power, sizeof key);
        }
        spent = cpu_s() - start;
    } while (spent < b->turn_s);
    return spent * 1e9 / (double)n;
}

/* All give the portable one's bytes on random cells, and undo them. */
static bool all_agree(struct bench *b)
{
    static uint8_t plain[MANY][MESH_CELL], want[MANY][MESH_CELL], got[MANY][MESH_CELL];
    bool agree = true;
    for (int round = 0; round < 20; round++) {
        uint8_t key[32];
        randombytes_buf(key, sizeof key);
        randombytes_buf(plain, sizeof plain);
        onion_layer_init(&b->layer, key);
        memcpy(want, plain, sizeof want);
        onion__layer_portable.encipher(&b->layer, want[0], MANY, MESH_CELL);
        for (int i = 0; i < ONION_LAYER_IMPLS; i++) {
            const struct onion__layer_ops *ops = onion__layer_ops((enum onion_layer_impl)i);
            if (ops == NULL)
                continue;
            memcpy(got, plain, sizeof got);
            ops->encipher(&b->layer, got[0], MANY, MESH_CELL);
            agree = agree && memcmp(got, want, sizeof got) == 0;
            ops->decipher(&b->layer, got[0], MANY, MESH_CELL);
            agree = agree && memcmp(got, plain, sizeof got) == 0;
        }
    }
    return agree;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct turns *t)
{
    qsort(t->ns, TURNS, sizeof t->ns[0], by_value);
    return t->ns[TURNS / 2];
}

static bool begin(struct bench *b, double seconds)
{
    uint8_t key[32];
    randombytes_buf(key, sizeof key);
    randombytes_buf(b->cells, sizeof b->cells);
    onion_layer_init(&b->layer, key);
    b->turn_s = seconds / (TURNS * (WORKS * ONION_LAYER_IMPLS + 2));
    b->ctr = EVP_CIPHER_CTX_new();
    return b->ctr != NULL && EVP_EncryptInit_ex(b->ctr, EVP_aes_256_ctr(), NULL, key, NULL) == 1;
}

static void print_all(struct turns layer[ONION_LAYER_IMPLS][WORKS], struct turns *ctr,
                      struct turns *init)
{
    printf("{\"best\":\"%s\",\"ctr_ns\":%.1f,\"init_ns\":%.1f",
           onion_layer_name(onion_layer_best()), median(ctr), median(init));
    for (int i = 0; i < ONION_LAYER_IMPLS; i++) {
        enum onion_layer_impl impl = (enum onion_layer_impl)i;
        if (!onion_layer_has(impl))
            continue;
        printf(",\"%s\":{", onion_layer_name(impl));
        for (int w = 0; w < WORKS; w++)
            printf("%s\"%s_ns\":%.1f", w > 0 ? "," : "", works[w].name, median(&layer[i][w]));
        printf("}");
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct bench b;
    static struct turns layer[ONION_LAYER_IMPLS][WORKS], ctr, init;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
    if (!(seconds > 0 && seconds < 3600) || sodium_init() < 0)
        return 2;
    if (!all_agree(&b)) {
        fprintf(stderr, "bench_layer: implementations differ\n");
        return 1;
    }
    if (!begin(&b, seconds))
        return 2;
    for (int turn = 0; turn < TURNS; turn++) {
        for (int i = 0; i < ONION_LAYER_IMPLS; i++) {
            const struct onion__layer_ops *ops = onion__layer_ops((enum onion_layer_impl)i);
            for (int w = 0; w < WORKS && ops != NULL; w++)
                layer[i][w].ns[turn] = time_layer(&b, ops, &works[w]);
        }
        ctr.ns[turn] = time_ctr(&b);
        init.ns[turn] = time_init(&b);
    }
    EVP_CIPHER_CTX_free(b.ctr);
    print_all(layer, &ctr, &init);
    return 0;
}
