/* node/endpoints.h - everything of hidden endpoints that a user of this machine meets: front doors,
 * petnames, exposed services, client keys. One for each node, on worker 0; what lies below is
 * reached through door_ops.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/metric.h"
#include "node/client_keys.h"
#include "node/door.h"
#include "node/expose.h"
#include "node/petnames.h"
#include "node/role.h"

struct endpoints;

/* As configured. */
struct endpoints_config {
    bool has_socks, has_tunnel;
    struct env_addr socks_at, tunnel_at;
    bool is_socks_default; /* nobody wrote it into the file: a port that is taken is no failure */
    bool wait_for_answer;
    bool is_relay; /* carry others' paths; needs a listed node */
    unsigned hops; /* of paths, on our side; 0: the default */
};

struct endpoints_options {
    struct env *env;
    const struct door_ops *ops; /* NULL: this build has no hidden endpoints; no port is opened */
    struct endpoints_config config;
};

/* Opens the front doors' ports; they answer "not ready" until the onion is there. NULL with `err`.
 */
struct endpoints *endpoints_create(const struct endpoints_options *o, struct cyx_err *err);
/* Opens the stores: petnames, services, keys. Blocks a moment. Keys that can't be read are said in
 * the log and by the methods that want them. */
CYX_MUST_USE int endpoints_open(struct endpoints *e, const struct mesh_identity *identity,
                                struct cyx_err *err);
/* After endpoints_open: begins to serve. NULL before onion_stop: resets what is open. */
void endpoints_set_onion(struct endpoints *e, struct onion *o);
void endpoints_destroy(struct endpoints *e); /* NULL is fine */

void endpoints_metrics(struct endpoints *e, metric_fn fn, void *arg);

/* The control methods; their state is the struct endpoints. Ended by a NULL name. */
extern const struct node_method endpoints_methods[];
