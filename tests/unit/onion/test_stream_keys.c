#include <criterion/criterion.h>
#include <string.h>

#include "onion/stream_keys.h"
#include "tests/unit/mesh/vec.h"

TestSuite(onion_stream_keys, .timeout = 30);

struct made {
    struct onion_stream_id id;
    uint8_t secret[32], e_client[32], e_service[32];
    struct vec_bytes params_client, params_service, message1, message2;
    uint64_t stamp;
};

static void load(struct made *m, const json_t *v)
{
    vec_copy(v, "net", m->id.net, 32);
    vec_copy(v, "address", m->id.address, 32);
    vec_copy(v, "service_key", m->id.service_key, 32);
    vec_copy(v, "dcid", m->id.dcid, ONION_DCID);
    vec_copy(v, "service_secret", m->secret, 32);
    vec_copy(v, "e_client", m->e_client, 32);
    vec_copy(v, "e_service", m->e_service, 32);
    m->params_client = vec_bytes(v, "params_client");
    m->params_service = vec_bytes(v, "params_service");
    m->message1 = vec_bytes(v, "message1");
    m->message2 = vec_bytes(v, "message2");
    m->stamp = vec_u64(v, "stamp");
}

static void expect_keys(const json_t *v, const char *name, const uint8_t secret[static 32])
{
    const json_t *want = vec_get(v, name);
    uint8_t bytes[32], next[32];
    struct onion_quic_keys k;
    vec_copy(want, "secret", bytes, 32);
    cr_expect_arr_eq(secret, bytes, 32, "%s", name);
    onion_quic_keys_derive(&k, secret);
    vec_copy(want, "key", bytes, 32);
    cr_expect_arr_eq(k.key, bytes, 32, "%s", name);
    vec_copy(want, "iv", bytes, 12);
    cr_expect_arr_eq(k.iv, bytes, 12, "%s", name);
    vec_copy(want, "hp", bytes, 32);
    cr_expect_arr_eq(k.hp, bytes, 32, "%s", name);
    vec_copy(want, "next", bytes, 32);
    onion_quic_secret_next(next, secret);
    cr_expect_arr_eq(next, bytes, 32, "%s", name);
}

static void expect_secrets(const json_t *v, const struct onion_stream_secrets *s)
{
    uint8_t bytes[32];
    expect_keys(v, "hs_client", s->handshake.client);
    expect_keys(v, "hs_server", s->handshake.server);
    expect_keys(v, "app_client", s->app.client);
    expect_keys(v, "app_server", s->app.server);
    vec_copy(v, "resume", bytes, 32);
    cr_expect_arr_eq(s->resume, bytes, 32);
}

static void run_case(const json_t *v)
{
    struct made m;
    struct onion_secret_pair initial;
    struct onion_stream_hs client, service;
    struct onion_hello hello;
    struct onion_stream_secrets a, b;
    uint8_t msg[ONION_MESSAGE_MAX], early_c[32], early_s[32], params[ONION_PARAMS_MAX];
    size_t n = 0;
    load(&m, v);
    onion_stream_initial(&m.id, &initial);
    expect_keys(v, "initial_client", initial.client);
    expect_keys(v, "initial_server", initial.server);

    cr_assert_eq(onion_stream_hello(&client, &m.id, m.e_client, m.stamp, m.params_client.b,
                                    m.params_client.len, msg, early_c),
                 0);
    cr_expect_arr_eq(msg, m.message1.b, m.message1.len);
    cr_expect_eq(onion_stream_message_len(msg, m.message1.len), m.message1.len);
    expect_keys(v, "early", early_c);
    cr_assert_eq(
        onion_stream_hello_read(&service, &m.id, m.secret, msg, m.message1.len, &hello, early_s),
        DROP_NONE);
    cr_expect_arr_eq(early_c, early_s, 32);
    cr_expect_eq(hello.stamp, vec_u64(v, "sealed_stamp"));
    cr_expect_eq(hello.n_params, m.params_client.len);
    cr_expect_arr_eq(hello.params, m.params_client.b, hello.n_params);
    cr_expect_arr_eq(onion_stream_hello_e(msg, m.message1.len), service.remote_e, 32);

    cr_assert_eq(onion_stream_reply(&service, m.e_service, m.params_service.b, m.params_service.len,
                                    msg, &a),
                 0);
    cr_expect_arr_eq(msg, m.message2.b, m.message2.len);
    cr_assert_eq(onion_stream_reply_read(&client, msg, m.message2.len, params, &n, &b), DROP_NONE);
    cr_expect_eq(n, m.params_service.len);
    cr_expect_arr_eq(params, m.params_service.b, n);
    expect_secrets(v, &a);
    expect_secrets(v, &b);
}

Test(onion_stream_keys, both_ends_make_the_vectors_messages_and_keys)
{
    json_t *root = vec_open("stream");
    size_t i;
    json_t *v;
    json_array_foreach(vec_get(root, "cases"), i, v) run_case(v);
    vec_close(root);
}

Test(onion_stream_keys, labels_give_the_keys_of_rfc_9001)
{
    json_t *root = vec_open("stream");
    uint8_t secret[32];
    vec_copy(vec_get(root, "rfc9001_a5"), "secret", secret, 32);
    expect_keys(root, "rfc9001_a5", secret);
    vec_close(root);
}

