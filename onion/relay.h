/* onion/relay.h - what a relay does: it carries paths of others, is the last hop of some of them
 * (an END that looks up and stores, a pivot where clients meet services), and says nothing to
 * whoever isn't proven fresh. One for each mesh. Spec: protocol.md, sections 8 to 11, 13, 16. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metric.h"
#include "dht/dht.h"
#include "mesh/mesh.h"
#include "onion/replay.h"
#include "onion/switch.h"

struct onion_relay;

/* All borrowed for life. */
struct onion_relay_config {
    struct onion_switch *paths; /* its mesh is ours; its strays are taken over */
    struct dht *dht;            /* records of next hops, and what an END asks; NULL: neither */
    struct onion_replay *replay;
    size_t paths_max; /* through this node; 0: ONION_PATHS */
};

/* NULL with `err`: CYX_ENOMEM. */
struct onion_relay *onion_relay_create(const struct onion_relay_config *c, struct cyx_err *err);
/* Forgets all paths without a word (mesh_stop says GOODBYE on their links). Before the switch, the
 * cache, the DHT and the mesh; from no callback of theirs. NULL is fine. */
void onion_relay_destroy(struct onion_relay *r);

struct onion_relay_stats {
    size_t building, open, ends; /* paths by state */
    size_t tombstones, trains_waiting;
    size_t registrations, splices, serials;
    size_t asks; /* requests of ENDs under way */
    uint64_t cells_forwarded;
};
void onion_relay_get_stats(const struct onion_relay *r, struct onion_relay_stats *out);
void onion_relay_metrics(const struct onion_relay *r, metric_fn fn, void *arg);
