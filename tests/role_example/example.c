/* The example role: greets over the control socket and counts. It shows each part of node/role.h
 * once; a role of your own can start as a copy of this file.
 *
 *     [example]
 *     greeting = "good morning"
 *
 *     $ cyx call example.greet name=Ada
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/role.h"

struct example {
    struct node_ctx *ctx; /* borrowed: it outlives the role */
    const char *greeting; /* borrowed from the configuration, which outlives the role too */
    struct mesh_watcher watcher;
    struct env_task stop_task;
    env_fn stopped;
    void *stopped_arg;
    uint64_t n_greetings, n_links_seen;
};

static const struct conf_item schema[] = {
    { .table = "example",
      .key = "greeting",
      .type = CONF_STRING,
      .min = 1,
      .max = 64,
      .def = "\"hello\"",
      .help = "What the role says" },
    { .key = NULL },
};

static int create(struct node_ctx *ctx, const struct conf *conf, void **state, struct cyx_err *err)
{
    struct example *x = calloc(1, sizeof *x);
    if (x == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory");
    x->ctx = ctx;
    x->greeting = conf_str(conf, "example", "greeting");
    *state = x;
    return 0;
}

static void link_up(void *arg, struct mesh_link *l)
{
    struct example *x = arg;
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    x->n_links_seen++;
    log_info(x->ctx->log, "example", "saw link %u come up", info.number);
}

static int start(void *state, struct cyx_err *err)
{
    struct example *x = state;
    (void)err;
    x->watcher = (struct mesh_watcher){ .link_up = link_up, .arg = x };
    if (x->ctx->mesh != NULL) /* NULL in the unit test, which has no mesh */
        mesh_watch(x->ctx->mesh, &x->watcher);
    return 0;
}

static void stop_later(void *arg)
{
    struct example *x = arg;
    x->stopped(x->stopped_arg);
}

static void stop(void *state, env_fn done, void *arg)
{
    struct example *x = state;
    if (x->ctx->mesh != NULL)
        mesh_unwatch(&x->watcher);
    x->stopped = done;
    x->stopped_arg = arg;
    env_task_init(&x->stop_task, stop_later, x);
    env_defer(x->ctx->env, &x->stop_task);
}

static void destroy(void *state)
{
    free(state);
}

/* example.greet {name} -> {text, count} */
static void greet(void *state, struct node_call *call, const msgpack_object *params)
{
    struct example *x = state;
    const char *name = "stranger";
    size_t len = strlen(name);
    char text[192];
    uint8_t out[256];
    struct writer w = writer_on(out, sizeof out);
    msgpack_packer pk;
    const msgpack_object *p = mp_get(params, "name");
    if (p != NULL && (!mp_str(p, &name, &len) || len > 64)) {
        node_reply_error(call, CYX_EINVAL, "`name` is a string of at most 64 bytes");
        return;
    }
    snprintf(text, sizeof text, "%s, %.*s", x->greeting, (int)len, name);
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 2);
    mp_pack_str(&pk, "text");
    mp_pack_str(&pk, text);
    mp_pack_str(&pk, "count");
    msgpack_pack_uint64(&pk, ++x->n_greetings);
    node_reply(call, out, writer_len(&w));
}

static const struct node_method methods[] = {
    { "greet", greet, "say hello to `name`" },
    { NULL, NULL, NULL },
};

static void metrics(void *state, metric_fn fn, void *arg)
{
    const struct example *x = state;
    fn(arg, &(struct metric){ .kind = METRIC_COUNTER,
                              .name = "cyx_example_greetings_total",
                              .help = "Greetings said.",
                              .value = x->n_greetings });
}

static enum node_health health(void *state, char *text, size_t cap)
{
    const struct example *x = state;
    snprintf(text, cap, "%llu greetings, %llu links seen", (unsigned long long)x->n_greetings,
             (unsigned long long)x->n_links_seen);
    return NODE_HEALTHY;
}

/* The one symbol that a role exports. */
extern const struct node_role cyx_role;
const struct node_role cyx_role = {
    .abi = NODE_ROLE_ABI,
    .name = "example",
    .help = "greets over the control socket",
    .schema = schema,
    .create = create,
    .start = start,
    .stop = stop,
    .destroy = destroy,
    .methods = methods,
    .metrics = metrics,
    .health = health,
};
