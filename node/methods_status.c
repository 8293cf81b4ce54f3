#include <string.h>

#include "base/mp.h"
#include "node/methods.h"
#include "node/onion_node.h"
#include "node/roles.h"

static const char *time_state_name(enum mesh_time_state s)
{
    switch (s) {
    case MESH_TIME_OWN:
        return "own";
    case MESH_TIME_MEDIAN:
        return "median";
    case MESH_TIME_UNCHECKED:
        return "unchecked";
    case MESH_TIME_REFUSED:
        return "refused";
    case MESH_TIME_UNSET:
        return "unset";
    }
    return "unknown";
}

static void pack_addr(msgpack_packer *pk, const char *key, const struct env_addr *a)
{
    char text[ENV_ADDR_TEXT];
    node__pack_kv_str(pk, key, env_addr_text(a, text));
}

static void pack_roles(msgpack_packer *pk, const struct node *n)
{
    static const char *const health[] = { "healthy", "degraded", "failed" };
    size_t count = roles_len(n->roles);
    mp_pack_str(pk, "roles");
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) {
        char text[256];
        enum node_health h = roles_health(n->roles, i, text, sizeof text);
        msgpack_pack_map(pk, 3);
        node__pack_kv_str(pk, "name", roles_at(n->roles, i)->name);
        node__pack_kv_str(pk, "health", (unsigned)h < 3 ? health[h] : "failed");
        node__pack_kv_str(pk, "text", text);
    }
}

static void pack_mesh(msgpack_packer *pk, const struct mesh_status *s)
{
    node__pack_kv_u64(pk, "time", s->time);
    node__pack_kv_str(pk, "time_state", time_state_name(s->time_state));
    node__pack_kv_s(pk, "time_offset", (double)s->time_offset_ms / 1000);
    node__pack_kv_u64(pk, "links", s->links);
    node__pack_kv_u64(pk, "links_listed", s->links_listed);
    node__pack_kv_u64(pk, "known", s->known);
    node__pack_kv_u64(pk, "bootstrap_total", s->bootstrap_total);
    node__pack_kv_u64(pk, "bootstrap_up", s->bootstrap_up);
    if (s->is_started)
        pack_addr(pk, "local", &s->local);
    else
        node__pack_kv_nil(pk, "local");
    if (s->has_observed)
        pack_addr(pk, "observed", &s->observed);
    else
        node__pack_kv_nil(pk, "observed");
    node__pack_kv_bool(pk, "reachable", s->inbound_seen);
    node__pack_kv_bool(pk, "gso", s->gso);
    node__pack_kv_bool(pk, "gro", s->gro);
    node__pack_kv_bool(pk, "dual_stack", s->dual_stack);
}

static void pack_onion(msgpack_packer *pk, struct node *n)
{
    struct onion_summary o;
    if (n->onion == NULL) {
        msgpack_pack_nil(pk);
        return;
    }
    onion_get_status(n->onion, &o);
    msgpack_pack_map(pk, 9);
    node__pack_onion(pk, &o);
}

/* Is the identity one that a kill could still take back? Nobody is told it before it is on disk. */
static bool is_id_unsaved(const struct node *n)
{
    return n->is_identity_new && n->state == NODE_STARTING;
}

void node__pack_status(msgpack_packer *pk, struct node *n, const struct mesh_status *s)
{
    uint64_t now = env_now_ns(node_env(n));
    const struct mesh_config *m = &n->config.mesh;
    msgpack_pack_map(pk, 29);
    const bool has_id = n->identity->has_puzzle && !is_id_unsaved(n);
    node__pack_kv_str(pk, "version", CYX_VERSION);
    node__pack_kv_hex(pk, "id", has_id ? n->identity->id : NULL);
    node__pack_kv_bool(pk, "listed", m->is_listed);
    node__pack_kv_str(pk, "network", m->network.name);
    node__pack_kv_bool(pk, "lab", m->network.is_lab);
    node__pack_kv_str(pk, "state", node__state_name(n->state));
    node__pack_kv_s(pk, "uptime", (double)(now - n->started_ns) / 1e9);
    node__pack_kv_ns(pk, "ready_after", n->ready_ns != 0 ? n->ready_ns - n->started_ns : 0);
    pack_mesh(pk, s);
    node__pack_kv_u64(pk, "workers", workers_len(n->workers));
    mp_pack_str(pk, "dht");
    node__pack_dht(pk, n);
    mp_pack_str(pk, "onion");
    pack_onion(pk, n);
    pack_roles(pk, n);
    node__pack_kv_u64(pk, "rss", node__rss(n));
    node__pack_kv_str(pk, "data_dir", n->config.data_dir);
    node__pack_kv_str(pk, "config", n->config.path);
}

static void reply_status(struct node *n, struct node_call *call, const struct node_gathered *g)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    node__pack_status(&pk, n, &g->status);
    control_reply_buf(call, &buf);
}

void node__method_status(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)params;
    node__gather_call(state, call, NODE_GATHER_STATUS, reply_status);
}

void node__method_version(void *state, struct node_call *call, const msgpack_object *params)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    char protocol[32];
    (void)state;
    (void)params;
    snprintf(protocol, sizeof protocol, "%d.%d.%d", MESH_MAJOR, MESH_VERSION_MINOR,
             MESH_VERSION_PATCH);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 3);
    node__pack_kv_str(&pk, "version", CYX_VERSION);
    node__pack_kv_str(&pk, "protocol", protocol);
    node__pack_kv_u64(&pk, "abi", NODE_ROLE_ABI);
    control_reply_buf(call, &buf);
}

/* The fingerprint is what two people compare by voice: 16 digits of the id in groups of four, or of
 * the identity key where there is no id. */
static void fingerprint(const struct mesh_identity *i, char out[static 20])
{
    const uint8_t *from = i->has_puzzle ? i->id : i->sign_pk;
    snprintf(out, 20, "%02x%02x %02x%02x %02x%02x %02x%02x", from[0], from[1], from[2], from[3],
             from[4], from[5], from[6], from[7]);
}

void node__method_id(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    struct mesh_contact contact;
    char text[MESH_CONTACT_TEXT], print[20];
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    if (is_id_unsaved(n)) {
        node_reply_error(call, CYX_EAGAIN,
                         "this node is starting: its new identity is not on disk "
                         "yet; ask again in a moment");
        return;
    }
    const bool has_contact = node_mesh(n) != NULL && n->identity->has_puzzle;
    fingerprint(n->identity, print);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 4);
    node__pack_kv_hex(&pk, "id", n->identity->has_puzzle ? n->identity->id : NULL);
    node__pack_kv_hex(&pk, "identity", n->identity->sign_pk);
    if (has_contact) {
        mesh_own_contact(node_mesh(n), &contact);
        node__pack_kv_str(&pk, "contact", mesh_contact_text(&contact, text));
    } else {
        node__pack_kv_nil(&pk, "contact");
    }
    node__pack_kv_str(&pk, "fingerprint", print);
    control_reply_buf(call, &buf);
}
