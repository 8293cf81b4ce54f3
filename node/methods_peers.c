#include <sodium.h>
#include <string.h>

#include "base/mp.h"
#include "node/methods.h"

/* ---- peers ----------------------------------------------------------------------------------- */

static void pack_counters(msgpack_packer *pk, const struct mesh_link_info *i)
{
    node__pack_kv_u64(pk, "rx_bytes", i->rx_bytes);
    node__pack_kv_u64(pk, "tx_bytes", i->tx_bytes);
    node__pack_kv_u64(pk, "rx_packets", i->rx_packets);
    node__pack_kv_u64(pk, "tx_packets", i->tx_packets);
    node__pack_kv_u64(pk, "rx_cells", i->rx_cells);
    node__pack_kv_u64(pk, "tx_cells", i->tx_cells);
    node__pack_kv_u64(pk, "dropped_cells", i->dropped_cells);
    node__pack_kv_u64(pk, "rekeys", i->rekeys);
    node__pack_kv_u64(pk, "roams", i->roams);
    node__pack_kv_u64(pk, "paths", i->paths);
}

static const char *link_state_name(enum mesh_link_state s)
{
    switch (s) {
    case MESH_LINK_DIALING:
        return "dialing";
    case MESH_LINK_UP:
        return "up";
    case MESH_LINK_CLOSING:
        return "closing";
    }
    return "unknown";
}

static void pack_peer(msgpack_packer *pk, const struct mesh_link_info *i, uint64_t now_ns)
{
    char addr[ENV_ADDR_TEXT], version[32];
    /* Another worker's clock may have been read after ours. */
    uint64_t up_ns = i->up_ns != 0 && i->up_ns < now_ns ? now_ns - i->up_ns : 0;
    snprintf(version, sizeof version, "%u.%u.%u", i->version[1], i->version[2], i->version[3]);
    msgpack_pack_map(pk, 21);
    node__pack_kv_u64(pk, "link", i->number);
    node__pack_kv_hex(pk, "id", i->has_id ? i->id : NULL);
    node__pack_kv_hex(pk, "key", i->key);
    node__pack_kv_str(pk, "state", link_state_name(i->state));
    node__pack_kv_str(pk, "address", env_addr_text(&i->addr, addr));
    node__pack_kv_bool(pk, "initiator", i->is_initiator);
    node__pack_kv_bool(pk, "listed", i->is_listed);
    node__pack_kv_str(pk, "cipher", i->is_gcm ? "aes-256-gcm" : "chacha20-poly1305");
    node__pack_kv_str(pk, "version", version);
    node__pack_kv_s(pk, "up", (double)up_ns / 1e9);
    node__pack_kv_ns(pk, "rtt", i->rtt_ns);
    pack_counters(pk, i);
}

void node__pack_peers(msgpack_packer *pk, struct node *n, const struct node_gathered *g)
{
    uint64_t now = env_now_ns(node_env(n));
    msgpack_pack_array(pk, g->n_links);
    for (size_t i = 0; i < g->n_links; i++)
        pack_peer(pk, &g->links[i], now);
}

static void reply_peers(struct node *n, struct node_call *call, const struct node_gathered *g)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    node__pack_peers(&pk, n, g);
    control_reply_buf(call, &buf);
}

void node__method_peers(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)params;
    node__gather_call(state, call, NODE_GATHER_LINKS, reply_peers);
}

/* ---- record ---------------------------------------------------------------------------------- */

void node__pack_addresses(msgpack_packer *pk, const struct mesh_node *m)
{
    mp_pack_str(pk, "addresses");
    msgpack_pack_array(pk, m->n_addrs);
    for (size_t i = 0; i < m->n_addrs; i++) {
        char text[ENV_ADDR_TEXT];
        const struct mesh_node_addr *a = &m->addrs[i];
        if (a->kind == 7)
            snprintf(text, sizeof text, "lora:%02x%02x%02x%02x", a->lora[0], a->lora[1], a->lora[2],
                     a->lora[3]);
        else
            (void)env_addr_text(&a->ip, text);
        mp_pack_str(pk, text);
    }
}

