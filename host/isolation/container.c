#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

static struct iso_container *container_new(struct iso_engine *e, const char *name)
{
    struct iso_container *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->engine = e;
    c->pidfd = c->tty = c->hold = c->hear = -1;
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++)
        c->groups.fd[h] = -1;
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

void iso_container_close(struct iso_container *c)
{
    if (c == NULL)
        return;
    int fds[] = { c->pidfd, c->tty, c->hold, c->hear };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    iso__groups_close(&c->groups);
    while (c->late.n > 0)
        close(c->late.fd[--c->late.n]);
    /* While a child still runs on them, plan and stack stay mapped until this process ends. */
    bool in_use = c->is_held && iso__proc_started(c->engine, c->pid) == c->started;
    if (!in_use) {
        iso__plan_free(c->plan);
        if (c->stack != NULL)
            munmap(c->stack, ISO__STACK_BYTES);
    }
    free(c);
}

/* Undoes a launch that failed; its process has ended. */
static void undo(struct iso_container *c)
{
    (void)iso__groups_kill(&c->groups, NULL);
    (void)iso__groups_remove(&c->groups, NULL);
    iso__state_remove(c);
    c->is_held = false;
    iso_container_close(c);
}

static int make(struct iso_container *c, const struct iso_spec *spec,
                const struct sock_fprog *filter, struct cyx_err *err)
{
    int rc = iso__groups_make_first(&c->engine->layout, &c->groups, err);
    if (rc == 0 && (spec->flags & ISO_HOLD) != 0)
        rc = c->hold = iso__state_fifo(c, err);
    rc = rc < 0 ? rc : iso__launch(c, spec, filter, err);
    if (rc < 0)
        return rc;
    c->started = iso__proc_started(c->engine, c->pid);
    return iso__state_write(c, err);
}

int iso_create(struct iso_engine *e, const struct iso_spec *spec, const struct sock_fprog *filter,
               struct iso_container **out, struct cyx_err *err)
{
    int rc = iso_spec_check(spec, err);
    if (rc < 0) {
        iso__ids_release(e, spec->name, spec->host_ids);
        return rc;
    }
    struct iso_container *c = container_new(e, spec->name);
    if (c == NULL)
        return cyx_fail(err, CYX_ENOMEM, "container");
    c->host_ids = spec->host_ids;
    c->n_ids = spec->n_ids;
    rc = iso__groups_name(&e->layout, &c->groups, c->name, spec, err);
    rc = rc < 0 ? rc : iso__state_begin(c, err);
    if (rc < 0) {
        iso_container_close(c);
        iso__ids_release(e, spec->name, spec->host_ids);
        return rc;
    }
    /* Held while it is being made: a sweep beside us leaves it alone; the kernel lets go of it when
     * this process dies. */
    cleanup_close int lock = openat(e->state, c->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        rc = cyx_fail(err, CYX_EBUSY, "container %s: %s", c->name, strerror(errno));
    rc = rc < 0 ? rc : make(c, spec, filter != NULL ? filter : &e->filter, err);
    if (rc < 0) {
        undo(c);
        return rc;
    }
    *out = c;
    return 0;
}

int iso_start(struct iso_container *c, struct cyx_err *err)
{
    if (!c->is_held)
        return cyx_fail(err, CYX_EINVAL, "container %s: started before", c->name);
    if (iso_container_status(c) == ISO_STOPPED)
        return cyx_fail(err, CYX_ECLOSED, "container %s: ended before it was started", c->name);
    cleanup_close int fifo = iso__state_open_fifo(c);
    if (fifo < 0 || write(fifo, "1", 1) != 1)
        return cyx_fail(err, CYX_EIO, "container %s: FIFO: %s", c->name, strerror(errno));
    c->is_held = false;
    int rc = 0;
    if (c->plan != NULL) { /* ours: wait for exec, then nothing runs on the plan any more */
        rc = iso__hear(c->plan, c->hear, c->pidfd, err);
        close(steal_fd(&c->hear));
    }
    iso__state_started(c);
    return rc < 0 ? rc : 0;
}

int iso_adopt(struct iso_engine *e, const char *name, struct iso_container **out,
              struct cyx_err *err)
{
    if (!iso_name_ok(name))
        return cyx_fail(err, CYX_EINVAL, "name: not a container's");
    struct iso_container *c = container_new(e, name);
    if (c == NULL)
        return cyx_fail(err, CYX_ENOMEM, "container");
    int rc = iso__state_read(c, err);
    if (rc < 0) {
        iso_container_close(c);
        return rc;
    }
    iso__groups_open(&c->groups);
    if (c->pid > 0) {
        c->pidfd = (int)sys_2(SYS_pidfd_open, c->pid, 0);
        /* The descriptor first, then the look: a pid that was given away is seen. */
        if (c->started == 0 || iso__proc_started(e, c->pid) != c->started) {
            if (c->pidfd >= 0)
                close(c->pidfd);
            c->pidfd = -1;
        }
    }
    c->pidfd = c->pidfd < 0 ? -1 : c->pidfd;
    *out = c;
    return 0;
}

static bool has_ended(const struct iso_container *c)
{
    struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
    return c->pidfd < 0 || c->is_reaped || poll(&p, 1, 0) != 0;
}

enum iso_status iso_container_status(struct iso_container *c)
{
    if (has_ended(c))
        return ISO_STOPPED;
    if (iso__groups_frozen(&c->groups))
        return ISO_PAUSED;
    return c->is_held ? ISO_CREATED : ISO_RUNNING;
}

const char *iso_container_name(const struct iso_container *c)
{
    return c->name;
}

pid_t iso_container_pid(const struct iso_container *c)
{
    return has_ended(c) ? 0 : c->pid;
}

int iso_container_pidfd(const struct iso_container *c)
{
    return c->pidfd;
}

int iso_container_tty(struct iso_container *c)
{
    return steal_fd(&c->tty);
}

int iso__wait_pidfd(int pidfd, int timeout_ms, struct iso_exit *out, struct cyx_err *err)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    siginfo_t info = { 0 };
    int n;
    do
        n = poll(&p, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return cyx_fail(err, CYX_ETIMEDOUT, "still running");
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0) {
        *out = (struct iso_exit){ .end = ISO_END_UNKNOWN };
        return 0;
    }
    *out = (struct iso_exit){ .end = info.si_code == CLD_EXITED ? ISO_END_EXIT : ISO_END_SIGNAL,
                              .code = info.si_status };
    return 0;
}

