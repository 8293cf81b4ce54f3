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
