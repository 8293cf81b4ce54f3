/* base/uv/udp_recv.c - receiving: rows of datagrams by recvmmsg, each joined by GRO where the
 * kernel does it. The buffers belong to the environment: its sockets receive one after another. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "base/uv/udp_internal.h"

struct rx_control {
    _Alignas(struct cmsghdr) char b[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct udp_rx {
    struct mmsghdr msgs[UDP_RX_MESSAGES];
    struct iovec iov[UDP_RX_MESSAGES];
    struct udp_sockaddr from[UDP_RX_MESSAGES];
    struct rx_control control[UDP_RX_MESSAGES];
    struct env_datagrams batch[UDP_RX_MESSAGES];
    uint8_t bytes[UDP_RX_MESSAGES][UDP_RX_BYTES];
};

int env_uv__udp_rx_alloc(struct env_uv *e)
{
    if (e->rx == NULL)
        e->rx = malloc(sizeof *e->rx);
    return e->rx != NULL ? 0 : CYX_ENOMEM;
}

void env_uv__udp_rx_free(struct udp_rx *rx)
{
    free(rx);
}

/* recvmmsg overwrites lengths: they are set anew each time. */
static void prepare(struct udp_rx *rx)
{
    for (unsigned i = 0; i < UDP_RX_MESSAGES; i++) {
        rx->iov[i] = (struct iovec){ .iov_base = rx->bytes[i], .iov_len = UDP_RX_BYTES };
        rx->msgs[i].msg_hdr = (struct msghdr){ .msg_name = &rx->from[i].u,
                                               .msg_namelen = sizeof rx->from[i].u,
                                               .msg_iov = &rx->iov[i],
                                               .msg_iovlen = 1,
                                               .msg_control = rx->control[i].b,
                                               .msg_controllen = sizeof rx->control[i].b };
    }
}

static void count_overflow(struct env_udp *u, uint32_t now)
{
    /* The kernel's counter wraps at 32 bits; the difference doesn't mind. */
    u->info.rx_overflow += now - u->overflow_seen;
    u->overflow_seen = now;
}

/* The GRO segment size of a message, or its length when it is one datagram. */
static size_t read_control(struct env_udp *u, struct msghdr *h, size_t len)
{
    size_t segment = len;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        int32_t size;
        uint32_t drops;
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO &&
            c->cmsg_len >= CMSG_LEN(sizeof size)) {
            memcpy(&size, CMSG_DATA(c), sizeof size);
            if (size > 0 && (size_t)size < len)
                segment = (size_t)size;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL &&
                   c->cmsg_len >= CMSG_LEN(sizeof drops)) {
            memcpy(&drops, CMSG_DATA(c), sizeof drops);
            count_overflow(u, drops);
        }
    }
    return segment;
}

/* Turns `n` received messages into the batch; leaves out empty and cut ones. */
static size_t collect(struct env_udp *u, struct udp_rx *rx, unsigned n)
{
    size_t n_out = 0;
    for (unsigned i = 0; i < n; i++) {
        struct msghdr *h = &rx->msgs[i].msg_hdr;
        struct env_datagrams *d = &rx->batch[n_out];
        d->data = rx->bytes[i];
        d->len = rx->msgs[i].msg_len;
        d->segment = read_control(u, h, d->len);
        if (d->len == 0 || (h->msg_flags & MSG_TRUNC) != 0 ||
            !env_uv__from_sockaddr(&rx->from[i].u.any, &d->from))
            continue;
        u->info.rx_datagrams += (d->len + d->segment - 1) / d->segment;
        u->info.rx_bytes += d->len;
        n_out++;
    }
    return n_out;
}

void env_uv__udp_readable(struct env_udp *u)
{
    struct udp_rx *rx = u->e->rx;
    unsigned n_errors = 0;
    unsigned left = ENV_UDP_BATCHES_PER_TURN;
    /* What stays in the socket wakes the loop again: epoll is level-triggered. */
    while (left > 0 && !u->is_closing) {
        prepare(rx);
        unsigned want = left < UDP_RX_MESSAGES ? left : UDP_RX_MESSAGES;
        int n = recvmmsg(u->fd, rx->msgs, want, MSG_DONTWAIT, NULL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) { /* an ICMP error that was waiting, or EINTR: weather */
            if (++n_errors == UDP_RX_ERRORS_PER_TURN)
                return;
            continue;
        }
        left -= (unsigned)n;
        size_t n_batch = collect(u, rx, (unsigned)n);
        if (n_batch > 0)
            u->o.received(u->o.arg, rx->batch, n_batch);
        if ((unsigned)n < want)
            return; /* it is empty */
    }
}
