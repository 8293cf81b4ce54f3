/* mesh/network.h - which network this is. The network id is in every prologue and under every
 * signature: two networks can't be mixed. Spec: protocol.md, section 1. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct mesh_network {
    char name[64];      /* UTF-8, at least one byte */
    uint32_t id_effort; /* proof of work that an id costs: 4096, 1 in a lab */
    bool is_lab;        /* lifts prefix limits, ages and the two prefixes of OBSERVED */
    uint8_t id[32];     /* H("cyx network 1", msgpack map {1: name, 2: effort, 3: lab}) */
};

/* Fills `n`. CYX_EINVAL: name empty, longer than 63 bytes or not UTF-8; effort 0 or above 2^20. */
CYX_MUST_USE int mesh_network_init(struct mesh_network *n, const char *name, uint32_t id_effort,
                                   bool is_lab, struct cyx_err *err);
