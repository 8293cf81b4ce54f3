/* mesh/node_record.c - type 1: what a node says about itself. Spec: protocol.md, section 2. */
#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "base/reader.h"
#include "mesh/record.h"

enum key {
    KEY_LINK = 1,
    KEY_ONION = 2,
    KEY_ADDRS = 3,
    KEY_ROLES = 4,
    KEY_VERSION = 5,
    KEY_FAMILY = 6,
    KEY_PUZZLE = 7,
    KEY_CAPACITY = 8,
};

enum {
    ADDR_V4 = 4,
    ADDR_V6 = 6,
    ADDR_LORA = 7,
    BODY_MAX = MESH_NODE_RECORD_MAX - MESH_RECORD_HEAD - MESH_RECORD_SIGNATURE,
};

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

void mesh_node_id(uint8_t id[static 32], const uint8_t identity[static 32],
                  const uint8_t puzzle[static MESH_POW_PROOF])
{
    const struct bytes x[] = { BYTES(identity, 32), BYTES(puzzle, MESH_POW_PROOF) };
    crypto_h(id, "cyx node", x, 2);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool get_bin(const msgpack_object *map, enum key key, uint8_t *out, size_t n)
{
    const uint8_t *p;
    if (!mp_bin(mp_get_int(map, key), n, &p))
        return false;
    memcpy(out, p, n);
    return true;
}

static bool get_u32(const msgpack_object *map, enum key key, uint32_t *out)
{
    uint64_t v;
    if (!mp_u64(mp_get_int(map, key), &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

static enum drop ip_read(struct mesh_node_addr *a, const uint8_t *p, size_t n)
{
    bool is_v4 = a->kind == ADDR_V4;
    if (n != (is_v4 ? 6u : 18u))
        return DROP_FIELD;
    struct reader r = reader_on(p, n);
    if (is_v4)
        memcpy(a->ip.ip, v4_mapped, sizeof v4_mapped);
    reader_copy(&r, a->ip.ip + (is_v4 ? sizeof v4_mapped : 0), is_v4 ? 4 : 16);
    a->ip.port = reader_u16(&r);
    /* An IPv4 address has one form: prefix limits count it under its own /24. */
    if (a->ip.port == 0 || (!is_v4 && env_addr_is_v4(&a->ip)))
        return DROP_FIELD;
    return DROP_NONE;
}

static enum drop addr_read(struct mesh_node *out, const msgpack_object *o)
{
    struct mesh_node_addr a = { 0 };
    const uint8_t *p;
    size_t n;
    uint64_t kind;
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 2 ||
        !mp_u64(&o->via.array.ptr[0], &kind) || !mp_bin_any(&o->via.array.ptr[1], &p, &n))
        return DROP_FIELD;
    if (kind != ADDR_V4 && kind != ADDR_V6 && kind != ADDR_LORA)
        return DROP_NONE; /* a newer minor's: not for us */
    a.kind = (uint8_t)kind;
    if (kind == ADDR_LORA) {
        if (n != sizeof a.lora)
            return DROP_FIELD;
        memcpy(a.lora, p, sizeof a.lora);
    } else {
        enum drop drop = ip_read(&a, p, n);
        if (drop != DROP_NONE)
            return drop;
    }
    out->addrs[out->n_addrs++] = a;
    return DROP_NONE;
}

static enum drop addrs_read(struct mesh_node *out, const msgpack_object *o)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_ARRAY)
        return DROP_FIELD;
    if (o->via.array.size > MESH_ADDRS_MAX)
        return DROP_LIMIT;
    for (uint32_t i = 0; i < o->via.array.size; i++) {
        enum drop drop = addr_read(out, &o->via.array.ptr[i]);
        if (drop != DROP_NONE)
            return drop;
    }
    return DROP_NONE;
}

static enum drop fields_read(struct mesh_node *out, const msgpack_object *map)
{
    if (!get_bin(map, KEY_LINK, out->link_key, sizeof out->link_key) ||
        !get_bin(map, KEY_ONION, out->onion_key, sizeof out->onion_key) ||
        !get_u32(map, KEY_ROLES, &out->roles) ||
        !get_bin(map, KEY_VERSION, out->version, sizeof out->version) ||
        !get_bin(map, KEY_PUZZLE, out->puzzle, sizeof out->puzzle) ||
        !get_u32(map, KEY_CAPACITY, &out->capacity))
        return DROP_FIELD;
    if (out->version[0] == 0 || out->version[0] > out->version[1])
        return DROP_FIELD; /* lowest and highest major */
    out->has_family = mp_get_int(map, KEY_FAMILY) != NULL;
    if (out->has_family && !get_bin(map, KEY_FAMILY, out->family, sizeof out->family))
        return DROP_FIELD;
    return addrs_read(out, mp_get_int(map, KEY_ADDRS));
}

static enum drop body_read(struct mesh_node *out, const struct mesh_record *r)
{
    cleanup_mp struct mp_doc doc = { 0 };
    enum drop drop = mp_parse(&doc, r->body, r->body_len, &mp_wire_rules);
    if (drop != DROP_NONE)
        return drop;
    return doc.root.type == MSGPACK_OBJECT_MAP ? fields_read(out, &doc.root) : DROP_FIELD;
}

static enum drop puzzle_check(const struct mesh_node *n, const struct mesh_network *net)
{
    struct mesh_pow_subject s = { .purpose = MESH_POW_ID };
    memcpy(s.x, n->identity, sizeof s.x);
    return mesh_pow_check(&s, net->id_effort, n->puzzle) == DROP_NONE ? DROP_NONE : DROP_PROOF;
}

enum drop mesh_node_record_read(struct mesh_node *out, uint64_t now, const uint8_t *data,
                                size_t len)
{
    struct mesh_record r;
    struct mesh_node n = { 0 };
    if (len > MESH_NODE_RECORD_MAX)
        return DROP_LONG;
    enum drop drop = mesh_record_parse(&r, data, len);
    if (drop != DROP_NONE)
        return drop;
    if (r.type != MESH_RECORD_NODE)
        return DROP_TYPE;
    if (r.expiry <= now || r.expiry - now > MESH_NODE_RECORD_LIFE_S)
        return DROP_EXPIRED;
    n.sequence = r.sequence;
    n.expiry = r.expiry;
    memcpy(n.identity, r.publisher, sizeof n.identity);
    drop = body_read(&n, &r);
    if (drop != DROP_NONE)
        return drop;
    mesh_node_id(n.id, n.identity, n.puzzle);
    *out = n;
    return DROP_NONE;
}

enum drop mesh_node_record_open(struct mesh_node *out, const struct mesh_network *net, uint64_t now,
                                const uint8_t *data, size_t len)
{
    struct mesh_node n;
    enum drop drop = mesh_node_record_read(&n, now, data, len);
    if (drop == DROP_NONE)
        drop = puzzle_check(&n, net);
    if (drop == DROP_NONE)
        drop = mesh_record_verify(net, data, len, n.identity);
    if (drop == DROP_NONE)
        *out = n;
    return drop;
}

bool mesh_node_record_link_key(uint8_t out[static 32], const uint8_t *data, size_t len)
{
    struct mesh_record r;
    struct mesh_node n = { 0 };
    if (mesh_record_parse(&r, data, len) != DROP_NONE || r.type != MESH_RECORD_NODE ||
        body_read(&n, &r) != DROP_NONE)
        return false;
    memcpy(out, n.link_key, sizeof n.link_key);
    return true;
}

/* ---- building -------------------------------------------------------------------------------- */

static void addr_put(msgpack_packer *pk, const struct mesh_node_addr *a)
{
    uint8_t bin[18];
    struct writer w = writer_on(bin, sizeof bin);
    bool is_v4 = env_addr_is_v4(&a->ip);
    uint8_t kind = a->kind == ADDR_LORA ? ADDR_LORA : is_v4 ? ADDR_V4 : ADDR_V6;
    if (kind == ADDR_LORA) {
        writer_copy(&w, a->lora, sizeof a->lora);
    } else {
        writer_copy(&w, a->ip.ip + (is_v4 ? sizeof v4_mapped : 0), is_v4 ? 4 : 16);
        writer_u16(&w, a->ip.port);
    }
    msgpack_pack_array(pk, 2);
    msgpack_pack_uint8(pk, kind);
    mp_pack_bin(pk, bin, writer_len(&w));
}

static void put_bin(msgpack_packer *pk, enum key key, const uint8_t *p, size_t n)
{
    msgpack_pack_uint8(pk, (uint8_t)key);
    mp_pack_bin(pk, p, n);
}

static void put_u32(msgpack_packer *pk, enum key key, uint32_t v)
{
    msgpack_pack_uint8(pk, (uint8_t)key);
    msgpack_pack_uint32(pk, v);
}

static void body_put(struct writer *w, const struct mesh_node *n)
{
    msgpack_packer pk;
    mp_packer(&pk, w);
    msgpack_pack_map(&pk, n->has_family ? 8 : 7);
    put_bin(&pk, KEY_LINK, n->link_key, sizeof n->link_key);
    put_bin(&pk, KEY_ONION, n->onion_key, sizeof n->onion_key);
    msgpack_pack_uint8(&pk, KEY_ADDRS);
    msgpack_pack_array(&pk, n->n_addrs);
    for (size_t i = 0; i < n->n_addrs; i++)
        addr_put(&pk, &n->addrs[i]);
    put_u32(&pk, KEY_ROLES, n->roles);
    put_bin(&pk, KEY_VERSION, n->version, sizeof n->version);
    if (n->has_family)
        put_bin(&pk, KEY_FAMILY, n->family, sizeof n->family);
    put_bin(&pk, KEY_PUZZLE, n->puzzle, sizeof n->puzzle);
    put_u32(&pk, KEY_CAPACITY, n->capacity);
}

int mesh_node_record_build(const struct mesh_node *n, const struct mesh_network *net,
                           const uint8_t sign_sk[static 64],
                           uint8_t out[static MESH_NODE_RECORD_MAX])
{
    uint8_t body[BODY_MAX];
    struct writer w = writer_on(body, sizeof body);
    if (n->n_addrs > MESH_ADDRS_MAX)
        return CYX_EINVAL;
    body_put(&w, n);
    if (!writer_ok(&w))
        return CYX_EFULL;
    struct mesh_record r = { .type = MESH_RECORD_NODE,
                             .sequence = n->sequence,
                             .expiry = n->expiry,
                             .body = body,
                             .body_len = writer_len(&w) };
    memcpy(r.publisher, n->identity, sizeof r.publisher);
    return mesh_record_build(net, &r, sign_sk, out, MESH_NODE_RECORD_MAX);
}
