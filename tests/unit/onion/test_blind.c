/* Blinded keys and delegations against the vectors, and what must hold for any. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "dht/type.h"
#include "onion/blind_internal.h"
#include "onion/delegation.h"
#include "tests/unit/mesh/vec.h"
#include "tests/unit/onion/dice.h"

enum { PERIOD = 19675 };

static void start(void)
{
    cr_assert_eq(secret_init(NULL), 0);
}

TestSuite(onion_blind, .init = start);
TestSuite(onion_delegation, .init = start);

static const uint8_t seed1[32] = { 1, 2, 3 }, seed2[32] = { 9 };

static struct mesh_network net_of(const char *name)
{
    struct mesh_network net;
    cr_assert_eq(mesh_network_init(&net, name, 1, true, NULL), 0);
    return net;
}

static void expect_bytes(const json_t *v, const char *key, const uint8_t *got, size_t n)
{
    struct vec_bytes want = vec_bytes(v, key);
    cr_assert_eq(want.len, n, "%s", key);
    cr_assert_arr_eq(got, want.b, n, "%s", key);
}

static void blinding_check(const json_t *v)
{
    struct mesh_network net = { 0 };
    struct blind__key k;
    uint8_t seed[32], address[32], b[32], blinded[32], random[32], signature[64];
    struct vec_bytes text = vec_bytes(v, "text");
    uint64_t period = vec_u64(v, "period");
    vec_copy(v, "net", net.id, sizeof net.id);
    vec_copy(v, "seed", seed, sizeof seed);
    vec_copy(v, "random", random, sizeof random);
    onion_address_of_seed(address, seed);
    expect_bytes(v, "address", address, sizeof address);
    onion_blind_factor(b, address, &net, period);
    expect_bytes(v, "b", b, sizeof b);
    cr_assert_eq(onion_blind_public(blinded, address, &net, period), 0);
    expect_bytes(v, "blinded", blinded, sizeof blinded);
    cr_assert_eq(blind__key_derive(&k, seed, &net, period), 0);
    expect_bytes(v, "secret", k.scalar, sizeof k.scalar);
    expect_bytes(v, "prefix", k.prefix, sizeof k.prefix);
    expect_bytes(v, "blinded", k.pub, sizeof k.pub);
    cr_assert_eq(blind__sign(signature, &k, random, text.b, text.len), 0);
    expect_bytes(v, "signature", signature, sizeof signature);
}

Test(onion_blind, keys_and_signatures_are_those_of_the_vectors)
{
    json_t *root = vec_open("endpoint");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "blindings"), at, v) blinding_check(v);
    cr_assert_geq(at, 5u);
    vec_close(root);
}

Test(onion_blind, signatures_verify_by_the_ordinary_call)
{
    struct mesh_network net = net_of("blind");
    struct dice dice = dice_of(1);
    for (unsigned i = 0; i < 50; i++) {
        uint8_t seed[32], random[32], text[100], signature[64];
        struct blind__key k;
        size_t len = i;
        env_random(&dice.env, seed, sizeof seed);
        env_random(&dice.env, random, sizeof random);
        env_random(&dice.env, text, sizeof text);
        cr_assert_eq(blind__key_derive(&k, seed, &net, PERIOD + i), 0);
        cr_assert_eq(blind__sign(signature, &k, random, text, len), 0);
        cr_assert_eq(crypto_sign_verify_detached(signature, text, len, k.pub), 0);
        signature[i] ^= 1;
        cr_assert_neq(crypto_sign_verify_detached(signature, text, len, k.pub), 0);
        signature[i] ^= 1;
        text[0] ^= 1;
        if (len > 0)
            cr_assert_neq(crypto_sign_verify_detached(signature, text, len, k.pub), 0);
    }
}

Test(onion_blind, keys_of_other_periods_networks_and_addresses_differ)
{
    struct mesh_network net = net_of("blind"), other = net_of("other");
    uint8_t a1[32], a2[32], base[32], got[32];
    onion_address_of_seed(a1, seed1);
    onion_address_of_seed(a2, seed2);
    cr_assert_eq(onion_blind_public(base, a1, &net, PERIOD), 0);
    cr_assert_eq(crypto_core_ed25519_is_valid_point(base), 1);
    cr_assert_eq(onion_blind_public(got, a1, &net, PERIOD + 1), 0);
    cr_expect_arr_neq(got, base, 32);
    cr_assert_eq(onion_blind_public(got, a1, &other, PERIOD), 0);
    cr_expect_arr_neq(got, base, 32);
    cr_assert_eq(onion_blind_public(got, a2, &net, PERIOD), 0);
    cr_expect_arr_neq(got, base, 32);
}

Test(onion_blind, points_outside_the_group_are_not_blinded)
{
    struct mesh_network net = net_of("blind");
    json_t *root = vec_open("endpoint");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "refused"), at, v)
    {
        uint8_t key[32], out[32] = { 42 };
        vec_copy(v, "key", key, sizeof key);
        if (strcmp(vec_str(v, "verdict"), "key") != 0)
            continue;
        cr_expect_eq(onion_blind_public(out, key, &net, PERIOD), CYX_EINVAL, "%s",
                     vec_str(v, "name"));
        cr_expect_eq(out[0], 42);
    }
    vec_close(root);
}

/* ---- delegations ----------------------------------------------------------------------------- */

