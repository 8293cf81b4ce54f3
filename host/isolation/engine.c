#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/filter.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

enum { PROC_MAGIC = 0x9fa0, PROC_ROOT_INO = 1, LANDLOCK_VERSION = 1 };

static int open_proc(struct cyx_err *err)
{
    struct statfs fs;
    struct stat st;
    cleanup_close int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
        return cyx_fail(err, CYX_EIO, "/proc: %s", strerror(errno));
    if (fs.f_type != PROC_MAGIC || st.st_ino != PROC_ROOT_INO)
        return cyx_fail(err, CYX_EPERM, "/proc is not procfs itself");
    return steal_fd(&fd);
}

static int open_state(const char *dir, struct cyx_err *err)
{
    struct stat st;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return cyx_fail(err, CYX_EIO, "%s: %s", dir, strerror(errno));
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return cyx_fail(err, CYX_EIO, "%s: %s", dir, strerror(errno));
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return cyx_fail(err, CYX_EPERM, "%s: others may write to it", dir);
    return steal_fd(&fd);
}

static void engine_free(struct iso_engine *e)
{
    int fds[] = { e->state, e->proc, e->dev };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    iso__layout_close(&e->layout);
    free(e->filter.filter);
    free(e);
}

static void engine_freep(struct iso_engine **e)
{
    if (*e != NULL)
        engine_free(*e);
}

static uint32_t landlock_abi(void)
{
    long abi = sys_3(SYS_landlock_create_ruleset, 0, 0, LANDLOCK_VERSION);
    return abi > 0 ? (uint32_t)abi : 0;
}

int iso_engine_open(struct iso_engine **out, const char *state_dir, struct cyx_err *err)
{
    if (geteuid() != 0)
        return cyx_fail(err, CYX_EPERM, "containers need root (their own root is another)");
    __attribute__((cleanup(engine_freep))) struct iso_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return cyx_fail(err, CYX_ENOMEM, "engine");
    e->dev = e->state = -1;
    int rc = e->proc = open_proc(err);
    rc = rc < 0 ? rc : iso__layout_open(&e->layout, &e->features, err);
    rc = rc < 0 ? rc : iso_filter_default(&e->filter, err);
    rc = rc < 0 ? rc : (e->state = open_state(state_dir, err));
    rc = rc < 0 ? rc : (e->dev = iso__dev_template(err));
    if (rc < 0)
        return rc;
    e->features.landlock_abi = landlock_abi();
    e->features.is_sealed = iso_is_sealed();
    *out = steal(&e);
    return 0;
}

void iso_engine_close(struct iso_engine *e)
{
    if (e != NULL)
        engine_free(e);
}

const struct iso_features *iso_engine_features(const struct iso_engine *e)
{
    return &e->features;
}

/* A launch that goes on holds a lock on its folder: that is no leftover. */
static bool is_being_made(const struct iso_engine *e, const char *name)
{
    cleanup_close int dir = openat(e->state, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) < 0;
}

static bool is_left(struct iso_engine *e, const char *name)
{
    struct iso_container *c = NULL;
    if (is_being_made(e, name) || iso_adopt(e, name, &c, NULL) < 0)
        return false;
    bool left = iso_container_status(c) == ISO_STOPPED;
    iso_container_close(c);
    return left;
}

int iso_engine_sweep(struct iso_engine *e, struct cyx_err *err)
{
    int n = 0, rc = 0;
    int fd = openat(e->state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return cyx_fail(err, CYX_EIO, "state: %s", strerror(errno));
    for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        struct iso_container *c = NULL;
        if (!iso_name_ok(d->d_name) || !is_left(e, d->d_name) ||
            iso_adopt(e, d->d_name, &c, err) < 0)
            continue;
        rc = iso_destroy(c, err);
        if (rc < 0)
            iso_container_close(c);
        else
            n++;
    }
    closedir(dir);
    iso__ids_sweep(e);
    return rc < 0 ? rc : n;
}
