/* How much the peer may send. ngtcp2 grows windows by itself, but knows neither the node's memory
 * nor that more than 1000 holes in a stream's reorder buffer end its connection, so this is ours.
 *
 * The connection's window bounds what it can make us keep, in any order and on any stream:
 * ONION_WINDOW_FREE, and what was taken out of the node's buffers (rx_charged). A stream's window
 * doubles when its reader uses up a quarter within two round trips, and takes the same off the
 * node's buffers for the connection. Bytes that readers hold unread are returned to the connection
 * ahead of time, so that a slow stream doesn't stop the rest, or one that the peer couldn't even
 * open.
 *
 * A promise can't be taken back: what is too much (surplus) is kept from the credits to come. */
#include <assert.h>

#include "onion/conn_internal.h"

enum { PACKET_DATA = 1200, PPM = 1000000 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- loss ------------------------------------------------------------------------------------ */

void conn__loss_look(struct onion_conn *c)
{
    uint64_t sent = c->seen.next - c->loss_next, came = c->seen.n - c->loss_n;
    if (sent < CONN__LOSS_SAMPLE)
        return;
    unsigned now = came < sent ? (unsigned)((sent - came) * PPM / sent) : 0;
    unsigned smooth = (3 * c->loss_ppm + now) / 4;
    c->loss_ppm = now > smooth ? now : smooth; /* up at once, down slowly */
    c->loss_next = c->seen.next;
    c->loss_n = c->seen.n;
}

/* The window that leads to CONN__HOLES holes at most, at this loss. */
static uint32_t cap(const struct onion_conn *c)
{
    uint64_t most = ONION_STREAM_WINDOW;
    if (c->loss_ppm > 0) {
        uint64_t bytes = (uint64_t)CONN__HOLES * PACKET_DATA * PPM / c->loss_ppm;
        most = bytes < most ? bytes : most;
    }
    return (uint32_t)(most > ONION_WINDOW_FREE ? most : ONION_WINDOW_FREE);
}

/* ---- the connection -------------------------------------------------------------------------- */

static size_t charge(struct onion_conn *c, size_t want)
{
    size_t n = onion_buffer_take(&c->buffers->rx, want, c->rx_charged);
    c->rx_charged += n;
    if (n > 0)
        ngtcp2_conn_extend_max_offset(c->quic, n);
    return n;
}

/* Of the credit, what pays a debt instead of going to the peer. */
static void pay(struct onion_conn *c, size_t *debt)
{
    size_t n = least(c->credit, *debt);
    *debt -= n;
    c->credit -= n;
    c->rx_charged -= n;
    onion_buffer_return(&c->buffers->rx, n);
}

static void return_credit(struct onion_conn *c)
{
    pay(c, &c->advanced);
    pay(c, &c->surplus);
    if (c->credit < (ONION_WINDOW_FREE + c->rx_charged) / 4)
        return; /* MAX_DATA isn't worth a frame yet */
    ngtcp2_conn_extend_max_offset(c->quic, c->credit);
    c->credit = 0;
}

static void advance(struct onion_conn *c)
{
    size_t unread = c->held - least(c->advanced, c->held);
    if (unread >= ONION_WINDOW_FREE / 4)
        c->advanced += charge(c, unread);
}

/* ---- streams --------------------------------------------------------------------------------- */

static size_t grow(struct onion_conn *c, size_t want)
{
    size_t n = least(c->surplus, want); /* the connection has it still */
    c->surplus -= n;
    return n + charge(c, want - n);
}

static void stream_window(struct onion_conn *c, struct onion_conn_stream *s, uint64_t rtt)
{
    uint32_t most = cap(c);
    size_t give = s->credit;
    if (s->credit < s->window / 4 || s->is_gone || s->has_ended)
        return;
    if (s->window > most) {
        size_t back = least(give, s->window - most);
        s->window -= (uint32_t)back;
        c->surplus += back;
        give -= back;
    } else if (c->state == CONN_OPEN && c->now_ns - s->returned_ns < 2 * rtt) {
        size_t more = grow(c, least(s->window, most - s->window));
        s->window += (uint32_t)more;
        give += more;
    }
    s->returned_ns = c->now_ns;
    s->credit = 0;
    /* Fails for want of memory only; then the stream stands still and the connection ends idle. */
    (void)ngtcp2_conn_extend_max_stream_offset(c->quic, s->id, give);
}

void conn__window_close(struct onion_conn_stream *s)
{
    s->conn->surplus += s->window - ONION_WINDOW_FREE;
    s->window = ONION_WINDOW_FREE;
}

#ifndef NDEBUG
/* What was counted step by step, counted anew. */
static void check(const struct onion_conn *c)
{
    size_t held = 0, grown = 0, kept = 0;
    list_each (n, &c->streams) {
        const struct onion_conn_stream *s = container_of(n, struct onion_conn_stream, node);
        held += s->held;
        grown += s->window - ONION_WINDOW_FREE;
        for (const struct conn__chunk *k = s->out.first; k != NULL; k = k->next)
            kept += k->cap;
        for (const struct conn__chunk *k = s->waiting.first; k != NULL; k = k->next)
            kept += k->cap;
    }
    assert(held == c->held && kept == c->tx_held);
    assert(c->rx_charged == grown + c->surplus + c->advanced);
    assert(c->tx_held <= ONION_WINDOW_FREE + c->tx_charged);
}
#else
static void check(const struct onion_conn *c)
{
    (void)c;
}
#endif

void conn__windows(struct onion_conn *c)
{
    if (c->credit > 0) {
        uint64_t rtt = conn__rtt(c);
        list_each (n, &c->streams)
            stream_window(c, container_of(n, struct onion_conn_stream, node), rtt);
    }
    if (c->credit > 0)
        return_credit(c);
    if (c->state == CONN_OPEN)
        advance(c);
    check(c);
}

void conn__windows_free(struct onion_conn *c)
{
    onion_buffer_return(&c->buffers->rx, c->rx_charged);
    onion_buffer_return(&c->buffers->tx, c->tx_charged);
    c->rx_charged = c->tx_charged = 0;
}
