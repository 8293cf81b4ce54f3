/* onion/onion.h - hidden endpoints, as everything above sees them: reach one by its address, be
 * one, and carry others' paths meanwhile. One for each node, on worker 0. Spec: protocol.md,
 * sections 8 to 14. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/metric.h"
#include "dht/dht.h"
#include "mesh/mesh.h"
#include "onion/descriptor.h"

struct onion;

struct onion_config {
    bool is_relay; /* carry others' paths: listed nodes only */
    unsigned hops; /* on our side of a pivot, 2 to 5; 0: ONION_HOPS */
};

/* mesh and dht are borrowed for life. Opens nothing yet. NULL with `err`. */
struct onion *onion_create(struct mesh *mesh, struct dht *dht, const struct onion_config *config,
                           struct cyx_err *err);
/* After dht_start: reads guards and the replay set, begins to keep paths ready. CYX_E* from below.
 */
CYX_MUST_USE int onion_start(struct onion *o, struct cyx_err *err);
/* From the loop: ends streams, tells visitors and services, closes paths, saves what must outlive
 * us; then calls `done`. Services are gone by then, and so are their owners' pointers. Before
 * dht_stop. */
void onion_stop(struct onion *o, env_fn done, void *arg);
void onion_destroy(struct onion *o); /* NULL is fine */

/* ---- streams -----------------------------------------------------------------------------------
 * One byte stream through a connection to a hidden endpoint, or from a visitor to ours. The
 * callbacks have the shape of env_stream's, so that either can feed the other. */

struct onion_stream;

/* Why something could not be reached, or ended. Front doors turn it into their codes (protocol.md,
 * section 14). */
enum onion_fail {
    ONION_FAIL_NONE = 0,      /* an orderly end */
    ONION_FAIL_NAME,          /* not an address: bad checksum, unknown version, malformed */
    ONION_FAIL_NOT_READY,     /* no guard, no relays known yet */
    ONION_FAIL_NO_DESCRIPTOR, /* nobody has one: no such service, or it is off */
    ONION_FAIL_NOT_FOR_US,  /* the descriptor wants a client key that we don't have, or status 3 */
    ONION_FAIL_NO_PORT,     /* the service doesn't list the port, or status 2 */
    ONION_FAIL_REFUSED,     /* the service's backend refused: status 1 */
    ONION_FAIL_UNREACHABLE, /* no pivot reachable, or status 5 */
    ONION_FAIL_BUSY,        /* status 4 */
    ONION_FAIL_EFFORT,      /* the service asks for more work than we are willing to do */
    ONION_FAIL_TIMEOUT,     /* lookup, build or answer took too long, or status 6 */
    ONION_FAIL_RESET,       /* the other end reset the stream */
    ONION_FAIL_LOST,        /* the connection was lost and could not be saved */
    ONION_FAIL_CLOSING,     /* we are stopping */
    ONION_FAILS,
};
/* For people: "nobody has a descriptor of it: wrong address, or the service is off". */
const char *onion_fail_text(enum onion_fail why);
/* One word for metrics and JSON: "no-descriptor". */
const char *onion_fail_name(enum onion_fail why);

struct onion_stream_events {
    /* It may be used: the verified descriptor lists the port (or, where it lists none, the service
     * said yes). Writing before is fine: what is written rides in the first flight. */
    void (*opened)(void *arg);
    /* Bytes; len 0: the other end sent its last byte. Say onion_stream_consumed when they are out
     * of your hands. */
    void (*data)(void *arg, const uint8_t *data, size_t len);
    /* There is room again after onion_stream_write took less than all. */
    void (*writable)(void *arg);
    /* Over, for both directions; the stream is gone. ONION_FAIL_NONE: both sides ended in order. */
    void (*closed)(void *arg, enum onion_fail why);
};

/* Who must not be seen together: streams with different tags never share a path or a connection. */
struct onion_isolation {
    uint8_t tag[16]; /* zero: none */
};

struct onion_target {
    uint8_t address[32]; /* A */
    uint16_t port;
    struct onion_isolation isolation;
    bool wait_for_answer; /* `opened` only when the far end said yes (never on the descriptor's
                             word) */
};

