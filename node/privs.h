/* node/privs.h - who the process is, and giving that up. */
#pragma once
#include "base/err.h"
#include "node/config.h"

/* As root: makes missing folders for data and the control socket, gives them to the configured user
 * (default cyxd) and becomes that user for good, without capabilities or other groups than its own
 * and the control socket's. As an ordinary user: makes the folders. Must run before any thread is
 * started. CYX_EPERM with the command that helps. */
CYX_MUST_USE int node_privs_become(const struct node_config *c, struct cyx_err *err);

/* Gives up every capability in all five sets, and the right to gain any by exec (no_new_privs). For
 * this thread and those it starts. */
CYX_MUST_USE int node_privs_clear(struct cyx_err *err);

/* umask 077, no core dumps, as many descriptors as the hard limit allows. */
CYX_MUST_USE int node_privs_harden(struct cyx_err *err);

/* Gives the control socket's file to the configured group. */
CYX_MUST_USE int node_privs_share(const char *path, const char *group, struct cyx_err *err);
