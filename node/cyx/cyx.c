#include "node/cyx/cyx.h"

#include <stdlib.h>

#include "node/paths.h"

struct client *cyx_connect(const struct cli *c)
{
    char found[NODE_SOCKET_MAX];
    const char *path = cli_value(c, "control");
    if (path == NULL)
        path = getenv("CYX_CONTROL");
    if (path == NULL || *path == '\0') {
        node_find_control(found);
        path = found;
    }
    struct cyx_err err = { 0 };
    struct client *client = client_open(path, &err);
    if (client == NULL)
        cli_error(c, CLI_UNREACHABLE, "%s", err.msg);
    return client;
}

int cyx_failed(const struct cli *c, const struct cyx_err *err)
{
    return cli_error(c, err->code == CYX_ECLOSED ? CLI_UNREACHABLE : CLI_FAILED, "%s", err->msg);
}

int cyx_simple(struct cli *c, const char *method, const void *params, size_t params_len,
               unsigned timeout_ms, int (*show)(const struct cli *c, const msgpack_object *result))
{
    struct cyx_err err = { 0 };
    const msgpack_object *result = NULL;
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    int status = CLI_OK;
    if (client_call(client, method, params, params_len, timeout_ms, NULL, NULL, &result, &err) < 0)
        status = cyx_failed(c, &err);
    else if (cli_flag(c, "json"))
        status = show_json(stdout, result) ? CLI_OK : CLI_FAILED;
    else if (show != NULL)
        status = show(c, result);
    client_close(client);
    return status;
}

void cyx_line(const char *label, const char *value)
{
    printf("%-14s %s\n", label, value);
}
