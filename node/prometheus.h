/* node/prometheus.h - counters as Prometheus text (exposition format 0.0.4). */
#pragma once
#include <msgpack.h>
#include <stdbool.h>

#include "base/metric.h"

enum { PROMETHEUS_GROUPS_MAX = 1024 };

/* Where the text grows. The format wants all lines of one name together; callers need not. */
struct prometheus {
    struct prometheus_group *groups; /* one for each name, in order of appearance */
    size_t n_groups;
    msgpack_sbuffer text; /* after prometheus_end; used as a growing buffer */
    bool is_full;         /* memory or groups ran out: the text is of no use */
};

void prometheus_init(struct prometheus *p);
void prometheus_fini(struct prometheus *p);
/* A metric_fn (arg: struct prometheus): adds a line, with HELP and TYPE when its name is new. Names
 * that the format forbids are left out. */
void prometheus_add(void *arg, const struct metric *m);
/* Puts the groups together into p->text. */
void prometheus_end(struct prometheus *p);
