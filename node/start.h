/* node/start.h - the steps of start-up, in their fixed order (enum node_step). */
#pragma once
#include "node/node_internal.h"
#include "node/options.h"

/* Everything up to the sandbox; what was opened is closed by node__finish, on failure too. */
CYX_MUST_USE int node__start(struct node *n, const struct node_options *o, struct cyx_err *err);
/* In the loop, sandboxed: new keys to disk, then stores and sockets, then roles. Failure ends in
 * node__stop. */
void node__start_mesh(struct node *n);
/* Frees everything; the loop has ended or never ran. */
void node__finish(struct node *n);

/* Loads the file and the roles it names. Complaints go to standard error. `set` gets the roles. */
struct role_set;
CYX_MUST_USE int node__load_config(struct node_config *out, struct role_set **set,
                                   const struct node_options *o, struct node_overrides *over,
                                   struct cyx_err *err);
