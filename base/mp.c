#include "base/mp.h"

#include <string.h>

#include "base/text_internal.h"

enum { ZONE_CHUNK_MIN = 512, ZONE_CHUNK_MAX = 8192 }; /* bytes; zones grow by themselves */

enum drop mp_parse(struct mp_doc *doc, const uint8_t *data, size_t len,
                   const struct mp_rules *rules)
{
    size_t off = 0;
    *doc = (struct mp_doc){ .has_zone = false };
    enum drop d = mp_check(data, len, rules);
    if (d != DROP_NONE)
        return d;
    size_t chunk = len < ZONE_CHUNK_MIN ? ZONE_CHUNK_MIN : ZONE_CHUNK_MAX;
    if (!msgpack_zone_init(&doc->zone, chunk))
        return DROP_MEMORY;
    doc->has_zone = true;
    msgpack_unpack_return rc =
        msgpack_unpack((const char *)data, len, &off, &doc->zone, &doc->root);
    if (rc == MSGPACK_UNPACK_SUCCESS && off == len)
        return DROP_NONE;
    mp_doc_fini(doc);
    return rc == MSGPACK_UNPACK_NOMEM_ERROR ? DROP_MEMORY : DROP_FIELD;
}

void mp_doc_fini(struct mp_doc *doc)
{
    if (doc->has_zone)
        msgpack_zone_destroy(&doc->zone);
    *doc = (struct mp_doc){ .has_zone = false };
}

static bool is_map(const msgpack_object *o)
{
    return o != NULL && o->type == MSGPACK_OBJECT_MAP;
}

const msgpack_object *mp_get(const msgpack_object *map, const char *key)
{
    for (uint32_t i = 0; is_map(map) && i < map->via.map.size; i++)
        if (mp_is_str(&map->via.map.ptr[i].key, key))
            return &map->via.map.ptr[i].val;
    return NULL;
}

const msgpack_object *mp_get_int(const msgpack_object *map, uint64_t key)
{
    uint64_t k;
    for (uint32_t i = 0; is_map(map) && i < map->via.map.size; i++)
        if (mp_u64(&map->via.map.ptr[i].key, &k) && k == key)
            return &map->via.map.ptr[i].val;
    return NULL;
}

bool mp_u64(const msgpack_object *o, uint64_t *out)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = o->via.u64;
    return true;
}

bool mp_i64(const msgpack_object *o, int64_t *out)
{
    if (o == NULL)
        return false;
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        *out = (int64_t)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = o->via.i64;
    else
        return false;
    return true;
}

bool mp_bool(const msgpack_object *o, bool *out)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = o->via.boolean;
    return true;
}

bool mp_bin_any(const msgpack_object *o, const uint8_t **out, size_t *len)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_BIN)
        return false;
    *out = (const uint8_t *)o->via.bin.ptr;
    *len = o->via.bin.size;
    return true;
}

bool mp_bin(const msgpack_object *o, size_t n, const uint8_t **out)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != n)
        return false;
    *out = (const uint8_t *)o->via.bin.ptr;
    return true;
}

bool mp_str(const msgpack_object *o, const char **out, size_t *len)
{
    if (o == NULL || o->type != MSGPACK_OBJECT_STR)
        return false;
    *out = o->via.str.size > 0 ? o->via.str.ptr : ""; /* msgpack-c leaves NULL for empty ones */
    *len = o->via.str.size;
    return true;
}

bool mp_is_str(const msgpack_object *o, const char *s)
{
    size_t len = strlen(s);
    return o != NULL && o->type == MSGPACK_OBJECT_STR && o->via.str.size == len &&
           (len == 0 || memcmp(o->via.str.ptr, s, len) == 0);
}

static int write_to_writer(void *data, const char *buf, size_t len)
{
    struct writer *w = data;
    writer_copy(w, buf, len);
    return writer_ok(w) ? 0 : -1;
}

void mp_packer(msgpack_packer *pk, struct writer *w)
{
    msgpack_packer_init(pk, w, write_to_writer);
}

void mp_pack_str(msgpack_packer *pk, const char *s)
{
    size_t len = strlen(s);
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, s, len);
}

void mp_pack_text(msgpack_packer *pk, const char *s)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const uint8_t *p = (const uint8_t *)s;
    const size_t in_len = strlen(s);
    size_t out_len = 0;
    for (size_t at = 0, n; at<in_len; at += n> 0 ? n : 1) {
        n = base__utf8_char(p + at, in_len - at, NULL);
        out_len += n > 0 ? n : sizeof replacement - 1;
    }
    msgpack_pack_str(pk, out_len);
    for (size_t at = 0, n; at<in_len; at += n> 0 ? n : 1) {
        n = base__utf8_char(p + at, in_len - at, NULL);
        if (n > 0)
            msgpack_pack_str_body(pk, s + at, n);
        else
            msgpack_pack_str_body(pk, replacement, sizeof replacement - 1);
    }
}

void mp_pack_bin(msgpack_packer *pk, const void *data, size_t len)
{
    msgpack_pack_bin(pk, len);
    msgpack_pack_bin_body(pk, data, len);
}
