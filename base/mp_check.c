/* The guard in front of msgpack-c: one pass over the bytes with an explicit stack, no recursion, no
 * allocation. One value has one encoding here, so two implementations can't read one message in two
 * ways, and a decoded tree packed again gives the same bytes. */
#include <assert.h>
#include <string.h>

#include "base/mp.h"
#include "base/reader.h"
#include "base/text_internal.h"

enum {
    STACK_MAX = 16,     /* frames; rules ask for fewer */
    FREE_KEYS_MAX = 64, /* keys of a map in free order: each is compared with all before it */
};

const struct mp_rules mp_wire_rules = { .depth_max = MP_DEPTH_MAX, .items_max = MP_ITEMS_MAX };
const struct mp_rules mp_local_rules = { .depth_max = MP_LOCAL_DEPTH_MAX,
                                         .items_max = MP_ITEMS_MAX,
                                         .allow_float = true,
                                         .any_key_order = true };

enum kind { NEVER, PLAIN, FLOAT, UINT, INT, STR, BIN, ARRAY, MAP };

/* What the types 0xc0 to 0xdf say: how many bytes of value or length follow, and where the values
 * begin that no shorter form can hold (for INT: below minus `least`). */
static const struct form {
    enum kind kind;
    unsigned width;
    uint64_t least;
} forms[32] = {
    [0x00] = { PLAIN, 0, 0 },                                 /* nil; 0xc1 is never used */
    [0x02] = { PLAIN, 0, 0 },       [0x03] = { PLAIN, 0, 0 }, /* false, true */
    [0x04] = { BIN, 1, 0 },         [0x05] = { BIN, 2, 0x100 },
    [0x06] = { BIN, 4, 0x10000 }, /* 0xc7 to 0xc9, 0xd4 to 0xd8: extensions, refused */
    [0x0a] = { FLOAT, 4, 0 },       [0x0b] = { FLOAT, 8, 0 },
    [0x0c] = { UINT, 1, 0x80 },     [0x0d] = { UINT, 2, 0x100 },
    [0x0e] = { UINT, 4, 0x10000 },  [0x0f] = { UINT, 8, 0x100000000 },
    [0x10] = { INT, 1, 32 },        [0x11] = { INT, 2, 0x80 },
    [0x12] = { INT, 4, 0x8000 },    [0x13] = { INT, 8, 0x80000000 },
    [0x19] = { STR, 1, 32 },        [0x1a] = { STR, 2, 0x100 },
    [0x1b] = { STR, 4, 0x10000 },   [0x1c] = { ARRAY, 2, 16 },
    [0x1d] = { ARRAY, 4, 0x10000 }, [0x1e] = { MAP, 2, 16 },
    [0x1f] = { MAP, 4, 0x10000 },
};

/* One value's head. INT and UINT: the value, negative ones in two's complement with INT. STR, BIN:
 * the length, and where the bytes are. ARRAY, MAP: the count. */
struct head {
    enum kind kind;
    uint64_t n;
    const uint8_t *bytes;
};

/* An open container. */
struct frame {
    uint64_t left; /* values still to come, keys and values of a map counted each */
    bool is_map;
    unsigned n_keys;
    struct head last_key;
};

struct span {
    const uint8_t *p;
    size_t n;
};

struct walk {
    struct reader r;
    const struct mp_rules *rules;
    uint32_t items;
    unsigned depth;
    struct frame stack[STACK_MAX];
    struct span keys[STACK_MAX][FREE_KEYS_MAX]; /* encoded keys, with any_key_order only */
};

static uint64_t read_be(struct reader *r, unsigned width)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v = v << 8 | reader_u8(r);
    return v;
}

/* NaN has many encodings, and JSON, where local values end up, has neither NaN nor infinity. */
static bool is_finite(uint64_t bits, unsigned width)
{
    const uint64_t exponent = width == 4 ? 0x7f800000u : 0x7ff0000000000000u;
    return (bits & exponent) != exponent;
}

static enum drop read_long_head(struct walk *w, uint8_t type, struct head *h)
{
    const struct form *f = &forms[type - 0xc0];
    if (f->kind == NEVER || (f->kind == FLOAT && !w->rules->allow_float))
        return DROP_FIELD;
    h->kind = f->kind;
    h->n = read_be(&w->r, f->width);
    if (w->r.bad)
        return DROP_SHORT;
    if (f->kind == INT) {
        unsigned unused = 64 - 8 * f->width; /* sign extension */
        h->n = (uint64_t)((int64_t)(h->n << unused) >> unused);
        return (int64_t)h->n < -(int64_t)f->least ? DROP_NONE : DROP_FIELD;
    }
    if (f->kind == FLOAT)
        return is_finite(h->n, f->width) ? DROP_NONE : DROP_FIELD;
    return h->n >= f->least ? DROP_NONE : DROP_FIELD;
}

