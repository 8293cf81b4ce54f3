/* base/uv/udp_send.c - sending: one GSO call for a row of datagrams, or sendmmsg where the kernel,
 * the device or the path can't. */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "base/uv/udp_internal.h"

/* ---- which destinations refuse GSO ------------------------------------------------------------
 */

static struct udp_nogso *nogso_slot(struct env_udp *u, const struct env_addr *to)
{
    /* Direct-mapped; a collision costs one refused call, so no keyed hash is needed. */
    unsigned h = 0;
    for (unsigned i = 0; i < sizeof to->ip; i++)
        h = h * 31 + to->ip[i];
    return &u->nogso[h % UDP_NOGSO_SLOTS];
}

static bool may_gso(struct env_udp *u, const struct env_addr *to)
{
    if (!u->info.gso)
        return false;
    struct udp_nogso *s = nogso_slot(u, to);
    if (s->until_ns == 0 || memcmp(s->ip, to->ip, sizeof s->ip) != 0 || s->scope != to->scope)
        return true;
    return env_uv__now_ns(&u->e->base) >= s->until_ns;
}

static void remember_nogso(struct env_udp *u, const struct env_addr *to)
{
    struct udp_nogso *s = nogso_slot(u, to);
    memcpy(s->ip, to->ip, sizeof s->ip);
    s->scope = to->scope;
    s->until_ns = env_uv__now_ns(&u->e->base) + ENV_MS(UDP_NOGSO_MS);
}

/* Errors that mean "not in one piece", not "not at all". */
static bool is_gso_refusal(int err)
{
    return err == EIO || err == EINVAL || err == EMSGSIZE || err == EOPNOTSUPP;
}

/* ---- the system calls -------------------------------------------------------------------------
 */

/* A test may have ordered this call to fail: returns the errno, or 0. */
static int injected(struct env_udp *u)
{
    struct env_uv_switches *sw = &u->e->switches;
    if (sw->n_send_fail == 0)
        return 0;
    if (sw->n_send_skip > 0) {
        sw->n_send_skip--;
        return 0;
    }
    sw->n_send_fail--;
    return sw->send_errno;
}