/* Everything follows from the loop, never from here. NULL with `err`: CYX_EFULL, CYX_ENOMEM,
 * CYX_EAGAIN (not started yet), CYX_ECLOSED (stopping). */
struct onion_stream *onion_dial(struct onion *o, const struct onion_target *to,
                                const struct onion_stream_events *ev, void *arg,
                                struct cyx_err *err);
/* Takes at most what there is room for: returns how many bytes; `writable` follows if it was less
 * than len. 0 also when it is ended or gone. */
size_t onion_stream_write(struct onion_stream *s, const uint8_t *data, size_t len);
/* `len` bytes of `data` callbacks need no more room: the other end may send as many again. */
void onion_stream_consumed(struct onion_stream *s, size_t len);
/* Our last byte: the other direction goes on. */
void onion_stream_end(struct onion_stream *s);
/* At once, both directions; the other end sees a reset. No callback follows. NULL is fine. */
void onion_stream_reset(struct onion_stream *s);
/* Who takes the callbacks from now on. */
void onion_stream_attach(struct onion_stream *s, const struct onion_stream_events *ev, void *arg);

/* ---- datagrams ---------------------------------------------------------------------------------
 */

enum { ONION_DATAGRAM_MAX = 1200 };
struct onion_flow; /* datagrams between one port of a service and one user of it */
struct onion_flow_events {
    void (*datagram)(void *arg, const uint8_t *data, size_t len);
    void (*closed)(void *arg, enum onion_fail why); /* the flow is gone: idle, or its connection */
};
/* NULL with `err`: as onion_dial; CYX_ENOENT: its descriptor, which is here, doesn't list the port
 * for datagrams. If that turns out later `closed` says so. */
struct onion_flow *onion_flow_open(struct onion *o, const struct onion_target *to,
                                   const struct onion_flow_events *ev, void *arg,
                                   struct cyx_err *err);
/* Best effort: 0, CYX_EINVAL (longer than ONION_DATAGRAM_MAX), CYX_EAGAIN (dropped: no room). */
int onion_flow_send(struct onion_flow *f, const uint8_t *data, size_t len);
void onion_flow_close(struct onion_flow *f);
void onion_flow_attach(struct onion_flow *f, const struct onion_flow_events *ev, void *arg);

/* ---- being one ---------------------------------------------------------------------------------
 */

struct onion_service;

struct onion_service_config {
    const uint8_t *seed; /* the address key's seed, 32 bytes; copied into locked memory */
    const struct onion_port *ports; /* copied */
    size_t n_ports;
    const uint8_t (*clients)[32]; /* X25519 keys that may read the descriptor; copied */
    size_t n_clients;             /* 0: everybody who has the address */
    unsigned hops;                /* 0: ONION_HOPS */
    unsigned pivots;              /* 0: ONION_PIVOTS */
};

enum onion_service_state {
    ONION_SERVICE_STARTING,  /* no relays yet, or no pivot */
    ONION_SERVICE_PIVOTS,    /* pivots are there, the descriptor isn't out */
    ONION_SERVICE_PUBLISHED, /* stored, not yet seen from outside */
    ONION_SERVICE_READY,     /* found and opened over a path of its own, as a visitor would */
};

struct onion_service_info {
    uint8_t address[32];
    enum onion_service_state state;
    unsigned pivots, pivots_wanted;
    uint64_t published_s; /* network time; 0: never */
    size_t connections, streams;
    uint32_t effort;
    uint64_t accepted, refused;
    const char *trouble; /* what keeps it from being ready, or NULL */
};

/* What a service asks of its owner. */
struct onion_service_events {
    /* A visitor opens a stream to `port`. Answer with onion_stream_attach and onion_stream_accept,
     * now or later, or with onion_stream_refuse. */
    void (*stream)(void *arg, struct onion_stream *s, uint16_t port);
    /* A visitor's first datagram of a flow: onion_flow_attach, or onion_flow_close. It is delivered
     * next. */
    void (*flow)(void *arg, struct onion_flow *f, uint16_t port);
    /* Its state. From the loop, never from inside another call. */
    void (*changed)(void *arg, const struct onion_service_info *now);
};

