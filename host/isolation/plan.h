/* host/isolation/plan.h - what parent and child share while a container is made. The child writes
 * nothing else: it runs on the parent's memory (CLONE_VM) and uses system calls without libc.
 * Internal to host/isolation. */
#pragma once
#include <linux/filter.h>
#include <stdatomic.h>
#include <stdint.h>

#include "host/isolation/filter.h"
#include "host/isolation/spec.h"

/* Steps of the child, for the message when one fails. */
enum iso__step {
    ISO__STEP_NONE,
    ISO__STEP_CGROUP,
    ISO__STEP_UNSHARE,
    ISO__STEP_WAIT,
    ISO__STEP_IDS,
    ISO__STEP_PRIVATE,
    ISO__STEP_PROC,
    ISO__STEP_SYS,
    ISO__STEP_PTS,
    ISO__STEP_ROOT,
    ISO__STEP_PIVOT,
    ISO__STEP_TARGET,
    ISO__STEP_MOUNT,
    ISO__STEP_DEV,
    ISO__STEP_MASK,
    ISO__STEP_READONLY,
    ISO__STEP_TTY,
    ISO__STEP_LO,
    ISO__STEP_NAME,
    ISO__STEP_SYSCTL,
    ISO__STEP_RLIMIT,
    ISO__STEP_KEYRING,
    ISO__STEP_LANDLOCK,
    ISO__STEP_CAPS,
    ISO__STEP_SECCOMP,
    ISO__STEP_CWD,
    ISO__STEP_JOIN,
    ISO__STEP_EXEC,
    ISO__N_STEPS
};

enum { ISO__CGROUPS_MAX = 10 };

enum iso__go { ISO__GO_WAIT, ISO__GO_ROOT /* the mounts are there */, ISO__GO_AWAY, ISO__GO_TTY };

struct iso__plan {
    _Atomic uint32_t go; /* parent to child: enum iso__go. A futex. */
    /* Child to parent, before it writes to `pipe`. */
    int32_t error; /* negative errno */
    uint32_t step; /* enum iso__step */
    char detail[96];
    int32_t tty;       /* the pty's master in the child's table; -1: none, 0: one is wanted */
    int32_t tty_taken; /* the parent's copy of it */
    int32_t pid;       /* exec: of the process that runs */

    /* Set before clone, not changed afterwards. */
    const struct iso_spec *spec; /* NULL for exec */
    const struct iso_process *process;
    struct sock_fprog filter;      /* of `insn`: a copy, as a held child outlives whoever made it */
    int pipe[2];                   /* child writes 'R' when ready; its end closes at exec */
    int hold;                      /* a FIFO to read one byte from before exec, or -1 */
    int cgroups[ISO__CGROUPS_MAX]; /* v1 `tasks` files to write "0" to */
    unsigned n_cgroups;
    uint32_t landlock_abi;
    uint32_t unshare_late; /* CLONE_NEW* that the child makes by itself, beside the parent's work */
    bool setgroups;        /* the map allows them */
    bool keeps_parent;     /* the child may outlive its parent (held, or adopted later) */

    /* Exec only. */
    int ns_pidfd;
    uint32_t ns_flags;

    /* Written by the parent before `go` becomes 1: descriptors of detached mounts. */
    int root;
    int dev;                   /* with null zero full random urandom tty */
    int shm;                   /* -1: none */
    int binds[ISO_MOUNTS_MAX]; /* for ISO_MOUNT_BIND */

    struct sock_filter insn[ISO_FILTER_INSNS_MAX];
};

/* Runs in the child; never returns. */
_Noreturn void iso__child(struct iso__plan *p);
_Noreturn void iso__child_exec(struct iso__plan *p);

/* Shared by both children. */
_Noreturn void iso__child_fail(struct iso__plan *p, enum iso__step step, long rc, const char *what);
void iso__child_confine(struct iso__plan *p, int proc_fd); /* everything from rlimits to seccomp */
_Noreturn void iso__child_run(struct iso__plan *p);        /* descriptors, cwd, exec */
void iso__child_tty(struct iso__plan *p, int pts);
void iso__child_wait(struct iso__plan *p, uint32_t while_it_is);

int iso__sysctl_allowed(const char *key);

/* Defences that a test takes out, to be seen to fail then. Only the library that tests link has
 * them (-DISO_TEST_SWITCHES): elsewhere this is a constant and the compiler drops the code. */
#ifdef ISO_TEST_SWITCHES
bool iso__weak(const char *defence);
#else
#define iso__weak(defence) false
#endif
