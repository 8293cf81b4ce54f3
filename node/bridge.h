/* node/bridge.h - bytes between a stream of this machine (TCP, unix) and one of a hidden endpoint:
 * both ways with back-pressure, each half closed on its own, and a failure of either side is a
 * reset of the other, never an orderly end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "node/door_ops.h"

struct bridge;

enum {
    /* Given to the local stream at a time: enough to keep a socket busy, little enough that a slow
     * reader holds no more than this beyond the far window. */
    BRIDGE_AHEAD = 256 << 10,
    /* Far bytes that a slow local reader may leave with us: the far side's window bounds them
     * (protocol.md, section 16: 32 MiB a stream, 64 MiB a node); more is a fault, and a reset. */
    BRIDGE_HELD_MAX = 33 << 20,
};

enum bridge_how {
    BRIDGE_ORDERLY,    /* both sides ended */
    BRIDGE_FAR_FAILED, /* `why` says how; the local stream was reset */
    BRIDGE_LOCAL_GONE, /* the local stream broke; the far one was reset */
    BRIDGE_IDLE,       /* nothing moved for too long; both were reset */
    BRIDGE_NO_MEMORY,  /* both were reset */
};

struct bridge_end {
    enum bridge_how how;
    enum onion_fail why;       /* of BRIDGE_FAR_FAILED */
    uint64_t to_far, to_local; /* bytes */
};

struct bridge_events {
    /* A dialled stream may be used; may be NULL. */
    void (*far_opened)(void *arg);
    /* The far stream failed before bridge_open: bridge_release or bridge_destroy. */
    void (*far_failed)(void *arg, enum onion_fail why);
    /* What became of bridge_connect: 0 or a CYX_E* (release or destroy then); may be NULL. */
    void (*local_opened)(void *arg, int code);
    /* Both streams are gone; from the loop, the last word: bridge_destroy. */
    void (*ended)(void *arg, const struct bridge_end *end);
};

struct bridge_options {
    struct env *env;
    const struct door_ops *ops;
    const struct bridge_events *events; /* borrowed for life */
    void *arg;
    uint64_t idle_ns; /* without a byte either way; 0: for ever */
};

struct bridge *bridge_create(const struct bridge_options *o); /* NULL: no memory */
/* Resets what it still holds. No callback follows. NULL is fine. */
void bridge_destroy(struct bridge *b);

/* The far side: dialled (CYX_E* with `err`), or a visitor's. */
CYX_MUST_USE int bridge_dial(struct bridge *b, struct onion *o, const struct onion_target *to,
                             struct cyx_err *err);
void bridge_take_far(struct bridge *b, struct onion_stream *far);
/* The local side: accepted, or connected. */
void bridge_take_local(struct bridge *b, struct env_stream *local);
CYX_MUST_USE int bridge_connect(struct bridge *b, const struct env_endpoint *to,
                                struct cyx_err *err);
/* Local bytes that were read before the bridge had the stream. */
void bridge_feed(struct bridge *b, const uint8_t *data, size_t len);

/* From now on far bytes go to the local side; until then they are held. Local bytes always go. */
void bridge_open(struct bridge *b);
/* Gives the streams back (NULL where there is none), still attached here: attach, close or reset
 * them at once. The bridge is gone. */
void bridge_release(struct bridge *b, struct env_stream **local, struct onion_stream **far);

/* Bytes in its own memory: what waits for either side. */
size_t bridge_held(const struct bridge *b);
