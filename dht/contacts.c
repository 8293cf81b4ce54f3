/* dht/contacts.c - who gets into the table: listed nodes that we reached at an address of their
 * record. A bucket that is full makes its most silent contact prove that it lives. */
#include <stdlib.h>

#include "base/mp.h"

#include "dht/dht_internal.h"

/* A ping before eviction: an empty FIND, which a node that serves answers. */
struct dht__probe {
    struct list node;
    struct dht *d;
    struct mesh_ask *ask;
    uint8_t id[DHT_ID];
};

static void probe_end(struct dht__probe *p)
{
    list_del(&p->node);
    p->d->n_probes--;
    free(p);
}

static void probed(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct dht__probe *p = arg;
    struct dht *d = p->d;
    uint8_t id[DHT_ID];
    (void)status;
    (void)items;
    (void)n;
    memcpy(id, p->id, sizeof id);
    probe_end(p);
    if (code == 0)
        dht_table_answered(d->table, id, dht__now(d));
    else
        dht__failed(d, id);
}

static void probe(struct dht *d, const struct dht_contact *c)
{
    uint8_t buf[64];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    struct dht__probe *p = d->n_probes < DHT_PROBES ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        dht_table_unprobe(d->table, c->to.id);
        return;
    }
    p->d = d;
    memcpy(p->id, c->to.id, sizeof p->id);
    list_init(&p->node);
    list_push_back(&d->probes, &p->node);
    d->n_probes++;
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, d->self, DHT_ID);
    msgpack_pack_uint32(&pk, 0);
    msgpack_pack_uint32(&pk, 0);
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = 3 };
    d->n.probes++;
    int code = mesh_ask(d->mesh, &c->to, MESH_METHOD_FIND, &items, DHT_ASK_MS, probed, p, &p->ask);
    if (code == 0)
        return;
    probe_end(p);
    memcpy(buf, c->to.id, DHT_ID);
    if (code == CYX_EBUSY) /* its address rests: others asked, and it did not answer */
        dht__failed(d, buf);
    else /* our links or queues are full: whoever fills them must not cost others their place */
        dht_table_unprobe(d->table, buf);
}

void dht__seen(struct dht *d, const struct mesh_node *node, const struct mesh_contact *to,
               const uint8_t *record, size_t len)
{
    struct dht_sighting s = { .to = *to, .sequence = node->sequence, .record = record, .len = len };
    const struct dht_contact *stale;
    d->heard_ns = dht__now(d);
    enum dht_seen seen = dht_table_seen(d->table, &s, dht__now(d), &stale);
    if (d->sync != NULL)
        dht_sync_heard(d->sync, node, record, len, true);
    if (seen == DHT_SEEN_NO)
        d->n.refused_prefix++;
    if (stale != NULL)
        probe(d, stale);
    const struct dht_contact *c = seen == DHT_SEEN_ADDED ? dht_table_get(d->table, node->id) : NULL;
    if (c != NULL)
        dht__upkeep_met(d, c);
}

/* Is the uplink dead, as far as we can tell? (The answers of other workers' peers come to us as
 * sightings.) */
static bool is_dark(const struct dht *d)
{
    uint64_t heard = mesh_heard_ns(d->mesh);
    if (d->heard_ns > heard)
        heard = d->heard_ns;
    return dht__now(d) - heard > ENV_MS(DHT_DARK_MS);
}

void dht__failed(struct dht *d, const uint8_t id[static DHT_ID])
{
    if (is_dark(d)) {
        d->n.failures_dark++;
        return;
    }
    if (!dht_table_failed(d->table, id))
        return;
    d->n.evictions++;
    dht__upkeep_lost(d, id);
}

/* ---- links ----------------------------------------------------------------------------------- */

static bool lists_address(const struct mesh_node *n, const struct env_addr *a)
{
    for (size_t i = 0; i < n->n_addrs; i++)
        if (n->addrs[i].kind != 7 && env_addr_equal(&n->addrs[i].ip, a))
            return true;
    return false;
}

/* A link's record came. It was proven by the mesh; that its node can be reached, by our having
 * dialled it, or by its calling from an address that it lists. */
static void link_known(void *arg, struct mesh_link *l)
{
    struct dht *d = arg;
    struct mesh_link_info info;
    struct mesh_node node;
    size_t len;
    const uint8_t *record = mesh_link_record(l, &len);
    mesh_link_info(l, &info);
    if (record == NULL || !info.has_id ||
        mesh_node_record_form(&node, mesh_time(d->mesh), record, len) != DROP_NONE ||
        (!info.is_initiator && !lists_address(&node, &info.addr)))
        return;
    struct mesh_contact to = { .addr = info.addr };
    memcpy(to.id, node.id, sizeof to.id);
    memcpy(to.link_key, node.link_key, sizeof to.link_key);
    dht__seen(d, &node, &to, record, len);
}

static bool add_known(void *arg, struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.state == MESH_LINK_UP)
        link_known(arg, l);
    return true;
}

void dht__contacts_start(struct dht *d)
{
    d->watcher = (struct mesh_watcher){ .link_known = link_known, .arg = d };
    mesh_watch(d->mesh, &d->watcher);
    mesh_links_each(d->mesh, add_known, d);
}

void dht__contacts_stop(struct dht *d)
{
    mesh_unwatch(&d->watcher);
    while (!list_empty(&d->probes)) {
        struct dht__probe *p = container_of(d->probes.next, struct dht__probe, node);
        if (p->ask != NULL)
            mesh_ask_cancel(p->ask);
        dht_table_unprobe(d->table, p->id);
        probe_end(p);
    }
}
