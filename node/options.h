/* node/options.h - cyxd's command line. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

enum node_action {
    NODE_RUN,
    NODE_CHECK,        /* --check: "ok", or every complaint */
    NODE_PRINT_CONFIG, /* --print-config: a commented file with every default */
    NODE_VERSION,
    NODE_HELP
};

struct node_options {
    enum node_action action;
    const char *config;   /* NULL: /etc/cyxd/cyxd.toml if it is there */
    const char *data_dir; /* NULL: as configured */
    const char *role_dir;
    const char *user;
    bool is_verbose; /* -v: debug */
};

/* Strings borrow from argv. CYX_EINVAL with a message for standard error. */
CYX_MUST_USE int node_options_parse(struct node_options *out, int argc, char *const *argv,
                                    struct cyx_err *err);
extern const char node_options_help[];
