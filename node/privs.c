#include "node/privs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret.h"

/* ---- hardening ------------------------------------------------------------------------------- */

int node_privs_harden(struct cyx_err *err)
{
    struct rlimit files;
    umask(077);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            return cyx_fail(err, CYX_EIO, "setrlimit NOFILE: %s", strerror(errno));
    }
    return secret_harden_process(err);
}

/* ---- folders --------------------------------------------------------------------------------- */

/* Sets mode and owner of the folder itself: where others may write above it, a link could stand in
 * its place by now. 0, or -1 with errno. */
static int give(const char *dir, mode_t mode, uid_t uid, gid_t gid)
{
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* The umask may take bits that the mode grants on purpose. */
    if (fd < 0 || fchmod(fd, mode) != 0)
        return -1;
    return geteuid() == 0 ? fchown(fd, uid, gid) : 0;
}

/* Makes the folder whole or not at all: one that a kill leaves half made, with the wrong owner,
 * would keep the node down until somebody repairs it. 0, or -1 with errno. */
static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    char made[NODE_PATH_MAX + sizeof ".new"];
    struct stat st;
    if (lstat(path, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    snprintf(made, sizeof made, "%s.new", path);
    (void)rmdir(made); /* left by a kill */
    if (mkdir(made, mode) == 0 && give(made, mode, uid, gid) == 0 && rename(made, path) == 0)
        return 0;
    int why = errno;
    (void)rmdir(made);
    errno = why;
    return -1;
}

/* Makes `path` and the folders above it that are missing, all with `mode`, owned by uid:gid. */
static int make_dirs(const char *path, mode_t mode, uid_t uid, gid_t gid, struct cyx_err *err)
{
    char at[NODE_PATH_MAX];
    snprintf(at, sizeof at, "%s", path);
    for (char *p = at + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        const bool is_last = *p == '\0';
        *p = '\0';
        if (make_dir(at, mode, uid, gid) != 0 && errno != EEXIST && is_last)
            return cyx_fail(err, errno == ENOSPC || errno == EROFS ? CYX_ENOSPC : CYX_EPERM,
                            "make %s: %s", at, strerror(errno));
        if (is_last)
            return 0;
        *p = '/';
    }
}

static int make_places(const struct node_config *c, uid_t uid, gid_t gid, struct cyx_err *err)
{
    char dir[NODE_SOCKET_MAX];
    snprintf(dir, sizeof dir, "%s", c->socket);
    char *slash = strrchr(dir, '/');
    int rc = make_dirs(c->data_dir, 0700, uid, gid, err);
    if (rc == 0 && slash != NULL && slash != dir) {
        *slash = '\0';
        /* Others may pass through: the socket's own mode and the kernel's word decide. */
        rc = make_dirs(dir, c->socket_group[0] != '\0' ? 0755 : 0700, uid, gid, err);
    }
    return rc;
}

/* ---- users ----------------------------------------------------------------------------------- */

static int find_user(const struct node_config *c, uid_t *uid, gid_t *gid, struct cyx_err *err)
{
    const char *name = c->user[0] != '\0' ? c->user : "cyxd";
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL)
        return cyx_fail(err, CYX_EPERM,
                        "started as root, but there is no user \"%s\" to run as: create it with "
                        "`useradd --system --shell /usr/sbin/nologin %s`, name another with --user "
                        "or `user`, or start cyxd as an ordinary user",
                        name, name);
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

/* The user's group, and the control socket's so that its file can be given to it. */
static int set_groups(const struct node_config *c, gid_t gid, struct cyx_err *err)
{
    gid_t groups[2] = { gid };
    size_t n = 1;
    const struct group *gr = c->socket_group[0] != '\0' ? getgrnam(c->socket_group) : NULL;
    if (gr != NULL)
        groups[n++] = gr->gr_gid;
    if (setgroups(n, groups) != 0 || setresgid(gid, gid, gid) != 0)
        return cyx_fail(err, CYX_EPERM, "give up root's groups: %s", strerror(errno));
    return 0;
}

static int drop_bounding(struct cyx_err *err)
{
    for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++)
        if (cap_get_bound(cap) > 0 && cap_drop_bound(cap) != 0)
            return cyx_fail(err, CYX_EPERM, "drop capability %d from the bounding set: %s", cap,
                            strerror(errno));
    return 0;
}

int node_privs_become(const struct node_config *c, struct cyx_err *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (uid != 0) {
        const struct passwd *pw = c->user[0] != '\0' ? getpwnam(c->user) : NULL;
        if (c->user[0] != '\0' && (pw == NULL || pw->pw_uid != uid))
            return cyx_fail(err, CYX_EPERM,
                            "can't become user \"%s\" without being root: start cyxd as that user",
                            c->user);
        return make_places(c, uid, gid, err);
    }
    int rc = find_user(c, &uid, &gid, err);
    if (rc == 0)
        rc = make_places(c, uid, gid, err);
    if (rc == 0)
        rc = drop_bounding(err);
    if (rc == 0)
        rc = set_groups(c, gid, err);
    if (rc == 0 && setresuid(uid, uid, uid) != 0)
        rc = cyx_fail(err, CYX_EPERM, "become user %u: %s", (unsigned)uid, strerror(errno));
    if (rc == 0 && uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        rc = cyx_fail(err, CYX_EPERM, "root came back after setresuid: refusing to run");
    return rc;
}

int node_privs_clear(struct cyx_err *err)
{
    cap_t none = cap_init();
    if (none == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a capability set");
    int rc = cap_set_proc(none);
    cap_free(none);
    if (rc != 0 || (cap_reset_ambient() != 0 && errno != EINVAL))
        return cyx_fail(err, CYX_EPERM, "give up capabilities: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return cyx_fail(err, CYX_EPERM, "prctl PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    return 0;
}

int node_privs_share(const char *path, const char *group, struct cyx_err *err)
{
    const struct group *gr = getgrnam(group);
    if (gr == NULL)
        return cyx_fail(err, CYX_ENOENT, "there is no group \"%s\"", group);
    if (chown(path, (uid_t)-1, gr->gr_gid) != 0)
        return cyx_fail(err, CYX_EPERM,
                        "give %s to group %s: %s (this user must be a member: `usermod -aG %s "
                        "USER`)",
                        path, group, strerror(errno), group);
    return 0;
}
