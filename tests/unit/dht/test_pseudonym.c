#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "dht/pseudonym.h"
#include "dht/type.h"

/* An environment that has randomness only, the same in every run. */
struct fake {
    struct env env;
    uint32_t n;
};

static void fake_random(struct env *e, void *buf, size_t n)
{
    struct fake *f = (struct fake *)e;
    uint8_t seed[32] = { 0 };
    memcpy(seed, &f->n, sizeof f->n);
    f->n++;
    randombytes_buf_deterministic(buf, n, seed);
}

static const struct env_ops fake_ops = { .random = fake_random };

/* Locked memory needs a library that was started. */
static void start(void)
{
    cr_assert_eq(secret_init(NULL), 0);
}

TestSuite(pseudonym, .init = start);
TestSuite(pseudonym_file, .init = start);

static struct dht_pseudonym *fresh(struct fake *f)
{
    f->env.ops = &fake_ops;
    struct dht_pseudonym *p = dht_pseudonym_create(&f->env, NULL);
    cr_assert_not_null(p);
    return p;
}

static void solve(struct dht_pseudonym *p, struct mesh_network *net)
{
    struct mesh_pow_subject s;
    uint8_t proof[MESH_POW_PROOF];
    const uint8_t nonce[16] = { 0 };
    cr_assert_eq(mesh_network_init(net, "lab", 1, true, NULL), 0);
    dht_pseudonym_subject(p, &s);
    cr_assert_eq(mesh_pow_solve(&s, 1, nonce, NULL, proof, NULL), 0);
    cr_assert_eq(dht_pseudonym_set_puzzle(p, net, proof, NULL), 0);
}

/* Decodes a heap copy of exact size; the code, or 0. */
static int decode_code(const uint8_t *data, size_t len)
{
    struct cyx_err err = { 0 };
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    struct dht_pseudonym *p = dht_pseudonym_decode(copy, len, &err);
    cr_assert_eq(p == NULL, err.code != 0);
    dht_pseudonym_destroy(p);
    free(copy);
    return err.code;
}

/* Puts the right checksum behind whatever stands before it. */
static void seal(uint8_t *blob, size_t len)
{
    crypto_h(blob + len - 32, "cyx pseudonym file", &BYTES(blob, len - 32), 1);
}

/* ---- the key --------------------------------------------------------------------------------- */

Test(pseudonym, is_drawn_from_the_environment)
{
    struct fake f = { 0 }, g = { 0 };
    struct dht_pseudonym *a = fresh(&f), *b = fresh(&f), *c = fresh(&g);
    cr_assert_arr_neq(a->pk, b->pk, 32);
    cr_assert_arr_eq(a->pk, c->pk, 32);
    cr_assert_not(a->has_puzzle);
    dht_pseudonym_destroy(a);
    dht_pseudonym_destroy(b);
    dht_pseudonym_destroy(c);
    dht_pseudonym_destroy(NULL);
}

Test(pseudonym, signs_records_that_stores_take)
{
    struct fake f = { 0 };
    struct mesh_network net;
    struct dht_pseudonym *p = fresh(&f);
    uint8_t out[DHT_OFFER_MAX];
    struct dht_value v;
    solve(p, &net);
    struct dht_offer o = { .map = (const uint8_t *)"\x80", .map_len = 1, .expiry = 1001 };
    memcpy(o.puzzle, p->puzzle, sizeof o.puzzle);
    int len = dht_offer_build(&o, &net, p->sk, out);
    cr_assert_gt(len, 0);
    cr_assert_eq(dht_value_parse(&v, &net, 1000, out, (size_t)len), DROP_NONE);
    cr_assert_eq(dht_value_verify(&v, &net, 1000), DROP_NONE);
    cr_assert_arr_eq(v.head.publisher, p->pk, 32);
    dht_pseudonym_destroy(p);
}

Test(pseudonym, refuses_a_puzzle_that_is_wrong_or_not_enough)
{
    struct fake f = { 0 };
    struct mesh_network net;
    struct cyx_err err = { 0 };
    uint8_t proof[MESH_POW_PROOF];
    struct dht_pseudonym *p = fresh(&f), *other = fresh(&f);
    solve(p, &net);
    memcpy(proof, p->puzzle, sizeof proof);
    cr_assert_eq(dht_pseudonym_set_puzzle(other, &net, proof, NULL), CYX_EINVAL);
    cr_assert_not(other->has_puzzle);
    proof[0] ^= 1;
    cr_assert_eq(dht_pseudonym_set_puzzle(p, &net, proof, NULL), CYX_EINVAL);
    net.id_effort = 4096;
    cr_assert_eq(dht_pseudonym_set_puzzle(p, &net, p->puzzle, &err), CYX_EINVAL);
    cr_assert_not_null(strstr(err.msg, "4096"), "%s", err.msg);
    net.id_effort = 1;
    cr_assert_eq(dht_pseudonym_set_puzzle(p, &net, p->puzzle, NULL), 0);
    dht_pseudonym_destroy(p);
    dht_pseudonym_destroy(other);
}

