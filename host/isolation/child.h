/* host/isolation/child.h - the parts of a container's first process before exec. Internal. */
#pragma once
#include "host/isolation/plan.h"

struct iso__child_fds { /* detached mounts, then their roots; closed with everything before exec */
    int proc;
    int sys;
    int pts;
    int root;
};

/* Fails the launch when rc is a negative errno, returns it else. */
long iso__must(struct iso__plan *p, enum iso__step step, long rc, const char *what);
#define must(p, step, rc, what) iso__must(p, step, (long)(rc), what)

void iso__child_filesystems(struct iso__plan *p, struct iso__child_fds *fds);
void iso__child_mounts(struct iso__plan *p, struct iso__child_fds *fds);
void iso__child_cover(struct iso__plan *p, struct iso__child_fds *fds);
