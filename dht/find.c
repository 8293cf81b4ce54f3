/* dht/find.c - one lookup against the network: dht/lookup.h says whom to ask, this asks, and takes
 * the answers apart. A node's record is proven before we dial it, a record found before it counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/dht_internal.h"

/* One request under way. */
struct dht__ask {
    struct list node;
    struct dht_find *find;
    struct dht_candidate *to;
    struct mesh_ask *ask;
    struct mesh_contact contact;
    uint64_t sent_ns;
    bool is_slow;
};

static void pump(struct dht_find *f);
static void begin_waiting(struct dht *d);

/* ---- the end --------------------------------------------------------------------------------- */

/* Who let us wait to the end counts as silent. */
static void asks_cancel(struct dht_find *f)
{
    env_timer_stop(f->d->env, &f->slow);
    while (!list_empty(&f->asks)) {
        struct dht__ask *a = container_of(f->asks.next, struct dht__ask, node);
        list_del(&a->node);
        if (a->is_slow)
            dht__failed(f->d, a->to->id);
        if (a->ask != NULL)
            mesh_ask_cancel(a->ask);
        free(a);
    }
}

/* Out of all lists: nothing of the DHT leads to it any more. */
static void find_leave(struct dht_find *f)
{
    struct dht *d = f->d;
    env_task_cancel(&f->begin);
    asks_cancel(f);
    list_del(&f->node);
    if (f->lookup != NULL)
        d->n_finds--;
    else
        d->n_waiting--;
}

static void find_free(struct dht_find *f)
{
    dht__values_free(f);
    dht_lookup_destroy(f->lookup);
    free(f);
}

static size_t list_nodes(const struct dht_find *f, const struct dht_near *near,
                         struct dht_node nodes[static DHT_K])
{
    size_t n = f->lookup != NULL ? dht_near_len(near) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct dht_candidate *c = dht_near_at(near, i)->what;
        memcpy(nodes[i].id, c->id, DHT_ID);
        nodes[i].record = c->record;
        nodes[i].len = c->len;
    }
    return n;
}

static unsigned nearest_hop(const struct dht_near *near)
{
    const struct dht_candidate *c = dht_near_len(near) > 0 ? dht_near_at(near, 0)->what : NULL;
    return c != NULL ? c->hop : 0;
}

static void count_end(struct dht *d, int code, const struct dht_find *f)
{
    d->n.finds_found += code == 0;
    d->n.finds_cached += code == 0 && f->is_cached;
    d->n.finds_missing += code == CYX_ENOENT;
    d->n.finds_failed += code != 0 && code != CYX_ENOENT;
}

/* Tells how it ended; `f` is gone afterwards. */
static void finish(struct dht_find *f, int code)
{
    struct dht *d = f->d;
    struct dht_near near;
    struct dht_node nodes[DHT_K];
    struct dht_value values[DHT__VALUES];
    struct dht_found found = { .n_values = f->n_values,
                               .values = values,
                               .nodes = nodes,
                               .answered = f->n_answered,
                               .hops = f->hops,
                               .is_cached = f->is_cached,
                               .ns = dht__now(d) - f->started_ns };
    dht_near_init(&near, f->key, 0, true);
    if (f->lookup != NULL) {
        dht_lookup_nearest(f->lookup, DHT_K, &near);
        found.asked = dht_lookup_asked(f->lookup);
    }
    for (size_t i = 0; i < f->n_values; i++)
        values[i] = f->values[i].v;
    found.n_nodes = list_nodes(f, &near, nodes);
    if (f->n_values == 0)
        found.hops = nearest_hop(&near);
    count_end(d, code, f);
    /* `done` may stop or destroy the DHT: nothing of it is touched afterwards. */
    find_leave(f);
    begin_waiting(d);
    if (f->done != NULL)
        f->done(f->arg, code, &found);
    find_free(f);
}

static int verdict(const struct dht_find *f)
{
    if (f->type == NULL)
        return f->n_answered > 0 ? 0 : CYX_ETIMEDOUT;
    if (f->n_values > 0)
        return 0;
    return f->n_answered > 0 ? CYX_ENOENT : CYX_ETIMEDOUT;
}

