/* tests/security/isolation/main.c - one real attempt to get out for each row of the table
 * "Isolation core" (docs/host-isolation.md has it), made from inside a container: it must fail.
 * Then the same with the row's defence taken out: it must work, or the test shows nothing. Root.
 *   security_isolation [ROW]      status 77 without root */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/isolation.h"

enum result { HELD, OUT, UNKNOWN };

static char folder[] = "/tmp/cyx-escape-XXXXXX";
static char layer[64], state[64];
static const char *const no_env[] = { "PATH=/bin", NULL };

static void path_in(char out[64], const char *name)
{
    snprintf(out, 64, "%s/%s", folder, name);
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
    char buf[65536];
    cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
    cleanup_close int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    for (ssize_t n = 1; in >= 0 && out >= 0 && n > 0;) {
        n = read(in, buf, sizeof buf);
        if (n > 0 && write(out, buf, (size_t)n) != n)
            abort();
    }
}

static void put_text(const char *name, const char *text)
{
    cleanup_close int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
}

static bool text_is(const char *name, const char *want)
{
    char buf[64] = "";
    cleanup_close int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
    return n == (ssize_t)strlen(want) && strcmp(buf, want) == 0;
}

/* ---- one container -----------------------------------------------------------------------------
 */

struct attempt {
    const char *probe;
    struct iso_spec spec;
    const char *argv[3];
    struct iso_exit end;
    struct cyx_err err;
    bool refused; /* nothing ran: iso_create() said no */
};

static void attempt_init(struct attempt *a, const char *probe)
{
    static const char *const layers[] = { layer };
    *a = (struct attempt){ .probe = probe, .argv = { "probe", probe, NULL } };
    a->spec = (struct iso_spec){
        .name = "escape",
        .layers = layers,
        .n_layers = 1,
        .root_bytes = 1 << 20,
        .root_inodes = 200,
        .host_ids = 0x20000000,
        .n_ids = 65536,
        .limits = { .memory_bytes = 32 << 20, .pids = 64 },
        .process = { .envp = no_env, .cwd = "/", .stdio = { 0, 1, 2 } },
    };
    a->spec.process.argv = a->argv;
}

static void drain(struct iso_container *c)
{
    char buf[512];
    cleanup_close int tty = iso_container_tty(c);
    while (tty >= 0 && read(tty, buf, sizeof buf) > 0)
        ;
}

static void attempt_run(struct attempt *a)
{
    struct iso_engine *e = NULL;
    struct iso_container *c = NULL;
    if (iso_engine_open(&e, state, &a->err) < 0 || iso_create(e, &a->spec, NULL, &c, &a->err) < 0) {
        a->refused = true;
    } else {
        drain(c);
        iso_wait(c, 20000, &a->end, &a->err);
        if (iso_destroy(c, &a->err) < 0)
            abort();
    }
    iso_engine_close(e);
}

static enum result judge(const struct attempt *a)
{
    if (a->refused) {
        printf("    refused: %s\n", a->err.msg);
        return UNKNOWN;
    }
    if (a->end.end != ISO_END_EXIT || a->end.code > 1)
        return UNKNOWN;
    return a->end.code == 0 ? HELD : OUT;
}

static enum result plain(const char *probe)
{
    struct attempt a;
    attempt_init(&a, probe);
    attempt_run(&a);
    return judge(&a);
}

/* ---- rows --------------------------------------------------------------------------------------
 */

__attribute__((unused)) static enum result row_exe(void)
{
    struct attempt a;
    attempt_init(&a, "-");
    const char *sealed = getenv("ISO_WITHOUT");
    char copy[64];
    path_in(copy, "runtime");
    copy_file("/proc/self/exe", copy, 0777);
    chmod(copy, 0777);
    pid_t pid = fork();
    if (pid == 0) {
        execl(copy, copy, "--as-runtime", layer, state, sealed != NULL ? "plain" : "sealed", NULL);
        _exit(2);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) < 2 ? (enum result)WEXITSTATUS(status)
                                                        : UNKNOWN;
}

static enum result row_fds(void)
{
    int kept = open("/", O_RDONLY | O_DIRECTORY); /* as a careless caller would leave it */
    int high = fcntl(kept, F_DUPFD, 700);
    enum result r = plain("fds");
    close(kept);
    close(high);
    return r;
}

