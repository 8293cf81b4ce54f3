/* tests/unit/host_isolation/rig.h - an engine with a state folder of its own and an image that is
 * busybox alone; what a test must leave as it found it. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "host/isolation/isolation.h"

struct rig {
    char folder[32];
    char layer[48], state[48];
    const char *layers[1];
    const char *argv[6];
    struct iso_engine *engine;
    struct iso_spec spec;
    struct cyx_err err;
};

/* False, with the reason printed, where containers can't be had (no root, no busybox). */
bool rig_open(struct rig *r);
void rig_close(struct rig *r);

/* The specification's process is `sh -c SCRIPT`. */
void rig_script(struct rig *r, const char *script);

int count_fds(void);
int count_mounts(void);
/* Folders named `name` in any cgroup hierarchy of this process. */
int count_groups(const char *name);
