/* base/uv/kv_check_page.c - is one page of an LMDB file as LMDB leaves it?
 *
 * LMDB moves the entries of a page about by the sizes and offsets that stand in it, and searches by
 * the order of its keys: what overlaps, leaves a gap or is out of order ends, at some later change,
 * in a write outside of the page or in a failed assertion. */
#include "base/uv/kv_check_internal.h"

#include "base/env.h"

static size_t even(size_t n)
{
    return n + (n & 1);
}

void kv__page_node(const struct kv__page *p, size_t i, struct kv__node *out)
{
    size_t at = (size_t)kv__get(p->bytes, p->size, KV__PAGE_HEAD + 2 * i, 2);
    uint64_t low = kv__get(p->bytes, p->size, at, 2);
    uint64_t high = kv__get(p->bytes, p->size, at + 2, 2);
    uint64_t flags = kv__get(p->bytes, p->size, at + 4, 2);
    size_t key_len = (size_t)kv__get(p->bytes, p->size, at + 6, 2);
    *out = (struct kv__node){ .at = at };
    out->key.len = key_len;
    out->data = at + KV__NODE_HEAD + key_len;
    if (out->data <= p->size)
        out->key.bytes = p->bytes + at + KV__NODE_HEAD;
    out->whole = KV__NODE_HEAD + key_len;
    if (!p->is_leaf) {
        out->child = low | high << 16 | flags << 32;
    } else {
        out->flags = (unsigned)flags;
        out->len = (size_t)(low | high << 16);
        out->whole += (flags & KV__F_BIGDATA) != 0 ? 8 : out->len;
    }
    out->whole = even(out->whole);
}

/* As LMDB compares them. */
static int compare(const struct kv__page *p, const struct kv__key *a, const struct kv__key *b)
{
    if (p->has_number_keys) {
        uint64_t x = kv__get(a->bytes, a->len, 0, 8);
        uint64_t y = kv__get(b->bytes, b->len, 0, 8);
        return (x > y) - (x < y);
    }
    int rc = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
    return rc != 0 ? rc : (a->len > b->len) - (a->len < b->len);
}

/* One entry by itself; `upper` is where entries begin. */
static const char *check_node(const struct kv__page *p, size_t upper, size_t i,
                              const struct kv__node *n)
{
    bool is_first_branch = !p->is_leaf && i == 0; /* its key is never looked at */
    if (n->at < upper || n->at % 2 != 0 || n->at + KV__NODE_HEAD > p->size)
        return "an entry lies outside its page";
    if (n->key.bytes == NULL || n->at + n->whole > p->size)
        return "an entry runs out of its page";
    /* Other flags mean sub-databases and duplicates: LMDB would follow them, we make none. */
    if ((n->flags & ~(unsigned)KV__F_BIGDATA) != 0 || n->key.len > ENV_KV_KEY_MAX ||
        (n->key.len < 1 && !is_first_branch))
        return "an entry of a kind we never make";
    if (p->has_number_keys && n->key.len != 8 && !is_first_branch)
        return "the free list is bent";
    return NULL;
}

static const char *check_order(const struct kv__page *p, size_t i, const struct kv__node *n,
                               const struct kv__key *before, const struct kv__key *high)
{
    if (!p->is_leaf && i == 0)
        return NULL;
    bool is_in_order = before->bytes == NULL || compare(p, before, &n->key) < 0 ||
                       (i == 0 && compare(p, before, &n->key) == 0); /* the parent's own key */
    if (!is_in_order || (high->bytes != NULL && compare(p, &n->key, high) >= 0))
        return "keys are out of order";
    return NULL;
}

/* Marks the bytes of an entry; false when some are another's. */
static bool mark(uint8_t used[static KV__PAGE_MAX / 16], const struct kv__node *n)
{
    for (size_t at = n->at / 2; at < (n->at + n->whole) / 2; at++) {
        uint8_t bit = (uint8_t)(1u << (at % 8));
        if ((used[at / 8] & bit) != 0)
            return false;
        used[at / 8] |= bit;
    }
    return true;
}

const char *kv__page_check(const struct kv__page *p, size_t least, const struct kv__key *low,
                           const struct kv__key *high)
{
    uint8_t used[KV__PAGE_MAX / 16] = { 0 };
    size_t lower = (size_t)kv__get(p->bytes, p->size, 12, 2);
    size_t upper = (size_t)kv__get(p->bytes, p->size, 14, 2);
    size_t filled = 0;
    struct kv__key before = *low;
    if (lower < KV__PAGE_HEAD + 2 * least || lower % 2 != 0 || lower > upper || upper > p->size)
        return "a page's bounds are wrong";
    for (size_t i = 0; i < kv__page_nodes(p); i++) {
        struct kv__node n;
        kv__page_node(p, i, &n);
        const char *wrong = check_node(p, upper, i, &n);
        if (wrong == NULL)
            wrong = check_order(p, i, &n, &before, high);
        if (wrong != NULL)
            return wrong;
        if (!mark(used, &n))
            return "two entries overlap";
        filled += n.whole;
        if (p->is_leaf || i > 0)
            before = n.key;
    }
    return filled == p->size - upper ? NULL : "a page has a gap";
}
