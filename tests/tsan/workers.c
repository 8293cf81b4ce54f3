/* tests/tsan/workers.c - four nodes of two workers each in one process, linked to each other,
 * exchanging requests and cells on every thread, and questions that pass between workers at both
 * ends, until all have had enough. Under ThreadSanitizer a
 * race is an error; in every build each worker must have been served, and the end must be clean. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mp.h"
#include "base/secret.h"
#include "base/uv/env_uv.h"
#include "mesh/pow.h"
#include "node/workers.h"

enum {
    N_NODES = 4,
    N_WORKERS = 2,
    ENOUGH_CELLS = 10000,
    ENOUGH_ANSWERS = 1000,
    ENOUGH_ASKED = 500,
    CANCEL_EVERY = 7, /* questions; taken back at the next tick */
    CELLS_A_TICK = 8,
    TICK_MS = 2,
    LIMIT_S = 240, /* far more than it takes: whoever hangs is ended */
};

/* What a worker counts, on its own thread. */
struct side {
    struct node *node;
    unsigned number;
    struct mesh *mesh;
    struct env_timer timer;
    unsigned n_cells, n_answers, n_asking;
    /* worker 0: questions to the other nodes, whoever has their links */
    unsigned n_asked, n_asked_of[N_NODES], n_to_ask;
    struct question {
        struct side *side;
        struct mesh_ask *ask; /* NULL: not under way */
        bool is_doomed;
    } questions[N_NODES];
    bool is_done;
};

struct node {
    struct workers *workers;
    struct mesh_identity *identity;
    struct mesh_config config;
    struct mesh_contact contact;
    struct side side[N_WORKERS];
    unsigned n_done, n_gone; /* workers that had enough; that ended their timer */
    pthread_t thread;
    char dir[64];
};

static atomic_uint n_nodes_done;
static struct node nodes[N_NODES];

/* Meets the condition of all nodes' end: everybody goes on serving until the last had enough. */
static void end_when_all_done(struct node *n);

static void out_of(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s failed\n", what);
    abort();
}

/* ---- a worker's thread ----------------------------------------------------------------------- */

static void worker_done(void *arg)
{
    struct node *n = arg;
    if (++n->n_done == N_WORKERS) {
        atomic_fetch_add(&n_nodes_done, 1);
        end_when_all_done(n);
    }
}

static void look(struct side *s)
{
    if (s->is_done || s->n_cells < ENOUGH_CELLS || s->n_answers < ENOUGH_ANSWERS ||
        (s->number == 0 && s->n_asked < ENOUGH_ASKED))
        return;
    s->is_done = true;
    env_post(workers_env(s->node->workers, 0), worker_done, s->node);
}

static void on_cell(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL])
{
    struct side *s = arg;
    (void)l;
    (void)path;
    out_of(cell[0] == 0x43, "a cell");
    s->n_cells++;
    look(s);
}

static void on_answer(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct side *s = arg;
    (void)items;
    (void)n;
    s->n_asking--;
    s->n_answers += code == 0 && status == MESH_RPC_OK;
    look(s);
}

static void serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    (void)arg;
    (void)items;
    (void)n;
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = (const uint8_t *)"\xc3", .len = 1, .n = 1 });
}

/* What worker 0 serves for all: says back what it was asked with. */
static void serve_for_all(void *arg, struct mesh_request *rq, const msgpack_object *items,
                          unsigned n)
{
    uint8_t data[16];
    uint64_t value = 0;
    struct mesh_asker from;
    msgpack_packer pk;
    struct writer w = writer_on(data, sizeof data);
    (void)arg;
    out_of(mesh_request_asker(rq, &from) && n == 1 && mp_u64(&items[0], &value), "a request");
    mp_packer(&pk, &w);
    msgpack_pack_uint64(&pk, value);
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ data, writer_len(&w), 1 });
}

static void on_asked(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct question *q = arg;
    uint64_t value = 0;
    q->ask = NULL;
    if (code == 0 && status == MESH_RPC_OK) {
        out_of(n == 1 && mp_u64(&items[0], &value) && value == (uint64_t)(q - q->side->questions),
               "an answer");
        q->side->n_asked++;
        q->side->n_asked_of[value]++;
    }
    look(q->side);
}

