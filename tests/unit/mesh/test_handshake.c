#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "mesh/handshake.h"
#include "vec.h"

/* One handshake of handshake.json, with both ends' keys. */
struct fixture {
    struct mesh_network net;
    struct mesh_hs_self i, r;
    uint8_t ei[32], er[32], init[MESH_INIT_LEN], resp[MESH_RESP_LEN];
    uint32_t index_i, index_r;
    uint64_t sequence, net_time;
    struct vec_bytes cookie_i, cookie_r;
};

static void load_self(struct mesh_hs_self *s, const json_t *v, const char *secret,
                      const char *version, const char *features)
{
    vec_copy(v, secret, s->secret, 32);
    crypto_dh_public(s->pub, s->secret);
    vec_copy(v, version, s->version, 4);
    s->features = (uint32_t)vec_u64(v, features);
}

static void load(struct fixture *f, const json_t *v)
{
    memset(f, 0, sizeof *f);
    vec_copy(v, "net", f->net.id, 32);
    load_self(&f->i, v, "initiator_secret", "initiator_version", "initiator_features");
    load_self(&f->r, v, "responder_secret", "responder_version", "responder_features");
    vec_copy(v, "responder_id", f->r.id, 32);
    f->i.net = f->r.net = &f->net;
    vec_copy(v, "initiator_ephemeral", f->ei, 32);
    vec_copy(v, "responder_ephemeral", f->er, 32);
    vec_copy(v, "init", f->init, sizeof f->init);
    vec_copy(v, "resp", f->resp, sizeof f->resp);
    f->index_i = (uint32_t)vec_u64(v, "initiator_index");
    f->index_r = (uint32_t)vec_u64(v, "responder_index");
    f->sequence = vec_u64(v, "sequence");
    f->net_time = vec_u64(v, "net_time");
    f->cookie_i = vec_bytes(v, "cookie_initiator");
    f->cookie_r = vec_bytes(v, "cookie_responder");
}

static void load_first(struct fixture *f)
{
    json_t *root = vec_open("handshake");
    load(f, json_array_get(vec_get(root, "handshakes"), 0));
    vec_close(root);
}

static int send_init(const struct fixture *f, struct mesh_hs_initiator *i, uint8_t *packet)
{
    return mesh_hs_init(i, &f->i, f->r.id, f->r.pub, f->index_i, f->sequence, f->ei,
                        f->cookie_i.len > 0 ? f->cookie_i.b : NULL, packet);
}

static int send_resp(const struct fixture *f, struct mesh_hs_responder *p, uint8_t *packet,
                     struct mesh_hs_result *out)
{
    return mesh_hs_respond(p, &f->r, f->index_r, f->net_time, f->er,
                           f->cookie_r.len > 0 ? f->cookie_r.b : NULL, packet, out);
}

/* Copies the first `len` bytes to a heap block of exact size, so that one byte over is seen. */
static uint8_t *exact(const uint8_t *data, size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);
    cr_assert_not_null(p);
    memcpy(p, data, len);
    return p;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void expect_results(const json_t *v, const struct mesh_hs_result *i,
                           const struct mesh_hs_result *r, const struct fixture *f)
{
    uint8_t key[32];
    vec_copy(v, "key_initiator_to_responder", key, 32);
    cr_assert_arr_eq(i->send_key, key, 32);
    cr_assert_arr_eq(r->recv_key, key, 32);
    vec_copy(v, "key_responder_to_initiator", key, 32);
    cr_assert_arr_eq(i->recv_key, key, 32);
    cr_assert_arr_eq(r->send_key, key, 32);
    cr_assert_arr_eq(i->remote_static, f->r.pub, 32);
    cr_assert_arr_eq(r->remote_static, f->i.pub, 32);
    cr_assert_eq(i->remote_index, f->index_r);
    cr_assert_eq(r->remote_index, f->index_i);
    cr_assert_eq(i->features, vec_u64(v, "features"));
    cr_assert_eq(r->features & MESH_FEATURE_GCM, i->features & MESH_FEATURE_GCM);
    cr_assert_eq(r->features & MESH_FEATURE_UNLISTED, f->i.features & MESH_FEATURE_UNLISTED);
    cr_assert_arr_eq(i->remote_version, f->r.version, 4);
    cr_assert_arr_eq(r->remote_version, f->i.version, 4);
    cr_assert_eq(i->remote_time, vec_u64(v, "net_time_rounded"));
    cr_assert_eq(r->remote_time, 0u);
    cr_assert_eq(r->remote_sequence, f->sequence);
    cr_assert_eq(i->remote_sequence, 0u);
}

