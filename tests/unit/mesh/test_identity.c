#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "mesh/identity.h"
#include "mesh/record.h"

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

TestSuite(identity, .init = start);
TestSuite(identity_file, .init = start);

enum { NOW = 1700000000, HOUR = 3600, DAY = 24 * HOUR };

static struct mesh_identity *fresh(struct fake *f)
{
    *f = (struct fake){ .env = { .ops = &fake_ops } };
    struct mesh_identity *i = mesh_identity_create(&f->env, NOW, NULL);
    cr_assert_not_null(i);
    return i;
}

/* Solves the puzzle of a lab. */
static void solve(struct mesh_identity *i, struct mesh_network *net)
{
    struct mesh_pow_subject s;
    uint8_t proof[MESH_POW_PROOF];
    const uint8_t nonce[16] = { 0 };
    cr_assert_eq(mesh_network_init(net, "lab", 1, true, NULL), 0);
    mesh_identity_subject(i, &s);
    cr_assert_eq(mesh_pow_solve(&s, 1, nonce, NULL, proof, NULL), 0);
    cr_assert_eq(mesh_identity_set_puzzle(i, net, proof, NULL), 0);
}

/* Seals with the cheapest key derivation there is: what seal_with does, in no time. */
static void seal_cheaply(struct mesh_identity *i, const char *passphrase)
{
    memset(i->seal_salt, 3, sizeof i->seal_salt);
    i->seal_ops = crypto_pwhash_OPSLIMIT_MIN;
    i->seal_mem = crypto_pwhash_MEMLIMIT_MIN;
    cr_assert_eq(crypto_pwhash(i->seal_key, 32, passphrase, strlen(passphrase), i->seal_salt,
                               i->seal_ops, (size_t)i->seal_mem, crypto_pwhash_ALG_ARGON2ID13),
                 0);
    i->is_sealed = true;
}

static void checksum_again(uint8_t *blob, size_t len)
{
    crypto_h(blob + len - 32, "cyx identity file", &BYTES(blob, len - 32), 1);
}

/* Decodes a heap copy of exact size. */
static struct mesh_identity *decode(const uint8_t *blob, size_t len, const char *passphrase,
                                    struct cyx_err *err)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, blob, len);
    *err = (struct cyx_err){ 0 };
    struct mesh_identity *i = mesh_identity_decode(copy, len, passphrase, err);
    free(copy);
    return i;
}

static int decode_code(const uint8_t *blob, size_t len, const char *passphrase)
{
    struct cyx_err err;
    struct mesh_identity *i = decode(blob, len, passphrase, &err);
    mesh_identity_destroy(i);
    return i != NULL ? 0 : err.code;
}

static bool same(const struct mesh_identity *a, const struct mesh_identity *b)
{
    return memcmp(a->seed, b->seed, 32) == 0 && memcmp(a->sign_pk, b->sign_pk, 32) == 0 &&
           memcmp(a->sign_sk, b->sign_sk, 64) == 0 && a->has_puzzle == b->has_puzzle &&
           memcmp(a->puzzle, b->puzzle, sizeof a->puzzle) == 0 && memcmp(a->id, b->id, 32) == 0 &&
           memcmp(&a->link, &b->link, sizeof a->link) == 0 &&
           memcmp(&a->link_old, &b->link_old, sizeof a->link_old) == 0 &&
           memcmp(a->onion, b->onion, sizeof a->onion) == 0 &&
           a->init_sequence == b->init_sequence && a->record_sequence == b->record_sequence &&
           a->is_sealed == b->is_sealed;
}

/* ---- keys ------------------------------------------------------------------------------------ */

Test(identity, draws_keys_that_fit_together)
{
    struct fake f;
    struct mesh_identity *i = fresh(&f);
    uint8_t pub[32], signature[64];
    crypto_dh_public(pub, i->link.secret);
    cr_assert_arr_eq(pub, i->link.pub, 32);
    crypto_dh_public(pub, i->onion[0].secret);
    cr_assert_arr_eq(pub, i->onion[0].pub, 32);
    cr_assert_neq(memcmp(i->link.secret, i->onion[0].secret, 32), 0);
    cr_assert_neq(memcmp(i->link.secret, i->seed, 32), 0);
    cr_assert_eq(i->link.made, (uint64_t)NOW);
    cr_assert_eq(i->link_old.made, 0u);
    cr_assert_eq(i->onion[1].made, 0u);
    crypto_sign_detached(signature, NULL, (const uint8_t *)"x", 1, i->sign_sk);
    cr_assert_eq(crypto_sign_verify_detached(signature, (const uint8_t *)"x", 1, i->sign_pk), 0);
    cr_assert_not(i->has_puzzle);
    cr_assert_eq(sodium_is_zero(i->id, 32), 1);
    mesh_identity_destroy(i);
    mesh_identity_destroy(NULL);
}

