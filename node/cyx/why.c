/* cyx why, cyx paths. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/cyx/endpoint.h"

/* ---- why ------------------------------------------------------------------------------------- */

/* Each stage as it is done. */
static bool show_step(void *arg, const char *kind, const msgpack_object *s)
{
    const struct cli *c = arg;
    char stage[CYX_CELL], detail[CYX_CELL], fail[CYX_CELL], t[SHOW_TEXT];
    (void)kind;
    if (cli_flag(c, "json"))
        return true;
    show_str(s, "fail", fail, sizeof fail);
    printf("%-11s %-6s %9s  %s\n", show_str(s, "stage", stage, sizeof stage),
           show_bool(s, "ok") ? "ok" : "FAILED", show_seconds(show_number(s, "time"), t),
           show_str(s, "detail", detail, sizeof detail));
    fflush(stdout);
    return true;
}

static int show_why(const struct cli *c, const msgpack_object *r)
{
    char text[CYX_CELL], cure[CYX_CELL];
    bool is_ok = show_bool(r, "ok");
    if (!cli_flag(c, "json") && is_ok) {
        printf("reached %s, port %" PRIu64 "\n", show_str(r, "address", text, sizeof text),
               show_u64(r, "port"));
    } else if (!cli_flag(c, "json")) {
        printf("not reached: %s\n", show_str(r, "text", text, sizeof text));
        printf("-> %s\n", show_str(r, "cure", cure, sizeof cure));
    }
    return is_ok ? CLI_OK : CLI_FAILED;
}

int cyx_why(struct cli *c)
{
    struct endpoint_params p;
    char *end = NULL;
    unsigned long port = c->n_args > 1 ? strtoul(c->args[1], &end, 10) : 80;
    if (port < 1 || port > UINT16_MAX || (end != NULL && *end != '\0'))
        return cli_error(c, CLI_USAGE, "%s: want a port from 1 to 65535", c->args[1]);
    endpoint_params_init(&p, 2);
    endpoint_params_str(&p, "name", c->args[0]);
    mp_pack_str(&p.pk, "port");
    msgpack_pack_uint64(&p.pk, port);
    return endpoint_call(c, "why", &p, show_step, c, show_why);
}

/* ---- paths ----------------------------------------------------------------------------------- */

enum { SHORT_ID = 8 };

static void hops_cell(const msgpack_object *row, char out[static CYX_CELL])
{
    const msgpack_object *hops = mp_get(row, "hops");
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; hops != NULL && hops->type == MSGPACK_OBJECT_ARRAY &&
                         i < hops->via.array.size && at < CYX_CELL - 16;
         i++) {
        const char *id = "";
        char clean[SHORT_ID + 1];
        size_t len = 0;
        mp_str(&hops->via.array.ptr[i], &id, &len);
        at +=
            (size_t)snprintf(out + at, CYX_CELL - at, "%s%s", at > 0 ? " " : "",
                             show_clean(id, len < SHORT_ID ? len : SHORT_ID, clean, sizeof clean));
    }
}

static void add_path(struct show_table *t, const msgpack_object *row)
{
    char text[CYX_CELL], time[SHOW_TEXT];
    snprintf(text, sizeof text, "%" PRIu64, show_u64(row, "path"));
    show_table_cell(t, text);
    show_table_cell(t, show_str(row, "purpose", text, sizeof text));
    show_table_cell(t, show_str(row, "state", text, sizeof text));
    show_table_cell(t, show_seconds(show_number(row, "age"), time));
    show_table_cell(t, show_seconds(show_number(row, "build"), time));
    snprintf(text, sizeof text, "%" PRIu64 "/%" PRIu64, show_u64(row, "sent"),
             show_u64(row, "received"));
    show_table_cell(t, text);
    hops_cell(row, text);
    show_table_cell(t, text);
}

static int show_paths(const struct cli *c, const msgpack_object *r)
{
    static const char *const titles[] = {
        "PATH", "FOR", "STATE", "AGE", "BUILD", "CELLS", "RELAYS"
    };
    char line[CYX_CELL];
    const msgpack_object *paths = mp_get(r, "paths");
    if (cli_flag(c, "json"))
        return CLI_OK;
    snprintf(line, sizeof line,
             "%s; %" PRIu64 " relays known, %" PRIu64 " guards up, %" PRIu64
             " paths of others go through here",
             show_bool(r, "ready") ? "ready" : "not ready", show_u64(r, "relays"),
             show_u64(r, "guards_up"), show_u64(r, "paths_through"));
    cyx_line("state", line);
    struct show_table *t = show_table_create(titles, sizeof titles / sizeof *titles);
    for (uint32_t i = 0;
         paths != NULL && paths->type == MSGPACK_OBJECT_ARRAY && i < paths->via.array.size; i++)
        add_path(t, &paths->via.array.ptr[i]);
    show_table_print(t, stdout);
    show_table_destroy(t);
    return CLI_OK;
}

int cyx_paths(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 0);
    return endpoint_call(c, "paths", &p, NULL, NULL, show_paths);
}
