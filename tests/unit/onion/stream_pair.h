/* tests/unit/onion/stream_pair.h - a client and a service on virtual time, and between them cells
 * with delay, loss, reordering, copies. Splices have the same number at both ends; any may be cut,
 * recorded and repeated on another. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onion/conn_internal.h"
#include "onion/conns.h"
#include "tests/sim/world.h"

enum { PAIR_STREAMS = 160, PAIR_TAPE = 512 };

struct pair;

/* How cells of one direction travel. */
struct pair_link {
    uint64_t delay_ns, jitter_ns; /* jitter: up to so much more, each by itself, so it reorders */
    uint32_t loss_ppm, copy_ppm;
};

/* One end of a stream: sends `to_send` bytes of a pattern, checks the pattern that comes. */
struct pair_end {
    struct pair *pair;
    struct onion_conn_stream *stream;
    uint8_t seed_out, seed_in;
    uint64_t to_send, written, received, early;
    bool ends, is_slow; /* ends: closes its side when all is written; is_slow: consumes by hand */
    uint64_t unread;
    bool has_status, has_ended, was_reset, is_closed, is_wrong;
    uint8_t status;
    uint64_t code;
    uint16_t port;
    bool is_early;
    uint64_t first_byte_ns, end_ns;
};

struct pair_cell {
    uint32_t splice;
    enum onion_kind kind;
    bool to_service;
    size_t len;
    uint8_t bytes[ONION_PAYLOAD];
};

struct pair {
    struct sim_world *world;
    struct sim_node *node;
    struct env *env;
    uint64_t random;
    struct pair_link up, down; /* up: to the service */
    bool cut[16];              /* splices that carry nothing */
    uint8_t net[32];
    uint64_t net_time;
    struct onion_service_key key;

    /* client */
    struct onion_buffers client_buffers;
    struct onion_conn *client;
    struct onion_conn_end client_end;
    bool client_over, client_open, is_dead;
    uint64_t client_open_ns;
    struct pair_end ends[PAIR_STREAMS];
    size_t n_ends;
    unsigned can_open;

    /* service */
    struct onion_buffers service_buffers;
    struct onion_flights *flights;
    struct onion_conns *conns;
    struct onion_conn *service; /* the newest */
    struct onion_conn_end service_end;
    bool service_over, service_open, refuses;
    unsigned accepted, closes;
    enum onion_close last_close;
    uint32_t last_closed;
    struct pair_end answers[PAIR_STREAMS];
    size_t n_answers;
    void (*serve)(struct pair *p, struct pair_end *e); /* what a new stream's service does */
    enum onion_answer_status answer;                   /* and says */

    /* datagrams that came, at either end */
    unsigned n_datagrams, n_datagrams_early;
    uint16_t datagram_port, datagram_flow;
    size_t datagram_len;
    uint8_t datagram[ONION_DATAGRAM];

    /* what went over the wire */
    uint64_t cells_up, cells_down, bytes_up;
    struct pair_cell *tape;
    size_t n_tape;
    bool records;
    bool (*tap)(struct pair *p, struct pair_cell *c); /* may change it; false: swallow */
    uint32_t last_to_client_on;                       /* splice of the service's last cell */
    uint64_t to_client_on[16];
};

/* World, keys, service; links of 50 ms each way. */
struct pair *pair_create(void);
void pair_destroy(struct pair *p);
/* A client's connection. */
void pair_connect(struct pair *p);
/* A stream with `n` bytes to send, which end when all is written; consumed at once. */
struct pair_end *pair_open(struct pair *p, uint16_t port, uint64_t n);
void pair_up(struct pair *p, uint32_t splice); /* path up, nothing sent ahead */
void pair_run(struct pair *p, uint64_t ms);
/* Runs until *flag or `ms` are over; returns whether *flag. */
bool pair_until(struct pair *p, const bool *flag, uint64_t ms);
void pair_poke(struct pair *p); /* a turn, so that what was asked for outside of one happens */
/* A cell that arrives now. */
void pair_inject(struct pair *p, const struct pair_cell *c, uint32_t splice);
void pair_read(struct pair_end *e, uint64_t n); /* consumes, for is_slow */
/* A 1-RTT packet with these frames under a side's secret, as a malicious peer could send it. */
void pair_seal(struct pair_cell *out, const uint8_t secret[static 32], uint32_t number,
               const void *frames, size_t len);
/* A service that answers with n bytes (to_send), then ends; and one that echoes nothing. */
void pair_serve_pattern(struct pair *p, struct pair_end *e);
uint64_t pair_now(const struct pair *p);
