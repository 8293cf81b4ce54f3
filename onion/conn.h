/* onion/conn.h - an end-to-end connection between a client and a service: streams and datagrams
 * over QUIC's transport machine (ngtcp2), keyed by Noise to the service's key. It knows no path:
 * packets go out through its carrier with the splice they belong to, and come in the same way, so
 * paths may come and go under it. Uses only base/env.h. Spec: protocol.md, section 14.
 *
 * Everything here belongs to one thread. Callbacks come from the loop, onion_conn_received, the
 * path calls and timers, never from a stream's or connection's other functions. Any of them may
 * destroy the connection; nothing is called afterwards. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "onion/buffers.h"
#include "onion/cell.h"
#include "onion/stream_keys.h"

struct onion_conn;
struct onion_conn_stream;

enum {
    ONION_STREAMS = 128,            /* open at once on a connection */
    ONION_STREAM_WINDOW = 32 << 20, /* receive window of a stream at most, */
    ONION_UNSENT = 128 << 10,       /* and what it takes ahead of the network; then push back */
    ONION_BOUND = 4,                /* splices bound to a connection */
    ONION_LOCATORS = 16,            /* kept by a service for each connection */
    ONION_ATTACH_TIMES = 3,         /* ATTACH goes ahead of so many first cells of a new path */
    ONION_IDLE_MS = 60000,          /* silent on both sides: the connection ends */
    ONION_NO_ANSWER_MS = 10000,     /* a path is there, but no message 2 (client) or 3 (service) */
    ONION_DATAGRAM = 1200,          /* data of a datagram */
    ONION_DATAGRAM_FRAME = 1224,    /* on the wire at most */
    ONION_DATAGRAMS_QUEUED = 64,    /* then the oldest goes */
    ONION_FLIGHT_KEPT = 4, /* first datagrams of a service: sent twice, kept until message 3 */
    ONION_FIRST_DATA =
        1048, /* of a request, in the first datagram: 1051 with the stream's opening */
};

/* How packets leave. */
struct onion_carrier {
    /* `len` bytes (1 to ONION_PAYLOAD) for one cell of the splice; not needed after return. */
    void (*send)(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                 size_t len);
    /* Service: the splice was pushed out of its connection (ONION_BOUND); the connection won't use
     * it any more. May be NULL. */
    void (*unbound)(void *arg, uint32_t splice);
    void *arg;
};

/* ---- how it ends ----------------------------------------------------------------------------- */

enum onion_end {
    ONION_END_OURS = 0,  /* onion_conn_close, or drained */
    ONION_END_PEER,      /* the other side closed it: `code` says why */
    ONION_END_IDLE,      /* nothing came for ONION_IDLE_MS */
    ONION_END_NO_ANSWER, /* the handshake didn't end in time: wrong key, or nobody there */
    ONION_END_HANDSHAKE, /* message 2 didn't open, or promises less than is well known */
    ONION_END_PROTOCOL,  /* the other side broke QUIC's or our rules: `code` is QUIC's error */
    ONION_END_MEMORY,
    ONION_END_INTERNAL, /* packet numbers used up, libcrypto failed, a reorder buffer in shreds */
    ONION_ENDS,
};
const char *onion_end_text(enum onion_end how); /* for people: "the service didn't answer" */

/* Codes of a close and a reset, on the wire. */
enum onion_code {
    ONION_CODE_DONE = 0,
    ONION_CODE_LEAVING = 1,  /* the node stops */
    ONION_CODE_LIMIT = 2,    /* too many connections, streams or bytes */
    ONION_CODE_PROTOCOL = 3, /* a stream without its opening */
    ONION_CODE_ABORT = 4,    /* the application gave up: a TCP reset */
};

struct onion_conn_end {
    enum onion_end how;
    uint64_t code; /* ONION_END_PEER: enum onion_code, or QUIC's when `is_transport` */
    bool is_transport;
};

/* First byte of a service's answer on a stream. */
enum onion_answer_status {
    ONION_ANSWER_OPEN = 0,
    ONION_ANSWER_REFUSED = 1, /* by the backend */
    ONION_ANSWER_NO_PORT = 2,
    ONION_ANSWER_NOT_ALLOWED = 3,
    ONION_ANSWER_BUSY = 4,
    ONION_ANSWER_UNREACHABLE = 5, /* the backend */
    ONION_ANSWER_TIMED_OUT = 6,
};

