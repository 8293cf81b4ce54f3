/* Stores whose free list or page marks are damaged. LMDB hands out the free pages unseen: one that
 * is in use, or no page of the file, becomes a broken tree or a failed assertion at a later commit;
 * so does a page that says it is in memory only. */
#include <signal.h>

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uv/kv_internal.h"
#include "world.h"

enum { PAGE = 4096, META = 16, FILE_MAX = 4 << 20 };

/* A store's bytes, and where the newest header and the free list's first entry lie in them. */
struct image {
    uint8_t bytes[FILE_MAX];
    size_t len;
    size_t meta;
    size_t numbers; /* count, then page numbers in descending order, 8 bytes each */
};

static struct image image;

static uint64_t at64(size_t off)
{
    uint64_t v;
    cr_assert_leq(off + sizeof v, image.len);
    memcpy(&v, image.bytes + off, sizeof v);
    return v;
}

static size_t at16(size_t off)
{
    uint16_t v;
    cr_assert_leq(off + sizeof v, image.len);
    memcpy(&v, image.bytes + off, sizeof v);
    return v;
}

/* A store that has seen enough changes to have free pages, with values of several pages. */
static void make_store(struct world *w)
{
    static uint8_t val[9000];
    struct env_kv *kv = NULL;
    cr_assert_eq(env_kv_open(w->e, "peers", 1 << 20, &kv, NULL), 0);
    for (unsigned round = 0; round < 12; round++) {
        struct done d = { 0 };
        struct env_kv_batch *b = env_kv_batch(w->e, kv);
        for (unsigned i = 0; i < 40; i++) {
            char key[16];
            int n = snprintf(key, sizeof key, "key-%03u", (i * 7 + round) % 60);
            size_t len = i % 9 == 0 ? sizeof val : 200;
            cr_assert_eq(round % 3 == 2 ? env_kv_del(w->e, b, key, (size_t)n)
                                        : env_kv_put(w->e, b, key, (size_t)n, val, len),
                         0);
        }
        env_kv_commit(w->e, b, note_done, &d);
        run_until(w->e, &d.n, 1);
        cr_assert_eq(d.code, 0);
    }
    env_kv_close(w->e, kv);
}

static void read_image(const struct world *w)
{
    int fd = open(world_path(w, "peers.mdb"), O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, image.bytes, sizeof image.bytes);
    cr_assert(n > 0 && (size_t)n < sizeof image.bytes);
    close(fd);
    image.len = (size_t)n;
    image.meta = at64(144) > at64(PAGE + 144) ? 0 : PAGE;
    size_t page = at64(image.meta + 40 + 40) * PAGE;
    cr_assert_eq(at16(image.meta + 40 + 6), 1, "the free list is one page");
    size_t node = page + at16(page + META);
    image.numbers = node + 8 + at16(node + 6);
    cr_assert_geq(at64(image.numbers), 2, "some pages are free");
}

/* The verdict on the image with `v` at `off`. */
static const char *verdict(const struct world *w, size_t off, uint64_t v)
{
    uint64_t kept = at64(off);
    memcpy(image.bytes + off, &v, sizeof v);
    write_file(world_path(w, "peers.mdb"), image.bytes, image.len, 0600);
    int fd = open(world_path(w, "peers.mdb"), O_RDONLY | O_CLOEXEC);
    const char *wrong = env_uv__kv_check(fd);
    close(fd);
    memcpy(image.bytes + off, &kept, sizeof kept);
    return wrong;
}

Test(uv_kv, a_free_list_that_names_wrong_pages_is_damage, .timeout = 60)
{
    struct world w = world_make();
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    size_t first = image.numbers + 8;
    cr_expect_null(verdict(&w, first, at64(first)), "as LMDB wrote it");
    cr_expect_not_null(verdict(&w, first, at64(image.meta + 136) + 1), "beyond the last page");
    cr_expect_not_null(verdict(&w, first, UINT64_MAX), "no page at all");
    cr_expect_not_null(verdict(&w, first + 8, 1), "a header");
    cr_expect_not_null(verdict(&w, first, at64(first + 8)), "one page twice");
    uint64_t in_use[] = { at64(image.meta + 40 + 40), at64(image.meta + 88 + 40) };
    for (unsigned i = 0; i < 2; i++) {
        /* Where it keeps the order, so that only its being in use is wrong. */
        size_t off = first;
        while (off + 8 < first + 8 * at64(image.numbers) && at64(off + 8) > in_use[i])
            off += 8;
        cr_expect_not_null(verdict(&w, off, in_use[i]), "the root of tree %u", i);
    }
    world_end(&w);
}

Test(uv_kv, a_page_that_claims_to_be_dirty_is_damage, .timeout = 60)
{
    struct world w = world_make();
    static const uint64_t marks[] = { 0x10, 0x4000, 0x8000 }; /* dirty, loose, keep */
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    for (unsigned i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t head = at64(image.meta + 88 + 40) * PAGE + 8; /* pad 2, flags 2, bounds 4 */
        cr_expect_not_null(verdict(&w, head, at64(head) | marks[i] << 16), "mark %u", i);
    }
    world_end(&w);
}

/* ---- pages of the trees -----------------------------------------------------------------------
 */

/* Where the root page of the main tree begins. */
static size_t main_root(void)
{
    return at64(image.meta + 88 + 40) * PAGE;
}

