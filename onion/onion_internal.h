/* onion/onion_internal.h - what stands behind onion.h: the parts of a node's onion, and what a
 * visit and a service share. One thread. */
#pragma once
#include "base/map.h"
#include "onion/ask.h"
#include "onion/buffers.h"
#include "onion/conn.h"
#include "onion/descriptor.h"
#include "onion/fetch.h"
#include "onion/onion.h"
#include "onion/path.h"
#include "onion/pick.h"
#include "onion/relay.h"
#include "onion/replay.h"

enum {
    ONION__VISITS = 1024,    /* connections to services */
    ONION__EARLY = 64 << 10, /* bytes written to a stream before there is a connection: what a
                                service lets a client send unasked */
    ONION__FLOWS = 1024,     /* datagram flows, of a connection */
    ONION__FLOW_IDLE_S = 60,
    ONION__LEAVE_MS = 200, /* for the last words of connections */
};

struct onion {
    struct env *env;
    struct mesh *mesh;
    struct dht *dht;
    struct onion_config config;
    struct mesh_watcher watcher; /* the first to hear of links */
    struct onion_switch *sw;
    struct onion_paths *paths;
    struct onion_picker *picker; /* NULL until started */
    struct onion_asks *asks;
    struct onion_fetch *fetch;
    struct onion_replay *replay;
    struct onion_relay *relay;
    struct onion_buffers buffers;
    struct map *visits; /* struct visit_key -> struct visit, that takes new users */
    struct list all_visits;
    struct list services, leaving; /* leaving: closed, while their visitors are told */
    struct env_timer tick, end;
    uint64_t started_ns, replay_ns;
    bool is_started, is_stopping;
    env_fn stopped;
    void *stopped_arg;
    struct {
        uint64_t streams, flows, fails[ONION_FAILS], visits, replaced_paths, work_done;
    } c;
};

/* 0; CYX_EAGAIN: not started yet; CYX_ECLOSED: it stops. What begins something asks first. */
int onion__is_on(const struct onion *o, struct cyx_err *err);

/* ---- streams: stream.c ------------------------------------------------------------------------
 */

struct visit;

struct onion_stream {
    struct list node; /* of its visit, or of its service's visitor */
    struct onion *o;
    struct visit *visit; /* NULL: a visitor's stream to a service of ours, or gone from it */
    struct onion_conn_stream *s; /* NULL: not opened yet */
    struct onion_stream_events ev;
    void *arg;
    uint16_t port;
    bool is_judged; /* the descriptor's word on its port was given */
    bool has_written;
    bool is_told;    /* `opened` was called */
    bool waits;      /* ... only when the far end said yes */
    bool end_wanted; /* before there was a connection */
    bool is_short;   /* a write took less than all */
    bool end_heard, is_answered;
    struct env_timer later; /* a stream that came when the descriptor was here */
    size_t *n_streams;      /* a visitor's: its service's count of them */
    size_t n_early;
    uint8_t *early; /* ONION__EARLY bytes once something is written */
};

struct onion_stream *stream__new(struct onion *o, uint16_t port,
                                 const struct onion_stream_events *ev, void *arg);
/* Opens it on the connection and writes what it has. CYX_EFULL: later. */
int stream__open(struct onion_stream *s, struct onion_conn *c);
/* A visitor's: takes over the connection's stream. */
void stream__take(struct onion_stream *s, struct onion_conn_stream *cs);
void stream__tell_opened(struct onion_stream *s);               /* once; may free it */
void stream__fail(struct onion_stream *s, enum onion_fail why); /* closed, and free */
void stream__free(struct onion_stream *s);

/* ---- flows: flow.c
 * ------------------------------------------------------------------------------- */

struct flows; /* of one connection */

struct onion_flow {
    struct list node;
    struct flows *of;
    uint16_t port, number;
    uint64_t used_ns;
    struct onion_flow_events ev;
    void *arg;
};

struct flows {
    struct onion *o;
    struct onion_conn *conn; /* NULL: not yet, or no more */
    struct list all;
    size_t n;
    uint16_t next;
    struct env_timer idle;
    /* A peer's first datagram of a flow: `f` is new and has no events. NULL: flows are ours to
     * open. */
    void (*began)(void *arg, struct onion_flow *f);
    void (*lost)(void *arg); /* one is gone: may be NULL */
    void *arg;
};
void flows__init(struct flows *f, struct onion *o);
void flows__end(struct flows *f, enum onion_fail why); /* all are closed */
struct onion_flow *flows__open(struct flows *f, uint16_t port, const struct onion_flow_events *ev,
                               void *arg);
/* Ends those whose port `may` says no to. */
void flows__judge(struct flows *f, bool (*may)(void *arg, uint16_t port), void *arg);
void flows__heard(struct flows *f, uint16_t port, uint16_t number, const uint8_t *data, size_t len);

/* ---- visits: visit.c, visit_way.c
 * ------------------------------------------------------------------ */

/* The connection to an address under a tag: found, or begun. NULL: too many, no memory. */
struct visit *visit__get(struct onion *o, const uint8_t address[static 32],
                         const struct onion_isolation *tag);
void visit__add_stream(struct visit *v, struct onion_stream *s);
void visit__late_stream(struct onion_stream *s);
void visit__lost_stream(struct visit *v);          /* one is gone */
enum onion_fail visit__why(const struct visit *v); /* its streams were reset: why */
void visit__request_written(struct visit *v);      /* the first flight needn't wait longer */
/* Ends all of them: those with a connection say so first, if there is time. */
enum visits_how { VISITS_TELL, VISITS_NOW };
void visits__end(struct onion *o, enum visits_how how);
size_t visits__count(const struct onion *o);

/* What `cyx why` sees of a visit. */
typedef void (*visit_trace_fn)(void *arg, const struct onion_step *s);
void visit__trace(struct visit *v, visit_trace_fn fn, void *arg);

/* ---- services: service*.c
 * ---------------------------------------------------------------------------- */

void services__end(struct onion *o);
void services__leave(struct onion *o); /* tells visitors; takes no more */
const struct onion_service *services__at(struct list *node);
void services__tick(struct onion *o);
