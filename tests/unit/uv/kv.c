/* Stores: what is put is there, after reopening too, and damage is met before LMDB maps it. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/uv/kv_internal.h"
#include "world.h"

enum { SMALL = 1 << 20 };

static struct env_kv *open_kv(struct world *w, const char *name, size_t max_bytes)
{
    struct env_kv *kv = NULL;
    struct cyx_err err = { 0 };
    cr_assert_eq(env_kv_open(w->e, name, max_bytes, &kv, &err), 0, "%s", err.msg);
    return kv;
}

/* Commits one pair and waits; returns the code. */
static int put(struct world *w, struct env_kv *kv, const char *key, const void *val, size_t len)
{
    struct done d = { 0 };
    struct env_kv_batch *b = env_kv_batch(w->e, kv);
    cr_assert_eq(env_kv_put(w->e, b, key, strlen(key), val, len), 0);
    env_kv_commit(w->e, b, note_done, &d);
    cr_expect_eq(d.n, 0, "never inside the call");
    run_until(w->e, &d.n, 1);
    return d.code;
}

static int get(struct world *w, struct env_kv *kv, const char *key, char out[static 64])
{
    size_t len = 0;
    int rc = env_kv_get(w->e, kv, key, strlen(key), out, 63, &len);
    out[rc == 0 ? len : 0] = '\0';
    return rc;
}

Test(uv_kv, puts_gets_and_deletes, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    char out[64];
    size_t len = 0;
    cr_expect_eq(get(&w, kv, "a", out), CYX_ENOENT);
    cr_expect_eq(put(&w, kv, "a", "one", 3), 0);
    cr_expect_eq(put(&w, kv, "empty", "", 0), 0);
    cr_expect_eq(get(&w, kv, "a", out), 0);
    cr_expect_str_eq(out, "one");
    cr_expect_eq(get(&w, kv, "empty", out), 0);
    cr_expect_eq(env_kv_get(w.e, kv, "a", 1, out, 2, &len), CYX_EFULL);
    cr_expect_eq(len, 3, "says how long it is");

    struct done d = { 0 };
    struct env_kv_batch *b = env_kv_batch(w.e, kv);
    cr_expect_eq(env_kv_del(w.e, b, "a", 1), 0);
    cr_expect_eq(env_kv_del(w.e, b, "never was", 9), 0);
    env_kv_commit(w.e, b, note_done, &d);
    run_until(w.e, &d.n, 1);
    cr_expect_eq(d.code, 0);
    cr_expect_eq(get(&w, kv, "a", out), CYX_ENOENT);
    env_kv_close(w.e, kv);
    world_end(&w);
}

Test(uv_kv, refuses_keys_of_wrong_length, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    uint8_t key[ENV_KV_KEY_MAX + 1] = { 0 };
    size_t len;
    struct env_kv_batch *b = env_kv_batch(w.e, kv);
    cr_expect_eq(env_kv_put(w.e, b, key, 0, "", 0), CYX_EINVAL);
    cr_expect_eq(env_kv_put(w.e, b, key, sizeof key, "", 0), CYX_EINVAL);
    cr_expect_eq(env_kv_put(w.e, b, key, ENV_KV_KEY_MAX, "", 0), 0);
    cr_expect_eq(env_kv_get(w.e, kv, key, 0, NULL, 0, &len), CYX_EINVAL);
    env_kv_abort(w.e, b);
    env_kv_close(w.e, kv);
    world_end(&w);
}

struct walk {
    struct world *w;
    struct env_kv *kv;
    char seen[128];
    unsigned stop_after;
    unsigned n;
};

static bool note_key(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                     size_t val_len)
{
    struct walk *k = arg;
    char other[64];
    cr_expect(val_len == 1 && val[0] == 'v');
    cr_expect_eq(get(k->w, k->kv, "b1", other), 0, "a read inside a walk");
    snprintf(k->seen + strlen(k->seen), sizeof k->seen - strlen(k->seen), "%.*s ", (int)key_len,
             (const char *)key);
    return ++k->n != k->stop_after;
}

