/* MessagePack. The first byte chooses the rules, the rest is one message. What the guard takes must
 * decode, and pack again to the same bytes: one value, one encoding. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Values and depth, counted on the decoded tree; the guard bounds the recursion. */
static uint32_t count(const msgpack_object *o, unsigned depth, const struct mp_rules *rules)
{
    uint32_t n = 1;
    if (o->type == MSGPACK_OBJECT_ARRAY) {
        require(depth < rules->depth_max);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            n += count(&o->via.array.ptr[i], depth + 1, rules);
    } else if (o->type == MSGPACK_OBJECT_MAP) {
        require(depth < rules->depth_max);
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            n += count(&o->via.map.ptr[i].key, depth + 1, rules);
            n += count(&o->via.map.ptr[i].val, depth + 1, rules);
        }
    }
    require(o->type != MSGPACK_OBJECT_EXT);
    require(rules->allow_float ||
            (o->type != MSGPACK_OBJECT_FLOAT32 && o->type != MSGPACK_OBJECT_FLOAT64));
    return n;
}

static void look_around(const msgpack_object *root)
{
    uint64_t u;
    int64_t i;
    bool b;
    const uint8_t *p;
    const char *s;
    size_t n;
    const msgpack_object *o = mp_get(root, "a") != NULL ? mp_get(root, "a") : mp_get_int(root, 1);
    (void)(mp_u64(o, &u) || mp_i64(o, &i) || mp_bool(o, &b) || mp_bin(o, 32, &p) ||
           mp_bin_any(o, &p, &n) || mp_str(o, &s, &n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct mp_rules tight = { .depth_max = 2, .items_max = 8 };
    static const struct mp_rules *const rules[] = { &mp_wire_rules, &mp_local_rules, &tight };
    if (len == 0)
        return 0;
    const struct mp_rules *r = rules[data[0] % 3];
    size_t n = len - 1;
    uint8_t *in = malloc(n + 1), *out = malloc(n + 1); /* + 1: malloc(0) may give NULL */
    if (in == NULL || out == NULL)
        abort();
    uint8_t *exact = in + 1; /* ends where the block ends */
    memcpy(exact, data + 1, n);
    struct mp_doc doc;
    enum drop d = mp_parse(&doc, exact, n, r);
    require(d == mp_check(exact, n, r));
    if (d == DROP_NONE) {
        struct writer w = writer_on(out, n);
        msgpack_packer pk;
        mp_packer(&pk, &w);
        require(count(&doc.root, 0, r) <= r->items_max);
        look_around(&doc.root);
        require(msgpack_pack_object(&pk, doc.root) == 0 && writer_ok(&w));
        require(writer_len(&w) == n && memcmp(exact, out, n) == 0);
        /* Nothing that is whole is the beginning of something longer, or goes on. */
        for (size_t cut = n > 32 ? n - 32 : 0; cut < n; cut++)
            require(mp_check(exact, cut, r) == DROP_SHORT);
    }
    mp_doc_fini(&doc);
    free(in);
    free(out);
    return 0;
}
