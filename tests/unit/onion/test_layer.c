#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "../mesh/vec.h"
#include "base/cleanup.h"
#include "hctr2_general.h"
#include "onion/layer_internal.h"

enum { CELLS_MAX = 9 };

/* The same bytes in every run. */
static void fill(void *out, size_t n, uint64_t number)
{
    uint8_t seed[randombytes_SEEDBYTES] = { 0 };
    memcpy(seed, &number, sizeof number);
    randombytes_buf_deterministic(out, n, seed);
}

static struct onion_layer layer_of(const uint8_t key[static 32])
{
    struct onion_layer l;
    onion_layer_init(&l, key);
    return l;
}

static struct onion_layer layer_numbered(uint64_t number)
{
    uint8_t key[32];
    fill(key, sizeof key, number);
    return layer_of(key);
}

/* The implementations of this machine, one after another. */
static const struct onion__layer_ops *next_ops(int *impl)
{
    for (++*impl; *impl < ONION_LAYER_IMPLS; ++*impl) {
        const struct onion__layer_ops *ops = onion__layer_ops((enum onion_layer_impl) * impl);
        if (ops != NULL)
            return ops;
    }
    return NULL;
}

#define each_ops(ops, impl)                                                                        \
    int impl = -1;                                                                                 \
    for (const struct onion__layer_ops *(ops) = next_ops(&(impl)); (ops) != NULL;                  \
         (ops) = next_ops(&(impl)))

static const char *name_of(int impl)
{
    return onion_layer_name((enum onion_layer_impl)impl);
}

/* ---- published vectors ---------------------------------------------------------------------- */

Test(layer, gives_the_published_vectors_of_polyval)
{
    json_t *root = vec_open("polyval");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "vectors"), at, v)
    {
        uint8_t h[16], want[16], got[16];
        vec_copy(vec_get(v, "input"), "key_hex", h, 16);
        struct vec_bytes message = vec_bytes(vec_get(v, "input"), "message_hex");
        vec_copy(v, "hash_hex", want, 16);
        general_polyval(got, h, message.b, message.len);
        cr_assert_arr_eq(got, want, 16, "vector %zu", at);
    }
    cr_assert_eq(at, 40u);
    vec_close(root);
}

Test(layer, gives_the_published_vectors_of_xctr)
{
    json_t *root = vec_open("xctr_aes256");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "vectors"), at, v)
    {
        uint8_t key[32], nonce[16];
        vec_copy(vec_get(v, "input"), "key_hex", key, 32);
        vec_copy(vec_get(v, "input"), "nonce_hex", nonce, 16);
        struct vec_bytes text = vec_bytes(v, "plaintext_hex");
        struct vec_bytes sealed = vec_bytes(v, "ciphertext_hex");
        general_xctr(key, nonce, text.b, text.len);
        cr_assert_eq(text.len, sealed.len);
        cr_assert_arr_eq(text.b, sealed.b, sealed.len, "vector %zu", at);
    }
    cr_assert_eq(at, 40u);
    vec_close(root);
}

/* An AES vector of its own (FIPS 197, C.3), in each of the eight places: the published HCTR2 ones
 * would pass if only the first were right. */
Test(layer, gives_the_aes_vector_in_each_of_the_eight_blocks)
{
    const uint8_t want[16] = { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
                               0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89 };
    uint8_t key[32], round[ONION_LAYER_ROUND_KEYS][16], blocks[LAYER_SLICED * 16];
    struct onion__aes k;
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    onion__aes_expand(round, key);
    onion__aes_slice(&k, round);
    for (size_t place = 0; place < LAYER_SLICED; place++) {
        uint8_t before[sizeof blocks];
        fill(blocks, sizeof blocks, place);
        for (size_t i = 0; i < 16; i++)
            blocks[16 * place + i] = (uint8_t)(0x11 * i);
        memcpy(before, blocks, sizeof blocks);
        onion__aes_encrypt(&k, blocks);
        cr_assert_arr_eq(blocks + 16 * place, want, 16, "place %zu", place);
        onion__aes_decrypt(&k, blocks);
        cr_assert_arr_eq(blocks, before, sizeof blocks, "place %zu", place);
    }
}

