/* host/isolation/parent.c - a launch as the parent sees it. The child makes its namespaces while
 * the parent maps ids and builds the root; then the parent hands over and listens. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

/* Under the sanitizers a copy, as their shadow memory can't be shared; else the parent's memory. */
#ifdef __SANITIZE_ADDRESS__
enum { SHARED_MEMORY = 0 };
#else
enum { SHARED_MEMORY = CLONE_VM };
#endif

enum { HEAR_MS_MAX = 30000 };

static const char *const step_names[ISO__N_STEPS] = {
    "nothing",
    "joining cgroups",
    "namespaces",
    "waiting",
    "ids",
    "private mounts",
    "/proc",
    "/sys",
    "/dev/pts",
    "root",
    "pivot_root",
    "mount target",
    "mount",
    "/dev",
    "masked path",
    "read-only path",
    "terminal",
    "loopback",
    "host name",
    "sysctl",
    "rlimit",
    "session keyring",
    "Landlock",
    "capabilities",
    "system call filter",
    "working directory",
    "joining",
    "exec",
};

const char *iso__step_name(uint32_t step)
{
    return step < ISO__N_STEPS ? step_names[step] : "?";
}

struct iso__plan *iso__plan_make(const struct sock_fprog *filter, struct cyx_err *err)
{
    if (filter->len > ISO_FILTER_INSNS_MAX) {
        cyx_fail(err, CYX_EINVAL, "filter: %u instructions", filter->len);
        return NULL;
    }
    struct iso__plan *p =
        mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        cyx_fail(err, CYX_ENOMEM, "launch");
        return NULL;
    }
    memcpy(p->insn, filter->filter, filter->len * sizeof *p->insn);
    p->filter = (struct sock_fprog){ .len = filter->len, .filter = p->insn };
    p->tty_taken = p->tty = p->hold = p->root = p->dev = p->shm = p->ns_pidfd = -1;
    p->pipe[0] = p->pipe[1] = -1;
    for (unsigned i = 0; i < ISO_MOUNTS_MAX; i++)
        p->binds[i] = -1;
    return p;
}

