/* What leaves: once a turn, in bursts that ngtcp2's pacing spaces out. Streams take turns packet by
 * packet; small writes of several streams share one. */
#include <string.h>

#include "onion/conn_internal.h"

enum { PIECES = 4 }; /* of a stream's bytes in one packet: chunks are 512 bytes at least */

void conn__ready(struct onion_conn_stream *s)
{
    bool has_data = s->sent < s->written || (s->end_wanted && !s->end_sent);
    if (has_data && !s->is_blocked && !s->is_shut && !list_linked(&s->ready))
        list_push_back(&s->conn->ready, &s->ready);
}

/* ---- one stream into the packet --------------------------------------------------------------
 */

/* The bytes that come next, up to a packet and a bit. */
static size_t pieces(const struct onion_conn_stream *s, ngtcp2_vec v[static PIECES], size_t *n)
{
    size_t total = 0, at = s->cursor_at;
    *n = 0;
    for (struct conn__chunk *k = s->cursor; k != NULL && *n < PIECES; k = k->next, at = 0) {
        if (k->len == at)
            continue;
        v[*n] = (ngtcp2_vec){ .base = k->bytes + at, .len = k->len - at };
        total += v[(*n)++].len;
    }
    return total;
}

static void advance(struct onion_conn_stream *s, size_t n)
{
    s->sent += n;
    while (n > 0) {
        size_t left = s->cursor->len - s->cursor_at;
        size_t part = n < left ? n : left;
        s->cursor_at += part;
        n -= part;
        if (s->cursor_at == s->cursor->len && s->cursor->next != NULL) {
            s->cursor = s->cursor->next;
            s->cursor_at = 0;
        }
    }
}

/* Offers the stream's next bytes to the packet in `dest`; ngtcp2's answer. */
static ngtcp2_ssize offer(struct onion_conn *c, struct onion_conn_stream *s, uint8_t *dest)
{
    ngtcp2_vec v[PIECES];
    size_t n_pieces;
    ngtcp2_ssize taken = -1;
    size_t total = pieces(s, v, &n_pieces);
    bool is_last = s->end_wanted && s->sent + total == s->written;
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
    if (is_last)
        flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
    ngtcp2_ssize rv = ngtcp2_conn_writev_stream(c->quic, NULL, NULL, dest, ONION_PAYLOAD, &taken,
                                                flags, s->id, v, n_pieces, c->now_ns);
    list_del(&s->ready);
    if (taken >= 0) {
        c->is_active = true;
        advance(s, (size_t)taken);
        if (is_last && (size_t)taken == total)
            s->end_sent = true;
    }
    if (rv == NGTCP2_ERR_STREAM_DATA_BLOCKED)
        s->is_blocked = true; /* MAX_STREAM_DATA wakes it */
    else if (rv == NGTCP2_ERR_STREAM_SHUT_WR || rv == NGTCP2_ERR_STREAM_NOT_FOUND)
        s->is_shut = true; /* the peer doesn't want it; its reset is on the way, or was */
    else
        conn__ready(s); /* behind the others */
    return rv;
}

static bool goes_on(ngtcp2_ssize rv)
{
    return rv == NGTCP2_ERR_WRITE_MORE || rv == NGTCP2_ERR_STREAM_DATA_BLOCKED ||
           rv == NGTCP2_ERR_STREAM_SHUT_WR || rv == NGTCP2_ERR_STREAM_NOT_FOUND;
}

/* One datagram: its length; 0 when nothing may leave now; or ngtcp2's error. */
static ngtcp2_ssize write_packet(struct onion_conn *c, uint8_t *dest)
{
    while (!list_empty(&c->ready)) {
        struct onion_conn_stream *s = container_of(c->ready.next, struct onion_conn_stream, ready);
        ngtcp2_ssize rv = offer(c, s, dest);
        if (!goes_on(rv))
            return rv;
    }
    return ngtcp2_conn_writev_stream(c->quic, NULL, NULL, dest, ONION_PAYLOAD, NULL, 0, -1, NULL, 0,
                                     c->now_ns);
}

/* ---- bursts ---------------------------------------------------------------------------------- */

static unsigned burst(struct onion_conn *c)
{
    size_t n = ngtcp2_conn_get_send_quantum(c->quic) / ONION_PAYLOAD;
    return n < CONN__BURST_MIN   ? CONN__BURST_MIN
           : n > CONN__BURST_MAX ? CONN__BURST_MAX
                                 : (unsigned)n;
}

static ngtcp2_ssize write_any(struct onion_conn *c, uint8_t *dest)
{
    ngtcp2_ssize n = 0;
    if (c->n_datagrams > 0)
        n = conn__write_datagram(c, dest, ONION_PAYLOAD);
    return n != 0 ? n : write_packet(c, dest);
}

