/* host/isolation/sys.h - system calls without libc. The code between clone and exec shares memory
 * with its parent (a fork of a large process costs milliseconds), so it must touch neither errno
 * nor anything else that libc keeps. Each call returns the kernel's value: negative errno or a
 * result. Constants that Debian's headers are too old for are here too. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef __x86_64__
#error "the isolation core knows x86-64 only: system calls and the filter are per machine"
#endif

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

#define SYS_ARG(x)           ((long)(x))
#define sys_0(n)             sys6(n, 0, 0, 0, 0, 0, 0)
#define sys_1(n, a)          sys6(n, SYS_ARG(a), 0, 0, 0, 0, 0)
#define sys_2(n, a, b)       sys6(n, SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define sys_3(n, a, b, c)    sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define sys_4(n, a, b, c, d) sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define sys_5(n, a, b, c, d, e)                                                                    \
    sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)

/* The mount interface by descriptors (Linux 5.2 and later). */
enum {
    SYS_FSOPEN_CLOEXEC = 1,
    SYS_FSMOUNT_CLOEXEC = 1,
    SYS_FSCONFIG_FLAG = 0,
    SYS_FSCONFIG_STRING = 1,
    SYS_FSCONFIG_FD = 5,
    SYS_FSCONFIG_CREATE = 6,
    SYS_OPEN_TREE_CLONE = 1,
    SYS_OPEN_TREE_CLOEXEC = 02000000,
    SYS_AT_EMPTY_PATH = 0x1000,
    SYS_AT_RECURSIVE = 0x8000,
    SYS_MOVE_FROM_EMPTY = 0x04,
    SYS_MOVE_TO_EMPTY = 0x40,
    SYS_ATTR_RDONLY = 0x01,
    SYS_ATTR_NOSUID = 0x02,
    SYS_ATTR_NODEV = 0x04,
    SYS_ATTR_NOEXEC = 0x08,
    SYS_ATTR_NOATIME = 0x10,
    SYS_ATTR_ATIME = 0x70,
    SYS_ATTR_IDMAP = 0x00100000
};

struct sys_mount_attr {
    uint64_t set;
    uint64_t clear;
    uint64_t propagation; /* MS_PRIVATE or MS_SLAVE */
    uint64_t userns_fd;
};

struct sys_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

enum {
    SYS_NO_XDEV = 1,
    SYS_NO_MAGICLINKS = 2,
    SYS_NO_SYMLINKS = 4,
    SYS_BENEATH = 8,
    SYS_IN_ROOT = 16
};

static inline int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode,
                              uint64_t resolve)
{
    struct sys_open_how how = { .flags = flags, .mode = mode, .resolve = resolve };
    return (int)sys_4(SYS_openat2, dir, path, &how, sizeof how);
}

static inline int sys_close(int fd)
{
    return (int)sys_1(SYS_close, fd);
}

static inline int sys_mount_setattr(int fd, unsigned flags, const struct sys_mount_attr *attr)
{
    return (int)sys_5(SYS_mount_setattr, fd, "", SYS_AT_EMPTY_PATH | flags, attr, sizeof *attr);
}

/* Clones the mount that `path` below `dir` is on, from there; a detached mount. */
static inline int sys_open_tree(int dir, const char *path, unsigned flags)
{
    return (int)sys_3(SYS_open_tree, dir, path,
                      SYS_OPEN_TREE_CLOEXEC | SYS_OPEN_TREE_CLONE | SYS_AT_EMPTY_PATH | flags);
}

/* Attaches the detached mount `fd` on what the descriptor `to` is open on. */
static inline int sys_attach(int fd, int to)
{
    return (int)sys_5(SYS_move_mount, fd, "", to, "", SYS_MOVE_FROM_EMPTY | SYS_MOVE_TO_EMPTY);
}

static inline int sys_fs_string(int fs, const char *key, const char *value)
{
    return (int)sys_5(SYS_fsconfig, fs, SYS_FSCONFIG_STRING, key, value, 0);
}

static inline int sys_fs_fd(int fs, const char *key, int fd)
{
    return (int)sys_5(SYS_fsconfig, fs, SYS_FSCONFIG_FD, key, 0, fd);
}

static inline int sys_fs_flag(int fs, const char *key)
{
    return (int)sys_5(SYS_fsconfig, fs, SYS_FSCONFIG_FLAG, key, 0, 0);
}

/* Makes the superblock of `fs` and a detached mount of it; closes `fs` whatever happens. */
static inline int sys_fs_mount(int fs, unsigned attr)
{
    int rc = (int)sys_5(SYS_fsconfig, fs, SYS_FSCONFIG_CREATE, 0, 0, 0);
    if (rc == 0)
        rc = (int)sys_3(SYS_fsmount, fs, SYS_FSMOUNT_CLOEXEC, attr);
    sys_close(fs);
    return rc;
}

static inline int sys_fs_open(const char *type)
{
    return (int)sys_2(SYS_fsopen, type, SYS_FSOPEN_CLOEXEC);
}
