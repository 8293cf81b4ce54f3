/* MessagePack to JSON, through jansson so that escaping is somebody's tested code. */
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "node/cli/show.h"

static json_t *to_json(const msgpack_object *o);

static json_t *array_to_json(const msgpack_object_array *a)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < a->size; i++)
        if (json_array_append_new(out, to_json(&a->ptr[i])) != 0)
            break;
    return out;
}

static json_t *map_to_json(const msgpack_object_map *m)
{
    json_t *out = json_object();
    for (uint32_t i = 0; i < m->size; i++) {
        const msgpack_object *key = &m->ptr[i].key;
        char number[24];
        cleanup_free char *name = NULL;
        if (key->type == MSGPACK_OBJECT_STR)
            name = strndup(key->via.str.ptr, key->via.str.size);
        else
            snprintf(number, sizeof number, "%lld", (long long)key->via.i64);
        if (json_object_set_new(out, name != NULL ? name : number, to_json(&m->ptr[i].val)) != 0)
            break;
    }
    return out;
}

static json_t *bin_to_json(const msgpack_object_bin *b)
{
    size_t cap = sodium_base64_encoded_len(b->size, sodium_base64_VARIANT_ORIGINAL);
    cleanup_free char *text = malloc(cap);
    if (text == NULL)
        return NULL;
    sodium_bin2base64(text, cap, (const unsigned char *)b->ptr, b->size,
                      sodium_base64_VARIANT_ORIGINAL);
    return json_string(text);
}

/* Depth is bounded: mp_parse refused deeper trees. */
static json_t *to_json(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_EXT:
        return json_null();
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return o->via.u64 <= INT64_MAX ? json_integer((json_int_t)o->via.u64)
                                       : json_real((double)o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_real(o->via.f64);
    case MSGPACK_OBJECT_STR:
        return json_stringn(o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return bin_to_json(&o->via.bin);
    case MSGPACK_OBJECT_ARRAY:
        return array_to_json(&o->via.array);
    case MSGPACK_OBJECT_MAP:
        return map_to_json(&o->via.map);
    }
    return json_null();
}

bool show_json(FILE *to, const msgpack_object *value)
{
    json_t *j = to_json(value);
    if (j == NULL)
        return false;
    int rc = json_dumpf(j, to, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    json_decref(j);
    return rc == 0 && fputc('\n', to) != EOF;
}
