/* Trains against tests/vectors/train.json: the client's bytes and every hop's. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "tests/unit/mesh/vec.h"
#include "train_rig.h"

static void load_hops(struct train_rig *r, const json_t *root)
{
    const json_t *v;
    size_t i;
    uint8_t want[32];
    rig_init(r);
    vec_copy(vec_get(root, "net"), "id", want, 32);
    cr_assert_arr_eq(r->net.id, want, 32);
    json_array_foreach(vec_get(root, "hops"), i, v)
    {
        struct mesh_keypair *k = &r->hops[i].onion[0];
        uint8_t hint[3], want_hint[3];
        vec_copy(v, "id", r->hops[i].id, 32);
        vec_copy(v, "onion_secret", k->secret, 32);
        crypto_dh_public(k->pub, k->secret);
        vec_copy(v, "onion_key", want, 32);
        cr_assert_arr_eq(k->pub, want, 32);
        vec_copy(v, "hint", want_hint, 3);
        onion__hint(hint, k->pub);
        cr_assert_arr_eq(hint, want_hint, 3);
    }
}

static void expect_hash(const json_t *v, const char *key, const uint8_t *data, size_t n)
{
    uint8_t want[32], got[32];
    vec_copy(v, key, want, 32);
    crypto_hash_sha256(got, data, n);
    cr_assert_arr_eq(got, want, 32, "%s", key);
}

static void expect_field(const json_t *v, const char *key, const uint8_t *got, size_t n)
{
    struct vec_bytes want = vec_bytes(v, key);
    cr_assert_eq(want.len, n, "%s", key);
    cr_assert_arr_eq(got, want.b, n, "%s", key);
}

static void queue_field(struct train_rig *r, const json_t *v, const char *key)
{
    struct vec_bytes b = vec_bytes(v, key);
    rig_queue(r, b.b, b.len);
}

/* The path that a vector names, with its randomness waiting. `early` stays the caller's. */
static struct onion_build path_of(struct train_rig *r, const json_t *v, struct vec_bytes *early)
{
    const json_t *hop;
    size_t i;
    struct onion_build b = rig_path(r, (size_t)vec_u64(v, "n"), (uint8_t)vec_u64(v, "command"));
    *early = vec_bytes(v, "early");
    b.stamp = vec_u64(v, "stamp");
    b.early = early->b;
    b.last.early_len = (uint16_t)early->len;
    b.last.early_kind = (uint8_t)vec_u64(v, "early_kind");
    vec_copy(v, "target", b.last.target, 32);
    vec_copy(v, "rest", b.last.rest, sizeof b.last.rest);
    json_array_foreach(vec_get(v, "hops"), i, hop) queue_field(r, hop, "e_secret");
    queue_field(r, v, "fill_seed");
    return b;
}

static void expect_opened(const struct onion_opened *o, const json_t *hop)
{
    struct onion__payload p;
    uint8_t e[32], e_secret[32];
    onion__payload_write(&p, &o->fields);
    expect_field(hop, "fields", p.b + ONION_SLOT, 84);
    expect_field(hop, "h", o->record_h, 32);
    expect_field(hop, "ck", o->record_ck, 32);
    vec_copy(hop, "e_secret", e_secret, 32);
    crypto_dh_public(e, e_secret);
    cr_assert_arr_eq(o->e, e, 32);
}

static void outward(struct train_rig *r, const json_t *v, uint8_t train[static ONION_TRAIN],
                    struct onion_opened *opened)
{
    const json_t *hop;
    size_t i;
    json_array_foreach(vec_get(v, "hops"), i, hop)
    {
        bool is_whole = json_object_get(hop, "entry") != NULL;
        expect_hash(hop, "entry_sha256", train, ONION_TRAIN);
        if (is_whole)
            expect_field(hop, "entry", train, ONION_TRAIN);
        cr_assert_eq(onion_hop_open(&opened[i], &r->hops[i], &r->net, train), DROP_NONE);
        expect_opened(&opened[i], hop);
        expect_hash(hop, "exit_sha256", train, ONION_TRAIN);
        if (is_whole)
            expect_field(hop, "exit", train, ONION_TRAIN);
    }
}

static void homeward(struct train_rig *r, const json_t *v, const struct onion_opened *opened,
                     uint8_t reply[static ONION_REPLY])
{
    const json_t *hops = vec_get(v, "hops");
    for (size_t n = json_array_size(hops), i = n; i-- > 0;) {
        const json_t *hop = json_array_get(hops, i);
        struct onion_answer a;
        queue_field(r, hop, "y_secret");
        cr_assert_eq(onion_hop_answer(&a, &opened[i], &r->env), 0);
        expect_field(hop, "kf", a.keys.forward, 32);
        expect_field(hop, "kb", a.keys.backward, 32);
        expect_field(hop, "kr", a.reply_stream, 32);
        if (i + 1 == n)
            queue_field(r, v, "noise_seed");
        onion_hop_reply(&a, ONION_OK, 0, NULL, i + 1 == n, &r->env, reply);
        cr_assert(rig_is_drained(r));
        expect_hash(hop, "reply_sha256", reply, ONION_REPLY);
        if (json_object_get(hop, "reply") != NULL)
            expect_field(hop, "reply", reply, ONION_REPLY);
    }
}