static void close_if(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What only the launch needs; the child has its own table by now, or is gone. */
static void close_descriptors(struct iso__plan *p)
{
    for (unsigned i = 0; i < p->n_cgroups; i++)
        close_if(&p->cgroups[i]);
    for (unsigned i = 0; i < ISO_MOUNTS_MAX; i++)
        close_if(&p->binds[i]);
    p->n_cgroups = 0;
    close_if(&p->root);
    close_if(&p->dev);
    close_if(&p->shm);
}

void iso__plan_free(struct iso__plan *p)
{
    if (p == NULL)
        return;
    close_descriptors(p);
    munmap(p, sizeof *p);
}

static int said(const struct iso__plan *p, struct cyx_err *err)
{
    return cyx_fail(err, p->step == ISO__STEP_EXEC && p->error == -ENOENT ? CYX_ENOENT : CYX_EIO,
                    "%s%s%s: %s", iso__step_name(p->step), p->detail[0] != '\0' ? ": " : "",
                    p->detail, strerror(-p->error));
}

static void hand_over(struct iso__plan *p, uint32_t go)
{
    atomic_store(&p->go, go);
    sys_5(SYS_futex, &p->go, FUTEX_WAKE, 1, 0, 0);
}

int iso__hear(struct iso__plan *p, int pipe, int pidfd, struct cyx_err *err)
{
    struct pollfd fds[2] = { { .fd = pipe, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
    char byte = 0;
    for (;;) {
        int n = poll(fds, 2, HEAR_MS_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cyx_fail(err, CYX_ETIMEDOUT, "the process inside says nothing");
        if (fds[0].revents != 0)
            break;
        if (fds[1].revents != 0) /* gone without a word: killed */
            return cyx_fail(err, CYX_ECLOSED, "the process inside was killed during its launch");
    }
    ssize_t n = read(pipe, &byte, 1);
    if (n == 0)
        return 0;
    if (n == 1 && byte == 'T') {
        p->tty_taken = (int32_t)sys_3(SYS_pidfd_getfd, pidfd, p->tty, 0);
        hand_over(p, p->tty_taken < 0 ? ISO__GO_AWAY : ISO__GO_TTY);
        return iso__hear(p, pipe, pidfd, err);
    }
    return n == 1 && byte == 'R' ? 1 : said(p, err);
}

static int map(struct iso_container *c, const struct iso_spec *s, bool setgroups,
               struct cyx_err *err)
{
    char text[48];
    /* `deny` before the map, unless a group list was asked for: a file closed to a group stays
     * closed (CVE-2014-8989). */
    if (!setgroups && !iso__weak("setgroups") &&
        iso__proc_write(c->engine, c->pid, "setgroups", "deny", err) < 0)
        return CYX_EIO;
    snprintf(text, sizeof text, "0 %u %u\n", s->host_ids, s->n_ids);
    if (iso__proc_write(c->engine, c->pid, "gid_map", text, err) < 0 ||
        iso__proc_write(c->engine, c->pid, "uid_map", text, err) < 0)
        return CYX_EIO;
    return 0;
}

static int build(struct iso_container *c, const struct iso_spec *s, struct iso__plan *p,
                 struct cyx_err *err)
{
    char path[32];
    snprintf(path, sizeof path, "%d/ns/user", (int)c->pid);
    cleanup_close int userns = openat(c->engine->proc, path, O_RDONLY | O_CLOEXEC);
    if (userns < 0)
        return cyx_fail(err, CYX_EIO, "user namespace: %s", strerror(errno));
    /* The last one on the mount namespace takes it down: not the process that ends. */
    snprintf(path, sizeof path, "%d/ns/mnt", (int)c->pid);
    iso__late_add(&c->late, openat(c->engine->proc, path, O_RDONLY | O_CLOEXEC));
    p->root = iso__root_make(s, userns, &p->shm, &c->late, err);
    if (p->root < 0)
        return p->root;
    p->dev = sys_open_tree(c->engine->dev, "", 0);
    if (p->dev < 0)
        p->dev = iso__dev_template(err); /* Linux before 6.15 doesn't clone detached mounts */
    for (unsigned i = 0; i < s->n_mounts && p->dev >= 0; i++) {
        if (s->mounts[i].kind != ISO_MOUNT_BIND)
            continue;
        p->binds[i] = iso__bind_make(&s->mounts[i], userns, err);
        if (p->binds[i] < 0)
            return cyx_wrap(err, "mount %u", i);
    }
    return p->dev < 0 ? p->dev : 0;
}

/* The child begins on its own stack, on the parent's memory; it never returns into this frame. */
static long clone_child(struct clone_args *args, struct iso__plan *p)
{
    void (*run)(struct iso__plan *) = p->spec != NULL ? iso__child : iso__child_exec;
    register struct iso__plan *plan __asm__("r12") = p;
    register void (*fn)(struct iso__plan *) __asm__("r13") = run;
    long ret;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "and $-16, %%rsp\n\t"
                     "call *%%r13\n\t"
                     "hlt\n\t"
                     "1:"
                     : "=a"(ret)
                     : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(plan), "r"(fn)
                     : "rcx", "r11", "memory", "rdx", "r8", "r9", "r10");
    return ret;
}

/* The launcher's supplementary groups must not go along: setgroups is denied inside. */
static long clone_without_groups(struct clone_args *args, struct iso__plan *p)
{
    gid_t groups[128];
    uint64_t all = ~0ull, old = 0;
    long n = sys_2(SYS_getgroups, 128, groups);
    if (n < 0)
        return n;
    if (n > 0 && !iso__weak("groups"))
        sys_2(SYS_setgroups, 0, 0); /* this thread only */
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
    long pid = clone_child(args, p);
    sys_4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
    if (n > 0)
        sys_2(SYS_setgroups, n, groups);
    return pid;
}

static long clone_first(struct iso_container *c, struct iso__plan *p)
{
    struct clone_args args = {
        .flags = (uint64_t)CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD | CLONE_FILES |
                 CLONE_CLEAR_SIGHAND | SHARED_MEMORY,
        .pidfd = (uint64_t)(uintptr_t)&c->pidfd,
        .exit_signal = SIGCHLD,
    };
    if (SHARED_MEMORY != 0) {
        args.stack = (uint64_t)(uintptr_t)c->stack;
        args.stack_size = ISO__STACK_BYTES;
    }
    if (c->groups.fd[ISO__V2] >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)c->groups.fd[ISO__V2];
    }
    return clone_without_groups(&args, p);
}

static int prepare(struct iso_container *c, const struct iso_spec *spec, struct iso__plan *p,
                   struct cyx_err *err)
{
    p->spec = spec;
    p->process = &spec->process;
    p->landlock_abi = c->engine->features.landlock_abi;
    p->unshare_late = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWTIME;
    p->setgroups = spec->process.n_groups > 0;
    p->keeps_parent = (spec->flags & ISO_HOLD) != 0;
    p->hold = c->hold;
    if (iso__weak("netns"))
        p->unshare_late &= ~(uint32_t)CLONE_NEWNET;
    if (pipe2(p->pipe, O_CLOEXEC) < 0)
        return cyx_fail(err, CYX_EIO, "pipe: %s", strerror(errno));
    c->stack = mmap(NULL, ISO__STACK_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    return c->stack == MAP_FAILED ? cyx_fail(err, CYX_ENOMEM, "stack") : 0;
}

/* Kills a child whose launch failed; it has ended when this returns. */
static void abandon(struct iso_container *c, struct iso__plan *p)
{
    siginfo_t info;
    if (c->pidfd < 0)
        return;
    hand_over(p, ISO__GO_AWAY);
    sys_4(SYS_pidfd_send_signal, c->pidfd, SIGKILL, 0, 0);
    while (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    c->is_reaped = true;
}

/* Until 'R' both have one table of descriptors; then the child's end of the pipe is its own, and
 * ours has to go for the end of file to be seen. */
static int talk(struct iso_container *c, const struct iso_spec *spec, struct iso__plan *p, int in,
                int *out, struct cyx_err *err)
{
    int rc = map(c, spec, p->setgroups, err);
    rc = rc < 0 ? rc : iso__groups_make(&c->engine->layout, &c->groups, spec, err);
    rc = rc < 0 ? rc : iso__groups_joins(&c->groups, p->cgroups, ISO__CGROUPS_MAX, err);
    p->n_cgroups = rc < 0 ? 0 : (unsigned)rc;
    rc = rc < 0 ? rc : build(c, spec, p, err);
    if (rc < 0)
        return rc;
    hand_over(p, ISO__GO_ROOT);
    rc = iso__hear(p, in, c->pidfd, err);
    close_if(out);
    if (rc == 1 && p->hold < 0)
        rc = iso__hear(p, in, c->pidfd, err);
    c->is_held = rc == 1;
    return rc < 0 ? rc : 0;
}

int iso__launch(struct iso_container *c, const struct iso_spec *spec,
                const struct sock_fprog *filter, struct cyx_err *err)
{
    struct iso__plan *p = iso__plan_make(filter, err);
    if (p == NULL)
        return err != NULL ? err->code : CYX_ENOMEM;
    int rc = prepare(c, spec, p, err);
    cleanup_close int in = p->pipe[0];
    cleanup_close int out = p->pipe[1];
    if (rc == 0) {
        long pid = clone_first(c, p);
        if (pid < 0) {
            rc = cyx_fail(err, CYX_EIO, "clone3: %s", strerror((int)-pid));
        } else {
            c->pid = (pid_t)pid;
            rc = talk(c, spec, p, in, &out, err);
        }
    }
    if (rc < 0)
        abandon(c, p);
    c->tty = p->tty_taken;
    if (c->is_held) {
        close_descriptors(p);
        c->hear = steal_fd(&in);
        c->plan = p; /* the child still runs on it */
        return rc;
    }
    iso__plan_free(p);
    munmap(c->stack, ISO__STACK_BYTES);
    c->stack = NULL;
    return rc;
}

/* A copy of this process, not a sharer of its memory; see child_exec.c. */
long iso__clone_exec(struct iso_container *c, struct iso__plan *p, int *pidfd)
{
    struct clone_args args = {
        .flags = (uint64_t)CLONE_PIDFD | CLONE_FILES | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    if (c->groups.fd[ISO__V2] >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)c->groups.fd[ISO__V2];
    }
    return clone_without_groups(&args, p);
}
