/* host/run/config.h - a bundle's config.json as a specification of the isolation core. What we
 * refuse on purpose is in docs/oci.md. */
#pragma once
#include <jansson.h>
#include <linux/filter.h>
#include <stdbool.h>

#include "host/isolation/spec.h"

struct cyx_err;

enum { CONFIG_BYTES_MAX = 4 << 20, CONFIG_DEPTH_MAX = 64 };

/* All that a specification points to. */
struct config {
    json_t *doc;
    struct iso_spec spec;
    struct sock_fprog filter; /* filter == NULL: the default list */
    const char **argv, **envp;
    uint32_t groups[ISO_GROUPS_MAX];
    struct iso_rlimit rlimits[ISO_RLIMITS_MAX];
    struct iso_mount mounts[ISO_MOUNTS_MAX];
    const char *masked[ISO_PATHS_MAX], *readonly[ISO_PATHS_MAX];
    struct iso_sysctl sysctls[ISO_SYSCTLS_MAX];
    char *root;
    char *sources[ISO_MOUNTS_MAX]; /* made absolute: owned */
    bool has_ids;                  /* uidMappings gave them */
    char warnings[512];            /* what was left out, for the log */
};

/* Reads and checks `path`. `bundle` is the folder that relative paths begin at. The container's
 * name and stdio are the caller's to set. Returns 0, or CYX_EINVAL, CYX_EUNSUPPORTED, CYX_EIO with
 * the key in `err`. config_free() always. */
int config_load(struct config *c, const char *path, const char *bundle, struct cyx_err *err);
void config_free(struct config *c);

/* The same from text in memory; for tests and fuzzing. */
int config_parse(struct config *c, const char *text, size_t len, const char *bundle,
                 struct cyx_err *err);

/* A process object alone (exec --process). Fills argv, envp, groups and rlimits of `c`. */
int config_process(struct config *c, json_t *process, struct cyx_err *err);

/* Internal to config*.c. */
int config__mounts(struct config *c, json_t *mounts, const char *bundle, struct cyx_err *err);
int config__seccomp(struct config *c, json_t *seccomp, struct cyx_err *err);
void config__warn(struct config *c, const char *what, const char *value);
const char *config__string(json_t *in, const char *key);
