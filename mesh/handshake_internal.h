/* mesh/handshake_internal.h - the two MACs at the end of INIT and RESP, shared by handshake.c and
 * cookie.c. Spec: protocol.md, section 3. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/packet.h"

enum { MESH__MAC = 16 };

/* Where mac1 starts in a first message of `len` bytes; 0 when no first message is that long. mac2
 * follows it. */
static inline size_t mesh__mac1_at(size_t len)
{
    return len == MESH_INIT_LEN ? 120 : len == MESH_RESP_LEN ? 76 : 0;
}

/* Fills mac1 (for the owner of link key `to`) and mac2 (zero when `cookie` is NULL). */
void mesh__macs_put(uint8_t *packet, size_t len, const uint8_t to[static 32],
                    const uint8_t *cookie);

/* Is mac1 right for our link key? Constant time. */
bool mesh__mac1_ok(const uint8_t *packet, size_t len, const uint8_t self_pub[static 32]);
