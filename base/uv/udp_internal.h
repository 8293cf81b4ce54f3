/* base/uv/udp_internal.h - a UDP socket's state, shared by udp*.c. */
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/uv/env_uv_internal.h"

enum {
    UDP_RX_MESSAGES = 16,        /* one recvmmsg; 64 KiB each, 1 MiB for an environment */
    UDP_RX_BYTES = 64 * 1024,    /* the most that GRO hands over in one message */
    UDP_BUF_DEFAULT = 4 << 20,   /* what env_udp_options.rcvbuf = 0 asks for */
    UDP_GSO_BYTES_MAX = 65000,   /* one GSO send: under 65535 with IPv4 and UDP headers */
    UDP_NOGSO_SLOTS = 64,        /* destinations remembered as refusing GSO */
    UDP_NOGSO_MS = 60 * 1000,    /* how long: routes and devices change */
    UDP_RX_ERRORS_PER_TURN = 64, /* queued ICMP errors taken in one wake-up */
};

/* A destination whose route refused a GSO send (no checksum offload, segment above the path MTU,
 * where plain sends are fragmented). */
struct udp_nogso {
    uint8_t ip[16];
    uint32_t scope;
    uint64_t until_ns;
};

struct env_udp {
    uv_poll_t poll;
    struct env_uv *e;
    int fd;
    int family; /* AF_INET6 (dual stack) or AF_INET */
    bool is_closing;
    bool wants_writable; /* somebody was told CYX_EAGAIN */
    struct env_udp_options o;
    struct env_udp_info info;
    uint32_t overflow_seen; /* the kernel's SO_RXQ_OVFL counter, as last seen */
    struct udp_nogso nogso[UDP_NOGSO_SLOTS];
    /* The rest of a send that the kernel took only in part (sendmmsg). While it waits, no other
     * send is accepted, so nothing is reordered or lost. */
    uint8_t *pending;
    size_t pending_len, pending_segment;
    struct env_addr pending_to;
    unsigned ifs[ENV_UV_MULTICAST_IFS]; /* multicast sockets: the interfaces joined */
    unsigned n_ifs;
};

struct udp_sockaddr {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
    socklen_t len;
};

/* sockaddr.c */
/* For a socket of `family`; false when it can't hold the address (IPv6 on an AF_INET socket). */
bool env_uv__to_sockaddr(const struct env_addr *a, int family, struct udp_sockaddr *out);
/* False for a family that is neither. */
bool env_uv__from_sockaddr(const struct sockaddr *sa, struct env_addr *out);
bool env_uv__addr_is_any(const struct env_addr *a);

/* udp_caps.c: options of a fresh socket. */
void env_uv__udp_caps(struct env_udp *u);
int env_uv__udp_steer(struct env_udp *u, struct cyx_err *err);
/* udp_group.c */
int env_uv__udp_join(struct env_udp *u, struct cyx_err *err);

/* udp.c: asks the loop for what the socket waits for now. */
void env_uv__udp_watch(struct env_udp *u);
/* udp_recv.c */
int env_uv__udp_rx_alloc(struct env_uv *e);
void env_uv__udp_rx_free(struct udp_rx *rx);
void env_uv__udp_readable(struct env_udp *u);
/* udp_send.c: sends what is pending. False when the socket is still full. */
bool env_uv__udp_flush(struct env_udp *u);