static void expect_built(const struct onion_built *b, const json_t *v)
{
    const json_t *hop;
    size_t i;
    cr_assert_eq(b->status, ONION_OK);
    cr_assert_eq(b->n_hops, vec_u64(v, "n"));
    json_array_foreach(vec_get(v, "hops"), i, hop)
    {
        expect_field(hop, "kf", b->keys[i].forward, 32);
        expect_field(hop, "kb", b->keys[i].backward, 32);
    }
}

Test(train_vectors, are_what_client_and_hops_make_of_each_path)
{
    struct train_rig r;
    const json_t *v;
    size_t at, seen = 0;
    json_t *root = vec_open("train");
    load_hops(&r, root);
    json_array_foreach(vec_get(root, "trains"), at, v)
    {
        struct onion_opened opened[ONION_HOPS_MAX];
        struct onion_built built;
        struct vec_bytes early;
        uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
        struct onion_build b = path_of(&r, v, &early);
        struct onion_train *t = rig_create(&r, &b, train);
        cr_assert(rig_is_drained(&r));
        expect_field(v, "train", train, ONION_TRAIN);
        outward(&r, v, train, opened);
        cr_assert_eq(opened[b.n_hops - 1].fields.early_len, early.len);
        cr_assert_arr_eq(train, early.b, early.len);
        homeward(&r, v, opened, reply);
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
        expect_built(&built, v);
        onion_train_destroy(t);
        seen++;
    }
    cr_assert_eq(seen, 11u);
    vec_close(root);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static struct onion_train *error_train(struct train_rig *r, const json_t *errors,
                                       uint8_t train[static ONION_TRAIN])
{
    const json_t *secret;
    size_t i;
    struct onion_build b = rig_path(r, 3, ONION_BUILD_SPLICE);
    b.stamp = vec_u64(errors, "stamp");
    vec_copy(errors, "target", b.last.target, 32);
    json_array_foreach(vec_get(errors, "e_secrets"), i, secret)
    {
        struct vec_bytes e = vec_hex(secret);
        rig_queue(r, e.b, e.len);
    }
    queue_field(r, errors, "fill_seed");
    struct onion_train *t = rig_create(r, &b, train);
    expect_hash(errors, "train_sha256", train, ONION_TRAIN);
    return t;
}

static void error_return(struct train_rig *r, const json_t *c, const struct onion_opened *opened,
                         uint8_t reply[static ONION_REPLY])
{
    size_t last = (size_t)vec_u64(c, "hop");
    uint8_t seed[16];
    vec_copy(c, "seed", seed, 16);
    for (size_t i = last + 1; i-- > 0;) {
        struct onion_answer a;
        bool is_last = i == last;
        struct vec_bytes y = vec_hex(json_array_get(vec_get(c, "y_secrets"), i));
        struct vec_bytes want = vec_hex(json_array_get(vec_get(c, "reply_sha256"), i));
        uint8_t got[32];
        rig_queue(r, y.b, y.len);
        cr_assert_eq(onion_hop_answer(&a, &opened[i], &r->env), 0);
        if (is_last)
            queue_field(r, c, "noise_seed");
        onion_hop_reply(&a, is_last ? (enum onion_status)vec_u64(c, "status") : ONION_OK,
                        (uint32_t)vec_u64(c, "effort"), seed, is_last, &r->env, reply);
        cr_assert(rig_is_drained(r));
        crypto_hash_sha256(got, reply, ONION_REPLY);
        cr_assert_arr_eq(got, want.b, 32);
    }
}

static void expect_error(const struct onion_built *b, const json_t *c)
{
    cr_assert_eq(b->n_hops, vec_u64(c, "hop"));
    cr_assert_eq(b->status, vec_u64(c, "status"));
    cr_assert_eq(b->effort, vec_u64(c, "effort"));
    expect_field(c, "seed", b->seed, 16);
    for (size_t i = 0; i < b->n_hops; i++) {
        const json_t *keys = json_array_get(vec_get(c, "keys"), i);
        struct vec_bytes kf = vec_hex(json_array_get(keys, 0)),
                         kb = vec_hex(json_array_get(keys, 1));
        cr_assert_arr_eq(b->keys[i].forward, kf.b, 32);
        cr_assert_arr_eq(b->keys[i].backward, kb.b, 32);
    }
}

Test(train_vectors, are_what_each_hop_says_when_it_fails)
{
    struct train_rig r;
    const json_t *c;
    size_t at, seen = 0;
    json_t *root = vec_open("train");
    const json_t *errors = vec_get(root, "errors");
    load_hops(&r, root);
    json_array_foreach(vec_get(errors, "cases"), at, c)
    {
        struct onion_opened opened[ONION_HOPS_MAX];
        struct onion_built built;
        uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
        struct onion_train *t = error_train(&r, errors, train);
        rig_travel(&r, train, 2, opened);
        error_return(&r, c, opened, reply);
        if (json_object_get(c, "reply") != NULL)
            expect_field(c, "reply", reply, ONION_REPLY);
        cr_assert_eq(onion_train_reply(t, reply, &built), DROP_NONE);
        expect_error(&built, c);
        onion_train_destroy(t);
        seen++;
    }
    cr_assert_eq(seen, 24u);
    vec_close(root);
}
