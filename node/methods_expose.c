/* `expose`, `unexpose`, `services`. What was begun goes on when the caller goes away. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/endpoints_internal.h"

enum { EXPOSE_PROGRESS_MS = 500, EXPOSE_WORDS_MAX = ONION_PORTS_MAX };

/* ---- rows ------------------------------------------------------------------------------------ */

static const char *state_of(const struct expose_row *row)
{
    static const char *const states[] = { "starting", "pivots", "published", "ready" };
    if (!row->is_on)
        return "off";
    return row->is_served ? states[row->info.state] : "waiting";
}

static void pack_ports(msgpack_packer *pk, const struct expose_spec *s)
{
    static const char *const kinds[] = { "", "stream", "datagram", "both" };
    mp_pack_str(pk, "ports");
    msgpack_pack_array(pk, s->n_ports);
    for (size_t i = 0; i < s->n_ports; i++) {
        msgpack_pack_map(pk, 3);
        node__pack_kv_u64(pk, "port", s->ports[i].port);
        node__pack_kv_str(pk, "kind", kinds[s->ports[i].kind]);
        node__pack_kv_str(pk, "backend", s->ports[i].text);
    }
}

static void pack_row(msgpack_packer *pk, const struct expose_row *row)
{
    msgpack_pack_map(pk, 16);
    node__pack_kv_str(pk, "name", row->spec->name);
    if (row->has_address)
        endpoints__pack_address(pk, "address", row->address);
    else
        node__pack_kv_nil(pk, "address");
    node__pack_kv_bool(pk, "on", row->is_on);
    node__pack_kv_str(pk, "state", state_of(row));
    node__pack_kv_str(pk, "trouble", row->trouble != NULL ? row->trouble : "");
    node__pack_kv_u64(pk, "pivots", row->info.pivots);
    node__pack_kv_u64(pk, "pivots_wanted", row->info.pivots_wanted);
    node__pack_kv_u64(pk, "published", row->info.published_s);
    node__pack_kv_u64(pk, "connections", row->info.connections);
    node__pack_kv_u64(pk, "streams", row->visits);
    node__pack_kv_u64(pk, "flows", row->flows);
    node__pack_kv_u64(pk, "accepted", row->accepted);
    node__pack_kv_u64(pk, "refused", row->refused);
    node__pack_kv_u64(pk, "effort", row->info.effort);
    node__pack_kv_u64(pk, "clients", row->spec->n_clients);
    pack_ports(pk, row->spec);
}

static void reply_row(struct node_call *call, const struct expose_row *row)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    pack_row(&pk, row);
    control_reply_buf(call, &buf);
}

/* ---- expose ---------------------------------------------------------------------------------- */

struct exposing {
    struct endpoints *e;
    struct node_call *call; /* NULL: the caller is gone */
    bool is_stored;
    bool waits;
    uint64_t began_ns;
    struct env_timer timer;
    struct expose_watch watch;
    char name[EXPOSE_NAME_MAX + 1];
};

static void exposing_free(struct exposing *x)
{
    env_timer_stop(x->e->o.env, &x->timer);
    expose_unwatch(&x->watch);
    free(x);
}

/* The call, which is the caller's to answer now; NULL when nobody waits. Frees. */
static struct node_call *finish(struct exposing *x)
{
    struct node_call *call = x->call;
    if (call != NULL)
        control_on_cancel(call, NULL, NULL);
    exposing_free(x);
    return call;
}

static void on_cancelled(void *arg)
{
    struct exposing *x = arg;
    x->call = NULL;
    env_timer_stop(x->e->o.env, &x->timer);
    if (x->is_stored)
        exposing_free(x); /* else the store has a word to say first */
}

/* Answers when there is nothing left to wait for. */
static void look(void *arg)
{
    struct exposing *x = arg;
    struct expose_row row;
    bool is_there = expose_get(x->e->expose, x->name, &row) && row.is_on;
    if (is_there && x->waits && row.info.state != ONION_SERVICE_READY)
        return;
    struct node_call *call = finish(x);
    if (call != NULL && is_there)
        reply_row(call, &row);
    else if (call != NULL)
        node_reply_error(call, CYX_ECANCELED, "it was switched off in the meantime");
}

