/* `why`: an endpoint tried step by step, for the user who asks; nothing of it is logged. `paths`,
 * `doors`. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/endpoints_internal.h"
#include "node/onion_node.h"

/* What to do about it. */
static const char *cure_of(enum onion_fail why)
{
    switch (why) {
    case ONION_FAIL_NONE:
        return "";
    case ONION_FAIL_NAME:
        return "check the address: it is copied, never typed";
    case ONION_FAIL_NOT_READY:
        return "this node knows too few relays yet: wait a moment, then `cyx doctor`";
    case ONION_FAIL_NO_DESCRIPTOR:
        return "ask the operator whether it is on; a fresh service needs a minute";
    case ONION_FAIL_NOT_FOR_US:
        return "it wants a client key: `cyx key new NAME`, and give the operator what that prints";
    case ONION_FAIL_NO_PORT:
        return "it doesn't offer this port: ask the operator which";
    case ONION_FAIL_REFUSED:
        return "the service is there, the program behind it isn't: tell the operator";
    case ONION_FAIL_UNREACHABLE:
        return "its relays can't be reached from here: try again in a minute";
    case ONION_FAIL_BUSY:
        return "it has too many visitors: try again later";
    case ONION_FAIL_EFFORT:
        return "it is under load and asks for much work: try again later";
    case ONION_FAIL_TIMEOUT:
        return "something on the way is slow or gone: try again; if it stays, `cyx doctor`";
    case ONION_FAIL_RESET:
        return "the service ended it: tell the operator";
    case ONION_FAIL_LOST:
        return "a relay on the way went: try again";
    case ONION_FAIL_CLOSING:
        return "the daemon is stopping";
    case ONION_FAILS:
        break;
    }
    return "";
}

struct asking {
    struct list node;
    struct endpoints *e;
    struct node_call *call;
    struct onion_why *why;
    struct onion_target to;
    struct onion_step steps[2 * ONION_STAGES]; /* a stage may be tried twice (status 5) */
    size_t n_steps;
};

static void pack_step(msgpack_packer *pk, const struct asking *a, const struct onion_step *s)
{
    const struct door_ops *ops = a->e->o.ops;
    bool is_ok = s->fail == ONION_FAIL_NONE;
    msgpack_pack_map(pk, 6);
    node__pack_kv_str(pk, "stage", ops->stage_name(s->stage));
    node__pack_kv_bool(pk, "ok", is_ok);
    node__pack_kv_str(pk, "fail", is_ok ? "" : ops->fail_name(s->fail));
    node__pack_kv_s(pk, "time", (double)s->ns / 1e9);
    node__pack_kv_str(pk, "detail", s->detail);
    node__pack_kv_str(pk, "cure", cure_of(s->fail));
}

static void on_step(void *arg, const struct onion_step *s)
{
    struct asking *a = arg;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (a->n_steps < sizeof a->steps / sizeof a->steps[0])
        a->steps[a->n_steps++] = *s;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    pack_step(&pk, a, s);
    node_progress(a->call, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
}

static void on_done(void *arg, enum onion_fail why)
{
    struct asking *a = arg;
    struct node_call *call = a->call;
    const struct door_ops *ops = a->e->o.ops;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 7);
    endpoints__pack_address(&pk, "address", a->to.address);
    node__pack_kv_u64(&pk, "port", a->to.port);
    node__pack_kv_bool(&pk, "ok", why == ONION_FAIL_NONE);
    node__pack_kv_str(&pk, "fail", why == ONION_FAIL_NONE ? "" : ops->fail_name(why));
    node__pack_kv_str(&pk, "text", why == ONION_FAIL_NONE ? "" : ops->fail_text(why));
    node__pack_kv_str(&pk, "cure", cure_of(why));
    mp_pack_str(&pk, "steps");
    msgpack_pack_array(&pk, a->n_steps);
    for (size_t i = 0; i < a->n_steps; i++)
        pack_step(&pk, a, &a->steps[i]);
    control_on_cancel(call, NULL, NULL);
    list_del(&a->node);
    free(a);
    control_reply_buf(call, &buf);
}

static void on_cancelled(void *arg)
{
    struct asking *a = arg;
    a->e->o.ops->why_cancel(a->why);
    list_del(&a->node);
    free(a);
}

