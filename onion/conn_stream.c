/* Streams as their users see them: opening, writing into chunks that stay until the peer has them,
 * ending, giving up. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/writer.h"
#include "onion/conn_internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

struct onion_conn_stream *conn__stream_new(struct onion_conn *c, int64_t id)
{
    struct onion_conn_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->conn = c;
    s->id = id;
    s->window = ONION_WINDOW_FREE;
    list_init(&s->ready);
    list_init(&s->node);
    list_push_back(&c->streams, &s->node);
    c->n_streams++;
    return s;
}

void conn__stream_free(struct onion_conn_stream *s)
{
    struct onion_conn *c = s->conn;
    conn__stream_release(s);
    conn__window_close(s);
    list_del(&s->ready);
    list_del(&s->node);
    c->n_streams--;
    conn__queue_free(c, &s->out);
    conn__queue_free(c, &s->waiting);
    free(s);
}

void conn__stream_release(struct onion_conn_stream *s)
{
    size_t n = s->held;
    s->held = 0;
    s->conn->held -= n;
    s->conn->credit += n;
}

void conn__stream_fail(struct onion_conn_stream *s, uint64_t code)
{
    const struct onion_conn_stream_ops *ops = s->is_gone ? NULL : s->ops;
    s->is_gone = true;
    conn__stream_release(s);
    if (ops != NULL && ops->reset != NULL)
        ops->reset(s->arg, code);
}

static bool can_open(const struct onion_conn *c, struct cyx_err *err)
{
    if (c->state == CONN_OVER || c->is_draining || c->close_wanted || c->is_service) {
        (void)cyx_fail(err, CYX_ECLOSED, "the connection opens no more streams");
        return false;
    }
    return true;
}

struct onion_conn_stream *onion_conn_stream_open(struct onion_conn *c, uint16_t port,
                                                 const struct onion_conn_stream_ops *ops, void *arg,
                                                 struct cyx_err *err)
{
    int64_t id;
    uint8_t opening[CONN__OPENING];
    if (!can_open(c, err))
        return NULL;
    struct onion_conn_stream *s = conn__stream_new(c, -1);
    int rv = s != NULL ? ngtcp2_conn_open_bidi_stream(c->quic, &id, s) : NGTCP2_ERR_NOMEM;
    if (rv != 0) {
        bool is_full = rv == NGTCP2_ERR_STREAM_ID_BLOCKED;
        if (s != NULL)
            conn__stream_free(s);
        c->wants_open = is_full;
        (void)cyx_fail(err, is_full ? CYX_EFULL : CYX_ENOMEM,
                       is_full ? "%d streams are open" : "no memory for a stream", ONION_STREAMS);
        return NULL;
    }
    s->id = id;
    s->ops = ops;
    s->arg = arg;
    s->is_answered = true; /* writes need no answer of ours */
    struct writer w = writer_on(opening, sizeof opening);
    writer_u8(&w, ONION_STREAM_BYTES);
    writer_u16(&w, port);
    if (onion_conn_stream_write(s, opening, sizeof opening) != sizeof opening) {
        onion_conn_stream_reset(s, ONION_CODE_ABORT); /* ngtcp2 closes it */
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for a stream");
        return NULL;
    }
    return s;
}

void onion_conn_stream_set_ops(struct onion_conn_stream *s, const struct onion_conn_stream_ops *ops,
                               void *arg)
{
    s->ops = ops;
    s->arg = arg;
}

struct onion_conn *onion_conn_stream_conn(struct onion_conn_stream *s)
{
    return s->conn;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void chunk_free(struct onion_conn *c, struct conn__chunk *k)
{
    c->tx_held -= k->cap;
    free(k);
}

void conn__queue_free(struct onion_conn *c, struct conn__queue *q)
{
    while (q->first != NULL) {
        struct conn__chunk *k = q->first;
        q->first = k->next;
        chunk_free(c, k);
    }
    q->last = NULL;
}

/* May `cap` more bytes be kept? The free part first, then out of the node's. */
static bool has_room(struct onion_conn *c, size_t cap)
{
    size_t need = c->tx_held + cap, have = ONION_WINDOW_FREE + c->tx_charged;
    if (need > have)
        c->tx_charged += onion_buffer_take(&c->buffers->tx, need - have, c->tx_charged);
    return need <= ONION_WINDOW_FREE + c->tx_charged;
}

/* A chunk for `len` more bytes behind the last. */
static struct conn__chunk *append(struct onion_conn *c, struct conn__queue *q, size_t len)
{
    size_t cap = len < CONN__CHUNK_MIN   ? CONN__CHUNK_MIN
                 : len > CONN__CHUNK_MAX ? CONN__CHUNK_MAX
                                         : len;
    struct conn__chunk *k = has_room(c, cap) ? malloc(sizeof *k + cap) : NULL;
    if (k == NULL)
        return NULL;
    *k = (struct conn__chunk){ .cap = cap };
    c->tx_held += cap;
    if (q->last != NULL)
        q->last->next = k;
    else
        q->first = k;
    q->last = k;
    return k;
}

size_t conn__queue_put(struct onion_conn *c, struct conn__queue *q, const uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        struct conn__chunk *k = q->last;
        if (k == NULL || k->len == k->cap)
            k = append(c, q, len - done);
        if (k == NULL)
            break;
        size_t room = k->cap - k->len, part = len - done < room ? len - done : room;
        memcpy(k->bytes + k->len, data + done, part);
        k->len += part;
        done += part;
    }
    return done;
}

