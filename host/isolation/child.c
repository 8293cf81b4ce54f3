/* host/isolation/child.c - between clone and exec of a container's first process. System calls
 * only, no libc: the memory is the parent's. Order matters and is said where it does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "host/isolation/child.h"
#include "host/isolation/sys.h"

enum { LAUNCH_S_MAX = 20 }; /* a parent that takes longer is stuck; then nothing may stay */

_Noreturn void iso__child_fail(struct iso__plan *p, enum iso__step step, long rc, const char *what)
{
    unsigned n = 0;
    for (; what != NULL && what[n] != '\0' && n < sizeof p->detail - 1; n++)
        p->detail[n] = what[n];
    p->detail[n] = '\0';
    p->step = step;
    p->error = (int32_t)(rc < 0 ? rc : -EINVAL);
    sys_3(SYS_write, p->pipe[1], "E", 1);
    sys_1(SYS_exit_group, step == ISO__STEP_EXEC ? (p->error == -ENOENT ? 127 : 126) : 125);
    __builtin_unreachable();
}

long iso__must(struct iso__plan *p, enum iso__step step, long rc, const char *what)
{
    if (rc < 0)
        iso__child_fail(p, step, rc, what);
    return rc;
}

static void die_with_parent(const struct iso__plan *p)
{
    (void)p;
    sys_5(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/* A task that writes its own 0 to `tasks` is moved at once; a pid in `cgroup.procs` waits for an
 * RCU grace period, 12 ms on an idle machine. The descriptor was opened by the launcher, whose
 * credentials the kernel checks. */
static void join_cgroups(struct iso__plan *p)
{
    for (unsigned i = 0; i < p->n_cgroups; i++)
        must(p, ISO__STEP_CGROUP, sys_3(SYS_write, p->cgroups[i], "0", 1), "tasks");
}

void iso__child_wait(struct iso__plan *p, uint32_t while_it_is)
{
    struct timespec limit = { .tv_sec = LAUNCH_S_MAX };
    while (atomic_load(&p->go) == while_it_is) {
        long rc = sys_5(SYS_futex, &p->go, FUTEX_WAIT, while_it_is, &limit, 0);
        if (rc == -ETIMEDOUT)
            iso__child_fail(p, ISO__STEP_WAIT, rc, NULL);
    }
    if (atomic_load(&p->go) == ISO__GO_AWAY)
        sys_1(SYS_exit_group, 125);
}

static void become_root(struct iso__plan *p)
{
    must(p, ISO__STEP_IDS, sys_3(SYS_setresgid, 0, 0, 0), "setresgid");
    must(p, ISO__STEP_IDS, sys_3(SYS_setresuid, 0, 0, 0), "setresuid");
    die_with_parent(p); /* a change of credentials had undone it */
}

static void bring_up_lo(struct iso__plan *p)
{
    struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = (int)must(p, ISO__STEP_LO, sys_3(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
                       "socket");
    long rc = sys_3(SYS_ioctl, fd, SIOCSIFFLAGS, &ifr);
    if (!iso__weak("netns"))
        must(p, ISO__STEP_LO, rc, "SIOCSIFFLAGS");
    sys_close(fd);
}

static unsigned length(const char *s, unsigned max)
{
    unsigned n = 0;
    while (n < max && s[n] != '\0')
        n++;
    return n;
}

static void set_names(struct iso__plan *p)
{
    const char *host = p->spec->hostname != NULL ? p->spec->hostname : p->spec->name;
    must(p, ISO__STEP_NAME, sys_2(SYS_sethostname, host, length(host, 64)), "sethostname");
    const char *domain = p->spec->domainname != NULL ? p->spec->domainname : "";
    must(p, ISO__STEP_NAME, sys_2(SYS_setdomainname, domain, length(domain, 64)), "setdomainname");
}

/* Keys of namespaces only, checked by iso_spec_check(). Through our own procfs, before /proc/sys
 * becomes read-only and without following anything. */
static void set_sysctls(struct iso__plan *p, int proc)
{
    char path[160] = "sys/";
    for (unsigned i = 0; i < p->spec->n_sysctls; i++) {
        const struct iso_sysctl *s = &p->spec->sysctls[i];
        unsigned n = 4;
        for (; s->key[n - 4] != '\0' && n < sizeof path - 1; n++)
            path[n] = s->key[n - 4] == '.' ? '/' : s->key[n - 4];
        path[n] = '\0';
        int fd = (int)must(p, ISO__STEP_SYSCTL,
                           sys_openat2(proc, path, O_WRONLY | O_CLOEXEC, 0,
                                       SYS_BENEATH | SYS_NO_SYMLINKS | SYS_NO_XDEV),
                           s->key);
        must(p, ISO__STEP_SYSCTL, sys_3(SYS_write, fd, s->value, length(s->value, 128)), s->key);
        sys_close(fd);
    }
}

/* Leaves the host's tree for good: nothing of it can be reached afterwards. */
static void enter_root(struct iso__plan *p)
{
    int old =
        (int)must(p, ISO__STEP_ROOT, sys_4(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0), "/");
    must(p, ISO__STEP_ROOT, sys_attach(p->root, old), "attach");
    must(p, ISO__STEP_PIVOT, sys_1(SYS_fchdir, p->root), "fchdir");
    must(p, ISO__STEP_PIVOT, sys_2(SYS_pivot_root, ".", "."), "pivot_root");
    must(p, ISO__STEP_PIVOT, sys_2(SYS_umount2, ".", MNT_DETACH), "umount");
    must(p, ISO__STEP_PIVOT, sys_1(SYS_chdir, "/"), "chdir");
    sys_close(old);
}

static void make_private(struct iso__plan *p)
{
    struct sys_mount_attr attr = { .propagation = MS_PRIVATE };
    must(p, ISO__STEP_PRIVATE,
         sys_5(SYS_mount_setattr, AT_FDCWD, "/", SYS_AT_RECURSIVE, &attr, sizeof attr),
         "mount_setattr");
}

_Noreturn void iso__child(struct iso__plan *p)
{
    struct iso__child_fds fds = { -1, -1, -1, -1 };
    die_with_parent(p);
    sys_0(SYS_setsid);
    /* Beside the parent, which makes groups and root meanwhile: a network namespace is half of it.
     */
    must(p, ISO__STEP_UNSHARE, sys_1(SYS_unshare, p->unshare_late), "unshare");
    make_private(p);
    iso__child_wait(p, ISO__GO_WAIT);
    join_cgroups(p);
    /* After joining: a cgroup namespace's root is the group at this moment. */
    must(p, ISO__STEP_UNSHARE, sys_1(SYS_unshare, CLONE_NEWCGROUP), "unshare");
    /* All that the parent hands over is in the table; what is opened from here is this process's.
     */
    must(p, ISO__STEP_UNSHARE, sys_1(SYS_unshare, CLONE_FILES), "unshare files");
    become_root(p);
    iso__child_filesystems(p, &fds);
    enter_root(p);
    iso__child_mounts(p, &fds);
    bring_up_lo(p);
    set_names(p);
    set_sysctls(p, fds.proc);
    iso__child_cover(p, &fds);
    iso__child_confine(p, (p->spec->flags & ISO_TTY) != 0 ? fds.pts : -1);
    iso__child_run(p);
}
