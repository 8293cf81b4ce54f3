#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/session.h"
#include "vec.h"

static struct mesh_session *session(uint8_t send, uint8_t recv, uint32_t features)
{
    struct mesh_hs_result r = { .remote_index = 0x0B0C0D0E, .features = features };
    memset(r.send_key, send, sizeof r.send_key);
    memset(r.recv_key, recv, sizeof r.recv_key);
    struct mesh_session *s = mesh_session_create(&r, 77);
    cr_assert_not_null(s);
    return s;
}

static void fill(uint8_t *packet, uint8_t with)
{
    memset(packet + MESH_PACKET_HEAD, with, MESH_PACKET_ROOM);
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void open_vector(const json_t *v, const char *cipher, uint32_t features, const uint8_t *key,
                        const uint8_t *text)
{
    struct mesh_hs_result r = { .features = features };
    uint8_t packet[MESH_PACKET];
    bool newest = false;
    memcpy(r.recv_key, key, 32);
    struct mesh_session *s = mesh_session_create(&r, 1);
    vec_copy(v, cipher, packet, sizeof packet);
    cr_assert_eq(mesh_session_open(s, packet, &newest), DROP_NONE, "%s", cipher);
    cr_assert_arr_eq(packet + MESH_PACKET_HEAD, text, MESH_PACKET_ROOM);
    cr_assert(newest);
    mesh_session_destroy(s);
}

/* Sealing counts from 0, so it meets the vectors with counters 0 and 1. */
static void seal_vectors(const json_t *root, const char *cipher, uint32_t features,
                         const uint8_t *text)
{
    struct mesh_hs_result r = { .features = features,
                                .remote_index = (uint32_t)vec_u64(root, "receiver_index") };
    vec_copy(root, "key", r.send_key, 32);
    struct mesh_session *s = mesh_session_create(&r, 1);
    for (size_t n = 0; n < 2; n++) {
        uint8_t packet[MESH_PACKET], want[MESH_PACKET];
        vec_copy(json_array_get(vec_get(root, "packets"), n), cipher, want, sizeof want);
        memcpy(packet + MESH_PACKET_HEAD, text, MESH_PACKET_ROOM);
        cr_assert_eq(mesh_session_seal(s, packet), 0);
        cr_assert_arr_eq(packet, want, sizeof packet, "%s %zu", cipher, n);
    }
    cr_assert_eq(mesh_session_sent(s), 2u);
    mesh_session_destroy(s);
}

Test(session, seals_and_opens_the_vectors_of_both_ciphers)
{
    json_t *root = vec_open("packet");
    const json_t *v;
    size_t at;
    uint8_t key[32], text[MESH_PACKET_ROOM];
    vec_copy(root, "key", key, sizeof key);
    vec_copy(root, "text", text, sizeof text);
    json_array_foreach(vec_get(root, "packets"), at, v)
    {
        open_vector(v, "gcm", MESH_FEATURE_GCM, key, text);
        open_vector(v, "chacha", 0, key, text);
    }
    cr_assert_eq(at, 5u);
    seal_vectors(root, "gcm", MESH_FEATURE_GCM, text);
    seal_vectors(root, "chacha", 0, text);
    vec_close(root);
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* Sends `n` packets from a to b, so that both have seen traffic. */
static void talk(struct mesh_session *a, struct mesh_session *b, size_t n)
{
    uint8_t packet[MESH_PACKET];
    bool newest;
    for (size_t i = 0; i < n; i++) {
        fill(packet, (uint8_t)i);
        cr_assert_eq(mesh_session_seal(a, packet), 0);
        cr_assert_eq(mesh_session_open(b, packet, &newest), DROP_NONE, "packet %zu", i);
        cr_assert_eq(packet[MESH_PACKET_HEAD + 700], (uint8_t)i);
    }
}

static void refuse_flips(uint32_t features, size_t warm)
{
    struct mesh_session *a = session(1, 2, features), *b = session(2, 1, features);
    talk(a, b, warm);
    uint8_t packet[MESH_PACKET], flipped[MESH_PACKET];
    bool newest = false;
    fill(packet, 0x33);
    cr_assert_eq(mesh_session_seal(a, packet), 0);
    for (size_t bit = 0; bit < 8 * MESH_PACKET; bit += bit < 128 || bit > 10500 ? 1 : 7) {
        memcpy(flipped, packet, sizeof packet);
        flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum drop drop = mesh_session_open(b, flipped, &newest);
        enum drop want = bit < 8 ? DROP_TYPE : DROP_AUTH;
        if (bit >= 64 && bit < 88) /* the counter is beyond the end of every session */
            want = DROP_LIMIT;
        cr_assert_eq(drop, want, "bit %zu: %s", bit, drop_name(drop));
        cr_assert_not(newest);
    }
    cr_assert_eq(mesh_session_received(b), (uint64_t)warm);
    cr_assert_eq(mesh_session_open(b, packet, &newest), DROP_NONE);
    cr_assert(newest);
    mesh_session_destroy(a);
    mesh_session_destroy(b);
}

Test(session, refuses_any_flipped_bit_and_stays_as_it_was)
{
    refuse_flips(MESH_FEATURE_GCM, 0);
    refuse_flips(0, 0);
    refuse_flips(0, 100); /* a busy session has another implementation behind it */
}

Test(session, busy_and_quiet_ends_of_one_cipher_understand_each_other)
{
    struct mesh_session *a = session(1, 2, 0), *b = session(2, 1, 0);
    uint8_t packet[MESH_PACKET];
    bool newest;
    for (unsigned n = 0; n < 300; n++) { /* b hears every tenth: it stays quiet while a is busy */
        fill(packet, (uint8_t)n);
        cr_assert_eq(mesh_session_seal(a, packet), 0);
        if (n % 10 == 0)
            cr_assert_eq(mesh_session_open(b, packet, &newest), DROP_NONE, "packet %u", n);
        if (n % 10 == 0)
            cr_assert_eq(packet[MESH_PACKET_HEAD + 5], (uint8_t)n);
    }
    talk(b, a, 10);  /* from quiet to busy */
    talk(a, b, 200); /* b becomes busy on the way */
    mesh_session_destroy(a);
    mesh_session_destroy(b);
}

Test(session, refuses_a_replayed_packet_and_takes_reordered_ones)
{
    enum { N = 8 };
    static const unsigned order[N] = { 3, 0, 7, 1, 6, 2, 5, 4 };
    struct mesh_session *a = session(1, 2, MESH_FEATURE_GCM), *b = session(2, 1, MESH_FEATURE_GCM);
    uint8_t packets[N][MESH_PACKET], copy[MESH_PACKET];
    bool newest = false;
    for (unsigned n = 0; n < N; n++) {
        fill(packets[n], (uint8_t)n);
        cr_assert_eq(mesh_session_seal(a, packets[n]), 0);
    }
    unsigned greatest = 0;
    for (unsigned n = 0; n < N; n++) {
        memcpy(copy, packets[order[n]], sizeof copy);
        newest = false;
        cr_assert_eq(mesh_session_open(b, copy, &newest), DROP_NONE);
        cr_assert_eq(newest, n == 0 || order[n] > greatest, "packet %u", order[n]);
        cr_assert_eq(copy[MESH_PACKET_HEAD], order[n]);
        greatest = order[n] > greatest ? order[n] : greatest;
    }
    for (unsigned n = 0; n < N; n++)
        cr_assert_eq(mesh_session_open(b, packets[n], &newest), DROP_REPLAY, "packet %u", n);
    cr_assert_eq(mesh_session_received(b), (uint64_t)N);
    mesh_session_destroy(a);
    mesh_session_destroy(b);
}

Test(session, keeps_ciphers_and_directions_apart)
{
    struct mesh_session *a = session(1, 2, MESH_FEATURE_GCM);
    struct mesh_session *other_cipher = session(2, 1, 0),
                        *same_side = session(1, 2, MESH_FEATURE_GCM);
    uint8_t packet[MESH_PACKET], copy[MESH_PACKET];
    bool newest;
    fill(packet, 1);
    cr_assert_eq(mesh_session_seal(a, packet), 0);
    memcpy(copy, packet, sizeof copy);
    cr_assert_eq(mesh_session_open(other_cipher, copy, &newest), DROP_AUTH);
    cr_assert_eq(mesh_session_open(same_side, packet, &newest), DROP_AUTH);
    cr_assert(mesh_session_is_gcm(a));
    cr_assert_not(mesh_session_is_gcm(other_cipher));
    cr_assert_eq(mesh_session_local_index(a), 77u);
    cr_assert_eq(mesh_session_remote_index(a), 0x0B0C0D0Eu);
    mesh_session_destroy(a);
    mesh_session_destroy(other_cipher);
    mesh_session_destroy(same_side);
    mesh_session_destroy(NULL);
}

/* ---- replay window --------------------------------------------------------------------------- */

Test(replay, takes_each_counter_once_within_the_window)
{
    struct mesh_replay r = { 0 };
    cr_assert(mesh_replay_fresh(&r, 0));
    mesh_replay_note(&r, 0);
    cr_assert_not(mesh_replay_fresh(&r, 0));
    mesh_replay_note(&r, MESH_REPLAY_WINDOW);
    cr_assert_not(mesh_replay_fresh(&r, 0), "fell out of the window");
    cr_assert(mesh_replay_fresh(&r, 1), "the oldest in the window");
    cr_assert_not(mesh_replay_fresh(&r, MESH_REPLAY_WINDOW));
    cr_assert(mesh_replay_fresh(&r, MESH_REPLAY_WINDOW + 1));
}

Test(replay, works_up_to_the_last_counter_and_refuses_that)
{
    struct mesh_replay r = { 0 };
    cr_assert_not(mesh_replay_fresh(&r, UINT64_MAX));
    mesh_replay_note(&r, UINT64_MAX - 2);
    mesh_replay_note(&r, UINT64_MAX - 1);
    mesh_replay_note(&r, UINT64_MAX);
    cr_assert_not(mesh_replay_fresh(&r, UINT64_MAX - 1));
    cr_assert_not(mesh_replay_fresh(&r, UINT64_MAX - 2));
    cr_assert_not(mesh_replay_fresh(&r, UINT64_MAX));
    cr_assert(mesh_replay_fresh(&r, UINT64_MAX - 3));
    cr_assert(mesh_replay_fresh(&r, UINT64_MAX - 1 - MESH_REPLAY_WINDOW + 1));
    cr_assert_not(mesh_replay_fresh(&r, UINT64_MAX - 1 - MESH_REPLAY_WINDOW));
}

/* The model: every accepted counter since `base`, in an array. */
enum { MODEL = 40000 };

struct model {
    uint64_t base, top;
    bool seen[MODEL];
};

static bool model_fresh(const struct model *m, uint64_t c)
{
    if (c == UINT64_MAX || (c < m->top && m->top - c > MESH_REPLAY_WINDOW))
        return false;
    return !m->seen[c - m->base];
}

/* xorshift64*: fixed seed, the same run every time. */
static uint64_t next_random(uint64_t *x)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return *x * UINT64_C(2685821657736338717);
}

static void compare_with_model(uint64_t base, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    struct mesh_replay r = { 0 };
    uint64_t at = base, x = seed;
    cr_assert_not_null(m);
    m->base = base;
    for (unsigned n = 0; n < 20000 && at - base < MODEL - 6000; n++) {
        uint64_t pick = next_random(&x), c;
        if (pick % 400 == 0)
            at += next_random(&x) % 5000; /* beyond the window, in one step */
        else if (pick % 3 == 0)
            at += next_random(&x) % 4;
        uint64_t back = next_random(&x) % (pick % 2 == 0 ? 64 : 2200);
        c = at - base >= back ? at - back : base;
        cr_assert_eq(mesh_replay_fresh(&r, c), model_fresh(m, c), "seed %llu step %u counter +%llu",
                     (unsigned long long)seed, n, (unsigned long long)(c - base));
        if (!model_fresh(m, c))
            continue;
        mesh_replay_note(&r, c);
        m->seen[c - base] = true;
        m->top = c + 1 > m->top ? c + 1 : m->top;
        cr_assert_eq(r.top, m->top);
    }
    free(m);
}

Test(replay, agrees_with_a_plain_set_of_counters)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        compare_with_model(0, seed);
        compare_with_model((UINT64_C(1) << 40) - 1000, seed);
        compare_with_model(UINT64_MAX - MODEL, seed);
    }
}
