/* host/isolation/exec.c - one more process in a container. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"
#include "host/isolation/sys.h"

struct iso_exec {
    int pidfd;
    int tty;
    pid_t pid;
    struct iso_exit exit;
    bool is_reaped;
};

static pid_t pid_of(struct iso_engine *e, int pidfd)
{
    char path[48], buf[512];
    snprintf(path, sizeof path, "self/fdinfo/%d", pidfd);
    cleanup_close int fd = openat(e->proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : -1;
    if (n <= 0)
        return 0;
    buf[n] = '\0';
    const char *at = strstr(buf, "Pid:");
    return at != NULL ? (pid_t)strtol(at + 4, NULL, 10) : 0;
}

static int prepare(struct iso_container *c, const struct iso_process *process, bool tty,
                   struct iso__plan *p, struct cyx_err *err)
{
    p->process = process;
    p->landlock_abi = c->engine->features.landlock_abi;
    p->ns_pidfd = c->pidfd;
    p->ns_flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                  CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;
    p->keeps_parent = true;
    p->tty = tty ? 0 : -1;
    p->pid = -1;
    /* Where group lists are denied this fails by name: the map was made without. */
    p->setgroups = process->n_groups > 0;
    int n = iso__groups_joins(&c->groups, p->cgroups, ISO__CGROUPS_MAX, err);
    if (n < 0)
        return n;
    p->n_cgroups = (unsigned)n;
    return pipe2(p->pipe, O_CLOEXEC) < 0 ? cyx_fail(err, CYX_EIO, "pipe: %s", strerror(errno)) : 0;
}

static void reap(int pidfd)
{
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
}

/* The child that joins ends as soon as it has made the one that runs. */
static int join(struct iso_container *c, struct iso__plan *p, struct iso_exec *x,
                struct cyx_err *err)
{
    cleanup_close int in = p->pipe[0];
    cleanup_close int out = p->pipe[1];
    cleanup_close int helper = -1;
    long pid = iso__clone_exec(c, p, &helper);
    if (pid < 0)
        return cyx_fail(err, CYX_EIO, "clone3: %s", strerror((int)-pid));
    reap(helper); /* it has made the process, or told why not */
    x->pidfd = p->pid;
    int rc = p->pid < 0 ? iso__hear(p, in, helper, err) : iso__hear(p, in, x->pidfd, err);
    close(steal_fd(&out));
    if (rc == 1)
        rc = iso__hear(p, in, x->pidfd, err);
    if (rc < 0 && x->pidfd >= 0) {
        sys_4(SYS_pidfd_send_signal, x->pidfd, SIGKILL, 0, 0);
        reap(x->pidfd);
    }
    x->tty = p->tty_taken;
    return rc < 0 ? rc : 0;
}

int iso_exec(struct iso_container *c, const struct iso_process *process, bool tty,
             const struct sock_fprog *filter, struct iso_exec **out, struct cyx_err *err)
{
    int rc = iso_process_check(process, c->n_ids, err);
    if (rc < 0)
        return rc;
    enum iso_status status = iso_container_status(c);
    if (status == ISO_STOPPED || status == ISO_PAUSED)
        return cyx_fail(err, CYX_ECLOSED, "container %s: %s", c->name,
                        status == ISO_PAUSED ? "paused" : "has ended");
    struct iso_exec *x = calloc(1, sizeof *x);
    struct iso__plan *p =
        x != NULL ? iso__plan_make(filter != NULL ? filter : &c->engine->filter, err) : NULL;
    if (p == NULL) {
        free(x);
        return cyx_fail(err, CYX_ENOMEM, "exec");
    }
    x->pidfd = x->tty = -1;
    rc = prepare(c, process, tty, p, err);
    rc = rc < 0 ? rc : join(c, p, x, err);
    iso__plan_free(p);
    if (rc < 0) {
        iso_exec_close(x);
        return rc;
    }
    x->pid = pid_of(c->engine, x->pidfd);
    *out = x;
    return 0;
}

int iso_exec_wait(struct iso_exec *x, int timeout_ms, struct iso_exit *out, struct cyx_err *err)
{
    if (!x->is_reaped) {
        int rc = iso__wait_pidfd(x->pidfd, timeout_ms, &x->exit, err);
        if (rc < 0)
            return rc;
        x->is_reaped = true;
    }
    *out = x->exit;
    return 0;
}

int iso_exec_pidfd(const struct iso_exec *x)
{
    return x->pidfd;
}

pid_t iso_exec_pid(const struct iso_exec *x)
{
    return x->pid;
}

int iso_exec_tty(struct iso_exec *x)
{
    return steal_fd(&x->tty);
}

void iso_exec_close(struct iso_exec *x)
{
    if (x == NULL)
        return;
    if (x->pidfd >= 0)
        close(x->pidfd);
    if (x->tty >= 0)
        close(x->tty);
    free(x);
}
