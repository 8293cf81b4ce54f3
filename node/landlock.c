/* The half of the sandbox that is about files. The constants are written down here since headers in
 * use are older than kernels in use; what a kernel doesn't know is left out by its ABI number. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/sandbox.h"

#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule       445
#define __NR_landlock_restrict_self  446
#endif

#if defined(__SANITIZE_THREAD__)
#define IS_THREAD_SANITIZED 1 /* it keeps a thread of its own */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IS_THREAD_SANITIZED 1
#endif
#endif
#ifndef IS_THREAD_SANITIZED
#define IS_THREAD_SANITIZED 0
#endif

enum {
    CREATE_RULESET_VERSION = 1,
    RULE_PATH_BENEATH = 1,
};

#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_DIR  (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_MAKE_SOCK   (1ull << 9)
#define FS_ABI_1       ((1ull << 13) - 1)
#define FS_REFER       (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE    (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* ABI 5 */
#define SCOPE_ABSTRACT (1ull << 0)  /* ABI 6: unix sockets without a file */
#define SCOPE_SIGNAL   (1ull << 1)

#define FILE_RIGHTS (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define READ_RIGHTS (FS_READ_FILE | FS_READ_DIR)
#define WRITE_RIGHTS                                                                               \
    (READ_RIGHTS | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |    \
     FS_MAKE_SOCK | FS_TRUNCATE)

struct ruleset_attr {
    uint64_t handled_fs, handled_net, scoped;
};

struct path_attr {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static int landlock_abi(void)
{
    long abi = syscall(__NR_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static struct ruleset_attr attr_for(int abi)
{
    struct ruleset_attr a = { .handled_fs = FS_ABI_1 };
    if (abi >= 2)
        a.handled_fs |= FS_REFER;
    if (abi >= 3)
        a.handled_fs |= FS_TRUNCATE;
    if (abi >= 5)
        a.handled_fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        a.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL; /* neither to processes outside */
    return a;
}

/* Older kernels refuse a longer struct than they know unless its tail is zero: give what they know.
 */
static size_t attr_size(int abi)
{
    return abi >= 6   ? sizeof(struct ruleset_attr)
           : abi >= 4 ? 2 * sizeof(uint64_t)
                      : sizeof(uint64_t);
}

static int add_path(int ruleset, const struct ruleset_attr *a, const struct sandbox_path *p,
                    struct cyx_err *err)
{
    struct stat st;
    cleanup_close int fd = open(p->path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == EACCES))
        return 0; /* what isn't there, or can't be reached, needs no rule */
    if (fd < 0 || fstat(fd, &st) != 0)
        return cyx_fail(err, CYX_EIO, "sandbox: open %s: %s", p->path, strerror(errno));
    uint64_t rights = (p->is_writable ? WRITE_RIGHTS : READ_RIGHTS) & a->handled_fs;
    if (!S_ISDIR(st.st_mode))
        rights &= FILE_RIGHTS;
    struct path_attr rule = { .allowed = rights, .parent_fd = fd };
    if (syscall(__NR_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0)
        return cyx_fail(err, CYX_EIO, "landlock rule for %s: %s", p->path, strerror(errno));
    return 0;
}

/* Landlock binds the thread that asks and those it starts later; one that runs already, say in a
 * role's create, would stay free. Without /proc nobody can tell. */
static bool is_alone(void)
{
    struct stat st;
    return IS_THREAD_SANITIZED || stat("/proc/self/task", &st) != 0 || st.st_nlink <= 2 + 1;
}

int sandbox_files(const struct sandbox_path *paths, size_t n, struct cyx_err *err)
{
    int abi = landlock_abi();
    if (abi == 0)
        return 0;
    if (!is_alone())
        return cyx_fail(err, CYX_EPERM,
                        "sandbox: threads run already, and Landlock would not hold for them: a "
                        "role may start threads in its start, not in its create");
    struct ruleset_attr a = attr_for(abi);
    cleanup_close int ruleset = (int)syscall(__NR_landlock_create_ruleset, &a, attr_size(abi), 0);
    if (ruleset < 0)
        return cyx_fail(err, CYX_EIO, "landlock_create_ruleset: %s", strerror(errno));
    for (size_t i = 0; i < n; i++) {
        int rc = paths[i].path[0] != '\0' ? add_path(ruleset, &a, &paths[i], err) : 0;
        if (rc < 0)
            return rc;
    }
    if (syscall(__NR_landlock_restrict_self, ruleset, 0) != 0)
        return cyx_fail(err, CYX_EIO, "landlock_restrict_self: %s", strerror(errno));
    return abi;
}