static void remember(struct dht_find *f)
{
    struct dht_value values[DHT__VALUES];
    for (size_t i = 0; i < f->n_values; i++)
        values[i] = f->values[i].v;
    if (f->n_values > 0 && !f->is_cached)
        dht_cache_put(f->d->cache, f->key, f->type->number, values, f->n_values, dht__now(f->d));
}

static void find_done(struct dht_find *f)
{
    dht_table_looked(f->d->table, f->key, dht__now(f->d));
    if (f->type != NULL) {
        dht__values_raise(f);
        remember(f);
        if (!f->d->config.is_plain)
            dht__values_repair(f);
    }
    finish(f, verdict(f));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void node_heard(struct dht_find *f, struct dht_candidate *from, const uint8_t *record,
                       size_t len)
{
    struct dht *d = f->d;
    struct mesh_node n;
    enum drop drop = mesh_node_record_form(&n, mesh_time(d->mesh), record, len);
    if (drop != DROP_NONE) {
        d->n.nodes_refused[drop]++;
        return;
    }
    if (memcmp(n.id, d->self, DHT_ID) == 0)
        return;
    for (size_t i = 0; i < n.n_addrs; i++) {
        if (n.addrs[i].kind == 7)
            continue;
        dht_lookup_told(f->lookup, from, n.id, env_addr_prefix(&n.addrs[i].ip), record, len);
        return;
    }
}

/* [records of the type..., up to 16 node records]: told apart by the envelope's type. */
static void answer_read(struct dht_find *f, struct dht_candidate *from, const msgpack_object *items,
                        unsigned n)
{
    unsigned n_nodes = 0;
    unsigned n_values = 0;
    unsigned keep = f->type != NULL ? f->type->keep : 0;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *record;
        size_t len;
        bool is_bin = mp_bin_any(&items[i], &record, &len) && len > MESH_RECORD_HEAD;
        bool is_node = is_bin && record[1] == MESH_RECORD_NODE;
        bool is_value = is_bin && f->type != NULL && record[1] == f->type->number;
        if (is_value && n_values < keep + (is_node ? DHT_ANSWER_NODES : 0)) {
            n_values++;
            if (!dht__value_heard(f, from, record, len))
                return; /* it hands out what it can't have verified: no more work for it */
        }
        if (is_node && n_nodes < DHT_ANSWER_NODES + 1) {
            n_nodes++;
            node_heard(f, from, record, len);
        } else if (!is_value) {
            f->d->n.answers_bad++;
            return;
        }
    }
}

/* An answer to take apart; else it failed, in one way or another. */
static bool has_answered(struct dht *d, const struct dht_candidate *c, int code, unsigned status)
{
    if (code == 0 && (status == MESH_RPC_OK || status == MESH_RPC_NOT_FOUND)) {
        d->n.answers++;
        return true;
    }
    if (code == 0) {
        d->n.asks_refused++;
    } else { /* silence, or what no honest node answers */
        d->n.asks_failed++;
        dht__failed(d, c->id);
    }
    return false;
}

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct dht__ask *a = arg;
    struct dht_find *f = a->find;
    struct dht *d = f->d;
    struct dht_candidate *c = a->to;
    struct mesh_contact contact = a->contact;
    struct mesh_node node;
    bool is_answer = has_answered(d, c, code, status);
    list_del(&a->node);
    free(a);
    dht_lookup_answered(f->lookup, c, is_answer);
    if (is_answer) {
        f->n_answered++;
        if (mesh_node_record_form(&node, mesh_time(d->mesh), c->record, c->len) == DROP_NONE)
            dht__seen(d, &node, &contact, c->record, c->len);
        answer_read(f, c, items, n);
    }
    pump(f);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void slow(struct env_timer *t, void *arg)
{
    struct dht_find *f = arg;
    uint64_t now = dht__now(f->d);
    list_each (at, &f->asks) {
        struct dht__ask *a = container_of(at, struct dht__ask, node);
        if (a->is_slow)
            continue;
        if (now - a->sent_ns < ENV_MS(DHT_SLOW_MS)) {
            env_timer_set(f->d->env, t, a->sent_ns + ENV_MS(DHT_SLOW_MS));
            break;
        }
        a->is_slow = true;
        dht_lookup_slow(f->lookup, a->to);
    }
    pump(f);
}

