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
#include "base/uv/kv_check_internal.h"
#include "base/uv/kv_internal.h"

enum {
    KV_CHECK_PAGES = 16384, /* 64 MiB of 4 KiB pages: some tens of milliseconds */
    META_LEN = 152,
    DEPTH_MAX = 32, /* LMDB's cursor stack */
    FREE_ROW = 64,  /* page numbers of the free list read at once */
    P_BRANCH = 1,
    P_LEAF = 2,
    P_OVERFLOW = 4,
    P_META = 8,
    D_INTEGERKEY = 8, /* the free list's own flag; the environment's stand beside it */
};

struct tree {
    bool is_free_list; /* keys are transactions, values are page numbers behind their count */
    unsigned flags, depth;
    uint64_t root;
    uint64_t branches, leaves, overflows, entries; /* as the header says */
};

struct check {
    int fd;
    size_t psize;
    uint64_t n_file_pages; /* whole pages in the file */
    uint64_t last_page;
    uint64_t transaction;
    uint64_t budget; /* pages still to visit */
    bool whole;      /* running out of budget means a loop, not a large store */
    uint8_t *met;    /* a bit for each page that has a use so far; NULL: not kept */
    uint64_t n_met;  /* pages that it covers */
    struct tree trees[2];
    struct tree found; /* what was counted of the tree at hand */
};

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

static uint64_t meta_get(const uint8_t m[static META_LEN], size_t off, size_t width)
{
    return kv__get(m, META_LEN, off, width);
}

static bool is_meta(const uint8_t m[static META_LEN], uint64_t pgno)
{
    return meta_get(m, 0, 8) == pgno && (meta_get(m, 10, 2) & P_META) != 0 &&
           meta_get(m, 16, 4) == 0xBEEFC0DEu;
}

static struct tree tree_of(const uint8_t m[static META_LEN], size_t off)
{
    return (struct tree){ .is_free_list = off == 40,
                          .flags = (unsigned)meta_get(m, off + 4, 2),
                          .depth = (unsigned)meta_get(m, off + 6, 2),
                          .branches = meta_get(m, off + 8, 8),
                          .leaves = meta_get(m, off + 16, 8),
                          .overflows = meta_get(m, off + 24, 8),
                          .entries = meta_get(m, off + 32, 8),
                          .root = meta_get(m, off + 40, 8) };
}

/* Reads both meta pages and takes the newer one's word. */
static const char *read_metas(struct check *c, uint64_t size)
{
    /* What no transaction changes: version, address, page size, flags. */
    static const struct {
        size_t off, width;
    } lasting[] = { { 20, 4 }, { 24, 8 }, { 40, 4 }, { 44, 2 } };
    uint8_t m[2][META_LEN];
    if (!read_at(c->fd, m[0], META_LEN, 0) || !is_meta(m[0], 0))
        return "no LMDB header";
    c->psize = (size_t)meta_get(m[0], 40, 4);
    if (c->psize < 512 || c->psize > KV__PAGE_MAX || (c->psize & (c->psize - 1)) != 0)
        return "bad page size";
    if (!read_at(c->fd, m[1], META_LEN, c->psize) || !is_meta(m[1], 1))
        return "no second LMDB header";
    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++)
        if (meta_get(m[0], lasting[i].off, lasting[i].width) !=
            meta_get(m[1], lasting[i].off, lasting[i].width))
            return "the headers disagree";
    const uint8_t *newer = meta_get(m[0], 144, 8) < meta_get(m[1], 144, 8) ? m[1] : m[0];
    c->transaction = meta_get(newer, 144, 8);
    c->last_page = meta_get(newer, 136, 8);
    c->n_file_pages = size / c->psize;
    if (c->last_page < 1 || c->last_page >= meta_get(newer, 32, 8) / c->psize)
        return "bad last page";
    if (meta_get(newer, 24, 8) != 0)
        return "a header that wants a fixed address";
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
            uint64_t pgno = kv__get(row, sizeof row, i * 8, 8);
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

/* A row of an overflow value's pages; *first is the value's first number (the free list's count).
 */
static const char *check_overflow(struct check *c, uint64_t pgno, uint64_t len, uint64_t *first)
{
    uint8_t head[KV__PAGE_HEAD + 8];
    if (pgno < 2 || pgno > c->last_page || pgno >= c->n_file_pages)
        return "a value lies beyond the end of the file";
    if (!read_at(c->fd, head, sizeof head, pgno * c->psize))
        return "an overflow page can't be read";
    uint64_t pages = kv__get(head, sizeof head, 12, 4);
    if (kv__get(head, sizeof head, 0, 8) != pgno || kv__get(head, sizeof head, 10, 2) != P_OVERFLOW)
        return "an overflow page is something else";
    if (pages < 1 || pages > c->n_file_pages - pgno || pages > c->last_page - pgno + 1 ||
        len + KV__PAGE_HEAD > pages * c->psize)
        return "a value lies beyond the end of the file";
    if (!take_pages(c, pgno, pages))
        return "a page is used twice";
    c->found.overflows += pages;
    *first = kv__get(head, sizeof head, KV__PAGE_HEAD, 8);
    return NULL;
}