enum onion_stream_kind { ONION_STREAM_BYTES = 1 };

/* ---- a connection ----------------------------------------------------------------------------
 */

/* Any may be NULL. */
struct onion_conn_ops {
    /* Client: message 2 opened. Service: message 3 came; what comes from now on can't be a replay.
     */
    void (*open)(void *arg);
    /* It is over: its streams had their reset. Destroy it, now or later. */
    void (*closed)(void *arg, const struct onion_conn_end *end);
    /* Client: no packet for max(1 s, 3 PTO) with data in flight. Once until a packet comes. */
    void (*path_dead)(void *arg);
    /* Client: a stream may be opened again after CYX_EFULL. */
    void (*can_open)(void *arg);
    /* Service: a client opened a stream. Give it ops (onion_conn_stream_set_ops) and answer it
     * (onion_conn_stream_answer), now or later; or reset it. */
    void (*stream)(void *arg, struct onion_conn_stream *s, uint16_t port, bool is_early);
    void (*datagram)(void *arg, uint16_t port, uint16_t flow, const uint8_t *data, size_t len,
                     bool is_early);
};

struct onion_conn_options {
    struct env *env; /* borrowed for life, like the next two */
    struct onion_buffers *buffers;
    const struct onion_carrier *carrier; /* copied */
    const struct onion_conn_ops *ops;    /* borrowed for life */
    void *arg;
    uint64_t initial_rtt_ns; /* twice the median of recent builds; 0: 300 ms */
};

/* Counters since the beginning. */
struct onion_conn_info {
    bool is_open, is_service, has_path;
    uint64_t sent, received; /* packets through the carrier */
    uint64_t dropped[DROP_COUNT_];
    uint64_t datagrams_dropped; /* ours, the queue was full; theirs, early while data waits */
    uint64_t rtt_ns, min_rtt_ns, pto_ns, congestion_window, in_flight;
    size_t n_streams, n_bound;
    size_t rx_charged, tx_charged; /* out of the node's buffers */
    size_t held;                   /* given to readers, not consumed */
    unsigned loss_ppm;             /* of what the peer sent, as estimated */
};
void onion_conn_info(struct onion_conn *c, struct onion_conn_info *out);

/* A client's connection. `id` without dcid, which is drawn here; net_time is network time in
 * seconds. Nothing is sent before a path is up; streams may be opened and written at once. NULL
 * with `err`: CYX_ENOMEM; CYX_EPROTO (the service key is a point of small order). */
struct onion_conn *onion_conn_create(const struct onion_conn_options *o,
                                     const struct onion_stream_id *id, uint64_t net_time,
                                     struct cyx_err *err);
/* Ends without a word to the peer and frees; nothing is called any more. NULL is fine. */
void onion_conn_destroy(struct onion_conn *c);
/* Tells the peer (twice, since a lost word would cost it a minute), resets all streams, calls
 * `closed`. */
void onion_conn_close(struct onion_conn *c, enum onion_code code);
/* Lets the streams that are open end by themselves; no new ones. Then closes with ONION_CODE_DONE
 * or, for a service, when the client closes. */
void onion_conn_drain(struct onion_conn *c);
/* Other ops from now on, borrowed for life. */
void onion_conn_set_ops(struct onion_conn *c, const struct onion_conn_ops *ops, void *arg);
bool onion_conn_is_open(const struct onion_conn *c);

/* ---- its paths ------------------------------------------------------------------------------- */

/* What goes ahead on a new path of a client, inside the build's train or in its first cells. */
struct onion_early {
    enum onion_kind kind; /* QUIC: the first flight, the same each time; ATTACH: a fresh locator */
    uint32_t locator;     /* its number */
    size_t len;           /* ONION_PAYLOAD or ONION_LOCATOR */
    uint8_t bytes[ONION_PAYLOAD];
};
/* Client. The first call makes the first flight out of what streams hold by then: exactly
 * ONION_PAYLOAD bytes. Before message 2 only that may be sent through another pivot; after it each
 * call takes the next locator. 0; CYX_ECLOSED; CYX_ENOMEM. */
