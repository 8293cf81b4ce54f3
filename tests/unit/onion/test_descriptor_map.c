/* Descriptors: the map inside, field by field. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "tests/unit/mesh/vec.h"
#include "tests/unit/onion/sealed.h"

/* A map put together by hand. */
struct map {
    struct writer w;
    msgpack_packer pk;
    uint8_t b[4096];
};

static void put_pivots(msgpack_packer *pk, size_t n, size_t id_len, size_t items)
{
    uint8_t id[64] = { 0 };
    msgpack_pack_uint8(pk, 2);
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < n; i++) {
        id[0] = (uint8_t)i;
        msgpack_pack_array(pk, items);
        for (size_t k = 0; k < items; k++)
            mp_pack_bin(pk, id, k == 0 ? id_len : 32);
    }
}

static void put_ports(msgpack_packer *pk, size_t n, uint64_t first, int step, uint64_t kind)
{
    msgpack_pack_uint8(pk, 3);
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_pack_array(pk, 2);
        msgpack_pack_uint64(pk, first + (uint64_t)((int64_t)i * step));
        msgpack_pack_uint64(pk, kind);
    }
}

enum fault {
    FINE,
    NO_SERVICE_KEY,
    SHORT_SERVICE_KEY,
    NO_PIVOTS,
    ZERO_PIVOTS,
    NINE_PIVOTS,
    PIVOTS_NIL,
    SHORT_ID,
    PIVOT_OF_ONE,
    PIVOT_OF_THREE,
    NO_PORTS,
    ZERO_PORTS,
    PORTS_65,
    PORT_0,
    PORT_65536,
    PORTS_DESCEND,
    PORT_TWICE,
    KIND_0,
    KIND_4,
    PORTS_INT,
    EFFORT_TOO_MUCH,
    EFFORT_MOST,
    SHORT_SEED,
    PROOF_NIL,
    NO_HANDSHAKES,
    HANDSHAKES_0,
    HANDSHAKES_33_BITS,
    UNKNOWN_KEYS,
    FAULTS,
};

static void put_some_ports(msgpack_packer *pk, enum fault f)
{
    switch (f) {
    case NO_PORTS:
        break;
    case ZERO_PORTS:
        put_ports(pk, 0, 0, 0, 0);
        break;
    case PORTS_65:
        put_ports(pk, 65, 1, 1, 1);
        break;
    case PORT_0:
        put_ports(pk, 2, 0, 1, 1);
        break;
    case PORT_65536:
        put_ports(pk, 2, 65535, 1, 1);
        break;
    case PORTS_DESCEND:
        put_ports(pk, 3, 80, -1, 1);
        break;
    case PORT_TWICE:
        put_ports(pk, 2, 80, 0, 1);
        break;
    case KIND_0:
        put_ports(pk, 1, 80, 1, 0);
        break;
    case KIND_4:
        put_ports(pk, 1, 80, 1, 4);
        break;
    case PORTS_INT:
        msgpack_pack_uint8(pk, 3);
        msgpack_pack_uint8(pk, 3);
        break;
    default:
        put_ports(pk, 64, 1, 1, 3);
        break;
    }
}

static void put_some_proof(msgpack_packer *pk, enum fault f)
{
    static const uint8_t seed[16] = { 4 };
    msgpack_pack_uint8(pk, 4);
    if (f == PROOF_NIL) {
        msgpack_pack_nil(pk);
        return;
    }
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, seed, f == SHORT_SEED ? 15 : 16);
    msgpack_pack_uint32(pk, MESH_POW_EFFORT_MAX + (f == EFFORT_TOO_MUCH ? 1 : 0));
}

