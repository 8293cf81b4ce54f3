/* onion/pivot.c - who is registered, and how that ends.
 *
 *   registered --(path gone)--> orphan --(30 s)--> its serial is remembered for 7 minutes
 *       ^---(REGISTER, greater serial)---'
 *
 * Splices live with their registration, over changes of its path. */
#include "onion/pivot_internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- the ends of things ------------------------------------------------------------------------
 */

static void serial_forget(struct onion_pivots *v, struct pivot_serial *s)
{
    map_del(v->serials, s->token);
    list_del(&s->node);
    free(s);
}

static struct pivot_serial *first_serial(const struct onion_pivots *v)
{
    return list_empty(&v->serials_by_end)
               ? NULL
               : container_of(v->serials_by_end.next, struct pivot_serial, node);
}

static void serial_remember(struct onion_pivots *v, const struct pivot_registration *g)
{
    struct pivot_serial *s = calloc(1, sizeof *s);
    if (map_len(v->serials) >= ONION_SERIALS)
        serial_forget(v, first_serial(v));
    if (s == NULL || map_put(v->serials, g->token, s) != 0) {
        free(s);
        return;
    }
    memcpy(s->token, g->token, sizeof s->token);
    s->serial = g->serial;
    s->until_ns = env_now_ns(v->env) + ENV_S(ONION_SERIAL_S);
    list_init(&s->node);
    list_push_back(&v->serials_by_end, &s->node);
}

void pivot__nonces_forget(struct pivot_registration *g, unsigned which)
{
    g->pivot->n_nonces -= g->nonces[which].len;
    onion_nonces_fini(&g->nonces[which]);
}

static void registration_free(struct pivot_registration *g)
{
    struct onion_pivots *v = g->pivot;
    map_del(v->by_token, g->token);
    list_del(&g->orphan);
    list_del(&g->congested);
    pivot__nonces_forget(g, 0);
    pivot__nonces_forget(g, 1);
    mesh_sched_destroy(g->queue);
    map_destroy(g->splices);
    sodium_memzero(g, sizeof *g);
    free(g);
}

static struct pivot_splice *any_splice(const struct pivot_registration *g)
{
    return map_oldest(g->splices, NULL);
}

void pivot__registration_end(struct pivot_registration *g)
{
    struct onion_pivots *v = g->pivot;
    struct pivot_splice *s;
    v->n.ended++;
    while ((s = any_splice(g)) != NULL)
        pivot__splice_close(s, ONION_CLOSE_NO_SERVICE);
    serial_remember(v, g);
    registration_free(g);
    pivot__arm(v);
}

/* ---- timers ------------------------------------------------------------------------------------
 */

static struct pivot_registration *first_orphan(const struct onion_pivots *v)
{
    return list_empty(&v->orphans)
               ? NULL
               : container_of(v->orphans.next, struct pivot_registration, orphan);
}

void pivot__arm(struct onion_pivots *v)
{
    uint64_t at = UINT64_MAX;
    const struct pivot_registration *g = first_orphan(v);
    const struct pivot_serial *s = first_serial(v);
    if (g != NULL)
        at = g->until_ns;
    if (s != NULL && s->until_ns < at)
        at = s->until_ns;
    if (at == UINT64_MAX)
        env_timer_stop(v->env, &v->timer);
    else
        env_timer_set(v->env, &v->timer, at);
}

static void timer_fire(struct env_timer *t, void *arg)
{
    enum { BUDGET = 64 }; /* each may close thousands of splices */
    struct onion_pivots *v = arg;
    uint64_t now = env_now_ns(v->env);
    (void)t;
    struct pivot_registration *g = first_orphan(v);
    for (unsigned i = 0; g != NULL && i < BUDGET && now >= g->until_ns; g = first_orphan(v), i++)
        pivot__registration_end(g);
    struct pivot_serial *s = first_serial(v);
    for (; s != NULL && now >= s->until_ns; s = first_serial(v))
        serial_forget(v, s);
    pivot__arm(v);
}