Test(onion_stream_keys, locators_are_the_vectors)
{
    json_t *root = vec_open("stream"), *v, *l;
    size_t i, k;
    json_array_foreach(vec_get(root, "cases"), i, v)
    {
        uint8_t resume[32], want[ONION_LOCATOR], got[ONION_LOCATOR];
        vec_copy(v, "resume", resume, 32);
        json_array_foreach(vec_get(v, "locators"), k, l)
        {
            onion_stream_locator(resume, (uint32_t)vec_u64(l, "j"), got);
            vec_copy(l, "locator", want, sizeof want);
            cr_expect_arr_eq(got, want, sizeof want);
        }
    }
    vec_close(root);
}

/* The first case of the vectors, for tests that break it. */
static void usual(struct made *m)
{
    json_t *root = vec_open("stream");
    load(m, json_array_get(vec_get(root, "cases"), 0));
    vec_close(root);
}

static enum drop read1(const struct made *m, const uint8_t *msg, size_t len)
{
    struct onion_stream_hs hs;
    struct onion_hello hello;
    uint8_t early[32];
    return onion_stream_hello_read(&hs, &m->id, m->secret, msg, len, &hello, early);
}

Test(onion_stream_keys, message_1_is_refused_at_every_truncation_and_with_any_bit_changed)
{
    struct made m;
    uint8_t msg[ONION_MESSAGE_MAX];
    usual(&m);
    cr_assert_eq(read1(&m, m.message1.b, m.message1.len), DROP_NONE);
    for (size_t len = 0; len < m.message1.len; len++)
        cr_expect_neq(read1(&m, m.message1.b, len), DROP_NONE, "length %zu", len);
    for (size_t bit = 0; bit < 8 * m.message1.len; bit++) {
        memcpy(msg, m.message1.b, m.message1.len);
        msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_neq(read1(&m, msg, m.message1.len), DROP_NONE, "bit %zu", bit);
    }
}

Test(onion_stream_keys, whatever_the_prologue_names_must_be_the_same_at_both_ends)
{
    struct made m;
    usual(&m);
    for (unsigned i = 0; i < 4; i++) {
        struct made other = m;
        uint8_t *field[] = { other.id.net, other.id.address, other.id.service_key, other.id.dcid };
        field[i][3] ^= 1;
        cr_expect_eq(read1(&other, m.message1.b, m.message1.len), DROP_AUTH, "field %u", i);
    }
}

Test(onion_stream_keys, points_of_small_order_are_refused_in_both_messages)
{
    struct made m;
    struct onion_stream_hs client;
    struct onion_stream_secrets s;
    uint8_t msg[ONION_MESSAGE_MAX], early[32], params[ONION_PARAMS_MAX];
    size_t n;
    usual(&m);
    memcpy(msg, m.message1.b, m.message1.len);
    memset(msg + ONION_MESSAGE_HEAD, 0, 32);
    cr_expect_eq(read1(&m, msg, m.message1.len), DROP_KEY);
    cr_assert_eq(onion_stream_hello(&client, &m.id, m.e_client, m.stamp, NULL, 0, msg, early), 0);
    memcpy(msg, m.message2.b, m.message2.len);
    memset(msg + ONION_MESSAGE_HEAD, 0, 32);
    cr_expect_eq(onion_stream_reply_read(&client, msg, m.message2.len, params, &n, &s), DROP_KEY);
    memset(m.id.service_key, 0, 32);
    cr_expect_eq(onion_stream_hello(&client, &m.id, m.e_client, 0, NULL, 0, msg, early),
                 CYX_EPROTO);
}

Test(onion_stream_keys, message_2_is_refused_at_every_truncation_and_with_any_bit_changed)
{
    struct made m;
    struct onion_stream_hs client;
    struct onion_stream_secrets s;
    uint8_t msg[ONION_MESSAGE_MAX], early[32], params[ONION_PARAMS_MAX];
    size_t n;
    usual(&m);
    cr_assert_eq(onion_stream_hello(&client, &m.id, m.e_client, m.stamp, m.params_client.b,
                                    m.params_client.len, msg, early),
                 0);
    for (size_t len = 0; len < m.message2.len; len++)
        cr_expect_neq(onion_stream_reply_read(&client, m.message2.b, len, params, &n, &s),
                      DROP_NONE);
    for (size_t bit = 0; bit < 8 * m.message2.len; bit++) {
        memcpy(msg, m.message2.b, m.message2.len);
        msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_neq(onion_stream_reply_read(&client, msg, m.message2.len, params, &n, &s),
                      DROP_NONE, "bit %zu", bit);
    }
    /* What failed changed nothing: the true one still opens. */
    cr_expect_eq(onion_stream_reply_read(&client, m.message2.b, m.message2.len, params, &n, &s),
                 DROP_NONE);
}

Test(onion_stream_keys, a_message_says_its_length_or_that_it_is_none)
{
    const uint8_t good[] = { 1, 0, 85 }, long_[] = { 1, 2, 0 }, short_[] = { 1, 0, 20 },
                  type[] = { 2, 0, 85 };
    cr_expect_eq(onion_stream_message_len(good, 0), 0u);
    cr_expect_eq(onion_stream_message_len(good, 2), 0u);
    cr_expect_eq(onion_stream_message_len(good, 3), 88u);
    cr_expect_eq(onion_stream_message_len(long_, 3), SIZE_MAX);
    cr_expect_eq(onion_stream_message_len(short_, 3), SIZE_MAX);
    cr_expect_eq(onion_stream_message_len(type, 1), SIZE_MAX);
}
