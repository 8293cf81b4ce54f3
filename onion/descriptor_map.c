/* onion/descriptor_map.c - the map inside a descriptor: 1 service key, 2 pivots, 3 ports, 4 proof,
 * 5 handshake types. Spec: protocol.md, section 12. */
#include <string.h>

#include "base/mp.h"
#include "onion/descriptor_internal.h"

enum key {
    KEY_SERVICE = 1,
    KEY_PIVOTS = 2,
    KEY_PORTS = 3,
    KEY_PROOF = 4,
    KEY_HANDSHAKES = 5,
};

bool onion_inner_has_port(const struct onion_inner *in, uint16_t port, enum onion_port_kind kind)
{
    for (size_t i = 0; i < in->n_ports && !in->ask_ports; i++)
        if (in->ports[i].port == port)
            return (in->ports[i].kind & kind) == kind;
    return in->ask_ports;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static bool pivots_are_valid(const struct onion_inner *in)
{
    if (in->n_pivots < 1 || in->n_pivots > ONION_PIVOTS_MAX)
        return false;
    for (size_t i = 0; i < in->n_pivots; i++)
        for (size_t j = 0; j < i; j++)
            if (memcmp(in->pivots[i].id, in->pivots[j].id, sizeof in->pivots[i].id) == 0)
                return false;
    return true;
}

static bool ports_are_valid(const struct onion_inner *in)
{
    uint16_t last = 0; /* port 0 is none */
    if (in->n_ports > ONION_PORTS_MAX || (in->ask_ports && in->n_ports > 0))
        return false;
    for (size_t i = 0; i < in->n_ports; i++) {
        const struct onion_port *p = &in->ports[i];
        if (p->port <= last || p->kind < ONION_PORT_STREAM || p->kind > ONION_PORT_BOTH)
            return false;
        last = p->port;
    }
    return true;
}

bool desc__inner_is_valid(const struct onion_inner *in)
{
    return pivots_are_valid(in) && ports_are_valid(in) && in->effort <= MESH_POW_EFFORT_MAX &&
           in->handshakes != 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void pivots_put(msgpack_packer *pk, const struct onion_inner *in)
{
    msgpack_pack_uint8(pk, KEY_PIVOTS);
    msgpack_pack_array(pk, in->n_pivots);
    for (size_t i = 0; i < in->n_pivots; i++) {
        msgpack_pack_array(pk, 2);
        mp_pack_bin(pk, in->pivots[i].id, sizeof in->pivots[i].id);
        mp_pack_bin(pk, in->pivots[i].token, sizeof in->pivots[i].token);
    }
}

static void ports_put(msgpack_packer *pk, const struct onion_inner *in)
{
    msgpack_pack_uint8(pk, KEY_PORTS);
    if (in->ask_ports) {
        msgpack_pack_nil(pk);
        return;
    }
    msgpack_pack_array(pk, in->n_ports);
    for (size_t i = 0; i < in->n_ports; i++) {
        msgpack_pack_array(pk, 2);
        msgpack_pack_uint16(pk, in->ports[i].port);
        msgpack_pack_uint8(pk, in->ports[i].kind);
    }
}

static void proof_put(msgpack_packer *pk, const struct onion_inner *in)
{
    msgpack_pack_uint8(pk, KEY_PROOF);
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, in->seed, sizeof in->seed);
    msgpack_pack_uint32(pk, in->effort);
}

void desc__map_put(struct writer *w, const struct onion_inner *in)
{
    msgpack_packer pk;
    mp_packer(&pk, w);
    msgpack_pack_map(&pk, in->has_proof ? 5 : 4);
    msgpack_pack_uint8(&pk, KEY_SERVICE);
    mp_pack_bin(&pk, in->service_key, sizeof in->service_key);
    pivots_put(&pk, in);
    ports_put(&pk, in);
    if (in->has_proof)
        proof_put(&pk, in);
    msgpack_pack_uint8(&pk, KEY_HANDSHAKES);
    msgpack_pack_uint32(&pk, in->handshakes);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The items of an array of `least` to `most`, or NULL. */
static const msgpack_object *items(const msgpack_object *o, size_t least, size_t most, size_t *n)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < least ||
        o->via.array.size > most)
        return NULL;
    *n = o->via.array.size;
    return o->via.array.ptr;
}

