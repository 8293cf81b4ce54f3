/* What is inside a cell: the layout, recognition, counters, TERMS and STATS. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/layer.h"
#include "onion/messages.h"
#include "tests/unit/mesh/vec.h"

static struct onion_window window;
static uint8_t cell[MESH_CELL];
static struct onion_cell got;

static void start(void)
{
    memset(&window, 0, sizeof window);
    memset(cell, 0xee, sizeof cell);
    memset(&got, 0, sizeof got);
}

TestSuite(onion_cell, .init = start);

static enum drop heard(uint64_t counter)
{
    onion_cell_write(cell, &(struct onion_cell){ .command = ONION_CELL_PADDING }, counter);
    return onion_cell_read(&got, &window, cell);
}

Test(onion_cell, lies_as_the_specification_says)
{
    static const uint8_t head[ONION_CELL_HEAD + 3] = { [16] = 1, 2,   3,   4,   5,   6, 7,
                                                       8,        0xa, 0xb, 0xc, 0xd, 1, 1,
                                                       0,        3,   'x', 'y', 'z' };
    onion_cell_write(cell,
                     &(struct onion_cell){ .splice = 0x0a0b0c0d,
                                           .command = ONION_CELL_DATA,
                                           .kind = ONION_KIND_ATTACH,
                                           .payload = (const uint8_t *)"xyz",
                                           .len = 3 },
                     UINT64_C(0x0102030405060708));
    cr_expect_arr_eq(cell, head, sizeof head);
    for (size_t i = sizeof head; i < sizeof cell; i++)
        cr_expect_eq(cell[i], 0);
}

Test(onion_cell, comes_back_as_it_was_written_with_every_length)
{
    uint8_t payload[ONION_PAYLOAD];
    memset(payload, 0x5a, sizeof payload);
    for (size_t len = 0; len <= ONION_PAYLOAD; len++) {
        onion_cell_write(cell,
                         &(struct onion_cell){ .splice = (uint32_t)len,
                                               .command = ONION_CELL_DATA,
                                               .payload = payload,
                                               .len = len },
                         len);
        cr_assert_eq(onion_cell_read(&got, &window, cell), DROP_NONE);
        cr_assert_eq(got.splice, len);
        cr_assert_eq(got.command, ONION_CELL_DATA);
        cr_assert_eq(got.len, len);
        cr_assert_arr_eq(got.payload, payload, len);
    }
}

Test(onion_cell, is_not_recognised_with_any_of_its_first_bits_set)
{
    for (unsigned bit = 0; bit < 128; bit++) {
        onion_cell_write(cell, &(struct onion_cell){ .command = ONION_CELL_DATA }, bit);
        cell[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        got.len = 99;
        cr_expect_eq(onion_cell_read(&got, &window, cell), DROP_AUTH);
        cr_expect_eq(got.len, 99u, "nothing is written");
        cell[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(onion_cell_read(&got, &window, cell), DROP_NONE, "nothing was noted");
    }
}

Test(onion_cell, is_not_recognised_with_a_length_beyond_its_room)
{
    for (unsigned len = ONION_PAYLOAD + 1; len <= UINT16_MAX; len += 997) {
        onion_cell_write(cell, &(struct onion_cell){ .command = 0 }, 1);
        cell[30] = (uint8_t)(len >> 8);
        cell[31] = (uint8_t)len;
        cr_expect_eq(onion_cell_read(&got, &window, cell), DROP_AUTH);
    }
}

Test(onion_cell, gets_its_counter_later)
{
    onion_cell_write(cell, &(struct onion_cell){ .command = ONION_CELL_DATA }, 0);
    onion_cell_number(cell, 77);
    cr_expect_eq(onion_cell_read(&got, &window, cell), DROP_NONE);
    cr_expect_eq(window.top, 78u);
}

Test(onion_cell, counts_once_in_any_order_within_the_window)
{
    for (uint64_t i = 0; i < 5000; i++)
        cr_assert_eq(heard(i ^ 7), DROP_NONE, "counter %lu", (unsigned long)(i ^ 7));
    for (uint64_t i = 0; i < 5000; i++)
        cr_assert_eq(heard(i), DROP_REPLAY);
}

Test(onion_cell, is_taken_for_a_repeat_once_it_fell_out_of_the_window)
{
    cr_expect_eq(heard(10000), DROP_NONE);
    cr_expect_eq(heard(10001 - ONION_COUNTER_WINDOW), DROP_NONE);
    cr_expect_eq(heard(10000 - ONION_COUNTER_WINDOW), DROP_REPLAY);
    cr_expect_eq(heard(10001 - ONION_COUNTER_WINDOW), DROP_REPLAY);
}

Test(onion_cell, may_jump_far_ahead_and_never_to_the_last_counter)
{
    cr_expect_eq(heard(3), DROP_NONE);
    cr_expect_eq(heard(UINT64_MAX), DROP_AUTH);
    cr_expect_eq(heard(UINT64_MAX - 1), DROP_NONE);
    cr_expect_eq(heard(UINT64_MAX - 1), DROP_REPLAY);
    cr_expect_eq(heard(UINT64_MAX - 2), DROP_NONE, "what the window held before is gone");
    cr_expect_eq(heard(3), DROP_REPLAY);
}

Test(onion_cell, terms_come_back_as_they_were)
{
    const struct onion_terms t = { .rate = 1,
                                   .burst = 515,
                                   .most_open = 4096,
                                   .least_effort = 0x01020304,
                                   .seed = { 9, [15] = 8 } };
    struct onion_terms back;
    uint8_t buf[ONION_TERMS];
    static const uint8_t want[12] = { 0, 1, 2, 3, 16, 0, 0, 0, 1, 2, 3, 4 };
    onion_terms_write(buf, &t);
    cr_expect_arr_eq(buf, want, sizeof want);
    buf[6] = 0xff; /* reserved */
    onion_terms_read(&back, buf);
    cr_expect_eq(back.rate, t.rate);
    cr_expect_eq(back.burst, t.burst);
    cr_expect_eq(back.most_open, t.most_open);
    cr_expect_eq(back.least_effort, t.least_effort);
    cr_expect_arr_eq(back.seed, t.seed, sizeof t.seed);
}

