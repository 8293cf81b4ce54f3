/* Descriptors: each rule of the client's broken in turn. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "tests/unit/mesh/vec.h"
#include "tests/unit/onion/sealed.h"

/* ---- opening: each rule broken --------------------------------------------------------------- */

/* Seals, takes the outside apart, lets `change` have it, builds it again under d. */
static enum drop open_changed(void (*change)(struct sealed *s, struct dht_descriptor *d))
{
    struct sealed s = sealed_start();
    static uint8_t out[DHT_DESCRIPTOR_MAX], again[DHT_DESCRIPTOR_MAX];
    static uint8_t inner[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    struct dht_value v;
    struct dht_descriptor d;
    uint8_t sk[64];
    size_t len = sealed_make(&s, -1, out);
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
    cr_assert_eq(dht_value_parse(&v, &s.net, SEALED_NOW, out, len), DROP_NONE);
    cr_assert(dht_descriptor_read(&d, &v));
    memcpy(inner, d.inner, d.inner_len);
    d.inner = inner;
    change(&s, &d);
    sealed_d_key(&s, sk);
    int built = dht_descriptor_build(&d, &s.net, sk, again);
    cr_assert_gt(built, 0);
    return sealed_open(&s, &how, again, (size_t)built, &got);
}

static void change_nothing(struct sealed *s, struct dht_descriptor *d)
{
    (void)s, (void)d;
}

static void change_cipher(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    ((uint8_t *)(uintptr_t)d->inner)[5] ^= 1;
}

static void change_nonce(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->nonce[0] ^= 1;
}

static void change_sequence(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->sequence++; /* which the ciphertext vouches for as well */
}

static void change_proof(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->proof[0] ^= 1;
}

static void change_delegation(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->delegation[40] ^= 1;
}

static void change_serial(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->serial++;
}

static void change_period(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->period++; /* A_p is the old one's */
    d->sequence = 0;
}

static void change_far_period(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->period += 2;
    d->sequence = 0;
}

static void change_future(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->sequence += 61 * 256;
}

static void change_publisher(struct sealed *s, struct dht_descriptor *d)
{
    (void)s;
    d->blinded[0] ^= 1;
}

/* The same address, d delegated anew: a thief of the ciphertext with a d of its own. */
static void change_d(struct sealed *s, struct dht_descriptor *d)
{
    struct sealed other = sealed_start();
    memset(other.delegation.d_seed, 3, 32);
    crypto_sign_seed_keypair(d->d, (uint8_t[64]){ 0 }, other.delegation.d_seed);
    s->delegation = other.delegation;
}

Test(onion_descriptor, is_refused_when_anything_outside_is_changed)
{
    static const struct {
        void (*change)(struct sealed *s, struct dht_descriptor *d);
        enum drop want;
    } cases[] = { { change_nothing, DROP_NONE },       { change_cipher, DROP_AUTH },
                  { change_nonce, DROP_AUTH },         { change_sequence, DROP_AUTH },
                  { change_proof, DROP_PROOF },        { change_delegation, DROP_SIGNATURE },
                  { change_serial, DROP_SIGNATURE },   { change_period, DROP_KEY },
                  { change_far_period, DROP_EXPIRED }, { change_future, DROP_FIELD },
                  { change_publisher, DROP_KEY },      { change_d, DROP_SIGNATURE } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum drop drop = open_changed(cases[i].change);
        cr_expect_eq(drop, cases[i].want, "case %zu: %s", i, drop_name(drop));
    }
}

Test(onion_descriptor, is_refused_when_any_bit_is_flipped_or_anything_is_missing)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    for (size_t bit = 0; bit < 8 * len; bit += bit < 8 * 260 ? 1 : 61) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(sealed_open(&s, &how, out, len, &got), DROP_NONE, "bit %zu", bit);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < len; n += 5)
        cr_assert_neq(sealed_open(&s, &how, out, n, &got), DROP_NONE, "length %zu", n);
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE);
}

Test(onion_descriptor, of_another_address_is_refused)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX], pk[32], sk[64];
    const uint8_t seed[32] = { 99 };
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    crypto_sign_seed_keypair(pk, sk, seed);
    how.address = pk;
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_KEY);
    memset(pk, 0, sizeof pk); /* no point that may be multiplied */
    cr_assert_eq(sealed_open(&s, &how, out, len, &got), DROP_KEY);
}