static void ask_node(struct side *s, unsigned i)
{
    struct question *q = &s->questions[i];
    uint8_t data[] = { (uint8_t)i };
    const struct mesh_items items = { data, 1, 1 };
    if (&nodes[i] == s->node)
        return;
    if (q->ask != NULL && q->is_doomed) {
        mesh_ask_cancel(q->ask);
        q->ask = NULL;
    }
    if (q->ask != NULL)
        return;
    q->side = s;
    q->is_doomed = s->n_to_ask++ % CANCEL_EVERY == 0;
    if (mesh_ask(s->mesh, &nodes[i].contact, MESH_METHOD_RECORDS, &items, 0, on_asked, q,
                 &q->ask) != 0)
        q->ask = NULL;
}

static bool use_link(void *arg, struct mesh_link *l)
{
    struct side *s = arg;
    struct mesh_link_info i;
    uint8_t cell[MESH_CELL] = { 0x43 };
    mesh_link_info(l, &i);
    /* Each side's paths have a top bit of their own. */
    bool is_low = memcmp(mesh_identity_of(s->mesh)->link.pub, i.key, 32) < 0;
    if (i.state != MESH_LINK_UP)
        return true;
    for (unsigned k = 0; k < CELLS_A_TICK; k++)
        (void)mesh_cell_send(l, is_low ? 1u : 0x80000001u, cell);
    const struct mesh_items items = { .data = (const uint8_t *)"\xc3", .len = 1, .n = 1 };
    if (s->n_asking < 16 && mesh_call(l, MESH_METHOD_CALL, &items, 0, on_answer, s, NULL) == 0)
        s->n_asking++;
    return true;
}

static void on_tick(struct env_timer *t, void *arg)
{
    struct side *s = arg;
    mesh_links_each(s->mesh, use_link, s);
    for (unsigned i = 0; s->number == 0 && i < N_NODES; i++)
        ask_node(s, i);
    env_timer_in(mesh_env(s->mesh), t, ENV_MS(TICK_MS));
}

static const struct mesh_paths paths = { .cell = on_cell };

static void begin(void *arg)
{
    struct side *s = arg;
    s->mesh = workers_mesh(s->node->workers, s->number);
    mesh_set_paths(s->mesh, &paths, s);
    out_of(mesh_serve(s->mesh, MESH_METHOD_CALL, serve, s) == 0, "mesh_serve");
    if (s->number == 0) {
        out_of(mesh_serve(s->mesh, MESH_METHOD_RECORDS, serve_for_all, s) == 0, "mesh_serve");
        workers_hand_requests(s->node->workers, MESH_METHOD_RECORDS);
    }
    env_timer_init(&s->timer, on_tick, s);
    env_timer_in(mesh_env(s->mesh), &s->timer, 0);
}

/* ---- a node's main thread -------------------------------------------------------------------- */

static void on_stopped(void *arg)
{
    struct node *n = arg;
    env_uv_stop(workers_env(n->workers, 0));
}

static void side_ended(void *arg)
{
    struct node *n = arg;
    if (++n->n_gone == N_WORKERS)
        workers_stop(n->workers, on_stopped, n);
}

static void end_side(void *arg)
{
    struct side *s = arg;
    env_timer_stop(mesh_env(s->mesh), &s->timer);
    for (unsigned i = 0; i < N_NODES; i++) {
        if (s->questions[i].ask != NULL)
            mesh_ask_cancel(s->questions[i].ask);
        out_of(s->number > 0 || &nodes[i] == s->node || s->n_asked_of[i] > 0, "asking every node");
    }
    env_post(workers_env(s->node->workers, 0), side_ended, s->node);
}

static void end_node(void *arg)
{
    struct node *n = arg;
    for (unsigned i = 0; i < N_WORKERS; i++)
        env_post(workers_env(n->workers, i), end_side, &n->side[i]);
}

static void end_when_all_done(struct node *n)
{
    (void)n;
    if (atomic_load(&n_nodes_done) == N_NODES)
        for (unsigned i = 0; i < N_NODES; i++)
            env_post(workers_env(nodes[i].workers, 0), end_node, &nodes[i]);
}

