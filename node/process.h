/* node/process.h - the daemon from its command line to its exit status. */
#pragma once
#include "node/options.h"

/* Runs until it is stopped. Returns the exit status (enum node_exit). Errors go to standard error
 * as one line: what failed, why, what to do. */
int node_process(const struct node_options *o);

/* --check: "ok" on standard output, or every complaint on standard error and NODE_EXIT_FAILURE. */
int node_process_check(const struct node_options *o);
/* --print-config. */
int node_process_print_config(const struct node_options *o);
