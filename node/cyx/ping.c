/* cyx ping NODE: sends PINGs over the link to a node and shows each answer as it comes. */
#include <inttypes.h>
#include <math.h>

#include "node/cyx/cyx.h"

/* The daemon gives a dial 10 s and then says why it failed: that word must come in time. */
enum { PING_ANSWER_MS = CYX_ANSWER_MS + 5000 };

struct ping {
    const struct cli *c;
    unsigned n;
};

static bool show_reply(void *arg, const char *kind, const msgpack_object *value)
{
    struct ping *p = arg;
    char t[SHOW_TEXT];
    (void)kind;
    p->n++;
    if (cli_flag(p->c, "json"))
        return true;
    if (value->type == MSGPACK_OBJECT_FLOAT64 || value->type == MSGPACK_OBJECT_FLOAT32)
        printf("reply %u in %s\n", p->n, show_seconds(value->via.f64, t));
    else
        printf("no reply to %u within 3 s\n", p->n);
    fflush(stdout);
    return true;
}

static void show_summary(const msgpack_object *r)
{
    char node[CYX_CELL], address[CYX_CELL], lo[SHOW_TEXT], mid[SHOW_TEXT], hi[SHOW_TEXT];
    show_str(r, "node", node, sizeof node);
    show_str(r, "address", address, sizeof address);
    printf("%s at %s: %" PRIu64 " sent, %" PRIu64 " received", node, address, show_u64(r, "sent"),
           show_u64(r, "received"));
    if (show_u64(r, "received") > 0)
        printf(", min/avg/max %s / %s / %s", show_seconds(show_number(r, "min"), lo),
               show_seconds(show_number(r, "avg"), mid), show_seconds(show_number(r, "max"), hi));
    putchar('\n');
}

static int run_ping(struct cli *c, struct client *client, long count)
{
    uint8_t buf[512];
    struct writer w = writer_on(buf, sizeof buf);
    struct ping p = { .c = c };
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 2);
    mp_pack_str(&pk, "count");
    msgpack_pack_int64(&pk, count);
    mp_pack_str(&pk, "node");
    mp_pack_str(&pk, c->args[0]);
    if (!writer_ok(&w))
        return cli_error(c, CLI_USAGE, "%s: too long for a node", c->args[0]);
    if (client_call(client, "ping", buf, writer_len(&w), PING_ANSWER_MS, show_reply, &p, &r, &err))
        return cyx_failed(c, &err);
    if (cli_flag(c, "json"))
        show_json(stdout, r);
    else
        show_summary(r);
    return show_u64(r, "received") > 0 ? CLI_OK : CLI_FAILED;
}

int cyx_ping(struct cli *c)
{
    long count = 0;
    int status = cli_number(c, "count", 1, 100, 4, &count);
    if (status != 0)
        return status;
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    status = run_ping(c, client, count);
    client_close(client);
    return status;
}
