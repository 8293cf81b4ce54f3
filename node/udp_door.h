/* node/udp_door.h - SOCKS5's UDP ASSOCIATE: a UDP socket of this machine, and datagram flows to
 * hidden endpoints behind it. It serves one client: datagrams from any other address are dropped.
 * It lives as long as the client's TCP connection. Spec: RFC 1928, section 7; protocol.md, 14. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "node/door.h"

enum {
    UDP_DOOR_FLOWS_MAX = 64, /* places one client may speak to; the one silent longest gives way */
    UDP_DOOR_BUFFER = 256 << 10, /* of the socket */
};

struct udp_door;

struct udp_door_options {
    struct env *env;
    const struct door_ops *ops;
    struct onion *onion;
    struct env_addr bind; /* the port is ignored */
    door_resolve_fn resolve;
    void *arg; /* of resolve */
    struct onion_isolation isolation;
    struct env_addr client;     /* of its TCP connection */
    bool has_client;            /* false: it isn't known; then only loopback may send */
    uint16_t client_port;       /* that it sends from; 0: that of the first datagram */
    struct door_counts *counts; /* borrowed: datagrams are counted here */
};

/* *bound is where the client sends to. NULL with `err`. */
struct udp_door *udp_door_open(const struct udp_door_options *o, struct env_addr *bound,
                               struct cyx_err *err);
void udp_door_close(struct udp_door *u); /* NULL is fine */