static void put_map(struct map *m, enum fault f)
{
    static const uint8_t key[32] = { 8 };
    bool lacks = f == NO_SERVICE_KEY || f == NO_PIVOTS || f == NO_PORTS || f == NO_HANDSHAKES;
    msgpack_packer *pk = &m->pk;
    m->w = writer_on(m->b, sizeof m->b);
    mp_packer(pk, &m->w);
    msgpack_pack_map(pk, lacks ? 4 : f == UNKNOWN_KEYS ? 7 : 5);
    if (f != NO_SERVICE_KEY) {
        msgpack_pack_uint8(pk, 1);
        mp_pack_bin(pk, key, f == SHORT_SERVICE_KEY ? 31 : 32);
    }
    if (f == PIVOTS_NIL) {
        msgpack_pack_uint8(pk, 2);
        msgpack_pack_nil(pk);
    } else if (f != NO_PIVOTS) {
        put_pivots(pk,
                   f == ZERO_PIVOTS   ? 0
                   : f == NINE_PIVOTS ? 9
                                      : 8,
                   f == SHORT_ID ? 31 : 32,
                   f == PIVOT_OF_ONE     ? 1
                   : f == PIVOT_OF_THREE ? 3
                                         : 2);
    }
    put_some_ports(pk, f);
    put_some_proof(pk, f);
    if (f != NO_HANDSHAKES) {
        msgpack_pack_uint8(pk, 5);
        msgpack_pack_uint64(pk, f == HANDSHAKES_0 ? 0 : f == HANDSHAKES_33_BITS ? 1ull << 32 : 1);
    }
    if (f == UNKNOWN_KEYS) {
        msgpack_pack_uint8(pk, 6);
        mp_pack_bin(pk, key, 32);
        mp_pack_str(pk, "newer");
        msgpack_pack_nil(pk);
    }
    cr_assert(writer_ok(&m->w));
}

static enum drop open_map(struct sealed *s, const uint8_t *map, size_t len)
{
    uint8_t out[DHT_DESCRIPTOR_MAX];
    struct onion_reading how = sealed_reading(s);
    struct onion_descriptor got;
    return sealed_open(s, &how, out, sealed_map(s, map, len, out), &got);
}

Test(onion_descriptor, every_bound_inside_the_map_is_checked)
{
    struct sealed s = sealed_start();
    static struct map m;
    for (enum fault f = FINE; f < FAULTS; f++) {
        bool is_fine = f == FINE || f == ZERO_PORTS || f == EFFORT_MOST || f == UNKNOWN_KEYS;
        put_map(&m, f);
        enum drop drop = open_map(&s, m.b, writer_len(&m.w));
        cr_expect_eq(drop, is_fine ? DROP_NONE : DROP_FIELD, "fault %u: %s", f, drop_name(drop));
    }
}

Test(onion_descriptor, a_map_in_any_other_encoding_is_refused)
{
    struct sealed s = sealed_start();
    static struct map m;
    static const uint8_t no_map[] = { 0x91, 1 };
    put_map(&m, FINE);
    size_t len = writer_len(&m.w);
    cr_expect_eq(open_map(&s, m.b, len - 1), DROP_SHORT);
    cr_expect_eq(open_map(&s, m.b, len + 1), DROP_FIELD);
    cr_expect_eq(open_map(&s, no_map, sizeof no_map), DROP_FIELD);
    memmove(m.b + 2, m.b + 1, len - 1);
    m.b[0] = 0xde, m.b[1] = 0; /* map 16 with its second byte missing, then garbage */
    cr_expect_neq(open_map(&s, m.b, len + 1), DROP_NONE);
    put_map(&m, FINE);
    memmove(m.b + 2, m.b + 1, len - 1);
    m.b[1] = 0xcc; /* key 1 as uint8 */
    cr_expect_eq(open_map(&s, m.b, len + 1), DROP_FIELD);
    static const uint8_t huge[] = { 0xdf, 0xff, 0xff, 0xff, 0xff };
    cr_expect_neq(open_map(&s, huge, sizeof huge), DROP_NONE);
}

Test(onion_descriptor, ports_are_found_with_their_kind)
{
    struct sealed s = sealed_start();
    cr_expect(onion_inner_has_port(&s.inner, 22, ONION_PORT_STREAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_DATAGRAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_BOTH));
    cr_expect(onion_inner_has_port(&s.inner, 443, ONION_PORT_BOTH));
    cr_expect(onion_inner_has_port(&s.inner, 443, ONION_PORT_DATAGRAM));
    cr_expect_not(onion_inner_has_port(&s.inner, 80, ONION_PORT_STREAM));
    s.inner.n_ports = 0;
    cr_expect_not(onion_inner_has_port(&s.inner, 22, ONION_PORT_STREAM));
    s.inner.ask_ports = true;
    cr_expect(onion_inner_has_port(&s.inner, 80, ONION_PORT_STREAM));
}
