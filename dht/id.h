/* dht/id.h - distances between 256-bit keys: XOR, compared as big-endian numbers. Spec:
 * protocol.md, section 6; Maymounkov, Mazieres, "Kademlia" (2002). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DHT_ID = 32 };

/* Below 0: `a` is nearer to `key` than `b`; above 0: farther; 0: the same. */
static inline int dht_id_compare(const uint8_t key[static DHT_ID], const uint8_t a[static DHT_ID],
                                 const uint8_t b[static DHT_ID])
{
    for (unsigned i = 0; i < DHT_ID; i++)
        if (a[i] != b[i])
            return (a[i] ^ key[i]) < (b[i] ^ key[i]) ? -1 : 1;
    return 0;
}

static inline bool dht_id_is_nearer(const uint8_t key[static DHT_ID],
                                    const uint8_t a[static DHT_ID], const uint8_t b[static DHT_ID])
{
    return dht_id_compare(key, a, b) < 0;
}

/* How many leading bits both share, 0..256: the number of the bucket that `id` belongs to in the
 * table of `self` (256: itself). */
static inline unsigned dht_id_shared(const uint8_t self[static DHT_ID],
                                     const uint8_t id[static DHT_ID])
{
    for (unsigned i = 0; i < DHT_ID; i++)
        if (self[i] != id[i])
            return 8 * i + (unsigned)__builtin_clz((unsigned)(self[i] ^ id[i])) - 24;
    return 8 * DHT_ID;
}
