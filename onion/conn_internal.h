/* onion/conn_internal.h - a connection's state, shared by conn_*.c, conns.c and their tests.
 *
 * States: NEW (client: no first flight made; service: message 1 not read) -> EARLY (message 1 out,
 * or read) -> OPEN (message 2 or 3 came) -> OVER (closed by either side or failed; only waits to be
 * destroyed). conn__set_state is the only writer.
 *
 * Timers: one env_timer for all: QUIC's own (loss, acknowledgement, pacing, idle), the end of the
 * handshake, a dead path, the idle end of a connection that has no path. One task a turn sends.
 *
 * ngtcp2 calls back in the midst of its work, where nearly none of its functions may be called: the
 * callbacks only note things and hand data on; what follows from that is done by the task. */
#pragma once
#include "base/list.h"
#include "onion/conn.h"
#include "onion/limits.h"
#include "onion/quic_internal.h"

enum conn_state { CONN_NEW, CONN_EARLY, CONN_OPEN, CONN_OVER };

enum {
    CONN__CHUNK_MIN = 512,
    CONN__CHUNK_MAX = 16 << 10,
    CONN__KICKS = 4,      /* over a new path: three packets behind it tell that one is lost, when no
                             round trip can be measured that counts */
    CONN__BURST_MIN = 16, /* packets in a row before pacing is asked again */
    CONN__BURST_MAX = 48, /* one GSO send of the link below */
    CONN__LAST_WORDS = 8, /* answers to packets of a peer that missed our close */
    CONN__LOSS_SAMPLE = 256, /* packets between two looks at the loss */
    CONN__HOLES = 500,  /* of a stream's reorder buffer that its window may lead to: ngtcp2 ends the
                           connection at 1000 */
    CONN__EARLY_IN = 8, /* 1-RTT packets that overtook message 2, held by a client */
    CONN__OPENING = 3,  /* kind, port: in front of a client's data */
};

/* Bytes of a stream that the peer has not acknowledged, or that wait for message 3. */
struct conn__chunk {
    struct conn__chunk *next;
    size_t cap, len;
    uint8_t bytes[];
};

struct conn__queue {
    struct conn__chunk *first, *last;
};

struct onion_conn_stream {
    struct list node;  /* of the connection */
    struct list ready; /* to be written to */
    struct onion_conn *conn;
    const struct onion_conn_stream_ops *ops; /* NULL: nobody listens */
    void *arg;
    int64_t id;

    /* out */
    struct conn__queue out;
    uint64_t base;              /* offset of the first byte kept */
    struct conn__chunk *cursor; /* next byte to be sent for the first time */
    size_t cursor_at;
    uint64_t sent, written; /* offsets */
    bool end_wanted, end_sent, is_blocked, wants_writable;

    /* in */
    uint8_t opening[CONN__OPENING];
    size_t n_opening;
    bool is_begun;    /* status or opening was read */
    bool is_answered; /* service: by us */
    bool has_ended;   /* `end` was told */
    uint32_t window;  /* what the peer may send beyond what was consumed */
    size_t credit;    /* consumed, not yet returned to the peer */
    size_t held;      /* given to the reader, not consumed */
    uint64_t returned_ns;

    /* life */
    bool is_gone; /* for its user */
    bool reset_wanted, stop_wanted, reset_done, is_shut;
    uint64_t reset_code;

    /* early data that waits for message 3 */
    struct conn__queue waiting;
    bool end_waits;
};

struct conn__datagram {
    struct list node;
    uint32_t splice; /* it came from */
    size_t len;
    uint8_t bytes[];
};

/* A splice and since when, in order of binding. */
struct conn__bound {
    uint32_t splice;
};

struct conn__flight {
    size_t len;
    uint8_t bytes[ONION_PAYLOAD];
};

/* What a service's connection asks of those it belongs to. Anything but DROP_NONE ends it without a
 * word. */
struct conn__home_ops {
    /* Before any public-key work; after message 1 opened. */
    enum drop (*hello_seen)(struct onion_conn *c, const uint8_t e[static 32]);
    enum drop (*hello_opened)(struct onion_conn *c, const uint8_t e[static 32], uint64_t stamp);
    void (*open)(struct onion_conn *c);
    void (*freed)(struct onion_conn *c); /* its last breath */
};

struct onion_conn {
    struct env *env;
    struct onion_buffers *buffers;
    struct onion_carrier carrier;
    const struct onion_conn_ops *ops;
    void *arg;
    ngtcp2_conn *quic;
    ngtcp2_path_storage path; /* the one that ngtcp2 knows, for ever */
    enum conn_state state;
    bool is_service, is_draining, close_wanted, hold_early;
    enum onion_code close_code;

    /* calls under way, and what they must not do */
    unsigned depth;
    bool is_destroyed;
    int failure; /* a callback's reason: enum onion_end, or -1 */

