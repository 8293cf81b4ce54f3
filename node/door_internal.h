/* node/door_internal.h - what door.c (the port) and door_conn.c (one connection) share. */
#pragma once
#include "base/list.h"
#include "node/bridge.h"
#include "node/door.h"
#include "node/socks.h"
#include "node/tunnel.h"
#include "node/udp_door.h"

struct door {
    struct door_options o;
    struct onion *onion; /* NULL: not ready */
    struct env_listener *listener;
    struct list conns;
    uint64_t last_number;
    struct door_counts counts;
};

/* States:
 *   REQUEST     reads the request; timer: DOOR_REQUEST_MS
 *   DIALLING    a bridge has the stream, the far side was not opened yet; timer: DOOR_DIAL_MS
 *   BRIDGED     success was said: from here a failure is a reset
 *   ASSOCIATED  datagrams go beside it; it ends them with itself
 *   REFUSED     the refusal is written, the rest is thrown away; timer: DOOR_LINGER_MS */
enum door_state { DOOR_REQUEST, DOOR_DIALLING, DOOR_BRIDGED, DOOR_ASSOCIATED, DOOR_REFUSED };

struct door_conn {
    struct list node;
    struct door *door;
    enum door_state state;
    uint64_t number;
    struct env_stream *local; /* the bridge's while there is one */
    struct bridge *bridge;
    struct udp_door *udp;
    struct env_timer timer;
    struct socks socks;
    uint8_t *head; /* of HTTP; TUNNEL_HEAD_MAX bytes */
    size_t head_len;
};

/* Takes a stream that was accepted; resets it when memory is out. */
void door__conn_start(struct door *d, struct env_stream *s);
/* Resets whatever it has and frees it. */
void door__conn_drop(struct door_conn *c);