Test(identity, takes_its_id_from_key_and_puzzle)
{
    struct fake f;
    struct mesh_network net, dear;
    struct mesh_identity *i = fresh(&f);
    uint8_t id[32], proof[MESH_POW_PROOF] = { 0 };
    cr_assert_eq(mesh_network_init(&net, "lab", 1, true, NULL), 0);
    cr_assert_eq(mesh_identity_set_puzzle(i, &net, proof, NULL), CYX_EINVAL);
    cr_assert_not(i->has_puzzle);
    solve(i, &net);
    mesh_node_id(id, i->sign_pk, i->puzzle);
    cr_assert_arr_eq(i->id, id, 32);
    cr_assert_eq(mesh_network_init(&dear, "dear", 2, false, NULL), 0);
    cr_assert_eq(mesh_identity_set_puzzle(i, &dear, i->puzzle, NULL), CYX_EINVAL);
    cr_assert_eq(mesh_identity_set_puzzle(i, &net, i->puzzle, NULL), 0);
    cr_assert_arr_eq(i->id, id, 32);
    mesh_identity_destroy(i);
}

/* ---- the file -------------------------------------------------------------------------------- */

Test(identity_file, round_trips_all_fields)
{
    struct fake f;
    struct mesh_network net;
    struct cyx_err err;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = fresh(&f);
    int len = mesh_identity_encode(i, &f.env, blob);
    cr_assert_gt(len, 0);
    struct mesh_identity *back = decode(blob, (size_t)len, NULL, &err);
    cr_assert_not_null(back, "%s", err.msg);
    cr_assert(same(i, back));
    mesh_identity_destroy(back);

    solve(i, &net);
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + 8 * DAY, true));
    i->init_sequence = UINT64_MAX;
    i->record_sequence = 77;
    len = mesh_identity_encode(i, &f.env, blob);
    back = decode(blob, (size_t)len, "not needed", &err);
    cr_assert_not_null(back, "%s", err.msg);
    cr_assert(same(i, back));
    mesh_identity_destroy(back);
    mesh_identity_destroy(i);
}

Test(identity_file, opens_a_sealed_file_with_its_passphrase_alone)
{
    struct fake f;
    struct mesh_network net;
    struct cyx_err err;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX], again[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = fresh(&f);
    solve(i, &net);
    seal_cheaply(i, "open sesame");
    int len = mesh_identity_encode(i, &f.env, blob);
    cr_assert_gt(len, 0);
    for (int at = 0; at + 32 <= len; at++)
        cr_assert_neq(memcmp(blob + at, i->seed, 32), 0, "the seed is in the clear");
    struct mesh_identity *back = decode(blob, (size_t)len, "open sesame", &err);
    cr_assert_not_null(back, "%s", err.msg);
    cr_assert(same(i, back));
    /* It can be stored again without the passphrase, under a new nonce. */
    cr_assert_eq(mesh_identity_encode(back, &f.env, again), len);
    cr_assert_neq(memcmp(again, blob, (size_t)len), 0);
    cr_assert_eq(decode_code(again, (size_t)len, "open sesame"), 0);
    cr_assert_eq(decode_code(blob, (size_t)len, NULL), CYX_EPERM);
    cr_assert_eq(decode_code(blob, (size_t)len, ""), CYX_EPERM);
    cr_assert_eq(decode_code(blob, (size_t)len, "open sesamE"), CYX_EPERM);
    cr_assert_eq(mesh_identity_seal_with(back, &f.env, NULL, NULL), 0);
    len = mesh_identity_encode(back, &f.env, again);
    cr_assert_eq(decode_code(again, (size_t)len, NULL), 0);
    mesh_identity_destroy(back);
    mesh_identity_destroy(i);
}

Test(identity_file, seals_with_a_passphrase)
{
    struct fake f;
    struct cyx_err err;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = fresh(&f);
    cr_assert_eq(mesh_identity_seal_with(i, &f.env, "open sesame", &err), 0);
    cr_assert(i->is_sealed);
    cr_assert_geq(i->seal_ops, (uint64_t)crypto_pwhash_OPSLIMIT_INTERACTIVE);
    cr_assert_geq(i->seal_mem, (uint64_t)crypto_pwhash_MEMLIMIT_INTERACTIVE);
    int len = mesh_identity_encode(i, &f.env, blob);
    struct mesh_identity *back = decode(blob, (size_t)len, "open sesame", &err);
    cr_assert_not_null(back, "%s", err.msg);
    cr_assert(same(i, back));
    mesh_identity_destroy(back);
    mesh_identity_destroy(i);
}

