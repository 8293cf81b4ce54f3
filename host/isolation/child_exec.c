/* host/isolation/child_exec.c - a process that joins a container. It is a copy of its launcher, not
 * a sharer of its memory, and not dumpable before it joins: whoever is inside can neither ptrace it
 * nor read it through /proc (CVE-2016-9962). System calls only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "host/isolation/child.h"
#include "host/isolation/sys.h"

enum { DEVPTS_MAGIC = 0x1cd1 };

/* The container's /dev/pts, if it is what it says: a link or another file system is refused. */
static int open_pts(struct iso__plan *p)
{
    struct statfs fs;
    struct stat st;
    int dir = (int)must(
        p, ISO__STEP_TTY,
        sys_openat2(AT_FDCWD, "/dev/pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, SYS_NO_SYMLINKS),
        "/dev/pts");
    must(p, ISO__STEP_TTY, sys_2(SYS_fstatfs, dir, &fs), "/dev/pts");
    must(p, ISO__STEP_TTY, sys_4(SYS_newfstatat, dir, "ptmx", &st, AT_SYMLINK_NOFOLLOW), "ptmx");
    if (fs.f_type != DEVPTS_MAGIC || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
        iso__child_fail(p, ISO__STEP_TTY, -EINVAL, "/dev/pts is no devpts");
    return dir;
}

static _Noreturn void inside(struct iso__plan *p)
{
    sys_0(SYS_setsid);
    /* Not PDEATHSIG across namespaces: the launcher kills by cgroup what it no longer wants. */
    iso__child_confine(p, p->tty == 0 ? open_pts(p) : -1);
    iso__child_run(p);
}

_Noreturn void iso__child_exec(struct iso__plan *p)
{
    struct clone_args args = {
        .flags = CLONE_PARENT | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&p->pid,
    };
    if (!iso__weak("dumpable"))
        must(p, ISO__STEP_JOIN, sys_5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    for (unsigned i = 0; i < p->n_cgroups; i++)
        must(p, ISO__STEP_CGROUP, sys_3(SYS_write, p->cgroups[i], "0", 1), "tasks");
    must(p, ISO__STEP_JOIN, sys_2(SYS_setns, p->ns_pidfd, p->ns_flags), "setns");
    must(p, ISO__STEP_IDS, sys_3(SYS_setresgid, 0, 0, 0), "setresgid");
    must(p, ISO__STEP_IDS, sys_3(SYS_setresuid, 0, 0, 0), "setresuid");
    if (!iso__weak("dumpable"))
        must(p, ISO__STEP_JOIN, sys_5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    long pid = sys_2(SYS_clone3, &args, sizeof args); /* a pid namespace is entered by children */
    if (pid == 0)
        inside(p);
    must(p, ISO__STEP_JOIN, pid, "clone3");
    sys_1(SYS_exit_group, 0);
    __builtin_unreachable();
}
