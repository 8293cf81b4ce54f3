#include "node/metrics.h"

#include "base/log.h"
#include "dht/dht.h"
#include "node/control.h"
#include "node/endpoints.h"
#include "node/gather.h"
#include "node/methods.h"
#include "node/node_internal.h"
#include "node/onion_node.h"
#include "node/roles.h"

static void gauge(metric_fn fn, void *arg, const char *name, const char *help, uint64_t value)
{
    fn(arg, &(struct metric){ .kind = METRIC_GAUGE, .name = name, .help = help, .value = value });
}

static void counter(metric_fn fn, void *arg, const char *name, const char *help, uint64_t value)
{
    fn(arg, &(struct metric){ .kind = METRIC_COUNTER, .name = name, .help = help, .value = value });
}

static void process_metrics(struct node *n, metric_fn fn, void *arg)
{
    fn(arg, &(struct metric){ .kind = METRIC_GAUGE,
                              .name = "cyx_node_info",
                              .label = "version",
                              .value_of_label = CYX_VERSION,
                              .help = "Always 1; the label tells the daemon's version.",
                              .value = 1 });
    gauge(fn, arg, "cyx_node_ready", "1 once the node has joined the mesh.",
          n->state == NODE_READY);
    gauge(fn, arg, "cyx_node_uptime_seconds", "Seconds since the start.",
          (env_now_ns(node_env(n)) - n->started_ns) / 1000000000u);
    gauge(fn, arg, "cyx_node_resident_bytes", "Memory in use.", node__rss(n));
    gauge(fn, arg, "cyx_node_workers", "Threads that move packets.", workers_len(n->workers));
    counter(fn, arg, "cyx_node_worker_messages_lost_total",
            "Messages between workers lost because one had too many to read.",
            workers_lost(n->workers));
    gauge(fn, arg, "cyx_node_sandboxed", "1 when system calls and files are restricted.",
          n->sandbox.has_seccomp && n->sandbox.landlock_abi > 0);
    counter(fn, arg, "cyx_node_log_suppressed_lines_total",
            "Log lines not written because too many came in one second.", log_suppressed(n->log));
}

static void control_metrics(struct node *n, metric_fn fn, void *arg)
{
    struct control_counts c;
    control_counts(n->control, &c);
    gauge(fn, arg, "cyx_control_clients", "Programs connected to the control socket.", c.clients);
    gauge(fn, arg, "cyx_control_clients_limit", "How many there may be.", CONTROL_CLIENTS_MAX);
    gauge(fn, arg, "cyx_control_calls_in_flight", "Control calls without a reply yet.",
          c.in_flight);
    counter(fn, arg, "cyx_control_accepted_total", "Clients taken.", c.accepted);
    counter(fn, arg, "cyx_control_refused_total", "Clients refused.", c.refused);
    counter(fn, arg, "cyx_control_calls_total", "Control calls.", c.calls);
    counter(fn, arg, "cyx_control_errors_total", "Control calls answered with an error.", c.errors);
    counter(fn, arg, "cyx_control_malformed_total", "Clients closed for a broken request.",
            c.malformed);
    counter(fn, arg, "cyx_control_slow_total", "Clients closed because they did not read.", c.slow);
}

static void role_metrics(struct node *n, metric_fn fn, void *arg)
{
    for (size_t i = 0; i < roles_len(n->roles); i++) {
        char text[256];
        fn(arg,
           &(struct metric){ .kind = METRIC_GAUGE,
                             .name = "cyx_role_health",
                             .label = "role",
                             .value_of_label = roles_at(n->roles, i)->name,
                             .help = "0 healthy, 1 degraded, 2 failed.",
                             .value = (uint64_t)roles_health(n->roles, i, text, sizeof text) });
    }
    roles_metrics(n->roles, fn, arg);
}

void node__metrics(struct node *n, const struct node_gathered *g, metric_fn fn, void *arg)
{
    process_metrics(n, fn, arg);
    if (n->control != NULL)
        control_metrics(n, fn, arg);
    for (size_t i = 0; i < g->n_metrics; i++)
        fn(arg, &g->metrics[i]);
    if (n->dht != NULL)
        dht_metrics(n->dht, fn, arg);
    if (n->endpoints != NULL)
        endpoints_metrics(n->endpoints, fn, arg);
    if (n->onion != NULL)
        node__onion_metrics(n, fn, arg);
    role_metrics(n, fn, arg);
}

struct show {
    struct node *n;
    metric_fn fn;
    void *arg;
};

static void show(void *arg, const struct node_gathered *g)
{
    const struct show *s = arg;
    node__metrics(s->n, g, s->fn, s->arg);
}

void node__metrics_now(struct node *n, metric_fn fn, void *arg)
{
    struct show s = { n, fn, arg };
    if (workers_len(n->workers) == 1) {
        node__gather(n, NODE_GATHER_METRICS, show, &s); /* calls back at once */
        return;
    }
    struct node_gathered last = { .metrics = n->rates.metrics, .n_metrics = n->rates.n_metrics };
    show(&s, &last);
}
