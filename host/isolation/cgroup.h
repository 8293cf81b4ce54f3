/* host/isolation/cgroup.h - control groups on v2, v1 and hybrid machines: where the hierarchies
 * are, one group for each container in those that its limits need, and what is read back. Internal.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/isolation/spec.h"

struct cyx_err;
struct iso_features;
struct iso_stats;

enum iso__hierarchy {
    ISO__V2,
    ISO__MEMORY,
    ISO__PIDS,
    ISO__CPU,
    ISO__CPUACCT,
    ISO__FREEZER, /* only where there is no v2 */
    ISO__DEVICES,
    ISO__BLKIO,
    ISO__N_HIERARCHIES
};

struct iso__layout {
    int fd[ISO__N_HIERARCHIES];         /* this process's own group in it, -1: not there */
    char base[ISO__N_HIERARCHIES][256]; /* its absolute path on this machine */
    bool v2_limits;                     /* limits are on v2 (there is no v1) */
};

struct iso__groups {
    char path[ISO__N_HIERARCHIES][512]; /* "" where the container has none */
    int fd[ISO__N_HIERARCHIES];         /* of the folder, -1: none */
    bool devices_shared;                /* the devices group is everybody's: not removed */
};

int iso__layout_open(struct iso__layout *l, struct iso_features *f, struct cyx_err *err);
void iso__layout_close(struct iso__layout *l);

/* Names the groups (paths are final), without making them: so that they can be on disk first. */
int iso__groups_name(const struct iso__layout *l, struct iso__groups *g, const char *name,
                     const struct iso_spec *s, struct cyx_err *err);
/* The group that is entered at clone (v2, when there is one) comes first, with nothing in it yet;
 * all others and every limit while the child makes its namespaces. */
int iso__groups_make_first(const struct iso__layout *l, struct iso__groups *g, struct cyx_err *err);
int iso__groups_make(const struct iso__layout *l, struct iso__groups *g, const struct iso_spec *s,
                     struct cyx_err *err);
int iso__groups_open(struct iso__groups *g); /* by path, after a restart; missing ones stay -1 */

/* Opens the v1 files through which a task joins; returns how many were put in `out`. */
int iso__groups_joins(const struct iso__groups *g, int *out, unsigned cap, struct cyx_err *err);

int iso__groups_pids(const struct iso__groups *g, pid_t *out, size_t cap);
int iso__groups_kill(const struct iso__groups *g, struct cyx_err *err); /* and waits for the end */
int iso__groups_freeze(const struct iso__groups *g, bool frozen, struct cyx_err *err);
bool iso__groups_frozen(const struct iso__groups *g);
int iso__groups_stats(const struct iso__groups *g, struct iso_stats *out);
int iso__groups_remove(struct iso__groups *g, struct cyx_err *err);
void iso__groups_close(struct iso__groups *g);
