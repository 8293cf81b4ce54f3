/* host/isolation/child_mounts.c - the container's own file systems. Each is made as a detached
 * mount and attached to a descriptor that was resolved inside the root (openat2): no path is looked
 * up twice and none leads out, whatever an image's links say. System calls only. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "host/isolation/child.h"
#include "host/isolation/sys.h"

enum { NO_TRICKS = SYS_ATTR_NOSUID | SYS_ATTR_NODEV };

static int make_fs(struct iso__plan *p, enum iso__step step, const char *type,
                   const char *const *options, const char *flag, unsigned attr)
{
    int fs = (int)must(p, step, sys_fs_open(type), type);
    for (unsigned i = 0; options != NULL && options[i] != NULL; i += 2)
        must(p, step, sys_fs_string(fs, options[i], options[i + 1]), options[i]);
    if (flag != NULL)
        must(p, step, sys_fs_flag(fs, flag), flag);
    return (int)must(p, step, sys_fs_mount(fs, attr), type);
}

/* proc and sysfs ask that this namespace still sees the host's own, so they come before pivot_root.
 */
void iso__child_filesystems(struct iso__plan *p, struct iso__child_fds *fds)
{
    static const char *const pids[] = { "subset", "pid", NULL };
    static const char *const pts_plain[] = { "mode", "0620", "ptmxmode", "0666", NULL };
    static const char *const pts_tty[] = { "mode", "0620", "ptmxmode", "0666", "gid", "5", NULL };
    fds->proc = make_fs(p, ISO__STEP_PROC, "proc", p->spec->flags & ISO_PROC_PIDS ? pids : NULL,
                        NULL, NO_TRICKS | SYS_ATTR_NOEXEC);
    fds->sys = make_fs(p, ISO__STEP_SYS, iso__weak("netns") ? "tmpfs" : "sysfs", NULL, NULL,
                       NO_TRICKS | SYS_ATTR_NOEXEC | SYS_ATTR_RDONLY);
    fds->pts = make_fs(p, ISO__STEP_PTS, "devpts", p->spec->n_ids > 5 ? pts_tty : pts_plain, NULL,
                       SYS_ATTR_NOSUID | SYS_ATTR_NOEXEC);
}