    /* time */
    uint64_t now_ns; /* ngtcp2's clock: ours, but it never stands still */
    struct env_timer timer;
    struct env_task task;
    uint64_t deadline_ns;            /* of the handshake; 0: none */
    uint64_t waiting_ns;             /* since when there is no path; 0: there is one */
    uint64_t received_ns, flight_ns; /* last packet; since when data is in flight, 0: it isn't */
    unsigned n_silent;               /* paths in a row over which nothing came */
    bool dead_told, is_active;       /* is_active: data went either way since the last question */

    /* keys */
    struct onion_stream_id id;
    struct onion_stream_hs hs;
    uint64_t stamp;               /* message 1's */
    uint8_t secret[32];           /* service: its key, until message 1 is read */
    uint8_t resume[32];           /* s3 */
    struct onion_secret_pair app; /* service: until message 3 */
    bool has_message3;
    struct onion__quic_seen seen;
    uint8_t message[ONION_MESSAGE_MAX]; /* CRYPTO bytes of the Initial level */
    size_t n_message;
    const struct conn__home_ops *home_ops; /* service: NULL: none */
    enum drop refused;                     /* why message 1 was */
    void *home;                            /* conns.c's */

    /* splices */
    struct conn__bound bound[ONION_BOUND];
    size_t n_bound;
    bool has_answer, was_answering; /* service, open: where packets go */
    uint32_t answer;
    struct conn__flight *flight; /* client: one; service: ONION_FLIGHT_KEPT */
    size_t n_flight;
    bool flight_sent;                    /* client: on some path */
    uint32_t attach_next, attach_oldest; /* client: of locators */
    uint8_t attach[ONION_LOCATOR];
    uint32_t attach_j;
    unsigned attach_left;
    bool attach_told;     /* a packet came since: the service knows this path */
    unsigned kicks;       /* PINGs due: a path came up, or the one in use is asked */
    bool was_hurried;     /* client: message 3 went as a probe */
    unsigned n_ups;       /* client: paths that came up before message 2 */
    bool is_through;      /* client: message 3 is written, 1-RTT packets may be read */
    struct list early_in; /* client: 1-RTT packets that came before message 2 */
    size_t n_early_in;

    /* streams */
    struct list streams, ready;
    size_t n_streams;
    bool wants_open, has_shut; /* a stream has reset_wanted or stop_wanted */
    struct list datagrams;
    size_t n_datagrams;

    /* windows: what the peer may still send is `window` beyond what we consumed */
    size_t credit;   /* consumed, not yet returned */
    size_t held;     /* given to readers, not consumed */
    size_t advanced; /* of `held`: returned ahead of its being consumed */
    size_t surplus;  /* of the window: to be kept back from the next credits */
    size_t rx_charged, tx_charged;
    size_t tx_held;             /* bytes of chunks */
    uint64_t loss_next, loss_n; /* seen.next and seen.n at the last look */
    unsigned loss_ppm;

    uint8_t last_word[ONION_PAYLOAD];
    size_t last_word_len;
    unsigned last_words;
    struct onion_conn_end end;
    bool end_told;
    struct onion_conn_info info; /* its counters only */
};

/* conn.c */
struct onion_conn *conn__new(const struct onion_conn_options *o);
void conn__set_state(struct onion_conn *c, enum conn_state state);
void conn__enter(struct onion_conn *c);
/* Leaves; frees a destroyed connection: then false, and c is gone. */
bool conn__leave(struct onion_conn *c);
uint64_t conn__now(struct onion_conn *c);
void conn__soon(struct onion_conn *c); /* the task runs at the end of this turn */
/* It is over, for this reason; `liberr` is ngtcp2's error for the peer, 0: say nothing. Streams and
 * owner are told. */
void conn__over(struct onion_conn *c, enum onion_end how, int liberr);
/* ngtcp2 said this, 0 included. True when the connection goes on. */
bool conn__ok(struct onion_conn *c, int liberr);

/* conn_read.c: a datagram that has the right shape, into ngtcp2 */
void conn__read(struct onion_conn *c, uint32_t splice, const uint8_t *packet, size_t len);
void conn__early_in_read(struct onion_conn *c); /* what a client held until message 3 left */
void conn__early_in_free(struct onion_conn *c);

/* conn_quic.c: ngtcp2 made and asked */
int conn__quic_client(struct onion_conn *c, uint64_t rtt_ns);
int conn__quic_service(struct onion_conn *c, uint64_t rtt_ns);
/* Encoded transport parameters of ours: their length, 0 when something is wrong. */
size_t conn__params(struct onion_conn *c, uint8_t out[static ONION_PARAMS_MAX]);
/* The peer's, from a handshake message. 0, or ngtcp2's error. */
int conn__params_read(struct onion_conn *c, const uint8_t *data, size_t len);
uint64_t conn__rtt(struct onion_conn *c);
bool conn__in_flight(struct onion_conn *c);