/* Proves the candidate's record and finds an address to dial. */
static bool prove(struct dht_find *f, const struct dht_candidate *c, struct mesh_contact *to)
{
    struct dht *d = f->d;
    struct mesh_node n;
    uint64_t now = mesh_time(d->mesh);
    enum drop drop =
        c->is_proven ? mesh_node_record_form(&n, now, c->record, c->len)
                     : mesh_node_record_open(&n, mesh_network_of(d->mesh), now, c->record, c->len);
    if (drop != DROP_NONE) {
        d->n.nodes_refused[drop]++;
        return false;
    }
    d->n.nodes_ok++;
    return mesh_node_contact(d->mesh, &n, to);
}

static int send_find(struct dht_find *f, struct dht__ask *a)
{
    uint8_t buf[64];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, f->key, DHT_ID);
    msgpack_pack_uint32(&pk, f->type != NULL ? f->type->number : 0);
    msgpack_pack_uint32(&pk, DHT_ANSWER_NODES);
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = 3 };
    f->d->n.asks++;
    return mesh_ask(f->d->mesh, &a->contact, MESH_METHOD_FIND, &items, DHT_ASK_MS, answered, a,
                    &a->ask);
}

static bool ask(struct dht_find *f, struct dht_candidate *c)
{
    struct mesh_contact to;
    struct dht__ask *a = prove(f, c, &to) ? calloc(1, sizeof *a) : NULL;
    if (a == NULL)
        return false;
    a->find = f;
    a->to = c;
    a->contact = to;
    list_init(&a->node);
    if (send_find(f, a) != 0) {
        f->d->n.asks_refused++;
        free(a);
        return false;
    }
    a->sent_ns = dht__now(f->d);
    list_push_back(&f->asks, &a->node);
    if (!f->slow.is_set)
        env_timer_in(f->d->env, &f->slow, ENV_MS(DHT_SLOW_MS));
    return true;
}

static bool is_satisfied(const struct dht_find *f)
{
    return f->n_values > 0 && ((f->flags & DHT_FIND_FIRST) != 0 || f->d->config.is_plain);
}

static void pump(struct dht_find *f)
{
    struct dht_candidate *c;
    while (!is_satisfied(f) && (c = dht_lookup_next(f->lookup)) != NULL)
        if (!ask(f, c))
            dht_lookup_answered(f->lookup, c, false);
    if (is_satisfied(f) || dht_lookup_is_done(f->lookup))
        find_done(f);
}

/* ---- the start ------------------------------------------------------------------------------- */

static void seed_table(struct dht_find *f)
{
    struct dht_near near;
    dht_table_nearest(f->d->table, f->key, DHT_K, &near);
    for (size_t i = 0; i < dht_near_len(&near); i++) {
        const struct dht_contact *c = dht_near_at(&near, i)->what;
        dht_lookup_seed(f->lookup, c->to.id, c->prefix, c->record, c->len, true);
    }
}

static void seed_roster(struct dht_find *f)
{
    const struct dht_roster_entry *near[DHT_ROSTER_ASKS];
    uint8_t record[MESH_NODE_RECORD_MAX];
    size_t n =
        f->d->roster != NULL ? dht_roster_nearest(f->d->roster, f->key, DHT_ROSTER_ASKS, near) : 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = dht_sync_record(f->d->sync, near[i]->id, record);
        if (len > 0)
            dht_lookup_seed(f->lookup, near[i]->id, near[i]->prefix, record, len, false);
    }
}

static void seed_known(void *arg, const uint8_t *record, size_t len)
{
    struct dht_find *f = arg;
    struct mesh_node n;
    if (mesh_node_record_form(&n, mesh_time(f->d->mesh), record, len) != DROP_NONE ||
        memcmp(n.id, f->d->self, DHT_ID) == 0)
        return;
    for (size_t i = 0; i < n.n_addrs; i++) {
        if (n.addrs[i].kind == 7)
            continue;
        dht_lookup_seed(f->lookup, n.id, env_addr_prefix(&n.addrs[i].ip), record, len, false);
        return;
    }
}

/* What our own store holds. */
static bool own_value(void *arg, const uint8_t *record, size_t len)
{
    (void)dht__value_heard(arg, NULL, record, len);
    return true;
}

static void cached_value(void *arg, const uint8_t *record, size_t len)
{
    (void)dht__value_heard(arg, NULL, record, len);
}

