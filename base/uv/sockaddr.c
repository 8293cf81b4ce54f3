/* base/uv/sockaddr.c - our addresses as the kernel's and back. */
#include <arpa/inet.h>
#include <string.h>

#include "base/uv/udp_internal.h"

bool env_uv__addr_is_any(const struct env_addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

bool env_uv__to_sockaddr(const struct env_addr *a, int family, struct udp_sockaddr *out)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET6) {
        out->u.in6.sin6_family = AF_INET6;
        out->u.in6.sin6_port = htons(a->port);
        out->u.in6.sin6_scope_id = a->scope;
        memcpy(&out->u.in6.sin6_addr, a->ip, 16);
        out->len = sizeof out->u.in6;
        return true;
    }
    if (!env_addr_is_v4(a) && !env_uv__addr_is_any(a))
        return false;
    out->u.in.sin_family = AF_INET;
    out->u.in.sin_port = htons(a->port);
    memcpy(&out->u.in.sin_addr, a->ip + 12, 4); /* zero for "all addresses" too */
    out->len = sizeof out->u.in;
    return true;
}

bool env_uv__from_sockaddr(const struct sockaddr *sa, struct env_addr *out)
{
    /* Copies, since the caller's storage need not be aligned for, or typed as, the family's. */
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        *out = (struct env_addr){ .port = ntohs(in6.sin6_port), .scope = in6.sin6_scope_id };
        memcpy(out->ip, &in6.sin6_addr, 16);
        return true;
    }
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        uint8_t ip[4];
        memcpy(ip, &in.sin_addr, 4);
        *out = env_addr_v4(ip[0], ip[1], ip[2], ip[3], ntohs(in.sin_port));
        return true;
    }
    return false;
}