static void on_progress(struct env_timer *t, void *arg)
{
    struct exposing *x = arg;
    struct expose_row row;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    env_timer_in(x->e->o.env, t, ENV_MS(EXPOSE_PROGRESS_MS));
    if (!expose_get(x->e->expose, x->name, &row))
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 6);
    node__pack_kv_str(&pk, "name", x->name);
    node__pack_kv_str(&pk, "stage", x->is_stored ? state_of(&row) : "storing");
    node__pack_kv_s(&pk, "seconds", (double)(env_now_ns(x->e->o.env) - x->began_ns) / 1e9);
    node__pack_kv_u64(&pk, "pivots", row.info.pivots);
    node__pack_kv_u64(&pk, "pivots_wanted", row.info.pivots_wanted);
    node__pack_kv_str(&pk, "trouble", row.trouble != NULL ? row.trouble : "");
    node_progress(x->call, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
}

static void on_stored(void *arg, int code)
{
    struct exposing *x = arg;
    x->is_stored = true;
    if (code == 0 && x->call != NULL) {
        x->watch = (struct expose_watch){ .fn = look, .arg = x };
        expose_watch(x->e->expose, &x->watch);
        look(x);
        return;
    }
    struct node_call *call = finish(x);
    if (call != NULL)
        node_reply_error(call, code, "%s",
                         code == CYX_ENOSPC ? "the disk is full or read-only: nothing was exposed"
                         : code == CYX_ECANCELED ? "the daemon is stopping"
                                                 : "the data folder can't be written");
}

static int words_from(const msgpack_object *params, const char *key, char (*out)[EXPOSE_TEXT + 8],
                      size_t cap, size_t *n)
{
    const msgpack_object *list = mp_get(params, key);
    *n = 0;
    if (list == NULL || list->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > cap)
        return CYX_EINVAL;
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const char *s = NULL;
        size_t len = 0;
        if (!mp_str(&list->via.array.ptr[i], &s, &len) || len >= sizeof out[0] ||
            memchr(s, '\0', len) != NULL)
            return CYX_EINVAL;
        memcpy(out[i], s, len);
        out[i][len] = '\0';
        ++*n;
    }
    return 0;
}

/* What the parameters say, in memory of its own. */
struct wish {
    struct expose_spec spec;
    char backend[EXPOSE_TEXT + 8], name[64];
    char ports[EXPOSE_WORDS_MAX][EXPOSE_TEXT + 8];
    char keys[ONION_CLIENTS_MAX][EXPOSE_TEXT + 8];
};

static int read_wish(struct wish *w, const msgpack_object *params, struct cyx_err *err)
{
    const char *ports[EXPOSE_WORDS_MAX];
    size_t n_keys = 0;
    struct expose_words words = { .backend = w->backend,
                                  .ports = ports,
                                  .has_datagrams = node__param_bool(params, "udp") };
    int has_name = node__param_str(params, "name", w->name, sizeof w->name);
    if (node__param_str(params, "backend", w->backend, sizeof w->backend) <= 0)
        return cyx_fail(err, CYX_EINVAL, "backend: want PORT, ADDRESS:PORT or unix:PATH");
    if (has_name < 0 ||
        words_from(params, "ports", w->ports, EXPOSE_WORDS_MAX, &words.n_ports) < 0 ||
        words_from(params, "auth", w->keys, ONION_CLIENTS_MAX, &n_keys) < 0)
        return cyx_fail(err, CYX_EINVAL,
                        "name, ports, auth: want a string and lists of at most 64 strings");
    for (size_t i = 0; i < words.n_ports; i++)
        ports[i] = w->ports[i];
    words.name = has_name > 0 ? w->name : NULL;
    int rc = expose_spec_parse(&w->spec, &words, err);
    for (size_t i = 0; rc == 0 && i < n_keys; i++)
        rc = expose_spec_client(&w->spec, w->keys[i], err);
    return rc;
}

