/* Blobs and the lock of the data folder. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static int store(struct world *w, const char *name, const void *data, size_t len)
{
    struct done d = { 0 };
    env_blob_store(w->e, name, data, len, note_done, &d);
    cr_expect_eq(d.n, 0, "never inside the call");
    run_until(w->e, &d.n, 1);
    return d.code;
}

Test(uv_blob, what_was_stored_is_loaded, .timeout = 60)
{
    struct world w = world_make();
    uint8_t buf[64];
    size_t len = 0;
    struct stat st;
    cr_expect_eq(env_blob_load(w.e, "link.key", buf, sizeof buf, &len, NULL), CYX_ENOENT);
    umask(0);
    cr_expect_eq(store(&w, "link.key", "secret", 6), 0);
    cr_expect_eq(env_blob_load(w.e, "link.key", buf, sizeof buf, &len, NULL), 0);
    cr_expect_eq(len, 6);
    cr_expect_arr_eq(buf, "secret", 6);
    cr_expect_eq(stat(world_path(&w, "link.key"), &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    umask(0777);
    cr_expect_eq(store(&w, "link.key", "", 0), 0, "replaced, whatever the umask");
    cr_expect_eq(env_blob_load(w.e, "link.key", buf, sizeof buf, &len, NULL), 0);
    cr_expect_eq(len, 0);
    cr_expect_neq(access(world_path(&w, "link.key.tmp"), F_OK), 0, "nothing is left behind");
    world_end(&w);
}

Test(uv_blob, stores_of_one_name_happen_in_call_order, .timeout = 60)
{
    struct world w = world_make();
    struct done d = { 0 };
    unsigned last = 0;
    size_t len = 0;
    enum { N = ENV_UV_BLOB_QUEUE_MAX };
    for (unsigned i = 0; i < N; i++)
        env_blob_store(w.e, "counter", (uint8_t *)&i, sizeof i, note_done, &d);
    struct done refused = { 0 };
    env_blob_store(w.e, "counter", (uint8_t *)&last, sizeof last, note_done, &refused);
    run_until(w.e, &d.n, N);
    cr_expect_eq(d.code, 0);
    cr_expect_eq(refused.code, CYX_EFULL);
    cr_expect_eq(env_blob_load(w.e, "counter", (uint8_t *)&last, sizeof last, &len, NULL), 0);
    cr_expect_eq(last, N - 1);
    world_end(&w);
}

Test(uv_blob, destroy_finishes_what_was_asked, .timeout = 60)
{
    struct world w = world_make();
    uint8_t buf[8];
    size_t len = 0;
    for (unsigned i = 0; i < 5; i++)
        env_blob_store(w.e, "a", (const uint8_t *)"12345" + i, 1, NULL, NULL);
    world_reopen(&w);
    cr_expect_eq(env_blob_load(w.e, "a", buf, sizeof buf, &len, NULL), 0);
    cr_expect(len == 1 && buf[0] == '5');
    world_end(&w);
}

Test(uv_blob, a_temporary_file_of_a_crash_is_no_obstacle, .timeout = 60)
{
    struct world w = world_make();
    uint8_t buf[8];
    size_t len = 0;
    cr_expect_eq(store(&w, "a", "old", 3), 0);
    write_file(world_path(&w, "a.tmp"), "half of som", 11, 0644);
    cr_expect_eq(env_blob_load(w.e, "a", buf, sizeof buf, &len, NULL), 0);
    cr_expect(len == 3 && memcmp(buf, "old", 3) == 0);
    cr_expect_eq(store(&w, "a", "new", 3), 0);
    cr_expect_eq(env_blob_load(w.e, "a", buf, sizeof buf, &len, NULL), 0);
    cr_expect(len == 3 && memcmp(buf, "new", 3) == 0);
    world_end(&w);
}

Test(uv_blob, a_store_that_fails_keeps_the_old_file_and_says_so, .timeout = 60)
{
    struct world w = world_make();
    uint8_t buf[8];
    size_t len = 0;
    cr_expect_eq(store(&w, "a", "old", 3), 0);
    cr_assert_eq(mkdir(world_path(&w, "a.tmp"), 0700), 0); /* in the way, even for root */
    cr_expect_lt(store(&w, "a", "new", 3), 0);
    cr_expect_eq(env_blob_load(w.e, "a", buf, sizeof buf, &len, NULL), 0);
    cr_expect(len == 3 && memcmp(buf, "old", 3) == 0);
    cr_expect_eq(store(&w, "../a", "x", 1), CYX_EINVAL);
    cr_expect_eq(store(&w, ".a", "x", 1), CYX_EINVAL);
    world_end(&w);
}

