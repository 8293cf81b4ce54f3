/* base/uv/udp_group.c - multicast for the beacon: joins on every interface that can. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>

#include "base/uv/udp_internal.h"

static bool join_on(struct env_udp *u, unsigned ifindex)
{
    if (u->family == AF_INET6) {
        struct ipv6_mreq m = { .ipv6mr_interface = ifindex };
        __builtin_memcpy(&m.ipv6mr_multiaddr, u->o.group.ip, 16);
        return setsockopt(u->fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m) == 0;
    }
    struct ip_mreqn m = { .imr_ifindex = (int)ifindex };
    __builtin_memcpy(&m.imr_multiaddr, u->o.group.ip + 12, 4);
    return setsockopt(u->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m) == 0;
}

/* getifaddrs lists an interface once for each address. */
static bool already_joined(const struct env_udp *u, unsigned ifindex)
{
    for (unsigned i = 0; i < u->n_ifs; i++)
        if (u->ifs[i] == ifindex)
            return true;
    return false;
}

static void join_all(struct env_udp *u, const struct ifaddrs *list, unsigned flags)
{
    for (const struct ifaddrs *i = list; i != NULL && u->n_ifs < ENV_UV_MULTICAST_IFS;
         i = i->ifa_next) {
        if ((i->ifa_flags & flags) != flags)
            continue;
        unsigned ifindex = if_nametoindex(i->ifa_name);
        if (ifindex != 0 && !already_joined(u, ifindex) && join_on(u, ifindex))
            u->ifs[u->n_ifs++] = ifindex;
    }
}

int env_uv__udp_join(struct env_udp *u, struct cyx_err *err)
{
    char text[ENV_ADDR_TEXT];
    char why[64];
    struct ifaddrs *list = NULL;
    int on = 1;
    bool is_v6 = u->family == AF_INET6;
    /* Several nodes on one machine hear each other; a beacon stays on its link (TTL 1, the
     * kernel's default). */
    if (setsockopt(u->fd, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   is_v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, &on, sizeof on) < 0 ||
        getifaddrs(&list) < 0)
        return cyx_fail(err, CYX_EIO, "multicast %s: %s", env_addr_text(&u->o.group, text),
                        env_uv__why(errno, why));
    join_all(u, list, IFF_UP | IFF_MULTICAST);
    if (u->n_ifs == 0) /* no network at all: nodes of this machine still find each other */
        join_all(u, list, IFF_UP | IFF_LOOPBACK);
    freeifaddrs(list);
    if (u->n_ifs == 0)
        return cyx_fail(err, CYX_EIO, "multicast %s: no interface could join the group",
                        env_addr_text(&u->o.group, text));
    return 0;
}