static struct onion_delegations *make(const struct mesh_network *net, const uint8_t *seed,
                                      uint64_t first, size_t n, uint32_t serial)
{
    struct dice dice = dice_of(first * 1000 + serial);
    struct onion_delegations *d =
        onion_delegations_create(seed, net, first, n, serial, &dice.env, NULL);
    cr_assert_not_null(d);
    return d;
}

/* Decodes a heap copy of exact size. */
static struct onion_delegations *decode(const struct mesh_network *net, const uint8_t *data,
                                        size_t len, struct cyx_err *err)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    struct onion_delegations *d = onion_delegations_decode(net, copy, len, err);
    free(copy);
    return d;
}

static int decode_code(const struct mesh_network *net, const uint8_t *data, size_t len)
{
    struct cyx_err err = { 0 };
    struct onion_delegations *d = decode(net, data, len, &err);
    cr_assert((d == NULL) == (err.code != 0));
    onion_delegations_destroy(d);
    return err.code;
}

static void delegation_check(const struct onion_delegation *d, const struct mesh_network *net)
{
    uint8_t text[DHT_DELEGATION_TEXT];
    dht_delegation_text(text, net, d->period, d->serial, d->d);
    cr_assert_eq(crypto_sign_verify_detached(d->signature, text, sizeof text, d->blinded), 0);
}

Test(onion_delegation, of_the_vectors_differ_in_their_serial)
{
    json_t *root = vec_open("endpoint");
    const json_t *list = vec_get(root, "delegations"), *v;
    struct mesh_network net = { 0 };
    uint8_t seed[32];
    size_t at;
    vec_copy(vec_get(root, "net"), "id", net.id, sizeof net.id);
    vec_copy(json_array_get(vec_get(root, "addresses"), 0), "seed", seed, sizeof seed);
    json_array_foreach(list, at, v)
    {
        struct vec_bytes random = vec_bytes(v, "random");
        struct dice dice = dice_fixed(random.b, random.len);
        struct onion_delegations *d =
            onion_delegations_create(seed, &net, vec_u64(root, "period"), 1,
                                     (uint32_t)vec_u64(v, "serial"), &dice.env, NULL);
        cr_assert_not_null(d);
        cr_assert_eq(dice.fixed_left, 0u);
        expect_bytes(v, "d_seed", d->list[0].d_seed, 32);
        expect_bytes(v, "d", d->list[0].d, 32);
        expect_bytes(v, "signature", d->list[0].signature, 64);
        expect_bytes(root, "blinded", d->list[0].blinded, 32);
        expect_bytes(root, "address", d->address, 32);
        delegation_check(&d->list[0], &net);
        onion_delegations_destroy(d);
    }
    cr_assert_eq(at, 2u);
    vec_close(root);
}

Test(onion_delegation, places_of_the_vectors_are_found)
{
    json_t *root = vec_open("endpoint");
    struct mesh_network net = { 0 };
    uint8_t blinded[32], place[32];
    vec_copy(vec_get(root, "net"), "id", net.id, sizeof net.id);
    vec_copy(root, "blinded", blinded, sizeof blinded);
    for (uint8_t i = 0; i < DHT_REPLICAS; i++) {
        struct vec_bytes want = vec_hex(json_array_get(vec_get(root, "places"), i));
        dht_descriptor_place(place, &net, blinded, vec_u64(root, "period"), i);
        cr_assert_arr_eq(place, want.b, 32);
    }
    vec_close(root);
}

Test(onion_delegation, round_trips_as_a_blob)
{
    struct mesh_network net = net_of("blind");
    static uint8_t blob[ONION_DELEGATIONS_BLOB_MAX], again[ONION_DELEGATIONS_BLOB_MAX];
    struct onion_delegations *d = make(&net, seed1, PERIOD, 5, 3);
    size_t len = onion_delegations_encode(d, blob);
    cr_assert_eq(len, 107u + 5 * 108);
    struct onion_delegations *got = decode(&net, blob, len, NULL);
    cr_assert_not_null(got);
    cr_assert_eq(onion_delegations_encode(got, again), len);
    cr_assert_arr_eq(again, blob, len);
    for (size_t i = 0; i < 5; i++) {
        const struct onion_delegation *e = onion_delegations_get(got, PERIOD + i);
        cr_assert_not_null(e);
        cr_assert_eq(memcmp(e, &d->list[i], sizeof *e), 0);
        delegation_check(e, &net);
    }
    cr_assert_null(onion_delegations_get(got, PERIOD + 5));
    cr_assert_null(onion_delegations_get(got, PERIOD - 1));
    /* Nothing that the seed could be told from is in it. */
    cr_assert_null(memmem(blob, len, seed1, 32));
    onion_delegations_destroy(got);
    onion_delegations_destroy(d);
}

