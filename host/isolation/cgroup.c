#include "host/isolation/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/cgroup_internal.h"
#include "host/isolation/isolation.h"
#include "host/isolation/plan.h"

enum { CGROUP2_MAGIC = 0x63677270, CGROUP1_MAGIC = 0x27e0eb };

static const char *const controllers[ISO__N_HIERARCHIES] = {
    [ISO__V2] = "",
    [ISO__MEMORY] = "memory",
    [ISO__PIDS] = "pids",
    [ISO__CPU] = "cpu",
    [ISO__CPUACCT] = "cpuacct",
    [ISO__FREEZER] = "freezer",
    [ISO__DEVICES] = "devices",
    [ISO__BLKIO] = "blkio",
};

static long magic_of(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 ? (long)fs.f_type : 0;
}

/* The path of this process's own group in hierarchy `h`, from the text of /proc/self/cgroup. */
static int own_group(const char *text, enum iso__hierarchy h, char *out, size_t cap)
{
    size_t want = strlen(controllers[h]);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *names = strchr(line, ':');
        const char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        const char *end = strchrnul(line, '\n');
        if (path == NULL || path > end)
            return CYX_EINVAL;
        bool found = h == ISO__V2 && path == names + 1;
        for (const char *n = names + 1; want > 0 && n < path; n += strcspn(n, ",:") + 1) {
            size_t len = strcspn(n, ",:");
            found = found || (len == want && memcmp(n, controllers[h], want) == 0);
        }
        if (found) {
            size_t len = (size_t)(end - path - 1);
            if (len >= cap)
                return CYX_EFULL;
            memcpy(out, path + 1, len);
            out[len] = '\0';
            return 0;
        }
        line = *end == '\n' ? end + 1 : end;
    }
    return CYX_ENOENT;
}

static void add_base(struct iso__layout *l, enum iso__hierarchy h, const char *root, long magic,
                     const char *text)
{
    char own[200];
    if (magic_of(root) != magic || own_group(text, h, own, sizeof own) < 0)
        return;
    snprintf(l->base[h], sizeof l->base[h], "%s%s", root, strcmp(own, "/") == 0 ? "" : own);
    l->fd[h] = open(l->base[h], O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void note_missing(struct iso_features *f, const char *what)
{
    size_t n = strlen(f->missing);
    snprintf(f->missing + n, sizeof f->missing - n, "%s%s: no controller", n > 0 ? "; " : "", what);
}

static bool v2_has(const struct iso__layout *l, const char *name)
{
    char buf[256] = "";
    char *save = NULL;
    if (l->fd[ISO__V2] < 0 ||
        iso__cg_read(l->fd[ISO__V2], "cgroup.controllers", buf, sizeof buf) < 0)
        return false;
    for (char *word = strtok_r(buf, " \n", &save); word != NULL;
         word = strtok_r(NULL, " \n", &save)) {
        if (strcmp(word, name) == 0)
            return true;
    }
    return false;
}

static void fill_features(const struct iso__layout *l, struct iso_features *f)
{
    f->cgroup2 = l->fd[ISO__V2] >= 0;
    f->cgroup1 = !l->v2_limits;
    f->memory = l->v2_limits ? v2_has(l, "memory") : l->fd[ISO__MEMORY] >= 0;
    f->pids = l->v2_limits ? v2_has(l, "pids") : l->fd[ISO__PIDS] >= 0;
    f->cpu = l->v2_limits ? v2_has(l, "cpu") : l->fd[ISO__CPU] >= 0;
    f->io = l->v2_limits ? v2_has(l, "io") : l->fd[ISO__BLKIO] >= 0;
    f->devices = l->fd[ISO__DEVICES] >= 0;
    if (!f->memory)
        note_missing(f, "memory");
    if (!f->pids)
        note_missing(f, "pids");
    if (!f->cpu)
        note_missing(f, "cpu");
}

int iso__layout_open(struct iso__layout *l, struct iso_features *f, struct cyx_err *err)
{
    char text[4096] = "";
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++)
        l->fd[h] = -1;
    cleanup_close int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0 || iso__cg_read(proc, "cgroup", text, sizeof text) < 0)
        return cyx_fail(err, CYX_EUNSUPPORTED, "/proc/self/cgroup: %s", strerror(errno));
    if (magic_of("/sys/fs/cgroup") == CGROUP2_MAGIC) {
        l->v2_limits = true;
        add_base(l, ISO__V2, "/sys/fs/cgroup", CGROUP2_MAGIC, text);
    } else {
        add_base(l, ISO__V2, "/sys/fs/cgroup/unified", CGROUP2_MAGIC, text);
        for (unsigned h = ISO__V2 + 1; h < ISO__N_HIERARCHIES; h++) {
            char root[64];
            snprintf(root, sizeof root, "/sys/fs/cgroup/%s", controllers[h]);
            add_base(l, (enum iso__hierarchy)h, root, CGROUP1_MAGIC, text);
        }
    }
    if (l->fd[ISO__V2] < 0 && l->fd[ISO__FREEZER] < 0)
        return cyx_fail(err, CYX_EUNSUPPORTED,
                        "no cgroup v2 and no freezer: a container could not be ended as one");
    fill_features(l, f);
    return 0;
}

void iso__layout_close(struct iso__layout *l)
{
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        if (l->fd[h] >= 0)
            close(l->fd[h]);
        l->fd[h] = -1;
    }
}

