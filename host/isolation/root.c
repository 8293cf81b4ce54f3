/* host/isolation/root.c - the mounts that need the host's root: made detached, so that no path of
 * the host ever leads to them, and handed to the child as descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

static int failed(struct cyx_err *err, const char *what, long rc)
{
    return cyx_fail(err, CYX_EIO, "%s: %s", what, strerror((int)-rc));
}

/* Maps the container's ids on a detached mount: what root owns on disk is the container's root's.
 */
static int map_ids(int mount, unsigned attr, unsigned flags, int userns)
{
    struct sys_mount_attr a = { .set = attr, .propagation = MS_PRIVATE };
    if ((attr & SYS_ATTR_NOATIME) != 0)
        a.clear = SYS_ATTR_ATIME; /* three values in one field: it is cleared before it is set */
    if (userns >= 0) {
        a.set |= SYS_ATTR_IDMAP;
        a.userns_fd = (uint64_t)userns;
    }
    return sys_mount_setattr(mount, flags, &a);
}

static int clone_mapped(const char *path, unsigned attr, unsigned flags, int userns,
                        struct cyx_err *err)
{
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return cyx_fail(err, CYX_EIO, "%s: %s", path, strerror(errno));
    cleanup_close int mount = sys_open_tree(fd, "", flags);
    if (mount < 0)
        return failed(err, path, mount);
    int rc = map_ids(mount, attr, flags, userns);
    if (rc < 0)
        return cyx_fail(err, CYX_EIO, "%s: mapping ids: %s%s", path, strerror(-rc),
                        rc == -EINVAL ? " (its file system can't have them mapped)" : "");
    return steal_fd(&mount);
}

/* The writable half: memory with a limit on bytes and inodes, never swapped out. */
static int make_upper(const struct iso_spec *s, struct cyx_err *err)
{
    char text[32];
    cleanup_close int fs = sys_fs_open("tmpfs");
    if (fs < 0)
        return failed(err, "tmpfs", fs);
    snprintf(text, sizeof text, "%" PRIu64,
             iso__weak("root_bytes") ? (uint64_t)1 << 33 : s->root_bytes);
    long rc = sys_fs_string(fs, "size", text);
    /* Three folders of ours are not the container's to pay for. */
    snprintf(text, sizeof text, "%" PRIu64,
             iso__weak("root_inodes") ? 1000000 : s->root_inodes + 4);
    rc = rc < 0 ? rc : sys_fs_string(fs, "nr_inodes", text);
    rc = rc < 0 ? rc : sys_fs_string(fs, "mode", "0700");
    if (rc == 0 && sys_fs_flag(fs, "noswap") < 0 && access("/proc/swaps", F_OK) < 0)
        rc = -EINVAL; /* Linux before 6.4: the cgroup's limit without swap has to do */
    rc = rc < 0 ? rc : sys_fs_mount(steal_fd(&fs), SYS_ATTR_NOSUID | SYS_ATTR_NODEV);
    return rc < 0 ? failed(err, "tmpfs", rc) : (int)rc;
}