Test(onion_delegation, blobs_are_refused_when_cut_changed_or_of_another_network)
{
    struct mesh_network net = net_of("blind"), other = net_of("other");
    static uint8_t blob[ONION_DELEGATIONS_BLOB_MAX];
    struct onion_delegations *d = make(&net, seed1, PERIOD, 2, 3);
    size_t len = onion_delegations_encode(d, blob);
    for (size_t n = 0; n < len; n++)
        cr_assert_eq(decode_code(&net, blob, n), CYX_ECORRUPT, "length %zu", n);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 0x10;
        cr_assert_eq(decode_code(&net, blob, len), CYX_ECORRUPT, "byte %zu", i);
        blob[i] ^= 0x10;
    }
    cr_assert_eq(decode_code(&other, blob, len), CYX_EINVAL);
    cr_assert_eq(decode_code(&net, blob, len), 0);
    onion_delegations_destroy(d);
}

Test(onion_delegation, blobs_with_a_right_checksum_still_need_the_owners_signature)
{
    struct mesh_network net = net_of("blind");
    static uint8_t blob[ONION_DELEGATIONS_BLOB_MAX];
    struct onion_delegations *d = make(&net, seed1, PERIOD, 3, 3);
    d->list[1].serial++;
    cr_assert_eq(decode_code(&net, blob, onion_delegations_encode(d, blob)), CYX_ECORRUPT);
    d->list[1].serial--;
    d->list[2].d_seed[0] ^= 1;
    cr_assert_eq(decode_code(&net, blob, onion_delegations_encode(d, blob)), CYX_ECORRUPT);
    d->list[2].d_seed[0] ^= 1;
    struct onion_delegation kept = d->list[0];
    d->list[0] = d->list[1]; /* twice */
    cr_assert_eq(decode_code(&net, blob, onion_delegations_encode(d, blob)), CYX_ECORRUPT);
    d->list[1] = kept; /* out of order */
    cr_assert_eq(decode_code(&net, blob, onion_delegations_encode(d, blob)), CYX_ECORRUPT);
    sodium_memzero(&kept, sizeof kept);
    onion_delegations_destroy(d);
}

Test(onion_delegation, joining_keeps_the_greater_serial_of_each_period)
{
    struct mesh_network net = net_of("blind"), other = net_of("other");
    struct onion_delegations *old = make(&net, seed1, PERIOD, 4, 1);
    struct onion_delegations *young = make(&net, seed1, PERIOD + 2, 4, 2);
    struct onion_delegations *all = onion_delegations_join(old, young, PERIOD + 1, NULL);
    cr_assert_not_null(all);
    cr_assert_eq(all->n, 5u);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(all->list[i].period, PERIOD + 1 + i);
        cr_assert_eq(all->list[i].serial, i == 0 ? 1u : 2u);
        delegation_check(&all->list[i], &net);
    }
    struct onion_delegations *same = onion_delegations_join(young, old, PERIOD + 1, NULL);
    cr_assert_not_null(same);
    cr_assert_eq(memcmp(same->list, all->list, 5 * sizeof all->list[0]), 0);
    struct onion_delegations *rest = onion_delegations_join(old, NULL, PERIOD + 3, NULL);
    cr_assert_not_null(rest);
    cr_assert_eq(rest->n, 1u);
    struct onion_delegations *strange = make(&net, seed2, PERIOD, 1, 9);
    struct onion_delegations *foreign = make(&other, seed1, PERIOD, 1, 9);
    struct cyx_err err = { 0 };
    cr_assert_null(onion_delegations_join(old, strange, 0, &err));
    cr_assert_eq(err.code, CYX_EINVAL);
    cr_assert_null(onion_delegations_join(old, foreign, 0, &err));
    cr_assert_null(onion_delegations_join(old, NULL, PERIOD + 4, &err));
    onion_delegations_destroy(old);
    onion_delegations_destroy(young);
    onion_delegations_destroy(all);
    onion_delegations_destroy(same);
    onion_delegations_destroy(rest);
    onion_delegations_destroy(strange);
    onion_delegations_destroy(foreign);
}

Test(onion_delegation, as_many_as_a_year_has_and_no_more)
{
    struct mesh_network net = net_of("blind");
    struct dice dice = dice_of(3);
    struct cyx_err err = { 0 };
    static const struct {
        uint64_t first;
        size_t n;
    } bad[] = { { PERIOD, 0 }, { PERIOD, 367 }, { UINT64_MAX, 1 }, { UINT64_MAX / 86400, 2 } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_null(
            onion_delegations_create(seed1, &net, bad[i].first, bad[i].n, 1, &dice.env, &err));
        cr_assert_eq(err.code, CYX_EINVAL);
    }
    static uint8_t blob[ONION_DELEGATIONS_BLOB_MAX];
    struct onion_delegations *d = make(&net, seed1, PERIOD, 366, 1);
    cr_assert_eq(onion_delegations_encode(d, blob), sizeof blob);
    cr_assert_eq(decode_code(&net, blob, sizeof blob), 0);
    onion_delegations_destroy(d);
}
