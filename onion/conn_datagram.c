/* Unreliable datagrams: port, flow, data in one QUIC DATAGRAM frame. */
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "onion/conn_internal.h"

enum { HEAD = 4 };

static void drop_oldest(struct onion_conn *c)
{
    struct conn__datagram *d = container_of(c->datagrams.next, struct conn__datagram, node);
    list_del(&d->node);
    c->n_datagrams--;
    free(d);
}

void conn__datagrams_free(struct onion_conn *c)
{
    while (c->n_datagrams > 0)
        drop_oldest(c);
}

int onion_conn_datagram(struct onion_conn *c, uint16_t port, uint16_t flow, const void *data,
                        size_t len)
{
    if (len > ONION_DATAGRAM)
        return CYX_EINVAL;
    if (c->state == CONN_OVER || c->close_wanted)
        return CYX_ECLOSED;
    struct conn__datagram *d = malloc(sizeof *d + HEAD + len);
    if (d == NULL)
        return CYX_ENOMEM;
    *d = (struct conn__datagram){ .len = HEAD + len };
    struct writer w = writer_on(d->bytes, HEAD + len);
    writer_u16(&w, port);
    writer_u16(&w, flow);
    writer_copy(&w, data, len);
    if (c->n_datagrams == ONION_DATAGRAMS_QUEUED) {
        drop_oldest(c);
        c->info.datagrams_dropped++;
    }
    list_init(&d->node);
    list_push_back(&c->datagrams, &d->node);
    c->n_datagrams++;
    conn__soon(c);
    return 0;
}

ngtcp2_ssize conn__write_datagram(struct onion_conn *c, uint8_t *dest, size_t cap)
{
    struct conn__datagram *d = container_of(c->datagrams.next, struct conn__datagram, node);
    ngtcp2_vec v = { .base = d->bytes, .len = d->len };
    int accepted = 0;
    ngtcp2_ssize n =
        ngtcp2_conn_writev_datagram(c->quic, NULL, NULL, dest, cap, &accepted,
                                    NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &v, 1, c->now_ns);
    /* The peer takes none, or none so long: its loss. */
    bool is_refused = n == NGTCP2_ERR_INVALID_STATE || n == NGTCP2_ERR_INVALID_ARGUMENT;
    if (is_refused)
        c->info.datagrams_dropped++;
    if (accepted || is_refused)
        drop_oldest(c);
    return is_refused ? 0 : n;
}

int conn__on_datagram(ngtcp2_conn *quic, uint32_t flags, const uint8_t *data, size_t len, void *arg)
{
    struct onion_conn *c = arg;
    bool is_early = c->is_service && (flags & NGTCP2_DATAGRAM_FLAG_EARLY) != 0;
    struct reader r = reader_on(data, len);
    uint16_t port = reader_u16(&r), flow = reader_u16(&r);
    size_t n = reader_left(&r);
    (void)quic;
    c->is_active = true;
    if (r.bad || n > ONION_DATAGRAM) {
        c->info.dropped[r.bad ? DROP_SHORT : DROP_LONG]++;
        return 0;
    }
    if (is_early && c->hold_early) {
        c->info.datagrams_dropped++; /* unreliable: the application asks again */
        return 0;
    }
    if (c->ops->datagram != NULL)
        c->ops->datagram(c->arg, port, flow, reader_bytes(&r, n), n, is_early);
    return c->is_destroyed ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}