/* What the node lent is given back as soon as a good part isn't needed. */
static void return_room(struct onion_conn *c)
{
    size_t need = c->tx_held > ONION_WINDOW_FREE ? c->tx_held - ONION_WINDOW_FREE : 0;
    if (c->tx_charged <= need || (need > 0 && c->tx_charged - need < ONION_UNSENT))
        return;
    onion_buffer_return(&c->buffers->tx, c->tx_charged - need);
    c->tx_charged = need;
}

void conn__acked(struct onion_conn_stream *s, uint64_t to)
{
    struct conn__queue *q = &s->out;
    while (q->first != NULL && s->base + q->first->len <= to) {
        struct conn__chunk *k = q->first;
        s->base += k->len;
        q->first = k->next;
        if (q->first == NULL)
            q->last = NULL;
        if (s->cursor == k) {
            s->cursor = k->next;
            s->cursor_at = 0;
        }
        chunk_free(s->conn, k);
    }
    return_room(s->conn);
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t onion_conn_stream_unsent(const struct onion_conn_stream *s)
{
    return (size_t)(s->written - s->sent);
}

static void wake(struct onion_conn_stream *s)
{
    conn__ready(s);
    conn__soon(s->conn);
}

size_t onion_conn_stream_write(struct onion_conn_stream *s, const void *data, size_t len)
{
    size_t unsent = onion_conn_stream_unsent(s);
    if (s->is_gone || s->end_wanted || s->is_shut || !s->is_answered || len == 0)
        return 0;
    size_t most = unsent < ONION_UNSENT ? ONION_UNSENT - unsent : 0;
    size_t n = conn__queue_put(s->conn, &s->out, data, len < most ? len : most);
    if (s->cursor == NULL && n > 0) {
        s->cursor = s->out.first; /* all before was sent and acknowledged */
        s->cursor_at = 0;
    }
    s->written += n;
    s->wants_writable = n < len;
    if (n > 0)
        wake(s);
    return n;
}

void onion_conn_stream_end(struct onion_conn_stream *s)
{
    if (s->is_gone || s->end_wanted || !s->is_answered)
        return;
    s->end_wanted = true;
    wake(s);
}

void onion_conn_stream_answer(struct onion_conn_stream *s, enum onion_answer_status status)
{
    uint8_t byte = (uint8_t)status;
    if (s->is_answered || s->is_gone)
        return;
    s->is_answered = true;
    if (onion_conn_stream_write(s, &byte, 1) != 1) {
        onion_conn_stream_reset(s, ONION_CODE_LIMIT);
        return;
    }
    if (status == ONION_ANSWER_OPEN)
        return;
    s->end_wanted = true;
    s->stop_wanted = true;
    s->reset_code = ONION_CODE_DONE;
    s->conn->has_shut = true;
    s->is_gone = true;
    conn__stream_release(s);
    wake(s);
}

void conn__stream_give_up(struct onion_conn_stream *s, uint64_t code)
{
    s->is_gone = true;
    conn__stream_release(s);
    if (s->reset_wanted || s->reset_done)
        return;
    s->reset_wanted = true;
    s->reset_code = code;
    s->conn->has_shut = true;
    conn__soon(s->conn);
}

void onion_conn_stream_reset(struct onion_conn_stream *s, uint64_t code)
{
    conn__stream_give_up(s, code);
}

void onion_conn_stream_consumed(struct onion_conn_stream *s, size_t n)
{
    if (s->is_gone)
        return; /* all was released with it */
    assert(n <= s->held);
    s->held -= n;
    s->credit += n;
    s->conn->held -= n;
    s->conn->credit += n;
    conn__soon(s->conn);
}

/* ---- what the task does ---------------------------------------------------------------------- */

static int shut(struct onion_conn *c, struct onion_conn_stream *s)
{
    int rv = 0;
    if (s->reset_wanted) {
        list_del(&s->ready);
        s->is_shut = true;
        rv = ngtcp2_conn_shutdown_stream(c->quic, s->id, s->reset_code);
    } else {
        rv = ngtcp2_conn_shutdown_stream_read(c->quic, s->id, s->reset_code);
    }
    s->reset_wanted = false;
    s->stop_wanted = false;
    s->reset_done = true;
    return rv;
}

int conn__shut_streams(struct onion_conn *c)
{
    int rv = 0;
    if (!c->has_shut)
        return 0;
    c->has_shut = false;
    list_each_safe (n, &c->streams) {
        struct onion_conn_stream *s = container_of(n, struct onion_conn_stream, node);
        if (rv == 0 && (s->reset_wanted || s->stop_wanted))
            rv = shut(c, s);
    }
    return rv;
}

void conn__tell_writable(struct onion_conn *c)
{
    list_each_safe (n, &c->streams) {
        struct onion_conn_stream *s = container_of(n, struct onion_conn_stream, node);
        bool has_space =
            onion_conn_stream_unsent(s) <= ONION_UNSENT / 2 && has_room(c, CONN__CHUNK_MAX);
        if (!s->wants_writable || s->is_gone || !has_space)
            continue;
        s->wants_writable = false;
        if (s->ops != NULL && s->ops->writable != NULL)
            s->ops->writable(s->arg);
        if (c->is_destroyed || c->state == CONN_OVER)
            return;
    }
}
