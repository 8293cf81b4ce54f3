/* mesh/metrics.c - every counter, and every bound with its use. */
#include "mesh/link_internal.h"

static const char *const type_names[MESH__TYPES] = { "none", "init",  "resp",    "cookie",
                                                     "full", "small", "version", "other" };

/* A bound and how much of it is in use. */
static void bound(const struct metric_out *o, const char *what, uint64_t used, uint64_t limit)
{
    metric_bound(o, "cyx_mesh_used", "cyx_mesh_limit", what, used, limit);
}

static void packets(const struct metric_out *o, const struct mesh__counters *n)
{
    for (unsigned t = 1; t < MESH__TYPES - 1; t++)
        metric_labelled(o, "cyx_mesh_packets_received_total", "packets received by type", "type",
                        type_names[t], n->rx_packets[t]);
    for (unsigned t = 1; t < MESH__TYPES - 1; t++)
        metric_labelled(o, "cyx_mesh_packets_sent_total", "packets sent by type", "type",
                        type_names[t], n->tx_packets[t]);
    for (unsigned d = 1; d < DROP_COUNT_; d++) {
        uint64_t sum = 0;
        for (unsigned t = 0; t < MESH__TYPES; t++)
            sum += n->dropped[t][d];
        metric_labelled(o, "cyx_mesh_dropped_total",
                        "packets, frames and records dropped by reason", "reason",
                        drop_name((enum drop)d), sum);
    }
    for (unsigned t = 0; t < MESH__TYPES; t++) {
        uint64_t sum = 0;
        for (unsigned d = 1; d < DROP_COUNT_; d++)
            sum += n->dropped[t][d];
        metric_labelled(o, "cyx_mesh_dropped_by_type_total", "the same by packet type", "type",
                        type_names[t], sum);
    }
    metric_counter(o, "cyx_mesh_send_failed_total", "sends the socket refused", n->send_failed);
    metric_counter(o, "cyx_mesh_send_blocked_total", "rows that waited for the socket",
                   n->send_blocked);
    metric_counter(o, "cyx_mesh_handed_out_total", "datagrams handed to another worker",
                   n->handed_out);
    metric_counter(o, "cyx_mesh_handed_in_total", "datagrams and records taken from other workers",
                   n->handed_in);
    metric_counter(o, "cyx_mesh_egress_waits_total", "waits for the egress budget",
                   n->egress_waits);
}

static void links(const struct metric_out *o, const struct mesh__counters *n)
{
    static const char *const reasons[] = { "other",   "leaving",   "idle",
                                           "version", "violation", "overload" };
    metric_counter(o, "cyx_mesh_handshakes_out_total", "INITs sent", n->handshakes_out);
    metric_counter(o, "cyx_mesh_handshakes_in_total", "INITs answered", n->handshakes_in);
    metric_counter(o, "cyx_mesh_handshakes_confirmed_total", "answered and used", n->confirmed);
    metric_counter(o, "cyx_mesh_half_open_evicted_total", "unconfirmed sessions pushed out",
                   n->half_open_evicted);
    metric_counter(o, "cyx_mesh_dials_failed_total", "addresses that did not answer",
                   n->dial_failed);
    metric_counter(o, "cyx_mesh_links_up_total", "links that came up", n->links_up);
    metric_counter(o, "cyx_mesh_links_down_total", "links that ended", n->links_down);
    metric_counter(o, "cyx_mesh_links_shed_total", "links closed for want of room", n->links_shed);
    metric_counter(o, "cyx_mesh_violations_total", "rules broken by peers", n->violations);
    metric_counter(o, "cyx_mesh_rekeys_total", "links that got new keys", n->rekeys);
    metric_counter(o, "cyx_mesh_roams_total", "peers that changed address", n->roams);
    metric_counter(o, "cyx_mesh_collisions_total", "both sides dialled at once", n->collisions);
    metric_counter(o, "cyx_mesh_pings_timed_out_total", "pings without answer", n->pings_timed_out);
    for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        metric_labelled(o, "cyx_mesh_goodbye_received_total", "GOODBYE heard", "reason", reasons[i],
                        n->goodbye_in[i]);
        metric_labelled(o, "cyx_mesh_goodbye_sent_total", "GOODBYE said", "reason", reasons[i],
                        n->goodbye_out[i]);
    }
}