static enum result row_cwd(void)
{
    enum result r = HELD;
    char marker[64];
    path_in(marker, "marker-of-the-host");
    put_text(marker, "x");
    for (int n = 0; n < 24 && r == HELD; n++) {
        struct attempt a;
        char cwd[32];
        snprintf(cwd, sizeof cwd, "/proc/self/fd/%d", n);
        attempt_init(&a, "cwd");
        a.spec.process.cwd = cwd;
        a.spec.process.stdio[0] = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        attempt_run(&a);
        r = a.refused ? HELD : OUT;
        close(a.spec.process.stdio[0]);
    }
    return r;
}

/* An image whose /NAME is a link to /etc: refused, and nothing is mounted or made there. */
static enum result link_for(const char *name)
{
    char other[64], at[96];
    path_in(other, "evil");
    mkdir(other, 0755);
    for (const char *const *d = (const char *const[]){ "bin", "etc", "proc", "sys", "dev", NULL };
         *d; d++) {
        snprintf(at, sizeof at, "%s/%s", other, *d);
        mkdir(at, 0755);
    }
    snprintf(at, sizeof at, "%s/%s", other, name);
    rmdir(at);
    if (symlink("/etc", at) < 0)
        return UNKNOWN;
    struct attempt a;
    attempt_init(&a, "pause");
    a.argv[1] = "caps";
    const char *layers[] = { other, layer };
    a.spec.layers = layers;
    a.spec.n_layers = 2;
    attempt_run(&a);
    unlink(at);
    return a.refused && strstr(a.err.msg, "mount target") != NULL ? HELD : OUT;
}

static enum result row_proc_link(void)
{
    return link_for("proc");
}

static enum result row_dev_link(void)
{
    return link_for("dev");
}

static enum result row_groups(void)
{
    struct attempt a;
    attempt_init(&a, "groups");
    a.spec.process.caps = 1ull << 6; /* CAP_SETGID: the kernel's `deny` alone must hold */
    attempt_run(&a);
    return judge(&a);
}

static enum result row_cgroupfs(void)
{
    struct attempt a;
    attempt_init(&a, "cgroupfs");
    struct iso_mount m = { .kind = ISO_MOUNT_CGROUP2, .target = "/sys/fs/cgroup" };
    a.spec.mounts = &m;
    a.spec.n_mounts = 1;
    attempt_run(&a);
    return judge(&a);
}

static enum result row_sysctl(void)
{
    static const char *const hostile[] = { "kernel.core_pattern",
                                           "kernel.shm_rmid_forced+kernel.core_pattern",
                                           "vm.overcommit_memory",
                                           "fs.suid_dumpable",
                                           "net/../kernel/core_pattern",
                                           "net..kernel",
                                           "kernel.modprobe" };
    struct attempt a;
    attempt_init(&a, "-");
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct iso_sysctl s = { hostile[i], "|/bin/sh" };
        a.spec.sysctls = &s;
        a.spec.n_sysctls = 1;
        if (iso_spec_check(&a.spec, &a.err) == 0)
            return OUT;
    }
    return HELD;
}

static enum result row_keyring(void)
{
    pid_t pid = fork(); /* a session of its own: the test's stays clean */
    int status = 0;
    if (pid == 0) {
        syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        if (syscall(SYS_add_key, "user", "cyx-host-key", "secret", 6, KEY_SPEC_SESSION_KEYRING) < 0)
            _exit(UNKNOWN);
        /* Whoever holds the keyring may search it. */
        _exit((int)plain("keyring"));
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? (enum result)WEXITSTATUS(status) : UNKNOWN;
}

static enum result row_tiocsti(void)
{
    struct attempt a;
    attempt_init(&a, "tiocsti");
    a.spec.flags |= ISO_TTY;
    attempt_run(&a);
    return judge(&a);
}

static enum result row_devices(void)
{
    char volume[64], device[96];
    struct attempt a;
    attempt_init(&a, "devices");
    path_in(volume, "volume");
    mkdir(volume, 0755);
    snprintf(device, sizeof device, "%s/device", volume);
    mknod(device, S_IFCHR | 0666, makedev(1, 11)); /* kmsg */
    chmod(device, 0666);
    struct iso_mount m = { .kind = ISO_MOUNT_BIND, .source = volume, .target = "/volume" };
    a.spec.mounts = &m;
    a.spec.n_mounts = 1;
    attempt_run(&a);
    return judge(&a);
}

static enum result row_abstract(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "\0cyx-host-socket" };
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 16);
    if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 4) < 0)
        return UNKNOWN;
    return plain("abstract");
}

