/* base/metric.h - how a module shows its counters: it calls back once for each, whoever asks
 * (Prometheus text, `cyx top`, a simulator's table) formats them. */
#pragma once
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    enum metric_kind kind;
    const char *name;           /* "cyx_mesh_packets_dropped_total" */
    const char *label;          /* label name, or NULL: "reason" */
    const char *value_of_label; /* "replay" */
    const char *help;           /* one line */
    uint64_t value;
};

typedef void (*metric_fn)(void *arg, const struct metric *m);

/* Who asks, for the short forms below. */
struct metric_out {
    metric_fn fn;
    void *arg;
};
void metric_counter(const struct metric_out *o, const char *name, const char *help, uint64_t value);
void metric_gauge(const struct metric_out *o, const char *name, const char *help, uint64_t value);
/* A counter for each value of a label. */
void metric_labelled(const struct metric_out *o, const char *name, const char *help,
                     const char *label, const char *value_of_label, uint64_t value);
/* A bound and how much of it is in use: gauges `used_name` and `limit_name` with label "what". */
void metric_bound(const struct metric_out *o, const char *used_name, const char *limit_name,
                  const char *what, uint64_t used, uint64_t limit);