/* True when the answer is known: remembered, and young enough. */
static bool ask_cache(struct dht_find *f)
{
    uint64_t age = (f->flags & DHT_FIND_FRESH) != 0 ? 0 : ENV_S(DHT_CACHE_S);
    if (f->type == NULL)
        return false;
    (void)dht_cache_get(f->d->cache, f->key, f->type->number, dht__now(f->d), age, cached_value, f);
    f->is_cached = f->n_values > 0;
    return f->is_cached;
}

static bool find_begin(struct dht_find *f)
{
    struct dht *d = f->d;
    f->lookup = dht_lookup_create(f->key, f->rules);
    if (f->lookup == NULL)
        return false;
    list_del(&f->node);
    list_push_back(&d->finds, &f->node);
    d->n_waiting--;
    d->n_finds++;
    if (d->store != NULL && f->type != NULL)
        (void)dht_store_read(d->store, f->key, f->type->number, mesh_time(d->mesh), own_value, f);
    seed_table(f);
    seed_roster(f);
    if (dht_table_len(d->table) < DHT_K)
        (void)mesh_known_nearest(d->mesh, f->key, DHT_K, seed_known, f);
    return true;
}

static void begin(void *arg)
{
    struct dht_find *f = arg;
    struct dht *d = f->d;
    if (ask_cache(f)) {
        finish(f, 0);
        return;
    }
    if (d->n_finds >= DHT_LOOKUPS)
        return; /* when another ends */
    if (!find_begin(f)) {
        finish(f, CYX_ENOMEM);
        return;
    }
    if (dht_lookup_is_done(f->lookup) && f->n_values == 0) {
        finish(f, CYX_EAGAIN); /* nobody to ask */
        return;
    }
    pump(f);
}

static void begin_waiting(struct dht *d)
{
    if (d->n_finds < DHT_LOOKUPS && !list_empty(&d->waiting)) {
        struct dht_find *f = container_of(d->waiting.next, struct dht_find, node);
        env_defer(d->env, &f->begin);
    }
}

int dht__find(struct dht *d, const uint8_t key[static DHT_ID], unsigned type, unsigned flags,
              const struct dht_lookup_rules *rules, dht_find_fn done, void *arg,
              struct dht_find **out)
{
    const struct dht_type *t = (flags & DHT_FIND_NODES) != 0 ? NULL : dht_type_get(type);
    if (t == NULL && (flags & DHT_FIND_NODES) == 0)
        return CYX_EINVAL;
    if (!d->is_started || d->n_waiting >= DHT_LOOKUPS_WAITING) {
        d->n.finds_refused++;
        return d->is_started ? CYX_EFULL : CYX_ECANCELED;
    }
    struct dht_find *f = calloc(1, sizeof *f);
    if (f == NULL)
        return CYX_ENOMEM;
    f->d = d;
    f->rules = rules;
    f->type = t;
    f->flags = flags;
    f->done = done;
    f->arg = arg;
    f->started_ns = dht__now(d);
    memcpy(f->key, key, sizeof f->key);
    list_init(&f->asks);
    list_init(&f->node);
    list_push_back(&d->waiting, &f->node);
    d->n_waiting++;
    d->n.finds++;
    env_task_init(&f->begin, begin, f);
    env_timer_init(&f->slow, slow, f);
    env_defer(d->env, &f->begin);
    if (out != NULL)
        *out = f;
    return 0;
}

int dht_find(struct dht *d, const uint8_t key[static DHT_ID], unsigned type, unsigned flags,
             dht_find_fn done, void *arg, struct dht_find **out)
{
    return dht__find(d, key, type, flags,
                     d->config.is_plain ? &dht_lookup_plain : &dht_lookup_rules, done, arg, out);
}

void dht_find_cancel(struct dht_find *f)
{
    struct dht *d = f->d;
    d->n.finds_cancelled++;
    find_leave(f);
    find_free(f);
    begin_waiting(d);
}

void dht__finds_end(struct dht *d)
{
    while (!list_empty(&d->finds))
        finish(container_of(d->finds.next, struct dht_find, node), CYX_ECANCELED);
    while (!list_empty(&d->waiting))
        finish(container_of(d->waiting.next, struct dht_find, node), CYX_ECANCELED);
}
