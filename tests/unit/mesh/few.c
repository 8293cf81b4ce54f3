#include "few.h"

#include <stdio.h>

#include "base/secret.h"

static const struct sim_link quiet = { .latency_min_us = 10000, .latency_max_us = 10000 };

void few_init(struct few *f, uint64_t seed, const struct sim_link *link)
{
    few_init_at(f, seed, link, 0);
}

void few_init_at(struct few *f, uint64_t seed, const struct sim_link *link, int64_t epoch_ms)
{
    struct cyx_err err = { 0 };
    memset(f, 0, sizeof *f);
    cr_assert_eq(secret_init(&err), 0, "%s", err.msg);
    f->world = sim_create(
        &(struct sim_options){ .seed = seed, .link = link ? *link : quiet, .epoch_ms = epoch_ms });
    cr_assert_not_null(f->world);
}

void few_fini(struct few *f)
{
    sim_destroy(f->world);
    for (unsigned i = 0; i < f->n; i++)
        mesh_identity_destroy(f->node[i].identity);
}

/* ---- the program of a node ------------------------------------------------------------------- */

static void on_up(void *arg, struct mesh_link *l)
{
    struct few_node *n = arg;
    n->ups++;
    if (n->on_up != NULL)
        n->on_up(n, l);
}

static void on_known(void *arg, struct mesh_link *l)
{
    struct few_node *n = arg;
    (void)l;
    n->knowns++;
}

static void on_down(void *arg, struct mesh_link *l, const char *why)
{
    struct few_node *n = arg;
    (void)l;
    n->downs++;
    snprintf(n->why, sizeof n->why, "%s", why);
}

static void on_cell(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL])
{
    struct few_node *n = arg;
    struct reader r = reader_on(cell, MESH_CELL);
    (void)l;
    (void)path;
    n->cells[n->n_cells++ % FEW_LOG] = reader_u32(&r);
}

static void on_destroy(void *arg, struct mesh_link *l, uint32_t path)
{
    struct few_node *n = arg;
    (void)l;
    n->destroyed[n->n_destroyed++ % FEW_LOG] = path;
}

static void on_train(void *arg, struct mesh_link *l, uint32_t path, bool is_reply,
                     const uint8_t *train, size_t len)
{
    struct few_node *n = arg;
    (void)l;
    (void)is_reply;
    cr_expect_eq(train[len - 1], 0x5a);
    n->trains++;
    n->train_path = path;
    n->train_len = len;
}

static void on_writable(void *arg, struct mesh_link *l)
{
    struct few_node *n = arg;
    (void)l;
    n->writables++;
}

static const struct mesh_paths paths = { on_cell, on_destroy, on_train, on_writable };

static void give_identity(struct few_node *n, struct env *env)
{
    struct cyx_err err = { 0 };
    struct mesh_pow_subject subject;
    uint8_t nonce[16] = { 0 }, proof[MESH_POW_PROOF];
    n->identity = mesh_identity_create(env, (uint64_t)env_wall_ms(env) / 1000, &err);
    cr_assert_not_null(n->identity, "%s", err.msg);
    mesh_identity_subject(n->identity, &subject);
    cr_assert_eq(mesh_pow_solve(&subject, 1, nonce, NULL, proof, &err), 0, "%s", err.msg);
    cr_assert_eq(mesh_identity_set_puzzle(n->identity, &n->config.network, proof, &err), 0, "%s",
                 err.msg);
}

static void boot(void *arg, struct sim_node *s)
{
    struct few_node *n = arg;
    struct cyx_err err = { 0 };
    struct env *env = sim_node_env(s);
    if (n->identity == NULL)
        give_identity(n, env);
    n->config.identity = n->identity;
    n->mesh = mesh_create(env, &n->config, &err);
    cr_assert_not_null(n->mesh, "%s", err.msg);
    n->watcher =
        (struct mesh_watcher){ .link_up = on_up, .link_known = on_known, .link_down = on_down };
    n->watcher.arg = n;
    mesh_watch(n->mesh, &n->watcher);
    mesh_set_paths(n->mesh, &paths, n);
    cr_assert_eq(mesh_start(n->mesh, &err), 0, "%s", err.msg);
    memcpy(n->contact.id, n->identity->id, 32);
    memcpy(n->contact.link_key, n->identity->link.pub, 32);
    n->is_stopped = false;
    if (n->started != NULL)
        n->started(n);
}

