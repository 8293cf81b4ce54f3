/* Petnames and client keys. A change goes on when its caller goes away. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/endpoints_internal.h"

enum { NAME_TEXT = 128 };

/* A change on its way to the disk. */
struct changing {
    struct node_call *call; /* NULL: the caller is gone */
    bool has_address, has_key;
    char name[NAME_TEXT];
    uint8_t address[ONION_ADDRESS], key[32];
};

static void forget_call(void *arg)
{
    ((struct changing *)arg)->call = NULL;
}

static void pack_change(msgpack_packer *pk, const struct changing *c)
{
    msgpack_pack_map(pk, 1u + (c->has_address ? 1 : 0) + (c->has_key ? 1 : 0));
    node__pack_kv_str(pk, "name", c->name);
    if (c->has_address)
        endpoints__pack_address(pk, "address", c->address);
    if (c->has_key)
        node__pack_kv_hex(pk, "key", c->key);
}

static void on_changed(void *arg, int code)
{
    struct changing *c = arg;
    struct node_call *call = c->call;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (call != NULL)
        control_on_cancel(call, NULL, NULL);
    if (call != NULL && code < 0) {
        node_reply_error(call, code, "the data folder can't be written (%s): nothing was changed",
                         cyx_code_name(code));
    } else if (call != NULL) {
        msgpack_sbuffer_init(&buf);
        msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
        pack_change(&pk, c);
        control_reply_buf(call, &buf);
    }
    free(c);
}

/* NULL after an error reply. */
static struct changing *changing_new(struct node_call *call, const msgpack_object *params)
{
    struct changing *c = calloc(1, sizeof *c);
    if (c == NULL) {
        node_reply_error(call, CYX_ENOMEM, "no memory");
        return NULL;
    }
    c->call = call;
    if (node__param_str(params, "name", c->name, sizeof c->name) > 0)
        return c;
    free(c);
    node_reply_error(call, CYX_EINVAL, "name: want one");
    return NULL;
}

/* The change is under way, or could not begin. */
static void began(struct changing *c, int rc, const struct cyx_err *err)
{
    struct node_call *call = c->call;
    if (rc == 0) {
        control_on_cancel(call, forget_call, c);
        return;
    }
    free(c);
    node_reply_error(call, rc, "%s", err->msg);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* "blog" and "blog.cyx" are one name. */
static void strip(char *name)
{
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".cyx") == 0)
        name[n - 4] = '\0';
}

void endpoints__name_set(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct cyx_err err = { 0 };
    uint8_t address[ONION_ADDRESS];
    if (!endpoints__are_open(e, call) ||
        !endpoints__param_address(e, call, params, "address", address))
        return;
    struct changing *c = changing_new(call, params);
    if (c == NULL)
        return;
    strip(c->name);
    c->has_address = true;
    memcpy(c->address, address, sizeof address);
    began(c, petnames_set(e->names, c->name, address, on_changed, c, &err), &err);
}

void endpoints__name_rm(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct cyx_err err = { 0 };
    struct changing *c = endpoints__are_open(e, call) ? changing_new(call, params) : NULL;
    if (c == NULL)
        return;
    strip(c->name);
    began(c, petnames_remove(e->names, c->name, on_changed, c, &err), &err);
}

struct listing {
    msgpack_packer pk;
    size_t n;
};

static void count_name(void *arg, const char *name, const uint8_t *address)
{
    struct listing *l = arg;
    (void)name, (void)address;
    l->n++;
}

static void pack_name(void *arg, const char *name, const uint8_t *address)
{
    struct listing *l = arg;
    msgpack_pack_map(&l->pk, 2);
    node__pack_kv_str(&l->pk, "name", name);
    endpoints__pack_address(&l->pk, "address", address);
}

void endpoints__names(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct listing l = { .n = 0 };
    msgpack_sbuffer buf;
    (void)params;
    if (!endpoints__are_open(e, call))
        return;
    petnames_each(e->names, count_name, &l);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&l.pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&l.pk, l.n);
    petnames_each(e->names, pack_name, &l);
    control_reply_buf(call, &buf);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool has_keys(struct endpoints *e, struct node_call *call)
{
    if (!endpoints__are_open(e, call))
        return false;
    if (e->keys != NULL)
        return true;
    node_reply_error(call, e->keys_trouble.code, "%s", e->keys_trouble.msg);
    return false;
}

void endpoints__key_new(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct cyx_err err = { 0 };
    uint8_t address[ONION_ADDRESS];
    if (!has_keys(e, call) || !endpoints__param_address(e, call, params, "name", address))
        return;
    struct changing *c = changing_new(call, params);
    if (c == NULL)
        return;
    c->has_address = c->has_key = true;
    memcpy(c->address, address, sizeof address);
    began(c,
          client_keys_make(e->keys, address, node__param_bool(params, "replace"), c->key,
                           on_changed, c, &err),
          &err);
}

struct key_listing {
    struct listing l;
    const uint8_t *only; /* NULL: all */
};

static void count_key(void *arg, const uint8_t *address, const uint8_t *pub)
{
    struct key_listing *k = arg;
    (void)pub;
    k->l.n += k->only == NULL || memcmp(k->only, address, ONION_ADDRESS) == 0 ? 1 : 0;
}

static void pack_key(void *arg, const uint8_t *address, const uint8_t *pub)
{
    struct key_listing *k = arg;
    if (k->only != NULL && memcmp(k->only, address, ONION_ADDRESS) != 0)
        return;
    msgpack_pack_map(&k->l.pk, 2);
    endpoints__pack_address(&k->l.pk, "address", address);
    node__pack_kv_hex(&k->l.pk, "key", pub);
}

void endpoints__keys(void *state, struct node_call *call, const msgpack_object *params)
{
    struct endpoints *e = state;
    struct key_listing k = { .only = NULL };
    uint8_t address[ONION_ADDRESS];
    msgpack_sbuffer buf;
    if (!has_keys(e, call))
        return;
    if (mp_get(params, "name") != NULL) {
        if (!endpoints__param_address(e, call, params, "name", address))
            return;
        k.only = address;
    }
    client_keys_each(e->keys, count_key, &k);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&k.l.pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&k.l.pk, k.l.n);
    client_keys_each(e->keys, pack_key, &k);
    control_reply_buf(call, &buf);
}
