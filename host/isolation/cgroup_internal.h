/* host/isolation/cgroup_internal.h - between cgroup.c, cgroup_limits.c and cgroup_tasks.c. */
#pragma once
#include "host/isolation/cgroup.h"

/* Reads a file of the group as text, NUL-terminated; returns its length or a negative code. */
int iso__cg_read(int dir, const char *name, char *buf, size_t cap);
int iso__cg_write(int dir, const char *name, const char *text);
uint64_t iso__cg_number(int dir, const char *name); /* 0 when it can't be read */
/* The number behind `key` in a file of "key number" lines; 0 when it isn't there. */
uint64_t iso__cg_keyed(int dir, const char *name, const char *key);

int iso__cg_devices(int dir, struct cyx_err *err);
int iso__cg_limits(const struct iso__layout *l, const struct iso__groups *g,
                   const struct iso_limits *m, struct cyx_err *err);
void iso__cg_delegate(const char *path); /* v2: hand every controller down that can be */