/* A packet that ngtcp2 wrote. */
static void leave(struct onion_conn *c, const uint8_t *packet, size_t len)
{
    if (!c->is_through && c->state == CONN_OPEN)
        c->is_through = onion__quic_has_handshake(packet, len);
    conn__carry(c, packet, len);
}

static void write_all(struct onion_conn *c)
{
    uint8_t packet[ONION_PAYLOAD];
    unsigned most = burst(c), n = 0;
    for (; n < most; n++) {
        ngtcp2_ssize len = write_any(c, packet);
        if (len < 0 && !conn__ok(c, (int)len))
            return;
        if (len <= 0)
            break;
        leave(c, packet, (size_t)len);
        if (c->is_destroyed || c->state == CONN_OVER)
            return;
    }
    /* A client is bound by its first window alone until message 3 is out: pacing could keep it back
     * (conn__write_through). */
    if (c->is_through || c->is_service)
        ngtcp2_conn_update_pkt_tx_time(c->quic, c->now_ns);
}

static void note_flight(struct onion_conn *c)
{
    if (c->is_service)
        return;
    if (!conn__in_flight(c))
        c->flight_ns = 0;
    else if (c->flight_ns == 0)
        c->flight_ns = c->now_ns;
}

/* A PING: ngtcp2 has none, but for keep-alive's. */
static void ping(struct onion_conn *c)
{
    uint8_t packet[ONION_PAYLOAD];
    ngtcp2_conn_set_keep_alive_timeout(c->quic, 1);
    ngtcp2_ssize n =
        ngtcp2_conn_write_pkt(c->quic, NULL, NULL, packet, sizeof packet, conn__now(c));
    ngtcp2_conn_set_keep_alive_timeout(c->quic, 0);
    if (n > 0)
        leave(c, packet, (size_t)n);
    else if (n < 0)
        (void)conn__ok(c, (int)n);
}

void conn__send(struct onion_conn *c)
{
    unsigned kicks = c->state == CONN_OPEN ? c->kicks : 0;
    if (!conn__has_path(c) || c->state == CONN_OVER || (c->is_service && c->state == CONN_NEW))
        return;
    /* The first flight is a datagram of its own, and the same for ever. */
    if (!c->is_service && c->state == CONN_NEW)
        return;
    (void)conn__now(c);
    c->kicks = 0;
    if (!conn__ok(c, conn__shut_streams(c)))
        return;
    conn__windows(c);
    write_all(c);
    if (c->is_through && c->n_early_in > 0 && !c->is_destroyed && c->state == CONN_OPEN)
        conn__early_in_read(c);
    for (; kicks > 0 && !c->is_destroyed && c->state == CONN_OPEN; kicks--)
        ping(c); /* so that the service learns of the new path though we have nothing to say */
    if (!c->is_destroyed)
        note_flight(c);
}

/* Message 3 must not wait for what went with an earlier path: that fills the window, and its probe
 * is due only after round trips that were measured across paths, while the service waits 10 s. The
 * timer is taken as run out, once: a probe may leave whatever the window says. Never as far ahead
 * as the idle end. */
static bool hurry(struct onion_conn *c)
{
    uint64_t now = conn__now(c), at = ngtcp2_conn_get_expiry(c->quic);
    if (c->n_ups < 2 || c->was_hurried || at > now + ENV_MS(ONION_IDLE_MS / 2))
        return false;
    c->was_hurried = true;
    return conn__ok(c, ngtcp2_conn_handle_expiry(c->quic, at));
}

void conn__write_through(struct onion_conn *c)
{
    uint8_t packet[ONION_PAYLOAD];
    ngtcp2_ssize n =
        ngtcp2_conn_write_pkt(c->quic, NULL, NULL, packet, sizeof packet, conn__now(c));
    if (n == 0 && hurry(c))
        n = ngtcp2_conn_write_pkt(c->quic, NULL, NULL, packet, sizeof packet, conn__now(c));
    if (n > 0)
        leave(c, packet, (size_t)n);
    else if (n < 0)
        (void)conn__ok(c, (int)n);
}

/* ---- the first flight ------------------------------------------------------------------------
 */

int conn__first_flight(struct onion_conn *c)
{
    if (c->state != CONN_NEW)
        return c->flight != NULL ? 0 : CYX_ECLOSED;
    conn__enter(c);
    (void)conn__now(c);
    ngtcp2_ssize n = write_packet(c, c->flight->bytes);
    int code = 0;
    if (n > 0) {
        c->flight->len = (size_t)n;
        c->n_flight = 1;
        conn__set_state(c, CONN_EARLY);
    } else {
        code = CYX_ENOMEM; /* ngtcp2 fails here for want of memory only */
    }
    (void)conn__leave(c);
    return code;
}
