/* node/door.h - a front door: the port of this machine through which programs reach hidden
 * endpoints, by SOCKS5 (socks.h) or HTTP CONNECT (tunnel.h). Names that aren't .cyx are refused and
 * never resolved. Spec: protocol.md, section 14. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/metric.h"
#include "node/door_code.h"
#include "node/door_ops.h"

struct door;

enum door_kind { DOOR_SOCKS, DOOR_TUNNEL };

enum {
    DOOR_CONNS_MAX = 1024,         /* of one door; more are reset as they come */
    DOOR_REQUEST_MS = 30000,       /* for the whole request */
    DOOR_DIAL_MS = 180000,         /* for an answer; what lies below gives up earlier */
    DOOR_LINGER_MS = 2000,         /* for a refusal to be read */
    DOOR_IDLE_MS = 2 * 3600 * 1000 /* without a byte either way */
};

/* What a host name means; ONION_NAME_OK with *address. */
typedef enum onion_name_verdict (*door_resolve_fn)(void *arg, const char *host, size_t len,
                                                   uint8_t address[static 32]);

struct door_options {
    struct env *env;
    const struct door_ops *ops;
    enum door_kind kind;
    struct env_addr at;
    door_resolve_fn resolve;
    void *arg;            /* of resolve */
    bool wait_for_answer; /* success is said only when the far end said yes */
    size_t conns_max;     /* 0: DOOR_CONNS_MAX */
    uint64_t idle_ms;     /* 0: DOOR_IDLE_MS */
};

/* Listens; until door_set_onion every request is answered with "not ready". NULL with `err`. */
struct door *door_create(const struct door_options *o, struct cyx_err *err);
/* Borrowed until it is taken away with NULL, which resets what goes through it. */
void door_set_onion(struct door *d, struct onion *o);
/* Closes the port and resets every connection. NULL is fine. */
void door_destroy(struct door *d);

/* Where it listens, with the port in use. 0 or a CYX_E*. */
CYX_MUST_USE int door_addr(const struct door *d, struct env_addr *out);

struct door_counts {
    uint64_t accepted;
    uint64_t turned_away; /* above conns_max */
    uint64_t broken;      /* not the protocol of this door */
    uint64_t opened;
    uint64_t refused[SOCKS_CODES]; /* by the code of the table */
    uint64_t resets;               /* failures after success was said */
    uint64_t to_far, to_local;     /* bytes of connections that are over */
    uint64_t datagrams_out, datagrams_in, datagrams_dropped;
    size_t conns;
};
void door_get_counts(const struct door *d, struct door_counts *out);
void door_metrics(const struct door *d, metric_fn fn, void *arg);
