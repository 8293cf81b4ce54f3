#include "tests/sim/scenarios/town.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scenarios/probe.h"

enum {
    MESH_PORT = 4100,
    HIDDEN_PORT = 4, /* no NAT gives that one away */
    OPEN_MS = 1000,  /* bootstrap nodes have their keys on disk by then */
    NAT_SHARE = 3,   /* users behind one box */
};

/* ---- samples ---- */

void town_sample(struct town_samples *s, uint64_t v)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->v = realloc(s->v, s->cap * sizeof *s->v);
        if (s->v == NULL)
            abort();
    }
    s->v[s->n++] = v;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t town_percentile(struct town_samples *s, unsigned percent)
{
    if (s->n == 0)
        return 0;
    qsort(s->v, s->n, sizeof *s->v, compare_u64);
    return s->v[(s->n - 1) * percent / 100];
}

/* ---- counters ---- */

static void count_metric(void *arg, const struct metric *m)
{
    struct town_counters *n = arg;
    if (m->value_of_label != NULL && strcmp(m->name, "cyx_mesh_dropped_total") == 0) {
        for (unsigned i = 0; i < DROP_COUNT_; i++)
            if (strcmp(m->value_of_label, drop_name((enum drop)i)) == 0)
                n->drops[i] += m->value;
    }
    const struct {
        const char *name;
        uint64_t *sum;
    } wanted[] = {
        { "cyx_mesh_handshakes_in_total", &n->handshakes_in },
        { "cyx_mesh_handshakes_out_total", &n->handshakes_out },
        { "cyx_mesh_links_up_total", &n->links_up },
        { "cyx_mesh_roams_total", &n->roams },
        { "cyx_mesh_rekeys_total", &n->rekeys },
        { "cyx_mesh_calls_timed_out_total", &n->calls_timed_out },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strcmp(m->name, wanted[i].name) == 0)
            *wanted[i].sum += m->value;
}

void town_count(const struct town_node *me, struct town_counters *n)
{
    if (me->mesh == NULL)
        return;
    mesh_metrics(me->mesh, count_metric, n);
    n->node_ns += sim_now(me->town->w) - me->boot_ns;
}

static void failed(struct town *t, const char *what, const struct cyx_err *err)
{
    if (t->n.failures++ == 0)
        snprintf(t->n.failure, sizeof t->n.failure, "%s: %.150s", what, err->msg);
}

/* ---- one node's life ---- */

static void on_link_up(void *arg, struct mesh_link *l)
{
    struct town_node *me = arg;
    (void)l;
    if (me->first_link_ns == 0) {
        me->first_link_ns = sim_now(me->town->w);
        town_sample(&me->town->first_link, me->first_link_ns - me->boot_ns);
    }
}

static void fill_config(const struct town_node *me, struct mesh_config *c)
{
    const struct town *t = me->town;
    *c = (struct mesh_config){
        .network = t->network,
        .identity = me->identity,
        .is_listed = me->kind != TOWN_USER,
        .rotate_link_key = me->kind == TOWN_LISTED,
        .listen.port = me->kind == TOWN_USER ? 0 : MESH_PORT,
        .bootstrap = t->contacts,
        .n_bootstrap = t->n_contacts,
        .no_gcm = true, /* the same bytes on every machine that replays */
    };
    if (me->kind == TOWN_BOOTSTRAP) {
        c->advertise[0] = probe_address(sim_node_index(me->node), MESH_PORT);
        c->n_advertise = 1;
    }
    if (me->kind == TOWN_HIDDEN) {
        c->advertise[0] = probe_address(t->o.nodes + sim_node_index(me->node), HIDDEN_PORT);
        c->n_advertise = 1;
    }
}

static void hooks_started(struct town_node *me)
{
    const struct town_hooks *h = &me->town->o.hooks;
    me->is_above = h->started != NULL;
    if (me->is_above)
        h->started(h->arg, me);
}

static void hooks_dropped(struct town_node *me)
{
    const struct town_hooks *h = &me->town->o.hooks;
    if (me->is_above && h->dropped != NULL)
        h->dropped(h->arg, me);
    me->is_above = false;
}

static void start_mesh(void *arg)
{
    struct town_node *me = arg;
    struct cyx_err err;
    struct mesh_config config;
    if (me->mesh != NULL || me->identity == NULL)
        return;
    fill_config(me, &config);
    me->mesh = mesh_create(sim_node_env(me->node), &config, &err);
    if (me->mesh == NULL) {
        failed(me->town, "mesh_create", &err);
        return;
    }
    me->watcher = (struct mesh_watcher){ .link_up = on_link_up, .arg = me };
    mesh_watch(me->mesh, &me->watcher);
    if (mesh_start(me->mesh, &err) < 0) {
        failed(me->town, "mesh_start", &err);
        return;
    }
    me->is_started = true;
    hooks_started(me);
}

