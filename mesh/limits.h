/* mesh/limits.h - every bound and time constant of the link layer, in one place, each with its
 * reason. Shown in metrics, hit on purpose by tests. Spec: protocol.md, sections 3, 4, 6 and 16. */
#pragma once

enum {
    /* sizes on the wire (section 3, 4) */
    MESH_MAJOR = 1,
    MESH_VERSION_MINOR = 0,
    MESH_VERSION_PATCH = 0,
    MESH_CELL = 1280,   /* a 1200-byte QUIC packet or one ML-KEM key, and 32 of header */
    MESH_PACKET = 1328, /* FULL: passes a 1420-byte tunnel over IPv6 */
    MESH_PACKET_HEAD = 16,
    MESH_PACKET_TAG = 16,
    MESH_PACKET_ROOM = 1296,  /* plaintext of a FULL packet */
    MESH_MSG_FRAGMENT = 1286, /* data of every MSG fragment but the last */
    MESH_MSG_MAX = 65536,     /* 51 fragments, under RESEND's 128-bit bitmap */
    MESH_RECORD_MAX = 8192,
    MESH_NODE_RECORD_MAX = 1024,

    /* handshake (section 3) */
    MESH_COOKIE_RATE = 200,         /* first messages a second without a cookie */
    MESH_COOKIE_SECRET_MS = 120000, /* the previous one is accepted as well */
    MESH_HS_PREFIX_RATE = 10,       /* handshakes a second from one /24 or /48 */
    MESH_HS_PREFIX_BURST = 40,
    MESH_HS_RATE = 1000,         /* in all: 35k X25519/s a core leave room for work */
    MESH_UNCONFIRMED_MAX = 4096, /* sessions without a first DATA packet */
    MESH_UNCONFIRMED_PREFIX = 8,
    MESH_UNCONFIRMED_MS = 10000,
    MESH_SEQUENCES = 4096, /* LRU of the greatest INIT sequence by link key */
    MESH_INIT_TRIES = 5,   /* after 0.25, 0.5, 1, 2, 4 s */
    MESH_INIT_FIRST_MS = 250,
    MESH_ADDR_REST_MS = 30000, /* an address that did not answer rests */

    /* sessions (section 3) */
    MESH_REKEY_MS = 120000,
    MESH_SESSION_MS = 180000,
    MESH_PREVIOUS_MS = 10000, /* the previous session still receives */
    MESH_REPLAY_WINDOW = 2048,
    MESH_KEEPALIVE_MS = 20000,
    MESH_DEAD_MS = 60000,  /* nothing valid came although something was sent */
    MESH_SUSPECT_MS = 600, /* a peer that is missed has so long to answer one of three PINGs, */
    MESH_SUSPECT_RTTS = 4, /* ... or so many round trips */
    MESH_SUSPECT_PINGS = 3,
    MESH_IDLE_MS = 60000, /* no paths, nothing asked: gone before its keys need heirs */
    MESH_ROAM_FACTOR = 3, /* bytes sent for each received, until a PONG came from there */

    /* links (section 16) */
    MESH_LINKS_MAX = 8192,
    MESH_LINKS_PREFIX_SHARE = 8,    /* one prefix: an eighth (carrier NAT) */
    MESH_LINKS_PREFIX_CROWDED = 64, /* ... and this when three quarters of all are used */

    /* messages (section 4, 16) */
    MESH_INBOX_MSGS = 64, /* being put together, for a link */
    MESH_INBOX_BYTES = 512 * 1024,
    MESH_INBOX_MS = 10000,
    MESH_INBOX_ALL_BYTES = 16 << 20,
    MESH_OUTBOX_BYTES = 256 * 1024, /* kept for RESEND, for a link */
    MESH_OUTBOX_MS = 2000,
    MESH_RESEND_MS = 25, /* after the last fragment that arrived */
    MESH_RESEND_TRIES = 3,

    /* RPC (section 16) */
    MESH_RPC_TO_PEER = 16,   /* in flight to a peer; more wait */
    MESH_RPC_WAITING = 64,   /* ... this many, then status 5 */
    MESH_RPC_FROM_PEER = 32, /* being served for a peer */
    MESH_RPC_ALL = 4096,
    MESH_RPC_PEER_RATE = 100, /* a second from a peer */
    MESH_RPC_PEER_BURST = 200,
    MESH_RPC_DEADLINE_MS = 5000, /* default; the request is repeated once at half of it */

    /* cells (section 9, 16) */
    MESH_PATH_CELLS = 2048,   /* queued for a path and direction on a link */
    MESH_LINK_WRITABLE = 128, /* cells queued on a link under which its users are told that it has
                                 room: some rows of packets, less than a round trip holds */
    MESH_PATH_DROP_RUN = 32,  /* the oldest go together: one hole for the receiver, not 32 */
    MESH_CELLS_ALL_BYTES = 64 << 20, /* then the greediest path loses a run */
    MESH_PATHS_UNLISTED = 256,       /* paths from an unlisted link */
    MESH_MSG_SHARE = 4,              /* messages get at most a quarter of a link while cells wait */
    MESH_DESTROY_RATE = 200,         /* a second on a link; more are left to the idle timer */
    MESH_VIOLATIONS = 100,           /* counted frames in a minute that end a link */

    /* network time (section 1) */
    MESH_TIME_NEAR_MS = 30000, /* our own clock is used within this of the median */
    MESH_TIME_STEP_S = 86400,  /* a greater step waits for the user's word */
    MESH_TIME_BACK_MS = 60000, /* back steps up to here are waited out */

    /* remembered peers and discovery */
    MESH_REMEMBERED = 1024, /* on disk; the one not seen longest gives way */
    MESH_LINKS_TARGET = 8,  /* outgoing links a node without onion paths keeps up */
    MESH_NODE_RECORD_LIFE_S = 48 * 3600,
    MESH_NODE_RECORD_RENEW_S = 12 * 3600,
    MESH_LINK_KEY_S = 7 * 86400,
    MESH_LINK_KEY_OLD_S = 2 * 86400,
    MESH_ONION_KEY_S = 12 * 3600,
    MESH_ONION_KEY_OLD_S = 48 * 3600,
};