static int make_folders(int upper, uint32_t owner, int *data, int *work, struct cyx_err *err)
{
    if (mkdirat(upper, "data", 0755) < 0 || mkdirat(upper, "work", 0700) < 0 ||
        mkdirat(upper, "shm", 0755) < 0)
        return cyx_fail(err, CYX_EIO, "tmpfs: %s", strerror(errno));
    *data = openat(upper, "data", O_PATH | O_DIRECTORY | O_CLOEXEC);
    *work = openat(upper, "work", O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* Modes by fchmodat: the umask is somebody else's. */
    if (*data < 0 || *work < 0 || fchownat(upper, "data", owner, owner, 0) < 0 ||
        fchmodat(upper, "data", 0755, 0) < 0 || fchownat(upper, "shm", owner, owner, 0) < 0 ||
        fchmodat(upper, "shm", 01777, 0) < 0)
        return cyx_fail(err, CYX_EIO, "tmpfs: %s", strerror(errno));
    return 0;
}

/* A detached mount lives as long as its descriptor: each layer's is kept until the overlay has its
 * own clone, and longer. */
static int add_layers(int fs, const struct iso_spec *s, int userns, struct iso__late *late,
                      struct cyx_err *err)
{
    unsigned attr = SYS_ATTR_RDONLY | SYS_ATTR_NOSUID | SYS_ATTR_NODEV | SYS_ATTR_NOATIME;
    for (unsigned i = 0; i < s->n_layers; i++) {
        int layer = clone_mapped(s->layers[i], attr, 0, userns, err);
        if (layer < 0)
            return cyx_wrap(err, "layer %u", i);
        iso__late_add(late, layer);
        int rc = sys_fs_fd(fs, "lowerdir+", layer);
        if (rc < 0)
            return cyx_fail(err, rc == -EINVAL ? CYX_EUNSUPPORTED : CYX_EIO,
                            "overlay: layer %u: %s (layers by descriptor want Linux 6.15)", i,
                            strerror(-rc));
    }
    return 0;
}

static int make_overlay(const struct iso_spec *s, int userns, int data, int work,
                        struct iso__late *late, struct cyx_err *err)
{
    cleanup_close int fs = sys_fs_open("overlay");
    if (fs < 0)
        return failed(err, "overlay", fs);
    if (add_layers(fs, s, userns, late, err) < 0)
        return err != NULL ? err->code : CYX_EIO;
    long rc = sys_fs_fd(fs, "upperdir", data);
    rc = rc < 0 ? rc : sys_fs_fd(fs, "workdir", work);
    /* Links between layers are only what we make ourselves: none, and none of a layer is followed.
     */
    rc = rc < 0 ? rc : sys_fs_string(fs, "redirect_dir", "nofollow");
    rc = rc < 0 ? rc : sys_fs_string(fs, "metacopy", "off");
    rc = rc < 0 ? rc : sys_fs_string(fs, "index", "off");
    rc = rc < 0 ? rc : sys_fs_flag(fs, "volatile"); /* it is in memory: nothing to sync */
    rc = rc < 0 ? rc : sys_fs_mount(steal_fd(&fs), SYS_ATTR_NOSUID | SYS_ATTR_NODEV);
    return rc < 0 ? failed(err, "overlay", rc) : (int)rc;
}

int iso__root_make(const struct iso_spec *s, int userns, int *shm, struct iso__late *late,
                   struct cyx_err *err)
{
    cleanup_close int data = -1;
    cleanup_close int work = -1;
    *shm = -1;
    if (s->root_dir != NULL)
        return clone_mapped(s->root_dir, SYS_ATTR_NOSUID | SYS_ATTR_NODEV, SYS_AT_RECURSIVE,
                            s->root_dir_plain_ids ? -1 : userns, err);
    int upper = make_upper(s, err);
    iso__late_add(late, upper);
    if (upper < 0 || make_folders(upper, s->host_ids, &data, &work, err) < 0)
        return err != NULL ? err->code : CYX_EIO;
    cleanup_close int root = make_overlay(s, userns, data, work, late, err);
    if (root < 0)
        return root;
    /* /dev/shm is a folder of the same memory: one limit for both. */
    cleanup_close int mount = sys_open_tree(upper, "shm", 0);
    int rc = mount < 0 ? mount
                       : map_ids(mount, SYS_ATTR_NOSUID | SYS_ATTR_NODEV | SYS_ATTR_NOEXEC, 0, -1);
    if (rc < 0)
        return failed(err, "/dev/shm", rc);
    *shm = steal_fd(&mount);
    return steal_fd(&root);
}

/* ---- /dev --------------------------------------------------------------------------------------
 */

static int make_devices(int dir)
{
    static const struct {
        const char *name;
        unsigned major, minor;
    } devices[] = { { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
                    { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
    static const char *const links[][2] = { { "/proc/self/fd", "fd" },
                                            { "/proc/self/fd/0", "stdin" },
                                            { "/proc/self/fd/1", "stdout" },
                                            { "/proc/self/fd/2", "stderr" },
                                            { "pts/ptmx", "ptmx" } };
    static const char *const folders[] = { "pts", "shm", "mqueue" };
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        dev_t number = makedev(devices[i].major, devices[i].minor);
        if (mknodat(dir, devices[i].name, S_IFCHR | 0666, number) < 0 ||
            fchmodat(dir, devices[i].name, 0666, 0) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        if (symlinkat(links[i][0], dir, links[i][1]) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (mkdirat(dir, folders[i], 0755) < 0)
            return -1;
    }
    int console = openat(dir, "console", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return console < 0 ? -1 : close(console);
}

int iso__dev_template(struct cyx_err *err)
{
    int fs = sys_fs_open("tmpfs");
    if (fs < 0)
        return failed(err, "tmpfs", fs);
    (void)sys_fs_string(fs, "size", "65536");
    (void)sys_fs_string(fs, "nr_inodes", "32");
    (void)sys_fs_string(fs, "mode", "0755");
    cleanup_close int mount =
        sys_fs_mount(fs, SYS_ATTR_NOSUID | SYS_ATTR_NOEXEC | SYS_ATTR_NOATIME);
    if (mount < 0)
        return failed(err, "/dev", mount);
    if (make_devices(mount) < 0)
        return cyx_fail(err, CYX_EIO, "/dev: %s", strerror(errno));
    struct sys_mount_attr readonly = { .set = SYS_ATTR_RDONLY, .propagation = MS_PRIVATE };
    int rc = sys_mount_setattr(mount, 0, &readonly);
    return rc < 0 ? failed(err, "/dev", rc) : steal_fd(&mount);
}

int iso__bind_make(const struct iso_mount *m, int userns, struct cyx_err *err)
{
    unsigned attr = SYS_ATTR_NOSUID | (iso__weak("nodev") ? 0u : SYS_ATTR_NODEV) |
                    (m->flags & ISO_MNT_READONLY ? SYS_ATTR_RDONLY : 0u) |
                    (m->flags & ISO_MNT_NOEXEC ? SYS_ATTR_NOEXEC : 0u);
    return clone_mapped(m->source, attr, m->flags & ISO_MNT_RECURSIVE ? SYS_AT_RECURSIVE : 0,
                        m->flags & ISO_MNT_PLAIN_IDS ? -1 : userns, err);
}