static bool get_bin(const msgpack_object *o, uint8_t *out, size_t n)
{
    const uint8_t *p;
    if (!mp_bin(o, n, &p))
        return false;
    memcpy(out, p, n);
    return true;
}

/* An unsigned integer up to `most`. */
static bool get_up_to(const msgpack_object *o, uint64_t most, uint64_t *out)
{
    return mp_u64(o, out) && *out <= most;
}

static bool pivots_read(struct onion_inner *in, const msgpack_object *o)
{
    size_t two;
    const msgpack_object *list = items(o, 1, ONION_PIVOTS_MAX, &in->n_pivots);
    for (size_t i = 0; list != NULL && i < in->n_pivots; i++) {
        const msgpack_object *pair = items(&list[i], 2, 2, &two);
        if (pair == NULL || !get_bin(&pair[0], in->pivots[i].id, sizeof in->pivots[i].id) ||
            !get_bin(&pair[1], in->pivots[i].token, sizeof in->pivots[i].token))
            return false;
    }
    return list != NULL;
}

static bool ports_read(struct onion_inner *in, const msgpack_object *o)
{
    size_t n = 0, two;
    if (o != NULL && o->type == MSGPACK_OBJECT_NIL) {
        in->ask_ports = true;
        return true;
    }
    const msgpack_object *list = items(o, 0, ONION_PORTS_MAX, &n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        const msgpack_object *pair = items(&list[i], 2, 2, &two);
        uint64_t port, kind;
        if (pair == NULL || !get_up_to(&pair[0], UINT16_MAX, &port) ||
            !get_up_to(&pair[1], ONION_PORT_BOTH, &kind))
            return false;
        in->ports[i] = (struct onion_port){ .port = (uint16_t)port, .kind = (uint8_t)kind };
    }
    in->n_ports = n;
    return o != NULL && o->type == MSGPACK_OBJECT_ARRAY && (n == 0 || list != NULL);
}

static bool proof_read(struct onion_inner *in, const msgpack_object *o)
{
    size_t two;
    uint64_t effort;
    if (o == NULL)
        return true;
    const msgpack_object *pair = items(o, 2, 2, &two);
    if (pair == NULL || !get_bin(&pair[0], in->seed, sizeof in->seed) ||
        !get_up_to(&pair[1], MESH_POW_EFFORT_MAX, &effort))
        return false;
    in->has_proof = true;
    in->effort = (uint32_t)effort;
    return true;
}

static bool fields_read(struct onion_inner *in, const msgpack_object *map)
{
    uint64_t handshakes;
    if (!get_bin(mp_get_int(map, KEY_SERVICE), in->service_key, sizeof in->service_key) ||
        !get_up_to(mp_get_int(map, KEY_HANDSHAKES), UINT32_MAX, &handshakes))
        return false;
    in->handshakes = (uint32_t)handshakes;
    return pivots_read(in, mp_get_int(map, KEY_PIVOTS)) &&
           ports_read(in, mp_get_int(map, KEY_PORTS)) &&
           proof_read(in, mp_get_int(map, KEY_PROOF)) && desc__inner_is_valid(in);
}

enum drop desc__map_read(struct onion_inner *out, const uint8_t *data, size_t len)
{
    cleanup_mp struct mp_doc doc = { 0 };
    struct onion_inner in = { 0 };
    enum drop drop = mp_parse(&doc, data, len, &mp_wire_rules);
    if (drop != DROP_NONE)
        return drop;
    if (doc.root.type != MSGPACK_OBJECT_MAP || !fields_read(&in, &doc.root))
        return DROP_FIELD;
    *out = in;
    return DROP_NONE;
}
