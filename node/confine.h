/* node/confine.h - puts the process into its sandbox, as configured, and says what it got. */
#pragma once
#include "node/node_internal.h"

/* Gives up capabilities and new privileges, closes the file system but for what the node needs, and
 * closes the list of system calls. Fills n->sandbox. No thread may run yet: Landlock and
 * capabilities belong to a thread and are inherited. CYX_EUNSUPPORTED when something is missing
 * that `required` asks for. */
CYX_MUST_USE int node__confine(struct node *n, struct cyx_err *err);
