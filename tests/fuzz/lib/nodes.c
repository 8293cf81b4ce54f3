#include "tests/fuzz/lib/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

static struct mesh_identity snapshot[FUZZ_NODES_MAX];

void fuzz_must(bool ok)
{
    if (!ok)
        abort();
}

static void make_identity(void *arg, struct sim_node *s)
{
    struct fuzz_node *me = arg;
    struct env *env = sim_node_env(s);
    struct mesh_pow_subject subject;
    uint8_t nonce[16] = { 0 }, proof[MESH_POW_PROOF];
    me->identity = mesh_identity_create(env, (uint64_t)env_wall_ms(env) / 1000, NULL);
    fuzz_must(me->identity != NULL);
    mesh_identity_subject(me->identity, &subject);
    fuzz_must(mesh_pow_solve(&subject, 1, nonce, NULL, proof, NULL) == 0);
    fuzz_must(mesh_identity_set_puzzle(me->identity, &me->config.network, proof, NULL) == 0);
}

static void make_node(struct fuzz_node *me, struct sim_world *w, const struct mesh_network *net)
{
    struct env_addr at = env_addr_v4(10, 0, 0, (uint8_t)(me->number + 1), 0);
    me->config =
        (struct mesh_config){ .network = *net, .is_listed = true, .listen.port = FUZZ_PORT };
    me->sim = sim_node_add(
        w, &(struct sim_node_options){ .address = at, .boot = make_identity, .arg = me });
    fuzz_must(me->sim != NULL);
    sim_node_boot(me->sim);
    memcpy(&snapshot[me->number], me->identity, sizeof snapshot[0]);
    me->config.identity = me->identity;
    at.port = FUZZ_PORT;
    me->contact.addr = at;
    memcpy(me->contact.id, me->identity->id, 32);
    memcpy(me->contact.link_key, me->identity->link.pub, 32);
}

uint64_t fuzz_nodes_make(struct fuzz_node *nodes, unsigned n, struct mesh_network *net)
{
    fuzz_must(n <= FUZZ_NODES_MAX && secret_init(NULL) == 0 &&
              mesh_network_init(net, "fuzz", 1, true, NULL) == 0);
    struct sim_world *w = sim_create(&(struct sim_options){ .seed = 1 });
    fuzz_must(w != NULL);
    for (unsigned i = 0; i < n; i++) {
        nodes[i].number = i;
        make_node(&nodes[i], w, net);
    }
    uint64_t now = (uint64_t)env_wall_ms(sim_node_env(nodes[0].sim)) / 1000;
    sim_destroy(w);
    return now;
}

struct sim_world *fuzz_nodes_begin(struct fuzz_node *nodes, unsigned n, uint32_t latency_us,
                                   void (*boot)(void *arg, struct sim_node *s),
                                   void (*drop)(void *arg, struct sim_node *s))
{
    struct sim_world *w = sim_create(&(struct sim_options){
        .seed = 1, .link = { .latency_min_us = latency_us, .latency_max_us = latency_us } });
    fuzz_must(w != NULL);
    for (unsigned i = 0; i < n; i++) {
        struct fuzz_node *me = &nodes[i];
        struct env_addr at = me->contact.addr;
        at.port = 0;
        memcpy(me->identity, &snapshot[i], sizeof snapshot[i]);
        me->sim = sim_node_add(
            w, &(struct sim_node_options){ .address = at, .boot = boot, .drop = drop, .arg = me });
        fuzz_must(me->sim != NULL);
        sim_node_boot(me->sim);
    }
    return w;
}

void fuzz_node_power(struct fuzz_node *me)
{
    if (sim_node_is_up(me->sim))
        sim_node_crash(me->sim);
    else
        sim_node_boot(me->sim);
}

void fuzz_node_let_go(struct fuzz_node *me, enum mesh_rpc_status status)
{
    while (me->n_held > 0)
        mesh_reply(me->held[--me->n_held], status, NULL);
}

void fuzz_ignore(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    (void)arg;
    (void)code;
    (void)status;
    (void)items;
    (void)n;
}