static void drop(void *arg, struct sim_node *s)
{
    struct few_node *n = arg;
    (void)s;
    if (n->dropping != NULL)
        n->dropping(n);
    mesh_destroy(n->mesh);
    n->mesh = NULL;
}

struct few_node *few_add(struct few *f, uint8_t net)
{
    struct cyx_err err = { 0 };
    cr_assert_lt(f->n, FEW_MAX);
    struct few_node *n = &f->node[f->n];
    struct sim_node_options o = { .address = env_addr_v4(10, 0, net, (uint8_t)(f->n + 1), 0),
                                  .lan = f->lan,
                                  .boot = boot,
                                  .drop = drop,
                                  .arg = n };
    if (f->lan != 0)
        o.address6 = (struct env_addr){ .ip = { 0xfe, 0x80, [15] = (uint8_t)(f->n + 1) } };
    n->few = f;
    n->number = f->n++;
    n->sim = sim_node_add(f->world, &o);
    cr_assert_not_null(n->sim);
    n->config.is_listed = true;
    n->config.listen.port = 4100;
    n->contact.addr = env_addr_v4(10, 0, net, (uint8_t)(n->number + 1), 4100);
    cr_assert_eq(mesh_network_init(&n->config.network, "few", 1, true, &err), 0, "%s", err.msg);
    return n;
}

void few_boot(struct few_node *n)
{
    sim_node_boot(n->sim);
}

void few_run_ms(struct few *f, uint64_t ms)
{
    sim_run_until(f->world, sim_now(f->world) + SIM_MS(ms));
}

void few_in(struct few_node *n, env_fn fn, void *arg)
{
    sim_node_enter(n->sim, fn, arg);
    sim_run_until(n->few->world, sim_now(n->few->world));
}

struct dialling {
    struct few_node *from;
    const struct few_node *to;
    struct mesh_link *link;
};

static void dial(void *arg)
{
    struct dialling *d = arg;
    struct cyx_err err = { 0 };
    d->link = mesh_dial(d->from->mesh, &d->to->contact, &err);
    if (d->link != NULL)
        mesh_link_keep(d->link);
}

struct mesh_link *few_dial(struct few_node *from, const struct few_node *to)
{
    struct dialling d = { .from = from, .to = to };
    few_in(from, dial, &d);
    return d.link;
}

struct mesh_link *few_link(const struct few_node *n, const struct few_node *peer)
{
    struct mesh_link *found = NULL;
    list_each (at, &n->mesh->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state == MESH_LINK_CLOSING)
            continue;
        if (memcmp(l->key, peer->identity->link.pub, 32) == 0)
            found = l;
    }
    return found;
}

void few_pair(struct few *f, uint64_t seed)
{
    few_init(f, seed, NULL);
    few_boot(few_add(f, 0));
    few_boot(few_add(f, 0));
    few_run_ms(f, 50);
    cr_assert_not_null(few_dial(&f->node[0], &f->node[1]));
    few_run_ms(f, 500);
    for (unsigned i = 0; i < 2; i++) {
        struct mesh_link *l = few_link(&f->node[i], &f->node[1 - i]);
        cr_assert_not_null(l);
        cr_assert_eq(l->state, MESH_LINK_UP);
    }
}

uint64_t few_drops(const struct few_node *n, unsigned type, enum drop reason)
{
    return n->mesh->n.dropped[type][reason];
}

static void stopped(void *arg)
{
    struct few_node *n = arg;
    n->is_stopped = true;
}

static void stop(void *arg)
{
    struct few_node *n = arg;
    mesh_stop(n->mesh, stopped, n);
}

void few_stop(struct few_node *n)
{
    few_in(n, stop, n);
}
