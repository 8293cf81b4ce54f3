/* base/uv/env_uv.h - the environment of the daemon: libuv, the kernel's sockets with GSO and GRO
 * where they work, LMDB, a thread pool. One for each worker thread. */
#pragma once
#include "base/env.h"

struct env_uv_options {
    const char *data_dir; /* folder for stores and blobs: must exist, ours, mode 0700. Its files
                             must be ours with mode 0600. NULL: kv_open and blob_* fail with
                             CYX_EUNSUPPORTED */
    struct log *log;      /* borrowed; may be NULL */
    struct env *share_stores_with; /* another environment of this process: its data folder is used
                                      when data_dir is NULL; may be NULL. Environments of one
                                      process with one folder share open stores in any case (LMDB
                                      allows a file only once in a process) */
};

/* Creates an environment with a loop of its own. NULL with `err`. The first one in a process also
 * ignores SIGPIPE and takes UV_THREADPOOL_SIZE out of the environment.
 * The threads of the pool are started by the first work, commit or blob store, never here: what
 * restricts the calling thread alone (Landlock) must come before those to hold for the pool. */
struct env *env_uv_create(const struct env_uv_options *o, struct cyx_err *err);
/* Everything opened from it must be closed before; a handle left open ends the process with its
 * type in the log. Commits and blob stores under way are finished, work that has not started is
 * cancelled, posts that wait are run. A post that comes after this began is the caller's bug: join
 * the threads that post first. NULL is fine. */
void env_uv_destroy(struct env *e);

/* Runs until env_uv_stop; closes nothing. */
void env_uv_run(struct env *e);
/* Makes env_uv_run return after this turn. From the loop, or through env_post. */
void env_uv_stop(struct env *e);

/* Takes the data folder for this process: an flock on `lock` in it, held until the process ends.
 * CYX_EBUSY names the pid of the holder; CYX_EPERM, CYX_ENOENT say what to do. */
CYX_MUST_USE int env_uv_lock_data_dir(const char *dir, struct cyx_err *err);

/* Calls fn(arg) on the loop for each arrival of `signum`. At most 8. */
CYX_MUST_USE int env_uv_on_signal(struct env *e, int signum, env_fn fn, void *arg,
                                  struct cyx_err *err);
/* The uv_loop_t, for code that must watch a descriptor of its own (node/ only). */
void *env_uv_loop(struct env *e);
