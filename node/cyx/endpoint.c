#include "node/cyx/endpoint.h"

#include <unistd.h>

void endpoint_params_init(struct endpoint_params *p, uint32_t members)
{
    msgpack_sbuffer_init(&p->buf);
    msgpack_packer_init(&p->pk, &p->buf, msgpack_sbuffer_write);
    msgpack_pack_map(&p->pk, members);
}

void endpoint_params_str(struct endpoint_params *p, const char *key, const char *value)
{
    mp_pack_str(&p->pk, key);
    mp_pack_str(&p->pk, value);
}

void endpoint_params_bool(struct endpoint_params *p, const char *key, bool value)
{
    mp_pack_str(&p->pk, key);
    if (value)
        msgpack_pack_true(&p->pk);
    else
        msgpack_pack_false(&p->pk);
}

int endpoint_call(struct cli *c, const char *method, struct endpoint_params *p,
                  client_notify_fn notify, void *arg,
                  int (*show)(const struct cli *c, const msgpack_object *result))
{
    /* An attempt to reach an endpoint may be silent for a while; what bounds it is the daemon's. */
    enum { ANSWER_MS = 200000 };
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    struct client *client = cyx_connect(c);
    if (client == NULL) {
        msgpack_sbuffer_destroy(&p->buf);
        return CLI_UNREACHABLE;
    }
    int rc =
        client_call(client, method, p->buf.data, p->buf.size, ANSWER_MS, notify, arg, &r, &err);
    if (notify != NULL && !cli_flag(c, "json") && isatty(STDERR_FILENO) == 1)
        fputs("\r\033[K", stderr); /* a line of progress, if there is one */
    int status = rc < 0 ? cyx_failed(c, &err) : CLI_OK;
    if (status == CLI_OK && cli_flag(c, "json") && !show_json(stdout, r))
        status = CLI_FAILED;
    if (status == CLI_OK && show != NULL)
        status = show(c, r);
    client_close(client);
    msgpack_sbuffer_destroy(&p->buf);
    return status;
}
