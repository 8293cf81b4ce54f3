/* base/uv/kv_check.c - is this LMDB file sound enough to be mapped?
 *
 * LMDB trusts its file: a page number beyond the end is SIGBUS, a bent offset reads wild memory.
 * This walk reads with pread alone and follows every page the newest meta page reaches: main tree,
 * free list, overflow pages. None may be reached twice, nor be free as well: LMDB would write over
 * it, or end the process with a failed assertion. In a large store it stops after KV_CHECK_PAGES,
 * unless the file is shorter than its meta page says; that can be harmless (pages at the end that
 * were taken and freed in one transaction are never written), so the length alone proves nothing,
 * and the walk is whole.
 *
 * The layout is LMDB 0.9's for 64-bit machines, in the machine's byte order:
 *   page   0 number 8, 8 pad 2, 10 flags 2, 12 lower 2 and 14 upper 2 (or overflow pages 4)
 *          16 offsets of nodes 2 each, up to lower
 *   meta   16 magic 4, 20 version 4, 24 address 8, 32 map size 8, 40 free tree, 88 main tree,
 *          136 last page 8, 144 transaction 8
 *   tree   0 page size 4 (free tree only), 4 flags 2, 6 depth 2, 8 counts 4 x 8, 40 root 8
 *   node   0 size or page, low 2, 2 high 2, 4 flags (or page, top) 2, 6 key size 2, 8 key, data */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/reader.h"
#include "base/uv/kv_internal.h"

enum {
    KV_CHECK_PAGES = 16384, /* 64 MiB of 4 KiB pages: some tens of milliseconds */
    META_LEN = 152,
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    DEPTH_MAX = 32, /* LMDB's cursor stack */
    FREE_ROW = 64,  /* page numbers of the free list read at once */
    P_BRANCH = 1,
    P_LEAF = 2,
    P_OVERFLOW = 4,
    P_META = 8,
    F_BIGDATA = 1,
};

struct tree {
    bool is_free_list; /* keys are 8 bytes, values are page numbers behind their count */
    unsigned flags, depth;
    uint64_t root;
};

struct check {
    int fd;
    size_t psize;
    uint64_t n_file_pages; /* whole pages in the file */
    uint64_t last_page;
    uint64_t budget; /* pages still to visit */
    bool whole;      /* running out of budget means a loop, not a large store */
    uint8_t *met;    /* a bit for each page that has a use so far; NULL: not kept */
    uint64_t n_met;  /* pages that it covers */
    struct tree trees[2];
};

static uint16_t get16(const uint8_t *page, size_t len, size_t off)
{
    uint16_t v;
    struct reader r = reader_on(page, len);
    reader_skip(&r, off);
    reader_copy(&r, &v, sizeof v);
    return v;
}

static uint32_t get32(const uint8_t *page, size_t len, size_t off)
{
    uint32_t v;
    struct reader r = reader_on(page, len);
    reader_skip(&r, off);
    reader_copy(&r, &v, sizeof v);
    return v;
}

static uint64_t get64(const uint8_t *page, size_t len, size_t off)
{
    uint64_t v;
    struct reader r = reader_on(page, len);
    reader_skip(&r, off);
    reader_copy(&r, &v, sizeof v);
    return v;
}

static bool read_at(int fd, uint8_t *buf, size_t len, uint64_t off)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(fd, buf + got, len - got, (off_t)(off + got));
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

/* ---- meta pages -------------------------------------------------------------------------------
 */

static bool is_meta(const uint8_t m[static META_LEN])
{
    return (get16(m, META_LEN, 10) & P_META) != 0 && get32(m, META_LEN, 16) == 0xBEEFC0DEu;
}

static struct tree tree_of(const uint8_t m[static META_LEN], size_t off)
{
    return (struct tree){ .is_free_list = off == 40,
                          .flags = get16(m, META_LEN, off + 4),
                          .depth = get16(m, META_LEN, off + 6),
                          .root = get64(m, META_LEN, off + 40) };
}

