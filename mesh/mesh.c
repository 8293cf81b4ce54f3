/* mesh/mesh.c - a mesh's birth: configuration, tables, sockets. Its end is stop.c. */
#include "mesh/mesh.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mesh/link_internal.h"

enum {
    PREFIX_BUDGETS = 8192,          /* prefixes whose handshakes are counted at a time */
    KV_BYTES = 16 << 20,            /* 1024 records and some numbers take about 1 MiB */
    EGRESS_BURST_MS = 20,           /* what an idle link may send at once when shaped */
    EGRESS_BURST_LEAST = 64 * 1024, /* one full row of packets */
};

/* ---- creation -------------------------------------------------------------------------------- */

static int check_config(const struct mesh_config *c, struct cyx_err *err)
{
    if (c->identity == NULL)
        return cyx_fail(err, CYX_EINVAL, "a mesh needs an identity");
    if (c->is_listed && !c->identity->has_puzzle)
        return cyx_fail(err, CYX_EINVAL, "a listed node needs an id: solve its puzzle first");
    if (c->n_advertise > MESH_ADDRS_MAX)
        return cyx_fail(err, CYX_EINVAL, "at most %d addresses can be advertised", MESH_ADDRS_MAX);
    if (c->n_workers > 1 && (c->n_workers > 256 || c->worker >= c->n_workers))
        return cyx_fail(err, CYX_EINVAL, "worker %u of %u: at most 256 workers, counted from 0",
                        c->worker, c->n_workers);
    if (c->links_max > MESH_LINKS_MAX)
        return cyx_fail(err, CYX_EINVAL, "links_max: at most %d", MESH_LINKS_MAX);
    if (c->lab_rekey_ms != 0 && !c->network.is_lab)
        return cyx_fail(err, CYX_EINVAL, "lab_rekey: for lab networks only");
    return 0;
}

static void set_config(struct mesh *m, const struct mesh_config *c)
{
    m->config = *c;
    m->config.bootstrap = NULL; /* discover.c has the copy */
    m->network = c->network;
    m->identity = c->identity;
    m->own_made = c->identity->link.made;
    if (m->config.n_workers <= 1)
        m->config.worker = 0;
    m->config.links_target =
        mesh__share(m, c->links_target != 0 ? c->links_target : MESH_LINKS_TARGET);
    m->config.links_max = mesh__share(m, c->links_max != 0 ? c->links_max : MESH_LINKS_MAX);
    if (c->n_workers > 1)
        m->config.egress_bytes_per_s = (c->egress_bytes_per_s + c->n_workers - 1) / c->n_workers;
    if (m->config.lab_rekey_ms == 0)
        m->config.lab_rekey_ms = MESH_REKEY_MS;
    if (m->config.kv_bytes == 0)
        m->config.kv_bytes = KV_BYTES;
    m->features = (c->no_gcm || !mesh_has_gcm() ? 0u : (uint32_t)MESH_FEATURE_GCM) |
                  (c->is_listed ? 0u : (uint32_t)MESH_FEATURE_UNLISTED);
}

static void init_lists(struct mesh *m)
{
    list_init(&m->links);
    list_init(&m->turns);
    list_init(&m->half_opens);
    list_init(&m->ending);
    list_init(&m->dirty);
    list_init(&m->serving);
    list_init(&m->watchers);
    list_init(&m->tickets);
}

static void init_budgets(struct mesh *m)
{
    uint64_t now = mesh__now(m), rate = m->config.egress_bytes_per_s;
    uint64_t burst = rate * EGRESS_BURST_MS / 1000;
    mesh_bucket_init(&m->first_messages, MESH_COOKIE_RATE, MESH_COOKIE_RATE, now);
    mesh_bucket_init(&m->handshakes, MESH_HS_RATE, MESH_HS_RATE, now);
    mesh_bucket_init(&m->egress, rate, burst > EGRESS_BURST_LEAST ? burst : EGRESS_BURST_LEAST,
                     now);
}

static void housekeeping(struct env_timer *t, void *arg);

static void init_callbacks(struct mesh *m)
{
    env_timer_init(&m->half_timer, mesh__half_open_timer, m);
    env_timer_init(&m->flush_timer, mesh__flush_timer, m);
    env_timer_init(&m->housekeeping, housekeeping, m);
    env_task_init(&m->flush, mesh__flush, m);
    env_task_init(&m->reap, mesh__reap, m);
}

