/* base/uv/blob.c - small whole files (keys): replaced as one, readable by us alone.
 *
 * A store is: write NAME.tmp, fsync, rename over NAME, fsync the folder. A crash leaves the old
 * file or the new one, and perhaps a .tmp that the next store removes. The stores of one
 * environment go to the pool one after another; the mutex keeps those of several environments
 * apart. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret.h"
#include "base/uv/env_uv_internal.h"

struct blob_job {
    uv_work_t req;
    struct list node; /* env_uv.blob_queue or blob_failed */
    struct env_uv *e;
    char name[33];
    uint8_t *data; /* locked memory, wiped when freed */
    size_t len;
    env_done_fn done;
    void *arg;
    int code;
};

static pthread_mutex_t blob_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- load -------------------------------------------------------------------------------------
 */

static int read_whole(int fd, uint8_t *buf, size_t cap, size_t *len)
{
    size_t got = 0;
    for (;;) {
        uint8_t extra;
        bool is_full = got == cap;
        ssize_t n = is_full ? read(fd, &extra, 1) : read(fd, buf + got, cap - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CYX_EIO;
        if (n == 0)
            break;
        if (is_full)
            return CYX_EFULL;
        got += (size_t)n;
    }
    *len = got;
    return 0;
}

int env_uv__blob_load(struct env *base, const char *name, uint8_t *buf, size_t cap, size_t *len,
                      struct cyx_err *err)
{
    struct env_uv *e = env_uv_of(base);
    char why[64];
    if (e->dir == NULL)
        return cyx_fail(err, CYX_EUNSUPPORTED, "%s: this environment has no data folder", name);
    if (!env_uv__name_ok(name, true))
        return cyx_fail(err, CYX_EINVAL, "file name %.40s: want 1 to 32 of a-z, 0-9, . and -",
                        name);
    /* O_NONBLOCK: a FIFO put there must not hang us before the check. */
    cleanup_close int fd = openat(e->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return cyx_fail(err, CYX_EPERM, "%s/%s is a symbolic link: put the file itself there",
                        e->dir, name);
    if (fd < 0)
        return cyx_fail(err, env_uv__code(errno), "open %s/%s: %s", e->dir, name,
                        env_uv__why(errno, why));
    if (env_uv__file_check(fd, e->dir, name, err) < 0)
        return CYX_EPERM;
    int rc = read_whole(fd, buf, cap, len);
    if (rc == CYX_EFULL)
        return cyx_fail(err, rc, "%s/%s is longer than %zu bytes: it is not the file it should be",
                        e->dir, name, cap);
    return rc < 0 ? cyx_fail(err, rc, "read %s/%s: %s", e->dir, name, env_uv__why(errno, why)) : 0;
}

/* ---- store, on the pool -----------------------------------------------------------------------
 */

static int write_whole(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Returns 0 or an errno; the temporary file is left for the caller to remove. */
static int write_tmp(const struct blob_job *j, const char *tmp)
{
    cleanup_close int fd =
        openat(j->e->dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    int rc = write_whole(fd, j->data, j->len);
    if (rc == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0)) /* whatever the umask took away */
        rc = errno;
    return rc;
}

static int replace(const struct blob_job *j)
{
    char tmp[40];
    int dir = j->e->dir_fd;
    snprintf(tmp, sizeof tmp, "%s.tmp", j->name);
    if (unlinkat(dir, tmp, 0) < 0 && errno != ENOENT)
        return errno;
    int rc = write_tmp(j, tmp);
    if (rc == 0 && renameat(dir, tmp, dir, j->name) < 0)
        rc = errno;
    if (rc != 0) {
        (void)unlinkat(dir, tmp, 0);
        return rc;
    }
    return fsync(dir) < 0 ? errno : 0;
}

static void on_pool(uv_work_t *req)
{
    struct blob_job *j = req->data;
    pthread_mutex_lock(&blob_lock);
    j->code = env_uv__code(replace(j));
    pthread_mutex_unlock(&blob_lock);
}

/* ---- store, on the loop -----------------------------------------------------------------------
 */

static void finish(struct blob_job *j)
{
    env_done_fn done = j->done;
    void *arg = j->arg;
    int code = j->code;
    list_del(&j->node);
    secret_free(j->data);
    free(j);
    if (done != NULL)
        done(arg, code);
}

static void start_next(struct env_uv *e);

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* never cancelled */
    struct blob_job *j = req->data;
    struct env_uv *e = j->e;
    e->n_blobs--;
    finish(j); /* may store more: that only queues while we are busy */
    e->is_blob_busy = false;
    e->n_busy--;
    start_next(e);
}

/* Runs the head of the queue; it stays there until it is done. */
static void start_next(struct env_uv *e)
{
    if (e->is_blob_busy || list_empty(&e->blob_queue))
        return;
    e->is_blob_busy = true;
    struct blob_job *j = container_of(e->blob_queue.next, struct blob_job, node);
    j->req.data = j;
    e->n_busy++;
    (void)uv_queue_work(&e->loop, &j->req, on_pool, on_done); /* fails only without a function */
}

static void tell_failed(void *arg)
{
    struct env_uv *e = arg;
    while (!list_empty(&e->blob_failed))
        finish(container_of(e->blob_failed.next, struct blob_job, node));
}

void env_uv__blob_init(struct env_uv *e)
{
    list_init(&e->blob_queue);
    list_init(&e->blob_failed);
    env_task_init(&e->blob_task, tell_failed, e);
}

static int fill(struct blob_job *j, const char *name, const uint8_t *data, size_t len)
{
    if (j->e->dir == NULL)
        return CYX_EUNSUPPORTED;
    if (!env_uv__name_ok(name, true) || len > ENV_UV_BLOB_MAX)
        return CYX_EINVAL;
    if (j->e->n_blobs >= ENV_UV_BLOB_QUEUE_MAX)
        return CYX_EFULL;
    j->data = secret_alloc(len > 0 ? len : 1);
    if (j->data == NULL)
        return CYX_ENOMEM;
    if (len > 0)
        memcpy(j->data, data, len);
    j->len = len;
    memcpy(j->name, name, strlen(name) + 1);
    return 0;
}

void env_uv__blob_store(struct env *base, const char *name, const uint8_t *data, size_t len,
                        env_done_fn done, void *arg)
{
    struct env_uv *e = env_uv_of(base);
    struct blob_job *j = calloc(1, sizeof *j);
    if (j == NULL)
        abort(); /* `done` could never come: its owner would wait for ever */
    *j = (struct blob_job){ .e = e, .done = done, .arg = arg };
    j->code = fill(j, name, data, len);
    if (j->code != 0) { /* told at the end of the turn, never inside this call */
        list_push_back(&e->blob_failed, &j->node);
        env_uv__defer(base, &e->blob_task);
        return;
    }
    e->n_blobs++;
    list_push_back(&e->blob_queue, &j->node);
    start_next(e);
}
