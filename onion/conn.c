#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/conn_internal.h"

static void on_task(void *arg);

struct onion_conn *conn__new(const struct onion_conn_options *o)
{
    struct onion_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->env = o->env;
    c->buffers = o->buffers;
    c->carrier = *o->carrier;
    c->ops = o->ops;
    c->arg = o->arg;
    c->failure = -1;
    c->now_ns = env_now_ns(c->env);
    c->waiting_ns = c->now_ns;
    env_timer_init(&c->timer, conn__on_timer, c);
    env_task_init(&c->task, on_task, c);
    list_init(&c->streams);
    list_init(&c->ready);
    list_init(&c->datagrams);
    list_init(&c->early_in);
    return c;
}

static void conn_free(struct onion_conn *c)
{
    env_timer_stop(c->env, &c->timer);
    env_task_cancel(&c->task);
    if (c->home_ops != NULL)
        c->home_ops->freed(c);
    list_each_safe (n, &c->streams)
        conn__stream_free(container_of(n, struct onion_conn_stream, node));
    conn__datagrams_free(c);
    conn__early_in_free(c);
    conn__windows_free(c);
    ngtcp2_conn_del(c->quic);
    free(c->flight);
    sodium_memzero(c, sizeof *c);
    free(c);
}

void onion_conn_destroy(struct onion_conn *c)
{
    if (c == NULL)
        return;
    c->is_destroyed = true;
    if (c->depth == 0)
        conn_free(c);
}

void conn__enter(struct onion_conn *c)
{
    c->depth++;
}

bool conn__leave(struct onion_conn *c)
{
    assert(c->depth > 0);
    if (--c->depth == 0 && c->is_destroyed) {
        conn_free(c);
        return false;
    }
    return true;
}

void conn__set_state(struct onion_conn *c, enum conn_state state)
{
    assert(state > c->state);
    c->state = state;
    if (state >= CONN_OPEN) {
        c->deadline_ns = 0;
        onion_stream_hs_wipe(&c->hs);
        sodium_memzero(c->secret, sizeof c->secret);
    }
    if (state == CONN_OVER)
        env_timer_stop(c->env, &c->timer);
}

/* Two calls at one time would give ngtcp2 round trips of zero. */
uint64_t conn__now(struct onion_conn *c)
{
    uint64_t now = env_now_ns(c->env);
    c->now_ns = now > c->now_ns ? now : c->now_ns + 1;
    return c->now_ns;
}

void conn__soon(struct onion_conn *c)
{
    env_defer(c->env, &c->task);
}

void onion_conn_set_ops(struct onion_conn *c, const struct onion_conn_ops *ops, void *arg)
{
    c->ops = ops;
    c->arg = arg;
}

bool onion_conn_is_open(const struct onion_conn *c)
{
    return c->state == CONN_OPEN;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Before anything of ours was read there is nobody to tell, and ngtcp2 has no state to tell it in.
 */
static bool can_speak(const struct onion_conn *c)
{
    return c->state == CONN_OPEN || (c->state == CONN_EARLY && (c->is_service || c->flight_sent));
}

static void last_word(struct onion_conn *c, int liberr)
{
    ngtcp2_connection_close_error e;
    ngtcp2_connection_close_error_default(&e);
    if (liberr == 0)
        ngtcp2_connection_close_error_set_application_error(&e, c->close_code, NULL, 0);
    else
        ngtcp2_connection_close_error_set_transport_error_liberr(&e, liberr, NULL, 0);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->quic, NULL, NULL, c->last_word,
                                                        sizeof c->last_word, &e, conn__now(c));
    if (n <= 0)
        return;
    c->last_word_len = (size_t)n;
    /* Twice: a peer that misses it keeps everything for another minute. */
    conn__carry(c, c->last_word, c->last_word_len);
    conn__carry(c, c->last_word, c->last_word_len);
}

/* Callbacks may destroy other streams of their users; each turn takes the first that is left. */
static void tell_streams(struct onion_conn *c)
{
    for (bool found = true; found && !c->is_destroyed;) {
        found = false;
        list_each (n, &c->streams) {
            struct onion_conn_stream *s = container_of(n, struct onion_conn_stream, node);
            if (s->is_gone)
                continue;
            found = true;
            conn__stream_fail(s, c->end.how == ONION_END_PEER ? c->end.code : ONION_CODE_ABORT);
            break;
        }
    }
}

static void tell_end(struct onion_conn *c)
{
    tell_streams(c);
    if (c->is_destroyed || c->end_told)
        return;
    c->end_told = true;
    if (c->ops->closed != NULL)
        c->ops->closed(c->arg, &c->end);
}

void conn__over(struct onion_conn *c, enum onion_end how, int liberr)
{
    if (c->state == CONN_OVER)
        return;
    bool speaks = (how == ONION_END_OURS || liberr != 0) && can_speak(c);
    if (how != ONION_END_PEER)
        c->end = (struct onion_conn_end){ .how = how, .is_transport = liberr != 0 };
    if (how == ONION_END_PROTOCOL)
        c->end.code = ngtcp2_err_infer_quic_transport_error_code(liberr);
    if (speaks)
        last_word(c, liberr);
    conn__set_state(c, CONN_OVER);
    tell_end(c);
}

static void peer_closed(struct onion_conn *c)
{
    ngtcp2_connection_close_error e;
    ngtcp2_conn_get_connection_close_error(c->quic, &e);
    c->end = (struct onion_conn_end){
        .how = ONION_END_PEER,
        .code = e.error_code,
        .is_transport = e.type != NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION,
    };
    conn__over(c, ONION_END_PEER, 0);
}

