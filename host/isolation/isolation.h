/* host/isolation/isolation.h - containers for strangers' code on this machine: make, run, stop, and
 * leave nothing. A library without threads or event loop: every call does its work and returns;
 * what takes time hands out a descriptor to poll. Root only. One engine for each state folder and
 * process. Page: docs/host-isolation.md. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/isolation/spec.h"

struct cyx_err;
struct iso_container;
struct iso_engine;
struct iso_exec;
struct sock_fprog;

/* What this machine has; what is missing is named, never assumed. */
struct iso_features {
    bool cgroup2;                        /* some cgroup v2 hierarchy: kill and freeze as one step */
    bool cgroup1;                        /* limits on v1 (hybrid machines have both) */
    bool memory, pids, cpu, io, devices; /* controllers that limits can use */
    uint32_t landlock_abi;               /* 0: none */
    bool is_sealed;                      /* this process runs from a sealed memfd */
    char missing[256];                   /* "memory: no controller; ..." or "" */
};

/* Opens the engine: finds what the machine has, makes the device template and the filter, and the
 * state folder (0700, made when missing). Returns 0 or CYX_EPERM (not root), CYX_EUNSUPPORTED (the
 * message names what is missing), CYX_EIO. Free with iso_engine_close(); containers live on. */
int iso_engine_open(struct iso_engine **out, const char *state_dir, struct cyx_err *err);
void iso_engine_close(struct iso_engine *e);
const struct iso_features *iso_engine_features(const struct iso_engine *e);

/* Takes away every container of the state folder whose launch was cut short or whose first process
 * is gone: processes, cgroups, folder. Containers that run are left for iso_adopt(). Returns how
 * many were taken away, or a negative code. */
int iso_engine_sweep(struct iso_engine *e, struct cyx_err *err);

/* Claims `n` ids of the host that no other container of this state folder has, for
 * iso_spec.host_ids (n is 65536). Released by iso_destroy(). `name` as in the specification. */
int iso_engine_claim_ids(struct iso_engine *e, const char *name, uint32_t *first,
                         struct cyx_err *err);

/* Makes a container and, without ISO_HOLD, runs its first process: on return that process has been
 * exec'ed. `filter`: another system call filter, NULL for the default one. On failure nothing is
 * left. The state is on disk before anything is made. Errors: CYX_EINVAL (specification),
 * CYX_EEXIST (the name), CYX_EIO with step and reason. */
int iso_create(struct iso_engine *e, const struct iso_spec *spec, const struct sock_fprog *filter,
               struct iso_container **out, struct cyx_err *err);

/* Lets a held container's process go. Works on an adopted container too. */
int iso_start(struct iso_container *c, struct cyx_err *err);

/* Finds a container by its state. CYX_ENOENT when there is none. */
int iso_adopt(struct iso_engine *e, const char *name, struct iso_container **out,
              struct cyx_err *err);

enum iso_status { ISO_CREATED, ISO_RUNNING, ISO_PAUSED, ISO_STOPPED };
enum iso_status iso_container_status(struct iso_container *c);
const char *iso_container_name(const struct iso_container *c);
pid_t iso_container_pid(const struct iso_container *c); /* on the host; 0 once it is gone */
int iso_container_pidfd(const struct iso_container *c); /* readable when it has ended; borrowed */
int iso_container_tty(struct iso_container *c); /* the pty's master, owned by the caller; or -1 */

/* Why a process ended. */
enum iso_end { ISO_END_EXIT, ISO_END_SIGNAL, ISO_END_OOM, ISO_END_UNKNOWN };
struct iso_exit {
    enum iso_end end; /* UNKNOWN: it was no child of this process (adopted) */
    int code;         /* exit status or signal */
};

/* Waits at most `timeout_ms` (-1: for ever) for the first process to end. CYX_ETIMEDOUT else. */
int iso_wait(struct iso_container *c, int timeout_ms, struct iso_exit *out, struct cyx_err *err);

/* Sends `sig` to the first process; with `all` to every process of the container. */
enum iso_whom { ISO_FIRST, ISO_ALL };
int iso_signal(struct iso_container *c, int sig, enum iso_whom whom, struct cyx_err *err);

/* Stops every process where it is, and lets them go on. Done when it returns. */
int iso_pause(struct iso_container *c, struct cyx_err *err);
int iso_resume(struct iso_container *c, struct cyx_err *err);

struct iso_stats {
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t memory_peak;
    uint64_t pids;
    uint64_t oom_kills;
    uint64_t throttled_ns;
};
int iso_stats(struct iso_container *c, struct iso_stats *out, struct cyx_err *err);

/* Runs one more process inside, under the same limits and filter. `tty`: with a pty of the
 * container's own. Free with iso_exec_close(), which does not end it. */
int iso_exec(struct iso_container *c, const struct iso_process *process, bool tty,
             const struct sock_fprog *filter, struct iso_exec **out, struct cyx_err *err);
int iso_exec_wait(struct iso_exec *x, int timeout_ms, struct iso_exit *out, struct cyx_err *err);
int iso_exec_pidfd(const struct iso_exec *x); /* borrowed */
pid_t iso_exec_pid(const struct iso_exec *x);
int iso_exec_tty(struct iso_exec *x); /* owned by the caller; -1 without */
void iso_exec_close(struct iso_exec *x);

/* The pids on the host of all processes inside; at most `cap`. Returns how many there are. */
int iso_pids(struct iso_container *c, pid_t *out, size_t cap, struct cyx_err *err);

/* A socket made inside the container's network namespace, close-on-exec: how the daemon reaches its
 * ports, and serves it a proxy. `domain`, `type`, `protocol` as for socket(). Returns a descriptor
 * owned by the caller, or a negative code. */
int iso_container_socket(struct iso_container *c, int domain, int type, int protocol,
                         struct cyx_err *err);

/* Ends everything inside, waits until all of it is gone, removes cgroups, ids and state, frees `c`.
 * On failure `c` stays, to be tried again. */
int iso_destroy(struct iso_container *c, struct cyx_err *err);

/* Frees the handle; the container stays as it is, to be adopted. NULL is fine. */
void iso_container_close(struct iso_container *c);

/* Goes on in a copy of this program that is a sealed memfd, unless it does already: whoever gets
 * hold of /proc/PID/exe of the runtime can then change nothing (CVE-2019-5736). Call first thing in
 * main(); returns 0 in the copy, a negative code when that can't be had. */
int iso_seal_self(char **argv, struct cyx_err *err);
bool iso_is_sealed(void);
