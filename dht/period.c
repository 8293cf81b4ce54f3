/* dht/period.c - time periods: the random value that all share in one, and where a descriptor is
 * stored in it. Spec: protocol.md, sections 7 and 12. */
#include "base/crypto.h"
#include "base/writer.h"
#include "dht/type.h"

struct be64 {
    uint8_t b[8];
};

static struct be64 be64(uint64_t v)
{
    struct be64 out;
    struct writer w = writer_on(out.b, sizeof out.b);
    writer_u64(&w, v);
    return out;
}

/* The one source of shared randomness. Until validators agree on a beacon, places are predictable
 * to whoever knows the address. */
void dht_srv(uint8_t out[static 32], const struct mesh_network *net, uint64_t period)
{
    const struct be64 p = be64(period);
    const struct bytes x[] = { BYTES(net->id, sizeof net->id), BYTES(p.b, sizeof p.b) };
    crypto_h(out, "cyx srv 0", x, 2);
}

void dht_descriptor_place(uint8_t place[static DHT_ID], const struct mesh_network *net,
                          const uint8_t blinded[static 32], uint64_t period, uint8_t replica)
{
    const struct be64 p = be64(period);
    uint8_t srv[32];
    dht_srv(srv, net, period);
    const struct bytes x[] = { BYTES(blinded, 32), BYTES(p.b, sizeof p.b), BYTES(&replica, 1),
                               BYTES(srv, sizeof srv) };
    crypto_h(place, "cyx desc", x, 4);
}
