#include <signal.h>

#include "rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

static struct iso_exit run(struct rig *r, const char *script)
{
    struct iso_container *c = NULL;
    struct iso_exit end = { .end = ISO_END_UNKNOWN };
    rig_script(r, script);
    cr_assert_eq(iso_create(r->engine, &r->spec, NULL, &c, &r->err), 0, "%s", r->err.msg);
    cr_expect_eq(iso_wait(c, 20000, &end, &r->err), 0, "%s", r->err.msg);
    cr_expect_eq(iso_destroy(c, &r->err), 0, "%s", r->err.msg);
    return end;
}

/* Reads up to a line from a descriptor, at most `cap` - 1 bytes. */
static void read_text(int fd, char *buf, size_t cap)
{
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < cap - 1 && (n == 0 || buf[n - 1] != '\n');
         n += got > 0 ? (size_t)got : 0)
        got = read(fd, buf + n, 1);
    buf[n] = '\0';
}

Test(isolation, reports_exit_signal_and_oom)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_exit end = run(&r, "exit 7");
    cr_expect(end.end == ISO_END_EXIT && end.code == 7);
    end = run(&r, "sh -c 'kill -9 $$'; exit $?");
    cr_expect(end.end == ISO_END_EXIT && end.code == 137);
    r.spec.limits.memory_bytes = 4 << 20;
    end = run(&r, "x=x; while true; do x=$x$x; done");
    cr_expect(end.end == ISO_END_OOM, "%d %d", end.end, end.code);
    rig_close(&r);
}

Test(isolation, says_what_could_not_be_run_and_leaves_nothing)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    int fds = count_fds();
    r.argv[0] = "no-such-program";
    cr_expect_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), CYX_ENOENT);
    cr_expect(strstr(r.err.msg, "no-such-program") != NULL, "%s", r.err.msg);
    cr_expect_eq(count_groups("unit"), 0);
    cr_expect_eq(count_fds(), fds);
    cr_expect_eq(iso_adopt(r.engine, "unit", &c, &r.err), CYX_ENOENT);
    rig_close(&r);
}

Test(isolation, holds_until_started_also_when_adopted)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL, *again = NULL;
    struct iso_exit end;
    rig_script(&r, "exit 3");
    r.spec.flags |= ISO_HOLD;
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    cr_expect_eq(iso_container_status(c), ISO_CREATED);
    cr_expect_eq(iso_wait(c, 50, &end, &r.err), CYX_ETIMEDOUT);
    cr_assert_eq(iso_adopt(r.engine, "unit", &again, &r.err), 0);
    cr_expect_eq(iso_container_status(again), ISO_CREATED);
    cr_expect_eq(iso_start(again, &r.err), 0, "%s", r.err.msg);
    cr_expect_eq(iso_start(again, &r.err), CYX_EINVAL);
    cr_expect_eq(iso_wait(c, 20000, &end, &r.err), 0);
    cr_expect(end.end == ISO_END_EXIT && end.code == 3);
    iso_container_close(again);
    cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
    rig_close(&r);
}

Test(isolation, a_held_one_that_cannot_be_run_says_so_when_started)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    struct iso_exit end;
    r.argv[0] = "no-such-program";
    r.spec.flags |= ISO_HOLD;
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    cr_expect_eq(iso_start(c, &r.err), CYX_ENOENT, "%s", r.err.msg);
    cr_expect_eq(iso_wait(c, 20000, &end, &r.err), 0);
    cr_expect(end.end == ISO_END_EXIT && end.code == 127);
    cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
    rig_close(&r);
}

Test(isolation, pauses_and_goes_on)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    struct iso_stats before, after;
    rig_script(&r, "while true; do :; done");
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    cr_assert_eq(iso_pause(c, &r.err), 0, "%s", r.err.msg);
    cr_expect_eq(iso_container_status(c), ISO_PAUSED);
    iso_stats(c, &before, &r.err);
    nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
    iso_stats(c, &after, &r.err);
    cr_expect_eq(before.cpu_ns, after.cpu_ns);
    cr_assert_eq(iso_resume(c, &r.err), 0, "%s", r.err.msg);
    cr_expect_eq(iso_container_status(c), ISO_RUNNING);
    do
        iso_stats(c, &after, &r.err);
    while (after.cpu_ns <= before.cpu_ns);
    cr_expect_eq(iso_pause(c, &r.err), 0);
    cr_expect_eq(iso_destroy(c, &r.err), 0, "paused: %s", r.err.msg);
    rig_close(&r);
}

static struct iso_exit run_inside(struct rig *r, struct iso_container *c, const char *script,
                                  bool tty, char *said, size_t cap)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct iso_process p = r->spec.process;
    struct iso_exit end = { .end = ISO_END_UNKNOWN };
    struct iso_exec *x = NULL;
    int pipes[2];
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    p.argv = argv;
    p.stdio[1] = pipes[1];
    cr_assert_eq(iso_exec(c, &p, tty, NULL, &x, &r->err), 0, "%s", r->err.msg);
    close(pipes[1]);
    cleanup_close int master = iso_exec_tty(x);
    cr_expect_eq(master >= 0, tty);
    read_text(tty ? master : pipes[0], said, cap);
    close(pipes[0]);
    cr_expect(iso_exec_pid(x) > 0);
    cr_expect_eq(iso_exec_wait(x, 20000, &end, &r->err), 0, "%s", r->err.msg);
    iso_exec_close(x);
    return end;
}