static void refuse_damage(const struct mesh_identity *i, struct fake *f, const char *passphrase)
{
    uint8_t blob[MESH_IDENTITY_BLOB_MAX + 1] = { 0 };
    int n = mesh_identity_encode(i, &f->env, blob);
    cr_assert_gt(n, 0);
    size_t len = (size_t)n;
    for (size_t cut = 0; cut < len; cut++)
        cr_assert_eq(decode_code(blob, cut, passphrase), CYX_ECORRUPT, "length %zu", cut);
    cr_assert_eq(decode_code(blob, len + 1, passphrase), CYX_ECORRUPT);
    cr_assert_eq(decode_code(blob, sizeof blob, passphrase), CYX_ECORRUPT);
    for (size_t at = 0; at < len; at++) {
        blob[at] ^= (uint8_t)(1u << at % 8);
        cr_assert_eq(decode_code(blob, len, passphrase), CYX_ECORRUPT, "byte %zu", at);
        blob[at] ^= (uint8_t)(1u << at % 8);
    }
    cr_assert_eq(decode_code(blob, len, passphrase), 0);
}

Test(identity_file, tells_damage_from_a_wrong_passphrase)
{
    struct fake f;
    struct cyx_err err;
    struct mesh_identity *i = fresh(&f);
    refuse_damage(i, &f, NULL);
    seal_cheaply(i, "p");
    refuse_damage(i, &f, "p");
    mesh_identity_destroy(i);
    cr_assert_null(decode((const uint8_t *)"", 0, NULL, &err));
    cr_assert_not_null(strstr(err.msg, "backup"), "the message names a cure");
}

Test(identity_file, refuses_nonsense_under_a_right_checksum)
{
    struct fake f;
    struct mesh_network net;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX], bad[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = fresh(&f);
    solve(i, &net);
    size_t len = (size_t)mesh_identity_encode(i, &f.env, blob);
    /* offset, byte: version; sealed flag; has puzzle; the puzzle itself; the time of an empty slot
     * whose secret is zero may change, a secret without a time may not. */
    const struct {
        size_t at;
        uint8_t byte;
        int code;
    } cases[] = {
        { 8, 2, CYX_EVERSION },  { 9, 2, CYX_ECORRUPT },   { 9, 1, CYX_ECORRUPT },
        { 42, 2, CYX_ECORRUPT }, { 42, 0, CYX_ECORRUPT },  { 45, 0xff, CYX_ECORRUPT },
        { 10, 1, CYX_ECORRUPT }, { 119, 1, CYX_ECORRUPT }, { 199, 1, CYX_ECORRUPT },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        memcpy(bad, blob, len);
        bad[cases[k].at] = (uint8_t)(bad[cases[k].at] + cases[k].byte);
        if (cases[k].at <= 9 || cases[k].at == 42)
            bad[cases[k].at] = cases[k].byte;
        checksum_again(bad, len);
        cr_assert_eq(decode_code(bad, len, NULL), cases[k].code, "case %zu", k);
    }
    memcpy(bad, blob, len);
    memset(bad + 79 + 32, 0, 8); /* the current link key without a time */
    checksum_again(bad, len);
    cr_assert_eq(decode_code(bad, len, NULL), CYX_ECORRUPT);
    mesh_identity_destroy(i);
}

Test(identity_file, refuses_a_key_derivation_without_bounds)
{
    struct fake f;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = fresh(&f);
    const struct {
        uint64_t ops, mem;
    } cases[] = {
        { 0, 8192 },      { 17, 8192 }, { UINT64_MAX, 8192 }, { 1, 8191 }, { 1, (1ull << 30) + 1 },
        { 1, UINT64_MAX }
    };
    seal_cheaply(i, "p");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        i->seal_ops = cases[k].ops;
        i->seal_mem = cases[k].mem;
        int len = mesh_identity_encode(i, &f.env, blob);
        cr_assert_eq(decode_code(blob, (size_t)len, "p"), CYX_ECORRUPT, "case %zu", k);
    }
    mesh_identity_destroy(i);
}

/* ---- rotation -------------------------------------------------------------------------------- */

Test(identity, rotates_the_link_key_each_week_and_keeps_the_old_one_two_days)
{
    struct fake f;
    struct mesh_identity *i = fresh(&f);
    struct mesh_keypair first = i->link;
    mesh_identity_rotate(i, &f.env, NOW + 7 * DAY - 1, true);
    cr_assert_arr_eq(i->link.pub, first.pub, 32);
    mesh_identity_rotate(i, &f.env, NOW + 7 * DAY, false);
    cr_assert_arr_eq(i->link.pub, first.pub, 32, "a bootstrap node keeps its key");
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + 7 * DAY, true));
    cr_assert_neq(memcmp(i->link.pub, first.pub, 32), 0);
    cr_assert_arr_eq(&i->link_old, &first, sizeof first);
    mesh_identity_rotate(i, &f.env, NOW + 9 * DAY - 1, true);
    cr_assert_eq(i->link_old.made, first.made);
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + 9 * DAY, true));
    cr_assert_eq(sodium_is_zero((const uint8_t *)&i->link_old, sizeof i->link_old), 1);
    mesh_identity_destroy(i);
}

