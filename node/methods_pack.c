/* Short forms for what results are made of. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mp.h"
#include "node/methods.h"

void node__pack_kv_str(msgpack_packer *pk, const char *key, const char *value)
{
    mp_pack_str(pk, key);
    mp_pack_text(pk, value);
}

void node__pack_kv_u64(msgpack_packer *pk, const char *key, uint64_t value)
{
    mp_pack_str(pk, key);
    msgpack_pack_uint64(pk, value);
}

void node__pack_kv_bool(msgpack_packer *pk, const char *key, bool value)
{
    mp_pack_str(pk, key);
    if (value)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
}

void node__pack_kv_s(msgpack_packer *pk, const char *key, double seconds)
{
    mp_pack_str(pk, key);
    msgpack_pack_double(pk, seconds);
}

void node__pack_kv_nil(msgpack_packer *pk, const char *key)
{
    mp_pack_str(pk, key);
    msgpack_pack_nil(pk);
}

void node__pack_kv_hex(msgpack_packer *pk, const char *key, const uint8_t *value)
{
    char hex[65];
    if (value == NULL) {
        node__pack_kv_nil(pk, key);
        return;
    }
    sodium_bin2hex(hex, sizeof hex, value, 32);
    node__pack_kv_str(pk, key, hex);
}

void node__pack_kv_ns(msgpack_packer *pk, const char *key, uint64_t ns)
{
    if (ns == 0)
        node__pack_kv_nil(pk, key);
    else
        node__pack_kv_s(pk, key, (double)ns / 1e9);
}

int node__param_str(const msgpack_object *params, const char *key, char *out, size_t cap)
{
    const char *s = NULL;
    size_t len = 0;
    const msgpack_object *o = mp_get(params, key);
    if (o == NULL || o->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (!mp_str(o, &s, &len) || len >= cap || memchr(s, '\0', len) != NULL)
        return CYX_EINVAL;
    memcpy(out, s, len);
    out[len] = '\0';
    return 1;
}

int node__param_u64(const msgpack_object *params, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out)
{
    uint64_t v = 0;
    const msgpack_object *o = mp_get(params, key);
    if (o == NULL || o->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (!mp_u64(o, &v) || v < min || v > max)
        return CYX_EINVAL;
    *out = v;
    return 1;
}

int node__param_hex(const msgpack_object *params, const char *key, uint8_t out[static 32])
{
    char hex[65];
    size_t len = 0;
    int rc = node__param_str(params, key, hex, sizeof hex);
    if (rc <= 0)
        return rc;
    if (sodium_hex2bin(out, 32, hex, strlen(hex), NULL, &len, NULL) != 0 || len != 32)
        return CYX_EINVAL;
    return 1;
}

bool node__param_bool(const msgpack_object *params, const char *key)
{
    bool value = false;
    return mp_bool(mp_get(params, key), &value) && value;
}

uint64_t node__rss(const struct node *n)
{
    char text[128];
    char *end = NULL;
    if (n->statm_fd < 0)
        return 0;
    ssize_t len = pread(n->statm_fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    (void)strtoull(text, &end, 10); /* size; resident follows */
    return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
