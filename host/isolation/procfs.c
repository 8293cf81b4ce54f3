/* host/isolation/procfs.c - writes to /proc go through a descriptor whose file system was checked
 * once: a mount over /proc can't redirect them (CVE-2025-52881). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

int iso__proc_open(struct iso_engine *e, pid_t pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "%d/%s", (int)pid, name);
    int fd = sys_openat2(e->proc, path, (uint64_t)(flags | O_CLOEXEC), 0,
                         SYS_BENEATH | SYS_NO_XDEV | SYS_NO_SYMLINKS);
    if (fd < 0)
        errno = -fd;
    return fd < 0 ? -1 : fd;
}

int iso__proc_write(struct iso_engine *e, pid_t pid, const char *name, const char *text,
                    struct cyx_err *err)
{
    cleanup_close int fd = iso__proc_open(e, pid, name, O_WRONLY);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        return cyx_fail(err, CYX_EIO, "/proc/%d/%s: %s", (int)pid, name, strerror(errno));
    return 0;
}

uint64_t iso__proc_started(struct iso_engine *e, pid_t pid)
{
    char buf[1024];
    cleanup_close int fd = pid > 0 ? iso__proc_open(e, pid, "stat", O_RDONLY) : -1;
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
    if (n <= 0)
        return 0;
    buf[n] = '\0';
    char *p = strrchr(buf, ')'); /* the name before it may hold anything */
    for (unsigned field = 2; p != NULL && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}
