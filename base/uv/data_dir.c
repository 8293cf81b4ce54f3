/* base/uv/data_dir.c - the data folder: who may look into it, names in it, one process at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/uv/env_uv_internal.h"

bool env_uv__name_ok(const char *name, bool dots)
{
    size_t n = strnlen(name, 33);
    if (n < 1 || n > 32 || name[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (dots && c == '.')))
            return false;
    }
    return true;
}

int env_uv__dir_open(const char *dir, struct cyx_err *err)
{
    char why[64];
    struct stat st;
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return cyx_fail(err, CYX_ENOENT, "%s does not exist: create it with `mkdir -m 700 %s`", dir,
                        dir);
    if (fd < 0 || fstat(fd, &st) < 0)
        return cyx_fail(err, env_uv__code(errno), "open data folder %s: %s", dir,
                        env_uv__why(errno, why));
    if (st.st_uid != geteuid())
        return cyx_fail(err, CYX_EPERM,
                        "%s belongs to user %u, this process runs as user %u: `chown %u %s`", dir,
                        (unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), dir);
    if ((st.st_mode & 077) != 0)
        return cyx_fail(err, CYX_EPERM, "%s is open to others (mode %03o): `chmod 700 %s`", dir,
                        (unsigned)st.st_mode & 0777, dir);
    return steal_fd(&fd);
}

int env_uv__file_check(int fd, const char *dir, const char *name, struct cyx_err *err)
{
    char why[64];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cyx_fail(err, CYX_EIO, "stat %s/%s: %s", dir, name, env_uv__why(errno, why));
    if (!S_ISREG(st.st_mode))
        return cyx_fail(err, CYX_EPERM, "%s/%s is not a regular file: move it away", dir, name);
    if (st.st_uid != geteuid())
        return cyx_fail(err, CYX_EPERM,
                        "%s/%s belongs to user %u, this process runs as user %u: `chown %u %s/%s`",
                        dir, name, (unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(),
                        dir, name);
    if ((st.st_mode & 077) != 0)
        return cyx_fail(err, CYX_EPERM, "%s/%s is open to others (mode %03o): `chmod 600 %s/%s`",
                        dir, name, (unsigned)st.st_mode & 0777, dir, name);
    return 0;
}

/* The pid in the lock file, or 0. */
static long holder_of(int fd)
{
    char text[24] = { 0 };
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    char *end = NULL;
    long pid = strtol(text, &end, 10);
    return end != text && pid > 0 ? pid : 0;
}

static int refuse_busy(int fd, const char *dir, struct cyx_err *err)
{
    long pid = holder_of(fd);
    if (pid == 0)
        return cyx_fail(err, CYX_EBUSY,
                        "%s is in use by another process: stop it, or give this node a data folder "
                        "of its own",
                        dir);
    return cyx_fail(err, CYX_EBUSY,
                    "%s is in use by process %ld: stop it, or give this node a data folder of its "
                    "own",
                    dir, pid);
}

int env_uv_lock_data_dir(const char *dir, struct cyx_err *err)
{
    char why[64];
    cleanup_close int dir_fd = env_uv__dir_open(dir, err);
    if (dir_fd < 0)
        return dir_fd;
    cleanup_close int fd =
        openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0 && errno == EROFS)
        return cyx_fail(err, CYX_ENOSPC,
                        "%s is on a read-only file system: remount it read-write, or choose "
                        "another data folder",
                        dir);
    if (fd < 0)
        return cyx_fail(err, env_uv__code(errno), "open %s/lock: %s", dir, env_uv__why(errno, why));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? refuse_busy(fd, dir, err)
                   : cyx_fail(err, CYX_EIO, "flock %s/lock: %s", dir, env_uv__why(errno, why));
    /* The pid is for people; the lock alone decides. A full disk must not keep a node down. */
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool is_told = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
    (void)is_told; /* without room the file stays empty: "in use by another process" */
    /* Held until the process ends: nobody closes this descriptor. */
    (void)steal_fd(&fd);
    return 0;
}
