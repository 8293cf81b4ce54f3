/* onion/relay_metrics.c - every counter of a relay, and every bound with its use. */
#include "onion/end.h"
#include "onion/pivot.h"
#include "onion/relay_internal.h"

static const char *const build_drops[BUILD_DROPS] = { "budget", "type", "hint", "replay", "open",
                                                      "stamp",  "full", "wait", "side" };
static const char *const cell_drops[CELL_DROPS] = { "stray", "gone",    "early", "repeat",
                                                    "noise", "command", "memory" };
static const char *const statuses[ONION_STATUSES] = { "0", "1", "2", "3", "4", "5", "6", "7", "8" };

static void builds(const struct metric_out *o, const struct relay__counters *n)
{
    metric_counter(o, "cyx_onion_builds_total", "trains that came", n->builds);
    for (unsigned i = 0; i < BUILD_DROPS; i++)
        metric_labelled(o, "cyx_onion_build_dropped_total", "trains met with silence, by reason",
                        "reason", build_drops[i], n->build_dropped[i]);
    for (unsigned i = 0; i < ONION_STATUSES; i++)
        metric_labelled(o, "cyx_onion_build_status_total", "replies sent, by status", "status",
                        statuses[i], n->build_status[i]);
    metric_counter(o, "cyx_onion_dials_total", "next hops that had to be dialled", n->dials);
    metric_counter(o, "cyx_onion_silences_total", "next hops from which nothing came back",
                   n->silences);
    metric_counter(o, "cyx_onion_replies_stray_total", "replies that nobody waits for",
                   n->replies_stray);
    metric_counter(o, "cyx_onion_replies_lost_total", "replies that could not be sent",
                   n->replies_lost);
    metric_counter(o, "cyx_onion_trains_gone_total", "trains for paths that ended", n->trains_gone);
}

static void cells(const struct metric_out *o, const struct relay__counters *n)
{
    metric_labelled(o, "cyx_onion_cells_total", "cells passed, taken or sent", "way", "forward",
                    n->cells_forward);
    metric_labelled(o, "cyx_onion_cells_total", "cells passed, taken or sent", "way", "backward",
                    n->cells_backward);
    for (unsigned i = 0; i < CELL_DROPS; i++)
        metric_labelled(o, "cyx_onion_cells_dropped_total", "cells dropped by reason", "reason",
                        cell_drops[i], n->cells_dropped[i]);
    metric_counter(o, "cyx_onion_cell_runs_dropped_total", "runs of cells dropped by full queues",
                   n->cell_runs_dropped);
}

static void ends(const struct metric_out *o, const struct relay__counters *n)
{
    static const char name[] = "cyx_onion_paths_ended_total";
    static const char help[] = "paths that ended by themselves";
    metric_labelled(o, name, help, "reason", "life", n->expired_life);
    metric_labelled(o, name, help, "reason", "idle", n->expired_idle);
    metric_labelled(o, name, help, "reason", "unused", n->expired_unused);
    metric_labelled(o, name, help, "reason", "gave_way", n->gave_way);
    metric_labelled(o, "cyx_onion_destroys_total", "DESTROYs that came", "of", "path", n->destroys);
    metric_labelled(o, "cyx_onion_destroys_total", "DESTROYs that came", "of", "none",
                    n->destroys_stray);
    metric_labelled(o, "cyx_onion_destroys_total", "DESTROYs that came", "of", "gone",
                    n->destroys_gone);
    metric_counter(o, "cyx_onion_violations_total", "rules of paths broken by neighbours",
                   n->violations);
    metric_counter(o, "cyx_onion_links_ended_total", "links ended for that", n->links_ended);
}

static void bounds(const struct onion_relay *r, const struct metric_out *o)
{
    static const char used[] = "cyx_onion_used", limit[] = "cyx_onion_limit";
    metric_bound(o, used, limit, "paths", r->n_paths, r->paths_max);
    metric_bound(o, used, limit, "tombstones", r->n_tombs, ONION_TOMBSTONES_ALL);
    metric_bound(o, used, limit, "trains_waiting", r->n_waiting, ONION_TRAINS_WAITING);
    metric_gauge(o, "cyx_onion_paths_building", "paths without a reply yet",
                 r->n_of[RELAY_BUILDING]);
    metric_gauge(o, "cyx_onion_paths_open", "paths through us", r->n_of[RELAY_OPEN]);
    metric_gauge(o, "cyx_onion_paths_end", "paths that end here", r->n_of[RELAY_END]);
}

void onion_relay_metrics(const struct onion_relay *r, metric_fn fn, void *arg)
{
    const struct metric_out o = { .fn = fn, .arg = arg };
    builds(&o, &r->n);
    cells(&o, &r->n);
    ends(&o, &r->n);
    bounds(r, &o);
    pivot__metrics(r->pivot, &o);
    end__metrics(r->end, &o);
}

void onion_relay_get_stats(const struct onion_relay *r, struct onion_relay_stats *out)
{
    *out =
        (struct onion_relay_stats){ .building = r->n_of[RELAY_BUILDING],
                                    .open = r->n_of[RELAY_OPEN],
                                    .ends = r->n_of[RELAY_END],
                                    .tombstones = r->n_tombs,
                                    .trains_waiting = r->n_waiting,
                                    .asks = end__asks(r->end),
                                    .cells_forwarded = r->n.cells_forward + r->n.cells_backward };
    pivot__stats(r->pivot, out);
}
