/* base/uv/kv_registry.c - the process's open LMDB files: opened once, checked first, counted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/uv/kv_internal.h"

enum {
    KV_BYTES_MIN = 1 << 20,
    KV_LOCK_BYTES = 8192, /* LMDB's lock file with its 126 readers */
};

/* Behind the store's name: its last use ended in an assertion of LMDB. */
#define KV_MARK "-refused"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = { &registry, &registry };

int env_uv__mdb_code(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return CYX_OK;
    case MDB_NOTFOUND:
        return CYX_ENOENT;
    case MDB_MAP_FULL:
        return CYX_ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return CYX_ECORRUPT;
    case MDB_VERSION_MISMATCH:
        return CYX_EVERSION;
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return CYX_EFULL;
    case MDB_BAD_VALSIZE:
        return CYX_EINVAL;
    case MDB_PANIC:
        return CYX_EIO;
    default:
        return rc > 0 ? env_uv__code(rc) : CYX_EIO;
    }
}

static int fail_open(const char *path, int rc, struct cyx_err *err)
{
    int code = env_uv__mdb_code(rc);
    if (rc == EROFS)
        return cyx_fail(err, code,
                        "open %s: the file system is read-only: remount it read-write, or choose "
                        "another data folder",
                        path);
    if (code == CYX_ENOSPC)
        return cyx_fail(err, code, "open %s: %s: free some space, or choose another data folder",
                        path, mdb_strerror(rc));
    if (code == CYX_EPERM)
        return cyx_fail(err, code,
                        "open %s: %s: the data folder and all in it must belong to user %u", path,
                        mdb_strerror(rc), (unsigned)geteuid());
    return cyx_fail(err, code, "open %s: %s", path, mdb_strerror(rc));
}