int iso_wait(struct iso_container *c, int timeout_ms, struct iso_exit *out, struct cyx_err *err)
{
    if (!c->is_reaped) {
        struct iso_exit end = { .end = ISO_END_UNKNOWN };
        struct iso_stats stats;
        int rc = c->pidfd < 0 ? 0 : iso__wait_pidfd(c->pidfd, timeout_ms, &end, err);
        if (rc < 0)
            return rc;
        if (end.end == ISO_END_SIGNAL && end.code == SIGKILL &&
            iso__groups_stats(&c->groups, &stats) == 0 && stats.oom_kills > 0)
            end.end = ISO_END_OOM;
        c->is_reaped = true;
        c->exit = end;
    }
    *out = c->exit;
    return 0;
}

int iso_signal(struct iso_container *c, int sig, enum iso_whom whom, struct cyx_err *err)
{
    pid_t pids[4096];
    if (sig < 0 || sig > 64)
        return cyx_fail(err, CYX_EINVAL, "signal %d", sig);
    if (whom == ISO_ALL && sig == SIGKILL)
        return iso__groups_kill(&c->groups, err);
    if (whom == ISO_ALL) {
        int n = iso__groups_pids(&c->groups, pids, 4096);
        for (int i = 0; i < n && i < 4096; i++)
            kill(pids[i], sig);
        return n < 0 ? cyx_fail(err, CYX_EIO, "cgroup.procs: %s", strerror(errno)) : 0;
    }
    if (has_ended(c))
        return cyx_fail(err, CYX_ECLOSED, "container %s has ended", c->name);
    long rc = sys_4(SYS_pidfd_send_signal, c->pidfd, sig, 0, 0);
    return rc < 0 ? cyx_fail(err, CYX_ECLOSED, "signal %d: %s", sig, strerror((int)-rc)) : 0;
}

int iso_pause(struct iso_container *c, struct cyx_err *err)
{
    struct cyx_err local = { 0 };
    if (has_ended(c))
        return cyx_fail(err, CYX_ECLOSED, "container %s has ended", c->name);
    return iso__groups_freeze(&c->groups, true, err != NULL ? err : &local);
}

int iso_resume(struct iso_container *c, struct cyx_err *err)
{
    struct cyx_err local = { 0 };
    if (has_ended(c))
        return cyx_fail(err, CYX_ECLOSED, "container %s has ended", c->name);
    return iso__groups_freeze(&c->groups, false, err != NULL ? err : &local);
}

int iso_stats(struct iso_container *c, struct iso_stats *out, struct cyx_err *err)
{
    int rc = iso__groups_stats(&c->groups, out);
    return rc < 0 ? cyx_fail(err, rc, "stats of %s", c->name) : 0;
}

int iso_pids(struct iso_container *c, pid_t *out, size_t cap, struct cyx_err *err)
{
    int n = iso__groups_pids(&c->groups, out, cap);
    return n < 0 ? cyx_fail(err, CYX_EIO, "cgroup.procs: %s", strerror(errno)) : n;
}

int iso_container_socket(struct iso_container *c, int domain, int type, int protocol,
                         struct cyx_err *err)
{
    cleanup_close int home = openat(c->engine->proc, "thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || has_ended(c))
        return cyx_fail(err, CYX_ECLOSED, "container %s has ended", c->name);
    if (setns(c->pidfd, CLONE_NEWNET) < 0)
        return cyx_fail(err, CYX_EIO, "network namespace: %s", strerror(errno));
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    int saved = errno;
    if (setns(home, CLONE_NEWNET) < 0)
        abort(); /* a daemon in a stranger's network: nothing after this could be right */
    return fd >= 0 ? fd : cyx_fail(err, CYX_EIO, "socket: %s", strerror(saved));
}

int iso_destroy(struct iso_container *c, struct cyx_err *err)
{
    struct iso_exit end;
    int rc = iso__groups_kill(&c->groups, err);
    if (rc < 0)
        return rc;
    if (c->pidfd >= 0)
        (void)iso_wait(c, 1000, &end, NULL);
    rc = iso__groups_remove(&c->groups, err);
    if (rc < 0)
        return rc;
    iso__state_remove(c);
    c->is_held = false;
    iso_container_close(c);
    return 0;
}
