#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/cgroup_internal.h"
#include "host/isolation/plan.h"

int iso__cg_read(int dir, const char *name, char *buf, size_t cap)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return CYX_EIO;
    size_t len = 0;
    while (len < cap - 1) {
        ssize_t n = read(fd, buf + len, cap - 1 - len);
        if (n < 0)
            return CYX_EIO;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    buf[len] = '\0';
    return (int)len;
}

int iso__cg_write(int dir, const char *name, const char *text)
{
    cleanup_close int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t len = strlen(text);
    return fd >= 0 && write(fd, text, len) == (ssize_t)len ? 0 : CYX_EIO;
}

uint64_t iso__cg_number(int dir, const char *name)
{
    char buf[32];
    return dir >= 0 && iso__cg_read(dir, name, buf, sizeof buf) > 0 ? strtoull(buf, NULL, 10) : 0;
}

uint64_t iso__cg_keyed(int dir, const char *name, const char *key)
{
    char buf[4096];
    size_t len = strlen(key);
    if (dir < 0 || iso__cg_read(dir, name, buf, sizeof buf) < 0)
        return 0;
    for (char *line = buf; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

/* The six devices, the pty's two and its slaves; nothing may be made. */
int iso__cg_devices(int dir, struct cyx_err *err)
{
    static const char *const allow[] = { "c 1:3 rw", "c 1:5 rw", "c 1:7 rw", "c 1:8 rw",
                                         "c 1:9 rw", "c 5:0 rw", "c 5:2 rw", "c 136:* rw" };
    if (iso__cg_write(dir, "devices.deny", "a") < 0)
        return cyx_fail(err, CYX_EIO, "devices.deny: %s", strerror(errno));
    for (size_t i = 0; i < sizeof allow / sizeof allow[0]; i++) {
        if (iso__cg_write(dir, "devices.allow", allow[i]) < 0)
            return cyx_fail(err, CYX_EIO, "devices.allow %s: %s", allow[i], strerror(errno));
    }
    return 0;
}

void iso__cg_delegate(const char *path)
{
    static const char *const all[] = { "+memory", "+pids", "+cpu", "+io" };
    cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; dir >= 0 && i < 4; i++)
        (void)iso__cg_write(dir, "cgroup.subtree_control", all[i]);
}

__attribute__((format(printf, 5, 6))) static int set(int dir, const char *name, bool needed,
                                                     struct cyx_err *err, const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (iso__cg_write(dir, name, text) == 0 || !needed)
        return 0;
    return cyx_fail(err, CYX_EIO, "cgroup: %s = %s: %s", name, text, strerror(errno));
}

/* The scale of v1's cpu.shares: 1024 where v2 has 100. */
static uint64_t shares(uint64_t weight)
{
    uint64_t n = weight * 1024 / 100;
    return n < 2 ? 2 : n;
}

static int limits_v2(int dir, const struct iso_limits *m, struct cyx_err *err)
{
    int rc = 0;
    if (m->memory_bytes != 0) {
        rc = set(dir, "memory.max", true, err, "%" PRIu64, m->memory_bytes);
        rc = rc < 0 ? rc : set(dir, "memory.swap.max", false, err, "0");
        rc = rc < 0 ? rc : set(dir, "memory.oom.group", false, err, "1");
    }
    if (rc == 0 && m->pids != 0)
        rc = set(dir, "pids.max", true, err, "%" PRIu64, m->pids);
    if (rc == 0 && m->cpu_quota_us != 0)
        rc = set(dir, "cpu.max", true, err, "%" PRIu64 " %" PRIu64, m->cpu_quota_us,
                 m->cpu_period_us);
    if (rc == 0 && m->cpu_weight != 0)
        rc = set(dir, "cpu.weight", true, err, "%" PRIu64, m->cpu_weight);
    if (rc == 0 && m->io_weight != 0)
        rc = set(dir, "io.weight", false, err, "%" PRIu64, m->io_weight);
    return rc;
}

static int missing(const char *what, struct cyx_err *err)
{
    return cyx_fail(err, CYX_EUNSUPPORTED,
                    "a limit on %s was asked for: this kernel has no such controller", what);
}

static int limits_v1(const struct iso__groups *g, const struct iso_limits *m, struct cyx_err *err)
{
    int rc = 0;
    if (m->memory_bytes != 0 && !iso__weak("memory")) {
        if (g->fd[ISO__MEMORY] < 0)
            return missing("memory", err);
        int dir = g->fd[ISO__MEMORY];
        rc = set(dir, "memory.limit_in_bytes", true, err, "%" PRIu64, m->memory_bytes);
        rc = rc < 0
                 ? rc
                 : set(dir, "memory.memsw.limit_in_bytes", false, err, "%" PRIu64, m->memory_bytes);
        rc = rc < 0 ? rc : set(dir, "memory.swappiness", false, err, "0");
    }
    if (rc == 0 && m->pids != 0 && !iso__weak("pids")) {
        if (g->fd[ISO__PIDS] < 0)
            return missing("processes", err);
        rc = set(g->fd[ISO__PIDS], "pids.max", true, err, "%" PRIu64, m->pids);
    }
    if ((m->cpu_quota_us != 0 || m->cpu_weight != 0) && g->fd[ISO__CPU] < 0)
        return missing("CPU time", err);
    if (rc == 0 && m->cpu_quota_us != 0) {
        rc = set(g->fd[ISO__CPU], "cpu.cfs_period_us", true, err, "%" PRIu64, m->cpu_period_us);
        rc = rc < 0
                 ? rc
                 : set(g->fd[ISO__CPU], "cpu.cfs_quota_us", true, err, "%" PRIu64, m->cpu_quota_us);
    }
    if (rc == 0 && m->cpu_weight != 0)
        rc = set(g->fd[ISO__CPU], "cpu.shares", true, err, "%" PRIu64, shares(m->cpu_weight));
    if (rc == 0 && m->io_weight != 0 && g->fd[ISO__BLKIO] >= 0)
        rc = set(g->fd[ISO__BLKIO], "blkio.bfq.weight", false, err, "%" PRIu64, m->io_weight);
    return rc;
}

int iso__cg_limits(const struct iso__layout *l, const struct iso__groups *g,
                   const struct iso_limits *m, struct cyx_err *err)
{
    return l->v2_limits ? limits_v2(g->fd[ISO__V2], m, err) : limits_v1(g, m, err);
}
