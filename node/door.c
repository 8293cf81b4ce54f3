#include "node/door_internal.h"

#include <stdlib.h>

static void on_accepted(void *arg, struct env_stream *s)
{
    struct door *d = arg;
    if (d->counts.conns >= d->o.conns_max) {
        d->counts.turned_away++;
        env_stream_reset(d->o.env, s);
        return;
    }
    d->counts.accepted++;
    door__conn_start(d, s);
}

struct door *door_create(const struct door_options *o, struct cyx_err *err)
{
    struct env_endpoint at = { .kind = ENV_TCP, .addr = o->at };
    struct door *d = calloc(1, sizeof *d);
    if (d == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for a front door");
        return NULL;
    }
    d->o = *o;
    if (d->o.conns_max == 0)
        d->o.conns_max = DOOR_CONNS_MAX;
    if (d->o.idle_ms == 0)
        d->o.idle_ms = DOOR_IDLE_MS;
    list_init(&d->conns);
    if (env_listen(o->env, &at, on_accepted, d, &d->listener, err) < 0) {
        free(d);
        return NULL;
    }
    return d;
}

static void drop_all(struct door *d)
{
    while (!list_empty(&d->conns))
        door__conn_drop(container_of(d->conns.next, struct door_conn, node));
}

void door_set_onion(struct door *d, struct onion *o)
{
    if (o == NULL)
        drop_all(d);
    d->onion = o;
}

void door_destroy(struct door *d)
{
    if (d == NULL)
        return;
    drop_all(d);
    env_listener_close(d->o.env, d->listener);
    free(d);
}

int door_addr(const struct door *d, struct env_addr *out)
{
    return env_listener_addr(d->o.env, d->listener, out);
}

/* ---- figures --------------------------------------------------------------------------------- */

void door_get_counts(const struct door *d, struct door_counts *out)
{
    *out = d->counts;
}

void door_metrics(const struct door *d, metric_fn fn, void *arg)
{
    static const char *const codes[SOCKS_CODES] = { "ok",      "general", "not_allowed",
                                                    "network", "host",    "refused",
                                                    "ttl",     "command", "address" };
    const struct metric_out o = { fn, arg };
    const struct door_counts *c = &d->counts;
    bool is_socks = d->o.kind == DOOR_SOCKS;
    const char *refused = is_socks ? "cyx_socks_refused_total" : "cyx_http_refused_total";
    for (unsigned i = 1; i < SOCKS_CODES; i++)
        metric_labelled(&o, refused, "requests refused, by the code of the table", "code", codes[i],
                        c->refused[i]);
    metric_counter(&o, is_socks ? "cyx_socks_accepted_total" : "cyx_http_accepted_total",
                   "connections to the front door", c->accepted);
    metric_counter(&o, is_socks ? "cyx_socks_opened_total" : "cyx_http_opened_total",
                   "requests answered with success", c->opened);
    metric_counter(&o, is_socks ? "cyx_socks_broken_total" : "cyx_http_broken_total",
                   "connections that spoke something else", c->broken);
    metric_counter(&o, is_socks ? "cyx_socks_resets_total" : "cyx_http_resets_total",
                   "connections reset after success was said", c->resets);
    metric_bound(&o, "cyx_door_used", "cyx_door_limit", is_socks ? "socks" : "http", c->conns,
                 d->o.conns_max);
}