/* What an error of ngtcp2 means for us. */
static enum onion_end end_of(const struct onion_conn *c, int liberr)
{
    if (c->failure >= 0)
        return (enum onion_end)c->failure;
    switch (liberr) {
    case NGTCP2_ERR_IDLE_CLOSE:
        return ONION_END_IDLE;
    case NGTCP2_ERR_NOMEM:
        return ONION_END_MEMORY;
    case NGTCP2_ERR_CALLBACK_FAILURE:
    case NGTCP2_ERR_INTERNAL:
    case NGTCP2_ERR_PKT_NUM_EXHAUSTED:
    case NGTCP2_ERR_AEAD_LIMIT_REACHED:
        return ONION_END_INTERNAL;
    default:
        return c->state == CONN_OPEN ? ONION_END_PROTOCOL : ONION_END_HANDSHAKE;
    }
}

bool conn__ok(struct onion_conn *c, int liberr)
{
    if (c->is_destroyed || c->state == CONN_OVER)
        return false;
    if (liberr == 0)
        return true;
    if (liberr == NGTCP2_ERR_DRAINING || liberr == NGTCP2_ERR_CLOSING) {
        peer_closed(c);
        return false;
    }
    /* Silence for whoever has not proven that he knows us: message 1 didn't open, or isn't fresh.
     */
    bool is_silent = liberr == NGTCP2_ERR_DROP_CONN || liberr == NGTCP2_ERR_RETRY ||
                     liberr == NGTCP2_ERR_IDLE_CLOSE || c->state == CONN_NEW ||
                     ngtcp2_err_is_fatal(liberr);
    conn__over(c, end_of(c, liberr), is_silent ? 0 : liberr);
    return false;
}

void onion_conn_close(struct onion_conn *c, enum onion_code code)
{
    if (c->state == CONN_OVER || c->close_wanted)
        return;
    c->close_wanted = true;
    c->close_code = code;
    conn__soon(c);
}

void onion_conn_drain(struct onion_conn *c)
{
    c->is_draining = true;
    conn__soon(c);
}

const char *onion_end_text(enum onion_end how)
{
    static const char *const text[ONION_ENDS] = {
        [ONION_END_OURS] = "closed by us",
        [ONION_END_PEER] = "closed by the other side",
        [ONION_END_IDLE] = "silent for too long",
        [ONION_END_NO_ANSWER] = "no answer",
        [ONION_END_HANDSHAKE] = "the handshake failed",
        [ONION_END_PROTOCOL] = "the other side broke the rules",
        [ONION_END_MEMORY] = "no memory",
        [ONION_END_INTERNAL] = "internal error",
    };
    return (unsigned)how < ONION_ENDS ? text[how] : "unknown";
}

/* ---- the task -------------------------------------------------------------------------------- */

static bool is_drained(const struct onion_conn *c)
{
    return c->is_draining && !c->is_service && c->n_streams == 0;
}

static void on_task(void *arg)
{
    struct onion_conn *c = arg;
    conn__enter(c);
    if (c->state != CONN_OVER && is_drained(c))
        c->close_wanted = true;
    if (c->state != CONN_OVER && c->close_wanted)
        conn__over(c, ONION_END_OURS, 0);
    else if (c->state != CONN_OVER)
        conn__send(c);
    if (!c->is_destroyed && c->state != CONN_OVER)
        conn__tell_writable(c);
    if (!c->is_destroyed)
        conn__arm(c);
    (void)conn__leave(c);
}

/* ---- packets that come in --------------------------------------------------------------------
 */

static enum drop dropped(struct onion_conn *c, enum drop drop)
{
    c->info.dropped[drop]++;
    return drop;
}

/* The peer goes on: it missed our close. */
static void say_it_again(struct onion_conn *c)
{
    if (c->last_word_len > 0 && c->last_words++ < CONN__LAST_WORDS)
        conn__carry(c, c->last_word, c->last_word_len);
}

enum drop onion_conn_received(struct onion_conn *c, uint32_t splice, const uint8_t *packet,
                              size_t len)
{
    uint8_t first;
    if (!onion_conn_is_bound(c, splice))
        return dropped(c, DROP_UNKNOWN);
    enum drop drop = onion__quic_shape(
        packet, len, c->is_service ? ONION__FROM_CLIENT : ONION__FROM_SERVICE, &first);
    if (drop != DROP_NONE)
        return dropped(c, drop);
    if (!c->is_service && c->state == CONN_NEW)
        return dropped(c, DROP_STATE); /* nothing was asked */
    conn__enter(c);
    if (c->state == CONN_OVER)
        say_it_again(c);
    else
        conn__read(c, splice, packet, len);
    c->info.received++;
    (void)conn__leave(c);
    return DROP_NONE;
}

/* ---- what it knows --------------------------------------------------------------------------- */

void onion_conn_info(struct onion_conn *c, struct onion_conn_info *out)
{
    ngtcp2_conn_stat stat;
    ngtcp2_conn_get_conn_stat(c->quic, &stat);
    *out = c->info;
    out->is_open = c->state == CONN_OPEN;
    out->is_service = c->is_service;
    out->has_path = conn__has_path(c);
    out->rtt_ns = stat.smoothed_rtt;
    out->min_rtt_ns = stat.min_rtt;
    out->pto_ns = ngtcp2_conn_get_pto(c->quic);
    out->congestion_window = stat.cwnd;
    out->in_flight = stat.bytes_in_flight;
    out->n_streams = c->n_streams;
    out->n_bound = c->n_bound;
    out->rx_charged = c->rx_charged;
    out->tx_charged = c->tx_charged;
    out->held = c->held;
    out->loss_ppm = c->loss_ppm;
}
