/* base/uv/udp.c - datagram sockets: opened here, watched with uv_poll, since libuv knows neither
 * GSO nor GRO. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/uv/udp_internal.h"

static void on_poll_closed(uv_handle_t *h)
{
    struct env_udp *u = h->data;
    free(u->pending);
    free(u);
}

void env_uv__udp_close(struct env_udp *u)
{
    if (u->is_closing)
        return;
    u->is_closing = true;
    uv_close((uv_handle_t *)&u->poll, on_poll_closed);
    close(u->fd); /* allowed at once after uv_close, which took it out of epoll */
    u->fd = -1;
}

void env_uv__udp_info(const struct env_udp *u, struct env_udp_info *out)
{
    *out = u->info;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct env_udp *u = h->data;
    if (status < 0) {
        /* An error on the socket: libuv stopped watching. Take it off, count, go on. */
        int soerr = 0;
        socklen_t len = sizeof soerr;
        (void)getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &soerr, &len);
        u->info.tx_errors++;
        env_uv__udp_watch(u);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && env_uv__udp_flush(u)) {
        bool tell = u->wants_writable;
        u->wants_writable = false;
        env_uv__udp_watch(u);
        if (tell && u->o.writable != NULL)
            u->o.writable(u->o.arg);
    }
    if ((events & UV_READABLE) != 0 && !u->is_closing)
        env_uv__udp_readable(u);
}

void env_uv__udp_watch(struct env_udp *u)
{
    int events = UV_READABLE;
    if (u->wants_writable || u->pending_len > 0)
        events |= UV_WRITABLE;
    /* Fails only for bad arguments or a closing handle. */
    if (!u->is_closing)
        (void)uv_poll_start(&u->poll, events, on_poll);
}

/* IPv6 with mapped IPv4 where the kernel has it; IPv4 alone otherwise, and for an IPv4 group. */
static int make_socket(struct env_udp *u)
{
    bool v4_only = u->e->switches.no_ipv6 || (u->o.multicast && env_addr_is_v4(&u->o.group));
    int off = 0;
    u->family = AF_INET6;
    u->fd = v4_only ? -1 : socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u->fd >= 0 && setsockopt(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) {
        u->info.dual_stack = true;
        return 0;
    }
    if (u->fd >= 0)
        close(u->fd);
    u->family = AF_INET;
    u->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return u->fd < 0 ? errno : 0;
}

/* The kernel lets any group of ours join a port that another one has, and would split packets
 * between two daemons. A socket outside of groups finds the port taken. Returns 0 or an errno. */
static int probe_port(const struct env_udp *u, const struct udp_sockaddr *sa)
{
    int off = 0, rc = 0;
    int fd = socket(u->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        (u->family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) ||
        bind(fd, &sa->u.any, sa->len) < 0)
        rc = errno;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Returns 0 or an errno. */
static int bind_socket(struct env_udp *u)
{
    int on = 1;
    struct udp_sockaddr sa;
    socklen_t len = sizeof sa.u;
    if (!env_uv__to_sockaddr(&u->o.bind, u->family, &sa))
        return EAFNOSUPPORT;
    int rc = u->o.n_workers > 1 && u->o.worker == 0 && u->o.bind.port != 0 ? probe_port(u, &sa) : 0;
    if (rc != 0)
        return rc;
    if (u->o.n_workers > 1 && setsockopt(u->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        return errno;
    if (u->o.multicast && setsockopt(u->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return errno;
    if (bind(u->fd, &sa.u.any, sa.len) < 0 || getsockname(u->fd, &sa.u.any, &len) < 0)
        return errno;
    return env_uv__from_sockaddr(&sa.u.any, &u->info.local) ? 0 : EAFNOSUPPORT;
}

static int set_up(struct env_udp *u, struct cyx_err *err)
{
    char text[ENV_ADDR_TEXT];
    char why[64];
    int rc = make_socket(u);
    if (rc != 0)
        return cyx_fail(err, env_uv__code(rc), "UDP socket: %s", env_uv__why(rc, why));
    rc = bind_socket(u);
    if (rc != 0)
        return cyx_fail(err, CYX_EIO, "bind %s: %s", env_addr_text(&u->o.bind, text),
                        env_uv__why(rc, why));
    env_uv__udp_caps(u);
    /* One program serves the whole group; the first socket brings it. */
    if (u->o.n_workers > 1 && u->o.worker == 0 && env_uv__udp_steer(u, err) < 0)
        return CYX_EUNSUPPORTED;
    return u->o.multicast ? env_uv__udp_join(u, err) : 0;
}

int env_uv__udp_open(struct env *base, const struct env_udp_options *o, struct env_udp **out,
                     struct cyx_err *err)
{
    struct env_uv *e = env_uv_of(base);
    if (o->received == NULL || (o->n_workers > 1 && o->worker >= o->n_workers) ||
        o->n_workers > 256)
        return cyx_fail(err, CYX_EINVAL, "udp: no receiver, or worker %u of %u", o->worker,
                        o->n_workers);
    struct env_udp *u = calloc(1, sizeof *u);
    if (u == NULL || env_uv__udp_rx_alloc(e) < 0) {
        free(u);
        return cyx_fail(err, CYX_ENOMEM, "no memory for a UDP socket");
    }
    u->e = e;
    u->o = *o;
    u->fd = -1;
    int rc = set_up(u, err);
    if (rc == 0) {
        rc = uv_poll_init(&e->loop, &u->poll, u->fd);
        if (rc < 0)
            rc = cyx_fail(err, CYX_EIO, "watch a UDP socket: %s", uv_err_name(rc));
    }
    if (rc < 0) {
        if (u->fd >= 0)
            close(u->fd);
        free(u);
        return rc;
    }
    u->poll.data = u;
    env_uv__udp_watch(u);
    *out = u;
    return 0;
}
