/* onion/limits.h - constants and bounds of onion paths and hidden endpoints, each with its reason.
 * What is on the wire (sizes, times both ends must agree on) is protocol.md's; the rest is ours.
 * Spec: protocol.md, sections 8 to 14 and 16. */
#pragma once
#include "mesh/limits.h"

enum {
    /* trains (section 8) */
    ONION_HOPS_MAX = 5,
    ONION_HOPS = 3, /* by default, on each side of a pivot */
    ONION_RECORD = 1536,
    ONION_TRAIN = ONION_HOPS_MAX * ONION_RECORD, /* 7680, out */
    ONION_REPLY_RECORD = 1280,
    ONION_REPLY = ONION_HOPS_MAX * ONION_REPLY_RECORD, /* 6400, back */
    ONION_SLOT = 1200,                                 /* room for an ML-KEM-768 key */
    ONION_REPLY_SLOT = 1104,                           /* ... and for its ciphertext */
    ONION_EARLY_HOPS_MAX = 4, /* an early payload needs a record's room behind the last record */

    /* freshness of builds */
    ONION_STAMP_PAST_S = 360,
    ONION_STAMP_FUTURE_S = 60,
    ONION_REPLAY_GENERATION_S = 420,
    ONION_REPLAY_MAX = 1 << 19, /* a generation; full: builds are dropped, nothing is forgotten */
    ONION_REPLAY_WAIT_MAX_S = 600, /* after an unclean stop: beyond this a new onion key is drawn */

    /* a path at a relay (section 9) */
    ONION_LIFE_S = 3600,
    ONION_IDLE_S = 300,
    ONION_UNUSED_S = 30, /* never carried a cell */
    ONION_TOMBSTONE_S = 30,
    ONION_TOMBSTONES = 4096,        /* a link; the oldest is forgotten */
    ONION_TOMBSTONES_ALL = 1 << 16, /* of all links: 10 MB */
    ONION_CLOSING_S = 10, /* a path whose splice was closed: for its last cells to get through */
    ONION_TRAINS_WAITING = 512, /* for a link to the next hop to come up: 4 MB */
    ONION_BUILD_WAIT_S = 10,    /* for the reply from the next hop: then status 8 */
    ONION_PATHS = 16384,        /* through this node: then the idlest of the largest prefix goes */
    ONION_WINDOW_CELLS = 128,   /* last cells of a direction, by which a repeated one is known */
    ONION_BUILDS_LINK = 10,     /* a second from an unlisted link, */
    ONION_BUILDS_LINK_BURST = 40,
    ONION_BUILDS_ALL = 1000, /* ... and from all links together */

    /* cells (section 10) */
    ONION_CELL_HEAD = 32,
    ONION_PAYLOAD = MESH_CELL - ONION_CELL_HEAD, /* 1248: a QUIC packet */
    ONION_COUNTER_WINDOW = 2048,
    ONION_MSG_FRAGMENT = 1239, /* of a message to an END */
    ONION_STATS_S = 10,
    ONION_NOISE_CELLS = 8, /* and 1% of those received in ONION_NOISE_S: the path is dropped */
    ONION_NOISE_S = 600,
    ONION_EARLY_CELLS = 16, /* that overtook the reply: held until it is whole */

    /* END (section 10) */
    ONION_ASKS_PATH = 8, /* requests in flight on a path, */
    ONION_ASKS_MINUTE = 100,
    ONION_STORES_MINUTE = 10,        /* on a path */
    ONION_STORES_SECOND = 20,        /* of all paths */
    ONION_LOOKUPS_SECOND = 200,      /* of all paths, fair by link */
    ONION_END_INBOX_BYTES = 4 << 20, /* requests being put together, over all paths */
    ONION_END_RTT_MS = 300,          /* taken for a path's round trip by the fragmenter */

    /* pivots (section 11) */
    ONION_REGISTRATIONS = 16384,
    ONION_REGISTRATIONS_LINK = 512,
    ONION_SPLICES_EACH = 4096,
    ONION_SPLICES = 65536,
    ONION_SPLICE_RATE = 50, /* a second for a registration, unless its terms say otherwise */
    ONION_SPLICE_BURST = 200,
    ONION_SPLICE_WAIT_S = 30,           /* splices outlive their service path by this */
    ONION_SPLICES_DEFAULT = 512,        /* open, unless its terms say otherwise */
    ONION_PIVOT_CELLS_BYTES = 16 << 20, /* waiting for a service's path, over all registrations */
    ONION_PIVOT_AHEAD =
        64, /* cells given to the link ahead of their turn: more wait here, fairly */
    ONION_PIVOT_PUMP_MS = 1,
    ONION_SERIALS = 65536, /* of registrations that ended; the oldest is forgotten */
    ONION_EFFORT_FIRST = 8,
    ONION_EFFORT_UP_S = 10, /* looked back, and at most one doubling in it */
    ONION_EFFORT_DOWN_S = 60,
    ONION_SERIAL_S = 420,   /* a registration's serial is known so long after its end */
    ONION_NONCES = 1 << 16, /* solved ones, for each seed; full: the effort doubles */
    ONION_NONCES_ALL = 1 << 20,
    ONION_PIVOTS = 3,
    ONION_PIVOTS_MAX = 8,

    /* guards (section 11) */
    ONION_GUARDS = 3,
    ONION_SECOND = 4, /* second-layer guards */
};