/* One sendmsg, with UDP_SEGMENT when there is more than one datagram. 0 or an errno. */
static int send_one(struct env_udp *u, struct udp_sockaddr *to, const uint8_t *data, size_t len,
                    size_t segment)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr h = {
        .msg_name = &to->u, .msg_namelen = to->len, .msg_iov = &iov, .msg_iovlen = 1
    };
    if (len > segment) {
        uint16_t size = (uint16_t)segment;
        h.msg_control = control;
        h.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(c), &size, sizeof size);
    }
    int rc = injected(u);
    while (rc == 0 && sendmsg(u->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            rc = errno;
    return rc;
}

/* The datagrams one by one in one call. Returns how many went out (at least 1), or -errno. */
static int send_many(struct env_udp *u, struct udp_sockaddr *to, const uint8_t *data, size_t len,
                     size_t segment)
{
    struct mmsghdr msgs[ENV_UDP_SEGMENTS_MAX];
    struct iovec iov[ENV_UDP_SEGMENTS_MAX];
    unsigned n = 0;
    for (size_t off = 0; off < len && n < ENV_UDP_SEGMENTS_MAX; off += segment, n++) {
        size_t left = len - off;
        iov[n] = (struct iovec){ .iov_base = (void *)(uintptr_t)(data + off),
                                 .iov_len = left < segment ? left : segment };
        msgs[n] = (struct mmsghdr){ .msg_hdr = { .msg_name = &to->u,
                                                 .msg_namelen = to->len,
                                                 .msg_iov = &iov[n],
                                                 .msg_iovlen = 1 } };
    }
    unsigned cap = u->e->switches.mmsg_max;
    if (cap > 0 && n > cap)
        n = cap;
    int rc = -injected(u);
    while (rc == 0) {
        rc = sendmmsg(u->fd, msgs, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (rc < 0)
            rc = errno == EINTR ? 0 : -errno;
    }
    return rc;
}

/* ---- a row of datagrams -----------------------------------------------------------------------
 */

/* Sends some of the row; *sent says how many bytes. 0 or an errno (nothing sent then). */
static int send_some(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                     size_t segment, size_t *sent)
{
    struct udp_sockaddr sa;
    if (!env_uv__to_sockaddr(to, u->family, &sa))
        return EAFNOSUPPORT;
    if (len <= segment) {
        int rc = send_one(u, &sa, data, len, segment);
        if (rc == 0)
            *sent = len;
        return rc;
    }
    size_t row = UDP_GSO_BYTES_MAX / segment * segment;
    if (row > segment && may_gso(u, to)) {
        size_t n = len < row ? len : row;
        int rc = send_one(u, &sa, data, n, segment);
        if (rc == 0)
            *sent = n;
        if (rc == 0 || !is_gso_refusal(rc))
            return rc;
        remember_nogso(u, to);
    }
    int n = send_many(u, &sa, data, len, segment);
    if (n < 0)
        return -n;
    *sent = (size_t)n * segment < len ? (size_t)n * segment : len;
    return 0;
}

static uint64_t datagrams_in(size_t len, size_t segment)
{
    return (len + segment - 1) / segment;
}

/* Sends until all is out or the socket is full or refuses; *sent counts bytes. */
static int send_row(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                    size_t segment, size_t *sent)
{
    *sent = 0;
    while (*sent < len) {
        size_t n = 0;
        int rc = send_some(u, to, data + *sent, len - *sent, segment, &n);
        if (rc != 0)
            return rc;
        *sent += n;
        u->info.tx_bytes += n;
        u->info.tx_datagrams += datagrams_in(n, segment);
    }
    return 0;
}

/* Keeps the unsent rest, so that "0" stays true for a row the kernel cut in two. Without memory the
 * rest is lost, as on the wire. */
static void keep_rest(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                      size_t segment)
{
    free(u->pending);
    u->pending = malloc(len);
    if (u->pending == NULL) {
        u->info.tx_errors += datagrams_in(len, segment);
        return;
    }
    memcpy(u->pending, data, len);
    u->pending_len = len;
    u->pending_segment = segment;
    u->pending_to = *to;
}

bool env_uv__udp_flush(struct env_udp *u)
{
    if (u->pending_len == 0)
        return true;
    size_t sent = 0;
    int rc = send_row(u, &u->pending_to, u->pending, u->pending_len, u->pending_segment, &sent);
    if (rc == EAGAIN) {
        u->pending_len -= sent;
        memmove(u->pending, u->pending + sent, u->pending_len);
        return false;
    }
    if (rc != 0)
        u->info.tx_errors += datagrams_in(u->pending_len - sent, u->pending_segment);
    free(u->pending);
    u->pending = NULL;
    u->pending_len = 0;
    return true;
}

/* To the group on every interface; good if one of them took it. */
static int send_group(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len)
{
    int rc = EIO;
    size_t sent;
    for (unsigned i = 0; i < u->n_ifs; i++) {
        bool is_v6 = u->family == AF_INET6;
        struct ip_mreqn m = { .imr_ifindex = (int)u->ifs[i] };
        int ifindex = (int)u->ifs[i];
        int set = is_v6
                      ? setsockopt(u->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof ifindex)
                      : setsockopt(u->fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m);
        if (set == 0 && send_row(u, to, data, len, len, &sent) == 0)
            rc = 0;
    }
    return rc;
}

static bool is_own_group(const struct env_udp *u, const struct env_addr *to)
{
    return u->o.multicast && to->scope == 0 && memcmp(to->ip, u->o.group.ip, sizeof to->ip) == 0;
}

int env_uv__udp_send(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                     size_t segment)
{
    if (u->is_closing)
        return CYX_ECLOSED;
    if (len == 0 || segment == 0 || datagrams_in(len, segment) > ENV_UDP_SEGMENTS_MAX)
        return CYX_EINVAL;
    if (u->pending_len > 0) {
        u->info.tx_again++;
        u->wants_writable = true;
        return CYX_EAGAIN;
    }
    size_t sent = 0;
    int rc = is_own_group(u, to) && len <= segment ? send_group(u, to, data, len)
                                                   : send_row(u, to, data, len, segment, &sent);
    if (rc == 0)
        return 0;
    if (rc != EAGAIN) {
        u->info.tx_errors += datagrams_in(len - sent, segment);
        return CYX_EIO;
    }
    u->info.tx_again++;
    if (sent > 0)
        keep_rest(u, to, data + sent, len - sent, segment);
    else
        u->wants_writable = true;
    env_uv__udp_watch(u);
    return sent > 0 ? 0 : CYX_EAGAIN;
}