/* Reads both meta pages and takes the newer one's word. */
static const char *read_metas(struct check *c, uint64_t size)
{
    uint8_t m[2][META_LEN];
    if (!read_at(c->fd, m[0], META_LEN, 0) || !is_meta(m[0]))
        return "no LMDB header";
    c->psize = get32(m[0], META_LEN, 40);
    if (c->psize < 512 || c->psize > 65536 || (c->psize & (c->psize - 1)) != 0)
        return "bad page size";
    if (!read_at(c->fd, m[1], META_LEN, c->psize) || !is_meta(m[1]))
        return "no second LMDB header";
    if (get32(m[1], META_LEN, 40) != c->psize)
        return "the headers disagree";
    const uint8_t *newer = get64(m[0], META_LEN, 144) < get64(m[1], META_LEN, 144) ? m[1] : m[0];
    c->last_page = get64(newer, META_LEN, 136);
    c->n_file_pages = size / c->psize;
    if (c->last_page < 1 || c->last_page >= get64(newer, META_LEN, 32) / c->psize)
        return "bad last page";
    c->trees[0] = tree_of(newer, 40);
    c->trees[1] = tree_of(newer, 88);
    return NULL;
}

/* ---- who uses a page --------------------------------------------------------------------------
 */

/* Says what `n` pages from `pgno` are used for; false when one of them has a use already. */
static bool take_pages(struct check *c, uint64_t pgno, uint64_t n)
{
    for (uint64_t end = pgno + n; pgno < end && pgno < c->n_met; pgno++) {
        uint8_t bit = (uint8_t)(1u << (pgno % 8));
        if ((c->met[pgno / 8] & bit) != 0)
            return false;
        c->met[pgno / 8] |= bit;
    }
    return true;
}

/* An entry of the free list: `n` page numbers at `off` in the file, in descending order. LMDB hands
 * them out as they stand. */
static const char *check_free_pages(struct check *c, uint64_t off, uint64_t n)
{
    uint8_t row[FREE_ROW * 8];
    uint64_t above = c->last_page + 1;
    while (n > 0) {
        size_t part = n < FREE_ROW ? (size_t)n : FREE_ROW;
        if (!read_at(c->fd, row, part * 8, off))
            return "the free list can't be read";
        for (size_t i = 0; i < part; i++) {
            uint64_t pgno = get64(row, sizeof row, i * 8);
            if (pgno < 2 || pgno >= above || !take_pages(c, pgno, 1))
                return "the free list is bent";
            above = pgno;
        }
        off += part * 8;
        n -= part;
    }
    return NULL;
}

/* ---- trees ------------------------------------------------------------------------------------
 */

static const char *check_page(struct check *c, const struct tree *t, uint64_t pgno, unsigned level);

/* A row of an overflow value's pages; *first is the value's first number (the free list's count).
 */
static const char *check_overflow(struct check *c, uint64_t pgno, uint64_t len, uint64_t *first)
{
    uint8_t head[PAGE_HEAD + 8];
    if (pgno < 2 || pgno > c->last_page || pgno >= c->n_file_pages)
        return "a value lies beyond the end of the file";
    if (!read_at(c->fd, head, sizeof head, pgno * c->psize))
        return "an overflow page can't be read";
    uint64_t pages = get32(head, sizeof head, 12);
    if (get64(head, sizeof head, 0) != pgno || get16(head, sizeof head, 10) != P_OVERFLOW)
        return "an overflow page is something else";
    if (pages < 1 || pages > c->n_file_pages - pgno || len + PAGE_HEAD > pages * c->psize)
        return "a value lies beyond the end of the file";
    if (!take_pages(c, pgno, pages))
        return "a page is used twice";
    *first = get64(head, sizeof head, PAGE_HEAD);
    return NULL;
}

static const char *check_leaf_node(struct check *c, const struct tree *t, const uint8_t *page,
                                   size_t at)
{
    uint32_t len = get16(page, c->psize, at) | (uint32_t)get16(page, c->psize, at + 2) << 16;
    size_t key_len = get16(page, c->psize, at + 6);
    unsigned flags = get16(page, c->psize, at + 4);
    /* Other flags mean sub-databases and duplicates: LMDB would follow them, we make none. */
    if ((flags & ~(unsigned)F_BIGDATA) != 0 || key_len < 1 || key_len > ENV_KV_KEY_MAX)
        return "an entry of a kind we never make";
    if (at + NODE_HEAD + key_len + (flags != 0 ? 8 : len) > c->psize)
        return "an entry runs out of its page";
    uint64_t first = get64(page, c->psize, at + NODE_HEAD + key_len);
    uint64_t data = get64(page, c->psize, 0) * c->psize + at + NODE_HEAD + key_len;
    if (flags != 0) {
        data = first * c->psize + PAGE_HEAD;
        const char *wrong = check_overflow(c, first, len, &first);
        if (wrong != NULL)
            return wrong;
    }
    if (!t->is_free_list)
        return NULL;
    if (key_len != 8 || len < 8 || len % 8 != 0 || first > len / 8 - 1)
        return "the free list is bent";
    return check_free_pages(c, data + 8, first);
}

