/* node/workers.h - the threads that move packets: each has an environment and a mesh of its own,
 * all together are one node (mesh/worker.h). Worker 0 is the caller's thread. Functions here are
 * called on that thread unless they say otherwise. */
#pragma once
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/mesh.h"

struct workers;

enum {
    WORKERS_MAX = 64,
    WORKERS_MESSAGES_MAX = 4096 /* on their way to one worker; more are lost and counted */
};

/* Creates `n` environments over one data folder, no thread yet. NULL with `err`. */
struct workers *workers_create(const char *data_dir, struct log *log, unsigned n,
                               struct cyx_err *err);
/* Creates and starts all meshes from `c` (its identity, listening address and sizes are the whole
 * node's), in order of their numbers, then lets the threads run. Threads inherit what restricts the
 * caller. On failure some may run: workers_stop ends them as well. */
CYX_MUST_USE int workers_open(struct workers *w, const struct mesh_config *c, struct cyx_err *err);
/* After it: peers' requests of `method` are worker 0's to serve, whichever worker has the peer
 * (mesh/worker.h, mesh_hand_requests). */
void workers_hand_requests(struct workers *w, unsigned method);
/* Stops all meshes, then the other threads' loops; `done` from worker 0's loop. */
void workers_stop(struct workers *w, env_fn done, void *arg);
/* Joins the threads (workers_stop must be over, or workers_open never called), destroys meshes and
 * environments. Posts that wait are run: workers_mesh is NULL then. NULL is fine. */
void workers_destroy(struct workers *w);

/* From any thread. */
unsigned workers_len(const struct workers *w);
struct env *workers_env(const struct workers *w, unsigned number);
/* On that worker's thread only. NULL before workers_open and at the end. */
struct mesh *workers_mesh(const struct workers *w, unsigned number);
/* Messages lost because a worker had too many to read, of all workers. */
uint64_t workers_lost(const struct workers *w);
