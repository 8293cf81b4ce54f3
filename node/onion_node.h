/* node/onion_node.h - the onion's life in the daemon. */
#pragma once
#include <msgpack.h>

#include "base/metric.h"
#include "node/door_ops.h"
#include "node/node_internal.h"

/* What front doors and services call. */
const struct door_ops *node__door_ops(void);
/* After dht_start: creates and starts n->onion (leaves NULL where the configuration rules it out).
 */
CYX_MUST_USE int node__onion_open(struct node *n, struct cyx_err *err);
/* Closes streams and paths, then done(arg) from the loop, or at once when there is nothing. Before
 * dht_stop. */
void node__onion_stop(struct node *n, env_fn done, void *arg);
/* After node__onion_stop, before dht_destroy. */
void node__onion_destroy(struct node *n);
/* Nine members of a map. */
void node__pack_onion(msgpack_packer *pk, const struct onion_summary *s);
void node__onion_metrics(struct node *n, metric_fn fn, void *arg);
