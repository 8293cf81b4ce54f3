#include "sync_rig.h"

#include <sodium.h>

#include "base/mp.h"

/* ---- nodes with a roster --------------------------------------------------------------------- */

struct keeper keepers[FEW_MAX];

void keeper_start(void *arg)
{
    struct keeper *k = arg;
    struct cyx_err err = { 0 };
    static const uint8_t secret[32] = { 1 };
    k->roster = dht_roster_create(k->max, k->node->identity->id, secret, true);
    cr_assert_not_null(k->roster);
    k->sync = dht_sync_create(k->node->mesh, k->roster, k->node->config.is_listed, &err);
    cr_assert_not_null(k->sync, "%s", err.msg);
    cr_assert_eq(dht_sync_start(k->sync, &err), 0, "%s", err.msg);
}

void keeper_stop(void *arg)
{
    struct keeper *k = arg;
    dht_sync_stop(k->sync);
    dht_sync_stop(k->sync);
}

static void keeper_started(struct few_node *n)
{
    struct keeper *k = n->above;
    if (!k->is_late)
        keeper_start(k);
}

static void dropping(struct few_node *n)
{
    struct keeper *k = n->above;
    dht_sync_destroy(k->sync);
    dht_roster_destroy(k->roster);
    k->sync = NULL;
    k->roster = NULL;
}

/* A listed node that keeps a roster; the first is everybody's bootstrap node. */
struct keeper *keeper_add(struct few *f)
{
    struct few_node *n = few_add(f, 0);
    struct keeper *k = &keepers[n->number];
    *k = (struct keeper){ .node = n, .max = DHT_ROSTER_MAX };
    n->above = k;
    n->started = keeper_started;
    n->dropping = dropping;
    if (n->number > 0) {
        n->config.bootstrap = &f->node[0].contact;
        n->config.n_bootstrap = 1;
    }
    return k;
}

void keepers_boot(struct few *f, unsigned n)
{
    few_init(f, 11, NULL);
    for (unsigned i = 0; i < n; i++)
        few_boot(keeper_add(f)->node);
}

const struct dht_roster_entry *keeper_entry(const struct keeper *of, const struct keeper *at)
{
    return dht_roster_get(at->roster, of->node->identity->id);
}

/* ---- records of nodes that aren't there ------------------------------------------------------ */

void neighbour_sign(struct neighbour *m, const struct mesh_network *net)
{
    int len = mesh_node_record_build(&m->node, net, m->sk, m->data);
    cr_assert_gt(len, 0);
    m->len = (size_t)len;
}

/* A valid record of a node nobody can dial. */
void neighbour_make(struct neighbour *m, const struct few *f, uint8_t number)
{
    const struct mesh_network *net = &f->node[0].config.network;
    uint8_t seed[32] = { number, 77 };
    uint8_t nonce[16] = { number };
    struct mesh_pow_subject subject = { .purpose = MESH_POW_ID };
    *m = (struct neighbour){ .node = { .sequence = 10, .n_addrs = 1, .version = { 1, 1, 0, 0 } } };
    crypto_sign_seed_keypair(m->node.identity, m->sk, seed);
    memcpy(subject.x, m->node.identity, 32);
    cr_assert_eq(mesh_pow_solve(&subject, 1, nonce, NULL, m->node.puzzle, NULL), 0);
    mesh_node_id(m->node.id, m->node.identity, m->node.puzzle);
    m->node.expiry = mesh_time(f->node[0].mesh) + 3600 * 24;
    m->node.addrs[0] =
        (struct mesh_node_addr){ .kind = 4, .ip = env_addr_v4(10, 9, number, 1, 4100) };
    m->node.link_key[0] = number;
    neighbour_sign(m, net);
}

struct hearing {
    struct keeper *k;
    const struct neighbour *m;
    bool is_reached;
};

static void hear(void *arg)
{
    struct hearing *h = arg;
    dht_sync_heard(h->k->sync, &h->m->node, h->m->data, h->m->len, h->is_reached);
}

void keeper_tell(struct keeper *k, const struct neighbour *m, bool is_reached)
{
    struct hearing h = { k, m, is_reached };
    few_in(k->node, hear, &h);
}

/* ---- asking by hand -------------------------------------------------------------------------- */

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct asking *a = arg;
    const uint8_t *p;
    size_t len;
    a->code = code;
    a->status = status;
    a->n = n;
    for (unsigned i = 0; i < n; i++)
        if (mp_bin_any(&items[i], &p, &len)) {
            a->bytes += len;
            if (i == 0 && len <= sizeof a->first)
                memcpy(a->first, p, len);
        }
}

static void ask_now(void *arg)
{
    struct asking *a = arg;
    struct mesh_link *l = few_link(a->from, a->to);
    cr_assert_not_null(l);
    cr_assert_eq(mesh_call(l, a->method, &a->items, 0, answered, a, NULL), 0);
}

void asking_run(struct asking *a, struct few *f)
{
    a->code = 1;
    a->n = 0;
    a->bytes = 0;
    few_in(a->from, ask_now, a);
    few_run_ms(f, 300);
    cr_assert_eq(a->code, 0);
}

struct asking asking_of(struct few_node *from, struct few_node *to, unsigned method)
{
    return (struct asking){ .from = from, .to = to, .method = method };
}

struct mesh_items items_on(const struct writer *w, unsigned n)
{
    return (struct mesh_items){ .data = w->start, .len = writer_len(w), .n = n };
}
