/* Bad days of the disk: full, then read-only. They need a small file system of our own: root, and a
 * kernel that lets us mount a tmpfs in a mount namespace. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "world.h"

enum { DISK = 2 << 20, STORE = 64 << 20 };

/* A world on a tmpfs of 2 MiB; false where that can't be had. */
static bool small_world(struct world *w)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    *w = world_make();
    env_uv_destroy(w->e);
    w->e = NULL;
    if (mount("cyx", w->dir, "tmpfs", 0, "size=2m,mode=0700") < 0) {
        rmdir(w->dir);
        return false;
    }
    world_reopen(w);
    return true;
}

static void small_world_end(struct world *w)
{
    env_uv_destroy(w->e);
    cr_expect_eq(umount(w->dir), 0, "something is still open");
    cr_expect_eq(rmdir(w->dir), 0);
}

static int put(struct world *w, struct env_kv *kv, const char *key, size_t len)
{
    static uint8_t val[DISK];
    struct done d = { 0 };
    struct env_kv_batch *b = env_kv_batch(w->e, kv);
    cr_assert_eq(env_kv_put(w->e, b, key, strlen(key), val, len), 0);
    env_kv_commit(w->e, b, note_done, &d);
    run_until(w->e, &d.n, 1);
    return d.code;
}

/* Takes every block that is left. */
static void fill_disk(const struct world *w)
{
    static const uint8_t page[4096];
    FILE *f = fopen(world_path(w, "ballast"), "w");
    cr_assert_not_null(f);
    setbuf(f, NULL);
    while (fwrite(page, sizeof page, 1, f) == 1)
        ;
    cr_assert_eq(errno, ENOSPC);
    fclose(f);
}

Test(uv_disk, a_full_disk_is_an_error_and_commits_work_again_when_there_is_space, .timeout = 60)
{
    struct world w;
    struct env_kv *kv = NULL;
    size_t len = 0;
    uint8_t byte;
    if (!small_world(&w))
        cr_skip_test("needs root and a tmpfs of its own");
    cr_assert_eq(env_kv_open(w.e, "peers", STORE, &kv, NULL), 0);
    cr_expect_eq(put(&w, kv, "kept", 1), 0);
    static const uint8_t ballast[DISK / 2];
    write_file(world_path(&w, "ballast"), ballast, sizeof ballast, 0600);
    cr_expect_eq(put(&w, kv, "big", DISK / 2 + DISK / 4), CYX_ENOSPC);
    cr_expect_eq(env_kv_get(w.e, kv, "kept", 4, &byte, 1, &len), 0, "stays readable");
    cr_expect_eq(env_kv_get(w.e, kv, "big", 3, &byte, 1, &len), CYX_ENOENT);
    struct done d = { 0 };
    static uint8_t blob[ENV_UV_BLOB_MAX];
    env_blob_store(w.e, "blob", blob, sizeof blob, note_done, &d);
    run_until(w.e, &d.n, 1);
    cr_expect_eq(d.code, CYX_ENOSPC);
    cr_expect_neq(access(world_path(&w, "blob.tmp"), F_OK), 0);
    cr_assert_eq(unlink(world_path(&w, "ballast")), 0);
    cr_expect_eq(put(&w, kv, "later", DISK / 4), 0);
    env_kv_close(w.e, kv);
    small_world_end(&w);
}

Test(uv_disk, a_trail_has_all_of_it_or_nothing, .timeout = 60)
{
    static uint8_t page[4096], buf[2 * sizeof page];
    struct world w;
    struct env_trail *t;
    size_t len = 0;
    if (!small_world(&w))
        cr_skip_test("needs root and a tmpfs of its own");
    cr_assert_eq(env_trail_open(w.e, "seen", true, &t), 0);
    cr_assert_eq(env_trail_add(w.e, t, page, 16), 0);
    fill_disk(&w);
    cr_expect_eq(env_trail_add(w.e, t, page, sizeof page), CYX_ENOSPC);
    cr_assert_eq(env_trail_load(w.e, "seen", buf, sizeof buf, &len), 0);
    cr_expect_eq(len, 16u);
    cr_assert_eq(unlink(world_path(&w, "ballast")), 0);
    cr_expect_eq(env_trail_add(w.e, t, page, sizeof page), 0);
    cr_assert_eq(env_trail_load(w.e, "seen", buf, sizeof buf, &len), 0);
    cr_expect_eq(len, 16u + sizeof page);
    env_trail_close(w.e, t);
    small_world_end(&w);
}

Test(uv_disk, opening_a_store_on_a_full_disk_is_an_error_not_a_signal, .timeout = 60)
{
    struct world w;
    struct env_kv *kv = NULL;
    struct cyx_err err = { 0 };
    if (!small_world(&w))
        cr_skip_test("needs root and a tmpfs of its own");
    fill_disk(&w);
    cr_expect_eq(env_kv_open(w.e, "fresh", STORE, &kv, &err), CYX_ENOSPC, "%s", err.msg);
    cr_expect_not_null(strstr(err.msg, "free some space"), "%s", err.msg);
    cr_assert_eq(unlink(world_path(&w, "ballast")), 0);
    cr_assert_eq(env_kv_open(w.e, "fresh", STORE, &kv, &err), 0, "%s", err.msg);
    cr_expect_eq(put(&w, kv, "kept", 1), 0);
    env_kv_close(w.e, kv);
    /* A copy of the folder may have left out LMDB's lock file, or copied it with holes. */
    cr_assert_eq(unlink(world_path(&w, "fresh.mdb-lock")), 0);
    write_file(world_path(&w, "fresh.mdb-lock"), "", 0, 0600);
    cr_assert_eq(truncate(world_path(&w, "fresh.mdb-lock"), 8192), 0);
    fill_disk(&w);
    cr_expect_eq(env_kv_open(w.e, "fresh", STORE, &kv, &err), CYX_ENOSPC, "%s", err.msg);
    cr_assert_eq(unlink(world_path(&w, "ballast")), 0);
    small_world_end(&w);
}

Test(uv_disk, a_read_only_disk_is_refused_with_the_cure, .timeout = 60)
{
    struct world w;
    struct env_kv *kv = NULL;
    struct cyx_err err = { 0 };
    if (!small_world(&w))
        cr_skip_test("needs root and a tmpfs of its own");
    cr_assert_eq(env_kv_open(w.e, "peers", STORE, &kv, NULL), 0);
    cr_expect_eq(put(&w, kv, "kept", 1), 0);
    env_kv_close(w.e, kv);
    cr_assert_eq(mount(NULL, w.dir, NULL, MS_REMOUNT | MS_RDONLY, "size=2m"), 0);
    cr_expect_eq(env_kv_open(w.e, "peers", STORE, &kv, &err), CYX_ENOSPC);
    cr_expect_not_null(strstr(err.msg, "read-only"), "%s", err.msg);
    cr_expect_not_null(strstr(err.msg, "remount"), "%s", err.msg);
    cr_expect_eq(env_uv_lock_data_dir(w.dir, &err), CYX_ENOSPC);
    cr_expect_not_null(strstr(err.msg, "read-only"), "%s", err.msg);
    struct done d = { 0 };
    env_blob_store(w.e, "blob", (const uint8_t *)"x", 1, note_done, &d);
    run_until(w.e, &d.n, 1);
    cr_expect_eq(d.code, CYX_ENOSPC);
    small_world_end(&w);
}