static bool create_tables(struct mesh *m)
{
    size_t links = m->config.links_max;
    m->by_key = map_create(MESH__LINK_KEY, MESH_LINKS_MAX * 2);
    m->by_id = map_create(32, MESH_LINKS_MAX * 2);
    m->indices = map_create(sizeof(uint32_t), links * 4 + MESH_UNCONFIRMED_MAX * 2);
    m->prefixes = mesh_prefix_count_create();
    m->half_prefixes = mesh_prefix_count_create();
    m->sequences = mesh__sequences_create(MESH_SEQUENCES);
    m->rests = mesh__rests_create();
    m->hs_prefixes =
        mesh_prefix_budget_create(PREFIX_BUDGETS, MESH_HS_PREFIX_RATE, MESH_HS_PREFIX_BURST);
    m->cells = mesh_cells_create(mesh__share(m, MESH_CELLS_ALL_BYTES));
    m->inbox_pool = mesh_inbox_pool_create(mesh__share(m, MESH_INBOX_ALL_BYTES));
    m->own = mesh__own_create(m);
    return m->by_key != NULL && m->by_id != NULL && m->indices != NULL && m->prefixes != NULL &&
           m->half_prefixes != NULL && m->sequences != NULL && m->rests != NULL &&
           m->hs_prefixes != NULL && m->cells != NULL && m->inbox_pool != NULL && m->own != NULL &&
           mesh__parcels_create(m);
}

struct mesh *mesh_create(struct env *env, const struct mesh_config *config, struct cyx_err *err)
{
    if (check_config(config, err) != 0)
        return NULL;
    struct mesh *m = calloc(1, sizeof *m);
    if (m == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a mesh");
        return NULL;
    }
    m->env = env;
    set_config(m, config);
    init_lists(m);
    init_budgets(m);
    init_callbacks(m);
    /* Until mesh_start reads T from the disk. */
    nettime_init(&m->time, 0, env_wall_ms(env), mesh__now(m));
    if (!create_tables(m)) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a mesh");
        mesh_destroy(m);
        return NULL;
    }
    m->config.bootstrap = config->bootstrap;
    m->discover = mesh__discover_create(m, err);
    m->config.bootstrap = NULL;
    if (m->discover == NULL) {
        mesh_destroy(m);
        return NULL;
    }
    return m;
}

/* ---- start ----------------------------------------------------------------------------------- */

int mesh_start(struct mesh *m, struct cyx_err *err)
{
    const struct mesh_carrier_events events = { .received = mesh__endpoint_received,
                                                .writable = mesh__writable,
                                                .arg = m };
    int code = mesh_remembered_open_shared(m->env, m->config.kv_bytes, m->config.worker,
                                           m->config.n_workers, &m->remembered, err);
    if (code != 0)
        return code;
    mesh_remembered_limit(m->remembered, m->config.remembered_max);
    nettime_init(&m->time, mesh_remembered_number(m->remembered, "t"), env_wall_ms(m->env),
                 mesh__now(m));
    code = mesh_udp_open(m->env, &m->config.listen, m->config.worker, m->config.n_workers, &events,
                         &m->carrier, err);
    if (code == 0 && m->config.beacon && m->config.worker == 0)
        code = mesh__beacon_start(m, err);
    if (code != 0)
        return code;
    m->is_started = true;
    m->started_ns = mesh__now(m);
    mesh__hello_start(m);
    if (m->config.is_listed) {
        mesh__sequence_start(m);
        mesh__own_rotate(m);
        mesh__own_refresh(m);
    }
    if (mesh_serve(m, MESH_METHOD_FIND, mesh__find_serve, m) != 0)
        return cyx_fail(err, CYX_EINVAL, "method %d can't be served", MESH_METHOD_FIND);
    env_timer_in(m->env, &m->housekeeping, ENV_S(MESH__HOUSEKEEPING_S));
    mesh__discover_start(m);
    return 0;
}

/* ---- housekeeping ---------------------------------------------------------------------------- */

