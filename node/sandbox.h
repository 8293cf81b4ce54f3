/* node/sandbox.h - what the process may still do once it talks to strangers: a list of system calls
 * (seccomp) and of files (Landlock). Before any thread is started: threads inherit both. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { SANDBOX_PATHS_MAX = 16 };

struct sandbox_path {
    const char *path; /* a missing one is passed over */
    bool is_writable; /* may make, change and remove files below; else read only */
};

/* Landlock: afterwards only `n` paths can be opened. Returns the ABI in use, 0 when this kernel has
 * no Landlock, or a CYX_E*. */
int sandbox_files(const struct sandbox_path *paths, size_t n, struct cyx_err *err);

/* Seccomp: afterwards any call that is not on the list ends the process. 1, 0 when this kernel has
 * no seccomp filters, or a CYX_E*. Needs no_new_privs. */
int sandbox_calls(struct cyx_err *err);
