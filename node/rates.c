/* What the mesh moved, a second ago and now. Totals come from its metrics by name, so that what is
 * shown live and what Prometheus collects can't differ. */
#include <stdlib.h>
#include <string.h>

#include "node/methods.h"

static const struct {
    const char *metric;
    enum node_rate rate;
} sources[] = {
    { "cyx_mesh_udp_received_bytes_total", RATE_RX_BYTES },
    { "cyx_mesh_udp_sent_bytes_total", RATE_TX_BYTES },
    { "cyx_mesh_packets_received_total", RATE_RX_PACKETS },
    { "cyx_mesh_packets_sent_total", RATE_TX_PACKETS },
    { "cyx_mesh_cells_received_total", RATE_CELLS },
    { "cyx_mesh_cells_sent_total", RATE_CELLS },
    { "cyx_mesh_dropped_total", RATE_DROPS },
    { "cyx_mesh_cells_dropped_total", RATE_DROPS },
};

static void add(uint64_t totals[static 6], const struct metric *m)
{
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        if (strcmp(m->name, sources[i].metric) == 0)
            totals[sources[i].rate] += m->value;
}

/* Prometheus gets these, when there are several workers. */
static void keep(struct node_rates *r, const struct node_gathered *g)
{
    struct metric *copy =
        g->n_metrics > 0 ? realloc(r->metrics, g->n_metrics * sizeof *copy) : NULL;
    if (copy == NULL)
        return; /* the last ones stay */
    memcpy(copy, g->metrics, g->n_metrics * sizeof *copy);
    r->metrics = copy;
    r->n_metrics = g->n_metrics;
}

static void on_gathered(void *arg, const struct node_gathered *g)
{
    struct node *n = arg;
    struct node_rates *r = &n->rates;
    uint64_t totals[6] = { 0 }, now = env_now_ns(node_env(n)), span = now - r->at_ns;
    if (!r->is_on)
        return; /* stopped while the workers were asked */
    for (size_t i = 0; i < g->n_metrics; i++)
        add(totals, &g->metrics[i]);
    for (size_t i = 0; i < 6; i++) {
        uint64_t grown = totals[i] > r->last[i] ? totals[i] - r->last[i] : 0;
        /* The first look comes at once, after a span too short for a rate. */
        r->per_s[i] =
            span > ENV_MS(NODE_RATE_MS) / 2 ? (uint64_t)((double)grown * 1e9 / (double)span) : 0;
        r->last[i] = totals[i];
    }
    r->at_ns = now;
    if (workers_len(n->workers) > 1)
        keep(r, g);
    env_timer_in(node_env(n), &r->timer, ENV_MS(NODE_RATE_MS));
}

static void sample(struct env_timer *t, void *arg)
{
    (void)t;
    node__gather(arg, NODE_GATHER_METRICS, on_gathered, arg);
}

void node__rates_start(struct node *n)
{
    n->rates.is_on = true;
    n->rates.at_ns = env_now_ns(node_env(n));
    env_timer_init(&n->rates.timer, sample, n);
    env_timer_in(node_env(n), &n->rates.timer, 0);
}

void node__rates_stop(struct node *n)
{
    n->rates.is_on = false;
    env_timer_stop(node_env(n), &n->rates.timer);
}
