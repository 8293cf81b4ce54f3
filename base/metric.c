#include "base/metric.h"

#include <stddef.h>

static void say(const struct metric_out *o, enum metric_kind kind, const char *name,
                const char *help, uint64_t value)
{
    o->fn(o->arg, &(struct metric){ .kind = kind, .name = name, .help = help, .value = value });
}

void metric_counter(const struct metric_out *o, const char *name, const char *help, uint64_t value)
{
    say(o, METRIC_COUNTER, name, help, value);
}

void metric_gauge(const struct metric_out *o, const char *name, const char *help, uint64_t value)
{
    say(o, METRIC_GAUGE, name, help, value);
}

void metric_labelled(const struct metric_out *o, const char *name, const char *help,
                     const char *label, const char *value_of_label, uint64_t value)
{
    o->fn(o->arg, &(struct metric){ .kind = METRIC_COUNTER,
                                    .name = name,
                                    .help = help,
                                    .label = label,
                                    .value_of_label = value_of_label,
                                    .value = value });
}

void metric_bound(const struct metric_out *o, const char *used_name, const char *limit_name,
                  const char *what, uint64_t used, uint64_t limit)
{
    struct metric m = { .kind = METRIC_GAUGE, .label = "what", .value_of_label = what };
    m.name = used_name;
    m.help = "how much of a bound is in use";
    m.value = used;
    o->fn(o->arg, &m);
    m.name = limit_name;
    m.help = "a bound";
    m.value = limit;
    o->fn(o->arg, &m);
}
