/* host/isolation/child_confine.c - what takes a process's powers away, last the system calls, and
 * exec. For a container's first process and for those that join it. System calls only. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "host/isolation/child.h"
#include "host/isolation/sys.h"

/* Newer than Debian's linux/landlock.h. */
enum {
    LL_MAKE_CHAR = 1 << 6,
    LL_MAKE_BLOCK = 1 << 11,
    LL_REFER = 1 << 13,
    LL_IOCTL_DEV = 1 << 15,
    LL_RULE_PATH_BENEATH = 1
};

static void set_rlimit(struct iso__plan *p, const struct iso_rlimit *r)
{
    struct rlimit old;
    struct rlimit now = { r->soft, r->hard };
    must(p, ISO__STEP_RLIMIT, sys_4(SYS_prlimit64, 0, r->resource, 0, &old), "prlimit");
    now.rlim_max = now.rlim_max > old.rlim_max ? old.rlim_max : now.rlim_max;
    now.rlim_cur = now.rlim_cur > now.rlim_max ? now.rlim_max : now.rlim_cur;
    must(p, ISO__STEP_RLIMIT, sys_4(SYS_prlimit64, 0, r->resource, &now, 0), "prlimit");
}

static void set_rlimits(struct iso__plan *p)
{
    static const struct iso_rlimit defaults[] = { { RLIMIT_NOFILE, 1024, 1024 },
                                                  { RLIMIT_NPROC, 256, 256 } };
    /* No core dumps: with 0 the kernel would still start the host's handler where core_pattern is a
     * pipe, as host root, on memory that a stranger shaped. 1 means "not even that". */
    static const struct iso_rlimit no_core = { RLIMIT_CORE, 1, 1 };
    const struct iso_rlimit *list = p->process->rlimits != NULL ? p->process->rlimits : defaults;
    unsigned n = p->process->rlimits != NULL ? p->process->n_rlimits : 2;
    for (unsigned i = 0; i < n; i++)
        set_rlimit(p, &list[i]);
    if (!iso__weak("core"))
        set_rlimit(p, &no_core);
}

/* The keyring that the launcher's session had is the host's; keyctl itself is not in the filter. */
static void fresh_keyring(struct iso__plan *p)
{
    if (iso__weak("keyring"))
        return;
    long rc = sys_2(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    if (rc != -ENOSYS)
        must(p, ISO__STEP_KEYRING, rc, "keyctl");
}

struct beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

static void allow_beneath(struct iso__plan *p, int rules, const char *path, uint64_t allowed)
{
    struct beneath rule = { .allowed = allowed };
    rule.fd = (int32_t)must(p, ISO__STEP_LANDLOCK,
                            sys_4(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0), path);
    must(p, ISO__STEP_LANDLOCK, sys_4(SYS_landlock_add_rule, rules, LL_RULE_PATH_BENEATH, &rule, 0),
         path);
    sys_close(rule.fd);
}

/* A second wall for what mount flags and the filter refuse already: no device nodes anywhere, and
 * no ioctl on a device outside /dev. Handling REFER is needed for renames between folders to work.
 */
static void landlock(struct iso__plan *p)
{
    uint64_t handled = LL_MAKE_CHAR | LL_MAKE_BLOCK;
    if (p->landlock_abi == 0 || iso__weak("landlock"))
        return;
    handled |= p->landlock_abi >= 2 ? (uint64_t)LL_REFER : 0;
    handled |= p->landlock_abi >= 5 ? (uint64_t)LL_IOCTL_DEV : 0;
    int rules = (int)must(p, ISO__STEP_LANDLOCK,
                          sys_3(SYS_landlock_create_ruleset, &handled, sizeof handled, 0),
                          "landlock_create_ruleset");
    if (p->landlock_abi >= 2)
        allow_beneath(p, rules, "/", LL_REFER);
    if (p->landlock_abi >= 5)
        allow_beneath(p, rules, "/dev", LL_IOCTL_DEV);
    must(p, ISO__STEP_LANDLOCK, sys_2(SYS_landlock_restrict_self, rules, 0),
         "landlock_restrict_self");
    sys_close(rules);
}

/* Which capabilities can still come back through exec: none, but those that were asked for. */
static void bound_caps(struct iso__plan *p)
{
    for (unsigned cap = 0; cap < 64; cap++) {
        if ((p->process->caps >> cap & 1) != 0)
            continue;
        long rc = sys_5(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (rc == -EINVAL)
            break; /* the kernel's last one was before */
        must(p, ISO__STEP_CAPS, rc, "PR_CAPBSET_DROP");
    }
    unsigned bits = SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (p->process->caps == 0)
        bits |= SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;
    must(p, ISO__STEP_CAPS, sys_5(SYS_prctl, PR_SET_SECUREBITS, bits, 0, 0, 0), "securebits");
    must(p, ISO__STEP_CAPS, sys_5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
         "ambient set");
}

static void become_user(struct iso__plan *p)
{
    const struct iso_process *w = p->process;
    if (p->setgroups)
        must(p, ISO__STEP_IDS, sys_2(SYS_setgroups, w->n_groups, w->groups), "setgroups");
    must(p, ISO__STEP_IDS, sys_3(SYS_setresgid, w->gid, w->gid, w->gid), "setresgid");
    must(p, ISO__STEP_IDS, sys_3(SYS_setresuid, w->uid, w->uid, w->uid), "setresuid");
}

static void drop_caps(struct iso__plan *p)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    uint64_t caps = p->process->uid == 0 ? p->process->caps : 0;
    struct __user_cap_data_struct data[2] = {
        { .effective = (uint32_t)caps, .permitted = (uint32_t)caps },
        { .effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32) },
    };
    must(p, ISO__STEP_CAPS, sys_2(SYS_capset, &head, data), "capset");
}

