/* Packet protection, and the shapes that may reach ngtcp2. */
#include <criterion/criterion.h>
#include <string.h>

#include "onion/limits.h"
#include "onion/quic_internal.h"
#include "tests/unit/mesh/vec.h"

TestSuite(onion_quic, .timeout = 30);

static struct onion_quic_keys keys_of(const json_t *v)
{
    struct onion_quic_keys k;
    vec_copy(v, "key", k.key, 32);
    vec_copy(v, "iv", k.iv, 12);
    vec_copy(v, "hp", k.hp, 32);
    return k;
}

/* One packet of the vectors, sealed and opened through ngtcp2's callbacks. */
static void run_packet(const json_t *v, const struct onion_quic_keys *k)
{
    ngtcp2_callbacks cb = { 0 };
    ngtcp2_crypto_aead_ctx tx = { 0 }, rx = { 0 };
    ngtcp2_crypto_cipher_ctx hp = { 0 };
    struct onion__quic_seen seen = { 0 };
    struct vec_bytes text = vec_bytes(v, "text"), head = vec_bytes(v, "head"),
                     nonce = vec_bytes(v, "nonce"), sample = vec_bytes(v, "sample"),
                     mask = vec_bytes(v, "mask"), packet = vec_bytes(v, "packet");
    uint8_t sealed[512], opened[512], got[16];
    onion__quic_crypto_callbacks(&cb);
    cr_assert_eq(onion__quic_aead(&tx, k, ONION__QUIC_SEAL, NULL), 0);
    cr_assert_eq(onion__quic_aead(&rx, k, ONION__QUIC_OPEN, &seen), 0);
    cr_assert_eq(onion__quic_hp(&hp, k), 0);
    cr_expect_eq(cb.encrypt(sealed, NULL, &tx, text.b, text.len, nonce.b, 12, head.b, head.len), 0);
    cr_expect_arr_eq(sealed, packet.b + head.len, text.len + 16);
    cr_expect_eq(cb.hp_mask(got, NULL, &hp, sample.b), 0);
    cr_expect_arr_eq(got, mask.b, mask.len);
    cr_expect_eq(
        cb.decrypt(opened, NULL, &rx, sealed, text.len + 16, nonce.b, 12, head.b, head.len), 0);
    cr_expect_arr_eq(opened, text.b, text.len);
    cr_expect_eq(seen.next, vec_u64(v, "number") + 1);
    cr_expect_eq(seen.n, 1u);
    sealed[0] ^= 1;
    cr_expect_eq(
        cb.decrypt(opened, NULL, &rx, sealed, text.len + 16, nonce.b, 12, head.b, head.len),
        NGTCP2_ERR_DECRYPT);
    cr_expect_eq(cb.decrypt(opened, NULL, &rx, sealed, 15, nonce.b, 12, head.b, head.len),
                 NGTCP2_ERR_DECRYPT);
    cr_expect_eq(seen.n, 1u);
    onion__quic_aead_free(&tx);
    onion__quic_aead_free(&rx);
    onion__quic_hp_free(&hp);
}

