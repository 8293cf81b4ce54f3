/* `dht-get`, `dht-find`, `dht-stats`. A lookup belongs to its call: when the caller goes away, it
 * is taken back. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/methods_dht_internal.h"

/* ---- shared with publishing ------------------------------------------------------------------ */

bool node__dht_may_ask(struct node *n, struct node_call *call, const msgpack_object *params)
{
    if (!node__needs_mesh(n, call))
        return false;
    if (n->dht == NULL) {
        node_reply_error(call, CYX_EAGAIN, "the DHT is not up yet: try again in a moment");
        return false;
    }
    if (!n->config.mesh.is_listed && !node__param_bool(params, "direct")) {
        node_reply_error(
            call, CYX_EPERM,
            "this node is not listed, and every node that it asks would see its "
            "address together with the key. Onion paths will carry such lookups; until "
            "then say `direct` (--direct) if that does not matter, or be listed "
            "(`listed = true` in [mesh])");
        return false;
    }
    return true;
}

void node__dht_progress(struct node *n, struct node_call *call, const char *stage,
                        uint64_t began_ns)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    node__pack_kv_str(&pk, "stage", stage);
    node__pack_kv_s(&pk, "seconds", (double)(env_now_ns(node_env(n)) - began_ns) / 1e9);
    node_progress(call, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
}

/* ---- a lookup -------------------------------------------------------------------------------- */

struct lookup {
    struct node *n;
    struct node_call *call;
    struct dht_find *find;
    const struct dht_type *type; /* NULL: nodes */
    uint8_t key[DHT_ID];
    uint64_t began_ns;
    struct env_timer timer; /* progress */
};

static void on_timer(struct env_timer *t, void *arg)
{
    struct lookup *l = arg;
    node__dht_progress(l->n, l->call, "asking", l->began_ns);
    env_timer_in(node_env(l->n), t, ENV_MS(DHT_PROGRESS_MS));
}

static void on_cancelled(void *arg)
{
    struct lookup *l = arg;
    env_timer_stop(node_env(l->n), &l->timer);
    dht_find_cancel(l->find);
    free(l);
}

/* ---- what was found -------------------------------------------------------------------------- */

static void pack_node_fields(msgpack_packer *pk, struct node *n, const struct dht_value *v)
{
    struct mesh_node m;
    if (mesh_node_record_open(&m, mesh_network_of(node_mesh(n)), mesh_time(node_mesh(n)), v->data,
                              v->len) != DROP_NONE) {
        msgpack_pack_map(pk, 0); /* it expired between proof and here */
        return;
    }
    msgpack_pack_map(pk, 5);
    node__pack_kv_hex(pk, "id", m.id);
    node__pack_addresses(pk, &m);
    node__pack_version(pk, &m);
    node__pack_roles(pk, m.roles);
    node__pack_kv_u64(pk, "capacity", (uint64_t)m.capacity * 1000);
}

static void pack_descriptor_fields(msgpack_packer *pk, const struct dht_value *v)
{
    struct dht_descriptor d;
    if (!dht_descriptor_read(&d, v)) {
        msgpack_pack_map(pk, 0);
        return;
    }
    msgpack_pack_map(pk, 4);
    node__pack_kv_hex(pk, "blinded", d.blinded);
    node__pack_kv_u64(pk, "period", d.period);
    node__pack_kv_u64(pk, "serial", d.serial);
    node__pack_kv_u64(pk, "sealed", d.inner_len);
}

static void pack_provider_fields(msgpack_packer *pk, const struct dht_value *v)
{
    struct dht_provider p;
    if (!dht_provider_read(&p, v)) {
        msgpack_pack_map(pk, 0);
        return;
    }
    msgpack_pack_map(pk, 3);
    node__pack_kv_hex(pk, "content", p.content);
    node__pack_kv_u64(pk, "size", p.size);
    node__pack_kv_hex(pk, "address", p.address);
}

/* The map as it is, when it fits what clients of the control socket read. */
static void pack_offer_fields(msgpack_packer *pk, msgpack_sbuffer *buf, const struct dht_value *v)
{
    struct dht_offer o;
    bool is_offer = dht_offer_read(&o, v);
    msgpack_pack_map(pk, 1);
    mp_pack_str(pk, "map");
    if (!is_offer || mp_check(o.map, o.map_len, &mp_local_rules) != DROP_NONE ||
        msgpack_sbuffer_write(buf, (const char *)o.map, o.map_len) != 0)
        msgpack_pack_nil(pk);
}

