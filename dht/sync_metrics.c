/* dht/sync_metrics.c - every counter of the roster and its sync. */
#include "dht/sync_internal.h"

struct out {
    metric_fn fn;
    void *arg;
};

static void gauge(const struct out *o, const char *name, const char *help, uint64_t value)
{
    o->fn(o->arg,
          &(struct metric){ .kind = METRIC_GAUGE, .name = name, .help = help, .value = value });
}

static void counter(const struct out *o, const char *name, const char *help, uint64_t value)
{
    o->fn(o->arg,
          &(struct metric){ .kind = METRIC_COUNTER, .name = name, .help = help, .value = value });
}

static void labelled(const struct out *o, const char *name, const char *help, const char *label,
                     const char *value_of_label, uint64_t value)
{
    o->fn(o->arg, &(struct metric){ .kind = METRIC_COUNTER,
                                    .name = name,
                                    .help = help,
                                    .label = label,
                                    .value_of_label = value_of_label,
                                    .value = value });
}

static void records(const struct out *o, const struct sync__counters *n)
{
    static const char refused[] = "cyx_dht_sync_refused_total";
    static const char why[] = "records and answers refused by reason";
    labelled(o, "cyx_dht_sync_records_total", "records taken by kind", "kind", "new", n->taken);
    labelled(o, "cyx_dht_sync_records_total", "records taken by kind", "kind", "newer", n->renewed);
    labelled(o, refused, why, "reason", "held", n->held);
    labelled(o, refused, why, "reason", "full", n->full);
    labelled(o, refused, why, "reason", "useless", n->useless);
    labelled(o, refused, why, "reason", "unasked", n->unasked);
    labelled(o, refused, why, "reason", "too_many", n->too_many);
    labelled(o, refused, why, "reason", "bad_list", n->bad_list);
    for (unsigned d = 1; d < DROP_COUNT_; d++)
        labelled(o, refused, why, "reason", drop_name((enum drop)d), n->dropped[d]);
}

static void served(const struct out *o, const struct sync__counters *n)
{
    static const char name[] = "cyx_dht_sync_served_total";
    static const char help[] = "requests of the roster served by method";
    labelled(o, name, help, "method", "digest", n->digests_in);
    labelled(o, name, help, "method", "list", n->lists_in);
    labelled(o, name, help, "method", "records", n->records_in);
    counter(o, "cyx_dht_sync_served_bad_total", "malformed ones", n->refused_in);
    counter(o, "cyx_dht_sync_records_sent_total", "records told to others", n->records_out);
}

void dht_sync_metrics(const struct dht_sync *s, metric_fn fn, void *arg)
{
    const struct sync__counters *n = &s->n;
    struct out o = { .fn = fn, .arg = arg };
    gauge(&o, "cyx_dht_roster", "listed nodes known", dht_roster_len(s->roster));
    gauge(&o, "cyx_dht_roster_max", "... at most", dht_roster_cap(s->roster));
    gauge(&o, "cyx_dht_roster_prefixes", "address prefixes they are in",
          dht_roster_prefixes(s->roster));
    gauge(&o, "cyx_dht_roster_ready", "enough of them are known", dht_sync_is_ready(s));
    gauge(&o, "cyx_dht_roster_unwritten", "changes that are not on disk yet", map_len(s->writes));
    counter(&o, "cyx_dht_sync_rounds_total", "rounds of asking", n->rounds);
    counter(&o, "cyx_dht_sync_pushes_total", "... that pushed a change", n->pushes);
    counter(&o, "cyx_dht_sync_peers_total", "peers asked", n->peers);
    counter(&o, "cyx_dht_sync_backs_total", "... because they asked us", n->backs);
    counter(&o, "cyx_dht_sync_peers_failed_total", "... that did not answer", n->peers_failed);
    counter(&o, "cyx_dht_sync_peers_lying_total", "... that sent what no honest one does",
            n->peers_lying);
    records(&o, n);
    served(&o, n);
    counter(&o, "cyx_dht_roster_store_errors_total", "writes of the roster that failed",
            n->store_errors);
    counter(&o, "cyx_dht_roster_store_bad_total", "entries found useless at start", n->store_bad);
}