Test(uv_kv, walks_a_prefix_in_key_order, .timeout = 60)
{
    static const char *const keys[] = { "b2", "a", "c", "b1", "b", "bb" };
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    for (unsigned i = 0; i < 6; i++)
        cr_expect_eq(put(&w, kv, keys[i], "v", 1), 0);
    struct walk k = { .w = &w, .kv = kv };
    cr_expect_eq(env_kv_each(w.e, kv, "b", 1, note_key, &k), 0);
    cr_expect_str_eq(k.seen, "b b1 b2 bb ");
    k = (struct walk){ .w = &w, .kv = kv, .stop_after = 2 };
    cr_expect_eq(env_kv_each(w.e, kv, NULL, 0, note_key, &k), 0);
    cr_expect_str_eq(k.seen, "a b ");
    k = (struct walk){ .w = &w, .kv = kv };
    cr_expect_eq(env_kv_each(w.e, kv, "zz", 2, note_key, &k), 0);
    cr_expect_str_eq(k.seen, "");
    env_kv_close(w.e, kv);
    world_end(&w);
}

Test(uv_kv, commits_apply_in_call_order_and_each_is_told_once, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    struct done d = { 0 };
    enum { N = 200 };
    for (unsigned i = 0; i < N; i++) {
        struct env_kv_batch *b = env_kv_batch(w.e, kv);
        cr_assert_eq(env_kv_put(w.e, b, "k", 1, &i, sizeof i), 0);
        env_kv_commit(w.e, b, note_done, &d);
    }
    env_kv_commit(w.e, env_kv_batch(w.e, kv), NULL, NULL); /* nobody listens, nothing in it */
    run_until(w.e, &d.n, N);
    run_turns(w.e, 3);
    cr_expect_eq(d.n, N);
    unsigned last = 0;
    size_t len = 0;
    cr_expect_eq(env_kv_get(w.e, kv, "k", 1, &last, sizeof last, &len), 0);
    cr_expect_eq(last, N - 1);
    env_kv_close(w.e, kv);
    world_end(&w);
}