/* Links that live for days still answered today. */
static void remember_links(struct mesh *m)
{
    uint64_t now = mesh_time(m);
    list_each (at, &m->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        struct mesh_node node;
        if (l->state != MESH_LINK_UP || !l->has_id ||
            mesh_node_record_open(&node, &m->network, now, l->record, l->record_len) != DROP_NONE)
            continue;
        if (mesh_remembered_put(m->remembered, &node, l->record, l->record_len, now) != 0)
            return; /* no memory: in an hour again */
        mesh__hand_record(m, &node, l->record, l->record_len, now);
    }
}

static void housekeeping(struct env_timer *t, void *arg)
{
    enum { REMEMBER_EVERY = 60 };
    struct mesh *m = arg;
    mesh_time(m); /* moves T */
    if (m->config.worker == 0)
        mesh_remembered_set_number(m->remembered, "t", m->time.greatest_s, NULL, NULL);
    if (m->config.siblings != NULL && m->config.is_listed)
        m->config.siblings->sequence(m->config.siblings_arg, m->sequence_next);
    if (m->config.is_listed) {
        mesh__own_rotate(m);
        mesh__own_refresh(m);
    }
    if (++m->n_housekeepings % REMEMBER_EVERY == 0)
        remember_links(m);
    env_timer_in(m->env, t, ENV_S(MESH__HOUSEKEEPING_S));
}

/* ---- small things ---------------------------------------------------------------------------- */

struct env *mesh_env(struct mesh *m)
{
    return m->env;
}

const struct mesh_network *mesh_network_of(const struct mesh *m)
{
    return &m->network;
}

const struct mesh_identity *mesh_identity_of(const struct mesh *m)
{
    return m->identity;
}

uint64_t mesh_time(struct mesh *m)
{
    return nettime_now(&m->time, env_wall_ms(m->env), mesh__now(m));
}

void mesh_time_accept(struct mesh *m)
{
    nettime_accept(&m->time);
}

bool mesh__self(const struct mesh *m, uint64_t made, struct mesh_hs_self *out)
{
    const struct mesh_identity *i = m->identity;
    const struct mesh_keypair *pair = i->link.made == made ? &i->link : &i->link_old;
    if (pair->made != made)
        return false;
    *out = (struct mesh_hs_self){ .net = &m->network, .features = m->features };
    memcpy(out->id, i->id, sizeof out->id);
    memcpy(out->secret, pair->secret, sizeof out->secret);
    memcpy(out->pub, pair->pub, sizeof out->pub);
    memcpy(out->version,
           (uint8_t[4]){ MESH_MAJOR, MESH_MAJOR, MESH_VERSION_MINOR, MESH_VERSION_PATCH },
           sizeof out->version);
    return true;
}

void mesh_inject(struct mesh *m, struct env_datagrams *batch, size_t n)
{
    mesh__endpoint_received(m, m->carrier, batch, n);
}

void mesh_get_status(struct mesh *m, struct mesh_status *out)
{
    struct env_udp_info udp = { 0 };
    if (m->carrier != NULL)
        m->carrier->ops->info(m->carrier, &udp);
    *out = (struct mesh_status){
        .is_started = m->is_started,
        .links = m->n_up,
        .handshakes_open = m->n_half_opens,
        .known = m->remembered != NULL ? mesh_remembered_own(m->remembered) : 0,
        .local = udp.local,
        .gso = udp.gso,
        .gro = udp.gro,
        .dual_stack = udp.dual_stack,
        .time = mesh_time(m),
        .time_state = m->time.state,
        .time_offset_ms = m->time.offset_ms,
        .inbound_seen = m->inbound_seen,
        .started_ns = m->started_ns,
        .ready_ns = m->ready_ns,
        .is_ready = m->ready_ns != 0 && m->n_up > 0,
        .is_listed = m->config.is_listed,
    };
    out->has_observed = mesh__own_observed_get(m, &out->observed);
    list_each (at, &m->links) {
        const struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state == MESH_LINK_UP)
            out->links_listed += l->is_listed;
        else if (l->state == MESH_LINK_DIALING)
            out->handshakes_open++;
    }
    mesh__discover_status(m, out);
}

uint64_t mesh_time_greatest(struct mesh *m)
{
    return m->time.greatest_s;
}

uint64_t mesh_heard_ns(const struct mesh *m)
{
    return m->heard_ns;
}