/* Keeps the bad file for inspection under a name that says when. Its lock file holds nothing. */
static int move_aside(struct env_uv *e, const char *file, const char *why, struct cyx_err *err)
{
    char aside[96];
    char lock[64];
    char reason[64];
    long long now = (long long)(env_uv__wall_ms(&e->base) / 1000);
    for (unsigned n = 0; n < 100; n++) { /* two in one second must not meet */
        snprintf(aside, sizeof aside, n == 0 ? "%s.corrupt-%lld" : "%s.corrupt-%lld-%u", file, now,
                 n);
        if (faccessat(e->dir_fd, aside, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
            break;
    }
    snprintf(lock, sizeof lock, "%s-lock", file);
    if (renameat(e->dir_fd, file, e->dir_fd, aside) < 0)
        return cyx_fail(err, env_uv__code(errno), "%s/%s is corrupt (%s) and can't be moved: %s",
                        e->dir, file, why, env_uv__why(errno, reason));
    (void)unlinkat(e->dir_fd, lock, 0);
    log_warn(e->base.log, "store", "%s/%s was corrupt (%s): kept as %s, started afresh", e->dir,
             file, why, aside);
    return 0;
}

/* LMDB found its file to contradict itself, deeper than our look at the start went, and ends the
 * process. The mark beside the store makes the next start set the store aside by itself. */
static void on_assertion(MDB_env *mdb, const char *msg)
{
    (void)msg; /* LMDB prints it */
    const struct kv_store *st = mdb_env_get_userctx(mdb);
    char path[512];
    int n = snprintf(path, sizeof path, "%s" KV_MARK, st->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return;
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        (void)fsync(fd);
}

/* True once when the last process ended in on_assertion. */
static bool was_marked(struct env_uv *e, const char *file)
{
    char mark[64];
    snprintf(mark, sizeof mark, "%s" KV_MARK, file);
    return unlinkat(e->dir_fd, mark, 0) == 0;
}

/* Checks an existing file before LMDB maps it. */
static int inspect(struct env_uv *e, const char *file, struct cyx_err *err)
{
    char why[64];
    bool is_marked = was_marked(e, file);
    cleanup_close int fd = openat(e->dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return cyx_fail(err, env_uv__code(errno), "open %s/%s: %s", e->dir, file,
                        errno == ELOOP ? "it is a symbolic link: move it away"
                                       : env_uv__why(errno, why));
    if (env_uv__file_check(fd, e->dir, file, err) < 0)
        return CYX_EPERM;
    const char *wrong = is_marked ? "LMDB refused it" : env_uv__kv_check(fd);
    return wrong == NULL ? 0 : move_aside(e, file, wrong, err);
}

/* Opens the unnamed database and reads both its ends. Returns LMDB's code. */
static int sanity(struct kv_store *st)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cur = NULL;
    MDB_val k, v;
    int rc = mdb_txn_begin(st->mdb, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &st->dbi);
    if (rc == 0)
        rc = mdb_cursor_open(txn, st->dbi, &cur);
    if (rc == 0)
        rc = mdb_cursor_get(cur, &k, &v, MDB_FIRST);
    if (rc == 0)
        rc = mdb_cursor_get(cur, &k, &v, MDB_LAST);
    if (cur != NULL)
        mdb_cursor_close(cur);
    int committed = mdb_txn_commit(txn); /* keeps the dbi handle */
    return rc != 0 && rc != MDB_NOTFOUND ? rc : committed;
}

/* Gives the lock file its disk blocks. LMDB makes it with ftruncate alone and writes to it through
 * a mapping: on a full disk the first write to a hole would be SIGBUS. Done while nobody here has
 * the file open, since closing it would drop LMDB's locks on it. Returns 0 or an errno. */
static int reserve_lock(const char *store_path)
{
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s-lock", store_path) < 0)
        return ENOMEM;
    cleanup_close int fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return errno;
    int rc;
    do
        rc = posix_fallocate(fd, 0, KV_LOCK_BYTES);
    while (rc == EINTR);
    return rc;
}

static int open_mdb(struct kv_store *st, size_t max_bytes)
{
    int rc = reserve_lock(st->path);
    if (rc != 0)
        return rc;
    long page = sysconf(_SC_PAGESIZE);
    size_t size = max_bytes < KV_BYTES_MIN ? KV_BYTES_MIN : max_bytes;
    size -= size % (size_t)page;
    rc = mdb_env_create(&st->mdb);
    if (rc == 0)
        rc = mdb_env_set_userctx(st->mdb, st);
    if (rc == 0)
        rc = mdb_env_set_assert(st->mdb, on_assertion);
    if (rc == 0)
        rc = mdb_env_set_mapsize(st->mdb, size);
    /* No MDB_WRITEMAP: pages are written with pwrite, so a full disk is an error and not a signal.
     * MDB_NOTLS: a read transaction belongs to its object, not to its thread. */
    if (rc == 0)
        rc = mdb_env_open(st->mdb, st->path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
    if (rc == 0)
        rc = sanity(st);
    int dead = 0;
    if (rc == 0)
        rc = mdb_reader_check(st->mdb, &dead);
    if (rc != 0 && st->mdb != NULL) {
        mdb_env_close(st->mdb);
        st->mdb = NULL;
    }
    return rc;
}

static void store_free(struct kv_store *st)
{
    if (st == NULL)
        return;
    if (st->mdb != NULL)
        mdb_env_close(st->mdb);
    free(st->path);
    free(st);
}

static struct kv_store *store_open(struct env_uv *e, const char *name, size_t max_bytes,
                                   struct cyx_err *err)
{
    char file[40];
    snprintf(file, sizeof file, "%s.mdb", name);
    struct kv_store *st = calloc(1, sizeof *st);
    if (st == NULL || asprintf(&st->path, "%s/%s", e->dir, file) < 0) {
        free(st);
        cyx_fail(err, CYX_ENOMEM, "no memory for store %s", name);
        return NULL;
    }
    int rc = inspect(e, file, err);
    if (rc < 0) {
        store_free(st);
        return NULL;
    }
    rc = open_mdb(st, max_bytes);
    int code = env_uv__mdb_code(rc);
    if (code == CYX_ECORRUPT) { /* what our own look did not see */
        if (move_aside(e, file, mdb_strerror(rc), err) < 0) {
            store_free(st);
            return NULL;
        }
        rc = open_mdb(st, max_bytes);
    }
    if (rc != 0) {
        fail_open(st->path, rc, err);
        store_free(st);
        return NULL;
    }
    return st;
}

int env_uv__store_ref(struct env_uv *e, const char *name, size_t max_bytes, struct kv_store **out,
                      struct cyx_err *err)
{
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/%s.mdb", e->dir, name) < 0)
        return cyx_fail(err, CYX_ENOMEM, "no memory for store %s", name);
    struct cyx_err own = { 0 };
    struct kv_store *found = NULL;
    pthread_mutex_lock(&registry_lock);
    list_each (pos, &registry) {
        struct kv_store *st = container_of(pos, struct kv_store, node);
        if (strcmp(st->path, path) == 0)
            found = st;
    }
    if (found == NULL) {
        found = store_open(e, name, max_bytes, &own);
        if (found != NULL)
            list_push_back(&registry, &found->node);
    }
    if (found != NULL)
        found->n_refs++;
    pthread_mutex_unlock(&registry_lock);
    if (found == NULL)
        return cyx_fail(err, own.code, "%s", own.msg);
    *out = found;
    return 0;
}

void env_uv__store_unref(struct kv_store *st)
{
    pthread_mutex_lock(&registry_lock);
    if (--st->n_refs == 0) {
        list_del(&st->node);
        store_free(st);
    }
    pthread_mutex_unlock(&registry_lock);
}
