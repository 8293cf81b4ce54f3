/* Datagram sockets of a node. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

enum { EPHEMERAL_FIRST = 49152, EPHEMERAL_N = 16384, SOCKET_BUFFER = 4 << 20 };

bool sim__addr_is_zero(const struct env_addr *a)
{
    static const uint8_t zero[16];
    static const uint8_t any4[16] = { [10] = 0xff, [11] = 0xff };
    return memcmp(a->ip, zero, 16) == 0 || memcmp(a->ip, any4, 16) == 0;
}

bool sim__addr_is_multicast(const struct env_addr *a)
{
    if (env_addr_is_v4(a))
        return (a->ip[12] & 0xf0) == 0xe0;
    return a->ip[0] == 0xff;
}

bool sim__addr_is_loopback(const struct env_addr *a)
{
    static const uint8_t one[16] = { [15] = 1 };
    if (env_addr_is_v4(a))
        return a->ip[12] == 127;
    return memcmp(a->ip, one, 16) == 0;
}

const struct env_addr *sim__node_address(const struct sim_node *n, const struct env_addr *to)
{
    for (unsigned i = 0; i < 2; i++)
        if (!sim__addr_is_zero(&n->address[i]) &&
            env_addr_is_v4(&n->address[i]) == env_addr_is_v4(to))
            return &n->address[i];
    return NULL;
}

static bool port_is_taken(const struct sim_node *n, uint16_t port)
{
    list_each (pos, &n->sockets) {
        const struct env_udp *u = container_of(pos, struct env_udp, in_node);
        if (u->info.local.port == port && !u->o.multicast)
            return true;
    }
    return false;
}

/* A port nobody on this node has, or 0 when all are taken. */
static uint16_t pick_port(struct sim_node *n)
{
    uint64_t start = sim__below(&n->chance, EPHEMERAL_N);
    for (unsigned i = 0; i < EPHEMERAL_N; i++) {
        uint16_t port = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_N);
        if (!port_is_taken(n, port))
            return port;
    }
    return 0;
}

/* A node is one thread: workers of one node are tested as nodes with addresses of their own, which
 * hand on what belongs to the others. */
static int check_bind(struct sim_node *n, const struct env_udp_options *o, struct cyx_err *err)
{
    char text[ENV_ADDR_TEXT];
    if (!n->up)
        return cyx_fail(err, CYX_ECLOSED, "node %u is off", n->index);
    if (o->bind.port != 0 && !o->multicast && port_is_taken(n, o->bind.port))
        return cyx_fail(err, CYX_EIO, "bind %s: Address already in use",
                        env_addr_text(&o->bind, text));
    return 0;
}

int sim__udp_open(struct env *e, const struct env_udp_options *o, struct env_udp **out,
                  struct cyx_err *err)
{
    struct sim_node *n = sim__node_of(e);
    int rc = check_bind(n, o, err);
    if (rc < 0)
        return rc;
    uint16_t port = o->bind.port != 0 ? o->bind.port : pick_port(n);
    if (port == 0)
        return cyx_fail(err, CYX_EIO, "bind: all %d ports of node %u are taken", EPHEMERAL_N,
                        n->index);
    struct env_udp *u = calloc(1, sizeof *u);
    if (u == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a socket");
    u->node = n;
    u->o = *o;
    u->info = (struct env_udp_info){ .local = o->bind,
                                     .dual_stack = true,
                                     .rcvbuf = o->rcvbuf != 0 ? o->rcvbuf : SOCKET_BUFFER,
                                     .sndbuf = o->sndbuf != 0 ? o->sndbuf : SOCKET_BUFFER };
    u->info.local.port = port;
    list_init(&u->in_multicast);
    list_push_back(&n->sockets, &u->in_node);
    if (o->multicast)
        list_push_back(&n->world->multicast, &u->in_multicast);
    *out = u;
    return 0;
}

void sim__udp_close(struct env_udp *u)
{
    list_del(&u->in_node);
    list_del(&u->in_multicast);
    free(u);
}

void sim__udp_crash(struct sim_node *n)
{
    list_each (pos, &n->sockets) {
        struct env_udp *u = container_of(pos, struct env_udp, in_node);
        u->is_dead = true;
        list_del(&u->in_multicast);
    }
}

int sim__udp_send(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                  size_t segment)
{
    assert(segment > 0 && len <= segment * ENV_UDP_SEGMENTS_MAX);
    if (u->is_dead)
        return 0; /* what a dead machine sends is lost */
    struct env_addr from;
    if (sim__addr_is_loopback(to)) {
        from = *to;
    } else {
        const struct env_addr *own = sim__node_address(u->node, to);
        if (own == NULL) {
            u->info.tx_errors++;
            return CYX_EIO; /* no route: as a host without IPv6 says */
        }
        from = *own;
    }
    from.port = u->info.local.port;
    for (size_t at = 0; at < len; at += segment) {
        size_t n = len - at < segment ? len - at : segment;
        sim__send(u->node, &from, to, data + at, n);
        u->info.tx_datagrams++;
        u->info.tx_bytes += n;
    }
    return 0;
}

void sim__udp_info(const struct env_udp *u, struct env_udp_info *out)
{
    *out = u->info;
}

static bool socket_wants(const struct env_udp *u, const struct sim_packet *p)
{
    if (u->info.local.port != p->to.port)
        return false;
    if (sim__addr_is_multicast(&p->to))
        return u->o.multicast && memcmp(u->o.group.ip, p->to.ip, 16) == 0;
    return sim__addr_is_zero(&u->o.bind) || memcmp(u->o.bind.ip, p->to.ip, 16) == 0;
}

void sim__udp_receive(struct sim_node *n, struct sim_packet *p)
{
    struct sim_world *w = n->world;
    list_each (pos, &n->sockets) {
        struct env_udp *u = container_of(pos, struct env_udp, in_node);
        if (!socket_wants(u, p))
            continue;
        u->info.rx_datagrams++;
        u->info.rx_bytes += p->len;
        w->stats.delivered++;
        w->stats.delivered_bytes += p->len;
        struct env_datagrams batch = {
            .from = p->from, .data = p->data, .len = p->len, .segment = p->len
        };
        sim__turn_begin(n);
        u->o.received(u->o.arg, &batch, 1);
        sim__turn_end(n);
        return; /* the callback may have closed `u` */
    }
    w->stats.dropped_no_socket++;
}
