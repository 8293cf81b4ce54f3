/* mesh/carrier.h - what carries datagrams for the mesh: UDP now; LoRa and others are one file each.
 * The mesh sees a way to send, what fits, what it costs and how often it may. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

struct mesh_carrier;

struct mesh_carrier_ops {
    const char *name; /* "udp" */
    size_t mtu;       /* greatest datagram */
    unsigned cost;    /* relative price of a byte: links over the cheaper carrier are preferred */
    unsigned duty_permille; /* share of time it may send; 1000: always */
    /* Sends a row of datagrams of `segment` bytes (the last may be shorter). 0, CYX_EAGAIN (nothing
     * sent, `writable` follows), CYX_EIO. */
    int (*send)(struct mesh_carrier *c, const struct env_addr *to, const uint8_t *data, size_t len,
                size_t segment);
    void (*info)(const struct mesh_carrier *c, struct env_udp_info *out);
    void (*close)(struct mesh_carrier *c);
};

struct mesh_carrier {
    const struct mesh_carrier_ops *ops;
};

struct mesh_carrier_events {
    void (*received)(void *arg, struct mesh_carrier *c, struct env_datagrams *batch, size_t n);
    void (*writable)(void *arg, struct mesh_carrier *c);
    void *arg;
};

/* UDP over base/env.h. Owned by the caller (ops->close). */
CYX_MUST_USE int mesh_udp_open(struct env *env, const struct env_addr *bind, unsigned worker,
                               unsigned n_workers, const struct mesh_carrier_events *events,
                               struct mesh_carrier **out, struct cyx_err *err);
