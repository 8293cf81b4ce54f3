/* tests/security/isolation/probe.c - runs inside a container and tries one way out. Exit status 0:
 * the attempt failed, as it must; 1: it worked; 2: it could not be made. Linked statically: it is
 * the whole image. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD = 0, OUT = 1, BROKEN_TEST = 2 };

static int verdict(int out, const char *what)
{
    if (out)
        printf("worked: %s (%s)\n", what, strerror(errno));
    return out ? OUT : HELD;
}

/* Every descriptor but 0, 1, 2 and the folder that is read. */
static int fds(void)
{
    int extra = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return BROKEN_TEST;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        long fd = strtol(e->d_name, NULL, 10);
        if (e->d_name[0] != '.' && fd > 2 && fd != dirfd(d)) {
            printf("descriptor %ld\n", fd);
            extra++;
        }
    }
    closedir(d);
    return verdict(extra > 0, "a descriptor came along");
}

static int cwd(void)
{
    char buf[256];
    if (syscall(SYS_getcwd, buf, sizeof buf) < 0)
        return BROKEN_TEST;
    return verdict(buf[0] != '/' || access("marker-of-the-host", F_OK) == 0,
                   "the working directory is the host's");
}

static int caps(void)
{
    char line[128];
    int n = 0, bad = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return BROKEN_TEST;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "Cap", 3) != 0)
            continue;
        n++;
        bad += strtoull(line + 7, NULL, 16) != 0;
    }
    fclose(f);
    return n != 5 ? BROKEN_TEST : verdict(bad > 0, "a capability set is not empty");
}

static int groups(void)
{
    gid_t g = 0;
    return verdict(setgroups(0, &g) == 0, "setgroups");
}

static int cgroupfs(void)
{
    int made = mkdir("/sys/fs/cgroup/x", 0755);
    return verdict(made == 0 || errno != EROFS, "the cgroup mount is not read-only");
}

static int release_agent(void)
{
    mkdir("/tmp", 0777);
    int rc = mount("none", "/tmp", "cgroup", 0, "memory");
    return verdict(rc == 0 || errno != EPERM, "mounting a v1 hierarchy");
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int userns(void)
{
    static char stack[65536];
    struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
    if (clone(nothing, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL) > 0)
        return verdict(1, "clone");
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    if (pid > 0 || errno != ENOSYS)
        return verdict(1, "clone3");
    return verdict(unshare(CLONE_NEWUSER) == 0, "unshare");
}

static int io_uring(void)
{
    char params[256] = { 0 };
    long fd = syscall(425, 1, params); /* io_uring_setup */
    return verdict(fd >= 0 || errno != EPERM, "io_uring_setup");
}

static long i386(long nr)
{
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory");
    return ret;
}

/* Each by its own number, by x32's and, for one that always works, by i386's entry. */
static int forbidden(void)
{
    static const int numbers[] = { SYS_bpf,
                                   SYS_perf_event_open,
                                   SYS_userfaultfd,
                                   SYS_kexec_load,
                                   SYS_init_module,
                                   SYS_finit_module,
                                   SYS_delete_module,
                                   SYS_ptrace,
                                   SYS_process_vm_readv,
                                   SYS_open_by_handle_at,
                                   SYS_add_key,
                                   SYS_keyctl,
                                   SYS_mount,
                                   SYS_setns,
                                   SYS_pivot_root,
                                   SYS_syslog,
                                   SYS_reboot,
                                   SYS_swapon,
                                   SYS_pidfd_getfd,
                                   SYS_fsopen,
                                   SYS_move_mount,
                                   SYS_quotactl,
                                   SYS_settimeofday,
                                   SYS_iopl };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        errno = 0;
        if (syscall(numbers[i], -1, -1, -1, -1, -1) != -1 || errno != EPERM)
            return printf("number %d: ", numbers[i]), verdict(1, "forbidden call");
        errno = 0;
        if (syscall(numbers[i] | 0x40000000, 0, 0, 0, 0, 0) != -1 || errno != ENOSYS)
            return printf("number %d: ", numbers[i]), verdict(1, "x32 call");
    }
    if (syscall(SYS_getpid | 0x40000000) != -1)
        return verdict(1, "x32 getpid");
    return verdict(i386(20) != -ENOSYS, "i386 getpid");
}

static int keyring(void)
{
    long key =
        syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "cyx-host-key", 0);
    return verdict(key >= 0, "the host's key was found");
}

static int tiocsti(void)
{
    char c = 'x';
    static const unsigned long requests[] = {
        TIOCSTI,   TIOCSTI | 1ul << 32,   TIOCSTI | 0xffffffff00000000ul,
        TIOCLINUX, TIOCLINUX | 1ul << 63, TIOCSETD
    };
    if (!isatty(0))
        return BROKEN_TEST;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        errno = 0;
        if (syscall(SYS_ioctl, 0, requests[i], &c) == 0 || errno != EPERM)
            return verdict(1, "TIOCSTI, TIOCLINUX or TIOCSETD got through the filter");
    }
    return HELD;
}