static void pack_fields(msgpack_packer *pk, msgpack_sbuffer *buf, struct node *n,
                        const struct dht_value *v)
{
    switch ((enum mesh_record_type)v->type->number) {
    case MESH_RECORD_NODE:
        pack_node_fields(pk, n, v);
        return;
    case MESH_RECORD_DESCRIPTOR:
        pack_descriptor_fields(pk, v);
        return;
    case MESH_RECORD_PROVIDER:
        pack_provider_fields(pk, v);
        return;
    case MESH_RECORD_OFFER:
        pack_offer_fields(pk, buf, v);
        return;
    case MESH_RECORD_NAME:
        break; /* refused in version 1 */
    }
    msgpack_pack_map(pk, 0);
}

static void pack_value(msgpack_packer *pk, msgpack_sbuffer *buf, struct node *n,
                       const struct dht_value *v)
{
    uint64_t now = mesh_time(node_mesh(n));
    msgpack_pack_map(pk, 7);
    node__pack_kv_str(pk, "type", v->type->name);
    node__pack_kv_hex(pk, "publisher", v->head.publisher);
    node__pack_kv_u64(pk, "sequence", v->head.sequence);
    node__pack_kv_u64(pk, "expiry", v->head.expiry);
    node__pack_kv_u64(pk, "expires_in", v->head.expiry > now ? v->head.expiry - now : 0);
    mp_pack_str(pk, "record");
    mp_pack_bin(pk, v->data, v->len);
    mp_pack_str(pk, "fields");
    pack_fields(pk, buf, n, v);
}

static void pack_found_node(msgpack_packer *pk, struct node *n, const uint8_t *key,
                            const struct dht_node *d)
{
    struct mesh_node m;
    char addr[ENV_ADDR_TEXT] = "";
    if (mesh_node_record_open(&m, mesh_network_of(node_mesh(n)), mesh_time(node_mesh(n)), d->record,
                              d->len) != DROP_NONE)
        m.n_addrs = 0;
    for (size_t i = m.n_addrs; i-- > 0;) /* the first IP address */
        if (m.addrs[i].kind != 7)
            (void)env_addr_text(&m.addrs[i].ip, addr);
    msgpack_pack_map(pk, 3);
    node__pack_kv_hex(pk, "id", d->id);
    node__pack_kv_str(pk, "address", addr);
    node__pack_kv_u64(pk, "shared", dht_id_shared(key, d->id));
}

static void pack_figures(msgpack_packer *pk, const struct lookup *l, const struct dht_found *f)
{
    node__pack_kv_hex(pk, "key", l->key);
    node__pack_kv_bool(pk, "cached", f->is_cached);
    node__pack_kv_u64(pk, "asked", f->asked);
    node__pack_kv_u64(pk, "answered", f->answered);
    node__pack_kv_u64(pk, "hops", f->hops);
    node__pack_kv_s(pk, "time", (double)f->ns / 1e9);
}

static void reply_found(const struct lookup *l, const struct dht_found *f)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 7);
    pack_figures(&pk, l, f);
    if (l->type != NULL) {
        mp_pack_str(&pk, "records");
        msgpack_pack_array(&pk, f->n_values);
        for (size_t i = 0; i < f->n_values; i++)
            pack_value(&pk, &buf, l->n, &f->values[i]);
    } else {
        mp_pack_str(&pk, "nodes");
        msgpack_pack_array(&pk, f->n_nodes);
        for (size_t i = 0; i < f->n_nodes; i++)
            pack_found_node(&pk, l->n, l->key, &f->nodes[i]);
    }
    control_reply_buf(l->call, &buf);
}

static void reply_not_found(const struct lookup *l, int code, const struct dht_found *f)
{
    char key[17];
    sodium_bin2hex(key, sizeof key, l->key, 8);
    switch (code) {
    case CYX_ENOENT:
        node_reply_error(l->call, code, "no %s record at %s...: %u nodes asked, %u answered",
                         l->type != NULL ? l->type->name : "node", key, f->asked, f->answered);
        break;
    case CYX_ETIMEDOUT:
        node_reply_error(l->call, code,
                         "%u nodes asked, none answered: see `cyx doctor` whether this node has "
                         "links",
                         f->asked);
        break;
    case CYX_EAGAIN:
        node_reply_error(l->call, code,
                         "no node is known to ask: this node has not joined yet (`cyx doctor`)");
        break;
    case CYX_ECANCELED:
        node_reply_error(l->call, code, "the daemon is stopping");
        break;
    default:
        node_reply_error(l->call, code, "the lookup failed (%s)", cyx_code_name(code));
    }
}

static void on_found(void *arg, int code, const struct dht_found *f)
{
    static const struct dht_found none;
    struct lookup *l = arg;
    env_timer_stop(node_env(l->n), &l->timer);
    control_on_cancel(l->call, NULL, NULL);
    if (code == 0)
        reply_found(l, f);
    else
        reply_not_found(l, code, f != NULL ? f : &none);
    free(l);
}