Test(uv_kv, what_was_committed_is_there_after_a_restart, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    char out[64];
    cr_expect_eq(put(&w, kv, "a", "one", 3), 0);
    struct env_kv_batch *b = env_kv_batch(w.e, kv);
    cr_expect_eq(env_kv_put(w.e, b, "b", 1, "two", 3), 0);
    env_kv_commit(w.e, b, NULL, NULL);
    env_kv_close(w.e, kv); /* with a commit under way */
    world_reopen(&w);
    kv = open_kv(&w, "peers", SMALL);
    cr_expect_eq(get(&w, kv, "a", out), 0);
    cr_expect_eq(get(&w, kv, "b", out), 0, "close waits for commits");
    cr_expect_str_eq(out, "two");
    struct stat st;
    cr_expect_eq(stat(world_path(&w, "peers.mdb"), &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    env_kv_close(w.e, kv);
    world_end(&w);
}

/* ---- full -------------------------------------------------------------------------------------
 */

Test(uv_kv, a_full_store_keeps_nothing_of_a_batch_and_stays_readable, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    uint8_t *big = calloc(1, 4 << 20);
    char out[64];
    cr_expect_eq(put(&w, kv, "a", "one", 3), 0);
    struct done bad = { 0 }, before = { 0 }, after = { 0 };
    struct env_kv_batch *b1 = env_kv_batch(w.e, kv), *b2 = env_kv_batch(w.e, kv),
                        *b3 = env_kv_batch(w.e, kv);
    cr_expect_eq(env_kv_put(w.e, b1, "before", 6, "x", 1), 0);
    cr_expect_eq(env_kv_put(w.e, b2, "half", 4, "x", 1), 0);
    cr_expect_eq(env_kv_put(w.e, b2, "big", 3, big, 4 << 20), 0);
    cr_expect_eq(env_kv_put(w.e, b3, "after", 5, "x", 1), 0);
    struct done first = { 0 }; /* so that the three wait together and are merged */
    struct env_kv_batch *b0 = env_kv_batch(w.e, kv);
    cr_expect_eq(env_kv_put(w.e, b0, "first", 5, "x", 1), 0);
    env_kv_commit(w.e, b0, note_done, &first);
    env_kv_commit(w.e, b1, note_done, &before);
    env_kv_commit(w.e, b2, note_done, &bad);
    env_kv_commit(w.e, b3, note_done, &after);
    run_until(w.e, &after.n, 1);
    cr_expect(before.n == 1 && before.code == 0);
    cr_expect(bad.n == 1 && bad.code == CYX_ENOSPC);
    cr_expect(after.n == 1 && after.code == 0, "one that doesn't fit spoils only itself");
    cr_expect_eq(get(&w, kv, "half", out), CYX_ENOENT, "all or nothing");
    cr_expect_eq(get(&w, kv, "before", out), 0);
    cr_expect_eq(get(&w, kv, "after", out), 0);
    cr_expect_eq(get(&w, kv, "a", out), 0);
    free(big);
    env_kv_close(w.e, kv);
    world_end(&w);
}

Test(uv_kv, a_full_queue_refuses_and_tells, .timeout = 120)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    enum { CHUNK = 16 << 20, N = ENV_UV_KV_QUEUE_MAX / CHUNK + 1 };
    uint8_t *big = calloc(1, CHUNK);
    struct done d[N] = { 0 };
    for (unsigned i = 0; i < N; i++) {
        struct env_kv_batch *b = env_kv_batch(w.e, kv);
        cr_assert_eq(env_kv_put(w.e, b, "k", 1, big, CHUNK), 0);
        env_kv_commit(w.e, b, note_done, &d[i]);
        cr_expect_eq(d[i].n, 0);
    }
    for (unsigned i = 0; i < N; i++)
        run_until(w.e, &d[i].n, 1);
    cr_expect_eq(d[N - 1].code, CYX_EFULL);
    cr_expect_eq(d[0].code, CYX_ENOSPC, "larger than the store, smaller than the queue");
    free(big);
    env_kv_close(w.e, kv);
    world_end(&w);
}

/* ---- names, modes, places ---------------------------------------------------------------------
 */

Test(uv_kv, refuses_names_that_could_leave_the_folder, .timeout = 60)
{
    static const char *const names[] = {
        "", "..", "a/b", "A", "a.b", "a b", "abcdefghijklmnopqrstuvwxyz0123456"
    };
    struct world w = world_make();
    struct env_kv *kv = NULL;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect_eq(env_kv_open(w.e, names[i], SMALL, &kv, NULL), CYX_EINVAL, "%s", names[i]);
    world_end(&w);
}

Test(uv_kv, refuses_a_file_that_others_may_read_and_says_the_cure, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    struct cyx_err err = { 0 };
    env_kv_close(w.e, kv);
    cr_assert_eq(chmod(world_path(&w, "peers.mdb"), 0640), 0);
    cr_expect_eq(env_kv_open(w.e, "peers", SMALL, &kv, &err), CYX_EPERM);
    cr_expect_not_null(strstr(err.msg, "chmod 600 "), "%s", err.msg);
    cr_assert_eq(unlink(world_path(&w, "peers.mdb")), 0);
    cr_assert_eq(symlink("/dev/null", world_path(&w, "peers.mdb")), 0);
    cr_expect_eq(env_kv_open(w.e, "peers", SMALL, &kv, &err), CYX_EPERM);
    cr_expect_not_null(strstr(err.msg, "link"), "%s", err.msg);
    world_end(&w);
}

Test(uv_kv, refuses_data_folders_that_are_missing_or_open_to_others, .timeout = 60)
{
    struct world w = world_make();
    struct cyx_err err = { 0 };
    const char *dir = world_path(&w, "sub");
    struct env_uv_options o = { .data_dir = dir };
    cr_expect_null(env_uv_create(&o, &err));
    cr_expect_eq(err.code, CYX_ENOENT);
    cr_expect_not_null(strstr(err.msg, "mkdir -m 700"), "%s", err.msg);
    cr_assert_eq(mkdir(dir, 0755), 0);
    cr_assert_eq(chmod(dir, 0755), 0);
    cr_expect_null(env_uv_create(&o, &err));
    cr_expect_eq(err.code, CYX_EPERM);
    cr_expect_not_null(strstr(err.msg, "chmod 700"), "%s", err.msg);
    rmdir(dir);
    world_end(&w);
}

Test(uv_kv, without_a_data_folder_there_is_no_storage, .timeout = 60)
{
    struct env *e = env_uv_create(&(struct env_uv_options){ 0 }, NULL);
    struct env_kv *kv = NULL;
    uint8_t buf[1];
    size_t len;
    cr_assert_not_null(e);
    cr_expect_eq(env_kv_open(e, "peers", SMALL, &kv, NULL), CYX_EUNSUPPORTED);
    cr_expect_eq(env_blob_load(e, "key", buf, 1, &len, NULL), CYX_EUNSUPPORTED);
    env_uv_destroy(e);
}

/* ---- damage -----------------------------------------------------------------------------------
 */

/* A store of `n` entries, closed; every 16th value needs overflow pages. */
static void fill_store(struct world *w, unsigned n)
{
    struct env_kv *kv = open_kv(w, "peers", 32 * SMALL);
    static uint8_t val[9000];
    struct done d = { 0 };
    struct env_kv_batch *b = env_kv_batch(w->e, kv);
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%06u", i);
        cr_assert_eq(env_kv_put(w->e, b, key, strlen(key), val, i % 16 == 0 ? sizeof val : 100), 0);
    }
    env_kv_commit(w->e, b, note_done, &d);
    run_until(w->e, &d.n, 1);
    cr_assert_eq(d.code, 0);
    env_kv_close(w->e, kv);
}

