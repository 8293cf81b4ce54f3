/* tests/unit/uv/world.h - an environment on a folder of its own, and how tests wait. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/uv/env_uv.h"
#include "base/uv/env_uv_internal.h"

struct world {
    char dir[64];
    struct env *e;
};

struct world world_make(void);
/* Destroys the environment and makes a new one on the same folder. */
void world_reopen(struct world *w);
void world_end(struct world *w); /* removes the folder too */

/* Runs the loop until *count >= want. Fails the test after half a minute: a slow machine is fine, a
 * lost wake-up isn't. */
void run_until(struct env *e, const unsigned *count, unsigned want);
/* Runs a few turns, for things that must not happen. */
void run_turns(struct env *e, unsigned n);

/* DIR/name in a static buffer (four of them in turn). */
const char *world_path(const struct world *w, const char *name);
void write_file(const char *path, const void *data, size_t len, unsigned mode);

/* An env_done_fn: counts calls, keeps the last code. */
struct done {
    unsigned n;
    int code;
};
void note_done(void *arg, int code);