static void identity_stored(void *arg, int code)
{
    struct town_node *me = arg;
    if (code != 0 || me->identity == NULL)
        return; /* the machine is off, or will try again when it is switched on */
    if (me->kind != TOWN_BOOTSTRAP || me->town->is_open)
        start_mesh(me);
}

static bool add_puzzle(struct town_node *me, struct cyx_err *err)
{
    struct mesh_pow_subject subject;
    uint8_t nonce[16];
    uint8_t proof[MESH_POW_PROOF];
    mesh_identity_subject(me->identity, &subject);
    env_random(sim_node_env(me->node), nonce, sizeof nonce);
    return mesh_pow_solve(&subject, me->town->network.id_effort, nonce, NULL, proof, err) == 0 &&
           mesh_identity_set_puzzle(me->identity, &me->town->network, proof, err) == 0;
}

static void make_identity(struct town_node *me)
{
    struct env *e = sim_node_env(me->node);
    struct cyx_err err;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    me->identity = mesh_identity_create(e, (uint64_t)env_wall_ms(e) / 1000, &err);
    if (me->identity == NULL) {
        failed(me->town, "mesh_identity_create", &err);
        return;
    }
    if (me->kind == TOWN_USER) {
        start_mesh(me); /* pure users keep nothing */
        return;
    }
    if (!add_puzzle(me, &err)) {
        failed(me->town, "puzzle", &err);
        return;
    }
    int len = mesh_identity_encode(me->identity, e, blob);
    if (len > 0)
        env_blob_store(e, "identity", blob, (size_t)len, identity_stored, me);
    sodium_memzero(blob, sizeof blob);
}

/* True when the disk has it. */
static bool load_identity(struct town_node *me)
{
    struct env *e = sim_node_env(me->node);
    struct cyx_err err;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len;
    int rc = env_blob_load(e, "identity", blob, sizeof blob, &len, &err);
    if (rc == CYX_ENOENT)
        return false;
    if (rc == 0)
        me->identity = mesh_identity_decode(blob, len, NULL, &err);
    sodium_memzero(blob, sizeof blob);
    if (me->identity == NULL)
        failed(me->town, "identity on disk", &err);
    return true;
}

static void boot(void *arg, struct sim_node *n)
{
    struct town_node *me = arg;
    me->node = n;
    me->boot_ns = sim_now(me->town->w);
    me->first_link_ns = 0;
    me->is_started = me->is_leaving = false;
    me->has_joined = true;
    if (!load_identity(me))
        make_identity(me);
    else if (me->identity != NULL)
        identity_stored(me, 0);
}

static void drop(void *arg, struct sim_node *n)
{
    struct town_node *me = arg;
    (void)n;
    hooks_dropped(me);
    town_count(me, &me->town->n);
    if (me->mesh != NULL)
        mesh_unwatch(&me->watcher);
    mesh_destroy(me->mesh);
    mesh_identity_destroy(me->identity);
    me->mesh = NULL;
    me->identity = NULL;
}

/* ---- accidents ---- */

static void come_back(void *arg)
{
    struct town_node *me = arg;
    if (!sim_node_is_up(me->node))
        sim_node_boot(me->node);
}

static void come_back_later(struct town_node *me)
{
    struct sim_world *w = me->town->w;
    sim_at(w, sim_now(w) + SIM_S(5) + sim_random_below(w, SIM_S(55)), come_back, me);
}

static void switch_off(void *arg)
{
    struct town_node *me = arg;
    if (!sim_node_is_up(me->node) || !me->is_leaving)
        return;
    sim_node_shutdown(me->node);
    come_back_later(me);
}

static void stopped(void *arg)
{
    struct town_node *me = arg;
    sim_at(me->town->w, sim_now(me->town->w), switch_off, me);
}

static void leave(void *arg)
{
    struct town_node *me = arg;
    if (me->is_leaving || !me->is_started)
        return;
    me->is_leaving = true;
    hooks_dropped(me);
    mesh_stop(me->mesh, stopped, me);
}

static void crash(struct town_node *me, bool loses_disk)
{
    sim_node_crash(me->node);
    if (loses_disk)
        sim_node_wipe_disk(me->node);
    come_back_later(me);
}

static void move(struct town_node *me)
{
    struct town *t = me->town;
    struct env_addr to = probe_address(t->o.nodes * 2 + t->n_moves, 0);
    if (me->kind != TOWN_LISTED)
        return;
    t->n_moves++;
    t->n.moves++;
    if (sim_node_move(me->node, &to, NULL) < 0)
        abort();
}

/* Bootstrap nodes crash like others, but keep their disks and their addresses:
 * their contact is in everybody's list. */