/* A folder of the image that we mount on: made when missing, refused when it is a link. */
static int fixed_dir(struct iso__plan *p, int root, const char *name)
{
    int fd =
        sys_openat2(root, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, SYS_BENEATH | SYS_NO_SYMLINKS);
    if (fd == -ENOENT) {
        must(p, ISO__STEP_TARGET, sys_3(SYS_mkdirat, root, name, 0755), name);
        fd = sys_openat2(root, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
                         SYS_BENEATH | SYS_NO_SYMLINKS);
    }
    if (iso__weak("fixed_dir") && fd == -ELOOP)
        fd = (int)sys_4(SYS_openat, root, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    return (int)must(p, ISO__STEP_TARGET, fd, name);
}

static void attach_fixed(struct iso__plan *p, int root, const char *name, int mount,
                         enum iso__step step)
{
    int dir = fixed_dir(p, root, name);
    must(p, step, sys_attach(mount, dir), name);
    sys_close(dir);
}

enum want { WANT_DIR, WANT_FILE };

/* Makes the last part of buf[0..len) in the folder `dir`. */
static long make_last(int dir, const char *name, enum want want)
{
    if (want == WANT_DIR)
        return sys_3(SYS_mkdirat, dir, name, 0755);
    long fd =
        sys_4(SYS_openat, dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0)
        sys_close((int)fd);
    return fd < 0 ? fd : 0;
}

/* Resolves an absolute path inside the root, making what is missing; returns an O_PATH descriptor.
 * Links of the image are followed as chroot would, never those of /proc that lead elsewhere. */
static int target(struct iso__plan *p, int root, const char *path, enum want want)
{
    char so_far[ISO_PATH_MAX];
    uint64_t resolve = SYS_IN_ROOT | SYS_NO_MAGICLINKS;
    int fd = sys_openat2(root, path, O_PATH | O_CLOEXEC, 0, resolve);
    if (fd != -ENOENT)
        return (int)must(p, ISO__STEP_TARGET, fd, path);
    int parent = (int)must(p, ISO__STEP_TARGET, sys_1(SYS_dup, root), path);
    for (unsigned i = 0, name = 0;; i++) {
        if (i > name && (path[i] == '/' || path[i] == '\0')) { /* one more part is whole */
            so_far[i] = '\0';
            fd = sys_openat2(root, so_far, O_PATH | O_CLOEXEC, 0, resolve);
            if (fd == -ENOENT) {
                long rc = make_last(parent, so_far + name, path[i] == '/' ? WANT_DIR : want);
                must(p, ISO__STEP_TARGET, rc, path);
                fd = sys_openat2(root, so_far, O_PATH | O_CLOEXEC, 0, resolve);
            }
            must(p, ISO__STEP_TARGET, fd, path);
            sys_close(parent);
            parent = fd;
        }
        if (path[i] == '\0')
            return parent;
        so_far[i] = path[i];
        if (path[i] == '/')
            name = i + 1;
    }
}

static void number(char out[24], uint64_t n, unsigned base)
{
    char digits[24];
    unsigned len = 0;
    do {
        digits[len++] = (char)('0' + n % base);
        n /= base;
    } while (n != 0);
    for (unsigned i = 0; i < len; i++)
        out[i] = digits[len - 1 - i];
    out[len] = '\0';
}

static int make_tmpfs(struct iso__plan *p, const struct iso_mount *m, unsigned attr)
{
    char size[24], inodes[24], mode[24];
    const char *const options[] = { "size", size, "nr_inodes", inodes, "mode", mode, NULL };
    number(size, m->bytes, 10);
    number(inodes, m->inodes, 10);
    number(mode, m->mode, 8);
    return make_fs(p, ISO__STEP_MOUNT, "tmpfs", options, NULL, attr);
}

static bool is_dir(int fd)
{
    struct stat st;
    return sys_4(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) == 0 && S_ISDIR(st.st_mode);
}

static void attach_extra(struct iso__plan *p, int root, unsigned i)
{
    const struct iso_mount *m = &p->spec->mounts[i];
    unsigned attr = NO_TRICKS | (m->flags & ISO_MNT_READONLY ? SYS_ATTR_RDONLY : 0u) |
                    (m->flags & ISO_MNT_NOEXEC ? SYS_ATTR_NOEXEC : 0u);
    int fd = -1;
    switch (m->kind) {
    case ISO_MOUNT_BIND:
        fd = p->binds[i];
        break;
    case ISO_MOUNT_TMPFS:
        fd = make_tmpfs(p, m, attr);
        break;
    case ISO_MOUNT_MQUEUE:
        fd = make_fs(p, ISO__STEP_MOUNT, "mqueue", NULL, NULL, attr | SYS_ATTR_NOEXEC);
        break;
    case ISO_MOUNT_CGROUP2:
        fd = make_fs(p, ISO__STEP_MOUNT, "cgroup2", NULL, NULL,
                     attr | SYS_ATTR_NOEXEC | (iso__weak("cgroupfs") ? 0u : SYS_ATTR_RDONLY));
        break;
    }
    int to = target(p, root, m->target, is_dir(fd) ? WANT_DIR : WANT_FILE);
    must(p, ISO__STEP_MOUNT, sys_attach(fd, to), m->target);
    sys_close(to);
}

void iso__child_mounts(struct iso__plan *p, struct iso__child_fds *fds)
{
    int root =
        (int)must(p, ISO__STEP_TARGET,
                  sys_4(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), "/");
    fds->root = root;
    attach_fixed(p, root, "proc", fds->proc, ISO__STEP_PROC);
    attach_fixed(p, root, "sys", fds->sys, ISO__STEP_SYS);
    attach_fixed(p, root, "dev", p->dev, ISO__STEP_DEV);
    /* From here the names below /dev are ours: the template's root, not the image's folder. */
    attach_fixed(p, p->dev, "pts", fds->pts, ISO__STEP_PTS);
    if (p->shm >= 0)
        attach_fixed(p, p->dev, "shm", p->shm, ISO__STEP_DEV);
    for (unsigned i = 0; i < p->spec->n_mounts; i++)
        attach_extra(p, root, i);
    /* Made while / can still be written; whether it may be entered is decided later. */
    int cwd =
        sys_openat2(root, p->process->cwd, O_PATH | O_CLOEXEC, 0, SYS_IN_ROOT | SYS_NO_MAGICLINKS);
    if (cwd == -ENOENT)
        cwd = target(p, root, p->process->cwd, WANT_DIR);
    if (cwd >= 0)
        sys_close(cwd);
}

/* ---- what is covered or made read-only ---------------------------------------------------------
 */

static const char *const default_masked[] = {
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/timer_list",
    "/proc/scsi",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/kallsyms",
    "/proc/vmallocinfo",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/devices/virtual/powercap",
};
static const char *const default_readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                "/proc/sysrq-trigger" };