static int devices(void)
{
    if (mknod("/kmsg", S_IFCHR | 0666, makedev(1, 11)) == 0)
        return verdict(1, "mknod");
    int fd = open("/volume/device", O_WRONLY);
    return verdict(fd >= 0, "a device of the host opened");
}

static int abstract(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "\0cyx-host-socket" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 16);
    return verdict(connect(fd, (struct sockaddr *)&a, len) == 0, "an abstract socket of the host");
}

static int masks(void)
{
    struct stat st;
    if (stat("/proc/keys", &st) < 0)
        return BROKEN_TEST;
    return verdict(!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3),
                   "/proc/keys is not covered");
}

static int proc_sys(void)
{
    struct statvfs fs;
    int writable = statvfs("/proc/sys", &fs) < 0 || (fs.f_flag & ST_RDONLY) == 0;
    return verdict(writable || open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0,
                   "/proc/sys is not read-only");
}

static int forks(void)
{
    int n = 0;
    for (; n < 150; n++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    return verdict(n > 100, "more processes than the limit");
}

static int memory(void)
{
    size_t len = 256u << 20;
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return BROKEN_TEST;
    memset(p, 0x5a, len);
    return verdict(1, "more memory than the limit");
}

static int inodes(void)
{
    char name[32];
    int n = 0;
    for (; n < 2000; n++) {
        snprintf(name, sizeof name, "/f%d", n);
        int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    return verdict(n > 1000, "more files than the limit");
}

static int bytes(void)
{
    static char block[65536];
    size_t written = 0;
    int fd = open("/fill", O_CREAT | O_WRONLY, 0600);
    for (ssize_t n = 1; fd >= 0 && n > 0 && written<8u << 20; written += n> 0 ? (size_t)n : 0)
        n = write(fd, block, sizeof block);
    return verdict(written > 4u << 20, "more bytes than the limit");
}

static int exe(void)
{
    int fd = open("/proc/self/exe", O_RDWR);
    return verdict(fd >= 0 && write(fd, "x", 1) == 1, "the runtime's program was written to");
}

static int privs(void)
{
    return verdict(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1, "new privileges are possible");
}

/* Every namespace is another one than the launcher's, whose numbers are in the environment. */
static int namespaces(void)
{
    static const char *const all[] = {
        "user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char path[32], mine[64] = "";
        const char *host = getenv(all[i]);
        snprintf(path, sizeof path, "/proc/self/ns/%s", all[i]);
        if (host == NULL || readlink(path, mine, sizeof mine - 1) <= 0)
            return BROKEN_TEST;
        if (strcmp(mine, host) == 0)
            return verdict(1, all[i]);
    }
    return HELD;
}

/* Even where core_pattern is a pipe into a program of the host: its handler runs unless this is 1.
 */
static int core(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_CORE, &r) < 0)
        return BROKEN_TEST;
    return verdict(r.rlim_cur > 1 || r.rlim_max != 1, "a core dump can be had");
}

/* Copy-up, and the page cache by splice: neither may reach the layer below. */
static int layer(void)
{
    int pipes[2];
    int fd = open("/shared-file", O_RDWR);
    if (fd >= 0)
        (void)!write(fd, "changed", 7);
    int ro = open("/shared-file-2", O_RDONLY);
    if (pipe(pipes) == 0 && ro >= 0) {
        off_t at = 0;
        (void)!splice(ro, &at, pipes[1], NULL, 1, 0);
        (void)!write(pipes[1], "dirty", 5);
    }
    return HELD; /* the launcher looks at the layer */
}

static const struct {
    const char *name;
    int (*run)(void);
} probes[] = {
    { "fds", fds },
    { "cwd", cwd },
    { "caps", caps },
    { "groups", groups },
    { "cgroupfs", cgroupfs },
    { "release_agent", release_agent },
    { "userns", userns },
    { "io_uring", io_uring },
    { "forbidden", forbidden },
    { "keyring", keyring },
    { "tiocsti", tiocsti },
    { "devices", devices },
    { "abstract", abstract },
    { "masks", masks },
    { "proc_sys", proc_sys },
    { "forks", forks },
    { "memory", memory },
    { "inodes", inodes },
    { "bytes", bytes },
    { "exe", exe },
    { "privs", privs },
    { "layer", layer },
    { "namespaces", namespaces },
    { "core", core },
};

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; argc > 1 && i < sizeof probes / sizeof probes[0]; i++) {
        if (strcmp(probes[i].name, argv[1]) == 0)
            return probes[i].run();
    }
    if (argc > 1 && strcmp(argv[1], "pause") == 0)
        pause();
    return BROKEN_TEST;
}
