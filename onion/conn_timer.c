/* One timer for all that may come due: QUIC's own deadlines, the end of the handshake, a client's
 * look at whether its path is alive, the idle end of a connection without a path. */
#include "onion/conn_internal.h"

enum {
    PING_S = 20, /* with streams open: QUIC's idle end is 60 s */
    DEAD_LEAST_MS = 500,
    ASK_LEAST_MS = 250,  /* of silence, where bytes came a moment ago; or two probe timeouts */
    DEAD_MOST_MS = 8000, /* an answer that came by the third path makes round trips look long */
    SILENT_PATHS = 3,    /* one after the other, as many as a service has pivots: then */
    SILENT_SHIFT = 5,    /* ... patience doubles with each, up to 32 times */
    STEP_US = 100,       /* a deadline that is past and can't be served now is tried again then */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* No packet for so long, with data in flight, is a path that died. When one path after the other
 * dies it is rather the service that did, and all its clients find out at once: builds get rarer.
 */
static uint64_t patience(struct onion_conn *c)
{
    uint64_t wait = least(3 * ngtcp2_conn_get_pto(c->quic), ENV_MS(DEAD_MOST_MS));
    unsigned more = c->n_silent < SILENT_PATHS ? 0 : c->n_silent - SILENT_PATHS + 1;
    if (more > SILENT_SHIFT)
        more = SILENT_SHIFT;
    return (wait > ENV_MS(DEAD_LEAST_MS) ? wait : ENV_MS(DEAD_LEAST_MS)) << more;
}

static bool watches_path(const struct onion_conn *c)
{
    return !c->is_service && c->waiting_ns == 0 && c->state != CONN_NEW;
}

static uint64_t dead_at(struct onion_conn *c)
{
    if (!watches_path(c) || c->dead_told || c->flight_ns == 0)
        return UINT64_MAX;
    uint64_t since = c->flight_ns > c->received_ns ? c->flight_ns : c->received_ns;
    return since + patience(c);
}

static uint64_t ask_after(struct onion_conn *c)
{
    uint64_t wait = least(2 * ngtcp2_conn_get_pto(c->quic), ENV_MS(DEAD_MOST_MS));
    return wait > ENV_MS(ASK_LEAST_MS) ? wait : ENV_MS(ASK_LEAST_MS);
}

/* A client that only receives has nothing in flight by which a dead path shows: it asks, soon after
 * traffic stopped, later now and then. */
static uint64_t ping_at(struct onion_conn *c)
{
    if (!watches_path(c) || c->state != CONN_OPEN || c->n_streams == 0 || c->flight_ns != 0)
        return UINT64_MAX;
    return c->received_ns + (c->is_active ? ask_after(c) : ENV_S(PING_S));
}

/* Of the handshake. A client's stands still while its owner builds another path. */
static uint64_t handshake_at(const struct onion_conn *c)
{
    bool counts = c->deadline_ns != 0 && (c->is_service || c->waiting_ns == 0);
    return counts ? c->deadline_ns : UINT64_MAX;
}

static uint64_t idle_at(const struct onion_conn *c)
{
    return c->waiting_ns != 0 ? c->waiting_ns + ENV_MS(ONION_IDLE_MS) : UINT64_MAX;
}

static bool quic_runs(const struct onion_conn *c)
{
    return c->waiting_ns == 0 && c->state != CONN_NEW;
}

void conn__arm(struct onion_conn *c)
{
    if (c->state == CONN_OVER)
        return;
    uint64_t at = least(least(handshake_at(c), idle_at(c)), least(dead_at(c), ping_at(c)));
    if (quic_runs(c))
        at = least(at, ngtcp2_conn_get_expiry(c->quic));
    uint64_t now = env_now_ns(c->env);
    if (at <= now)
        at = now + (uint64_t)STEP_US * 1000;
    if (at == UINT64_MAX)
        env_timer_stop(c->env, &c->timer);
    else
        env_timer_set(c->env, &c->timer, at);
}

static bool expire(struct onion_conn *c)
{
    if (c->now_ns >= handshake_at(c)) {
        conn__over(c, ONION_END_NO_ANSWER, 0);
        return false;
    }
    if (c->now_ns >= idle_at(c)) {
        conn__over(c, ONION_END_IDLE, 0);
        return false;
    }
    return !quic_runs(c) || conn__ok(c, ngtcp2_conn_handle_expiry(c->quic, c->now_ns));
}

static void look_at_path(struct onion_conn *c)
{
    if (c->now_ns >= ping_at(c)) {
        c->is_active = false;
        c->received_ns = c->now_ns; /* counted from the question */
        c->kicks = 1;
    }
    if (c->now_ns < dead_at(c))
        return;
    c->dead_told = true;
    c->n_silent++;
    if (c->ops->path_dead != NULL)
        c->ops->path_dead(c->arg);
}

void conn__on_timer(struct env_timer *t, void *arg)
{
    struct onion_conn *c = arg;
    (void)t;
    conn__enter(c);
    (void)conn__now(c);
    if (expire(c))
        look_at_path(c);
    if (!c->is_destroyed && c->state != CONN_OVER) {
        conn__soon(c); /* sends and arms */
        conn__arm(c);  /* should the turn be long */
    }
    (void)conn__leave(c);
}
