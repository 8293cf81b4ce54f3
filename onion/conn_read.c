/* Datagrams into ngtcp2, in pieces that it can bear.
 *
 * A client of ngtcp2 0.12.1 that gets HANDSHAKE_DONE before it has written its Handshake packet
 * frees the state that its next write reads: a service could crash its clients by saying it in its
 * first flight. So a client reads no 1-RTT packet before one with message 3 has left, which a full
 * congestion window may delay: what comes before is held. */
#include <stdlib.h>
#include <string.h>

#include "onion/conn_internal.h"

/* The service answered on the path that an ATTACH opened: earlier locators are behind us. */
static void confirm_attach(struct onion_conn *c, uint32_t splice)
{
    if (c->is_service || c->attach_told || c->attach_left == ONION_ATTACH_TIMES ||
        c->n_bound == 0 || c->bound[c->n_bound - 1].splice != splice)
        return;
    c->attach_told = true;
    c->attach_left = 0;
    if (c->attach_j - c->attach_oldest < ONION_LOCATORS)
        c->attach_oldest = c->attach_j + 1;
    if (c->attach_next - c->attach_oldest > ONION_LOCATORS)
        c->attach_next = c->attach_oldest;
}

/* One call of ngtcp2. False when the connection is over. */
static bool feed(struct onion_conn *c, uint32_t splice, const uint8_t *packet, size_t len)
{
    uint64_t before = c->seen.next, n = c->seen.n;
    ngtcp2_pkt_info pi = { 0 };
    bool was_open = c->state == CONN_OPEN;
    int rv = ngtcp2_conn_read_pkt(c->quic, &c->path.path, &pi, packet, len, conn__now(c));
    if (!conn__ok(c, rv))
        return false;
    conn__answer_where(c, splice, was_open ? before : 0);
    if (c->seen.n > n)
        confirm_attach(c, splice);
    return true;
}

/* ---- a client before message 3 ---------------------------------------------------------------
 */

void conn__early_in_free(struct onion_conn *c)
{
    list_each_safe (n, &c->early_in) {
        list_del(n);
        free(container_of(n, struct conn__datagram, node));
    }
    c->n_early_in = 0;
}

static void hold(struct onion_conn *c, uint32_t splice, const uint8_t *packet, size_t len)
{
    struct conn__datagram *d = NULL;
    if (c->n_early_in < CONN__EARLY_IN)
        d = malloc(sizeof *d + len);
    if (d == NULL) {
        c->info.dropped[DROP_LIMIT]++;
        return;
    }
    *d = (struct conn__datagram){ .len = len, .splice = splice };
    memcpy(d->bytes, packet, len);
    list_init(&d->node);
    list_push_back(&c->early_in, &d->node);
    c->n_early_in++;
}

void conn__early_in_read(struct onion_conn *c)
{
    bool goes_on = true;
    list_each_safe (n, &c->early_in) {
        struct conn__datagram *d = container_of(n, struct conn__datagram, node);
        goes_on = goes_on && feed(c, d->splice, d->bytes, d->len);
    }
    conn__early_in_free(c);
}

/* Long packets first, then message 3, then the rest. `tail`: where the 1-RTT packet starts. */
static void read_before_through(struct onion_conn *c, uint32_t splice, const uint8_t *packet,
                                size_t len, size_t tail)
{
    if (tail > 0 && !feed(c, splice, packet, tail))
        return;
    if (c->state == CONN_OPEN)
        conn__write_through(c);
    if (c->is_destroyed || c->state == CONN_OVER)
        return;
    if (tail < len && c->is_through) {
        if (!feed(c, splice, packet + tail, len - tail))
            return;
    } else if (tail < len) {
        hold(c, splice, packet + tail, len - tail);
    }
    if (c->is_through)
        conn__early_in_read(c);
}

/* What didn't open says nothing about the path: a pivot that forwards nothing but sends noise would
 * keep it for ever. */
static void note_alive(struct onion_conn *c)
{
    c->received_ns = conn__now(c);
    c->n_silent = 0;
    c->dead_told = false;
}

void conn__read(struct onion_conn *c, uint32_t splice, const uint8_t *packet, size_t len)
{
    uint64_t opened = c->seen.n;
    bool was_open = c->state == CONN_OPEN;
    if (c->is_service || c->is_through)
        (void)feed(c, splice, packet, len);
    else
        read_before_through(c, splice, packet, len, onion__quic_long(packet, len));
    if (c->is_destroyed || c->state == CONN_OVER)
        return;
    if (c->seen.n > opened || (!was_open && c->state == CONN_OPEN))
        note_alive(c);
    conn__loss_look(c);
    conn__soon(c);
}