/* Begins to be reachable. NULL with `err`: CYX_EEXIST (this address already), CYX_EINVAL,
 * CYX_ENOMEM. */
struct onion_service *onion_serve(struct onion *o, const struct onion_service_config *c,
                                  const struct onion_service_events *ev, void *arg,
                                  struct cyx_err *err);
void onion_service_info(const struct onion_service *s, struct onion_service_info *out);
/* Ends its streams and flows, with a word to each, and is gone for its owner: nothing of it is
 * called any more. Visitors are told in the moments that follow, then its registrations end. May be
 * called from any of its callbacks. NULL is fine. */
void onion_service_close(struct onion_service *s);

/* The answer to a visitor's stream: status of protocol.md, section 14 (0 open, 1 refused by the
 * backend, 2 no such port, 3 not allowed, 4 busy, 5 backend unreachable, 6 timed out). Refuse ends
 * it. */
enum onion_open_status {
    ONION_OPEN_OK = 0,
    ONION_OPEN_REFUSED = 1,
    ONION_OPEN_NO_PORT = 2,
    ONION_OPEN_NOT_ALLOWED = 3,
    ONION_OPEN_BUSY = 4,
    ONION_OPEN_UNREACHABLE = 5,
    ONION_OPEN_TIMED_OUT = 6,
};
void onion_stream_accept(struct onion_stream *s);
void onion_stream_refuse(struct onion_stream *s, enum onion_open_status why);

/* ---- client keys --------------------------------------------------------------------------------
 */

/* An X25519 secret for services that only some may read. Copied into locked memory; replaces an
 * earlier one for the same address. */
CYX_MUST_USE int onion_client_key_set(struct onion *o, const uint8_t address[static 32],
                                      const uint8_t secret[static 32], struct cyx_err *err);

/* ---- what goes on
 * -------------------------------------------------------------------------------- */

enum onion_stage {
    ONION_STAGE_GUARD,      /* a guard is linked */
    ONION_STAGE_DESCRIPTOR, /* found and verified */
    ONION_STAGE_PATH,       /* to a pivot, spliced */
    ONION_STAGE_HANDSHAKE,  /* the service proved its key */
    ONION_STAGE_STREAM,     /* its first byte, or its answer */
    ONION_STAGES,
};
const char *onion_stage_name(enum onion_stage s);

/* One step of reaching an address, as `cyx why` and `cyx trace` show it. */
struct onion_step {
    enum onion_stage stage;
    enum onion_fail fail; /* ONION_FAIL_NONE: done */
    uint64_t ns;          /* what it took */
    char detail[96];      /* "2 hops asked, descriptor of period 20054, 3 pivots" */
};
struct onion_why;
/* Tries to reach it now, step by step, from scratch; `step` for each, then `done`. */
struct onion_why *onion_why(struct onion *o, const struct onion_target *to,
                            void (*step)(void *arg, const struct onion_step *s),
                            void (*done)(void *arg, enum onion_fail why), void *arg,
                            struct cyx_err *err);
void onion_why_cancel(struct onion_why *w);

struct onion_summary {
    bool is_ready; /* a path can be built now */
    size_t relays; /* known, of age */
    size_t guards_up, paths_own, paths_ready, paths_through;
    size_t services, connections, streams;
};
void onion_get_status(struct onion *o, struct onion_summary *out);
void onion_metrics(struct onion *o, metric_fn fn, void *arg);

/* Own paths, for `cyx paths`: never an address of a user, never what a path is used for by name. */
struct onion_path_row {
    uint64_t number;
    const char *purpose; /* "lookup", "visit", "service", "ready" */
    const char *state;   /* "building", "open" */
    size_t n_hops;
    uint8_t hops[5][32]; /* node ids */
    uint64_t age_ns, build_ns, sent, received, noise;
};
void onion_paths_each(struct onion *o, bool (*fn)(void *arg, const struct onion_path_row *row),
                      void *arg);