Test(layer, gives_the_published_vectors_of_hctr2_both_ways)
{
    json_t *root = vec_open("hctr2_aes256");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "vectors"), at, v)
    {
        uint8_t key[32], data[GENERAL_MAX];
        vec_copy(v, "key", key, 32);
        struct vec_bytes tweak = vec_bytes(v, "tweak");
        struct vec_bytes text = vec_bytes(v, "plaintext"), sealed = vec_bytes(v, "ciphertext");
        memcpy(data, text.b, text.len);
        general_hctr2(key, tweak.b, tweak.len, data, text.len, false);
        cr_assert_arr_eq(data, sealed.b, sealed.len, "vector %zu", at);
        general_hctr2(key, tweak.b, tweak.len, data, text.len, true);
        cr_assert_arr_eq(data, text.b, text.len, "vector %zu", at);
    }
    cr_assert_eq(at, 70u);
    vec_close(root);
}

static void expect_both_ways(const struct onion__layer_ops *ops, const struct onion_layer *l,
                             const struct vec_bytes *text, const struct vec_bytes *sealed,
                             const char *who)
{
    uint8_t data[GENERAL_MAX];
    cr_assert(text->len == sealed->len && text->len <= sizeof data);
    memcpy(data, text->b, text->len);
    ops->encipher(l, data, 1, text->len);
    cr_assert_arr_eq(data, sealed->b, text->len, "%s", who);
    ops->decipher(l, data, 1, text->len);
    cr_assert_arr_eq(data, text->b, text->len, "%s", who);
}

/* Those with an empty tweak and of a length that all of them take. */
Test(layer, gives_the_published_vectors_in_every_implementation)
{
    json_t *root = vec_open("hctr2_aes256");
    const json_t *v;
    size_t at, seen = 0;
    json_array_foreach(vec_get(root, "vectors"), at, v)
    {
        uint8_t key[32];
        vec_copy(v, "key", key, 32);
        struct vec_bytes text = vec_bytes(v, "plaintext"), sealed = vec_bytes(v, "ciphertext");
        if (vec_bytes(v, "tweak").len > 0 || text.len % LAYER_STEP != 0)
            continue;
        struct onion_layer l = layer_of(key);
        each_ops(ops, impl) expect_both_ways(ops, &l, &text, &sealed, name_of(impl));
        seen++;
    }
    cr_assert_eq(seen, 2u);
    vec_close(root);
}

Test(layer, gives_the_vectors_of_whole_cells_in_every_implementation)
{
    json_t *root = vec_open("layer");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "cells"), at, v)
    {
        uint8_t key[32];
        vec_copy(v, "key", key, 32);
        struct vec_bytes text = vec_bytes(v, "plaintext"), sealed = vec_bytes(v, "ciphertext");
        cr_assert_eq(text.len, (size_t)MESH_CELL);
        struct onion_layer l = layer_of(key);
        each_ops(ops, impl) expect_both_ways(ops, &l, &text, &sealed, name_of(impl));
    }
    cr_assert_eq(at, 3u);
    vec_close(root);
}

/* ---- a path --------------------------------------------------------------------------------- */

static void load_path(struct onion_layer layers[static 3], const json_t *keys)
{
    for (size_t i = 0; i < 3; i++)
        layers[i] = layer_of(vec_hex(json_array_get(keys, i)).b);
}

static void expect_link(const json_t *links, size_t i, const uint8_t cell[static MESH_CELL])
{
    struct vec_bytes want = vec_hex(json_array_get(links, i));
    cr_assert_eq(want.len, (size_t)MESH_CELL);
    cr_assert_arr_eq(cell, want.b, MESH_CELL, "link %zu", i);
}

/* The client puts all layers on, each hop takes one off; on the way back the other way round. */
Test(layer, takes_a_cell_through_three_hops_out_and_back)
{
    json_t *root = vec_open("layer");
    const json_t *v = vec_get(root, "three_layers"), *out = vec_get(v, "links_out"),
                 *back = vec_get(v, "links_back");
    struct onion_layer forward[3], backward[3];
    uint8_t cell[MESH_CELL], plain[MESH_CELL];
    vec_copy(v, "cell", plain, MESH_CELL);
    load_path(forward, vec_get(v, "forward"));
    load_path(backward, vec_get(v, "backward"));

    memcpy(cell, plain, MESH_CELL);
    for (size_t i = 3; i-- > 0;)
        onion_layer_encipher(&forward[i], cell);
    for (size_t i = 0; i < 3; i++) {
        expect_link(out, i, cell);
        onion_layer_decipher(&forward[i], cell);
    }
    cr_assert_arr_eq(cell, plain, MESH_CELL);

    for (size_t i = 3; i-- > 0;) {
        onion_layer_encipher(&backward[i], cell);
        expect_link(back, i, cell);
    }
    for (size_t i = 0; i < 3; i++)
        onion_layer_decipher(&backward[i], cell);
    cr_assert_arr_eq(cell, plain, MESH_CELL);
    vec_close(root);
}