static void begin(const struct lookup *wanted, unsigned flags)
{
    struct lookup *l = malloc(sizeof *l);
    int rc = CYX_ENOMEM;
    if (l != NULL) {
        *l = *wanted;
        l->began_ns = env_now_ns(node_env(l->n));
        rc = dht_find(l->n->dht, l->key, l->type != NULL ? l->type->number : 0, flags, on_found, l,
                      &l->find);
    }
    if (rc < 0) {
        node_reply_error(wanted->call, rc,
                         rc == CYX_EFULL ? "too many lookups wait already: try again in a moment"
                                         : "the lookup can't begin");
        free(l);
        return;
    }
    control_on_cancel(l->call, on_cancelled, l);
    env_timer_init(&l->timer, on_timer, l);
    env_timer_in(node_env(l->n), &l->timer, ENV_MS(DHT_PROGRESS_MS));
}

/* ---- the methods ----------------------------------------------------------------------------- */

/* `key`, or `content` of a provider record. */
static int read_key(struct lookup *l, const msgpack_object *params)
{
    uint8_t content[32];
    int key = node__param_hex(params, "key", l->key);
    int by_content = node__param_hex(params, "content", content);
    if (key < 0 || by_content < 0 || key + by_content != 1)
        return CYX_EINVAL;
    if (by_content == 0)
        return 0;
    if (l->type == NULL || l->type->number != MESH_RECORD_PROVIDER)
        return CYX_EINVAL;
    dht_provider_place(l->key, content);
    return 0;
}

void node__method_dht_get(void *state, struct node_call *call, const msgpack_object *params)
{
    struct lookup l = { .n = state, .call = call };
    char type[16] = "";
    if (!node__dht_may_ask(l.n, call, params))
        return;
    if (node__param_str(params, "type", type, sizeof type) == 1)
        l.type = dht_type_by_name(type);
    if (l.type == NULL) {
        node_reply_error(call, CYX_EINVAL, "`type` is node, descriptor, provider or offer");
        return;
    }
    if (read_key(&l, params) < 0) {
        node_reply_error(call, CYX_EINVAL,
                         "want `key`, 64 hex digits, or for provider records `content` instead");
        return;
    }
    begin(&l, node__param_bool(params, "fresh") ? DHT_FIND_FRESH : 0);
}

void node__method_dht_find(void *state, struct node_call *call, const msgpack_object *params)
{
    struct lookup l = { .n = state, .call = call };
    if (!node__dht_may_ask(l.n, call, params))
        return;
    if (node__param_hex(params, "key", l.key) != 1) {
        node_reply_error(call, CYX_EINVAL, "`key` is 64 hex digits");
        return;
    }
    begin(&l, DHT_FIND_NODES);
}

static void pack_stored_of(msgpack_packer *pk, const struct dht_stats *s)
{
    const struct dht_type *t;
    uint32_t n = 0;
    while (dht_type_at(n) != NULL)
        n++;
    mp_pack_str(pk, "stored_of");
    msgpack_pack_map(pk, n);
    for (size_t i = 0; (t = dht_type_at(i)) != NULL; i++)
        node__pack_kv_u64(pk, t->name, s->stored_of[t->number]);
}

void node__pack_dht(msgpack_packer *pk, struct node *n)
{
    struct dht_stats s;
    if (n->dht == NULL) {
        msgpack_pack_nil(pk);
        return;
    }
    dht_get_stats(n->dht, &s);
    msgpack_pack_map(pk, 18);
    node__pack_kv_bool(pk, "ready", s.is_ready);
    node__pack_kv_bool(pk, "serving", n->config.dht.is_serving);
    node__pack_kv_u64(pk, "contacts", s.contacts);
    node__pack_kv_u64(pk, "buckets", s.buckets);
    node__pack_kv_u64(pk, "replacements", s.replacements);
    node__pack_kv_u64(pk, "stored", s.stored);
    node__pack_kv_u64(pk, "stored_bytes", s.stored_bytes);
    node__pack_kv_u64(pk, "store_max", s.store_max);
    pack_stored_of(pk, &s);
    node__pack_kv_u64(pk, "sources", s.sources);
    node__pack_kv_u64(pk, "publishers", s.publishers);
    node__pack_kv_u64(pk, "roster", s.roster);
    node__pack_kv_u64(pk, "roster_max", s.roster_max);
    node__pack_kv_u64(pk, "lookups", s.lookups);
    node__pack_kv_u64(pk, "waiting", s.waiting);
    node__pack_kv_u64(pk, "cached", s.cached);
    node__pack_kv_u64(pk, "own", s.own);
    node__pack_kv_u64(pk, "estimate", s.estimate);
}

void node__method_dht_stats(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    if (!node__needs_mesh(n, call))
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    node__pack_dht(&pk, n);
    control_reply_buf(call, &buf);
}