/* `v` in the lowest `width` bytes of what stands at `off`. */
static uint64_t with(size_t off, uint64_t v, unsigned width)
{
    uint64_t mask = (UINT64_C(1) << 8 * width) - 1;
    return (at64(off) & ~mask) | (v & mask);
}

Test(uv_kv, a_page_that_contradicts_itself_is_damage, .timeout = 60)
{
    struct world w = world_make();
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    size_t root = main_root();
    size_t offsets = root + META;
    size_t first = root + at16(offsets);
    size_t second = root + at16(offsets + 2);
    cr_expect_null(verdict(&w, offsets, at64(offsets)), "as LMDB wrote it");
    cr_expect_not_null(verdict(&w, offsets, with(offsets, at16(offsets + 2), 2)),
                       "one entry twice");
    cr_expect_not_null(verdict(&w, offsets, with(offsets, at16(offsets) + 2, 2)), "bent offset");
    cr_expect_not_null(verdict(&w, root + 12, with(root + 12, at16(root + 12) - 2, 2)),
                       "an entry is missing: a gap");
    cr_expect_not_null(verdict(&w, second + 6, with(second + 6, at16(second + 6) + 2, 2)),
                       "a longer key: an overlap");
    cr_expect_not_null(verdict(&w, second + 8, 0), "keys out of order");
    cr_expect_not_null(verdict(&w, second + 8, UINT64_MAX), "a key beyond the next");
    cr_expect_null(verdict(&w, first, at64(first)), "and still sound");
    world_end(&w);
}

Test(uv_kv, a_header_that_contradicts_its_trees_is_damage, .timeout = 60)
{
    struct world w = world_make();
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    for (size_t tree = 40; tree <= 88; tree += 48)
        for (size_t off = 8; off <= 32; off += 8) { /* branches, leaves, overflow pages, entries */
            size_t at = image.meta + tree + off;
            cr_expect_not_null(verdict(&w, at, at64(at) + 1), "count at %zu", tree + off);
        }
    cr_expect_not_null(verdict(&w, image.meta + 24, 0x7f0000000000), "a fixed address");
    cr_expect_not_null(verdict(&w, image.meta + 40 + 40, UINT64_MAX), "free list gone, counts not");
    world_end(&w);
}

/* ---- stores that go bad while they are open ---------------------------------------------------
 */

/* In a child: LMDB must meet the damage that nobody could see when the store was opened. */
static void meet_damage(struct world *w, struct env_kv *kv)
{
    struct rlimit none = { 0 };
    (void)setrlimit(RLIMIT_CORE, &none);
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(4);
    int fd = open(world_path(w, "peers.mdb"), O_WRONLY | O_CLOEXEC);
    for (uint64_t i = 0; i < at64(image.numbers); i++) /* one page, again and again */
        if (pwrite(fd, image.bytes + image.numbers + 8, 8, (off_t)(image.numbers + 8 + 8 * i)) != 8)
            _exit(2);
    struct env_kv_batch *b = env_kv_batch(w->e, kv);
    struct done d = { 0 };
    static uint8_t val[900];
    for (unsigned i = 0; i < 40; i++)
        if (env_kv_put(w->e, b, &i, sizeof i, val, sizeof val) != 0)
            _exit(3);
    env_kv_commit(w->e, b, note_done, &d);
    while (d.n == 0)
        run_turns(w->e, 1);
    _exit(0);
}

static bool count(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val, size_t val_len)
{
    (void)key;
    (void)key_len;
    (void)val;
    (void)val_len;
    (*(unsigned *)arg)++;
    return true;
}

Test(uv_kv, a_store_with_a_damaged_free_list_starts_afresh, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = NULL;
    unsigned n = 0;
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    (void)verdict(&w, image.numbers + 8, at64(image.numbers + 16)); /* leaves it in the file */
    cr_assert_eq(env_kv_open(w.e, "peers", 1 << 20, &kv, NULL), 0);
    cr_expect_eq(env_kv_each(w.e, kv, NULL, 0, count, &n), 0);
    cr_expect_eq(n, 0);
    env_kv_close(w.e, kv);
    world_end(&w);
}

Test(uv_kv, a_store_on_which_LMDB_gave_up_starts_afresh, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = NULL;
    unsigned n = 0;
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("written for pages of 4 KiB");
    make_store(&w);
    read_image(&w);
    env_uv_destroy(w.e);
    pid_t child = fork();
    if (child == 0) {
        w.e = env_uv_create(&(struct env_uv_options){ .data_dir = w.dir }, NULL);
        if (w.e == NULL || env_kv_open(w.e, "peers", 1 << 20, &kv, NULL) != 0)
            _exit(1);
        meet_damage(&w, kv);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
    cr_expect_eq(access(world_path(&w, "peers.mdb-refused"), F_OK), 0, "a mark is left");
    /* Sound bytes or not: what LMDB refused once is not tried again. */
    write_file(world_path(&w, "peers.mdb"), image.bytes, image.len, 0600);
    w.e = env_uv_create(&(struct env_uv_options){ .data_dir = w.dir }, NULL);
    cr_assert_not_null(w.e);
    cr_assert_eq(env_kv_open(w.e, "peers", 1 << 20, &kv, NULL), 0);
    cr_expect_eq(env_kv_each(w.e, kv, NULL, 0, count, &n), 0);
    cr_expect_eq(n, 0);
    cr_expect_neq(access(world_path(&w, "peers.mdb-refused"), F_OK), 0, "the mark is gone");
    env_kv_close(w.e, kv);
    world_end(&w);
}
