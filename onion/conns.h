/* onion/conns.h - the connections of a service: which one a cell of a splice belongs to. First
 * flights start connections (once each: onion/flights.h), ATTACH brings new splices to old ones,
 * anything else that comes first waits a second. Spec: protocol.md, sections 11 and 14. */
#pragma once
#include "onion/conn.h"
#include "onion/flights.h"

struct onion_conns;

enum {
    ONION_CONNS = 512,     /* of a service */
    ONION_HELD = 8,        /* packets of a splice that wait for its first flight or ATTACH, */
    ONION_HELD_MS = 1000,  /* for so long */
    ONION_HELD_ALL = 4096, /* and of all splices together: 5 MB */
};

/* One of the keys a service answers to: there is one for each descriptor that is out. */
struct onion_service_key {
    uint8_t address[32]; /* A */
    uint8_t pub[32], secret[32];
    uint64_t drawn_ns; /* on this process's monotonic clock; 0: by an earlier one */
};

struct onion_conns_ops {
    /* A cell for a splice; CLOSE for a splice, which is forgotten here. */
    void (*send)(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                 size_t len);
    void (*close)(void *arg, uint32_t splice, enum onion_close reason);
    /* Message 1 opened and is fresh: give the connection ops (onion_conn_set_ops) and own it, or
     * return false. Early data follows at once. */
    bool (*accepted)(void *arg, struct onion_conn *c);
    uint64_t (*net_time)(void *arg); /* seconds */
};

struct onion_conns_options {
    struct env *env; /* borrowed for life, like the next four */
    struct onion_buffers *buffers;
    struct onion_flights *flights;
    const struct onion_conns_ops *ops;
    void *arg;
    uint8_t net[32];         /* network id */
    size_t max;              /* connections; 0: ONION_CONNS */
    uint64_t initial_rtt_ns; /* twice our own build */
};

/* NULL: no memory. Destroying it forgets all splices; connections go on without (and their owners
 * destroy them before, as a rule). */
struct onion_conns *onion_conns_create(const struct onion_conns_options *o);
void onion_conns_destroy(struct onion_conns *h); /* NULL is fine */

/* DATA of a splice, which came by a registration that belongs to `key` (borrowed for the call).
 * Splices are numbered by the caller, uniquely over all registrations. What became of it: DROP_NONE
 * also when it waits. May call back and destroy connections, but not `h`. */
enum drop onion_conns_received(struct onion_conns *h, uint32_t splice,
                               const struct onion_service_key *key, enum onion_kind kind,
                               const uint8_t *bytes, size_t len);
/* The pivot closed it, or its path is gone. */
void onion_conns_splice_gone(struct onion_conns *h, uint32_t splice);

struct onion_conns_info {
    size_t n, n_splices, n_held;
    uint64_t accepted, attached, repeated; /* repeated: copies of first flights */
    uint64_t waiting;                      /* accepted, but their early data waited */
    uint64_t dropped[DROP_COUNT_];
};
void onion_conns_info(const struct onion_conns *h, struct onion_conns_info *out);