Test(onion_quic, packets_are_the_vectors_and_tell_their_numbers)
{
    json_t *root = vec_open("stream"), *v, *packet;
    size_t i, j;
    json_array_foreach(vec_get(root, "cases"), i, v)
    {
        struct onion_quic_keys k = keys_of(vec_get(v, "app_client"));
        json_array_foreach(vec_get(v, "packets"), j, packet) run_packet(packet, &k);
    }
    vec_close(root);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* A long header with `rest` bytes behind its length field. */
static size_t long_header(uint8_t *out, uint8_t type, uint8_t dcid_len, uint16_t rest)
{
    size_t n = 0;
    out[n++] = (uint8_t)(0xC0 | type << 4);
    memset(out + n, 0, 4);
    out[n + 3] = 1;
    n += 4;
    out[n++] = dcid_len;
    memset(out + n, 0xDC, dcid_len);
    n += dcid_len;
    out[n++] = 0; /* source id */
    if (type == ONION__QUIC_INITIAL) {
        out[n++] = 1;
        out[n++] = 0x63;
    }
    out[n++] = (uint8_t)(0x40 | rest >> 8);
    out[n++] = (uint8_t)rest;
    memset(out + n, 0x11, rest);
    return n + rest;
}

static enum drop shape(const uint8_t *p, size_t n, enum onion__quic_from from)
{
    uint8_t first;
    return onion__quic_shape(p, n, from, &first);
}

Test(onion_quic, first_flight_has_an_initial_with_eight_bytes_of_id)
{
    uint8_t p[ONION_PAYLOAD + 1], dcid[ONION_DCID];
    size_t a = long_header(p, ONION__QUIC_INITIAL, 8, 130);
    size_t n = a + long_header(p + a, ONION__QUIC_0RTT, 8, (uint16_t)(ONION_PAYLOAD - a - 17));
    cr_assert_eq(n, (size_t)ONION_PAYLOAD);
    cr_expect_eq(onion__quic_first(p, n, dcid), DROP_NONE);
    cr_expect_eq(dcid[0], 0xDC);
    cr_expect_eq(onion__quic_long(p, n), n);
    cr_expect_eq(onion__quic_first(p, n - 1, dcid), DROP_SHORT);
    cr_expect_eq(onion__quic_first(p, n + 1, dcid), DROP_LONG);
    cr_expect_eq(onion__quic_first(p + a, n - a, dcid), DROP_STATE);
    for (size_t len = 0; len < n; len++)
        cr_expect_neq(onion__quic_first(p, len, dcid), DROP_NONE, "length %zu", len);
    n = long_header(p, ONION__QUIC_INITIAL, 8, 1000);
    cr_expect_eq(onion__quic_first(p, n, dcid), DROP_SHORT); /* less than QUIC's 1200 */
    n = long_header(p, ONION__QUIC_INITIAL, 0, 1200);
    cr_expect_eq(onion__quic_first(p, n, dcid), DROP_STATE);
}

Test(onion_quic, retry_negotiation_and_other_versions_are_found_wherever_they_hide)
{
    uint8_t p[400];
    size_t a = long_header(p, ONION__QUIC_HANDSHAKE, 0, 50);
    size_t n = a + long_header(p + a, ONION__QUIC_HANDSHAKE, 0, 60);
    cr_expect_eq(shape(p, n, ONION__FROM_SERVICE), DROP_NONE);
    p[a] = 0xF0;
    cr_expect_eq(shape(p, n, ONION__FROM_SERVICE), DROP_TYPE);
    p[a] = 0xE0;
    p[a + 4] = 0;
    cr_expect_eq(shape(p, n, ONION__FROM_SERVICE), DROP_VERSION);
    p[a + 4] = 2;
    cr_expect_eq(shape(p, n, ONION__FROM_SERVICE), DROP_VERSION);
}

Test(onion_quic, only_a_client_names_an_id_and_only_of_eight_bytes)
{
    uint8_t p[400];
    size_t n = long_header(p, ONION__QUIC_HANDSHAKE, 8, 50);
    cr_expect_eq(shape(p, n, ONION__FROM_CLIENT), DROP_NONE);
    cr_expect_eq(shape(p, n, ONION__FROM_SERVICE), DROP_FIELD);
    n = long_header(p, ONION__QUIC_HANDSHAKE, 7, 50);
    cr_expect_eq(shape(p, n, ONION__FROM_CLIENT), DROP_FIELD);
    n = long_header(p, ONION__QUIC_HANDSHAKE, 0, 50);
    p[6] = 1; /* a source id */
    cr_expect_eq(shape(p, n, ONION__FROM_CLIENT), DROP_FIELD);
}

Test(onion_quic, short_header_takes_the_rest_and_ends_the_long_ones)
{
    uint8_t p[400];
    size_t a = long_header(p, ONION__QUIC_HANDSHAKE, 0, 50);
    memset(p + a, 0x41, 100);
    uint8_t first = 0;
    cr_expect_eq(onion__quic_shape(p, a + 100, ONION__FROM_SERVICE, &first), DROP_NONE);
    cr_expect_eq(first, ONION__QUIC_HANDSHAKE);
    cr_expect_eq(onion__quic_long(p, a + 100), a);
    cr_expect_eq(onion__quic_shape(p + a, 100, ONION__FROM_SERVICE, &first), DROP_NONE);
    cr_expect_eq(first, ONION__QUIC_SHORT);
    cr_expect_eq(onion__quic_shape(p, 0, ONION__FROM_SERVICE, &first), DROP_SHORT);
}