static const char *check_branch_node(struct check *c, const struct tree *t, const uint8_t *page,
                                     size_t at, unsigned level)
{
    size_t key_len = get16(page, c->psize, at + 6);
    if (key_len > ENV_KV_KEY_MAX || at + NODE_HEAD + key_len > c->psize)
        return "an entry runs out of its page";
    uint64_t child = get16(page, c->psize, at) | (uint64_t)get16(page, c->psize, at + 2) << 16 |
                     (uint64_t)get16(page, c->psize, at + 4) << 32;
    return check_page(c, t, child, level + 1);
}

static const char *check_nodes(struct check *c, const struct tree *t, const uint8_t *page,
                               unsigned level)
{
    size_t lower = get16(page, c->psize, 12);
    size_t upper = get16(page, c->psize, 14);
    /* LMDB never stores an empty page, nor (its assertion) a branch of the main tree with one. */
    size_t least = level < t->depth && !t->is_free_list ? 2 : 1;
    if (lower < PAGE_HEAD + 2 * least || lower % 2 != 0 || lower > upper || upper > c->psize)
        return "a page's bounds are wrong";
    const char *wrong = NULL;
    for (size_t i = PAGE_HEAD; i < lower && wrong == NULL && c->budget > 0; i += 2) {
        size_t at = get16(page, c->psize, i);
        if (at < upper || at % 2 != 0 || at + NODE_HEAD > c->psize)
            return "an entry lies outside its page";
        wrong = level == t->depth ? check_leaf_node(c, t, page, at)
                                  : check_branch_node(c, t, page, at, level);
    }
    return wrong;
}

static const char *check_page(struct check *c, const struct tree *t, uint64_t pgno, unsigned level)
{
    if (c->budget == 0)
        return c->whole ? "the tree has a loop" : NULL;
    c->budget--;
    if (pgno < 2 || pgno > c->last_page)
        return "a page number is out of range";
    if (pgno >= c->n_file_pages)
        return "the file is truncated";
    if (!take_pages(c, pgno, 1))
        return "a page is used twice";
    cleanup_free uint8_t *page = malloc(c->psize);
    if (page == NULL)
        return NULL; /* can't look: no reason to condemn it */
    if (!read_at(c->fd, page, c->psize, pgno * c->psize))
        return "a page can't be read";
    /* Exactly: LMDB believes its marks of pages in memory (dirty, loose) on a page of the file too.
     */
    unsigned kind = get16(page, c->psize, 10);
    if (get64(page, c->psize, 0) != pgno || kind != (level == t->depth ? P_LEAF : P_BRANCH))
        return "a page is something else";
    return check_nodes(c, t, page, level);
}

const char *env_uv__kv_check(int fd)
{
    struct stat st;
    struct check c = { .fd = fd };
    /* Elsewhere the layout is another one: no reason to condemn what we can't read. */
    if (sizeof(size_t) != 8 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
        return NULL;
    if (fstat(fd, &st) < 0 || st.st_size == 0)
        return NULL; /* empty: LMDB makes it new */
    const char *wrong = read_metas(&c, (uint64_t)st.st_size);
    if (wrong != NULL)
        return wrong;
    if (c.trees[1].flags != 0)
        return "a tree of a kind we never make";
    c.whole = c.n_file_pages <= c.last_page || c.last_page < KV_CHECK_PAGES;
    c.budget = c.whole ? c.last_page + 1 : KV_CHECK_PAGES;
    /* Pages behind the file's end may be free; none that far behind is worth the memory. */
    uint64_t n_met = (c.last_page < 2 * c.n_file_pages ? c.last_page : 2 * c.n_file_pages) + 1;
    cleanup_free uint8_t *met = calloc((size_t)(n_met / 8 + 1), 1);
    c.met = met;
    c.n_met = met != NULL ? n_met : 0;
    for (unsigned i = 0; i < 2 && wrong == NULL; i++) {
        const struct tree *t = &c.trees[i];
        if (t->root == UINT64_MAX)
            continue; /* an empty tree */
        if (t->depth < 1 || t->depth > DEPTH_MAX)
            return "a tree's depth is wrong";
        wrong = check_page(&c, t, t->root, 1);
    }
    return wrong;
}
