/* mesh/packet.h - datagrams of a link, byte by byte: types, sizes, index layout. Spec: protocol.md,
 * sections 3 and 4. */
#pragma once
#include <stdint.h>

enum mesh_packet_type {
    MESH_INIT = 1,
    MESH_RESP = 2,
    MESH_COOKIE = 3,
    MESH_FULL = 4,
    MESH_SMALL = 5, /* reserved */
    MESH_VERSION = 6,
};

enum {
    MESH_INIT_LEN = 152,
    MESH_RESP_LEN = 108,
    MESH_COOKIE_LEN = 64,
    MESH_VERSION_LEN = 8,
};

/* Session indices are drawn at random by their owner; the top byte names the worker thread, so that
 * the kernel can steer packets to it (base/env.h, n_workers). */
static inline unsigned mesh_index_worker(uint32_t index, unsigned n_workers)
{
    return (index >> 24) % (n_workers > 0 ? n_workers : 1);
}
