/* host/isolation/internal.h - structures of the parent's side. */
#pragma once
#include <linux/filter.h>
#include <unistd.h>

#include "host/isolation/cgroup.h"
#include "host/isolation/isolation.h"
#include "host/isolation/plan.h"

/* Descriptors whose closing takes a mount down and so waits for an RCU grace period, 0.1 ms and
 * much more on a busy machine: kept until the container's handle goes, off the path of start and
 * exit. */
struct iso__late {
    int fd[ISO_LAYERS_MAX + 4];
    unsigned n;
};

struct iso_engine {
    int state; /* the state folder */
    int proc;  /* the host's procfs, its magic checked */
    int dev;   /* template of /dev, a detached mount: cloned for each container */
    struct iso_features features;
    struct iso__layout layout;
    struct sock_fprog filter;
};

struct iso_container {
    struct iso_engine *engine; /* borrowed */
    char name[ISO_NAME_MAX + 1];
    int pidfd;
    pid_t pid;
    uint64_t started; /* field 22 of /proc/PID/stat: tells a pid from its next owner */
    uint32_t host_ids, n_ids;
    int tty;
    int hear; /* of a held one that this process made: what its child says at exec */
    int hold; /* FIFO's write side, or -1 */
    bool is_held;
    bool is_reaped;
    struct iso_exit exit;
    struct iso__groups groups;
    struct iso__late late;
    struct iso__plan *plan; /* while held by this process: the child runs on it */
    void *stack;
};

enum { ISO__STACK_BYTES = 128 * 1024 };

/* parent.c: the launch as the parent sees it. Makes child and mounts; `c` has name and groups. */
int iso__launch(struct iso_container *c, const struct iso_spec *spec,
                const struct sock_fprog *filter, struct cyx_err *err);
/* Reads what the child says: 'R' (ready, when `held`), the end of file (exec'ed) or a failure. */
int iso__hear(struct iso__plan *p, int pipe, int pidfd, struct cyx_err *err);
struct iso__plan *iso__plan_make(const struct sock_fprog *filter, struct cyx_err *err);
void iso__plan_free(struct iso__plan *p);
const char *iso__step_name(uint32_t step);

long iso__clone_exec(struct iso_container *c, struct iso__plan *p, int *pidfd);
int iso__wait_pidfd(int pidfd, int timeout_ms, struct iso_exit *out, struct cyx_err *err);

/* root.c: detached mounts. Each returns a descriptor or a negative code. */
int iso__root_make(const struct iso_spec *s, int userns, int *shm, struct iso__late *late,
                   struct cyx_err *err);
int iso__dev_template(struct cyx_err *err);
int iso__bind_make(const struct iso_mount *m, int userns, struct cyx_err *err);

static inline void iso__late_add(struct iso__late *l, int fd)
{
    if (fd >= 0 && l->n < sizeof l->fd / sizeof l->fd[0])
        l->fd[l->n++] = fd;
    else if (fd >= 0)
        close(fd);
}

/* state.c: what is on disk. */
int iso__state_begin(struct iso_container *c, struct cyx_err *err); /* CYX_EEXIST */
int iso__state_write(struct iso_container *c, struct cyx_err *err);
int iso__state_read(struct iso_container *c, struct cyx_err *err);
int iso__state_fifo(struct iso_container *c, struct cyx_err *err); /* makes, returns O_RDWR */
int iso__state_open_fifo(struct iso_container *c);                 /* O_WRONLY or -1 */
void iso__state_started(struct iso_container *c);
void iso__state_remove(struct iso_container *c);
/* Gives a claim back unless a container of that name is there. */
void iso__ids_release(struct iso_engine *e, const char *name, uint32_t first);
void iso__ids_sweep(struct iso_engine *e); /* claims that nothing came of */

/* procfs.c: through the engine's own descriptor. */
int iso__proc_write(struct iso_engine *e, pid_t pid, const char *name, const char *text,
                    struct cyx_err *err);
uint64_t iso__proc_started(struct iso_engine *e, pid_t pid); /* 0: no such process */
int iso__proc_open(struct iso_engine *e, pid_t pid, const char *name, int flags);