static unsigned n_aside(const struct world *w)
{
    unsigned n = 0;
    DIR *d = opendir(w->dir);
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        n += strncmp(f->d_name, "peers.mdb.corrupt-", 18) == 0;
    closedir(d);
    return n;
}

/* Opens the damaged store: it must start afresh, work, and the bad file must be kept. */
static void expect_fresh_start(struct world *w, const char *what)
{
    unsigned before = n_aside(w);
    char out[64];
    struct env_kv *kv = open_kv(w, "peers", 32 * SMALL);
    cr_expect_eq(n_aside(w), before + 1, "%s", what);
    cr_expect_eq(get(w, kv, "key-000001", out), CYX_ENOENT, "%s", what);
    cr_expect_eq(put(w, kv, "a", "one", 3), 0, "%s", what);
    env_kv_close(w->e, kv);
    cr_assert_eq(unlink(world_path(w, "peers.mdb")), 0);
}

static off_t size_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

Test(uv_kv, a_truncated_store_is_moved_aside, .timeout = 120)
{
    struct world w = world_make();
    const char *path = world_path(&w, "peers.mdb");
    static const unsigned percent[] = { 1, 25, 50, 75, 90 };
    for (unsigned i = 0; i < sizeof percent / sizeof percent[0]; i++) {
        fill_store(&w, 3000);
        cr_assert_eq(truncate(path, size_of(path) * percent[i] / 100), 0);
        expect_fresh_start(&w, "truncated");
    }
    world_end(&w);
}

