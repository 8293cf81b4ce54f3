/* The half of the sandbox that is about system calls. The list is what libuv, LMDB, glibc's threads
 * and allocator, libsodium and this daemon use; no exec, no ptrace, no mounts, no modules, no keys,
 * no BPF, no io_uring. Names that this libseccomp or this architecture doesn't know are skipped. */
#include <errno.h>
#include <linux/netlink.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static const char *const allowed[] = {
    /* memory */
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "madvise",
    "mprotect",
    "mlock",
    "mlock2",
    "munlock",
    "msync",
    "mincore",
    "membarrier",
    "mbind",
    "set_mempolicy",
    "get_mempolicy",
    /* threads: started later by the pool, all inside the sandbox */
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "futex",
    "futex_waitv",
    "set_tid_address",
    "gettid",
    "getpid",
    "getppid",
    "tgkill",
    "exit",
    "exit_group",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "getcpu",
    "arch_prctl",
    "restart_syscall",
    "sched_getparam",
    "sched_getscheduler",
    "sched_setscheduler",
    "setpriority",
    "getpriority",
    /* signals */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "sigaltstack",
    /* time */
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* the loop */
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "pipe2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    /* sockets (which families: below) */
    "bind",
    "listen",
    "accept4",
    "accept",
    "connect",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "shutdown",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "socketpair",
    /* files: Landlock decides which */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "lseek",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "fcntl",
    "flock",
    "dup",
    "dup2",
    "dup3",
    "fstat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "getdents64",
    "readlink",
    "readlinkat",
    "access",
    "faccessat",
    "faccessat2",
    "umask",
    "getcwd",
    "sync_file_range",
    "fadvise64",
    "readahead",
    /* the rest */
    "getrandom",
    "uname",
    "sysinfo",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "getrlimit",
    "getrusage",
    "times",
};

/* A leak check stops all threads through ptrace from a process of its own. */
static const char *const sanitizers[] = { "ptrace",    "wait4",  "process_vm_readv", "personality",
                                          "getitimer", "vfork",  "execve",           "setitimer",
                                          "fork",      "waitid", "rt_sigqueueinfo",  "tkill",
                                          "getdents" };

static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };

/* Flags of clone(): those of new namespaces, in which this process would be root again and reach
 * kernel code that is closed to it; CLONE_THREAD, for no processes are started. */
enum { CLONE_NAMESPACES = 0x7e020000, CLONE_A_THREAD = 0x10000 };
enum { MODE_FOR_OTHERS = 07007 }; /* and set-user-id: no file of ours ever has these */

/* Terminal questions (is standard error one), interfaces' names and numbers, bytes waiting. */
static const unsigned ioctls[] = { 0x5401 /* TCGETS */,
                                   0x5413 /* TIOCGWINSZ */,
                                   0x541b /* FIONREAD */,
                                   0x5421 /* FIONBIO */,
                                   0x5450 /* FIONCLEX */,
                                   0x5451 /* FIOCLEX */,
                                   0x8910 /* SIOCGIFNAME */,
                                   0x8933 /* SIOCGIFINDEX */,
                                   0x8912 /* SIOCGIFCONF */,
                                   0x8913 /* SIOCGIFFLAGS */,
                                   0x8915 /* SIOCGIFADDR */,
                                   0x8927 /* SIOCGIFHWADDR */,
                                   0x8921 /* SIOCGIFMTU */ };

/* Only to ask and to name threads; nothing that could give something back. */
static const int prctls[] = { 3 /* GET_DUMPABLE */, 15 /* SET_NAME */, 16 /* GET_NAME */,
                              39 /* GET_NO_NEW_PRIVS */, 21 /* GET_SECCOMP */ };

static int allow(scmp_filter_ctx ctx, const char *name)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR)
        return 0;
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
    return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int allow_if(scmp_filter_ctx ctx, int nr, unsigned arg, uint64_t value)
{
    const struct scmp_arg_cmp is = { .arg = arg, .op = SCMP_CMP_EQ, .datum_a = value };
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &is);
}

/* `arg` & mask must be `value`. */
static int allow_masked(scmp_filter_ctx ctx, int nr, unsigned arg, uint64_t mask, uint64_t value)
{
    const struct scmp_arg_cmp is = {
        .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value
    };
    int rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &is);
    return rc == -EDOM ? 0 : rc; /* this architecture has no such call */
}

/* Addresses and routes; not the firewall and the other families behind netlink. */
static int allow_netlink(scmp_filter_ctx ctx)
{
    const struct scmp_arg_cmp is[] = {
        { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_NETLINK },
        { .arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = UINT32_MAX, .datum_b = NETLINK_ROUTE },
    };
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, is);
}

/* What depends on an argument: this process alone, and nothing for others to read. */
static int allow_in_part(scmp_filter_ctx ctx)
{
    /* clone3 hides its flags behind a pointer: libc takes clone where there is no clone3. */
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = IS_SANITIZED ? allow_masked(ctx, SCMP_SYS(clone), 0, CLONE_NAMESPACES, 0)
                          : allow_masked(ctx, SCMP_SYS(clone), 0, CLONE_NAMESPACES | CLONE_A_THREAD,
                                         CLONE_A_THREAD);
    if (rc == 0)
        rc = allow_netlink(ctx);
    if (rc == 0)
        rc = allow_masked(ctx, SCMP_SYS(kill), 0, UINT32_MAX, (uint64_t)getpid());
    if (rc == 0)
        rc = allow_masked(ctx, SCMP_SYS(prlimit64), 0, UINT32_MAX, 0);
    if (rc == 0)
        rc = allow_masked(ctx, SCMP_SYS(chmod), 1, MODE_FOR_OTHERS, 0);
    if (rc == 0)
        rc = allow_masked(ctx, SCMP_SYS(fchmod), 1, MODE_FOR_OTHERS, 0);
    return rc == 0 ? allow_masked(ctx, SCMP_SYS(fchmodat), 2, MODE_FOR_OTHERS, 0) : rc;
}

static int allow_all(scmp_filter_ctx ctx)
{
    int rc = allow_in_part(ctx);
    for (size_t i = 0; rc == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
        rc = allow(ctx, allowed[i]);
    for (size_t i = 0; rc == 0 && i < sizeof families / sizeof families[0]; i++)
        rc = allow_if(ctx, SCMP_SYS(socket), 0, (uint64_t)families[i]);
    for (size_t i = 0; rc == 0 && i < sizeof ioctls / sizeof ioctls[0]; i++)
        rc = allow_if(ctx, SCMP_SYS(ioctl), 1, ioctls[i]);
    if (IS_SANITIZED) {
        for (size_t i = 0; rc == 0 && i < sizeof sanitizers / sizeof sanitizers[0]; i++)
            rc = allow(ctx, sanitizers[i]);
        return rc == 0 ? allow(ctx, "prctl") : rc;
    }
    for (size_t i = 0; rc == 0 && i < sizeof prctls / sizeof prctls[0]; i++)
        rc = allow_if(ctx, SCMP_SYS(prctl), 0, (uint64_t)prctls[i]);
    return rc;
}

int sandbox_calls(struct cyx_err *err)
{
    if (seccomp_api_get() == 0)
        return 0;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (ctx == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the seccomp filter");
    int rc = allow_all(ctx);
    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: faster, not needed */
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    if (rc == -EINVAL || rc == -ENOSYS)
        return 0;
    if (rc != 0)
        return cyx_fail(err, CYX_EIO, "load the seccomp filter: %s", strerror(-rc));
    return 1;
}