Test(handshake, writes_and_opens_the_vectors_byte_for_byte)
{
    json_t *root = vec_open("handshake");
    const json_t *v;
    size_t at;
    cr_assert_geq(json_array_size(vec_get(root, "handshakes")), 4u);
    json_array_foreach(vec_get(root, "handshakes"), at, v)
    {
        struct fixture f;
        struct mesh_hs_initiator i;
        struct mesh_hs_responder p;
        struct mesh_hs_result ri, rr;
        uint8_t packet[MESH_INIT_LEN];
        load(&f, v);
        cr_assert_eq(send_init(&f, &i, packet), 0);
        cr_assert_arr_eq(packet, f.init, MESH_INIT_LEN, "INIT %s", vec_str(v, "name"));
        cr_assert_eq(mesh_hs_init_precheck(f.init, sizeof f.init, f.r.pub), DROP_NONE);
        cr_assert_eq(mesh_hs_accept(&p, &f.r, f.init, sizeof f.init), DROP_NONE);
        cr_assert_eq(p.r.features, f.i.features);
        cr_assert_eq(send_resp(&f, &p, packet, &rr), 0);
        cr_assert_arr_eq(packet, f.resp, MESH_RESP_LEN, "RESP %s", vec_str(v, "name"));
        cr_assert_eq(mesh_hs_finish(&i, &f.i, f.resp, sizeof f.resp, &ri), DROP_NONE);
        expect_results(v, &ri, &rr, &f);
    }
    vec_close(root);
}

Test(handshake, opens_the_cookie_vectors)
{
    json_t *root = vec_open("handshake");
    const json_t *c = vec_get(root, "cookie");
    struct fixture f;
    struct env_addr from;
    uint8_t secret[32], cookie[16], want[16], nonce[24], out[MESH_COOKIE_LEN];
    uint8_t mac1[16], opened[16], packet[MESH_COOKIE_LEN];
    load(&f, json_array_get(vec_get(root, "handshakes"), 0));
    vec_copy(c, "secret", secret, 32);
    vec_copy(c, "cookie", want, 16);
    vec_copy(c, "nonce", nonce, 24);
    from = env_addr_v4(192, 0, 2, 7, 4100);
    mesh_cookie_make(cookie, secret, &from);
    cr_assert_arr_eq(cookie, want, 16);

    vec_copy(c, "for_init", packet, sizeof packet);
    mesh_cookie_build(out, f.init, sizeof f.init, f.r.pub, nonce, cookie);
    cr_assert_arr_eq(out, packet, sizeof out);
    mesh_hs_mac1_of(f.init, sizeof f.init, mac1);
    cr_assert_eq(mesh_cookie_open(packet, sizeof packet, f.r.pub, mac1, opened), DROP_NONE);
    cr_assert_arr_eq(opened, cookie, 16);

    vec_copy(c, "for_resp", packet, sizeof packet);
    mesh_cookie_build(out, f.resp, sizeof f.resp, f.i.pub, nonce, cookie);
    cr_assert_arr_eq(out, packet, sizeof out);
    mesh_hs_mac1_of(f.resp, sizeof f.resp, mac1);
    cr_assert_eq(mesh_cookie_open(packet, sizeof packet, f.i.pub, mac1, opened), DROP_NONE);
    cr_assert_arr_eq(opened, cookie, 16);
    vec_close(root);
}

