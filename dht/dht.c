/* dht/dht.c - a DHT's life, and what is known about it. */
#include "dht/dht.h"

#include <stdlib.h>

#include "dht/dht_internal.h"
#include "dht/store_internal.h"
#include "dht/table_internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void init_lists(struct dht *d)
{
    list_init(&d->finds);
    list_init(&d->waiting);
    list_init(&d->puts);
    list_init(&d->sends);
    list_init(&d->sends_waiting);
    list_init(&d->probes);
    list_init(&d->requests);
    list_init(&d->own);
    list_init(&d->publications);
    list_init(&d->watcher.node);
}

static bool create_roster(struct dht *d, struct cyx_err *err)
{
    size_t max = d->config.roster_max != 0 ? d->config.roster_max : DHT_ROSTER_MAX;
    if (max == SIZE_MAX)
        return true;
    d->roster = dht_roster_create(max, d->self, d->secret, d->is_lab);
    if (d->roster == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a roster of %zu nodes", max);
        return false;
    }
    d->sync = dht_sync_create(d->mesh, d->roster, d->config.is_serving, err);
    return d->sync != NULL;
}

struct dht *dht_create(struct mesh *mesh, const struct dht_config *config, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    struct dht *d = calloc(1, sizeof *d);
    if (d == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the DHT");
        return NULL;
    }
    d->mesh = mesh;
    d->env = mesh_env(mesh);
    d->config = *config;
    d->is_lab = mesh_network_of(mesh)->is_lab || config->is_plain;
    init_lists(d);
    env_random(d->env, d->secret, sizeof d->secret);
    memcpy(d->self, mesh_identity_of(mesh)->id, sizeof d->self);
    if (!mesh_identity_of(mesh)->has_puzzle) /* no id: look at the network from anywhere */
        env_random(d->env, d->self, sizeof d->self);
    d->table = dht_table_create(d->self, d->is_lab);
    d->cache = dht_cache_create(DHT_CACHE);
    if (d->table == NULL || d->cache == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the DHT");
        dht_destroy(d);
        return NULL;
    }
    if (!create_roster(d, err)) {
        dht_destroy(d);
        return NULL;
    }
    return d;
}

static int open_parts(struct dht *d, struct cyx_err *err)
{
    int code = d->config.is_serving ? dht__serve_start(d, err) : 0;
    if (code == 0)
        code = dht__publish_start(d, err);
    if (code == 0 && d->sync != NULL)
        code = dht_sync_start(d->sync, err);
    return code;
}

int dht_start(struct dht *d, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    d->is_started = true;
    int code = open_parts(d, err != NULL ? err : &own);
    if (code != 0) {
        dht_stop(d);
        return code;
    }
    dht__contacts_start(d);
    dht__upkeep_start(d);
    return 0;
}

void dht_stop(struct dht *d)
{
    if (!d->is_started)
        return;
    d->is_started = false;
    if (d->tick.fn != NULL)
        dht__upkeep_stop(d);
    dht__puts_end(d);
    dht__finds_end(d);
    dht__sends_end(d);
    dht__contacts_stop(d);
    dht__publish_stop(d);
    dht__serve_stop(d);
    if (d->sync != NULL)
        dht_sync_stop(d->sync);
}

void dht_destroy(struct dht *d)
{
    if (d == NULL)
        return;
    dht_stop(d);
    dht_sync_destroy(d->sync);
    dht_roster_destroy(d->roster);
    dht_cache_destroy(d->cache);
    dht_table_destroy(d->table);
    free(d);
}

/* ---- what is known --------------------------------------------------------------------------- */

struct mesh *dht_mesh(struct dht *d)
{
    return d->mesh;
}

size_t dht_node_record(struct dht *d, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX])
{
    const struct dht_contact *c = dht_table_get(d->table, id);
    if (c == NULL)
        return d->sync != NULL && d->is_started ? dht_sync_record(d->sync, id, out) : 0;
    memcpy(out, c->record, c->len);
    return c->len;
}

enum mesh_rpc_status dht_roster_answer(struct dht *d, unsigned method, const msgpack_object *items,
                                       unsigned n, struct dht_answer *a)
{
    if (d->sync == NULL || !d->is_started || !d->config.is_serving)
        return MESH_RPC_REFUSED;
    return dht_sync_answer(d->sync, method, items, n, a);
}

struct dht_roster *dht_roster_of(struct dht *d)
{
    return d->roster;
}

void dht_get_stats(struct dht *d, struct dht_stats *out)
{
    struct dht_store_stats s = { 0 };
    if (d->store != NULL)
        dht_store_get_stats(d->store, &s);
    *out = (struct dht_stats){ .contacts = dht_table_len(d->table),
                               .buckets = dht_table_buckets(d->table),
                               .replacements = dht_table_replacements(d->table),
                               .stored = s.records,
                               .stored_bytes = s.bytes,
                               .store_max = s.max_bytes,
                               .sources = s.sources,
                               .publishers = s.publishers,
                               .lookups = d->n_finds,
                               .waiting = d->n_waiting,
                               .cached = dht_cache_len(d->cache),
                               .own = d->n_own,
                               .estimate = dht_table_estimate(d->table),
                               .is_ready = d->is_joined };
    memcpy(out->stored_of, s.of_type, sizeof out->stored_of);
    if (d->roster != NULL) {
        out->roster = dht_roster_len(d->roster);
        out->roster_max = dht_roster_cap(d->roster);
    }
}

struct each {
    bool (*fn)(void *arg, const struct dht_contact_info *c);
    void *arg;
};

static bool tell_contact(void *arg, const struct dht_contact *c)
{
    const struct each *e = arg;
    struct dht_contact_info info = {
        .addr = c->to.addr, .bucket = c->bucket, .seen_ns = c->seen_ns, .failures = c->failures
    };
    memcpy(info.id, c->to.id, sizeof info.id);
    return e->fn(e->arg, &info);
}

void dht_contacts_each(struct dht *d, bool (*fn)(void *arg, const struct dht_contact_info *c),
                       void *arg)
{
    struct each e = { .fn = fn, .arg = arg };
    dht_table_each(d->table, tell_contact, &e);
}

/* ---- the check ------------------------------------------------------------------------------- */

static bool has(const struct list *l, size_t n, size_t most)
{
    size_t seen = 0;
    list_each (at, l)
        seen++;
    return seen == n && n <= most;
}

bool dht__check(const struct dht *d)
{
    return table__check(d->table) && (d->store == NULL || store__check(d->store)) &&
           has(&d->finds, d->n_finds, DHT_LOOKUPS) &&
           has(&d->waiting, d->n_waiting, DHT_LOOKUPS_WAITING + DHT_PLACES_MAX) &&
           has(&d->sends, d->n_sends, DHT_SENDS) &&
           has(&d->sends_waiting, d->n_sends_waiting, DHT__SENDS_WAITING) &&
           has(&d->probes, d->n_probes, DHT_PROBES) && has(&d->own, d->n_own, DHT_OWN_RECORDS) &&
           dht_cache_len(d->cache) <= DHT_CACHE;
}

bool dht_roster_is_ready(const struct dht *d)
{
    return d->sync != NULL && dht_sync_is_ready(d->sync);
}
