/* onion/visit.c - the life of a visit: from the lookup over the first flight to its last user's
 * going. Spec: protocol.md, sections 12 to 14. */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/visit_internal.h"

/* ---- ends -------------------------------------------------------------------------------------
 */

void visit__unlist(struct visit *v)
{
    if (v->is_listed)
        map_del(v->o->visits, &v->key);
    v->is_listed = false;
}

static void stop_timers(struct visit *v)
{
    struct env *e = v->o->env;
    env_timer_stop(e, &v->timer);
    env_timer_stop(e, &v->idle);
    env_timer_stop(e, &v->rest);
    env_timer_stop(e, &v->overlap);
    env_timer_stop(e, &v->nudge);
}

static void visit_free(struct visit *v)
{
    v->state = VISIT_OVER;
    visit__unlist(v);
    list_del(&v->node);
    stop_timers(v);
    onion_fetch_cancel(v->fetching);
    ways__close(v);
    onion_conn_destroy(v->conn);
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

/* Whoever dials the address in the midst of it gets a new visit: this one is out of the map. */
static void end_users(struct visit *v, enum onion_fail why)
{
    visit__unlist(v);
    fail_all(&v->streams, why);
    fail_all(&v->waiting, why);
    flows__end(&v->flows, why);
}

void visit__fail(struct visit *v, enum onion_fail why)
{
    if (v->state == VISIT_OVER)
        return;
    if (v->has_descriptor && !v->was_open &&
        (why == ONION_FAIL_TIMEOUT || why == ONION_FAIL_UNREACHABLE))
        onion_fetch_doubt(v->o->fetch, v->key.address);
    v->state = VISIT_OVER;
    ways__close(v);
    end_users(v, why);
    visit_free(v);
}

void visit__leave(struct visit *v, enum onion_fail why, enum onion_code code)
{
    if (v->state >= VISIT_LEAVING)
        return;
    if (v->conn == NULL || !onion_conn_is_open(v->conn)) {
        visit__fail(v, why);
        return;
    }
    v->state = VISIT_LEAVING;
    stop_timers(v);
    onion_fetch_cancel(v->fetching);
    v->fetching = NULL;
    end_users(v, why);
    onion_conn_close(v->conn, code); /* conn_closed follows */
}

/* Its last words lie in the queue of its path's link: that must not go in the same turn. */
void visit__gone(struct visit *v)
{
    env_timer_in(v->o->env, &v->idle, ENV_MS(ONION__LEAVE_MS));
}

enum onion_fail visit__why(const struct visit *v)
{
    if (v->state >= VISIT_LEAVING || v->conn == NULL || onion_conn_is_open(v->conn))
        return ONION_FAIL_RESET;
    return v->was_open ? ONION_FAIL_LOST : ONION_FAIL_TIMEOUT;
}

static bool is_unused(const struct visit *v)
{
    return v->n_streams == 0 && v->flows.n == 0;
}

void visit__lost_user(struct visit *v)
{
    if (v->state < VISIT_LEAVING && is_unused(v))
        env_timer_in(v->o->env, &v->idle, v->state == VISIT_OPEN ? ENV_S(VISIT__SPARE_S) : 0);
}

void visit__lost_stream(struct visit *v)
{
    v->n_streams--;
    visit__lost_user(v);
}

static void flow_lost(void *arg)
{
    visit__lost_user(arg);
}

static void idle(struct env_timer *t, void *arg)
{
    struct visit *v = arg;
    (void)t;
    if (v->state == VISIT_LEAVING)
        visit_free(v);
    else if (is_unused(v))
        visit__leave(v, ONION_FAIL_NONE, ONION_CODE_DONE);
}

/* ---- from the descriptor to the first flight
 * ------------------------------------------------------- */

static void connect_now(struct visit *v)
{
    if (!visit__conn_make(v)) {
        visit__fail(v, ONION_FAIL_UNREACHABLE);
        return;
    }
    v->state = VISIT_CONNECTING;
    env_timer_set(v->o->env, &v->timer, v->deadline_ns);
    visit__open_waiting(v);
    if (!way__begin(v))
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

/* What the descriptor says about a stream that waits. It may be gone afterwards. */
static void judge(struct visit *v, struct onion_stream *s)
{
    s->is_judged = true;
    if (!has_port(v, s))
        stream__fail(s, ONION_FAIL_NO_PORT);
    else if (!s->waits && !v->d.inner.ask_ports)
        stream__tell_opened(s);
}

static struct onion_stream *not_judged(struct visit *v)
{
    list_each (node, &v->waiting) {
        struct onion_stream *s = container_of(node, struct onion_stream, node);
        if (!s->is_judged)
            return s;
    }
    return NULL;
}

static void judge_streams(struct visit *v)
{
    struct onion_stream *s;
    while ((s = not_judged(v)) != NULL) /* each may end others */
        judge(v, s);
}

bool visit__takes_datagrams(void *visit, uint16_t port)
{
    const struct visit *v = visit;
    return v->d.inner.ask_ports || onion_inner_has_port(&v->d.inner, port, ONION_PORT_DATAGRAM);
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

static void linger(struct visit *v)
{
    v->state = VISIT_LINGERING;
    env_timer_in(v->o->env, &v->timer, has_bytes(v) ? 0 : ENV_MS(VISIT__LINGER_MS));
    flows__judge(&v->flows, visit__takes_datagrams, v);
    judge_streams(v);
    if (has_bytes(v))
        env_timer_in(v->o->env, &v->timer, 0);
}

/* The connection goes on with what the descriptor says now. A service whose key is another in the
 * same period has forgotten all connections. One that has not proven its old key yet is begun anew:
 * nobody could read a first flight for it. */
static void fetched_again(struct visit *v)
{
    bool is_same = sodium_memcmp(v->key_used, v->d.inner.service_key, sizeof v->key_used) == 0;
    if (!is_same && v->state == VISIT_CONNECTING)
        visit__conn_anew(v);
    else if (!is_same && v->d.period == v->period_used)
        visit__fail(v, ONION_FAIL_LOST);
    else if (v->state == VISIT_CONNECTING && ways__any_good(v))
        ways__beside(v); /* it brings no answer */
    else if (!ways__any_good(v) && !way__begin(v))
        visit__lost_ways(v);
}

static void fetched(void *arg, int code, const struct onion_descriptor *d, uint64_t ns)
{
    struct visit *v = arg;
    enum onion_fail why = code != 0 ? fail_of_fetch(code) : ONION_FAIL_NONE;
    v->fetching = NULL;
    if (code != 0) {
        visit__step(v, ONION_STAGE_DESCRIPTOR, why, "%s", onion_fail_text(why));
        if (v->conn == NULL)
            visit__fail(v, why);
        else if (!ways__any_good(v))
            visit__lost_ways(v); /* what we have is all there is */
        return;
    }
    bool is_known = v->has_descriptor && v->d.sequence == d->sequence && v->d.period == d->period;
    v->d = *d;
    v->has_descriptor = true;
    v->tries = 0;
    if (!is_known) {
        v->tried = ways__places(v);
        v->is_refused = false;
    }
    visit__step(v, ONION_STAGE_DESCRIPTOR, why, "period %llu, %zu pivots%s",
                (unsigned long long)d->period, d->inner.n_pivots, ns == 0 ? ", remembered" : "");
    if (v->conn != NULL)
        fetched_again(v);
    else
        linger(v);
}

static void look(struct visit *v, enum onion_fetch_how how)
{
    v->fetching = onion_fetch_start(v->o->fetch, v->key.address, &v->why, how, fetched, v);
    if (v->fetching == NULL)
        visit__fail(v, ONION_FAIL_NOT_READY);
}

bool visit__needs_descriptor(const struct visit *v)
{
    return v->fetching != NULL && v->state != VISIT_OPEN;
}

/* A pivot doesn't know the token: they were replaced since, unless we asked just now. */
void visit__no_token(struct visit *v)
{
    if (v->was_refetched || v->fetching != NULL)
        return;
    v->was_refetched = true;
    visit__look_again(v);
}

void visit__look_again(struct visit *v)
{
    if (v->fetching == NULL) /* no memory: it goes on with what it has */
        v->fetching =
            onion_fetch_start(v->o->fetch, v->key.address, &v->why, ONION_FETCH_FRESH, fetched, v);
}

/* Spliced, and no answer: the pivot may not know yet that the service's path is dead. */
static void nudge(struct env_timer *t, void *arg)
{
    struct visit *v = arg;
    (void)t;
    if (v->state == VISIT_CONNECTING)
        visit__look_again(v);
}

void visit__expect_answer(struct visit *v)
{
    uint64_t wait = VISIT__NUDGE_FACTOR * onion_paths_build_ns(v->o->paths);
    if (wait < ENV_MS(VISIT__NUDGE_MIN_MS))
        wait = ENV_MS(VISIT__NUDGE_MIN_MS);
    if (!v->nudge.is_set)
        env_timer_in(v->o->env, &v->nudge, wait);
}

static void rest(struct visit *v)
{
    uint64_t ms = v->rest_ms == 0 ? VISIT__REST_MS : 2 * v->rest_ms;
    v->rest_ms = ms < VISIT__REST_MAX_MS ? ms : VISIT__REST_MAX_MS;
    env_timer_in(v->o->env, &v->rest, ENV_MS(v->rest_ms));
}

static void rested(struct env_timer *t, void *arg)
{
    struct visit *v = arg;
    uint64_t ms = v->rest_ms;
    (void)t;
    ways__fresh_round(v);
    v->rest_ms = ms;
    if (ways__any_good(v) || visit__needs_descriptor(v))
        return;
    ways__make_room(v);
    if (!way__begin(v))
        visit__lost_ways(v);
}

/* What is connected goes on until its connection has been silent for too long: networks come back.
 * What isn't yet does so for a while, unless a pivot itself said no. */
static bool is_worth_a_rest(const struct visit *v)
{
    uint64_t now = env_now_ns(v->o->env);
    if (v->state == VISIT_OPEN)
        return now - v->heard_ns < ENV_MS(ONION_IDLE_MS);
    return v->state == VISIT_CONNECTING && !v->is_refused && v->worst != ONION_FAIL_EFFORT &&
           now + ENV_MS(VISIT__TOTAL_MS - VISIT__PATIENCE_MS) < v->deadline_ns;
}

void visit__none_now(struct visit *v)
{
    if (!visit__needs_descriptor(v) && !v->rest.is_set && is_worth_a_rest(v))
        rest(v);
}

/* Whoever goes on does so after a pause; the others fail, and say why. */
void visit__lost_ways(struct visit *v)
{
    if (v->state >= VISIT_LEAVING || visit__needs_descriptor(v) || v->rest.is_set)
        return;
    visit__no_token(v);
    if (visit__needs_descriptor(v))
        return;
    if (is_worth_a_rest(v)) {
        rest(v);
    } else {
        enum onion_fail why = v->worst != ONION_FAIL_NONE ? v->worst : ONION_FAIL_UNREACHABLE;
        visit__step(v, ONION_STAGE_PATH, why, "%s", onion_fail_text(why));
        visit__fail(v, v->was_open ? ONION_FAIL_LOST : why);
    }
}

static void timer(struct env_timer *t, void *arg)
{
    struct visit *v = arg;
    (void)t;
    if (v->state == VISIT_LINGERING)
        connect_now(v);
    else if (v->state < VISIT_OPEN)
        visit__fail(v, v->worst != ONION_FAIL_NONE ? v->worst : ONION_FAIL_TIMEOUT);
}

static void overlap(struct env_timer *t, void *arg)
{
    (void)t;
    ways__overlap_over(arg);
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
    v->stage_ns = env_now_ns(o->env);
    v->deadline_ns = v->stage_ns + ENV_MS(VISIT__TOTAL_MS);
    list_init(&v->streams);
    list_init(&v->waiting);
    list_init(&v->node);
    list_push_back(&o->all_visits, &v->node);
    env_timer_init(&v->timer, timer, v);
    env_timer_init(&v->idle, idle, v);
    env_timer_init(&v->rest, rested, v);
    env_timer_init(&v->overlap, overlap, v);
    env_timer_init(&v->nudge, nudge, v);
    flows__init(&v->flows, o);
    v->flows.lost = flow_lost;
    v->flows.arg = v;
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
    if (v == NULL)
        return NULL;
    if (map_put(o->visits, &v->key, v) != 0) {
        visit_free(v);
        return NULL;
    }
    v->is_listed = true;
    env_timer_set(o->env, &v->timer, v->deadline_ns);
    look(v, ONION_FETCH_ANY);
    return map_get(o->visits, &key);
}

void visit__add_stream(struct visit *v, struct onion_stream *s)
{
    s->visit = v;
    v->n_streams++;
    list_push_back(&v->waiting, &s->node);
    env_timer_stop(v->o->env, &v->idle);
    if (v->has_descriptor)
        env_timer_in(v->o->env, &s->later, 0); /* what is known already is told from the loop */
}

/* A stream that came when the descriptor was here. */
void visit__late_stream(struct onion_stream *s)
{
    struct visit *v = s->visit;
    judge(v, s);
    visit__open_waiting(v);
}

static struct visit *first_but(struct onion *o, enum visit_state most)
{
    list_each (node, &o->all_visits) {
        struct visit *v = container_of(node, struct visit, node);
        if (v->state < most)
            return v;
    }
    return NULL;
}

/* Users hear of it, and may end others: each turn takes the first that is left. */
void visits__end(struct onion *o, enum visits_how how)
{
    struct visit *v;
    while (how == VISITS_TELL && (v = first_but(o, VISIT_LEAVING)) != NULL)
        visit__leave(v, ONION_FAIL_CLOSING, ONION_CODE_LEAVING);
    while (how == VISITS_NOW && (v = first_but(o, VISIT_OVER)) != NULL)
        visit__fail(v, ONION_FAIL_CLOSING);
}

size_t visits__count(const struct onion *o)
{
    size_t n = 0;
    list_each (node, &o->all_visits)
        n++;
    return n;
}