Test(handshake, knows_mac2_by_the_cookie_alone)
{
    json_t *root = vec_open("handshake");
    struct fixture plain, with;
    uint8_t other[16] = { 1 };
    load(&plain, json_array_get(vec_get(root, "handshakes"), 0));
    load(&with, json_array_get(vec_get(root, "handshakes"), 3));
    vec_close(root);
    cr_assert(mesh_mac2_ok(with.init, sizeof with.init, with.cookie_i.b));
    cr_assert(mesh_mac2_ok(with.resp, sizeof with.resp, with.cookie_r.b));
    cr_assert_not(mesh_mac2_ok(with.init, sizeof with.init, other));
    cr_assert_not(mesh_mac2_ok(plain.init, sizeof plain.init, with.cookie_i.b));
    for (size_t bit = 0; bit < 8 * sizeof with.init; bit++) {
        with.init[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_not(mesh_mac2_ok(with.init, sizeof with.init, with.cookie_i.b), "bit %zu", bit);
        with.init[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_not(mesh_mac2_ok(with.init, sizeof with.init - 1, with.cookie_i.b));
    /* Every answer is smaller than what caused it. */
    cr_assert_lt((int)MESH_RESP_LEN, (int)MESH_INIT_LEN);
    cr_assert_lt((int)MESH_COOKIE_LEN, (int)MESH_RESP_LEN);
    cr_assert_lt((int)MESH_VERSION_LEN, (int)MESH_INIT_LEN);
}

/* ---- truncations and bit flips --------------------------------------------------------------- */

Test(handshake, refuses_every_truncation_and_any_longer_packet)
{
    struct fixture f;
    struct mesh_hs_initiator i;
    struct mesh_hs_responder p = { .remote_e = { 42 } }, before = p;
    struct mesh_hs_result r = { .remote_index = 7 };
    uint8_t packet[MESH_INIT_LEN], longer[MESH_INIT_LEN + 1] = { 0 };
    load_first(&f);
    cr_assert_eq(send_init(&f, &i, packet), 0);
    for (size_t len = 0; len < sizeof f.init; len++) {
        uint8_t *cut = exact(f.init, len);
        cr_assert_eq(mesh_hs_init_precheck(cut, len, f.r.pub), DROP_SHORT, "length %zu", len);
        cr_assert_eq(mesh_hs_accept(&p, &f.r, cut, len), DROP_SHORT, "length %zu", len);
        free(cut);
    }
    for (size_t len = 0; len < sizeof f.resp; len++) {
        uint8_t *cut = exact(f.resp, len);
        cr_assert_eq(mesh_hs_finish(&i, &f.i, cut, len, &r), DROP_SHORT, "length %zu", len);
        free(cut);
    }
    memcpy(longer, f.init, sizeof f.init);
    cr_assert_eq(mesh_hs_accept(&p, &f.r, longer, sizeof longer), DROP_LONG);
    memcpy(longer, f.resp, sizeof f.resp);
    cr_assert_eq(mesh_hs_finish(&i, &f.i, longer, sizeof f.resp + 1, &r), DROP_LONG);
    cr_assert_arr_eq(&p, &before, sizeof p);
    cr_assert_eq(r.remote_index, 7u);
}

/* mac1 covers 0..120; mac2 is looked at under load only (knows_mac2_by_the_cookie_alone). */
Test(handshake, refuses_init_with_any_bit_flipped)
{
    struct fixture f;
    struct mesh_hs_responder p = { .remote_e = { 42 } }, before = p;
    load_first(&f);
    for (size_t bit = 0; bit < 8 * (MESH_INIT_LEN - 16); bit++) {
        uint8_t *flipped = exact(f.init, sizeof f.init);
        flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum drop want = bit < 8 ? DROP_TYPE : DROP_MAC;
        cr_assert_eq(mesh_hs_init_precheck(flipped, sizeof f.init, f.r.pub), want, "bit %zu", bit);
        cr_assert_eq(mesh_hs_accept(&p, &f.r, flipped, sizeof f.init), want, "bit %zu", bit);
        free(flipped);
    }
    cr_assert_arr_eq(&p, &before, sizeof p);
    cr_assert_eq(mesh_hs_accept(&p, &f.r, f.init, sizeof f.init), DROP_NONE);
}

/* Whoever knows our link key can make mac1 right: then Noise itself must notice. */
Test(handshake, refuses_flipped_bits_under_a_right_mac1_too)
{
    struct fixture f;
    struct mesh_hs_responder p;
    uint8_t key[32];
    load_first(&f);
    crypto_h(key, "cyx mac1", &BYTES(f.r.pub, 32), 1);
    for (size_t bit = 8 * 8; bit < 8 * 120; bit += 3) {
        uint8_t packet[MESH_INIT_LEN];
        memcpy(packet, f.init, sizeof packet);
        packet[bit / 8] ^= (uint8_t)(1u << bit % 8);
        crypto_mac16(packet + 120, key, sizeof key, packet, 120);
        cr_assert_eq(mesh_hs_init_precheck(packet, sizeof packet, f.r.pub), DROP_NONE);
        enum drop drop = mesh_hs_accept(&p, &f.r, packet, sizeof packet);
        cr_assert(drop == DROP_AUTH || drop == DROP_KEY, "bit %zu: %s", bit, drop_name(drop));
    }
}

Test(handshake, keeps_the_initiator_as_it_is_through_every_flipped_resp)
{
    struct fixture f;
    struct mesh_hs_initiator i, before;
    struct mesh_hs_result r = { .remote_index = 7 };
    uint8_t packet[MESH_INIT_LEN], key[32];
    load_first(&f);
    cr_assert_eq(send_init(&f, &i, packet), 0);
    memcpy(&before, &i, sizeof i);
    crypto_h(key, "cyx mac1", &BYTES(f.i.pub, 32), 1);
    for (size_t bit = 0; bit < 8 * (MESH_RESP_LEN - 16); bit++) {
        uint8_t *flipped = exact(f.resp, sizeof f.resp);
        flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum drop want = bit < 8 ? DROP_TYPE : DROP_MAC;
        cr_assert_eq(mesh_hs_finish(&i, &f.i, flipped, sizeof f.resp, &r), want, "bit %zu", bit);
        if (bit >= 8 * 8 && bit < 8 * 76 && bit % 3 == 0) { /* the same under a right mac1 */
            crypto_mac16(flipped + 76, key, sizeof key, flipped, 76);
            cr_assert_neq(mesh_hs_finish(&i, &f.i, flipped, sizeof f.resp, &r), DROP_NONE,
                          "bit %zu", bit);
        }
        free(flipped);
    }
    cr_assert_arr_eq(&i, &before, sizeof i);
    cr_assert_eq(r.remote_index, 7u);
    cr_assert_eq(mesh_hs_finish(&i, &f.i, f.resp, sizeof f.resp, &r), DROP_NONE);
    cr_assert_eq(r.remote_index, f.index_r);
}

Test(handshake, refuses_cookies_cut_or_flipped)
{
    json_t *root = vec_open("handshake");
    uint8_t packet[MESH_COOKIE_LEN], mac1[16], cookie[16] = { 42 };
    uint32_t index = 0;
    struct fixture f;
    load(&f, json_array_get(vec_get(root, "handshakes"), 0));
    vec_copy(vec_get(root, "cookie"), "for_init", packet, sizeof packet);
    vec_close(root);
    mesh_hs_mac1_of(f.init, sizeof f.init, mac1);
    for (size_t len = 0; len < sizeof packet; len++) {
        uint8_t *cut = exact(packet, len);
        cr_assert_eq(mesh_cookie_open(cut, len, f.r.pub, mac1, cookie), DROP_SHORT);
        cr_assert_eq(mesh_cookie_index(cut, len, &index), DROP_SHORT);
        free(cut);
    }
    /* Reserved bytes are ignored, and the index only found the handshake. */
    for (size_t bit = 0; bit < 8 * sizeof packet; bit++) {
        if (bit >= 8 * 2 && bit < 8 * 8)
            continue;
        uint8_t *flipped = exact(packet, sizeof packet);
        flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum drop want = bit < 8 ? DROP_TYPE : bit < 16 ? DROP_VERSION : DROP_AUTH;
        cr_assert_eq(mesh_cookie_open(flipped, sizeof packet, f.r.pub, mac1, cookie), want,
                     "bit %zu", bit);
        free(flipped);
    }
    cr_assert_eq(cookie[0], 42);
    cr_assert_eq(mesh_cookie_open(packet, sizeof packet, f.i.pub, mac1, cookie), DROP_AUTH);
    mac1[0] ^= 1;
    cr_assert_eq(mesh_cookie_open(packet, sizeof packet, f.r.pub, mac1, cookie), DROP_AUTH);
    cr_assert_eq(mesh_cookie_index(packet, sizeof packet, &index), DROP_NONE);
    cr_assert_eq(index, f.index_i);
}

/* ---- identities, versions, features ---------------------------------------------------------- */

Test(handshake, refuses_an_init_meant_for_another_id_or_network)
{
    struct fixture f;
    struct mesh_hs_initiator i;
    struct mesh_hs_responder p;
    uint8_t packet[MESH_INIT_LEN], other_id[32];
    load_first(&f);
    memcpy(other_id, f.r.id, 32);
    other_id[31] ^= 1;
    /* A record that names our link key under another id: mac1 is right, Noise refuses. */
    cr_assert_eq(mesh_hs_init(&i, &f.i, other_id, f.r.pub, 1, 1, f.ei, NULL, packet), 0);
    cr_assert_eq(mesh_hs_init_precheck(packet, sizeof packet, f.r.pub), DROP_NONE);
    cr_assert_eq(mesh_hs_accept(&p, &f.r, packet, sizeof packet), DROP_AUTH);
    struct mesh_network other_net = f.net;
    other_net.id[0] ^= 1;
    f.r.net = &other_net;
    cr_assert_eq(mesh_hs_accept(&p, &f.r, f.init, sizeof f.init), DROP_AUTH);
    f.r.net = &f.net;
    cr_assert_eq(mesh_hs_accept(&p, &f.r, f.init, sizeof f.init), DROP_NONE);
}

Test(handshake, tells_another_major_from_a_wrong_mac)
{
    struct fixture f;
    uint8_t key[32];
    load_first(&f);
    f.init[1] = 2;
    cr_assert_eq(mesh_hs_init_precheck(f.init, sizeof f.init, f.r.pub), DROP_MAC);
    crypto_h(key, "cyx mac1", &BYTES(f.r.pub, 32), 1);
    crypto_mac16(f.init + 120, key, sizeof key, f.init, 120);
    cr_assert_eq(mesh_hs_init_precheck(f.init, sizeof f.init, f.r.pub), DROP_VERSION);
    cr_assert_eq(mesh_hs_init_precheck(f.init, sizeof f.init, f.i.pub), DROP_MAC);
}

Test(handshake, refuses_low_order_keys)
{
    struct fixture f;
    struct mesh_hs_initiator i = { .index = 42 };
    struct mesh_hs_responder p;
    uint8_t packet[MESH_INIT_LEN] = { 42 }, key[32];
    const uint8_t low[3][32] = { { 0 }, { 1 }, { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae,
                                                 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
                                                 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd,
                                                 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 } };
    load_first(&f);
    crypto_h(key, "cyx mac1", &BYTES(f.r.pub, 32), 1);
    for (size_t k = 0; k < 3; k++) {
        cr_assert_eq(mesh_hs_init(&i, &f.i, f.r.id, low[k], 1, 1, f.ei, NULL, packet), CYX_EPROTO);
        uint8_t init[MESH_INIT_LEN];
        memcpy(init, f.init, sizeof init);
        memcpy(init + 8, low[k], 32);
        crypto_mac16(init + 120, key, sizeof key, init, 120);
        cr_assert_eq(mesh_hs_accept(&p, &f.r, init, sizeof init), DROP_KEY);
    }
    cr_assert_eq(i.index, 42u);
    cr_assert_eq(packet[0], 42);
}

Test(handshake, refuses_a_feature_that_was_not_offered)
{
    struct fixture f;
    struct mesh_hs_initiator i;
    struct mesh_hs_responder p;
    struct mesh_hs_result r;
    uint8_t init[MESH_INIT_LEN], resp[MESH_RESP_LEN];
    load_first(&f);
    f.i.features = 0;
    cr_assert_eq(send_init(&f, &i, init), 0);
    cr_assert_eq(mesh_hs_accept(&p, &f.r, init, sizeof init), DROP_NONE);
    p.r.features = MESH_FEATURE_GCM; /* a responder that lies */
    cr_assert_eq(send_resp(&f, &p, resp, &r), 0);
    cr_assert_eq(mesh_hs_finish(&i, &f.i, resp, sizeof resp, &r), DROP_FIELD);
}

Test(handshake, refuses_a_resp_for_another_of_our_handshakes)
{
    struct fixture f;
    struct mesh_hs_initiator i;
    struct mesh_hs_result r;
    uint8_t packet[MESH_INIT_LEN];
    load_first(&f);
    f.index_i++;
    cr_assert_eq(send_init(&f, &i, packet), 0);
    cr_assert_eq(mesh_hs_finish(&i, &f.i, f.resp, sizeof f.resp, &r), DROP_UNKNOWN);
    f.index_i--;
    f.ei[0] ^= 8; /* a fresh ephemeral: the answer to the old one no longer fits */
    cr_assert_eq(send_init(&f, &i, packet), 0);
    cr_assert_eq(mesh_hs_finish(&i, &f.i, f.resp, sizeof f.resp, &r), DROP_AUTH);
}

Test(handshake, reads_version_and_refuses_nonsense)
{
    json_t *root = vec_open("handshake");
    const json_t *v = vec_get(root, "version");
    uint8_t packet[MESH_VERSION_LEN], built[MESH_VERSION_LEN];
    struct mesh_version_hint h = { .lowest = 42 };
    vec_copy(v, "packet", packet, sizeof packet);
    mesh_version_build(built, (uint32_t)vec_u64(v, "receiver_index"));
    cr_assert_arr_eq(built, packet, sizeof packet);
    for (size_t len = 0; len < sizeof packet; len++) {
        uint8_t *cut = exact(packet, len);
        cr_assert_eq(mesh_version_parse(&h, cut, len), DROP_SHORT);
        free(cut);
    }
    uint8_t bad[9] = { 5, 1, 1, 0, 1, 2, 3, 4, 5 };
    cr_assert_eq(mesh_version_parse(&h, bad, 8), DROP_TYPE);
    bad[0] = 6;
    cr_assert_eq(mesh_version_parse(&h, bad, 9), DROP_LONG);
    bad[1] = 2;
    cr_assert_eq(mesh_version_parse(&h, bad, 8), DROP_FIELD);
    bad[1] = 0;
    cr_assert_eq(mesh_version_parse(&h, bad, 8), DROP_FIELD);
    cr_assert_eq(h.lowest, 42);
    cr_assert_eq(mesh_version_parse(&h, packet, sizeof packet), DROP_NONE);
    cr_assert_eq(h.receiver_index, vec_u64(v, "receiver_index"));
    cr_assert_eq(h.lowest, vec_u64(v, "lowest"));
    cr_assert_eq(h.highest, vec_u64(v, "highest"));
    vec_close(root);
}