static void *run(void *arg)
{
    struct node *n = arg;
    env_uv_run(workers_env(n->workers, 0));
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* An identity whose link key belongs to worker `owner`, so that all workers get peers. */
static void give_identity(struct node *n, unsigned owner)
{
    struct env *env = workers_env(n->workers, 0);
    struct mesh_pow_subject subject;
    uint8_t nonce[16] = { 0 }, proof[MESH_POW_PROOF];
    do {
        mesh_identity_destroy(n->identity);
        n->identity = mesh_identity_create(env, (uint64_t)env_wall_ms(env) / 1000, NULL);
        out_of(n->identity != NULL, "mesh_identity_create");
    } while (mesh_worker_of(n->identity->link.pub, N_WORKERS) != owner);
    mesh_identity_subject(n->identity, &subject);
    out_of(mesh_pow_solve(&subject, 1, nonce, NULL, proof, NULL) == 0, "mesh_pow_solve");
    out_of(mesh_identity_set_puzzle(n->identity, &n->config.network, proof, NULL) == 0, "puzzle");
}

static void open_node(struct node *n, unsigned i, struct log *log,
                      const struct mesh_contact *bootstrap)
{
    struct cyx_err err = { 0 };
    snprintf(n->dir, sizeof n->dir, "/tmp/cyx-tsan-XXXXXX");
    out_of(mkdtemp(n->dir) != NULL, "mkdtemp");
    n->workers = workers_create(n->dir, log, N_WORKERS, &err);
    out_of(n->workers != NULL, err.msg);
    out_of(mesh_network_init(&n->config.network, "tsan", 1, true, &err) == 0, err.msg);
    give_identity(n, i % N_WORKERS);
    n->config.identity = n->identity;
    n->config.is_listed = true;
    n->config.listen = env_addr_v4(127, 0, 0, 1, 0);
    n->config.bootstrap = bootstrap;
    n->config.n_bootstrap = bootstrap != NULL;
    for (unsigned k = 0; k < N_WORKERS; k++)
        n->side[k] = (struct side){ .node = n, .number = k };
    out_of(workers_open(n->workers, &n->config, &err) == 0, err.msg);
    for (unsigned k = 0; k < N_WORKERS; k++)
        env_post(workers_env(n->workers, k), begin, &n->side[k]);
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        (void)unlinkat(dirfd(d), f->d_name, 0);
    closedir(d);
    (void)rmdir(dir);
}

int main(void)
{
    struct mesh_contact first;
    struct cyx_err err = { 0 };
    unsigned n_cells = 0, n_answers = 0, n_asked = 0;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct log *log =
        log_create(&(struct log_options){ .level = LOG_LEVEL_DEBUG, .fd = null, .ring_lines = 64 });
    out_of(log != NULL && secret_init(&err) == 0, "the start");
    alarm(LIMIT_S);
    for (unsigned i = 0; i < N_NODES; i++) {
        open_node(&nodes[i], i, log, i > 0 ? &first : NULL);
        mesh_own_contact(workers_mesh(nodes[i].workers, 0), &nodes[i].contact);
        if (i == 0)
            first = nodes[0].contact;
    }
    for (unsigned i = 0; i < N_NODES; i++)
        out_of(pthread_create(&nodes[i].thread, NULL, run, &nodes[i]) == 0, "pthread_create");
    for (unsigned i = 0; i < N_NODES; i++)
        pthread_join(nodes[i].thread, NULL);
    for (unsigned i = 0; i < N_NODES; i++) {
        workers_destroy(nodes[i].workers);
        mesh_identity_destroy(nodes[i].identity);
        remove_dir(nodes[i].dir);
        for (unsigned k = 0; k < N_WORKERS; k++) {
            n_cells += nodes[i].side[k].n_cells;
            n_answers += nodes[i].side[k].n_answers;
            n_asked += nodes[i].side[k].n_asked;
        }
    }
    log_destroy(log);
    close(null);
    printf("%d nodes of %d workers: %u cells, %u answers, %u questions\n", N_NODES, N_WORKERS,
           n_cells, n_answers, n_asked);
    return 0;
}
