/* cyx dht stats, find; what all of `cyx dht` share. */
#include "node/cyx/dht.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- calling --------------------------------------------------------------------------------- */

void dht_params_init(struct dht_params *p, uint32_t members)
{
    p->w = writer_on(p->buf, sizeof p->buf);
    mp_packer(&p->pk, &p->w);
    msgpack_pack_map(&p->pk, members);
}

void dht_params_str(struct dht_params *p, const char *key, const char *value)
{
    mp_pack_str(&p->pk, key);
    mp_pack_str(&p->pk, value);
}

void dht_params_bool(struct dht_params *p, const char *key, bool value)
{
    mp_pack_str(&p->pk, key);
    if (value)
        msgpack_pack_true(&p->pk);
    else
        msgpack_pack_false(&p->pk);
}

struct waiting {
    bool is_shown; /* on a terminal that belongs to a person */
    bool has_line;
};

/* One line on standard error, drawn over and over. */
static bool show_waiting(void *arg, const char *kind, const msgpack_object *value)
{
    struct waiting *w = arg;
    char stage[CYX_CELL];
    (void)kind;
    if (!w->is_shown)
        return true;
    fprintf(stderr, "\r%s: %.0f s ", show_str(value, "stage", stage, sizeof stage),
            show_number(value, "seconds"));
    fflush(stderr);
    w->has_line = true;
    return true;
}

int dht_call(struct cli *c, const char *method, const struct dht_params *p,
             int (*show)(const struct cli *c, const msgpack_object *result))
{
    struct waiting w = { .is_shown = !cli_flag(c, "json") && isatty(STDERR_FILENO) == 1 };
    struct cyx_err err = { 0 };
    const msgpack_object *r = NULL;
    if (!writer_ok(&p->w))
        return cli_error(c, CLI_USAGE, "the arguments are too long");
    struct client *client = cyx_connect(c);
    if (client == NULL)
        return CLI_UNREACHABLE;
    int rc = client_call(client, method, p->buf, writer_len(&p->w), CYX_ANSWER_MS, show_waiting, &w,
                         &r, &err);
    if (w.has_line)
        fputs("\r\033[K", stderr);
    int status = CLI_OK;
    if (rc < 0)
        status = cyx_failed(c, &err);
    else if (cli_flag(c, "json"))
        status = show_json(stdout, r) ? CLI_OK : CLI_FAILED;
    if (rc == 0 && show != NULL && status == CLI_OK)
        status = show(c, r);
    client_close(client);
    return status;
}

void dht_show_figures(const msgpack_object *r)
{
    char line[CYX_CELL], t[SHOW_TEXT];
    if (show_bool(r, "cached"))
        snprintf(line, sizeof line, "nobody asked: the answer was remembered (--fresh asks)");
    else
        snprintf(line, sizeof line,
                 "%" PRIu64 " nodes asked, %" PRIu64 " answered, %" PRIu64 " hops, %s",
                 show_u64(r, "asked"), show_u64(r, "answered"), show_u64(r, "hops"),
                 show_seconds(show_number(r, "time"), t));
    cyx_line("lookup", line);
}

void dht_show_expiry(const msgpack_object *record, const char *label)
{
    char t[SHOW_TEXT];
    cyx_line(label, show_seconds((double)show_u64(record, "expires_in"), t));
}

/* ---- find ------------------------------------------------------------------------------------ */

static void add_node(struct show_table *t, const msgpack_object *n)
{
    char text[CYX_CELL];
    snprintf(text, sizeof text, "%" PRIu64, show_u64(n, "shared"));
    show_table_cell(t, text);
    show_table_cell(t, show_str(n, "id", text, sizeof text));
    show_table_cell(t, show_str(n, "address", text, sizeof text));
}

static int show_nodes(const struct cli *c, const msgpack_object *r)
{
    static const char *const titles[] = { "BITS", "NODE", "ADDRESS" };
    const msgpack_object *nodes = mp_get(r, "nodes");
    if (cli_flag(c, "json"))
        return CLI_OK;
    dht_show_figures(r);
    struct show_table *t = show_table_create(titles, sizeof titles / sizeof *titles);
    for (uint32_t i = 0;
         nodes != NULL && nodes->type == MSGPACK_OBJECT_ARRAY && i < nodes->via.array.size; i++)
        add_node(t, &nodes->via.array.ptr[i]);
    show_table_print(t, stdout);
    show_table_destroy(t);
    return CLI_OK;
}

int cyx_dht_find(struct cli *c)
{
    struct dht_params p;
    dht_params_init(&p, 2);
    dht_params_str(&p, "key", c->args[0]);
    dht_params_bool(&p, "direct", cli_flag(c, "direct"));
    return dht_call(c, "dht-find", &p, show_nodes);
}

/* ---- stats ----------------------------------------------------------------------------------- */

static void show_store(const msgpack_object *r)
{
    char line[CYX_CELL], used[SHOW_TEXT], most[SHOW_TEXT];
    const msgpack_object *of = mp_get(r, "stored_of");
    snprintf(line, sizeof line,
             "%" PRIu64 " records of %" PRIu64 " publishers by %" PRIu64 " sources, %s of %s",
             show_u64(r, "stored"), show_u64(r, "publishers"), show_u64(r, "sources"),
             show_bytes((double)show_u64(r, "stored_bytes"), used),
             show_bytes((double)show_u64(r, "store_max"), most));
    cyx_line("store", show_bool(r, "serving") ? line : "none: this node is not listed");
    if (!show_bool(r, "serving"))
        return;
    snprintf(line, sizeof line,
             "%" PRIu64 " node, %" PRIu64 " descriptor, %" PRIu64 " provider, %" PRIu64 " offer",
             show_u64(of, "node"), show_u64(of, "descriptor"), show_u64(of, "provider"),
             show_u64(of, "offer"));
    cyx_line("", line);
}

static int show_stats(const struct cli *c, const msgpack_object *r)
{
    char line[CYX_CELL];
    if (cli_flag(c, "json"))
        return CLI_OK;
    cyx_line("state",
             show_bool(r, "ready") ? "ready" : "joining: its neighbours are not known yet");
    snprintf(line, sizeof line,
             "%" PRIu64 " nodes in %" PRIu64 " buckets, %" PRIu64 " more in reserve",
             show_u64(r, "contacts"), show_u64(r, "buckets"), show_u64(r, "replacements"));
    cyx_line("table", line);
    show_store(r);
    snprintf(line, sizeof line, "%" PRIu64 " of at most %" PRIu64 " listed nodes",
             show_u64(r, "roster"), show_u64(r, "roster_max"));
    cyx_line("roster", line);
    snprintf(line, sizeof line,
             "%" PRIu64 " under way, %" PRIu64 " wait, %" PRIu64 " answers remembered",
             show_u64(r, "lookups"), show_u64(r, "waiting"), show_u64(r, "cached"));
    cyx_line("lookups", line);
    snprintf(line, sizeof line, "%" PRIu64 " records", show_u64(r, "own"));
    cyx_line("publishes", line);
    snprintf(line, sizeof line, "about %" PRIu64 " listed nodes", show_u64(r, "estimate"));
    cyx_line("network", line);
    return CLI_OK;
}

int cyx_dht_stats(struct cli *c)
{
    struct dht_params p;
    dht_params_init(&p, 0);
    return dht_call(c, "dht-stats", &p, show_stats);
}