/* conn_keys.c: secrets into ngtcp2. 0, or ngtcp2's error. */
int conn__install_initial(struct onion_conn *c);
int conn__install_early(struct onion_conn *c, const uint8_t secret[static 32]);
int conn__install_handshake(struct onion_conn *c, const struct onion_secret_pair *s);
int conn__install_rx(struct onion_conn *c, const struct onion_secret_pair *s);
int conn__install_tx(struct onion_conn *c, const struct onion_secret_pair *s);
int conn__on_update_key(ngtcp2_conn *quic, uint8_t *rx_secret, uint8_t *tx_secret,
                        ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx,
                        uint8_t *tx_iv, const uint8_t *rx_now, const uint8_t *tx_now, size_t len,
                        void *arg);

/* conn_client.c, conn_service.c: the handshake, as ngtcp2's callbacks */
int conn__on_client_initial(ngtcp2_conn *quic, void *arg);
int conn__on_client_crypto(ngtcp2_conn *quic, ngtcp2_crypto_level level, uint64_t offset,
                           const uint8_t *data, size_t len, void *arg);
int conn__on_service_initial(ngtcp2_conn *quic, const ngtcp2_cid *dcid, void *arg);
int conn__on_service_crypto(ngtcp2_conn *quic, ngtcp2_crypto_level level, uint64_t offset,
                            const uint8_t *data, size_t len, void *arg);
int conn__on_service_completed(ngtcp2_conn *quic, void *arg);
/* Gathers CRYPTO bytes: 1 when a message is whole, 0 when more must come, or ngtcp2's error. */
int conn__gather(struct onion_conn *c, const uint8_t *data, size_t len);
/* A service's connection, before it has read anything. secret: of the service key. */
struct onion_conn *conn__service_new(const struct onion_conn_options *o,
                                     const struct onion_stream_id *id,
                                     const uint8_t secret[static 32]);

/* conn_recv.c: what the peer's frames do */
void conn__recv_callbacks(ngtcp2_callbacks *cb);
void conn__deliver_waiting(struct onion_conn *c); /* early data, once message 3 came */

/* conn_send.c */
/* Client with message 2, before message 3 left: tries to write it now. Until ngtcp2 0.12.1 has, a
 * HANDSHAKE_DONE from the service makes it read freed state. */
void conn__write_through(struct onion_conn *c);
void conn__send(struct onion_conn *c); /* all that may be sent now, one burst */
/* One datagram of the first flight, made and not sent. 0, or ngtcp2's error. */
int conn__first_flight(struct onion_conn *c);
void conn__ready(struct onion_conn_stream *s); /* has something to be sent */

/* conn_splice.c */
void conn__carry(struct onion_conn *c, const uint8_t *packet, size_t len);
bool conn__has_path(const struct onion_conn *c);
/* A packet of `splice` was opened: `before` is what had been seen then. */
void conn__answer_where(struct onion_conn *c, uint32_t splice, uint64_t before);
void conn__flight_forget(struct onion_conn *c);

/* conn_stream.c */
struct onion_conn_stream *conn__stream_new(struct onion_conn *c, int64_t id);
void conn__stream_free(struct onion_conn_stream *s);
/* The reader doesn't need what it holds any more. */
void conn__stream_release(struct onion_conn_stream *s);
void conn__stream_fail(struct onion_conn_stream *s,
                       uint64_t code); /* its user's `reset`, and gone */
void conn__acked(struct onion_conn_stream *s, uint64_t to);
/* Copies into chunks; returns how much the node's buffers and memory allow. */
size_t conn__queue_put(struct onion_conn *c, struct conn__queue *q, const uint8_t *data,
                       size_t len);
void conn__queue_free(struct onion_conn *c, struct conn__queue *q);
/* Asks for RESET_STREAM and STOP_SENDING; its user is told nothing. */
void conn__stream_give_up(struct onion_conn_stream *s, uint64_t code);
/* Resets and stops that were asked for, into ngtcp2. */
int conn__shut_streams(struct onion_conn *c);
void conn__tell_writable(struct onion_conn *c);

/* conn_window.c */
void conn__windows(struct onion_conn *c);      /* returns credit, grows what is used up fast */
void conn__windows_free(struct onion_conn *c); /* the node gets everything back */
void conn__window_close(struct onion_conn_stream *s);
void conn__loss_look(struct onion_conn *c);

/* conn_timer.c */
void conn__arm(struct onion_conn *c);
void conn__on_timer(struct env_timer *t, void *arg);

/* conn_datagram.c */
int conn__on_datagram(ngtcp2_conn *quic, uint32_t flags, const uint8_t *data, size_t len,
                      void *arg);
/* Writes the oldest one into `dest`: a packet's length, 0 when none may go now, or ngtcp2's error.
 */
ngtcp2_ssize conn__write_datagram(struct onion_conn *c, uint8_t *dest, size_t cap);
void conn__datagrams_free(struct onion_conn *c);

/* Starts a key update, as GCM's limit does. For tests. 0, or ngtcp2's error. */
int conn__update_keys(struct onion_conn *c);
