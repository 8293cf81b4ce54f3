/* base/uv/kv_check_internal.h - one page of an LMDB file, for kv_check.c (the walk over a file's
 * pages) and kv_check_page.c (what a page must look like in itself). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/reader.h"

enum {
    KV__PAGE_HEAD = 16,
    KV__NODE_HEAD = 8,
    KV__PAGE_MAX = 65536,
    KV__F_BIGDATA = 1,
};

/* A page as it is in the file. */
struct kv__page {
    const uint8_t *bytes;
    size_t size;
    bool is_leaf;
    bool has_number_keys; /* the free list's: 8 bytes, in the machine's byte order */
};

/* A key, in a page that lives longer; bytes NULL: no bound. */
struct kv__key {
    const uint8_t *bytes;
    size_t len;
};

/* One entry of a page. */
struct kv__node {
    struct kv__key key;
    unsigned flags;   /* leaf */
    size_t len;       /* leaf: of the value */
    size_t data;      /* leaf: where in the page the value, or the number of its page, is */
    uint64_t child;   /* branch */
    size_t at, whole; /* where in the page it is, and its length with padding */
};

/* Numbers of the file are in the machine's byte order; 0 outside of the bytes. */
static inline uint64_t kv__get(const uint8_t *bytes, size_t len, size_t off, size_t width)
{
    uint64_t v = 0;
    struct reader r = reader_on(bytes, len);
    reader_skip(&r, off);
    reader_copy(&r, &v, width);
    return v;
}

static inline size_t kv__page_nodes(const struct kv__page *p)
{
    return (size_t)(kv__get(p->bytes, p->size, 12, 2) - KV__PAGE_HEAD) / 2;
}

/* Reads entry `i`, which kv__page_check found sound. */
void kv__page_node(const struct kv__page *p, size_t i, struct kv__node *out);

/* Is the page as LMDB leaves one: entries of the kinds that we make, that fill the space behind the
 * offsets without a gap or an overlap, keys in order and within [low, high)? NULL, or what is
 * wrong. `least`: entries that it must have. */
const char *kv__page_check(const struct kv__page *p, size_t least, const struct kv__key *low,
                           const struct kv__key *high);
