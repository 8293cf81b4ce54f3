/* tests/bench/start.c - start to exit of a static `true` in a container, by the isolation core in
 * this process and by other commands, in turns. One line of JSON: microseconds for each, sorted.
 *   bench_start STATE LAYER ROUNDS [NAME COMMAND... ';']...  */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "host/isolation/isolation.h"

enum { RIVALS_MAX = 16, ROUNDS_MAX = 2000 };

struct series {
    const char *name;
    char **argv; /* NULL: the core */
    unsigned flags;
    unsigned idle_ms;
    double us[ROUNDS_MAX];
};

static struct series all[RIVALS_MAX];
static double teardown[ROUNDS_MAX], paused[ROUNDS_MAX];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_start: %s: %s\n", what, why);
    exit(1);
}

/* Debian's crun refuses a machine that has both kinds of cgroups: crun and runc are started from a
 * namespace of mounts without the second. Entering it is not timed. */
static int own_mounts = -1, hidden_mounts = -1;

static void hide_unified(void)
{
    own_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (own_mounts < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("mount namespace", "can't be had");
    (void)umount2("/sys/fs/cgroup/unified", MNT_DETACH); /* not there: nothing to hide */
    hidden_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (setns(own_mounts, CLONE_NEWNS) < 0)
        die("mount namespace", "no way back");
}

static void enter(int mounts)
{
    if (setns(mounts, CLONE_NEWNS) < 0)
        die("mount namespace", "can't be entered");
}

static double run_command(const struct series *s)
{
    pid_t pid;
    int status;
    int is_hidden = strcmp(s->name, "crun") == 0 || strcmp(s->name, "runc") == 0;
    if (is_hidden)
        enter(hidden_mounts);
    double began = now_us();
    if (posix_spawn(&pid, s->argv[0], NULL, NULL, s->argv, environ) != 0)
        die(s->argv[0], "can't be run");
    waitpid(pid, &status, 0);
    double took = now_us() - began;
    if (is_hidden)
        enter(own_mounts);
    if (status != 0)
        die(s->name, "failed");
    return took;
}

static void fill(struct iso_spec *s, const char *const *layers, unsigned flags)
{
    static const char *const argv[] = { "/bin/true", NULL };
    static const char *const env[] = { "PATH=/bin", NULL };
    *s = (struct iso_spec){
        .name = "bench",
        .flags = flags,
        .layers = layers,
        .n_layers = 1,
        .root_bytes = 16 << 20,
        .root_inodes = 4096,
        .n_ids = 65536,
        .limits = { .memory_bytes = 64 << 20,
                    .pids = 64,
                    .cpu_quota_us = 100000,
                    .cpu_period_us = 100000 },
        .process = { .argv = argv, .envp = env, .cwd = "/", .umask = 022, .stdio = { 0, 1, 2 } },
    };
}

static double run_core(struct iso_engine *e, const char *layer, const struct series *s,
                       double *down)
{
    const char *layers[] = { layer };
    struct iso_spec spec;
    struct iso_container *c = NULL;
    struct iso_exit end;
    struct cyx_err err = { 0 };
    fill(&spec, layers, s->flags);
    double began = now_us();
    if (iso_engine_claim_ids(e, spec.name, &spec.host_ids, &err) < 0 ||
        iso_create(e, &spec, NULL, &c, &err) < 0 || iso_wait(c, -1, &end, &err) < 0)
        die(s->name, err.msg);
    double took = now_us() - began;
    if (end.end != ISO_END_EXIT || end.code != 0 || iso_destroy(c, &err) < 0)
        die(s->name, "failed");
    *down = now_us() - began - took;
    return took;
}

/* Pause and resume of one container that sleeps. */
static double pause_once(struct iso_engine *e, const char *layer)
{
    static const char *const argv[] = { "/bin/sleep", "100", NULL };
    const char *layers[] = { layer };
    struct iso_spec spec;
    struct iso_container *c = NULL;
    struct cyx_err err = { 0 };
    fill(&spec, layers, 0);
    spec.process.argv = argv;
    if (iso_engine_claim_ids(e, spec.name, &spec.host_ids, &err) < 0 ||
        iso_create(e, &spec, NULL, &c, &err) < 0)
        die("pause", err.msg);
    double began = now_us();
    if (iso_pause(c, &err) < 0 || iso_resume(c, &err) < 0)
        die("pause", err.msg);
    double took = now_us() - began;
    if (iso_destroy(c, &err) < 0)
        die("pause", err.msg);
    return took;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, double *us, int n, const char *end)
{
    qsort(us, (size_t)n, sizeof *us, compare);
    printf("\"%s\": [%.0f, %.0f, %.0f]%s", name, us[n / 2], us[0], us[n * 9 / 10], end);
}

static int read_rivals(int argc, char **argv, int n)
{
    for (int i = 4; i < argc && n < RIVALS_MAX; n++) {
        all[n].name = argv[i++];
        all[n].argv = &argv[i];
        while (i < argc && strcmp(argv[i], ";") != 0)
            i++;
        if (i < argc)
            argv[i++] = NULL;
    }
    return n;
}

static void idle(unsigned ms)
{
    if (ms > 0)
        nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

int main(int argc, char **argv)
{
    struct iso_engine *e;
    struct cyx_err err = { 0 };
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (rounds < 3 || rounds > ROUNDS_MAX)
        die("usage", "STATE LAYER ROUNDS [NAME COMMAND... ';']...");
    hide_unified();
    if (iso_engine_open(&e, argv[1], &err) < 0)
        die("engine", err.msg);
    all[0] = (struct series){ .name = "core" };
    all[1] = (struct series){ .name = "core_proc_pids", .flags = ISO_PROC_PIDS };
    all[2] = (struct series){ .name = "core_after_100_ms", .idle_ms = 100 };
    int n = read_rivals(argc, argv, 3);
    for (int r = -2; r < rounds; r++) { /* two that don't count */
        for (int i = 0; i < n; i++) {
            double down = 0, us;
            idle(all[i].idle_ms);
            us = all[i].argv != NULL ? run_command(&all[i]) : run_core(e, argv[2], &all[i], &down);
            if (r >= 0)
                all[i].us[r] = us;
            if (r >= 0 && i == 0)
                teardown[r] = us + down;
        }
        if (r >= 0)
            paused[r] = pause_once(e, argv[2]);
    }
    printf("{");
    for (int i = 0; i < n; i++)
        print(all[i].name, all[i].us, rounds, ", ");
    print("core_with_teardown", teardown, rounds, ", ");
    print("pause_and_resume", paused, rounds, "}\n");
    iso_engine_close(e);
    return 0;
}
