#include "tests/sim/scenarios/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct env_addr probe_address(uint32_t i, uint16_t port)
{
    /* From 20.0.0.0 up: nothing private or multicast for the first ten million. */
    return env_addr_v4((uint8_t)(20 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1, port);
}

static void received(void *arg, struct env_datagrams *batch, size_t n)
{
    struct probe *p = arg;
    for (size_t i = 0; i < n; i++) {
        p->n_received++;
        p->last_from = batch[i].from;
        p->last_len = batch[i].len < PROBE_BYTES ? batch[i].len : PROBE_BYTES;
        memcpy(p->last, batch[i].data, p->last_len);
        if (p->echoes)
            env_udp_send(sim_node_env(p->node), p->udp, &batch[i].from, batch[i].data, batch[i].len,
                         batch[i].segment);
    }
}

static void boot(void *arg, struct sim_node *n)
{
    struct probe *p = arg;
    struct cyx_err err;
    struct env_udp_options o = { .bind.port = PROBE_PORT, .received = received, .arg = p };
    p->n_boots++;
    if (env_udp_open(sim_node_env(n), &o, &p->udp, &err) < 0) {
        fprintf(stderr, "probe: %s\n", err.msg);
        abort();
    }
}

static void drop(void *arg, struct sim_node *n)
{
    struct probe *p = arg;
    env_udp_close(sim_node_env(n), p->udp);
    p->udp = NULL;
}

void probe_options(struct probe *p, struct sim_node_options *o)
{
    o->boot = boot;
    o->drop = drop;
    o->arg = p;
}

void probe_add(struct probe *p, struct sim_world *w, const struct env_addr *at, struct sim_nat *nat)
{
    struct sim_node_options o = { .address = *at, .nat = nat };
    *p = (struct probe){ 0 };
    probe_options(p, &o);
    p->node = sim_node_add(w, &o);
    if (p->node == NULL)
        abort();
    sim_node_boot(p->node);
}

void probe_send(struct probe *p, const struct env_addr *to, const char *text)
{
    env_udp_send(sim_node_env(p->node), p->udp, to, (const uint8_t *)text, strlen(text),
                 PROBE_BYTES);
}

bool probe_got(const struct probe *p, const char *text)
{
    return p->last_len == strlen(text) && memcmp(p->last, text, p->last_len) == 0;
}

void run_for(struct sim_world *w, uint64_t ns)
{
    sim_run_until(w, sim_now(w) + ns);
}

struct sim_world *run_world(const struct sim_run *r, const struct sim_link *link)
{
    struct sim_options o = { .seed = run_seed(r), .link = *link };
    struct sim_world *w = sim_create(&o);
    if (w == NULL)
        abort();
    return w;
}