Test(identity, keeps_replaced_onion_keys_for_48_hours)
{
    struct fake f;
    struct mesh_identity *i = fresh(&f);
    struct mesh_keypair first = i->onion[0];
    cr_assert_not(mesh_identity_rotate(i, &f.env, NOW + 12 * HOUR - 1, true));
    for (unsigned n = 1; n <= 4; n++) {
        cr_assert(mesh_identity_rotate(i, &f.env, NOW + n * 12 * HOUR, true));
        cr_assert_not(mesh_identity_rotate(i, &f.env, NOW + n * 12 * HOUR, true), "once each");
        cr_assert_arr_eq(&i->onion[n], &first, sizeof first);
    }
    mesh_identity_rotate(i, &f.env, NOW + 60 * HOUR - 1, true);
    cr_assert_eq(i->onion[4].made, first.made, "replaced at 12 h, wiped at 60 h");
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + 60 * HOUR, true));
    for (unsigned k = 0; k < MESH_ONION_KEYS; k++)
        cr_assert_neq(i->onion[k].made, first.made);
    cr_assert_neq(i->onion[4].made, 0u);
    cr_assert_eq(sodium_is_zero((const uint8_t *)&i->onion[5], sizeof i->onion[5]), 1);
    /* A week away: nothing of before is left. */
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + 14 * DAY, true));
    cr_assert_neq(i->onion[1].made, 0u, "replaced only now");
    for (unsigned k = 2; k < MESH_ONION_KEYS; k++)
        cr_assert_eq(i->onion[k].made, 0u, "slot %u", k);
    mesh_identity_destroy(i);
}

Test(identity, renews_the_onion_key_and_leaves_no_other_one)
{
    struct fake f;
    struct mesh_identity *i = fresh(&f);
    struct mesh_keypair before[MESH_ONION_KEYS], link;
    uint8_t pub[32];
    for (unsigned n = 1; n <= 3; n++)
        mesh_identity_rotate(i, &f.env, NOW + n * 12 * HOUR, true);
    memcpy(before, i->onion, sizeof before);
    link = i->link;
    mesh_identity_renew_onion(i, &f.env, NOW + 37 * HOUR);
    cr_assert_eq(i->onion[0].made, (uint64_t)NOW + 37 * HOUR);
    crypto_dh_public(pub, i->onion[0].secret);
    cr_assert_arr_eq(pub, i->onion[0].pub, 32);
    for (unsigned k = 0; k < MESH_ONION_KEYS; k++) {
        cr_assert_neq(memcmp(i->onion[0].secret, before[k].secret, 32), 0);
        if (k > 0)
            cr_assert_eq(sodium_is_zero((uint8_t *)&i->onion[k], sizeof i->onion[k]), 1);
    }
    cr_assert_eq(memcmp(&link, &i->link, sizeof link), 0);
    cr_assert_not(mesh_identity_rotate(i, &f.env, NOW + 37 * HOUR, true));
    mesh_identity_destroy(i);
}

Test(identity, does_not_keep_keys_that_a_wrong_clock_dated_a_year_ahead)
{
    struct fake f;
    struct mesh_identity *i = fresh(&f);
    mesh_identity_rotate(i, &f.env, NOW + 365 * DAY, true);
    struct mesh_keypair ahead = i->onion[0], link = i->link;
    cr_assert(mesh_identity_rotate(i, &f.env, NOW + HOUR, true));
    cr_assert_neq(memcmp(i->onion[0].pub, ahead.pub, 32), 0);
    cr_assert_neq(memcmp(i->link.pub, link.pub, 32), 0);
    cr_assert_eq(i->onion[0].made, (uint64_t)NOW + HOUR);
    mesh_identity_rotate(i, &f.env, NOW + HOUR + 48 * HOUR, true);
    for (unsigned k = 0; k < MESH_ONION_KEYS; k++)
        cr_assert_neq(memcmp(i->onion[k].secret, ahead.secret, 32), 0);
    mesh_identity_destroy(i);
}

Test(identity, makes_usable_slots_while_the_clock_stands_at_zero)
{
    struct fake f = { .env = { .ops = &fake_ops } };
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    struct mesh_identity *i = mesh_identity_create(&f.env, 0, NULL);
    cr_assert_not_null(i);
    cr_assert_neq(i->link.made, 0u);
    int len = mesh_identity_encode(i, &f.env, blob);
    cr_assert_eq(decode_code(blob, (size_t)len, NULL), 0);
    mesh_identity_destroy(i);
}