static struct exposing *exposing_new(struct endpoints *e, struct node_call *call,
                                     const struct expose_spec *spec, bool waits)
{
    struct exposing *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->e = e;
    x->call = call;
    x->waits = waits;
    x->began_ns = env_now_ns(e->o.env);
    memcpy(x->name, spec->name, sizeof x->name);
    env_timer_init(&x->timer, on_progress, x);
    return x;
}

void endpoints__expose(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct cyx_err err = { 0 };
    if (!endpoints__are_open(e, call))
        return;
    struct wish *w = calloc(1, sizeof *w);
    int rc = w != NULL ? read_wish(w, params, &err) : cyx_fail(&err, CYX_ENOMEM, "no memory");
    struct exposing *x =
        rc == 0 ? exposing_new(e, call, &w->spec, node__param_bool(params, "wait")) : NULL;
    if (rc == 0 && x == NULL)
        rc = cyx_fail(&err, CYX_ENOMEM, "no memory");
    if (rc == 0)
        rc = expose_add(e->expose, &w->spec, on_stored, x, &err);
    free(w);
    if (rc < 0) {
        free(x);
        node_reply_error(call, rc, "%s", err.msg);
        return;
    }
    control_on_cancel(call, on_cancelled, x);
    env_timer_in(e->o.env, &x->timer, ENV_MS(EXPOSE_PROGRESS_MS));
}

/* ---- unexpose -------------------------------------------------------------------------------- */

struct removing {
    struct node_call *call;
    char name[EXPOSE_NAME_MAX + 1];
};

static void forget_call(void *arg)
{
    ((struct removing *)arg)->call = NULL;
}

static void on_removed(void *arg, int code)
{
    struct removing *r = arg;
    struct node_call *call = r->call;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (call != NULL)
        control_on_cancel(call, NULL, NULL);
    if (call != NULL && code < 0) {
        node_reply_error(call, code,
                         "%s is off, but the disk could not be told (%s): it is back after a "
                         "restart",
                         r->name, cyx_code_name(code));
    } else if (call != NULL) {
        msgpack_sbuffer_init(&buf);
        msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
        msgpack_pack_map(&pk, 1);
        node__pack_kv_str(&pk, "name", r->name);
        control_reply_buf(call, &buf);
    }
    free(r);
}

void endpoints__unexpose(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    char what[ONION_NAME_MAX + 2];
    struct cyx_err err = { 0 };
    if (!endpoints__are_open(e, call))
        return;
    if (node__param_str(params, "name", what, sizeof what) <= 0) {
        node_reply_error(call, CYX_EINVAL, "name: want an endpoint's name or address");
        return;
    }
    const char *name = expose_find(e->expose, what);
    struct removing *r = calloc(1, sizeof *r);
    if (r == NULL) {
        node_reply_error(call, CYX_ENOMEM, "no memory");
        return;
    }
    r->call = call;
    snprintf(r->name, sizeof r->name, "%s", name != NULL ? name : "");
    int rc = expose_remove(e->expose, name != NULL ? name : what,
                           node__param_bool(params, "forget") ? EXPOSE_FORGET_KEY : EXPOSE_KEEP_KEY,
                           on_removed, r, &err);
    if (rc < 0) {
        free(r);
        node_reply_error(call, rc, "%s", err.msg);
        return;
    }
    control_on_cancel(call, forget_call, r);
}

/* ---- services -------------------------------------------------------------------------------- */

static void count_row(void *arg, const struct expose_row *row)
{
    (void)row;
    ++*(size_t *)arg;
}

static void pack_one(void *arg, const struct expose_row *row)
{
    pack_row(arg, row);
}

void endpoints__services(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    size_t n = 0;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    if (!endpoints__are_open(e, call))
        return;
    expose_each(e->expose, count_row, &n);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, n);
    expose_each(e->expose, pack_one, &pk);
    control_reply_buf(call, &buf);
}
