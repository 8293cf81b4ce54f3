/* dht/metrics.c - every counter, and every bound with its use. */
#include "dht/dht_internal.h"

static void bound(const struct metric_out *o, const char *what, uint64_t used, uint64_t limit)
{
    metric_bound(o, "cyx_dht_used", "cyx_dht_limit", what, used, limit);
}

static void lookups(const struct metric_out *o, const struct dht__counters *n)
{
    static const char name[] = "cyx_dht_lookups_total";
    static const char help[] = "lookups by how they ended";
    metric_labelled(o, name, help, "end", "found", n->finds_found);
    metric_labelled(o, name, help, "end", "missing", n->finds_missing);
    metric_labelled(o, name, help, "end", "failed", n->finds_failed);
    metric_labelled(o, name, help, "end", "cancelled", n->finds_cancelled);
    metric_labelled(o, name, help, "end", "refused", n->finds_refused);
    metric_counter(o, "cyx_dht_lookups_cached_total", "lookups answered from memory",
                   n->finds_cached);
    metric_counter(o, "cyx_dht_asks_total", "requests of lookups", n->asks);
    metric_counter(o, "cyx_dht_answers_total", "answers to them", n->answers);
    metric_counter(o, "cyx_dht_asks_failed_total", "requests nobody answered", n->asks_failed);
    metric_counter(o, "cyx_dht_asks_refused_total", "requests that were refused or not sent",
                   n->asks_refused);
    metric_counter(o, "cyx_dht_answers_bad_total", "answers with items that nobody asked for",
                   n->answers_bad);
}

static void records(const struct metric_out *o, const struct dht__counters *n)
{
    metric_counter(o, "cyx_dht_records_ok_total", "records found and proven", n->values_ok);
    metric_counter(o, "cyx_dht_records_stale_total", "records older than one already seen",
                   n->values_stale);
    metric_counter(o, "cyx_dht_records_misplaced_total", "records that belong elsewhere",
                   n->values_misplaced);
    for (unsigned i = 1; i < DROP_COUNT_; i++)
        metric_labelled(o, "cyx_dht_records_refused_total", "records refused by reason", "reason",
                        drop_name((enum drop)i), n->values_refused[i]);
    metric_counter(o, "cyx_dht_nodes_ok_total", "node records proven before dialling", n->nodes_ok);
    for (unsigned i = 1; i < DROP_COUNT_; i++)
        metric_labelled(o, "cyx_dht_nodes_refused_total", "node records refused by reason",
                        "reason", drop_name((enum drop)i), n->nodes_refused[i]);
}

static void upkeep(const struct metric_out *o, const struct dht__counters *n)
{
    metric_counter(o, "cyx_dht_repairs_total", "records sent to nodes that lacked them",
                   n->repairs);
    metric_counter(o, "cyx_dht_handovers_total", "records handed to new neighbours", n->handovers);
    metric_counter(o, "cyx_dht_replicated_total", "records sent to all nearest nodes",
                   n->replicated);
    metric_counter(o, "cyx_dht_sends_total", "STOREs of upkeep sent", n->sends);
    metric_counter(o, "cyx_dht_sends_failed_total", "STOREs of upkeep that failed",
                   n->sends_failed);
    metric_counter(o, "cyx_dht_sends_dropped_total", "STOREs of upkeep that found no room",
                   n->sends_dropped);
    metric_counter(o, "cyx_dht_probes_total", "pings before eviction", n->probes);
    metric_counter(o, "cyx_dht_failures_dark_total",
                   "contacts that didn't answer while nobody did: not held against them",
                   n->failures_dark);
    metric_counter(o, "cyx_dht_evictions_total", "contacts that lost their place", n->evictions);
    metric_counter(o, "cyx_dht_refused_prefix_total", "contacts refused because of their prefix",
                   n->refused_prefix);
    metric_labelled(o, "cyx_dht_puts_total", "publications by how they ended", "end", "ok",
                    n->puts_ok);
    metric_labelled(o, "cyx_dht_puts_total", "publications by how they ended", "end", "failed",
                    n->puts_failed);
}

static void served(const struct metric_out *o, const struct dht__counters *n)
{
    static const char name[] = "cyx_dht_served_total";
    static const char help[] = "requests of others by method";
    metric_labelled(o, name, help, "method", "find", n->served_finds);
    metric_labelled(o, name, help, "method", "store", n->served_stores);
    metric_counter(o, "cyx_dht_served_bad_total", "requests that were not well-formed",
                   n->served_bad);
    metric_counter(o, "cyx_dht_served_far_total", "records refused: others are nearer",
                   n->served_far);
}

static void stores(const struct metric_out *o, struct dht *d)
{
    struct dht_store_stats s;
    if (d->store == NULL)
        return;
    dht_store_get_stats(d->store, &s);
    bound(o, "store_bytes", s.bytes, s.max_bytes);
    metric_gauge(o, "cyx_dht_records", "records held for others", s.records);
    metric_gauge(o, "cyx_dht_sources", "prefixes whose records are held", s.sources);
    metric_gauge(o, "cyx_dht_publishers", "publishers whose records are held", s.publishers);
    for (unsigned v = 0; v <= DHT_BUSY; v++)
        metric_labelled(o, "cyx_dht_offers_total", "records offered to the store, by verdict",
                        "verdict", dht_verdict_name((enum dht_verdict)v), s.verdicts[v]);
    metric_counter(o, "cyx_dht_store_evicted_total", "records that gave way", s.evicted);
    metric_counter(o, "cyx_dht_store_expired_total", "records that expired", s.expired);
    metric_counter(o, "cyx_dht_store_bad_entries_total", "entries found damaged at the start",
                   s.bad_entries);
}

void dht_metrics(struct dht *d, metric_fn fn, void *arg)
{
    const struct metric_out o = { fn, arg };
    lookups(&o, &d->n);
    records(&o, &d->n);
    upkeep(&o, &d->n);
    served(&o, &d->n);
    stores(&o, d);
    bound(&o, "lookups", d->n_finds, DHT_LOOKUPS);
    bound(&o, "lookups_waiting", d->n_waiting, DHT_LOOKUPS_WAITING);
    bound(&o, "sends_waiting", d->n_sends_waiting, DHT__SENDS_WAITING);
    bound(&o, "probes", d->n_probes, DHT_PROBES);
    bound(&o, "published", d->n_own, DHT_OWN_RECORDS);
    metric_gauge(&o, "cyx_dht_contacts", "contacts of the routing table", dht_table_len(d->table));
    metric_gauge(&o, "cyx_dht_replacements", "contacts that wait for a place",
                 dht_table_replacements(d->table));
    metric_gauge(&o, "cyx_dht_network_estimate", "nodes there may be, from our neighbourhood",
                 dht_table_estimate(d->table));
    if (d->sync != NULL)
        dht_sync_metrics(d->sync, fn, arg);
}