Test(onion_cell, stats_come_back_as_they_were_and_in_one_length_only)
{
    const struct onion_stats s = { 1, UINT64_C(1) << 40, 3, 4, true };
    struct onion_stats back = { 0 };
    uint8_t buf[ONION_STATS + 1] = { 0 };
    onion_stats_write(buf, &s);
    for (size_t len = 0; len <= sizeof buf; len++)
        cr_expect_eq(onion_stats_read(&back, buf, len),
                     len == ONION_STATS ? DROP_NONE : DROP_SHORT);
    cr_expect_eq(back.sent, s.sent);
    cr_expect_eq(back.recognised, s.recognised);
    cr_expect_eq(back.unrecognised, s.unrecognised);
    cr_expect_eq(back.effort, s.effort);
    cr_expect(back.wants_answer);
}

/* ---- vectors ------------------------------------------------------------------------------------
 */

TestSuite(onion_cell_vectors, .init = start);

Test(onion_cell_vectors, are_what_is_written_and_read)
{
    json_t *root = vec_open("cell"), *v;
    size_t i;
    json_array_foreach(vec_get(root, "cells"), i, v)
    {
        const struct vec_bytes payload = vec_bytes(v, "payload");
        const struct onion_cell c = { .splice = (uint32_t)vec_u64(v, "splice"),
                                      .command = (uint8_t)vec_u64(v, "command"),
                                      .kind = (uint8_t)vec_u64(v, "kind"),
                                      .payload = payload.b,
                                      .len = payload.len };
        uint8_t want[MESH_CELL];
        struct onion_window fresh = { 0 };
        vec_copy(v, "cell", want, sizeof want);
        onion_cell_write(cell, &c, vec_u64(v, "counter"));
        cr_expect_arr_eq(cell, want, sizeof want, "%s", vec_str(v, "name"));
        cr_assert_eq(onion_cell_read(&got, &fresh, want), DROP_NONE);
        cr_expect_eq(fresh.top, vec_u64(v, "counter") + 1);
        cr_expect_eq(got.splice, c.splice);
        cr_expect_eq(got.command, c.command);
        cr_expect_eq(got.kind, c.kind);
        cr_expect_eq(got.len, c.len);
    }
    vec_close(root);
}

