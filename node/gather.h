/* node/gather.h - the workers' figures as one: each worker copies its own on its thread, worker 0
 * goes on when all have answered. Nothing waits. */
#pragma once
#include "node/control.h"
#include "node/node_internal.h"

enum node_gather_what { NODE_GATHER_STATUS = 1, NODE_GATHER_LINKS = 2, NODE_GATHER_METRICS = 4 };

struct node_gathered {
    struct mesh_status status;    /* sums; what only one can know is worker 0's */
    struct mesh_link_info *links; /* with NODE_GATHER_LINKS */
    size_t n_links;
    struct metric *metrics; /* with NODE_GATHER_METRICS: the meshes', summed by name and label */
    size_t n_metrics;
    bool is_short; /* memory was out: something is missing */
};

/* Borrowed for the call. */
typedef void (*node_gathered_fn)(void *arg, const struct node_gathered *g);

/* Calls fn exactly once, before it returns when there is one worker. All zero while no mesh is
 * open. */
void node__gather(struct node *n, unsigned what, node_gathered_fn fn, void *arg);

/* The same for a control call; fn must reply. It isn't called when the caller goes away. */
typedef void (*node_gathered_call_fn)(struct node *n, struct node_call *call,
                                      const struct node_gathered *g);
void node__gather_call(struct node *n, struct node_call *call, unsigned what,
                       node_gathered_call_fn fn);
