/* tests/sim/stream_internal.h - streams and listeners, shared by their two files. */
#pragma once
#include "tests/sim/world_internal.h"

enum { SIM_UNIX_US = 20, SIM_REFUSE_MS = 1, SIM_SYN_TIMEOUT_S = 10 };

/* Everything travels in order: an opening, its answer, bytes, the last byte, a reset. */
enum chunk_kind { CHUNK_SYN, CHUNK_OPEN, CHUNK_DATA, CHUNK_FIN, CHUNK_RESET };

struct chunk {
    struct list in_half;
    uint64_t at;
    enum chunk_kind kind;
    int code; /* CHUNK_OPEN, CHUNK_RESET */
    size_t len;
    uint8_t data[];
};

/* One direction of a connection. */
struct sim_half {
    struct sim_conn *conn;
    unsigned to; /* which end it leads to */
    struct list chunks;
    size_t queued; /* bytes of CHUNK_DATA not yet taken */
    uint64_t last_at, stalled_since;
    bool has_event;
};

struct sim_conn {
    struct sim_world *world;
    struct env_stream *end[2]; /* 0 connected, 1 accepted; NULL: not there */
    struct sim_node *node[2];
    struct sim_half half[2];
    uint64_t latency_ns;
    struct env_endpoint target;
};

struct env_stream {
    struct list in_node;
    struct sim_node *node;
    struct sim_conn *conn; /* NULL after a crash */
    unsigned side;
    bool is_dead, is_paused, has_ended;
    const struct env_stream_events *events;
    void *arg;
};

struct env_listener {
    struct list in_node, in_reachable;
    struct sim_node *node;
    struct env_endpoint at;
    void (*accepted)(void *arg, struct env_stream *s);
    void *arg;
};

void sim__chunk_push(struct sim_half *h, enum chunk_kind kind, int code, const void *data,
                     size_t len, uint64_t delay_ns);
struct env_stream *sim__stream_new(struct sim_conn *c, unsigned side);
/* A connection attempt arrives. */
void sim__syn(struct sim_conn *c);