uint32_t pivot__effort(struct pivot_registration *g)
{
    return onion_effort_now(&g->effort, env_now_ns(g->pivot->env));
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct onion_pivots *pivot__create(struct onion_relay *r)
{
    struct onion_pivots *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    v->relay = r;
    v->env = r->env;
    list_init(&v->serials_by_end);
    list_init(&v->orphans);
    list_init(&v->congested);
    env_timer_init(&v->timer, timer_fire, v);
    env_timer_init(&v->pump, pivot__pump_fire, v);
    v->by_token = map_create(sizeof(uint8_t[32]), ONION_REGISTRATIONS);
    v->serials = map_create(sizeof(uint8_t[32]), ONION_SERIALS);
    v->cells = mesh_cells_create(ONION_PIVOT_CELLS_BYTES);
    if (v->by_token != NULL && v->serials != NULL && v->cells != NULL)
        return v;
    pivot__destroy(v);
    return NULL;
}

/* Paths are gone: so are splices, and what is left of registrations is orphans. */
void pivot__destroy(struct onion_pivots *v)
{
    if (v == NULL)
        return;
    env_timer_stop(v->env, &v->timer);
    env_timer_stop(v->env, &v->pump);
    while (v->by_token != NULL && map_len(v->by_token) > 0)
        registration_free(map_oldest(v->by_token, NULL));
    while (first_serial(v) != NULL)
        serial_forget(v, first_serial(v));
    map_destroy(v->by_token);
    map_destroy(v->serials);
    mesh_cells_destroy(v->cells);
    free(v);
}

/* ---- figures -----------------------------------------------------------------------------------
 */

static const char *const refusal_names[SPLICE_REFUSALS] = { "token",  "no_service", "seed",
                                                            "work",   "proof",      "nonce",
                                                            "bucket", "open",       "full" };

void pivot__metrics(const struct onion_pivots *v, const struct metric_out *o)
{
    const struct pivot_counters *n = &v->n;
    static const char used[] = "cyx_onion_used", limit[] = "cyx_onion_limit";
    metric_counter(o, "cyx_onion_registered_total", "services that registered", n->registered);
    metric_counter(o, "cyx_onion_taken_over_total", "registrations that moved to a new path",
                   n->taken_over);
    metric_counter(o, "cyx_onion_old_serials_total", "REGISTERs with an old serial",
                   n->old_serials);
    metric_counter(o, "cyx_onion_register_full_total", "REGISTERs that found no room",
                   n->register_full);
    metric_counter(o, "cyx_onion_orphaned_total", "registrations that lost their path",
                   n->orphaned);
    metric_counter(o, "cyx_onion_registrations_ended_total", "registrations that ended", n->ended);
    metric_counter(o, "cyx_onion_spliced_total", "clients' paths joined to services", n->spliced);
    for (unsigned i = 0; i < SPLICE_REFUSALS; i++)
        metric_labelled(o, "cyx_onion_splice_refused_total", "SPLICEs refused by reason", "reason",
                        refusal_names[i], n->refused[i]);
    metric_counter(o, "cyx_onion_splices_gave_way_total", "splices closed for those who paid more",
                   n->gave_way);
    metric_labelled(o, "cyx_onion_splices_closed_total", "splices closed", "by", "client",
                    n->closed_by_client);
    metric_labelled(o, "cyx_onion_splices_closed_total", "splices closed", "by", "service",
                    n->closed_by_service);
    metric_labelled(o, "cyx_onion_pivot_cells_total", "cells passed over splices", "to", "service",
                    n->cells_to_service);
    metric_labelled(o, "cyx_onion_pivot_cells_total", "cells passed over splices", "to", "client",
                    n->cells_to_client);
    metric_counter(o, "cyx_onion_pivot_cells_unknown_total", "cells for splices that are no more",
                   n->cells_unknown);
    metric_counter(o, "cyx_onion_pivot_cells_lost_total", "cells that found no room or no path",
                   n->cells_lost);
    metric_counter(o, "cyx_onion_pivot_cells_queued_total", "cells that waited for their turn",
                   n->queued);
    metric_counter(o, "cyx_onion_nonces_full_total", "seeds with all the nonces they may have",
                   n->nonces_full);
    metric_bound(o, used, limit, "registrations", map_len(v->by_token), ONION_REGISTRATIONS);
    metric_bound(o, used, limit, "splices", v->n_splices, ONION_SPLICES);
    metric_bound(o, used, limit, "serials", map_len(v->serials), ONION_SERIALS);
    metric_bound(o, used, limit, "nonces", v->n_nonces, ONION_NONCES_ALL);
    metric_bound(o, used, limit, "pivot_cell_bytes", mesh_cells_used(v->cells),
                 ONION_PIVOT_CELLS_BYTES);
}

void pivot__stats(const struct onion_pivots *v, struct onion_relay_stats *out)
{
    out->registrations = map_len(v->by_token);
    out->splices = v->n_splices;
    out->serials = map_len(v->serials);
}

struct sums {
    size_t splices, nonces, orphans;
    bool is_sound;
};

static bool add_up(void *arg, const void *key, void *value)
{
    struct sums *s = arg;
    const struct pivot_registration *g = value;
    (void)key;
    s->splices += map_len(g->splices);
    s->nonces += g->nonces[0].len + g->nonces[1].len;
    s->orphans += g->tail.path == NULL;
    s->is_sound &= g->effort.open == map_len(g->splices) &&
                   (g->tail.path == NULL) == list_linked(&g->orphan) &&
                   (g->tail.path == NULL) == (g->from == NULL) &&
                   (g->tail.path == NULL || g->tail.path->tail == &g->tail);
    return true;
}

bool pivot__check(const struct onion_pivots *v)
{
    struct sums s = { .is_sound = true };
    size_t orphans = 0;
    map_each(v->by_token, add_up, &s);
    list_each (at, &v->orphans)
        orphans++;
    return s.is_sound && s.splices == v->n_splices && s.nonces == v->n_nonces &&
           s.orphans == orphans && v->n_splices <= ONION_SPLICES &&
           v->n_nonces <= ONION_NONCES_ALL && map_len(v->by_token) <= ONION_REGISTRATIONS;
}