Test(onion_descriptor, older_than_the_last_verified_is_ignored)
{
    struct sealed s = sealed_start();
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_descriptor got;
    size_t len = sealed_make(&s, -1, out);
    uint64_t sequence = sealed_seal(&s).sequence;
    uint32_t serial = s.delegation.serial;
    const struct {
        uint32_t serial;
        uint64_t sequence;
        enum drop want;
    } cases[] = { { serial, sequence, DROP_NONE },
                  { serial, sequence - 1, DROP_NONE },
                  { serial, sequence + 1, DROP_STALE },
                  { serial - 1, UINT64_MAX, DROP_NONE },
                  { serial + 1, 0, DROP_STALE } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct onion_reading how = { .address = s.address,
                                     .has_last = true,
                                     .last_serial = cases[i].serial,
                                     .last_sequence = cases[i].sequence };
        memcpy(how.last_blinded, s.delegation.blinded, 32);
        cr_expect_eq(sealed_open(&s, &how, out, len, &got), cases[i].want, "case %zu", i);
        how.last_blinded[3] ^= 1; /* of another period */
        cr_expect_eq(sealed_open(&s, &how, out, len, &got), DROP_NONE, "case %zu", i);
    }
}

Test(onion_descriptor, records_of_other_types_are_no_descriptors)
{
    struct sealed s = sealed_start();
    struct onion_reading how = sealed_reading(&s);
    struct onion_descriptor got;
    json_t *root = vec_open("record");
    struct vec_bytes node = vec_bytes(json_array_get(vec_get(root, "node_records"), 0), "hex");
    cr_assert_eq(sealed_open(&s, &how, node.b, node.len, &got), DROP_TYPE);
    vec_close(root);
}

/* ---- opening: the inside --------------------------------------------------------------------- */

Test(onion_descriptor, every_field_around_the_map_is_checked)
{
    struct sealed s = sealed_start();
    uint8_t plain[3796] = { 1, 0 };
    struct writer w = writer_on(plain + 4, DESC__MAP_MAX);
    desc__map_put(&w, &s.inner);
    size_t map = writer_len(&w);
    plain[2] = (uint8_t)(map >> 8), plain[3] = (uint8_t)map;
    cr_assert_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_NONE);
    plain[0] = 2;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_VERSION);
    plain[0] = 0;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_VERSION);
    plain[0] = 1, plain[1] = 2;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_FIELD);
    plain[1] = 0, plain[sizeof plain - 1] = 1;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_FIELD,
                 "something behind the map");
    plain[sizeof plain - 1] = 0, plain[3]--;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_FIELD, "the map is longer");
    plain[3] += 2;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_FIELD, "the map is shorter");
    plain[2] = 0xff;
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_SHORT);
    plain[2] = plain[3] = 0;
    memset(plain + 4, 0, map);
    cr_expect_eq(sealed_open_plain(&s, plain, sizeof plain), DROP_SHORT, "no map");
}

Test(onion_descriptor, every_field_of_the_part_for_clients_is_checked)
{
    struct sealed s = sealed_start();
    static uint8_t plain[DESC__PLAIN_MAX];
    uint8_t out[DHT_DESCRIPTOR_MAX];
    sealed_plain_of(&s, out, sealed_make(&s, 3, out), plain);
    cr_assert_eq(sealed_open_plain(&s, plain, 3796), DROP_NONE);
    static const struct {
        size_t at;
        uint8_t value;
        enum drop want;
    } cases[] = { { 37, 0, DROP_LIMIT },   { 37, 15, DROP_LIMIT },   { 37, 17, DROP_LIMIT },
                  { 37, 80, DROP_LIMIT },  { 36, 1, DROP_LIMIT },    { 37, 32, DROP_AUTH },
                  { 2, 0xff, DROP_SHORT }, { 4, 0xff, DROP_UNKNOWN } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t was = plain[cases[i].at];
        plain[cases[i].at] = cases[i].value;
        enum drop drop = sealed_open_plain(&s, plain, 3796);
        cr_expect_eq(drop, cases[i].want, "case %zu: %s", i, drop_name(drop));
        plain[cases[i].at] = was;
    }
    size_t sealed_at = 38 + 16 * 56 + 24;
    plain[sealed_at] ^= 1;
    cr_expect_eq(sealed_open_plain(&s, plain, 3796), DROP_AUTH);
    plain[sealed_at] ^= 1;
    memset(plain + 4, 0, 32);
    cr_expect_eq(sealed_open_plain(&s, plain, 3796), DROP_KEY, "e_d of small order");
}