static enum result row_layer(void)
{
    char a[96], b[96];
    snprintf(a, sizeof a, "%s/shared-file", layer);
    snprintf(b, sizeof b, "%s/shared-file-2", layer);
    if (plain("layer") != HELD)
        return UNKNOWN;
    return text_is(a, "original") && text_is(b, "original") ? HELD : OUT;
}

static enum result row_memory(void)
{
    struct attempt a;
    attempt_init(&a, "memory");
    attempt_run(&a);
    return a.end.end == ISO_END_OOM ? HELD : judge(&a);
}

static enum result row_namespaces(void)
{
    static const char *const all[] = {
        "user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"
    };
    static char text[8][96];
    static const char *env[9];
    struct attempt a;
    for (size_t i = 0; i < 8; i++) {
        char path[32], host[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", all[i]);
        if (readlink(path, host, sizeof host - 1) < 0)
            return UNKNOWN;
        snprintf(text[i], sizeof text[i], "%s=%s", all[i], host);
        env[i] = text[i];
    }
    attempt_init(&a, "namespaces");
    a.argv[0] = "/bin/probe";
    a.spec.process.envp = env;
    attempt_run(&a);
    return judge(&a);
}

static enum result row_racer(void)
{
    /* A folder that another process swaps for a link to the host's, while containers mount on it.
     */
    char volume[64], canary[64], t[96], l[96];
    path_in(volume, "race");
    path_in(canary, "canary");
    mkdir(volume, 0755);
    mkdir(canary, 0755);
    snprintf(t, sizeof t, "%s/t", volume);
    snprintf(l, sizeof l, "%s/l", volume);
    mkdir(t, 0755);
    if (symlink("../../../../../../../../../../tmp", l) < 0 && errno != EEXIST)
        return UNKNOWN;
    pid_t racer = fork();
    while (racer == 0)
        syscall(SYS_renameat2, AT_FDCWD, t, AT_FDCWD, l, 2 /* RENAME_EXCHANGE */);
    char target[96];
    snprintf(target, sizeof target, "/volume/t/%s/x", strrchr(folder, '/') + 1);
    for (int i = 0; i < 150; i++) {
        struct attempt a;
        attempt_init(&a, "caps");
        struct iso_mount m[2] = {
            { .kind = ISO_MOUNT_BIND, .source = volume, .target = "/volume" },
            { .kind = ISO_MOUNT_TMPFS, .target = target, .bytes = 4096, .inodes = 4, .mode = 0755 },
        };
        a.spec.mounts = m;
        a.spec.n_mounts = 2;
        attempt_run(&a);
    }
    kill(racer, SIGKILL);
    waitpid(racer, NULL, 0);
    char x[96];
    snprintf(x, sizeof x, "%s/x", folder); /* what a walk out of the root would have made */
    return access(x, F_OK) == 0 || rmdir(canary) < 0 ? OUT : HELD;
}

#define PLAIN(name)                                                                                \
    static enum result row_##name(void)                                                            \
    {                                                                                              \
        return plain(#name);                                                                       \
    }
PLAIN(caps)
PLAIN(release_agent)
PLAIN(userns)
PLAIN(io_uring)
PLAIN(forbidden)
PLAIN(masks)
PLAIN(proc_sys)
PLAIN(forks)
PLAIN(inodes)
PLAIN(bytes)
PLAIN(privs)
PLAIN(core)

static const struct row {
    int number; /* of the table */
    const char *name;
    enum result (*run)(void);
    const char *without; /* the defences whose absence the same attempt shows; NULL: see the page */
} rows[] = {
#ifndef __SANITIZE_ADDRESS__ /* such a program is not static: the image has no libraries for it */
    { 1, "exe", row_exe, "seal" },
#endif
    { 2, "fds", row_fds, "close_range" },
    { 2, "cwd", row_cwd, "cwd" },
    { 3, "racer", row_racer, NULL },
    { 5, "masks", row_masks, "mask" },
    { 7, "proc_link", row_proc_link, "fixed_dir" },
    { 8, "dev_link", row_dev_link, "fixed_dir" },
    { 11, "caps", row_caps, "caps" },
    { 11, "privs", row_privs, "no_new_privs,seccomp,caps" },
    { 12, "groups", row_groups, "setgroups" },
    { 13, "cgroupfs", row_cgroupfs, "cgroupfs" },
    { 14, "release_agent", row_release_agent, "seccomp,caps,landlock" },
    { 15, "sysctl", row_sysctl, "sysctl" },
    { 15, "core", row_core, "core" },
    { 15, "proc_sys", row_proc_sys, "readonly" },
    { 16, "userns", row_userns, "seccomp" },
    { 17, "io_uring", row_io_uring, "seccomp" },
    { 18, "forbidden", row_forbidden, "seccomp" },
    { 19, "keyring", row_keyring, "seccomp,keyring" },
    { 21, "tiocsti", row_tiocsti, "seccomp" },
    { 22, "devices", row_devices, "nodev,devices" },
    { 23, "abstract", row_abstract, "netns" },
    { 23, "namespaces", row_namespaces, "netns" },
    { 24, "layer", row_layer, NULL },
    { 28, "forks", row_forks, "pids" },
    { 28, "memory", row_memory, "memory" },
    { 28, "inodes", row_inodes, "root_inodes" },
    { 28, "bytes", row_bytes, "root_bytes" },
};

/* In a process of its own: what one leaves behind is not the next one's. */
static enum result apart(const struct row *row, const char *without)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (without != NULL)
            setenv("ISO_WITHOUT", without, 1);
        enum result r = row->run();
        fflush(stdout);
        _exit((int)r);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? (enum result)WEXITSTATUS(status) : UNKNOWN;
}

static int run_row(const struct row *row)
{
    static const char *const words[] = { "held", "GOT OUT", "unknown" };
    enum result with = apart(row, NULL);
    enum result without = row->without != NULL ? apart(row, row->without) : OUT;
    bool fine = with == HELD && without == OUT;
    printf("%-4s row %2d %-14s with its defence: %s; without %s: %s\n", fine ? "ok" : "FAIL",
           row->number, row->name, words[with < 3 ? with : 2],
           row->without != NULL ? row->without : "(not taken out)",
           row->without != NULL ? words[without < 3 ? without : 2] : "-");
    return fine ? 0 : 1;
}

/* What row 1 is about: the runtime's program, writable by everybody, runs an image whose first
 * command is the runtime itself. */
static int as_runtime(char **argv)
{
    struct attempt a;
    struct cyx_err err;
    if (strcmp(argv[4], "sealed") == 0 && iso_seal_self(argv, &err) < 0)
        return UNKNOWN;
    snprintf(layer, sizeof layer, "%s", argv[2]);
    snprintf(state, sizeof state, "%s", argv[3]);
    attempt_init(&a, "--write-exe");
    a.argv[0] = "/proc/self/exe";
    a.spec.process.argv = a.argv;
    attempt_run(&a);
    return (int)judge(&a);
}

/* Inside: ETXTBSY protects a program only while it runs; that it can be opened for writing at all
 * but for that is what matters. */
static int write_exe(void)
{
    cleanup_close int seen = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int seals = fcntl(seen, F_GET_SEALS);
    if (seals > 0 && (seals & F_SEAL_WRITE) != 0)
        return HELD;
    int fd = open("/proc/self/exe", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        return write(fd, "x", 1) == 1 ? OUT : HELD;
    return errno == ETXTBSY ? OUT : HELD;
}

static void prepare(const char *probe)
{
    char at[96];
    if (mkdtemp(folder) == NULL)
        abort();
    chmod(folder, 0755);
    path_in(layer, "layer");
    path_in(state, "state");
    mkdir(layer, 0755);
    snprintf(at, sizeof at, "%s/bin", layer);
    mkdir(at, 0755);
    snprintf(at, sizeof at, "%s/bin/probe", layer);
    copy_file(probe, at, 0755);
    snprintf(at, sizeof at, "%s/shared-file", layer);
    put_text(at, "original");
    snprintf(at, sizeof at, "%s/shared-file-2", layer);
    put_text(at, "original");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int main(int argc, char **argv)
{
    char probe[512];
    int failed = 0, n = 0;
    if (argc == 5 && strcmp(argv[1], "--as-runtime") == 0)
        return as_runtime(argv);
    if (argc == 2 && strcmp(argv[1], "--write-exe") == 0)
        return write_exe();
    if (geteuid() != 0) {
        printf("containers need root\n");
        return 77;
    }
    snprintf(probe, sizeof probe, "%s-probe", argv[0]);
    prepare(probe);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (argc > 1 && strcmp(argv[1], rows[i].name) != 0)
            continue;
        failed += run_row(&rows[i]);
        n++;
    }
    printf("%d rows, %d failed\n", n, failed);
    remove_folder();
    return n == 0 || failed > 0;
}