/* ---- properties ----------------------------------------------------------------------------- */

Test(layer, agrees_with_the_general_form_in_every_implementation)
{
    for (uint64_t round = 0; round < 50; round++) {
        uint8_t key[32], cell[MESH_CELL], sealed[MESH_CELL], got[MESH_CELL];
        fill(key, sizeof key, 1000 + round);
        fill(cell, sizeof cell, 2000 + round);
        struct onion_layer l = layer_of(key);
        memcpy(sealed, cell, MESH_CELL);
        general_hctr2(key, NULL, 0, sealed, MESH_CELL, false);
        each_ops(ops, impl)
        {
            memcpy(got, cell, MESH_CELL);
            ops->encipher(&l, got, 1, MESH_CELL);
            cr_assert_arr_eq(got, sealed, MESH_CELL, "%s, round %lu", name_of(impl), round);
            ops->decipher(&l, got, 1, MESH_CELL);
            cr_assert_arr_eq(got, cell, MESH_CELL, "%s, round %lu", name_of(impl), round);
        }
    }
}

Test(layer, gives_many_cells_the_bytes_that_one_by_one_gives)
{
    static uint8_t cells[CELLS_MAX][MESH_CELL], many[CELLS_MAX][MESH_CELL],
        single[CELLS_MAX][MESH_CELL];
    struct onion_layer l = layer_numbered(1);
    for (size_t n = 0; n <= CELLS_MAX; n++) {
        fill(cells, sizeof cells, n);
        memcpy(single, cells, sizeof cells);
        for (size_t i = 0; i < n; i++)
            onion__layer_portable.encipher(&l, single[i], 1, MESH_CELL);
        each_ops(ops, impl)
        {
            memcpy(many, cells, sizeof cells);
            ops->encipher(&l, many[0], n, MESH_CELL);
            cr_assert_arr_eq(many, single, sizeof many, "%s, %zu cells", name_of(impl), n);
            ops->decipher(&l, many[0], n, MESH_CELL);
            cr_assert_arr_eq(many, cells, sizeof many, "%s, %zu cells", name_of(impl), n);
        }
    }
}

Test(layer, runs_the_best_implementation_behind_the_public_functions)
{
    static uint8_t want[3][MESH_CELL], got[3][MESH_CELL];
    struct onion_layer l = layer_numbered(3);
    fill(want, sizeof want, 4);
    memcpy(got, want, sizeof want);
    onion__layer_ops(onion_layer_best())->encipher(&l, want[0], 3, MESH_CELL);
    onion_layer_encipher(&l, got[0]);
    onion_layer_encipher_many(&l, got[1], 2);
    cr_assert_arr_eq(got, want, sizeof want);
    onion__layer_ops(onion_layer_best())->decipher(&l, want[0], 3, MESH_CELL);
    onion_layer_decipher(&l, got[0]);
    onion_layer_decipher_many(&l, got[1], 2);
    cr_assert_arr_eq(got, want, sizeof want);
}

/* Heap blocks of exact size, so that AddressSanitizer sees a byte before or behind. */
Test(layer, takes_cells_at_any_alignment)
{
    struct onion_layer l = layer_numbered(5);
    uint8_t cells[2 * MESH_CELL], want[2 * MESH_CELL];
    fill(cells, sizeof cells, 6);
    memcpy(want, cells, sizeof want);
    onion__layer_portable.encipher(&l, want, 2, MESH_CELL);
    for (size_t offset = 0; offset < 64; offset++) {
        cleanup_free uint8_t *block = malloc(offset + sizeof cells);
        cr_assert_not_null(block);
        each_ops(ops, impl)
        {
            memset(block, 0xa5, offset);
            memcpy(block + offset, cells, sizeof cells);
            ops->encipher(&l, block + offset, 2, MESH_CELL);
            cr_assert_arr_eq(block + offset, want, sizeof want, "%s at %zu", name_of(impl), offset);
            ops->decipher(&l, block + offset, 2, MESH_CELL);
            cr_assert_arr_eq(block + offset, cells, sizeof cells, "%s at %zu", name_of(impl),
                             offset);
            for (size_t i = 0; i < offset; i++)
                cr_assert_eq(block[i], 0xa5);
        }
    }
}

