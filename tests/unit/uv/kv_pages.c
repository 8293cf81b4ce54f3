/* Stores whose free list or page marks are damaged. LMDB hands out the free pages unseen: one that
 * is in use, or no page of the file, becomes a broken tree or a failed assertion at a later commit;
 * so does a page that says it is in memory only. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
