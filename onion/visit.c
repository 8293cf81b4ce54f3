#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/visit_internal.h"

/* ---- what `cyx why` sees ------------------------------------------------------------------------
 */

const char *onion_stage_name(enum onion_stage s)
{
    static const char *const names[ONION_STAGES] = {
        [ONION_STAGE_GUARD] = "guard",   [ONION_STAGE_DESCRIPTOR] = "descriptor",
        [ONION_STAGE_PATH] = "path",     [ONION_STAGE_HANDSHAKE] = "handshake",
        [ONION_STAGE_STREAM] = "stream",
    };
    return names[s];
}

void visit__trace(struct visit *v, visit_trace_fn fn, void *arg)
{
    v->trace = fn;
    v->trace_arg = arg;
}

void visit__step(struct visit *v, enum onion_stage stage, enum onion_fail fail, const char *fmt,
                 ...)
{
    struct onion_step s = { .stage = stage, .fail = fail };
    uint64_t now = env_now_ns(v->o->env);
    va_list ap;
    if (v->trace == NULL)
        return;
    s.ns = now - v->stage_ns;
    v->stage_ns = now;
    va_start(ap, fmt);
    (void)vsnprintf(s.detail, sizeof s.detail, fmt, ap);
    va_end(ap);
    v->trace(v->trace_arg, &s);
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void visit_free(struct visit *v)
{
    struct onion *o = v->o;
    v->state = VISIT_OVER;
    env_timer_stop(o->env, &v->timer);
    onion_fetch_cancel(v->fetching);
    ways__close(v);
    onion_conn_destroy(v->conn);
    if (!v->is_unlisted)
        map_del(o->visits, &v->key);
    onion_descriptor_wipe(&v->d);
    free(v);
}

static void fail_all(struct list *streams, enum onion_fail why)
{
    while (!list_empty(streams)) {
        struct onion_stream *s = container_of(streams->next, struct onion_stream, node);
        s->visit = NULL; /* it doesn't come back to us */
        if (s->s != NULL)
            onion_conn_stream_reset(s->s, ONION_CODE_ABORT);
        s->s = NULL;
        stream__fail(s, why);
    }
}

/* New streams to the address begin a new visit: this one is out of the map first. */
void visit__fail(struct visit *v, enum onion_fail why)
{
    if (v->state == VISIT_OVER)
        return;
    v->state = VISIT_OVER;
    if (!v->is_unlisted)
        map_del(v->o->visits, &v->key);
    v->is_unlisted = true;
    ways__close(v);
    fail_all(&v->streams, why);
    fail_all(&v->waiting, why);
    flows__end(&v->flows, why);
    visit_free(v);
}

enum onion_fail visit__why(const struct visit *v)
{
    if (v->state == VISIT_OVER || v->conn == NULL || onion_conn_is_open(v->conn))
        return ONION_FAIL_RESET;
    return v->was_open ? ONION_FAIL_LOST : ONION_FAIL_TIMEOUT;
}

static bool is_unused(const struct visit *v)
{
    return v->n_streams == 0 && v->flows.n == 0;
}

void visit__lost_stream(struct visit *v)
{
    v->n_streams--;
    if (v->state != VISIT_OVER && is_unused(v))
        env_timer_in(v->o->env, &v->timer, v->state == VISIT_OPEN ? ENV_S(VISIT__SPARE_S) : 0);
}

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

/* Those that found the connection full. */
static void open_waiting(struct visit *v)
{
    while (!list_empty(&v->waiting)) {
        struct onion_stream *s = container_of(v->waiting.next, struct onion_stream, node);
        int code = stream__open(s, v->conn);
        if (code == CYX_EFULL)
            return; /* can_open tells */
        list_del(&s->node);
        if (code != 0) {
            stream__fail(s, ONION_FAIL_LOST);
            return; /* it may have been the last */
        }
        list_push_back(&v->streams, &s->node);
    }
}

/* The way over which the answer came is the one that works, not the newest. */
static void conn_open(void *arg)
{
    struct visit *v = arg;
    struct way *w = way__by_number(v, v->heard);
    if (w == NULL || !w->is_up)
        w = way__up(v);
    v->state = VISIT_OPEN;
    v->was_open = true;
    v->tries = v->mute = 0;
    env_timer_stop(v->o->env, &v->timer);
    if (w != NULL)
        ways__keep_only(v, w);
    visit__step(v, ONION_STAGE_HANDSHAKE, ONION_FAIL_NONE, "the service proved its key");
    open_waiting(v);
}

static void conn_closed(void *arg, const struct onion_conn_end *end)
{
    struct visit *v = arg;
    enum onion_fail why = v->was_open ? ONION_FAIL_LOST : ONION_FAIL_TIMEOUT;
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
    if (w != NULL)
        onion_path_probe(w->path);
    v->is_silent = true;
    v->tries = 0;
    if (ways__under_way(v) == 0)
        ways__another(v);
}

static void conn_can_open(void *arg)
{
    open_waiting(arg);
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

static bool make_conn(struct visit *v)
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
    v->flows.conn = v->conn;
    return v->conn != NULL;
}

/* ---- from the descriptor to the first flight
 * ------------------------------------------------------- */

static void connect_now(struct visit *v)
{
    struct onion *o = v->o;
    if (!make_conn(v)) {
        visit__fail(v, ONION_FAIL_UNREACHABLE);
        return;
    }
    v->state = VISIT_CONNECTING;
    v->begun_ns = env_now_ns(o->env);
    env_timer_in(o->env, &v->timer, ENV_MS(VISIT__TOTAL_MS));
    open_waiting(v);
    if (v->state == VISIT_CONNECTING && !way__begin(v))
        visit__lost_ways(v);
}

/* Bytes are there, or nothing more to come: the others have none either, or theirs ride along. */
void visit__request_written(struct visit *v)
{
    if (v->state == VISIT_LINGERING)
        env_timer_in(v->o->env, &v->timer, 0);
}

static bool has_port(const struct visit *v, const struct onion_stream *s)
{
    return v->d.inner.ask_ports || onion_inner_has_port(&v->d.inner, s->port, ONION_PORT_STREAM);
}

/* What the descriptor says about each stream that waits: any of them may go, and end us. */
static void judge_streams(struct visit *v)
{
    struct list rest;
    list_init(&rest);
    list_each_safe (node, &v->waiting) {
        list_del(node);
        list_push_back(&rest, node);
    }
    while (!list_empty(&rest)) {
        struct onion_stream *s = container_of(rest.next, struct onion_stream, node);
        list_del(&s->node);
        list_push_back(&v->waiting, &s->node);
        if (!has_port(v, s))
            stream__fail(s, ONION_FAIL_NO_PORT);
        else if (!s->waits && !v->d.inner.ask_ports)
            stream__tell_opened(s);
    }
}

static bool has_bytes(const struct visit *v)
{
    list_each (node, &v->waiting) {
        const struct onion_stream *s = container_of(node, struct onion_stream, node);
        if (s->n_early > 0 || s->end_wanted)
            return true;
    }
    return false;
}

static enum onion_fail fail_of_fetch(int code)
{
    switch (code) {
    case CYX_ENOENT:
        return ONION_FAIL_NO_DESCRIPTOR;
    case CYX_ECORRUPT:
        return ONION_FAIL_NO_DESCRIPTOR;
    case CYX_EPERM:
        return ONION_FAIL_NOT_FOR_US;
    case CYX_ETIMEDOUT:
        return ONION_FAIL_TIMEOUT;
    default:
        return ONION_FAIL_NOT_READY;
    }
}

static void fetched(void *arg, int code, const struct onion_descriptor *d, uint64_t ns)
{
    struct visit *v = arg;
    enum onion_fail why = code != 0 ? fail_of_fetch(code) : ONION_FAIL_NONE;
    v->fetching = NULL;
    if (code != 0) {
        visit__step(v, ONION_STAGE_DESCRIPTOR, why, "%s", onion_fail_text(why));
        visit__fail(v, why);
        return;
    }
    v->d = *d;
    v->has_descriptor = true;
    v->tried = v->mute = 0;
    visit__step(v, ONION_STAGE_DESCRIPTOR, why, "period %llu, %zu pivots%s",
                (unsigned long long)d->period, d->inner.n_pivots, ns == 0 ? ", remembered" : "");
    if (v->conn != NULL) { /* fetched again: the connection goes on with what it says now */
        if (!way__begin(v))
            visit__lost_ways(v);
        return;
    }
    v->state = VISIT_LINGERING;
    env_timer_in(v->o->env, &v->timer, has_bytes(v) ? 0 : ENV_MS(VISIT__LINGER_MS));
    judge_streams(v);
    if (has_bytes(v))
        env_timer_in(v->o->env, &v->timer, 0);
}

static void look(struct visit *v, enum onion_fetch_how how)
{
    v->fetching = onion_fetch_start(v->o->fetch, v->key.address, &v->why, how, fetched, v);
    if (v->fetching == NULL)
        visit__fail(v, ONION_FAIL_NOT_READY);
}

/* No pivot knows the token: they were replaced since, unless we asked just now. A first flight for
 * an old service key can't be sent to a new one: the connection begins anew, if nothing depends on
 * it yet. */
void visit__no_token(struct visit *v)
{
    if (v->was_refetched || v->fetching != NULL)
        return;
    v->was_refetched = true;
    look(v, ONION_FETCH_FRESH);
}

void visit__lost_ways(struct visit *v)
{
    if (v->state == VISIT_OVER || v->fetching != NULL)
        return;
    if (!v->was_refetched) {
        visit__no_token(v);
        return;
    }
    enum onion_fail why = v->worst != ONION_FAIL_NONE ? v->worst : ONION_FAIL_UNREACHABLE;
    visit__step(v, ONION_STAGE_PATH, why, "%s", onion_fail_text(why));
    visit__fail(v, v->was_open ? ONION_FAIL_LOST : why);
}

static void timer(struct env_timer *t, void *arg)
{
    struct visit *v = arg;
    (void)t;
    if (is_unused(v)) {
        if (v->conn != NULL)
            onion_conn_close(v->conn, ONION_CODE_DONE); /* conn_closed ends us */
        else
            visit__fail(v, ONION_FAIL_NONE);
        return;
    }
    switch (v->state) {
    case VISIT_LINGERING:
        connect_now(v);
        break;
    case VISIT_CONNECTING:
        visit__fail(v, v->worst != ONION_FAIL_NONE ? v->worst : ONION_FAIL_TIMEOUT);
        break;
    case VISIT_LOOKING:
    case VISIT_OPEN:
    case VISIT_OVER:
        break;
    }
}

/* ---- beginning
 * ------------------------------------------------------------------------------------ */

static void purpose_of(struct visit *v)
{
    uint8_t h[CRYPTO_HASH];
    const struct bytes x[] = { BYTES(v->key.address, 32), BYTES(v->key.tag, 16) };
    crypto_h(h, "cyx purpose visit", x, 2); /* ours alone: nobody else sees it */
    memcpy(v->why.tag, h, sizeof v->why.tag);
}

static struct visit *visit_new(struct onion *o, const struct visit_key *key)
{
    struct visit *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    v->o = o;
    v->key = *key;
    v->begun_ns = v->stage_ns = env_now_ns(o->env);
    list_init(&v->streams);
    list_init(&v->waiting);
    env_timer_init(&v->timer, timer, v);
    flows__init(&v->flows, o);
    purpose_of(v);
    o->c.visits++;
    return v;
}

struct visit *visit__get(struct onion *o, const uint8_t address[static 32],
                         const struct onion_isolation *tag)
{
    struct visit_key key;
    memcpy(key.address, address, sizeof key.address);
    memcpy(key.tag, tag->tag, sizeof key.tag);
    struct visit *v = map_get(o->visits, &key);
    if (v != NULL)
        return v;
    v = visit_new(o, &key);
    if (v == NULL || map_put(o->visits, &v->key, v) != 0) {
        free(v);
        return NULL;
    }
    look(v, ONION_FETCH_ANY);
    return map_get(o->visits, &key);
}

void visit__add_stream(struct visit *v, struct onion_stream *s)
{
    s->visit = v;
    v->n_streams++;
    list_push_back(&v->waiting, &s->node);
    if (v->state == VISIT_OPEN)
        env_timer_stop(v->o->env, &v->timer);
    if (v->has_descriptor)
        env_timer_in(v->o->env, &s->later, 0); /* what is known already is told from the loop */
}

/* A stream that came when the descriptor was here. */
void visit__late_stream(struct onion_stream *s)
{
    struct visit *v = s->visit;
    if (!has_port(v, s)) {
        stream__fail(s, ONION_FAIL_NO_PORT);
        return;
    }
    if (v->conn != NULL)
        open_waiting(v);
    if (v->state != VISIT_OVER && !s->waits && !v->d.inner.ask_ports)
        stream__tell_opened(s);
}

struct flows *visit__flows(struct visit *v)
{
    return &v->flows;
}

static bool end_one(void *arg, const void *key, void *value)
{
    enum onion_fail *why = arg;
    struct visit *v = value;
    (void)key;
    if (v->conn != NULL && onion_conn_is_open(v->conn))
        onion_conn_close(v->conn, ONION_CODE_LEAVING); /* ends it, through conn_closed */
    else
        visit__fail(v, *why);
    return true;
}

void visits__end(struct onion *o, enum onion_fail why)
{
    map_each(o->visits, end_one, &why);
}

static bool drop_one(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    visit__fail(value, ONION_FAIL_CLOSING);
    return true;
}

void visits__drop(struct onion *o)
{
    map_each(o->visits, drop_one, NULL);
}

size_t visits__count(const struct onion *o)
{
    return map_len(o->visits);
}

/* ---- onion.h
 * ---------------------------------------------------------------------------------------- */

struct onion_stream *onion_dial(struct onion *o, const struct onion_target *to,
                                const struct onion_stream_events *ev, void *arg,
                                struct cyx_err *err)
{
    struct onion_stream *s = stream__new(o, to->port, ev, arg);
    struct visit *v = s != NULL ? visit__get(o, to->address, &to->isolation) : NULL;
    if (v == NULL) {
        if (s != NULL)
            stream__free(s);
        cyx_fail(err, s == NULL ? CYX_ENOMEM : CYX_EFULL, "no more than %d connections at once",
                 ONION__VISITS);
        return NULL;
    }
    s->waits = to->wait_for_answer;
    visit__add_stream(v, s);
    return s;
}

struct onion_flow *onion_flow_open(struct onion *o, const struct onion_target *to,
                                   const struct onion_flow_events *ev, void *arg,
                                   struct cyx_err *err)
{
    struct visit *v = visit__get(o, to->address, &to->isolation);
    struct onion_flow *f = v != NULL ? flows__open(&v->flows, to->port, ev, arg) : NULL;
    if (f == NULL)
        cyx_fail(err, CYX_EFULL, "too many flows at once");
    return f;
}

/* ---- why
 * -------------------------------------------------------------------------------------------- */

struct onion_why {
    struct visit *v; /* NULL once it has failed */
    struct onion_stream *s;
    struct onion *o;
    void (*step)(void *arg, const struct onion_step *s);
    void (*done)(void *arg, enum onion_fail why);
    void *arg;
};

static void why_step(void *arg, const struct onion_step *s)
{
    struct onion_why *w = arg;
    w->step(w->arg, s);
}

static void why_end(struct onion_why *w, enum onion_fail why)
{
    void (*done)(void *, enum onion_fail) = w->done;
    void *arg = w->arg;
    free(w);
    done(arg, why);
}

static void why_opened(void *arg)
{
    struct onion_why *w = arg;
    struct onion_stream *s = w->s;
    visit__step(w->v, ONION_STAGE_STREAM, ONION_FAIL_NONE, "port %u answers", s->port);
    w->s = NULL;
    onion_stream_reset(s);
    why_end(w, ONION_FAIL_NONE);
}

static void why_closed(void *arg, enum onion_fail why)
{
    struct onion_why *w = arg;
    if (why == ONION_FAIL_REFUSED || why == ONION_FAIL_NO_PORT || why == ONION_FAIL_BUSY)
        w->step(w->arg, &(struct onion_step){ .stage = ONION_STAGE_STREAM, .fail = why });
    why_end(w, why);
}

struct onion_why *onion_why(struct onion *o, const struct onion_target *to,
                            void (*step)(void *arg, const struct onion_step *s),
                            void (*done)(void *arg, enum onion_fail why), void *arg,
                            struct cyx_err *err)
{
    static const struct onion_stream_events ev = { .opened = why_opened, .closed = why_closed };
    struct onion_why *w = calloc(1, sizeof *w);
    struct onion_target own = *to;
    if (w == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory");
        return NULL;
    }
    *w = (struct onion_why){ .o = o, .step = step, .done = done, .arg = arg };
    env_random(o->env, own.isolation.tag,
               sizeof own.isolation.tag); /* from scratch: shares nothing */
    own.wait_for_answer = true;
    w->s = onion_dial(o, &own, &ev, w, err);
    if (w->s == NULL) {
        free(w);
        return NULL;
    }
    w->v = w->s->visit;
    visit__trace(w->v, why_step, w);
    return w;
}

void onion_why_cancel(struct onion_why *w)
{
    if (w == NULL)
        return;
    visit__trace(w->v, NULL, NULL);
    onion_stream_reset(w->s);
    free(w);
}
