#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "host/run/config.h"

/* Made by the core itself, whatever the configuration says of them. */
static bool is_ours(const char *target, const char *type)
{
    static const char *const ours[][2] = { { "/proc", "proc" },
                                           { "/sys", "sysfs" },
                                           { "/dev", "tmpfs" },
                                           { "/dev/pts", "devpts" },
                                           { "/dev/shm", "tmpfs" } };
    for (size_t i = 0; i < 5; i++) {
        if (strcmp(target, ours[i][0]) == 0 && (i == 4 ? false : strcmp(type, ours[i][1]) == 0))
            return true;
    }
    return false;
}

static uint64_t size_of(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    switch (*end) {
    case 'k':
    case 'K':
        return n << 10;
    case 'm':
    case 'M':
        return n << 20;
    case 'g':
    case 'G':
        return n << 30;
    default:
        return n;
    }
}

static void apply_option(struct iso_mount *m, const char *o)
{
    if (strcmp(o, "ro") == 0)
        m->flags |= ISO_MNT_READONLY;
    else if (strcmp(o, "noexec") == 0)
        m->flags |= ISO_MNT_NOEXEC;
    else if (strcmp(o, "rbind") == 0)
        m->flags |= ISO_MNT_RECURSIVE;
    else if (strncmp(o, "size=", 5) == 0)
        m->bytes = size_of(o + 5);
    else if (strncmp(o, "mode=", 5) == 0)
        m->mode = (uint32_t)strtoul(o + 5, NULL, 8) & 07777;
    else if (strncmp(o, "nr_inodes=", 10) == 0)
        m->inodes = size_of(o + 10);
}

static bool has_option(json_t *options, const char *name)
{
    size_t i;
    json_t *o;
    json_array_foreach(options, i, o)
    {
        if (json_is_string(o) && strcmp(json_string_value(o), name) == 0)
            return true;
    }
    return false;
}

static int absolute_source(struct config *c, unsigned at, const char *source, const char *bundle,
                           struct cyx_err *err)
{
    char *full = NULL;
    if (asprintf(&full, "%s%s%s", source[0] == '/' ? "" : bundle, source[0] == '/' ? "" : "/",
                 source) < 0)
        return cyx_fail(err, CYX_ENOMEM, "mounts");
    c->sources[at] = realpath(full, NULL); /* the operator's own path: links in it are his */
    free(full);
    if (c->sources[at] == NULL)
        return cyx_fail(err, CYX_EINVAL, "mounts: source %s: %s", source, strerror(errno));
    c->mounts[at].source = c->sources[at];
    return 0;
}

static int kind_of(struct iso_mount *m, const char *type, json_t *options)
{
    if (strcmp(type, "bind") == 0 || has_option(options, "bind") || has_option(options, "rbind"))
        m->kind = ISO_MOUNT_BIND;
    else if (strcmp(type, "tmpfs") == 0)
        m->kind = ISO_MOUNT_TMPFS;
    else if (strcmp(type, "mqueue") == 0)
        m->kind = ISO_MOUNT_MQUEUE;
    else if (strcmp(type, "cgroup") == 0 || strcmp(type, "cgroup2") == 0)
        m->kind = ISO_MOUNT_CGROUP2;
    else
        return CYX_EUNSUPPORTED;
    return 0;
}

static int add(struct config *c, json_t *item, const char *bundle, struct cyx_err *err)
{
    const char *target = config__string(item, "destination");
    const char *type = config__string(item, "type");
    const char *source = config__string(item, "source");
    json_t *options = json_object_get(item, "options");
    unsigned at = c->spec.n_mounts;
    type = type != NULL ? type : "none";
    if (target == NULL)
        return cyx_fail(err, CYX_EINVAL, "mounts: no destination");
    if (is_ours(target, type))
        return 0;
    if (at == ISO_MOUNTS_MAX)
        return cyx_fail(err, CYX_EINVAL, "mounts: more than %d", ISO_MOUNTS_MAX);
    struct iso_mount *m = &c->mounts[at];
    *m = (struct iso_mount){ .target = target, .bytes = 64 << 20, .inodes = 65536, .mode = 01777 };
    if (kind_of(m, type, options) < 0)
        return cyx_fail(err, CYX_EUNSUPPORTED, "mounts: %s: type %s", target, type);
    size_t i;
    json_t *o;
    json_array_foreach(options, i, o)
    {
        if (json_is_string(o))
            apply_option(m, json_string_value(o));
    }
    if (m->kind == ISO_MOUNT_BIND &&
        (source == NULL || absolute_source(c, at, source, bundle, err) < 0))
        return source == NULL ? cyx_fail(err, CYX_EINVAL, "mounts: %s: no source", target)
                              : CYX_EINVAL;
    if (c->has_ids)
        m->flags |= ISO_MNT_PLAIN_IDS;
    c->spec.n_mounts++;
    return 0;
}

int config__mounts(struct config *c, json_t *mounts, const char *bundle, struct cyx_err *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(mounts, i, item)
    {
        int rc = add(c, item, bundle, err);
        if (rc < 0)
            return rc;
    }
    c->spec.mounts = c->mounts;
    return 0;
}