void iso__child_tty(struct iso__plan *p, int pts)
{
    int lock = 0;
    int master = (int)must(
        p, ISO__STEP_TTY,
        sys_4(SYS_openat, pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW, 0), "ptmx");
    must(p, ISO__STEP_TTY, sys_3(SYS_ioctl, master, TIOCSPTLCK, &lock), "TIOCSPTLCK");
    /* By descriptor, never by a name that could have become another's (CVE-2025-52565). */
    int slave = (int)must(p, ISO__STEP_TTY,
                          sys_3(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC),
                          "TIOCGPTPEER");
    struct {
        uint16_t rows, cols, x, y;
    } size = { p->process->rows != 0 ? p->process->rows : 24,
               p->process->cols != 0 ? p->process->cols : 80, 0, 0 };
    must(p, ISO__STEP_TTY, sys_3(SYS_ioctl, slave, TIOCSWINSZ, &size), "TIOCSWINSZ");
    sys_5(SYS_fchownat, slave, "", p->process->uid, 0xffffffffu, SYS_AT_EMPTY_PATH);
    must(p, ISO__STEP_TTY, sys_3(SYS_ioctl, slave, TIOCSCTTY, 0), "TIOCSCTTY");
    int console =
        (int)sys_4(SYS_openat, AT_FDCWD, "/dev/console", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    int clone = p->spec != NULL && console >= 0 ? sys_open_tree(slave, "", 0) : -1;
    if (clone >= 0)
        must(p, ISO__STEP_TTY, sys_attach(clone, console), "/dev/console");
    p->tty = master;
    uint32_t go = atomic_load(&p->go);
    must(p, ISO__STEP_TTY, sys_3(SYS_write, p->pipe[1], "T", 1), "pipe");
    iso__child_wait(p, go); /* until the parent has taken a copy of the master */
    for (int i = 0; i < 3; i++)
        must(p, ISO__STEP_TTY, sys_3(SYS_dup3, slave, i, 0), "dup3");
}

void iso__child_confine(struct iso__plan *p, int pts)
{
    set_rlimits(p);
    fresh_keyring(p);
    if (pts >= 0)
        iso__child_tty(p, pts);
    if (!iso__weak("caps"))
        bound_caps(p);
    become_user(p);
    if (!iso__weak("caps"))
        drop_caps(p);
    sys_5(SYS_prctl, PR_SET_PDEATHSIG, p->keeps_parent ? 0 : SIGKILL, 0, 0, 0);
    if (!iso__weak("no_new_privs"))
        must(p, ISO__STEP_CAPS, sys_5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    landlock(p);
}

static void set_stdio(struct iso__plan *p)
{
    int high[3];
    for (int i = 0; i < 3; i++)
        high[i] = (int)must(p, ISO__STEP_EXEC,
                            sys_3(SYS_fcntl, p->process->stdio[i], F_DUPFD_CLOEXEC, 10), "stdio");
    for (int i = 0; i < 3; i++)
        must(p, ISO__STEP_EXEC, sys_3(SYS_dup3, high[i], i, 0), "dup3");
}

enum { PIPE_FD = 3, HOLD_FD = 4 };

/* Leaves 0, 1, 2, the pipe and the FIFO; the last two close at exec. */
static void close_all_else(struct iso__plan *p)
{
    int pipe = (int)must(p, ISO__STEP_EXEC, sys_3(SYS_fcntl, p->pipe[1], F_DUPFD_CLOEXEC, 10), "");
    int hold = p->hold < 0 ? -1
                           : (int)must(p, ISO__STEP_EXEC,
                                       sys_3(SYS_fcntl, p->hold, F_DUPFD_CLOEXEC, 10), "");
    unsigned first = hold < 0 ? HOLD_FD : HOLD_FD + 1;
    must(p, ISO__STEP_EXEC, sys_3(SYS_dup3, pipe, PIPE_FD, O_CLOEXEC), "dup3");
    if (hold >= 0)
        must(p, ISO__STEP_EXEC, sys_3(SYS_dup3, hold, HOLD_FD, O_CLOEXEC), "dup3");
    if (iso__weak("close_range"))
        return;
    must(p, ISO__STEP_EXEC, sys_3(SYS_close_range, first, ~0u, 0), "close_range");
}

static void make_dirs(const char *path)
{
    char part[ISO_PATH_MAX];
    for (unsigned i = 0; path[i] != '\0'; i++) {
        part[i] = path[i];
        part[i + 1] = '\0';
        if (path[i + 1] == '/' || path[i + 1] == '\0')
            sys_2(SYS_mkdir, part, 0755);
    }
}

/* Nothing of the runtime's is open any more but two pipes, so /proc/self/fd leads nowhere; magic
 * links are refused besides, and the kernel is asked whether we are inside (CVE-2024-21626). */
static void enter_cwd(struct iso__plan *p)
{
    char buf[ISO_PATH_MAX];
    const char *cwd = p->process->cwd;
    uint64_t flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    uint64_t resolve = iso__weak("cwd") ? 0 : SYS_NO_MAGICLINKS;
    int fd = sys_openat2(AT_FDCWD, cwd, flags, 0, resolve);
    if (fd == -ENOENT) {
        make_dirs(cwd);
        fd = sys_openat2(AT_FDCWD, cwd, flags, 0, resolve);
    }
    must(p, ISO__STEP_CWD, fd, cwd);
    must(p, ISO__STEP_CWD, sys_1(SYS_fchdir, fd), cwd);
    sys_close(fd);
    if (iso__weak("cwd"))
        return;
    must(p, ISO__STEP_CWD, sys_2(SYS_getcwd, buf, sizeof buf), cwd);
    if (buf[0] != '/')
        iso__child_fail(p, ISO__STEP_CWD, -EXDEV, cwd);
}

static bool has_slash(const char *s)
{
    while (*s != '\0' && *s != '/')
        s++;
    return *s == '/';
}

static const char *path_of(const char *const *envp)
{
    for (; *envp != NULL; envp++) {
        const char *e = *envp;
        if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
            return e + 5;
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static _Noreturn void run(struct iso__plan *p)
{
    char full[ISO_PATH_MAX];
    const char *const *argv = p->process->argv;
    const char *const *envp = p->process->envp;
    long rc = -ENOENT;
    if (has_slash(argv[0]))
        iso__child_fail(p, ISO__STEP_EXEC, sys_3(SYS_execve, argv[0], argv, envp), argv[0]);
    for (const char *dir = path_of(envp); *dir != '\0';) {
        unsigned n = 0;
        for (; *dir != '\0' && *dir != ':'; dir++) {
            if (n < sizeof full - 2)
                full[n++] = *dir;
        }
        full[n++] = '/';
        for (const char *name = argv[0]; *name != '\0' && n < sizeof full - 1; name++)
            full[n++] = *name;
        full[n] = '\0';
        long one = sys_3(SYS_execve, full, argv, envp);
        rc = one == -ENOENT || one == -ENOTDIR ? rc : one;
        dir += *dir == ':';
    }
    iso__child_fail(p, ISO__STEP_EXEC, rc, argv[0]);
}

_Noreturn void iso__child_run(struct iso__plan *p)
{
    uint64_t no_signals = 0;
    char byte;
    if (p->tty < 0)
        set_stdio(p);
    close_all_else(p);
    p->pipe[1] = PIPE_FD; /* this process's number for it; the parent keeps its own elsewhere */
    enter_cwd(p);
    sys_1(SYS_umask, p->process->umask);
    must(p, ISO__STEP_EXEC, sys_3(SYS_write, PIPE_FD, "R", 1), "pipe");
    if (p->hold >= 0) {
        long rc;
        do
            rc = sys_3(SYS_read, HOLD_FD, &byte, 1);
        while (rc == -EINTR);
        must(p, ISO__STEP_EXEC, rc, "FIFO");
    }
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof no_signals);
    if (!iso__weak("seccomp"))
        must(p, ISO__STEP_SECCOMP, sys_3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p->filter),
             "filter");
    run(p);
}