void node__pack_roles(msgpack_packer *pk, uint32_t roles)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = { { MESH_ROLE_RELAY_PATHS, "paths" },
                  { MESH_ROLE_HOST, "host" },
                  { MESH_ROLE_GATEWAY, "gateway" },
                  { MESH_ROLE_VALIDATOR, "validator" } };
    size_t n = 0;
    for (size_t i = 0; i < 4; i++)
        n += (roles & names[i].bit) != 0;
    mp_pack_str(pk, "roles");
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < 4; i++)
        if ((roles & names[i].bit) != 0)
            mp_pack_str(pk, names[i].name);
}

void node__pack_version(msgpack_packer *pk, const struct mesh_node *m)
{
    char version[32];
    snprintf(version, sizeof version, "%u.%u.%u", m->version[1], m->version[2], m->version[3]);
    node__pack_kv_str(pk, "version", version);
}

static void reply_record(struct node *n, struct node_call *call, const uint8_t *record, size_t len)
{
    struct mesh_node m;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    enum drop d = mesh_node_record_open(&m, mesh_network_of(node_mesh(n)), mesh_time(node_mesh(n)),
                                        record, len);
    if (d != DROP_NONE) {
        node_reply_error(call, CYX_ECORRUPT, "the record held does not hold up any more: %s",
                         drop_name(d));
        return;
    }
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 8);
    mp_pack_str(&pk, "record");
    mp_pack_bin(&pk, record, len);
    node__pack_kv_hex(&pk, "id", m.id);
    node__pack_kv_u64(&pk, "sequence", m.sequence);
    node__pack_kv_u64(&pk, "expiry", m.expiry);
    node__pack_addresses(&pk, &m);
    node__pack_version(&pk, &m);
    node__pack_roles(&pk, m.roles);
    node__pack_kv_u64(&pk, "capacity", (uint64_t)m.capacity * 1000);
    control_reply_buf(call, &buf);
}

/* A copy of the record whose id was asked for. */
struct record_find {
    struct node *n;
    const uint8_t *id;
    size_t len;
    uint8_t bytes[MESH_NODE_RECORD_MAX];
};

static void keep_record(void *arg, const uint8_t *record, size_t len)
{
    struct record_find *f = arg;
    struct mesh_node m;
    struct mesh *mesh = node_mesh(f->n);
    if (len > sizeof f->bytes ||
        mesh_node_record_open(&m, mesh_network_of(mesh), mesh_time(mesh), record, len) != DROP_NONE)
        return;
    if (memcmp(m.id, f->id, 32) != 0)
        return;
    memcpy(f->bytes, record, len);
    f->len = len;
}

static void find_record(struct node *n, const uint8_t id[static 32], struct record_find *f)
{
    size_t len = 0;
    struct mesh_link *l = mesh_link_by_id(node_mesh(n), id);
    const uint8_t *record = l != NULL ? mesh_link_record(l, &len) : NULL;
    *f = (struct record_find){ .n = n, .id = id };
    if (record != NULL)
        keep_record(f, record, len);
    if (f->len == 0) /* of all workers' peers */
        (void)mesh_known_nearest(node_mesh(n), id, 1, keep_record, f);
}

void node__method_record(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    struct record_find f;
    char hex[65];
    uint8_t id[32];
    size_t id_len = 0;
    int rc = node__param_str(params, "node", hex, sizeof hex);
    if (!node__needs_mesh(n, call))
        return;
    if (rc == 0) {
        uint8_t own[MESH_NODE_RECORD_MAX];
        size_t len = mesh_own_record(node_mesh(n), own);
        if (len == 0)
            node_reply_error(call, CYX_ENOENT, "this node has no record: %s",
                             n->config.mesh.is_listed
                                 ? "no address of it is known yet (set `advertise` in [mesh])"
                                 : "it isn't listed (`listed = true` in [mesh])");
        else
            reply_record(n, call, own, len);
        return;
    }
    if (rc < 0 || sodium_hex2bin(id, sizeof id, hex, strlen(hex), NULL, &id_len, NULL) != 0 ||
        id_len != 32) {
        node_reply_error(call, CYX_EINVAL, "`node` is an id of 64 hex digits");
        return;
    }
    find_record(n, id, &f);
    if (f.len == 0)
        node_reply_error(call, CYX_ENOENT, "no record of %.8s is known here", hex);
    else
        reply_record(n, call, f.bytes, f.len);
}