static void expect_refused(struct world *w, const char *name, int code, const char *words)
{
    uint8_t buf[4];
    size_t len = 77;
    struct cyx_err err = { 0 };
    cr_expect_eq(env_blob_load(w->e, name, buf, sizeof buf, &len, &err), code, "%s: %s", name,
                 err.msg);
    cr_expect_not_null(strstr(err.msg, words), "%s", err.msg);
    cr_expect_eq(len, 77, "outputs are written only on success");
}

Test(uv_blob, refuses_files_that_are_not_ours_alone_and_says_the_cure, .timeout = 60)
{
    struct world w = world_make();
    write_file(world_path(&w, "group"), "k", 1, 0640);
    expect_refused(&w, "group", CYX_EPERM, "chmod 600 ");
    write_file(world_path(&w, "others"), "k", 1, 0604);
    expect_refused(&w, "others", CYX_EPERM, "chmod 600 ");
    cr_assert_eq(symlink("group", world_path(&w, "link")), 0);
    expect_refused(&w, "link", CYX_EPERM, "symbolic link");
    cr_assert_eq(mkfifo(world_path(&w, "fifo"), 0600), 0);
    expect_refused(&w, "fifo", CYX_EPERM, "not a regular file");
    write_file(world_path(&w, "long"), "12345", 5, 0600);
    expect_refused(&w, "long", CYX_EFULL, "longer than 4 bytes");
    if (geteuid() == 0) {
        write_file(world_path(&w, "theirs"), "k", 1, 0600);
        cr_assert_eq(chown(world_path(&w, "theirs"), 12345, 12345), 0);
        expect_refused(&w, "theirs", CYX_EPERM, "chown ");
    }
    world_end(&w);
}

/* ---- the lock ---------------------------------------------------------------------------------
 */

/* A child takes the lock, says so, and holds it until its standard input closes. */
static pid_t hold_lock(const char *dir, int *hold)
{
    int ready[2], keep[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(keep), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c = 'x';
        close(keep[1]);
        if (env_uv_lock_data_dir(dir, NULL) < 0)
            c = '!';
        if (write(ready[1], &c, 1) != 1 || read(keep[0], &c, 1) < 0)
            _exit(1);
        _exit(0);
    }
    char c = 0;
    close(keep[0]);
    close(ready[1]);
    cr_assert_eq(read(ready[0], &c, 1), 1);
    close(ready[0]);
    cr_assert_eq(c, 'x');
    *hold = keep[1];
    return pid;
}

Test(uv_lock, a_second_process_is_told_who_holds_the_folder, .timeout = 60)
{
    struct world w = world_make();
    struct cyx_err err = { 0 };
    int hold = -1;
    char pid_text[24];
    pid_t pid = hold_lock(w.dir, &hold);
    snprintf(pid_text, sizeof pid_text, "process %d:", (int)pid);
    cr_expect_eq(env_uv_lock_data_dir(w.dir, &err), CYX_EBUSY);
    cr_expect_not_null(strstr(err.msg, pid_text), "%s", err.msg);
    close(hold);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect_eq(env_uv_lock_data_dir(w.dir, &err), 0, "free with its holder's end: %s", err.msg);
    cr_expect_eq(env_uv_lock_data_dir(w.dir, &err), CYX_EBUSY, "nor twice in one process");
    world_end(&w);
}

Test(uv_lock, refuses_folders_that_are_missing_or_open_to_others, .timeout = 60)
{
    struct world w = world_make();
    struct cyx_err err = { 0 };
    cr_expect_eq(env_uv_lock_data_dir(world_path(&w, "nowhere"), &err), CYX_ENOENT);
    cr_assert_eq(chmod(w.dir, 0750), 0);
    cr_expect_eq(env_uv_lock_data_dir(w.dir, &err), CYX_EPERM);
    cr_expect_not_null(strstr(err.msg, "chmod 700"), "%s", err.msg);
    world_end(&w);
}