/* An O_PATH descriptor, or -1 when there is no such file. A link anywhere on the way is refused:
 * what would be covered is then not what is meant. */
static int covered(struct iso__plan *p, int root, const char *path, enum iso__step step)
{
    int fd = sys_openat2(root, path, O_PATH | O_CLOEXEC, 0, SYS_IN_ROOT | SYS_NO_SYMLINKS);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return -1;
    return (int)must(p, step, fd, path);
}

/* The cover of a file is the template's null device; its number was checked when it was made, and
 * is again, so that a file of the image never takes its place (CVE-2025-31133). */
static int null_cover(struct iso__plan *p)
{
    struct stat st;
    int fd = (int)must(p, ISO__STEP_MASK, sys_open_tree(p->dev, "null", 0), "null");
    must(p, ISO__STEP_MASK, sys_4(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH), "null");
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        iso__child_fail(p, ISO__STEP_MASK, -EINVAL, "null is no null device");
    return fd;
}

static void mask(struct iso__plan *p, int root, const char *path, int *empty)
{
    static const char *const tiny[] = { "size", "4096", "nr_inodes", "2", "mode", "0555", NULL };
    int at = covered(p, root, path, ISO__STEP_MASK);
    if (at < 0)
        return;
    int cover;
    if (!is_dir(at)) {
        cover = null_cover(p);
    } else if (*empty < 0) {
        cover = make_fs(p, ISO__STEP_MASK, "tmpfs", tiny, NULL,
                        NO_TRICKS | SYS_ATTR_NOEXEC | SYS_ATTR_RDONLY);
        *empty = cover; /* attached below, and cloned for the next folder */
    } else {
        cover = (int)must(p, ISO__STEP_MASK, sys_open_tree(*empty, "", 0), path);
    }
    must(p, ISO__STEP_MASK, sys_attach(cover, at), path);
    if (cover != *empty)
        sys_close(cover);
    sys_close(at);
}

static void make_readonly(struct iso__plan *p, int root, const char *path)
{
    struct sys_mount_attr attr = { .set = SYS_ATTR_RDONLY };
    int at = covered(p, root, path, ISO__STEP_READONLY);
    if (at < 0)
        return;
    int clone = (int)must(p, ISO__STEP_READONLY, sys_open_tree(at, "", SYS_AT_RECURSIVE), path);
    must(p, ISO__STEP_READONLY, sys_mount_setattr(clone, SYS_AT_RECURSIVE, &attr), path);
    must(p, ISO__STEP_READONLY, sys_attach(clone, at), path);
    sys_close(clone);
    sys_close(at);
}

void iso__child_cover(struct iso__plan *p, struct iso__child_fds *fds)
{
    const struct iso_spec *s = p->spec;
    bool has_little = (s->flags & ISO_PROC_PIDS) != 0;
    const char *const *masked = s->masked != NULL ? s->masked : default_masked;
    const char *const *readonly = s->readonly != NULL ? s->readonly : default_readonly;
    unsigned n_masked =
        s->masked != NULL ? s->n_masked : sizeof default_masked / sizeof default_masked[0];
    unsigned n_readonly =
        s->readonly != NULL ? s->n_readonly : sizeof default_readonly / sizeof default_readonly[0];
    int empty = -1;
    for (unsigned i = 0; i < n_readonly && !iso__weak("readonly"); i++) {
        if (!has_little || readonly[i][1] != 'p')
            make_readonly(p, fds->root, readonly[i]);
    }
    for (unsigned i = 0; i < n_masked && !iso__weak("mask"); i++) {
        if (!has_little || masked[i][1] != 'p')
            mask(p, fds->root, masked[i], &empty);
    }
    if ((s->flags & ISO_ROOT_READONLY) != 0) {
        struct sys_mount_attr attr = { .set = SYS_ATTR_RDONLY };
        must(p, ISO__STEP_READONLY, sys_mount_setattr(fds->root, 0, &attr), "/");
    }
}