static void accident(struct town_node *me)
{
    struct town *t = me->town;
    if (!me->is_started || me->is_leaving || !sim_node_is_up(me->node))
        return;
    switch (sim_random_below(t->w, 8)) {
    case 0:
        move(me);
        break;
    case 1:
        if (me->kind == TOWN_BOOTSTRAP)
            break;
        t->n.wipes++;
        crash(me, true);
        break;
    case 2:
    case 3:
    case 4:
        t->n.crashes++;
        crash(me, false);
        break;
    default:
        t->n.leaves++;
        sim_node_enter(me->node, leave, me);
        break;
    }
}

static void churn_tick(void *arg)
{
    struct town *t = arg;
    if (!t->has_churn)
        return;
    accident(&t->nodes[sim_random_below(t->w, t->o.nodes)]);
    sim_at(t->w, sim_now(t->w) + t->churn_every_ns, churn_tick, t);
}

void town_churn(struct town *t, uint64_t every_ns)
{
    t->has_churn = true;
    t->churn_every_ns = every_ns;
    churn_tick(t);
}

void town_calm(struct town *t)
{
    t->has_churn = false;
}

/* ---- building it ---- */

/* The bootstrap nodes have keys: from now on everybody knows them. */
static void open_town(void *arg)
{
    struct town *t = arg;
    for (uint32_t i = 0; i < t->o.bootstrap; i++) {
        const struct town_node *b = &t->nodes[i];
        struct mesh_contact *c = &t->contacts[i];
        if (b->identity == NULL)
            abort(); /* not yet on disk after a second: the world is wrong */
        memcpy(c->id, b->identity->id, sizeof c->id);
        memcpy(c->link_key, b->identity->link.pub, sizeof c->link_key);
        c->addr = probe_address(i, MESH_PORT);
    }
    t->n_contacts = t->o.bootstrap;
    t->is_open = true;
    for (uint32_t i = 0; i < t->o.bootstrap; i++)
        sim_node_enter(t->nodes[i].node, start_mesh, &t->nodes[i]);
}

static struct sim_nat *add_box(struct town *t, uint32_t i)
{
    struct sim_nat_options o = {
        .type = (enum sim_nat_type)sim_random_below(t->w, 4),
        .address = probe_address(t->o.nodes + i, 0),
        .timeout_s = 30 + (uint32_t)sim_random_below(t->w, 90),
    };
    struct sim_nat *nat = sim_nat_add(t->w, &o);
    if (nat == NULL)
        abort();
    return nat;
}

static void add_node(struct town *t, uint32_t i, struct sim_nat *nat)
{
    struct town_node *me = &t->nodes[i];
    struct sim_node_options o = {
        .address = nat == NULL ? probe_address(i, 0)
                               : env_addr_v4(192, 168, (uint8_t)(i >> 8), (uint8_t)i, 0),
        .nat = nat,
        .boot = boot,
        .drop = drop,
        .arg = me,
        /* Some seconds off, as machines without a time server are. */
        .wall_skew_ms = (int64_t)sim_random_below(t->w, 20000) - 10000,
    };
    me->town = t;
    me->kind = i < t->o.bootstrap ? TOWN_BOOTSTRAP : nat != NULL ? TOWN_USER : TOWN_LISTED;
    if (me->kind == TOWN_USER && t->n_hidden < t->o.hidden) {
        me->kind = TOWN_HIDDEN;
        t->n_hidden++;
    }
    me->node = sim_node_add(t->w, &o);
    if (me->node == NULL)
        abort();
    uint64_t at = i < t->o.bootstrap ? 0 : SIM_MS(OPEN_MS) + sim_random_below(t->w, t->o.window_ns);
    sim_at(t->w, at, come_back, me);
}

struct town *town_create(const struct town_options *o)
{
    struct town *t = calloc(1, sizeof *t);
    struct sim_options so = { .seed = o->seed, .link = sim_link_rough };
    so.link.loss_ppm = o->loss_ppm;
    if (t == NULL || (t->nodes = calloc(o->nodes, sizeof *t->nodes)) == NULL ||
        (t->contacts = calloc(o->bootstrap, sizeof *t->contacts)) == NULL ||
        (t->w = sim_create(&so)) == NULL ||
        mesh_network_init(&t->network, "sim", 1, false, NULL) < 0)
        abort();
    t->o = *o;
    struct sim_nat *nat = NULL;
    uint32_t in_box = NAT_SHARE;
    for (uint32_t i = 0; i < o->nodes; i++) {
        bool is_user = i >= o->bootstrap && sim_random_below(t->w, 100) < o->nat_percent;
        if (is_user && in_box == NAT_SHARE) {
            nat = add_box(t, i);
            in_box = 0;
        }
        in_box += is_user ? 1 : 0;
        add_node(t, i, is_user ? nat : NULL);
    }
    sim_at(t->w, SIM_MS(OPEN_MS), open_town, t);
    return t;
}

void town_destroy(struct town *t)
{
    sim_destroy(t->w);
    free(t->first_link.v);
    free(t->ready.v);
    free(t->contacts);
    free(t->nodes);
    free(t);
}
