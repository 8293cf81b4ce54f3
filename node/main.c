/* cyxd: the daemon. */
#include <stdio.h>

#include "node/node_internal.h"
#include "node/options.h"
#include "node/process.h"

int main(int argc, char **argv)
{
    struct node_options o;
    struct cyx_err err = { 0 };
    if (node_options_parse(&o, argc, argv, &err) < 0) {
        fprintf(stderr, "cyxd: %s\n%s", err.msg, node_options_help);
        return NODE_EXIT_USAGE;
    }
    switch (o.action) {
    case NODE_HELP:
        fputs(node_options_help, stdout);
        return NODE_EXIT_OK;
    case NODE_VERSION:
        printf("cyxd %s (protocol %d.%d.%d, role ABI %d)\n", CYX_VERSION, MESH_MAJOR,
               MESH_VERSION_MINOR, MESH_VERSION_PATCH, NODE_ROLE_ABI);
        return NODE_EXIT_OK;
    case NODE_CHECK:
        return node_process_check(&o);
    case NODE_PRINT_CONFIG:
        return node_process_print_config(&o);
    case NODE_RUN:
        return node_process(&o);
    }
    return NODE_EXIT_FAILURE;
}