/* ---- the file -------------------------------------------------------------------------------- */

Test(pseudonym_file, brings_back_what_was_stored)
{
    struct fake f = { 0 };
    struct mesh_network net;
    struct dht_pseudonym *p = fresh(&f);
    uint8_t blob[DHT_PSEUDONYM_BLOB];
    for (unsigned with_puzzle = 0; with_puzzle < 2; with_puzzle++) {
        if (with_puzzle != 0)
            solve(p, &net);
        dht_pseudonym_encode(p, blob);
        struct dht_pseudonym *q = dht_pseudonym_decode(blob, sizeof blob, NULL);
        cr_assert_not_null(q);
        cr_assert_arr_eq(q->seed, p->seed, 32);
        cr_assert_arr_eq(q->pk, p->pk, 32);
        cr_assert_arr_eq(q->sk, p->sk, 64);
        cr_assert_eq(q->has_puzzle, p->has_puzzle);
        cr_assert_arr_eq(q->puzzle, p->puzzle, MESH_POW_PROOF);
        dht_pseudonym_destroy(q);
    }
    dht_pseudonym_destroy(p);
}

Test(pseudonym_file, refuses_every_truncation_flipped_bit_and_trailing_byte)
{
    struct fake f = { 0 };
    struct mesh_network net;
    struct dht_pseudonym *p = fresh(&f);
    uint8_t blob[DHT_PSEUDONYM_BLOB + 1] = { 0 };
    solve(p, &net);
    dht_pseudonym_encode(p, blob);
    cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB), 0);
    for (size_t len = 0; len < DHT_PSEUDONYM_BLOB; len++)
        cr_assert_eq(decode_code(blob, len), CYX_ECORRUPT, "length %zu", len);
    cr_assert_eq(decode_code(blob, sizeof blob), CYX_ECORRUPT);
    for (size_t bit = 0; bit < 8 * DHT_PSEUDONYM_BLOB; bit++) {
        blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB), CYX_ECORRUPT, "bit %zu", bit);
        blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    dht_pseudonym_destroy(p);
}

Test(pseudonym_file, refuses_what_its_checksum_would_let_through)
{
    struct fake f = { 0 };
    struct mesh_network net;
    struct dht_pseudonym *p = fresh(&f);
    uint8_t blob[DHT_PSEUDONYM_BLOB + 1];
    static const struct {
        size_t at;
        uint8_t flip;
        int want;
    } cases[] = {
        { 0, 1, CYX_ECORRUPT },       /* magic */
        { 8, 3, CYX_EVERSION },       /* version 2 */
        { 9, 1, CYX_ECORRUPT },       /* another key: not its puzzle */
        { 41, 1, CYX_ECORRUPT },      /* says that it has none */
        { 41, 2, CYX_ECORRUPT },      /* neither yes nor no */
        { 42 + 20, 1, CYX_ECORRUPT }, /* another solution */
    };
    solve(p, &net);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dht_pseudonym_encode(p, blob);
        blob[cases[i].at] ^= cases[i].flip;
        seal(blob, DHT_PSEUDONYM_BLOB);
        cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB), cases[i].want, "case %zu", i);
    }
    memset(blob + 42, 0, MESH_POW_PROOF);
    for (uint8_t has = 0; has < 3; has++) { /* no puzzle, and what is said about it */
        blob[41] = has;
        seal(blob, DHT_PSEUDONYM_BLOB);
        cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB), has == 0 ? 0 : CYX_ECORRUPT, "%u", has);
    }
    dht_pseudonym_encode(p, blob);
    seal(blob, DHT_PSEUDONYM_BLOB - 1);
    cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB - 1), CYX_ECORRUPT);
    dht_pseudonym_encode(p, blob);
    blob[DHT_PSEUDONYM_BLOB - 32] = 0;
    seal(blob, DHT_PSEUDONYM_BLOB + 1);
    cr_assert_eq(decode_code(blob, DHT_PSEUDONYM_BLOB + 1), CYX_ECORRUPT);
    dht_pseudonym_destroy(p);
}