Test(onion_cell_vectors, are_terms_stats_and_tokens)
{
    json_t *root = vec_open("cell"), *t = vec_get(root, "terms"), *s = vec_get(root, "stats");
    struct onion_terms terms = { (uint16_t)vec_u64(t, "rate"),
                                 (uint16_t)vec_u64(t, "burst"),
                                 (uint16_t)vec_u64(t, "most_open"),
                                 (uint32_t)vec_u64(t, "least_effort"),
                                 { 0 } };
    const struct onion_stats stats = { vec_u64(s, "sent"), vec_u64(s, "recognised"),
                                       vec_u64(s, "unrecognised"), (uint32_t)vec_u64(s, "effort"),
                                       vec_bool(s, "wants_answer") };
    uint8_t want[32], out[32], owner[32];
    vec_copy(t, "seed", terms.seed, sizeof terms.seed);
    vec_copy(t, "bytes", want, ONION_TERMS);
    onion_terms_write(out, &terms);
    cr_expect_arr_eq(out, want, ONION_TERMS);
    vec_copy(s, "bytes", want, ONION_STATS);
    onion_stats_write(out, &stats);
    cr_expect_arr_eq(out, want, ONION_STATS);
    vec_copy(vec_get(root, "token"), "secret", owner, 32);
    vec_copy(vec_get(root, "token"), "token", want, 32);
    crypto_h(out, "cyx token", &BYTES(owner, sizeof owner), 1);
    cr_expect_arr_eq(out, want, 32);
    vec_close(root);
}

struct sent {
    json_t *payloads;
    struct vec_bytes resend;
    size_t n, n_resends;
};

static bool compare(void *arg, const struct onion_cell *c)
{
    struct sent *s = arg;
    if (c->command == ONION_CELL_RESEND) {
        cr_expect_eq(c->len, s->resend.len);
        cr_expect_arr_eq(c->payload, s->resend.b, s->resend.len);
        s->n_resends++;
        return true;
    }
    const struct vec_bytes want = vec_hex(json_array_get(s->payloads, s->n++));
    cr_expect_eq(c->command, ONION_CELL_MSG);
    cr_assert_eq(c->len, want.len);
    cr_expect_arr_eq(c->payload, want.b, want.len);
    return true;
}

Test(onion_cell_vectors, are_how_a_message_is_cut_and_asked_for_again)
{
    json_t *root = vec_open("cell"), *m = vec_get(root, "message");
    struct mesh_inbox_pool *pool = mesh_inbox_pool_create(1 << 20);
    struct onion_messages out, in;
    struct mesh_message whole;
    const struct vec_bytes data = vec_bytes(m, "data");
    struct sent s = { .payloads = vec_get(m, "payloads"),
                      .resend = vec_bytes(m, "second_missing") };
    uint32_t id = (uint32_t)vec_u64(m, "id");
    cr_assert_eq(onion_messages_init(&out, pool, 0), 0);
    cr_assert_eq(onion_messages_init(&in, pool, 0), 0);
    cr_assert_eq(onion_messages_add(&out, MESH_MSG_REQUEST, id, data.b, data.len, 0), 0);
    (void)onion_messages_pump(&out, 0, 0, compare, &s);
    cr_expect_eq(s.n, 2u);
    const struct vec_bytes first = vec_hex(json_array_get(s.payloads, 0));
    got = (struct onion_cell){ .command = ONION_CELL_MSG, .payload = first.b, .len = first.len };
    cr_assert_eq(onion_messages_heard(&in, &got, 0, 0, &whole), DROP_NONE);
    cr_assert_null(whole.data);
    (void)onion_messages_pump(&in, UINT64_C(1000000) * MESH_RESEND_MS, 0, compare, &s);
    cr_expect_eq(s.n_resends, 1u);
    onion_messages_fini(&out);
    onion_messages_fini(&in);
    mesh_inbox_pool_destroy(pool);
    vec_close(root);
}

Test(onion_cell_vectors, pass_a_pivot)
{
    json_t *root = vec_open("cell"), *v = vec_get(root, "through_pivot");
    uint8_t kf[32], kb[32], want[MESH_CELL];
    struct onion_layer client, service;
    vec_copy(v, "kf", kf, sizeof kf);
    vec_copy(v, "kb", kb, sizeof kb);
    vec_copy(v, "in", cell, sizeof cell);
    vec_copy(v, "out", want, sizeof want);
    onion_layer_init(&client, kf);
    onion_layer_init(&service, kb);
    onion_layer_decipher(&client, cell);
    cr_assert_eq(onion_cell_read(&got, &window, cell), DROP_NONE);
    uint8_t out[MESH_CELL];
    got.splice = (uint32_t)vec_u64(v, "splice");
    onion_cell_write(out, &got, vec_u64(v, "counter"));
    onion_layer_encipher(&service, out);
    cr_expect_arr_eq(out, want, sizeof want);
    vec_close(root);
}
