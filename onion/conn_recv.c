/* What the peer's frames do to streams. ngtcp2 calls from the midst of a packet: users are called
 * at once, so that bytes need no copy; whatever a user asks for is done by the task. A user that
 * destroyed the connection makes ngtcp2 stop at the next frame. */
#include <string.h>

#include "base/reader.h"
#include "onion/conn_internal.h"

static int stop_if_destroyed(const struct onion_conn *c)
{
    return c->is_destroyed ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int no_memory(struct onion_conn *c)
{
    c->failure = ONION_END_MEMORY;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* Bytes that no reader holds: read already, as far as the peer's allowance goes. */
static void swallow(struct onion_conn_stream *s, size_t n)
{
    s->credit += n;
    s->conn->credit += n;
}

/* ---- the first bytes of a stream -------------------------------------------------------------
 */

static void begin_service(struct onion_conn_stream *s, bool is_early)
{
    struct onion_conn *c = s->conn;
    struct reader r = reader_on(s->opening, sizeof s->opening);
    uint8_t kind = reader_u8(&r);
    uint16_t port = reader_u16(&r);
    s->is_begun = true;
    if (kind != ONION_STREAM_BYTES)
        onion_conn_stream_answer(s, ONION_ANSWER_NOT_ALLOWED);
    else if (c->is_draining || c->ops->stream == NULL)
        onion_conn_stream_answer(s, ONION_ANSWER_BUSY);
    else
        c->ops->stream(c->arg, s, port, is_early);
}

static void begin_client(struct onion_conn_stream *s)
{
    uint8_t status = s->opening[0];
    const struct onion_conn_stream_ops *ops = s->ops;
    s->is_begun = true;
    if (status != ONION_ANSWER_OPEN)
        conn__stream_give_up(s, ONION_CODE_DONE); /* gone before its user hears why */
    if (ops != NULL && ops->status != NULL)
        ops->status(s->arg, status);
}

/* Takes the opening (client's) or the status (service's) off the front. How many bytes it was. */
static size_t read_opening(struct onion_conn_stream *s, const uint8_t *data, size_t len,
                           bool is_early)
{
    bool is_service = s->conn->is_service;
    size_t want = (is_service ? CONN__OPENING : 1) - s->n_opening;
    size_t n = len < want ? len : want;
    if (n == 0)
        return 0; /* an end without a byte */
    memcpy(s->opening + s->n_opening, data, n);
    s->n_opening += n;
    swallow(s, n);
    if (n < want)
        return n;
    if (is_service)
        begin_service(s, is_early);
    else
        begin_client(s);
    return n;
}

/* ---- data ------------------------------------------------------------------------------------ */

static void give(struct onion_conn_stream *s, const uint8_t *data, size_t len, bool is_early)
{
    if (s->is_gone || s->ops == NULL || s->ops->data == NULL) {
        swallow(s, len);
        return;
    }
    s->held += len;
    s->conn->held += len;
    s->ops->data(s->arg, data, len, is_early);
}

static void ended(struct onion_conn_stream *s)
{
    if (!s->is_begun) {
        conn__stream_fail(s, ONION_CODE_PROTOCOL); /* over before it said what it wants */
        conn__stream_give_up(s, ONION_CODE_PROTOCOL);
        return;
    }
    if (s->is_gone || s->has_ended)
        return;
    s->has_ended = true;
    if (s->ops != NULL && s->ops->end != NULL)
        s->ops->end(s->arg);
}

static void input(struct onion_conn_stream *s, const uint8_t *data, size_t len, bool is_end,
                  bool is_early)
{
    struct onion_conn *c = s->conn;
    size_t n = 0;
    if (!s->is_begun && !s->is_gone)
        n = read_opening(s, data, len, is_early);
    if (n < len && !c->is_destroyed)
        give(s, data + n, len - n, is_early);
    if (is_end && !c->is_destroyed)
        ended(s);
}

static int on_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t offset,
                          const uint8_t *data, size_t len, void *arg, void *stream)
{
    struct onion_conn *c = arg;
    struct onion_conn_stream *s = stream;
    bool is_end = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
    bool is_early = c->is_service && (flags & NGTCP2_STREAM_DATA_FLAG_EARLY) != 0;
    (void)quic;
    (void)id;
    (void)offset;
    c->is_active = true;
    if (s == NULL)
        return 0;
    if (!c->hold_early || c->state == CONN_OPEN) {
        input(s, data, len, is_end, is_early);
        return stop_if_destroyed(c);
    }
    s->end_waits |= is_end;
    return conn__queue_put(c, &s->waiting, data, len) == len ? 0 : no_memory(c);
}

/* One stream's early data. Its user may end the connection at any piece. */
static void deliver(struct onion_conn_stream *s)
{
    struct onion_conn *c = s->conn;
    struct conn__queue q = s->waiting;
    bool is_end = s->end_waits;
    s->waiting = (struct conn__queue){ 0 };
    s->end_waits = false;
    for (struct conn__chunk *k = q.first; k != NULL && !c->is_destroyed; k = k->next)
        input(s, k->bytes, k->len, is_end && k->next == NULL, false);
    if (q.first == NULL && is_end)
        ended(s);
    conn__queue_free(c, &q);
}

void conn__deliver_waiting(struct onion_conn *c)
{
    if (!c->hold_early)
        return;
    list_each_safe (n, &c->streams) {
        struct onion_conn_stream *s = container_of(n, struct onion_conn_stream, node);
        if (!c->is_destroyed)
            deliver(s);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static int on_stream_open(ngtcp2_conn *quic, int64_t id, void *arg)
{
    struct onion_conn *c = arg;
    if (!c->is_service) {
        c->failure = ONION_END_PROTOCOL; /* streams are the client's to open */
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    struct onion_conn_stream *s = conn__stream_new(c, id);
    if (s == NULL || ngtcp2_conn_set_stream_user_data(quic, id, s) != 0)
        return no_memory(c);
    return 0;
}

/* RESET_STREAM: for us both directions are over, as with TCP. */
static int on_stream_reset(ngtcp2_conn *quic, int64_t id, uint64_t size, uint64_t code, void *arg,
                           void *stream)
{
    struct onion_conn *c = arg;
    struct onion_conn_stream *s = stream;
    (void)quic;
    (void)id;
    (void)size;
    if (s == NULL)
        return 0;
    conn__queue_free(c, &s->waiting);
    conn__stream_fail(s, code);
    if (!c->is_destroyed)
        conn__stream_give_up(s, code);
    return stop_if_destroyed(c);
}

/* Both directions are done, one way or another, and acknowledged. */
static int on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code, void *arg,
                           void *stream)
{
    struct onion_conn *c = arg;
    struct onion_conn_stream *s = stream;
    bool is_abrupt = (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0;
    if (c->is_service && !ngtcp2_conn_is_local_stream(quic, id))
        ngtcp2_conn_extend_max_streams_bidi(quic, 1); /* its place is free again */
    if (s == NULL)
        return 0;
    const struct onion_conn_stream_ops *ops = s->is_gone ? NULL : s->ops;
    void *user = s->arg;
    s->is_gone = true;
    conn__stream_free(s);
    if (ops != NULL && is_abrupt && ops->reset != NULL)
        ops->reset(user, code);
    else if (ops != NULL && !is_abrupt && ops->closed != NULL)
        ops->closed(user);
    if (!c->is_destroyed && c->is_draining)
        conn__soon(c);
    return stop_if_destroyed(c);
}

static int on_acked(ngtcp2_conn *quic, int64_t id, uint64_t offset, uint64_t len, void *arg,
                    void *stream)
{
    (void)quic;
    (void)id;
    (void)arg;
    if (stream != NULL)
        conn__acked(stream, offset + len);
    return 0;
}

static int on_more_data(ngtcp2_conn *quic, int64_t id, uint64_t most, void *arg, void *stream)
{
    struct onion_conn_stream *s = stream;
    (void)quic;
    (void)id;
    (void)most;
    (void)arg;
    if (s == NULL)
        return 0;
    s->is_blocked = false;
    conn__ready(s);
    return 0;
}

static int on_more_streams(ngtcp2_conn *quic, uint64_t most, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    (void)most;
    if (!c->wants_open || c->is_service)
        return 0;
    c->wants_open = false;
    if (c->ops->can_open != NULL)
        c->ops->can_open(c->arg);
    return stop_if_destroyed(c);
}

void conn__recv_callbacks(ngtcp2_callbacks *cb)
{
    cb->recv_stream_data = on_stream_data;
    cb->stream_open = on_stream_open;
    cb->stream_reset = on_stream_reset;
    cb->stream_close = on_stream_close;
    cb->acked_stream_data_offset = on_acked;
    cb->extend_max_stream_data = on_more_data;
    cb->extend_max_local_streams_bidi = on_more_streams;
}