static bool wants(const struct iso__layout *l, enum iso__hierarchy h, const struct iso_spec *s)
{
    const struct iso_limits *m = &s->limits;
    switch (h) {
    case ISO__DEVICES:
        return !iso__weak("devices");
    case ISO__V2:
    case ISO__MEMORY: /* also for what is read back */
    case ISO__PIDS:
        return true;
    case ISO__CPU:
        return m->cpu_quota_us != 0 || m->cpu_weight != 0;
    case ISO__CPUACCT: /* v2 counts CPU time without a controller */
    case ISO__FREEZER:
        return l->fd[ISO__V2] < 0;
    case ISO__BLKIO:
        return m->io_weight != 0;
    case ISO__N_HIERARCHIES:
        break;
    }
    return false;
}

int iso__groups_name(const struct iso__layout *l, struct iso__groups *g, const char *name,
                     const struct iso_spec *s, struct cyx_err *err)
{
    const char *parent = s->cgroup_parent != NULL ? s->cgroup_parent : "cyx";
    parent += strspn(parent, "/");
    memset(g, 0, sizeof *g);
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        g->fd[h] = -1;
        if (l->fd[h] < 0 || !wants(l, (enum iso__hierarchy)h, s))
            continue;
        /* One policy for all: one group, so that a start needs not write it again. */
        bool shared = h == ISO__DEVICES;
        g->devices_shared = g->devices_shared || shared;
        int n = snprintf(g->path[h], sizeof g->path[h], "%s/%s%s%s", l->base[h],
                         shared ? "cyx-devices" : parent, shared || *parent == '\0' ? "" : "/",
                         shared ? "" : name);
        if (n < 0 || (size_t)n >= sizeof g->path[h])
            return cyx_fail(err, CYX_EINVAL, "cgroup parent %s: too long", parent);
    }
    return 0;
}

/* The folders between the launcher's own group and the container's; v2 hands controllers down. */
static int make_parents(const struct iso__layout *l, enum iso__hierarchy h, const char *path)
{
    char buf[512];
    size_t start = strlen(l->base[h]);
    snprintf(buf, sizeof buf, "%s", path);
    for (size_t i = start + 1; buf[i] != '\0'; i++) {
        if (buf[i] != '/')
            continue;
        buf[i] = '\0';
        if (mkdir(buf, 0755) < 0 && errno != EEXIST)
            return CYX_EIO;
        if (h == ISO__V2 && l->v2_limits)
            iso__cg_delegate(buf);
        buf[i] = '/';
    }
    return 0;
}

static int make_one(const struct iso__layout *l, enum iso__hierarchy h, const char *path)
{
    if (mkdir(path, 0755) == 0)
        return 0;
    if (errno == EEXIST && h == ISO__DEVICES)
        return 1;
    /* The name was claimed in the state folder: an empty group is a leftover, a full one is not. */
    if (errno == EEXIST && rmdir(path) < 0)
        return CYX_EEXIST;
    if (access(path, F_OK) < 0 && make_parents(l, h, path) < 0)
        return CYX_EIO;
    return mkdir(path, 0755) == 0 ? 0 : CYX_EIO;
}

static int make_group(const struct iso__layout *l, struct iso__groups *g, enum iso__hierarchy h,
                      struct cyx_err *err)
{
    if (g->path[h][0] == '\0')
        return 0;
    int rc = make_one(l, h, g->path[h]);
    if (rc < 0)
        return cyx_fail(err, rc, "cgroup %s: %s", g->path[h], strerror(errno));
    g->fd[h] = open(g->path[h], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (g->fd[h] < 0)
        return cyx_fail(err, CYX_EIO, "cgroup %s: %s", g->path[h], strerror(errno));
    if (h == ISO__DEVICES && rc == 0 && iso__cg_devices(g->fd[h], err) < 0)
        return cyx_wrap(err, "cgroup %s", g->path[h]);
    return 0;
}

int iso__groups_make_first(const struct iso__layout *l, struct iso__groups *g, struct cyx_err *err)
{
    if (l->v2_limits)
        iso__cg_delegate(l->base[ISO__V2]);
    return make_group(l, g, ISO__V2, err);
}

int iso__groups_make(const struct iso__layout *l, struct iso__groups *g, const struct iso_spec *s,
                     struct cyx_err *err)
{
    for (unsigned h = ISO__V2 + 1; h < ISO__N_HIERARCHIES; h++) {
        int rc = make_group(l, g, (enum iso__hierarchy)h, err);
        if (rc < 0)
            return rc;
    }
    return iso__cg_limits(l, g, &s->limits, err);
}

int iso__groups_open(struct iso__groups *g)
{
    int n = 0;
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        g->fd[h] = -1;
        if (g->path[h][0] != '\0')
            g->fd[h] = open(g->path[h], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        n += g->fd[h] >= 0;
    }
    return n;
}

int iso__groups_joins(const struct iso__groups *g, int *out, unsigned cap, struct cyx_err *err)
{
    unsigned n = 0;
    for (unsigned h = ISO__V2 + 1; h < ISO__N_HIERARCHIES; h++) {
        if (g->fd[h] < 0 || n == cap)
            continue;
        out[n] = openat(g->fd[h], "tasks", O_WRONLY | O_CLOEXEC);
        if (out[n] < 0) {
            while (n > 0)
                close(out[--n]);
            return cyx_fail(err, CYX_EIO, "cgroup %s: tasks: %s", g->path[h], strerror(errno));
        }
        n++;
    }
    return (int)n;
}

void iso__groups_close(struct iso__groups *g)
{
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        if (g->fd[h] >= 0)
            close(g->fd[h]);
        g->fd[h] = -1;
    }
}