Test(isolation, runs_more_processes_inside_with_the_same_walls)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    char said[128];
    rig_script(&r, "sleep 100");
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    int fds = count_fds();
    struct iso_exit end =
        run_inside(&r, c, "grep -c '^Cap.*0000000000000000' /proc/self/status; exit 5", false, said,
                   sizeof said);
    cr_expect_str_eq(said, "5\n");
    cr_expect(end.end == ISO_END_EXIT && end.code == 5);
    run_inside(&r, c, "cat /proc/1/comm", false, said, sizeof said);
    cr_expect_str_eq(said, "sleep\n");
    run_inside(&r, c, "grep Seccomp: /proc/self/status", false, said, sizeof said);
    cr_expect_str_eq(said, "Seccomp:\t2\n");
    run_inside(&r, c, "tty", true, said, sizeof said);
    cr_expect_str_eq(said, "/dev/pts/0\r\n");
    run_inside(&r, c, "cat /proc/self/cgroup | grep -c ':/$'", false, said, sizeof said);
    cr_expect_str_neq(said, "0\n");
    cr_expect_eq(count_fds(), fds);
    cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
    rig_close(&r);
}

Test(isolation, the_first_process_gets_a_terminal)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    char said[128];
    rig_script(&r, "tty; cat /dev/console >/dev/null & exit 0");
    r.spec.flags |= ISO_TTY;
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    cleanup_close int master = iso_container_tty(c);
    cr_assert(master >= 0);
    read_text(master, said, sizeof said);
    cr_expect_str_eq(said, "/dev/pts/0\r\n");
    cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
    rig_close(&r);
}

Test(isolation, a_socket_made_inside_reaches_what_listens_there)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    struct iso_container *c = NULL;
    char said[64] = "";
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(8080) };
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    rig_script(&r, "echo hello | nc -l -p 8080");
    cr_assert_eq(iso_create(r.engine, &r.spec, NULL, &c, &r.err), 0, "%s", r.err.msg);
    int rc = -1;
    for (int i = 0; i < 2000 && rc < 0; i++) {
        cleanup_close int fd = iso_container_socket(c, AF_INET, SOCK_STREAM, 0, &r.err);
        cr_assert(fd >= 0, "%s", r.err.msg);
        rc = connect(fd, (struct sockaddr *)&to, sizeof to);
        if (rc == 0)
            read_text(fd, said, sizeof said);
        else
            nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    cr_expect_str_eq(said, "hello\n");
    cleanup_close int ours = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(connect(ours, (struct sockaddr *)&to, sizeof to), -1,
                 "the host's own network has it");
    cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
    rig_close(&r);
}

Test(isolation, a_hundred_starts_leave_nothing, .timeout = 100)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    int fds = 0, mounts = count_mounts();
    for (int i = 0; i < 100; i++) {
        run(&r, i % 2 != 0 ? "sleep 100 & sleep 100 & exit 0" : "true");
        if (i == 0)
            fds = count_fds();
    }
    cr_expect_eq(count_fds(), fds);
    cr_expect_eq(count_mounts(), mounts);
    cr_expect_eq(count_groups("unit"), 0);
    rig_close(&r);
}

/* One launcher that is killed `us` after it began; it leaves a container behind that runs, or any
 * stage before. */
static void launch_and_die(struct rig *r, long us)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct iso_engine *e = NULL;
        struct iso_container *c = NULL;
        if (iso_engine_open(&e, r->state, NULL) == 0 &&
            iso_create(e, &r->spec, NULL, &c, NULL) == 0)
            pause();
        _exit(0);
    }
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(isolation, a_killed_launcher_leaves_what_the_next_takes_away, .timeout = 100)
{
    struct rig r;
    if (!rig_open(&r))
        return;
    int mounts = count_mounts();
    for (long i = 0; i < 60; i++) {
        struct iso_container *c = NULL;
        rig_script(&r, "sleep 1000");
        launch_and_die(&r, i * 150);
        cr_expect(iso_engine_sweep(r.engine, &r.err) >= 0, "%s", r.err.msg);
        if (iso_adopt(r.engine, "unit", &c, &r.err) == 0) /* it was whole: it may live on, or end */
            cr_expect_eq(iso_destroy(c, &r.err), 0, "%s", r.err.msg);
        cr_expect_eq(count_groups("unit"), 0, "after %ld us", i * 150);
        cr_expect_eq(iso_adopt(r.engine, "unit", &c, &r.err), CYX_ENOENT);
    }
    cr_expect_eq(count_mounts(), mounts);
    rig_close(&r);
}
