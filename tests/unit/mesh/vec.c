#include "vec.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *vec_open(const char *name)
{
    char path[512];
    json_error_t why;
    snprintf(path, sizeof path, "%s/%s.json", CYX_VECTORS, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    cr_assert_not_null(root, "%s:%d: %s", path, why.line, why.text);
    return root;
}

void vec_close(json_t *root)
{
    json_decref(root);
}

json_t *vec_get(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    cr_assert_not_null(v, "no field %s", key);
    return v;
}

struct vec_bytes vec_hex(const json_t *string)
{
    struct vec_bytes v = { 0 };
    const char *hex = json_string_value(string);
    cr_assert_not_null(hex, "hex is no string");
    cr_assert_eq(sodium_hex2bin(v.b, sizeof v.b, hex, strlen(hex), NULL, &v.len, NULL), 0);
    cr_assert_eq(2 * v.len, strlen(hex));
    return v;
}

struct vec_bytes vec_bytes(const json_t *o, const char *key)
{
    return vec_hex(vec_get(o, key));
}

void vec_copy(const json_t *o, const char *key, uint8_t *out, size_t n)
{
    struct vec_bytes v = vec_bytes(o, key);
    cr_assert_eq(v.len, n, "field %s: %zu bytes, want %zu", key, v.len, n);
    memcpy(out, v.b, n);
}

uint64_t vec_u64(const json_t *o, const char *key)
{
    const json_t *v = vec_get(o, key);
    if (json_is_string(v))
        return strtoull(json_string_value(v), NULL, 10);
    cr_assert(json_is_integer(v), "field %s is no number", key);
    return (uint64_t)json_integer_value(v);
}

const char *vec_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(vec_get(o, key));
    cr_assert_not_null(s, "field %s is no string", key);
    return s;
}

bool vec_bool(const json_t *o, const char *key)
{
    return json_is_true(vec_get(o, key));
}