Test(uv_kv, garbage_is_moved_aside_and_an_empty_file_is_a_new_store, .timeout = 60)
{
    struct world w = world_make();
    static uint8_t junk[64 * 1024];
    char out[64];
    env_random(w.e, junk, sizeof junk);
    write_file(world_path(&w, "peers.mdb"), junk, sizeof junk, 0600);
    expect_fresh_start(&w, "garbage");
    write_file(world_path(&w, "peers.mdb"), junk, 10, 0600);
    expect_fresh_start(&w, "ten bytes");
    write_file(world_path(&w, "peers.mdb"), junk, 0, 0600);
    unsigned before = n_aside(&w);
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    cr_expect_eq(get(&w, kv, "a", out), CYX_ENOENT);
    cr_expect_eq(n_aside(&w), before);
    env_kv_close(w.e, kv);
    world_end(&w);
}

static void smash(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

Test(uv_kv, damaged_headers_and_pages_are_moved_aside, .timeout = 120)
{
    struct world w = world_make();
    const char *path = world_path(&w, "peers.mdb");
    static const uint8_t zeros[65536];
    static const uint8_t ones[4096] = { [0 ... 4095] = 0xff };
    long page = sysconf(_SC_PAGESIZE);
    fill_store(&w, 3000);
    smash(path, 16, zeros, 4);
    expect_fresh_start(&w, "first magic");
    fill_store(&w, 3000);
    smash(path, page + 16, zeros, 4);
    expect_fresh_start(&w, "second magic");
    fill_store(&w, 3000);
    smash(path, 40, ones, 4);
    expect_fresh_start(&w, "page size");
    fill_store(&w, 3000);
    smash(path, 136, ones, 8);
    smash(path, page + 136, ones, 8);
    expect_fresh_start(&w, "last page");
    fill_store(&w, 3000);
    smash(path, 88 + 40, ones, 7);
    smash(path, page + 88 + 40, ones, 7);
    expect_fresh_start(&w, "root of the main tree");
    fill_store(&w, 3000);
    for (off_t at = 4 * page; at < size_of(path); at += page)
        smash(path, at, zeros, 16);
    expect_fresh_start(&w, "zeroed page headers");
    fill_store(&w, 3000);
    for (off_t at = 2 * page; at < size_of(path); at += page)
        smash(path, at + 16, ones, 64);
    expect_fresh_start(&w, "offsets of entries");
    world_end(&w);
}

/* The check must not condemn what LMDB itself wrote, whatever history a store has. */
Test(uv_kv, a_sound_store_is_never_moved_aside, .timeout = 120)
{
    struct world w = world_make();
    static uint8_t val[20000];
    for (unsigned round = 0; round < 30; round++) {
        struct env_kv *kv = open_kv(&w, "peers", 32 * SMALL);
        struct done d = { 0 };
        for (unsigned i = 0; i < 8; i++) {
            struct env_kv_batch *b = env_kv_batch(w.e, kv);
            for (unsigned j = 0; j < 40; j++) {
                char key[16];
                uint64_t dice = env_random_below(w.e, 1000);
                int n = snprintf(key, sizeof key, "k%03u", (unsigned)dice);
                size_t len = env_random_below(w.e, dice % 7 == 0 ? sizeof val : 300);
                if (env_random_below(w.e, 3) == 0)
                    cr_assert_eq(env_kv_del(w.e, b, key, (size_t)n), 0);
                else
                    cr_assert_eq(env_kv_put(w.e, b, key, (size_t)n, val, len), 0);
            }
            env_kv_commit(w.e, b, note_done, &d);
        }
        run_until(w.e, &d.n, 8);
        cr_expect_eq(d.code, 0);
        env_kv_close(w.e, kv);
        int fd = open(world_path(&w, "peers.mdb"), O_RDONLY | O_CLOEXEC);
        const char *wrong = env_uv__kv_check(fd);
        close(fd);
        cr_expect_null(wrong, "round %u: %s", round, wrong != NULL ? wrong : "");
    }
    cr_expect_eq(n_aside(&w), 0);
    world_end(&w);
}

static void sink(void *arg, const struct log_line *line)
{
    unsigned *n = arg;
    *n += line->level == LOG_LEVEL_WARN && strstr(line->msg, "corrupt") != NULL;
}

Test(uv_kv, moving_aside_is_said_at_warn, .timeout = 60)
{
    struct world w = world_make();
    unsigned n = 0;
    struct log *log = log_create(
        &(struct log_options){ .level = LOG_LEVEL_WARN, .fd = -1, .sink = sink, .arg = &n });
    w.e->log = log;
    write_file(world_path(&w, "peers.mdb"), "no store", 8, 0600);
    env_kv_close(w.e, open_kv(&w, "peers", SMALL));
    cr_expect_eq(n, 1);
    w.e->log = NULL;
    log_destroy(log);
    world_end(&w);
}

/* ---- several environments ---------------------------------------------------------------------
 */

struct writer {
    struct env *e;
    char tag;
    struct done done;
};

enum { PER_WRITER = 40 };

static void write_some(struct writer *x)
{
    struct world w = { .e = x->e };
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    for (unsigned i = 0; i < PER_WRITER; i++) {
        char key[8];
        int n = snprintf(key, sizeof key, "%c%02u", x->tag, i);
        struct env_kv_batch *b = env_kv_batch(x->e, kv);
        cr_assert_eq(env_kv_put(x->e, b, key, (size_t)n, "v", 1), 0);
        env_kv_commit(x->e, b, note_done, &x->done);
    }
    run_until(x->e, &x->done.n, PER_WRITER);
    env_kv_close(x->e, kv);
}

static void *writer_thread(void *arg)
{
    write_some(arg);
    return NULL;
}

static bool count_key(void *arg, const uint8_t *k, size_t kl, const uint8_t *v, size_t vl)
{
    (void)k;
    (void)kl;
    (void)v;
    (void)vl;
    ++*(unsigned *)arg;
    return true;
}

Test(uv_kv, two_environments_on_two_threads_share_a_store, .timeout = 60)
{
    struct world w = world_make();
    struct writer a = { .e = w.e, .tag = 'a' }, b = { .tag = 'b' };
    b.e = env_uv_create(&(struct env_uv_options){ .share_stores_with = w.e }, NULL);
    cr_assert_not_null(b.e);
    pthread_t t;
    cr_assert_eq(pthread_create(&t, NULL, writer_thread, &b), 0);
    write_some(&a);
    pthread_join(t, NULL);
    cr_expect_eq(a.done.code, 0);
    cr_expect_eq(b.done.code, 0);
    struct env_kv *kv = open_kv(&w, "peers", SMALL);
    unsigned n = 0;
    cr_expect_eq(env_kv_each(w.e, kv, NULL, 0, count_key, &n), 0);
    cr_expect_eq(n, 2 * PER_WRITER);
    env_kv_close(w.e, kv);
    env_uv_destroy(b.e);
    world_end(&w);
}

Test(uv_kv, one_name_opened_twice_is_one_store, .timeout = 60)
{
    struct world w = world_make();
    struct env_kv *a = open_kv(&w, "peers", SMALL);
    struct env_kv *b = open_kv(&w, "peers", SMALL);
    char out[64];
    cr_expect_eq(put(&w, a, "k", "v", 1), 0);
    env_kv_close(w.e, a);
    cr_expect_eq(get(&w, b, "k", out), 0);
    env_kv_close(w.e, b);
    world_end(&w);
}

struct closer {
    struct world *w;
    struct env_kv *kv;
    unsigned n;
};

static void close_it(void *arg, int code)
{
    struct closer *c = arg;
    cr_expect_eq(code, 0);
    env_kv_close(c->w->e, c->kv);
    c->n++;
}

Test(uv_kv, a_store_may_be_closed_in_its_own_callback, .timeout = 60)
{
    struct world w = world_make();
    struct closer c = { .w = &w, .kv = open_kv(&w, "peers", SMALL) };
    struct env_kv_batch *b = env_kv_batch(w.e, c.kv);
    cr_assert_eq(env_kv_put(w.e, b, "k", 1, "v", 1), 0);
    env_kv_commit(w.e, b, close_it, &c);
    run_until(w.e, &c.n, 1);
    world_end(&w);
}