static unsigned bits_that_differ(const uint8_t *a, const uint8_t *b, size_t n)
{
    unsigned differ = 0;
    for (size_t i = 0; i < n; i++)
        differ += (unsigned)__builtin_popcount(a[i] ^ b[i]);
    return differ;
}

/* Of 10,240 bits half are expected to change, with a standard deviation of 51: ten of those are
 * allowed. The first block, from which the relays' zeros come, is looked at by itself: 64 of 128,
 * deviation 5.7. */
static void expect_noise(onion__layer_fn *run, const struct onion_layer *l, const char *who)
{
    uint8_t cell[MESH_CELL], plain[MESH_CELL], changed[MESH_CELL];
    fill(cell, sizeof cell, 8);
    memcpy(plain, cell, MESH_CELL);
    run(l, plain, 1, MESH_CELL);
    for (size_t bit = 0; bit < 8 * MESH_CELL; bit++) {
        memcpy(changed, cell, MESH_CELL);
        changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        run(l, changed, 1, MESH_CELL);
        unsigned all = bits_that_differ(plain, changed, MESH_CELL);
        unsigned first = bits_that_differ(plain, changed, 16);
        cr_assert(all > 4614 && all < 5626, "%s, bit %zu: %u of 10240 changed", who, bit, all);
        cr_assert(first > 24 && first < 104, "%s, bit %zu: %u of 128 changed", who, bit, first);
    }
}

Test(layer, makes_noise_of_the_whole_cell_when_any_bit_was_flipped, .timeout = 100)
{
    struct onion_layer l = layer_numbered(7);
    each_ops(ops, impl)
    {
        expect_noise(ops->decipher, &l, name_of(impl));
        expect_noise(ops->encipher, &l, name_of(impl));
    }
}

Test(layer, makes_noise_of_the_whole_cell_under_another_key)
{
    uint8_t key[32], cell[MESH_CELL], plain[MESH_CELL] = { 0 };
    fill(key, sizeof key, 9);
    memcpy(cell, plain, MESH_CELL);
    struct onion_layer l = layer_of(key);
    onion_layer_encipher(&l, cell);
    for (int bit = 0; bit < 256; bit++) {
        uint8_t other[MESH_CELL];
        memcpy(other, cell, MESH_CELL);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        l = layer_of(key);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        onion_layer_decipher(&l, other);
        unsigned set = bits_that_differ(plain, other, MESH_CELL);
        cr_assert(set > 4614 && set < 5626, "key bit %d: %u of 10240 set", bit, set);
    }
}

/* ---- keys and dispatch ---------------------------------------------------------------------- */

Test(layer, keeps_the_powers_of_the_hash_key_in_falling_order)
{
    struct onion_layer l = layer_numbered(10);
    const uint8_t *h = l.power[ONION_LAYER_POWERS - 1];
    for (size_t i = 0; i + 1 < ONION_LAYER_POWERS; i++) {
        uint8_t product[16];
        general_polyval(product, h, l.power[i + 1], 16);
        cr_assert_arr_eq(l.power[i], product, 16, "power %zu", ONION_LAYER_POWERS - i);
    }
}

Test(layer, wipes_the_whole_key)
{
    struct onion_layer l = layer_numbered(11);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&l, sizeof l), 0);
    onion_layer_wipe(&l);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&l, sizeof l), 1);
}

Test(layer, finds_the_same_implementations_whenever_it_asks)
{
    unsigned found = onion__layer_probe();
    cr_assert(onion_layer_has(ONION_LAYER_PORTABLE));
    for (int i = 0; i < ONION_LAYER_IMPLS; i++) {
        enum onion_layer_impl impl = (enum onion_layer_impl)i;
        cr_assert_eq(onion_layer_has(impl), (found >> i & 1) != 0);
        cr_assert_eq(onion__layer_ops(impl) != NULL, onion_layer_has(impl));
        cr_assert(!onion_layer_has(impl) || onion_layer_best() <= impl);
        cr_assert_str_neq(onion_layer_name(impl), "none");
    }
    cr_assert(onion_layer_has(onion_layer_best()));
    cr_assert_not(onion_layer_has(ONION_LAYER_IMPLS));
    cr_assert_str_eq(onion_layer_name(ONION_LAYER_IMPLS), "none");
}
