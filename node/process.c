/* What cyxd does instead of running: --check, --print-config. */
#include "node/process.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/secret.h"
#include "node/roles.h"
#include "node/start.h"

static int load(const struct node_options *o, struct node_config *c, struct role_set **set,
                struct cyx_err *err)
{
    struct node_overrides over;
    int rc = secret_init(err);
    return rc == 0 ? node__load_config(c, set, o, &over, err) : rc;
}

int node_process_check(const struct node_options *o)
{
    struct node_config *c = calloc(1, sizeof *c);
    struct role_set *set = NULL;
    struct cyx_err err = { 0 };
    if (c == NULL)
        return NODE_EXIT_FAILURE;
    int rc = load(o, c, &set, &err);
    /* Complaints about contents are out already; a file that can't be read has none. */
    if (rc == 0)
        puts("ok");
    else if (rc == CYX_ENOENT || rc == CYX_EIO || rc == CYX_EFULL)
        fprintf(stderr, "cyxd: %s\n", err.msg);
    node_config_fini(c);
    roles_destroy(set);
    free(c);
    return rc == 0 ? NODE_EXIT_OK : NODE_EXIT_FAILURE;
}

static void put(void *arg, const char *text)
{
    (void)arg;
    fputs(text, stdout);
}

int node_process_print_config(const struct node_options *o)
{
    const struct conf_item *schemas[NODE_ROLES_MAX + 1] = { node_schema };
    struct node_config *c = calloc(1, sizeof *c);
    struct role_set *set = NULL;
    struct cyx_err err = { 0 };
    size_t n = 1;
    if (c == NULL)
        return NODE_EXIT_FAILURE;
    /* With a file that names roles their settings are printed too. */
    if (o->config != NULL && load(o, c, &set, &err) < 0) {
        roles_destroy(set);
        free(c);
        return NODE_EXIT_FAILURE;
    }
    n += roles_schemas(set, schemas + 1, NODE_ROLES_MAX);
    conf_print_schema(put, NULL, schemas, n);
    node_config_fini(c);
    roles_destroy(set);
    free(c);
    return fflush(stdout) == 0 ? NODE_EXIT_OK : NODE_EXIT_FAILURE;
}
