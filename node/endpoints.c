#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/endpoints_internal.h"

const struct node_method endpoints_methods[] = {
    { "expose", endpoints__expose, "offer a service of this machine as a hidden endpoint" },
    { "unexpose", endpoints__unexpose, "stop offering one" },
    { "services", endpoints__services, "the hidden endpoints of this node" },
    { "name-set", endpoints__name_set, "give an address a name on this machine" },
    { "name-rm", endpoints__name_rm, "take a name away" },
    { "names", endpoints__names, "the names on this machine" },
    { "key-new", endpoints__key_new, "draw a client key for an endpoint that only some may read" },
    { "keys", endpoints__keys, "our client keys' public halves" },
    { "why", endpoints__why, "try to reach an endpoint, step by step" },
    { "paths", endpoints__paths, "this node's own paths" },
    { "doors", endpoints__doors, "where the front doors listen" },
    { NULL, NULL, NULL },
};

/* ---- life ------------------------------------------------------------------------------------ */

static enum onion_name_verdict resolve(void *arg, const char *host, size_t len,
                                       uint8_t address[static ONION_ADDRESS])
{
    const struct endpoints *e = arg;
    return petnames_resolve(e->names, host, len, address);
}

static int open_door(struct endpoints *e, enum door_kind kind, const struct env_addr *at,
                     struct door **out, struct cyx_err *err)
{
    char text[ENV_ADDR_TEXT];
    struct env_addr local;
    struct door_options o = { .env = e->o.env,
                              .ops = e->o.ops,
                              .kind = kind,
                              .at = *at,
                              .resolve = resolve,
                              .arg = e,
                              .wait_for_answer = e->o.config.wait_for_answer };
    struct door *d = door_create(&o, err);
    if (d == NULL)
        return cyx_wrap(err, "%s", kind == DOOR_SOCKS ? "[socks] listen" : "[http] listen");
    if (door_addr(d, &local) == 0)
        log_info(e->o.env->log, kind == DOOR_SOCKS ? "socks" : "http", "listens on %s",
                 env_addr_text(&local, text));
    *out = d;
    return 0;
}

static int open_doors(struct endpoints *e, struct cyx_err *err)
{
    const struct endpoints_config *c = &e->o.config;
    int rc = c->has_socks ? open_door(e, DOOR_SOCKS, &c->socks_at, &e->socks, err) : 0;
    if (rc == CYX_EBUSY && c->is_socks_default) {
        log_warn(e->o.env->log, "socks", "%s: going on without (`listen` in [socks] names another)",
                 err->msg);
        rc = 0;
    }
    if (rc == 0 && c->has_tunnel)
        rc = open_door(e, DOOR_TUNNEL, &c->tunnel_at, &e->tunnel, err);
    return rc;
}

struct endpoints *endpoints_create(const struct endpoints_options *o, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    struct endpoints *e = calloc(1, sizeof *e);
    err = err != NULL ? err : &own;
    if (e == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for the endpoints");
        return NULL;
    }
    e->o = *o;
    list_init(&e->whys);
    if (o->ops != NULL && open_doors(e, err) < 0) {
        endpoints_destroy(e);
        return NULL;
    }
    return e;
}

int endpoints_open(struct endpoints *e, const struct mesh_identity *identity, struct cyx_err *err)
{
    struct env *env = e->o.env;
    if (e->o.ops == NULL)
        return 0;
    e->names = petnames_open(env, err);
    if (e->names == NULL)
        return err->code;
    e->vault = vault_create(env, identity);
    if (e->vault == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no locked memory for keys");
    struct expose_options o = {
        .env = env, .ops = e->o.ops, .vault = e->vault, .hops = e->o.config.hops
    };
    e->expose = expose_open(&o, err);
    if (e->expose == NULL)
        return err->code;
    e->keys = client_keys_open(env, e->o.ops, e->vault, &e->keys_trouble);
    if (e->keys == NULL)
        log_warn(env->log, "keys", "%s", e->keys_trouble.msg);
    return 0;
}

void endpoints_set_onion(struct endpoints *e, struct onion *o)
{
    if (o == NULL)
        endpoints__cancel_whys(e);
    e->onion = o;
    if (e->keys != NULL)
        client_keys_set_onion(e->keys, o); /* before anything is looked up with them */
    if (e->expose != NULL)
        expose_set_onion(e->expose, o);
    if (e->socks != NULL)
        door_set_onion(e->socks, o);
    if (e->tunnel != NULL)
        door_set_onion(e->tunnel, o);
}

void endpoints_destroy(struct endpoints *e)
{
    if (e == NULL)
        return;
    door_destroy(e->socks);
    door_destroy(e->tunnel);
    expose_destroy(e->expose);
    client_keys_close(e->keys);
    vault_destroy(e->vault);
    petnames_close(e->names);
    free(e);
}

void endpoints_metrics(struct endpoints *e, metric_fn fn, void *arg)
{
    if (e->socks != NULL)
        door_metrics(e->socks, fn, arg);
    if (e->tunnel != NULL)
        door_metrics(e->tunnel, fn, arg);
    if (e->expose != NULL)
        expose_metrics(e->expose, fn, arg);
}

/* ---- for methods ----------------------------------------------------------------------------- */

bool endpoints__are_open(struct endpoints *e, struct node_call *call)
{
    if (e == NULL || e->o.ops == NULL)
        node_reply_error(call, CYX_EUNSUPPORTED, "this build of cyxd has no hidden endpoints");
    else if (e->expose == NULL)
        node_reply_error(call, CYX_EAGAIN, "the node is starting: try again in a moment");
    else
        return true;
    return false;
}

bool endpoints__are_ready(struct endpoints *e, struct node_call *call)
{
    if (!endpoints__are_open(e, call))
        return false;
    if (e->onion != NULL)
        return true;
    node_reply_error(call, CYX_EAGAIN, "the node is starting or stopping: try again in a moment");
    return false;
}

enum onion_name_verdict endpoints__resolve(struct endpoints *e, const char *text,
                                           uint8_t address[static ONION_ADDRESS])
{
    char full[ONION_NAME_MAX + 8];
    int n = snprintf(full, sizeof full, "%s%s", text, strchr(text, '.') == NULL ? ".cyx" : "");
    if (n < 0 || (size_t)n >= sizeof full)
        return ONION_NAME_MALFORMED;
    return petnames_resolve(e->names, full, (size_t)n, address);
}

bool endpoints__param_address(struct endpoints *e, struct node_call *call,
                              const msgpack_object *params, const char *key,
                              uint8_t address[static ONION_ADDRESS])
{
    char text[ONION_NAME_MAX + 2];
    int rc = node__param_str(params, key, text, sizeof text);
    if (rc <= 0) {
        node_reply_error(call, CYX_EINVAL, "%s: want an address or a name", key);
        return false;
    }
    enum onion_name_verdict v = endpoints__resolve(e, text, address);
    if (v == ONION_NAME_OK)
        return true;
    node_reply_error(call, CYX_EINVAL, "%s: neither a name on this machine nor an address (%s)",
                     text, onion_name_verdict_text(v));
    return false;
}

void endpoints__pack_address(msgpack_packer *pk, const char *key,
                             const uint8_t address[static ONION_ADDRESS])
{
    char text[ONION_ADDRESS_TEXT];
    node__pack_kv_str(pk, key, onion_address_text(address, text));
}
