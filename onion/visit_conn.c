/* onion/visit_conn.c - the connection of a visit: what it carries over which way, and what it says.
 * Spec: protocol.md, section 14. */
#include <stdlib.h>
#include <string.h>

#include "onion/visit_internal.h"

/* ---- the connection
 * ------------------------------------------------------------------------------ */

static void carry(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                  size_t len)
{
    struct visit *v = arg;
    struct way *w = way__by_number(v, splice);
    if (w == NULL || !w->is_up)
        return;
    /* A full queue is like loss: QUIC slows down. */
    (void)onion_path_send(w->path, &(struct onion_cell){ .command = ONION_CELL_DATA,
                                                         .kind = (uint8_t)kind,
                                                         .payload = bytes,
                                                         .len = len });
}

/* The first that the descriptor's word was given on: in order, so nobody is overtaken. */
static struct onion_stream *next_waiting(struct visit *v)
{
    list_each (node, &v->waiting) {
        struct onion_stream *s = container_of(node, struct onion_stream, node);
        if (s->is_judged)
            return s;
    }
    return NULL;
}

void visit__open_waiting(struct visit *v)
{
    struct onion_stream *s;
    while (v->conn != NULL && v->state < VISIT_LEAVING && (s = next_waiting(v)) != NULL) {
        int code = stream__open(s, v->conn);
        if (code == CYX_EFULL)
            return; /* can_open tells */
        list_del(&s->node);
        list_push_back(&v->streams, &s->node);
        if (code != 0)
            stream__fail(s, ONION_FAIL_LOST);
    }
}

/* The way that the answer came by is the one that is proven to lead both ways. */
static void conn_open(void *arg)
{
    struct visit *v = arg;
    struct way *w = way__by_number(v, v->heard);
    if (v->state != VISIT_CONNECTING)
        return;
    v->state = VISIT_OPEN;
    v->was_open = true;
    env_timer_stop(v->o->env, &v->timer);
    env_timer_stop(v->o->env, &v->nudge);
    ways__fresh_round(v);
    if (w != NULL)
        ways__keep_only(v, w);
    visit__step(v, ONION_STAGE_HANDSHAKE, ONION_FAIL_NONE, "the service proved its key");
    visit__lost_user(v); /* perhaps nobody is left who wanted it */
    visit__open_waiting(v);
}

static void conn_closed(void *arg, const struct onion_conn_end *end)
{
    struct visit *v = arg;
    enum onion_fail why = v->was_open ? ONION_FAIL_LOST : ONION_FAIL_TIMEOUT;
    if (v->state == VISIT_LEAVING) {
        visit__gone(v);
        return;
    }
    if (end->how == ONION_END_PEER && end->code == ONION_CODE_LIMIT)
        why = ONION_FAIL_BUSY;
    if (!v->was_open)
        visit__step(v, ONION_STAGE_HANDSHAKE, why, "%s", onion_end_text(end->how));
    visit__fail(v, why);
}

/* The path may live or not: the next one is built beside it at once, so that the stream's pause is
 * as short as it can be. */
static void conn_path_dead(void *arg)
{
    struct visit *v = arg;
    struct way *w = way__up(v);
    if (v->state != VISIT_OPEN)
        return;
    if (w != NULL) {
        w->is_dead = true;
        onion_picker_doubt(v->o->picker, &w->route);
        onion_path_probe(w->path);
    }
    visit__look_again(v); /* it may be the service that is gone, and back under another key */
    if (ways__any_good(v) || v->rest.is_set)
        return;
    ways__fresh_round(v);
    if (w != NULL && v->d.inner.n_pivots > 1)
        v->tried = 1u << w->place;
    if (!way__begin(v) && w == NULL)
        visit__lost_ways(v); /* with a way the probe says how it goes on */
}

static void conn_can_open(void *arg)
{
    visit__open_waiting(arg);
}

static void conn_datagram(void *arg, uint16_t port, uint16_t flow, const uint8_t *data, size_t len,
                          bool is_early)
{
    struct visit *v = arg;
    (void)is_early;
    flows__heard(&v->flows, port, flow, data, len);
}

static const struct onion_conn_ops conn_ops = { .open = conn_open,
                                                .closed = conn_closed,
                                                .path_dead = conn_path_dead,
                                                .can_open = conn_can_open,
                                                .datagram = conn_datagram };

bool visit__conn_make(struct visit *v)
{
    struct onion *o = v->o;
    const struct onion_carrier carrier = { .send = carry, .arg = v };
    const struct onion_conn_options options = { .env = o->env,
                                                .buffers = &o->buffers,
                                                .carrier = &carrier,
                                                .ops = &conn_ops,
                                                .arg = v,
                                                .initial_rtt_ns =
                                                    2 * onion_paths_build_ns(o->paths) };
    struct onion_stream_id id;
    memcpy(id.net, mesh_network_of(o->mesh)->id, sizeof id.net);
    memcpy(id.address, v->key.address, sizeof id.address);
    memcpy(id.service_key, v->d.inner.service_key, sizeof id.service_key);
    v->conn = onion_conn_create(&options, &id, mesh_time(o->mesh), NULL);
    memcpy(v->key_used, v->d.inner.service_key, sizeof v->key_used);
    v->period_used = v->d.period;
    v->flows.conn = v->conn;
    return v->conn != NULL;
}

/* ---- anew -------------------------------------------------------------------------------------
 */

/* What they wrote may have been read by whoever held the old key: never twice. */
static void reset_written(struct visit *v)
{
    for (bool found = true; found;) {
        found = false;
        list_each (node, &v->streams) {
            struct onion_stream *s = container_of(node, struct onion_stream, node);
            if (!s->has_written)
                continue;
            s->s = NULL; /* the connection goes without a word to it */
            stream__fail(s, ONION_FAIL_RESET);
            found = true;
            break;
        }
    }
}

static void take_back(struct visit *v)
{
    while (!list_empty(&v->streams)) {
        struct onion_stream *s = container_of(v->streams.prev, struct onion_stream, node);
        s->s = NULL;
        list_del(&s->node);
        list_push_front(&v->waiting, &s->node);
    }
}

void visit__conn_anew(struct visit *v)
{
    struct onion_conn *old = v->conn;
    ways__close(v);
    v->conn = v->flows.conn = NULL;
    reset_written(v);
    take_back(v);
    onion_conn_destroy(old);
    if (!visit__conn_make(v)) {
        visit__fail(v, ONION_FAIL_UNREACHABLE);
        return;
    }
    visit__open_waiting(v);
    if (!way__begin(v))
        visit__lost_ways(v);
}
