/* cyx expose, unexpose, services. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/cyx/endpoint.h"

/* ---- expose ---------------------------------------------------------------------------------- */

/* One line on standard error, drawn over and over. */
static bool show_waiting(void *arg, const char *kind, const msgpack_object *value)
{
    const bool *is_shown = arg; /* on a terminal that belongs to a person */
    char stage[CYX_CELL], trouble[CYX_CELL];
    (void)kind;
    if (!*is_shown)
        return true;
    show_str(value, "trouble", trouble, sizeof trouble);
    fprintf(stderr, "\r\033[K%s, %" PRIu64 " of %" PRIu64 " pivots: %.0f s%s%s ",
            show_str(value, "stage", stage, sizeof stage), show_u64(value, "pivots"),
            show_u64(value, "pivots_wanted"), show_number(value, "seconds"),
            *trouble != '\0' ? ": " : "", trouble);
    fflush(stderr);
    return true;
}

static void show_ports(const msgpack_object *r)
{
    char line[CYX_CELL], backend[CYX_CELL], kind[CYX_CELL];
    const msgpack_object *ports = mp_get(r, "ports");
    for (uint32_t i = 0;
         ports != NULL && ports->type == MSGPACK_OBJECT_ARRAY && i < ports->via.array.size; i++) {
        const msgpack_object *p = &ports->via.array.ptr[i];
        show_str(p, "kind", kind, sizeof kind);
        snprintf(line, sizeof line, "%" PRIu64 " -> %s%s", show_u64(p, "port"),
                 show_str(p, "backend", backend, sizeof backend),
                 strcmp(kind, "stream") == 0 ? "" : " (datagrams too)");
        cyx_line("port", line);
    }
}

static int show_exposed(const struct cli *c, const msgpack_object *r)
{
    char text[CYX_CELL];
    if (cli_flag(c, "json"))
        return CLI_OK;
    cyx_line("address", show_str(r, "address", text, sizeof text));
    cyx_line("name", show_str(r, "name", text, sizeof text));
    show_ports(r);
    if (show_u64(r, "clients") > 0) {
        snprintf(text, sizeof text, "%" PRIu64 " client keys may find it", show_u64(r, "clients"));
        cyx_line("for", text);
    }
    show_str(r, "state", text, sizeof text);
    cyx_line("state", strcmp(text, "ready") == 0 ? "ready: found from outside" : text);
    return CLI_OK;
}

static size_t count_values(const struct cli *c, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_values; i++)
        n += strcmp(c->values[i].option->name, name) == 0 ? 1 : 0;
    return n;
}

static void pack_keys(struct endpoint_params *p, const struct cli *c)
{
    mp_pack_str(&p->pk, "auth");
    msgpack_pack_array(&p->pk, count_values(c, "auth"));
    for (size_t i = 0; i < c->n_values; i++)
        if (strcmp(c->values[i].option->name, "auth") == 0)
            mp_pack_str(&p->pk, c->values[i].value);
}

/* Pieces between commas; a unix socket's path has none. */
static void pack_pieces(struct endpoint_params *p, const char *list)
{
    size_t n = *list != '\0' ? 1 : 0;
    for (const char *at = list; *at != '\0'; at++)
        n += *at == ',' ? 1 : 0;
    mp_pack_str(&p->pk, "ports");
    msgpack_pack_array(&p->pk, n);
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(list, ",");
        msgpack_pack_str(&p->pk, len);
        msgpack_pack_str_body(&p->pk, list, len);
        list += list[len] == ',' ? len + 1 : len;
    }
}

int cyx_expose(struct cli *c)
{
    struct endpoint_params p;
    bool is_shown = !cli_flag(c, "json") && isatty(STDERR_FILENO) == 1;
    const char *name = cli_value(c, "name"), *ports = cli_value(c, "ports");
    endpoint_params_init(&p, 5u + (name != NULL ? 1 : 0));
    endpoint_params_str(&p, "backend", c->args[0]);
    endpoint_params_bool(&p, "udp", cli_flag(c, "udp"));
    endpoint_params_bool(&p, "wait", !cli_flag(c, "no-wait"));
    pack_keys(&p, c);
    pack_pieces(&p, ports != NULL ? ports : "");
    if (name != NULL)
        endpoint_params_str(&p, "name", name);
    return endpoint_call(c, "expose", &p, show_waiting, &is_shown, show_exposed);
}

/* ---- unexpose -------------------------------------------------------------------------------- */

static int show_unexposed(const struct cli *c, const msgpack_object *r)
{
    char name[CYX_CELL];
    if (!cli_flag(c, "json"))
        printf("%s is off%s\n", show_str(r, "name", name, sizeof name),
               cli_flag(c, "forget") ? ", and its key is gone" : "");
    return CLI_OK;
}

int cyx_unexpose(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 2);
    endpoint_params_str(&p, "name", c->args[0]);
    endpoint_params_bool(&p, "forget", cli_flag(c, "forget"));
    return endpoint_call(c, "unexpose", &p, NULL, NULL, show_unexposed);
}

/* ---- services -------------------------------------------------------------------------------- */

static void ports_cell(const msgpack_object *r, char out[static CYX_CELL])
{
    size_t at = 0;
    const msgpack_object *ports = mp_get(r, "ports");
    out[0] = '\0';
    for (uint32_t i = 0; ports != NULL && ports->type == MSGPACK_OBJECT_ARRAY &&
                         i < ports->via.array.size && at < CYX_CELL - 8;
         i++)
        at += (size_t)snprintf(out + at, CYX_CELL - at, "%s%u", at > 0 ? "," : "",
                               (unsigned)show_u64(&ports->via.array.ptr[i], "port"));
}

static void add_row(struct show_table *t, const msgpack_object *r)
{
    char text[CYX_CELL];
    show_table_cell(t, show_str(r, "name", text, sizeof text));
    show_table_cell(t, show_str(r, "state", text, sizeof text));
    ports_cell(r, text);
    show_table_cell(t, text);
    snprintf(text, sizeof text, "%" PRIu64, show_u64(r, "streams") + show_u64(r, "flows"));
    show_table_cell(t, text);
    show_table_cell(t, show_str(r, "address", text, sizeof text));
}

static int show_services(const struct cli *c, const msgpack_object *r)
{
    static const char *const titles[] = { "NAME", "STATE", "PORTS", "VISITS", "ADDRESS" };
    char name[CYX_CELL], text[CYX_CELL];
    if (cli_flag(c, "json") || r->type != MSGPACK_OBJECT_ARRAY)
        return CLI_OK;
    struct show_table *t = show_table_create(titles, sizeof titles / sizeof *titles);
    for (uint32_t i = 0; i < r->via.array.size; i++) {
        const msgpack_object *row = &r->via.array.ptr[i];
        if (cli_flag(c, "names"))
            puts(show_str(row, "name", name, sizeof name));
        else
            add_row(t, row);
    }
    if (!cli_flag(c, "names"))
        show_table_print(t, stdout);
    show_table_destroy(t);
    for (uint32_t i = 0; i < r->via.array.size && !cli_flag(c, "names"); i++) {
        const msgpack_object *row = &r->via.array.ptr[i];
        show_str(row, "trouble", text, sizeof text);
        if (show_bool(row, "on") && *text != '\0')
            printf("%s: %s\n", show_str(row, "name", name, sizeof name), text);
    }
    return CLI_OK;
}

int cyx_services(struct cli *c)
{
    struct endpoint_params p;
    endpoint_params_init(&p, 0);
    return endpoint_call(c, "services", &p, NULL, NULL, show_services);
}