void endpoints__cancel_whys(struct endpoints *e)
{
    while (!list_empty(&e->whys)) {
        struct asking *a = container_of(e->whys.next, struct asking, node);
        struct node_call *call = a->call;
        control_on_cancel(call, NULL, NULL);
        on_cancelled(a);
        node_reply_error(call, CYX_ECANCELED, "the daemon is stopping");
    }
}

void endpoints__why(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct onion_target to = { .wait_for_answer = true };
    struct cyx_err err = { 0 };
    uint64_t port = 80;
    if (!endpoints__are_ready(e, call) ||
        !endpoints__param_address(e, call, params, "name", to.address))
        return;
    if (node__param_u64(params, "port", 1, UINT16_MAX, &port) < 0) {
        node_reply_error(call, CYX_EINVAL, "port: want 1 to 65535");
        return;
    }
    to.port = (uint16_t)port;
    struct asking *a = calloc(1, sizeof *a);
    if (a != NULL) {
        *a = (struct asking){ .e = e, .call = call, .to = to };
        a->why = e->o.ops->why(e->onion, &to, on_step, on_done, a, &err);
    } else {
        (void)cyx_fail(&err, CYX_ENOMEM, "no memory");
    }
    if (a == NULL || a->why == NULL) {
        free(a);
        node_reply_error(call, err.code, "%s", err.msg);
        return;
    }
    list_push_back(&e->whys, &a->node);
    control_on_cancel(call, on_cancelled, a);
}

/* ---- paths ----------------------------------------------------------------------------------- */

static bool count_path(void *arg, const struct onion_path_row *row)
{
    (void)row;
    ++*(size_t *)arg;
    return true;
}

static bool pack_path(void *arg, const struct onion_path_row *row)
{
    enum { MOST = sizeof row->hops / sizeof row->hops[0] };
    msgpack_packer *pk = arg;
    size_t n_hops = row->n_hops < MOST ? row->n_hops : MOST;
    msgpack_pack_map(pk, 9);
    node__pack_kv_u64(pk, "path", row->number);
    node__pack_kv_str(pk, "purpose", row->purpose);
    node__pack_kv_str(pk, "state", row->state);
    mp_pack_str(pk, "hops");
    msgpack_pack_array(pk, n_hops);
    for (size_t i = 0; i < n_hops; i++) {
        char hex[65];
        mp_pack_str(pk, sodium_bin2hex(hex, sizeof hex, row->hops[i], 32));
    }
    node__pack_kv_ns(pk, "age", row->age_ns);
    node__pack_kv_ns(pk, "build", row->build_ns);
    node__pack_kv_u64(pk, "sent", row->sent);
    node__pack_kv_u64(pk, "received", row->received);
    node__pack_kv_u64(pk, "noise", row->noise);
    return true;
}

void node__pack_onion(msgpack_packer *pk, const struct onion_summary *s)
{
    node__pack_kv_bool(pk, "ready", s->is_ready);
    node__pack_kv_u64(pk, "relays", s->relays);
    node__pack_kv_u64(pk, "guards_up", s->guards_up);
    node__pack_kv_u64(pk, "paths_own", s->paths_own);
    node__pack_kv_u64(pk, "paths_ready", s->paths_ready);
    node__pack_kv_u64(pk, "paths_through", s->paths_through);
    node__pack_kv_u64(pk, "services", s->services);
    node__pack_kv_u64(pk, "connections", s->connections);
    node__pack_kv_u64(pk, "streams", s->streams);
}

void endpoints__paths(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct onion_summary status;
    size_t n = 0;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    if (!endpoints__are_ready(e, call))
        return;
    e->o.ops->status(e->onion, &status);
    e->o.ops->paths_each(e->onion, count_path, &n);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 10);
    node__pack_onion(&pk, &status);
    mp_pack_str(&pk, "paths");
    msgpack_pack_array(&pk, n);
    e->o.ops->paths_each(e->onion, pack_path, &pk);
    control_reply_buf(call, &buf);
}

/* ---- doors ----------------------------------------------------------------------------------- */

static void pack_door(msgpack_packer *pk, const char *key, const struct door *d)
{
    struct env_addr at;
    char text[ENV_ADDR_TEXT];
    if (d != NULL && door_addr(d, &at) == 0)
        node__pack_kv_str(pk, key, env_addr_text(&at, text));
    else
        node__pack_kv_nil(pk, key);
}

void endpoints__doors(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    if (!endpoints__are_open(e, call))
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    pack_door(&pk, "socks", e->socks);
    pack_door(&pk, "http", e->tunnel);
    control_reply_buf(call, &buf);
}
