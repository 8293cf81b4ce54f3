/* cyx log: the daemon's last lines, and with --follow the ones to come. cyx log-level. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "node/cyx/cyx.h"

static void show_line(const struct cli *c, const msgpack_object *line)
{
    char when[40] = "", level[16], object[64], msg[1100];
    if (cli_flag(c, "json")) {
        show_json(stdout, line);
        return;
    }
    double t = show_number(line, "time");
    time_t at = isnan(t) ? 0 : (time_t)t;
    struct tm tm;
    if (localtime_r(&at, &tm) != NULL)
        strftime(when, sizeof when, "%H:%M:%S", &tm);
    printf("%s %-5s %s: %s\n", when, show_str(line, "level", level, sizeof level),
           show_str(line, "object", object, sizeof object),
           show_str(line, "message", msg, sizeof msg));
}

static bool on_line(void *arg, const char *kind, const msgpack_object *value)
{
    if (strcmp(kind, "log") == 0)
        show_line(arg, value);
    fflush(stdout);
    return !ferror(stdout);
}

static size_t pack_params(const struct cli *c, long lines, uint8_t *buf, size_t cap)
{
    struct writer w = writer_on(buf, cap);
    const char *level = cli_value(c, "level");
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, level != NULL ? 3 : 2);
    mp_pack_str(&pk, "follow");
    if (cli_flag(c, "follow"))
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
    if (level != NULL) {
        mp_pack_str(&pk, "level");
        mp_pack_str(&pk, level);
    }
    mp_pack_str(&pk, "lines");
    msgpack_pack_int64(&pk, lines);
    return writer_len(&w);
}

static void show_lines(const struct cli *c, const msgpack_object *r)
{
    for (uint32_t i = 0; r->type == MSGPACK_OBJECT_ARRAY && i < r->via.array.size; i++)
        show_line(c, &r->via.array.ptr[i]);
}

static int follow(struct cli *c, struct client *client)
{
    struct cyx_err err = { 0 };
    fflush(stdout);
    int rc = client_follow(client, on_line, c, &err);
    if (rc == CYX_ECANCELED)
        return cli_error(c, CLI_FAILED, "can't write the output");
    return rc < 0 ? cyx_failed(c, &err) : CLI_OK;
}

int cyx_log(struct cli *c)
{
    long lines = 0;
    uint8_t buf[256];
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    int status = cli_number(c, "lines", 0, 512, 50, &lines);
    if (status != 0)
        return status;
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    size_t len = pack_params(c, lines, buf, sizeof buf);
    if (client_call(client, "log", buf, len, CYX_ANSWER_MS, NULL, NULL, &r, &err) < 0) {
        status = cyx_failed(c, &err);
    } else {
        show_lines(c, r);
        if (cli_flag(c, "follow"))
            status = follow(c, client);
    }
    client_close(client);
    return status;
}

static int show_level(const struct cli *c, const msgpack_object *r)
{
    char level[32];
    (void)c;
    printf("The log level is %s.\n", show_str(r, "level", level, sizeof level));
    return CLI_OK;
}

int cyx_log_level(struct cli *c)
{
    uint8_t buf[64];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 1);
    mp_pack_str(&pk, "level");
    mp_pack_str(&pk, c->args[0]);
    if (!writer_ok(&w))
        return cli_error(c, CLI_USAGE, "%s: want error, warn, info or debug", c->args[0]);
    return cyx_simple(c, "log-level", buf, writer_len(&w), CYX_ANSWER_MS, show_level);
}
