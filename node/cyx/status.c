/* cyx status, metrics, stop, time-accept, call. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/cyx/cyx.h"

static void show_clock(const msgpack_object *r)
{
    char state[CYX_CELL], text[CYX_CELL];
    show_str(r, "time_state", state, sizeof state);
    if (strcmp(state, "own") == 0)
        snprintf(text, sizeof text, "agrees with the peers");
    else if (strcmp(state, "unchecked") == 0)
        snprintf(text, sizeof text, "own, no peer has told its time yet");
    else
        snprintf(text, sizeof text, "%s (peers differ by %.0f s; see cyx doctor)", state,
                 show_number(r, "time_offset"));
    cyx_line("clock", text);
}

static void show_roles(const msgpack_object *roles)
{
    if (roles == NULL || roles->type != MSGPACK_OBJECT_ARRAY)
        return;
    for (uint32_t i = 0; i < roles->via.array.size; i++) {
        const msgpack_object *role = &roles->via.array.ptr[i];
        char name[64], health[32], text[CYX_CELL], line[512];
        snprintf(line, sizeof line, "%s: %s %s", show_str(role, "name", name, sizeof name),
                 show_str(role, "health", health, sizeof health),
                 show_str(role, "text", text, sizeof text));
        cyx_line("role", line);
    }
}

static void show_links(const msgpack_object *r)
{
    char line[CYX_CELL];
    snprintf(line, sizeof line,
             "%" PRIu64 " (%" PRIu64 " to listed nodes), %" PRIu64 " nodes known, %" PRIu64
             " of %" PRIu64 " bootstrap peers linked",
             show_u64(r, "links"), show_u64(r, "links_listed"), show_u64(r, "known"),
             show_u64(r, "bootstrap_up"), show_u64(r, "bootstrap_total"));
    cyx_line("links", line);
}

static void show_addresses(const msgpack_object *r)
{
    char local[CYX_CELL], seen[CYX_CELL], line[3 * CYX_CELL];
    show_str(r, "observed", seen, sizeof seen);
    snprintf(line, sizeof line, "%s%s%s%s", show_str(r, "local", local, sizeof local),
             *seen ? ", seen by peers as " : "", seen,
             show_bool(r, "reachable") ? ", reachable" : "");
    cyx_line("address", line);
    snprintf(line, sizeof line, "GSO %s, GRO %s", show_bool(r, "gso") ? "yes" : "no",
             show_bool(r, "gro") ? "yes" : "no");
    cyx_line("socket", line);
}

static void show_dht(const msgpack_object *d)
{
    char line[CYX_CELL], used[SHOW_TEXT];
    if (d == NULL || d->type != MSGPACK_OBJECT_MAP)
        return;
    snprintf(line, sizeof line,
             "%s, %" PRIu64 " contacts, roster of %" PRIu64 ", %" PRIu64
             " records of others (%s), %" PRIu64 " published",
             show_bool(d, "ready") ? "ready" : "joining", show_u64(d, "contacts"),
             show_u64(d, "roster"), show_u64(d, "stored"),
             show_bytes((double)show_u64(d, "stored_bytes"), used), show_u64(d, "own"));
    cyx_line("dht", line);
}

static void show_onion(const msgpack_object *o)
{
    char line[CYX_CELL];
    if (o == NULL || o->type != MSGPACK_OBJECT_MAP)
        return;
    snprintf(line, sizeof line,
             "%s, %" PRIu64 " relays, %" PRIu64 " paths of ours, %" PRIu64
             " of others go through here, %" PRIu64 " services, %" PRIu64 " connections",
             show_bool(o, "ready") ? "ready" : "not ready", show_u64(o, "relays"),
             show_u64(o, "paths_own"), show_u64(o, "paths_through"), show_u64(o, "services"),
             show_u64(o, "connections"));
    cyx_line("paths", line);
}

static int show_status(const struct cli *c, const msgpack_object *r)
{
    char a[CYX_CELL], b[CYX_CELL], line[3 * CYX_CELL], up[SHOW_TEXT], mem[SHOW_TEXT];
    (void)c;
    snprintf(line, sizeof line, "%s, cyxd %s, up %s, %s", show_str(r, "state", a, sizeof a),
             show_str(r, "version", b, sizeof b), show_seconds(show_number(r, "uptime"), up),
             show_bytes((double)show_u64(r, "rss"), mem));
    cyx_line("state", line);
    snprintf(line, sizeof line, "%s%s", show_str(r, "network", a, sizeof a),
             show_bool(r, "lab") ? " (a lab: limits by prefix are lifted)" : "");
    cyx_line("network", line);
    show_str(r, "id", a, sizeof a);
    cyx_line("id", show_bool(r, "listed") ? a : "none: this node is not listed");
    double ready = show_number(r, "ready_after");
    if (!isnan(ready))
        cyx_line("ready after", show_seconds(ready, up));
    show_links(r);
    show_addresses(r);
    show_clock(r);
    show_dht(mp_get(r, "dht"));
    show_onion(mp_get(r, "onion"));
    show_roles(mp_get(r, "roles"));
    cyx_line("data folder", show_str(r, "data_dir", a, sizeof a));
    return CLI_OK;
}

int cyx_status(struct cli *c)
{
    return cyx_simple(c, "status", NULL, 0, CYX_ANSWER_MS, show_status);
}

static int print_string(const struct cli *c, const msgpack_object *r)
{
    const char *text = "";
    size_t len = 0;
    (void)c;
    if (!mp_str(r, &text, &len))
        return CLI_FAILED;
    fwrite(text, 1, len, stdout);
    return CLI_OK;
}

int cyx_metrics(struct cli *c)
{
    return cyx_simple(c, "metrics", NULL, 0, CYX_ANSWER_MS, print_string);
}

static int say_accepted(const struct cli *c, const msgpack_object *r)
{
    (void)c;
    (void)r;
    puts("The peers' time is accepted.");
    return CLI_OK;
}

int cyx_time_accept(struct cli *c)
{
    return cyx_simple(c, "time-accept", NULL, 0, CYX_ANSWER_MS, say_accepted);
}

static int say_stopping(const struct cli *c, const msgpack_object *r)
{
    (void)c;
    (void)r;
    puts("The daemon is stopping.");
    return CLI_OK;
}

int cyx_stop(struct cli *c)
{
    return cyx_simple(c, "stop", NULL, 0, CYX_ANSWER_MS, say_stopping);
}

static int print_json(const struct cli *c, const msgpack_object *r)
{
    (void)c;
    return show_json(stdout, r) ? CLI_OK : CLI_FAILED;
}

static void pack_value(msgpack_packer *pk, const char *v)
{
    char *end = NULL;
    errno = 0;
    long n = strtol(v, &end, 10);
    if (strcmp(v, "true") == 0)
        msgpack_pack_true(pk);
    else if (strcmp(v, "false") == 0)
        msgpack_pack_false(pk);
    else if (end != v && *end == '\0' && errno == 0)
        msgpack_pack_int64(pk, n);
    else
        mp_pack_str(pk, v);
}

/* cyx call METHOD [key=value…]: any method of the daemon or of a role. */
int cyx_call(struct cli *c)
{
    uint8_t buf[8192];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, c->n_args - 1);
    for (unsigned i = 1; i < c->n_args; i++) {
        const char *eq = strchr(c->args[i], '=');
        if (eq == NULL)
            return cli_error(c, CLI_USAGE, "%s: want key=value", c->args[i]);
        cleanup_free char *key = strndup(c->args[i], (size_t)(eq - c->args[i]));
        mp_pack_str(&pk, key != NULL ? key : "");
        pack_value(&pk, eq + 1);
    }
    if (!writer_ok(&w))
        return cli_error(c, CLI_USAGE, "the parameters are too long");
    return cyx_simple(c, c->args[0], buf, writer_len(&w), 0, print_json);
}