static const char *check_value(struct check *c, const struct tree *t, uint64_t pgno,
                               const struct kv__page *p, const struct kv__node *n)
{
    uint64_t first = kv__get(p->bytes, p->size, n->data, 8);
    uint64_t data = pgno * c->psize + n->data;
    c->found.entries++;
    if ((n->flags & KV__F_BIGDATA) != 0) {
        data = first * c->psize + KV__PAGE_HEAD;
        const char *wrong = check_overflow(c, first, n->len, &first);
        if (wrong != NULL)
            return wrong;
    }
    if (!t->is_free_list)
        return NULL;
    uint64_t transaction = kv__get(n->key.bytes, n->key.len, 0, 8);
    if (n->len < 8 || n->len % 8 != 0 || first > n->len / 8 - 1 || transaction == 0 ||
        transaction > c->transaction)
        return "the free list is bent";
    return check_free_pages(c, data + 8, first);
}

struct span {
    struct kv__key low, high; /* keys of the subtree are in [low, high) */
};

static const char *check_page(struct check *c, const struct tree *t, uint64_t pgno, unsigned level,
                              const struct span *span);

static const char *check_children(struct check *c, const struct tree *t, uint64_t pgno,
                                  const struct kv__page *p, unsigned level, const struct span *span)
{
    size_t n_nodes = kv__page_nodes(p);
    const char *wrong = NULL;
    for (size_t i = 0; i < n_nodes && wrong == NULL && c->budget > 0; i++) {
        struct kv__node n, next;
        struct span below = *span;
        kv__page_node(p, i, &n);
        if (i > 0)
            below.low = n.key;
        if (i + 1 < n_nodes) {
            kv__page_node(p, i + 1, &next);
            below.high = next.key;
        }
        wrong = p->is_leaf ? check_value(c, t, pgno, p, &n)
                           : check_page(c, t, n.child, level + 1, &below);
    }
    return wrong;
}

static const char *check_page(struct check *c, const struct tree *t, uint64_t pgno, unsigned level,
                              const struct span *span)
{
    bool is_leaf = level == t->depth;
    if (c->budget == 0)
        return c->whole ? "the tree has a loop" : NULL;
    c->budget--;
    if (pgno < 2 || pgno > c->last_page)
        return "a page number is out of range";
    if (pgno >= c->n_file_pages)
        return "the file is truncated";
    if (!take_pages(c, pgno, 1))
        return "a page is used twice";
    cleanup_free uint8_t *bytes = malloc(c->psize);
    if (bytes == NULL)
        return NULL; /* can't look: no reason to condemn it */
    if (!read_at(c->fd, bytes, c->psize, pgno * c->psize))
        return "a page can't be read";
    /* Exactly: LMDB believes its marks of pages in memory (dirty, loose) on a page of the file too.
     */
    if (kv__get(bytes, c->psize, 0, 8) != pgno ||
        kv__get(bytes, c->psize, 10, 2) != (is_leaf ? P_LEAF : P_BRANCH))
        return "a page is something else";
    *(is_leaf ? &c->found.leaves : &c->found.branches) += 1;
    struct kv__page p = { bytes, c->psize, is_leaf, t->is_free_list };
    /* LMDB never stores an empty page, nor (its assertion) a branch of the main tree with one. */
    const char *wrong =
        kv__page_check(&p, !is_leaf && !t->is_free_list ? 2 : 1, &span->low, &span->high);
    return wrong != NULL ? wrong : check_children(c, t, pgno, &p, level, span);
}

static const char *check_tree(struct check *c, const struct tree *t)
{
    static const struct span all;
    c->found = (struct tree){ 0 };
    if (t->root == UINT64_MAX) /* empty */
        return t->depth == 0 && t->entries == 0 ? NULL : "an empty tree that says it isn't";
    if (t->depth < 1 || t->depth > DEPTH_MAX)
        return "a tree's depth is wrong";
    const char *wrong = check_page(c, t, t->root, 1, &all);
    if (wrong != NULL || c->budget == 0)
        return wrong;
    if (c->found.branches != t->branches || c->found.leaves != t->leaves ||
        c->found.overflows != t->overflows || c->found.entries != t->entries)
        return "a tree's counts are wrong";
    return NULL;
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
    if (c.trees[1].flags != 0 || (c.trees[0].flags & D_INTEGERKEY) == 0)
        return "a tree of a kind we never make";
    c.whole = c.n_file_pages <= c.last_page || c.last_page < KV_CHECK_PAGES;
    c.budget = c.whole ? c.last_page + 1 : KV_CHECK_PAGES;
    /* Pages behind the file's end may be free; none that far behind is worth the memory. */
    uint64_t n_met = (c.last_page < 2 * c.n_file_pages ? c.last_page : 2 * c.n_file_pages) + 1;
    cleanup_free uint8_t *met = calloc((size_t)(n_met / 8 + 1), 1);
    c.met = met;
    c.n_met = met != NULL ? n_met : 0;
    for (unsigned i = 0; i < 2 && wrong == NULL; i++)
        wrong = check_tree(&c, &c.trees[i]);
    return wrong;
}