CYX_MUST_USE int onion_conn_early(struct onion_conn *c, struct onion_early *out);
/* Client: a path is up, and the only one used from now on. `early`: what onion_conn_early gave for
 * it; NULL: nothing was. went: it was in the train; it is sent here otherwise (the first flight
 * twice), and a locator again before each of the first cells. */
enum onion_early_went { ONION_EARLY_TO_SEND, ONION_EARLY_WENT };
void onion_conn_path_up(struct onion_conn *c, uint32_t splice, const struct onion_early *early,
                        enum onion_early_went went);
/* The splice is gone. Without one left to use the connection waits: nothing is sent, no timer of
 * QUIC runs but for the idle one. Not bound: nothing happens. */
void onion_conn_path_down(struct onion_conn *c, uint32_t splice);
/* Service: binds a splice that sent a valid ATTACH, or a copy of the first flight. At ONION_BOUND
 * the oldest that isn't answered on is pushed out. */
void onion_conn_bind(struct onion_conn *c, uint32_t splice);
bool onion_conn_is_bound(const struct onion_conn *c, uint32_t splice);

/* A packet came from a bound splice (else DROP_UNKNOWN). DROP_NONE says only that QUIC got it. May
 * call back and destroy. */
enum drop onion_conn_received(struct onion_conn *c, uint32_t splice, const uint8_t *packet,
                              size_t len);

/* ---- streams --------------------------------------------------------------------------------- */

/* Any may be NULL. A stream is gone for its user after `reset`, `closed` or a `status` that isn't
 * ONION_ANSWER_OPEN, and after onion_conn_stream_reset. */
struct onion_conn_stream_ops {
    void (*status)(void *arg, uint8_t status); /* client: before the first byte */
    /* Bytes in order: take them all; onion_conn_stream_consumed says when they need no more memory.
     */
    void (*data)(void *arg, const uint8_t *data, size_t len, bool is_early);
    void (*end)(void *arg);                  /* the peer's last byte came before this */
    void (*writable)(void *arg);             /* after a write was cut short */
    void (*reset)(void *arg, uint64_t code); /* by the peer, or with its connection */
    void (*closed)(void *arg); /* both directions ended well and all we sent was acknowledged */
};

/* Client: opens a stream to a port. NULL with `err`: CYX_EFULL (ONION_STREAMS are open: can_open
 * tells), CYX_ECLOSED (over or draining), CYX_ENOMEM. */
struct onion_conn_stream *onion_conn_stream_open(struct onion_conn *c, uint16_t port,
                                                 const struct onion_conn_stream_ops *ops, void *arg,
                                                 struct cyx_err *err);
/* ops are borrowed for life. NULL ops: nobody listens. */
void onion_conn_stream_set_ops(struct onion_conn_stream *s, const struct onion_conn_stream_ops *ops,
                               void *arg);
/* Service: once, before the first write. Any status but ONION_ANSWER_OPEN ends the stream, which is
 * then gone for the caller. */
void onion_conn_stream_answer(struct onion_conn_stream *s, enum onion_answer_status status);
/* Copies up to `len` bytes; returns how many. Fewer: wait for `writable`. 0 after
 * onion_conn_stream_end.
 */
size_t onion_conn_stream_write(struct onion_conn_stream *s, const void *data, size_t len);
/* Our last byte is written; reading goes on. */
void onion_conn_stream_end(struct onion_conn_stream *s);
/* Gives up both directions with a code; the stream is gone for the caller. */
void onion_conn_stream_reset(struct onion_conn_stream *s, uint64_t code);
/* The reader is done with n of the bytes it was given: the peer may send as many more. */
void onion_conn_stream_consumed(struct onion_conn_stream *s, size_t n);
struct onion_conn *onion_conn_stream_conn(struct onion_conn_stream *s);
/* Bytes written that wait to be sent for the first time. */
size_t onion_conn_stream_unsent(const struct onion_conn_stream *s);

/* Sends a datagram of at most ONION_DATAGRAM bytes, unreliable. 0; CYX_EINVAL (too long);
 * CYX_ECLOSED; CYX_ENOMEM. A full queue drops its oldest. */
CYX_MUST_USE int onion_conn_datagram(struct onion_conn *c, uint16_t port, uint16_t flow,
                                     const void *data, size_t len);