static enum drop read_head(struct walk *w, struct head *h)
{
    uint8_t type = reader_u8(&w->r);
    *h = (struct head){ .kind = PLAIN };
    if (w->r.bad)
        return DROP_SHORT;
    if (type >= 0xc0 && type < 0xe0)
        return read_long_head(w, type, h);
    if (type < 0x80)
        *h = (struct head){ .kind = UINT, .n = type };
    else if (type < 0x90)
        *h = (struct head){ .kind = MAP, .n = type & 0x0fu };
    else if (type < 0xa0)
        *h = (struct head){ .kind = ARRAY, .n = type & 0x0fu };
    else if (type < 0xc0)
        *h = (struct head){ .kind = STR, .n = type & 0x1fu };
    else
        *h = (struct head){ .kind = INT, .n = (uint64_t)(int64_t)(int8_t)type };
    return DROP_NONE;
}

/* The bytes of a string or binary. */
static enum drop read_bytes(struct walk *w, struct head *h)
{
    h->bytes = h->n <= reader_left(&w->r) ? reader_bytes(&w->r, (size_t)h->n) : NULL;
    if (h->bytes == NULL)
        return DROP_SHORT;
    if (h->kind == STR && !base__utf8_valid(h->bytes, (size_t)h->n))
        return DROP_FIELD;
    return DROP_NONE;
}

static enum drop open_container(struct walk *w, const struct head *h)
{
    uint64_t values = h->kind == MAP ? 2 * h->n : h->n;
    if (w->depth == w->rules->depth_max || values > w->rules->items_max - w->items)
        return DROP_LIMIT;
    if (h->kind == MAP && w->rules->any_key_order && h->n > FREE_KEYS_MAX)
        return DROP_LIMIT;
    if (values > reader_left(&w->r)) /* each takes a byte at least */
        return DROP_SHORT;
    w->stack[w->depth++] = (struct frame){ .left = values, .is_map = h->kind == MAP };
    return DROP_NONE;
}

/* Negative integers, then others, then strings. */
static int key_rank(const struct head *k)
{
    return k->kind == INT ? 0 : k->kind == UINT ? 1 : 2;
}

static bool key_ascends(const struct head *a, const struct head *b)
{
    if (key_rank(a) != key_rank(b))
        return key_rank(a) < key_rank(b);
    if (a->kind != STR)
        return a->n < b->n; /* two's complement keeps the order among negative ones */
    int c = memcmp(a->bytes, b->bytes, (size_t)(a->n < b->n ? a->n : b->n));
    return c != 0 ? c < 0 : a->n < b->n;
}

/* Encodings are unique, so equal keys are equal bytes. */
static bool key_repeats(struct walk *w, const struct frame *f, struct span key)
{
    struct span *seen = w->keys[f - w->stack];
    for (unsigned i = 0; i < f->n_keys; i++)
        if (seen[i].n == key.n && memcmp(seen[i].p, key.p, key.n) == 0)
            return true;
    seen[f->n_keys] = key;
    return false;
}

static enum drop check_key(struct walk *w, struct frame *f, const struct head *h,
                           const uint8_t *start)
{
    struct span key = { start, (size_t)(w->r.p - start) };
    if (h->kind != UINT && h->kind != INT && h->kind != STR)
        return DROP_FIELD;
    if (w->rules->any_key_order && key_repeats(w, f, key))
        return DROP_FIELD;
    if (!w->rules->any_key_order && f->n_keys > 0 && !key_ascends(&f->last_key, h))
        return DROP_FIELD;
    f->last_key = *h;
    f->n_keys++;
    return DROP_NONE;
}

static enum drop walk_value(struct walk *w)
{
    struct frame *f = w->depth > 0 ? &w->stack[w->depth - 1] : NULL;
    const bool is_key = f != NULL && f->is_map && f->left % 2 == 0;
    const uint8_t *start = w->r.p;
    struct head h;
    if (w->items == w->rules->items_max)
        return DROP_LIMIT;
    enum drop d = read_head(w, &h);
    w->items++;
    if (d == DROP_NONE && (h.kind == STR || h.kind == BIN))
        d = read_bytes(w, &h);
    if (d == DROP_NONE && is_key)
        d = check_key(w, f, &h, start);
    if (d != DROP_NONE)
        return d;
    if (f != NULL)
        f->left--;
    return h.kind == ARRAY || h.kind == MAP ? open_container(w, &h) : DROP_NONE;
}

enum drop mp_check(const uint8_t *data, size_t len, const struct mp_rules *rules)
{
    struct walk w; /* 17 KiB: too much to clear for each message */
    w.r = reader_on(data, len);
    w.rules = rules;
    w.items = 0;
    w.depth = 0;
    assert(rules->depth_max <= STACK_MAX);
    do {
        enum drop d = walk_value(&w);
        if (d != DROP_NONE)
            return d;
        while (w.depth > 0 && w.stack[w.depth - 1].left == 0)
            w.depth--;
    } while (w.depth > 0);
    return reader_done(&w.r) ? DROP_NONE : DROP_FIELD; /* trailing bytes */
}