static void traffic(const struct metric_out *o, const struct mesh__counters *n)
{
    metric_counter(o, "cyx_mesh_cells_received_total", "cells in", n->rx_cells);
    metric_counter(o, "cyx_mesh_cells_sent_total", "cells out", n->tx_cells);
    metric_counter(o, "cyx_mesh_trains_received_total", "BUILD and BUILD_REPLY in", n->rx_trains);
    metric_counter(o, "cyx_mesh_trains_sent_total", "BUILD and BUILD_REPLY out", n->tx_trains);
    metric_counter(o, "cyx_mesh_destroys_received_total", "DESTROY in", n->rx_destroys);
    metric_counter(o, "cyx_mesh_destroys_sent_total", "DESTROY out", n->tx_destroys);
    metric_counter(o, "cyx_mesh_destroys_unsent_total", "left to the other side's timer",
                   n->late_destroys);
    metric_counter(o, "cyx_mesh_calls_total", "requests sent", n->calls);
    metric_counter(o, "cyx_mesh_calls_repeated_total", "requests sent again", n->calls_repeated);
    metric_counter(o, "cyx_mesh_calls_timed_out_total", "requests without answer",
                   n->calls_timed_out);
    metric_counter(o, "cyx_mesh_calls_refused_total", "requests over our own bound",
                   n->calls_refused);
    metric_counter(o, "cyx_mesh_served_total", "requests served", n->served);
    metric_counter(o, "cyx_mesh_served_busy_total", "requests over a bound (status 5)",
                   n->served_busy);
    metric_counter(o, "cyx_mesh_served_bad_total", "malformed requests (status 6)", n->served_bad);
    metric_counter(o, "cyx_mesh_answers_again_total", "answers repeated", n->answers_again);
    metric_counter(o, "cyx_mesh_records_accepted_total", "node records believed", n->records_ok);
    metric_counter(o, "cyx_mesh_records_refused_total", "node records refused", n->records_refused);
    metric_counter(o, "cyx_mesh_finds_sent_total", "FIND asked", n->finds_sent);
    metric_counter(o, "cyx_mesh_finds_served_total", "FIND answered", n->finds_served);
    metric_counter(o, "cyx_mesh_beacons_received_total", "LAN beacons heard", n->beacons_in);
    metric_counter(o, "cyx_mesh_beacons_sent_total", "LAN beacons said", n->beacons_out);
}

static void bounds(const struct metric_out *o, struct mesh *m)
{
    bound(o, "links", m->n_links, m->config.links_max);
    bound(o, "unconfirmed_sessions", m->n_half_opens, MESH_UNCONFIRMED_MAX);
    bound(o, "rpc", m->n_rpc, MESH_RPC_ALL);
    bound(o, "inbox_bytes", mesh_inbox_pool_bytes(m->inbox_pool),
          mesh__share(m, MESH_INBOX_ALL_BYTES));
    bound(o, "cell_bytes", mesh_cells_used(m->cells), mesh__share(m, MESH_CELLS_ALL_BYTES));
    if (m->remembered != NULL)
        bound(o, "remembered", mesh_remembered_own(m->remembered), mesh__share(m, MESH_REMEMBERED));
}

static void socket_figures(const struct metric_out *o, const struct mesh *m)
{
    struct env_udp_info u = { 0 };
    if (m->carrier != NULL)
        m->carrier->ops->info(m->carrier, &u);
    metric_counter(o, "cyx_mesh_udp_received_bytes_total", "bytes in", u.rx_bytes);
    metric_counter(o, "cyx_mesh_udp_sent_bytes_total", "bytes out", u.tx_bytes);
    metric_counter(o, "cyx_mesh_udp_overflow_total", "datagrams the socket dropped", u.rx_overflow);
}

void mesh_metrics(struct mesh *m, metric_fn fn, void *arg)
{
    struct metric_out o = { .fn = fn, .arg = arg };
    packets(&o, &m->n);
    links(&o, &m->n);
    traffic(&o, &m->n);
    bounds(&o, m);
    socket_figures(&o, m);
    metric_counter(&o, "cyx_mesh_cells_dropped_total", "cells dropped by full queues",
                   mesh_cells_dropped(m->cells));
    metric_gauge(&o, "cyx_mesh_links_up", "links that are up", m->n_up);
    metric_gauge(&o, "cyx_mesh_ready", "workers whose first look for peers is over",
                 m->ready_ns != 0);
    if (m->remembered != NULL)
        metric_counter(&o, "cyx_mesh_store_errors_total", "writes of the peers' store that failed",
                       mesh_remembered_write_errors(m->remembered));
}
