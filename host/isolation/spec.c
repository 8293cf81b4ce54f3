#include "host/isolation/spec.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

bool iso_name_ok(const char *name)
{
    size_t len = name != NULL ? strnlen(name, ISO_NAME_MAX + 1) : 0;
    if (len == 0 || len > ISO_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!isalnum(c) && c != '_' && c != '.' && c != '+' && c != '-')
            return false;
    }
    return true;
}

int iso_number(const char *text, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    size_t len = text != NULL ? strnlen(text, 12) : 0;
    if (len == 0 || len > 10 || (text[0] == '0' && len > 1))
        return CYX_EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return CYX_EINVAL;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    if (n > max)
        return CYX_EINVAL;
    *out = (uint32_t)n;
    return 0;
}

static bool absolute(const char *path)
{
    return path != NULL && path[0] == '/' && strnlen(path, ISO_PATH_MAX) < ISO_PATH_MAX;
}

/* Counts and bytes of a NULL-terminated list of strings, against both bounds. */
static int check_strings(const char *what, const char *const *list, struct cyx_err *err)
{
    size_t bytes = 0;
    if (list == NULL)
        return cyx_fail(err, CYX_EINVAL, "%s: missing", what);
    for (size_t i = 0; list[i] != NULL; i++) {
        if (i == ISO_ARGS_MAX)
            return cyx_fail(err, CYX_EINVAL, "%s: more than %d", what, ISO_ARGS_MAX);
        bytes += strnlen(list[i], ISO_STRINGS_MAX) + 1;
        if (bytes > ISO_STRINGS_MAX)
            return cyx_fail(err, CYX_EINVAL, "%s: more than %d bytes", what, ISO_STRINGS_MAX);
    }
    return 0;
}

static int check_ids(const struct iso_process *p, uint32_t n_ids, struct cyx_err *err)
{
    if (p->uid >= n_ids || p->gid >= n_ids)
        return cyx_fail(err, CYX_EINVAL, "user %u:%u: this container has ids 0 to %u", p->uid,
                        p->gid, n_ids - 1);
    if (p->n_groups > ISO_GROUPS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u groups: at most %d", p->n_groups, ISO_GROUPS_MAX);
    for (unsigned i = 0; i < p->n_groups; i++) {
        if (p->groups[i] >= n_ids)
            return cyx_fail(err, CYX_EINVAL, "group %u: this container has ids 0 to %u",
                            p->groups[i], n_ids - 1);
    }
    return 0;
}

int iso_process_check(const struct iso_process *p, uint32_t n_ids, struct cyx_err *err)
{
    if (check_strings("arguments", p->argv, err) < 0 ||
        check_strings("environment", p->envp, err) < 0 || check_ids(p, n_ids, err) < 0)
        return err != NULL ? err->code : CYX_EINVAL;
    if (p->argv[0] == NULL || p->argv[0][0] == '\0')
        return cyx_fail(err, CYX_EINVAL, "arguments: nothing to run");
    if (!absolute(p->cwd))
        return cyx_fail(err, CYX_EINVAL, "working directory: want an absolute path");
    if ((p->caps & ~ISO_CAPS_ALLOWED) != 0)
        return cyx_fail(err, CYX_EINVAL, "capabilities %#llx: not among those a container may have",
                        (unsigned long long)(p->caps & ~ISO_CAPS_ALLOWED));
    if (p->n_rlimits > ISO_RLIMITS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u rlimits: at most %d", p->n_rlimits, ISO_RLIMITS_MAX);
    for (unsigned i = 0; i < p->n_rlimits; i++) {
        const struct iso_rlimit *r = &p->rlimits[i];
        if (r->resource >= ISO_RLIMITS_MAX || r->soft > r->hard)
            return cyx_fail(err, CYX_EINVAL, "rlimit %u: soft %llu, hard %llu", r->resource,
                            (unsigned long long)r->soft, (unsigned long long)r->hard);
    }
    return p->umask > 0777 ? cyx_fail(err, CYX_EINVAL, "umask %o", p->umask) : 0;
}

static int check_root(const struct iso_spec *s, struct cyx_err *err)
{
    if ((s->n_layers == 0) == (s->root_dir == NULL))
        return cyx_fail(err, CYX_EINVAL, "root: want layers or one folder, not both or none");
    if (s->root_dir != NULL)
        return absolute(s->root_dir) ? 0 : cyx_fail(err, CYX_EINVAL, "root: want an absolute path");
    if (s->n_layers > ISO_LAYERS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u layers: at most %d", s->n_layers, ISO_LAYERS_MAX);
    for (unsigned i = 0; i < s->n_layers; i++) {
        if (!absolute(s->layers[i]))
            return cyx_fail(err, CYX_EINVAL, "layer %u: want an absolute path", i);
    }
    if (s->root_bytes < 65536 || s->root_bytes > INT64_MAX)
        return cyx_fail(err, CYX_EINVAL, "root: %llu bytes: want 65536 at least",
                        (unsigned long long)s->root_bytes);
    if (s->root_inodes < 16 || s->root_inodes > INT32_MAX)
        return cyx_fail(err, CYX_EINVAL, "root: %llu inodes: want 16 to 2^31 - 1",
                        (unsigned long long)s->root_inodes);
    return 0;
}

static int check_mount(const struct iso_mount *m, unsigned i, struct cyx_err *err)
{
    if (!absolute(m->target) || m->target[1] == '\0')
        return cyx_fail(err, CYX_EINVAL, "mount %u: target: want an absolute path below /", i);
    if (m->kind == ISO_MOUNT_BIND && !absolute(m->source))
        return cyx_fail(err, CYX_EINVAL, "mount %u: source: want an absolute path", i);
    if (m->kind == ISO_MOUNT_TMPFS && (m->bytes < 4096 || m->bytes > INT64_MAX || m->inodes < 2))
        return cyx_fail(err, CYX_EINVAL, "mount %u: want 4096 bytes and 2 inodes at least", i);
    if (m->mode > 07777)
        return cyx_fail(err, CYX_EINVAL, "mount %u: mode %o", i, m->mode);
    return 0;
}

static int check_paths(const char *what, const char *const *list, unsigned n, struct cyx_err *err)
{
    if (list != NULL && n > ISO_PATHS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%s: more than %d", what, ISO_PATHS_MAX);
    for (unsigned i = 0; list != NULL && i < n; i++) {
        if (!absolute(list[i]))
            return cyx_fail(err, CYX_EINVAL, "%s %u: want an absolute path", what, i);
    }
    return 0;
}

static int check_host_ids(const struct iso_spec *s, struct cyx_err *err)
{
    /* Host root, and the overflow id that stands for whatever isn't mapped, belong to nobody. */
    uint64_t end = (uint64_t)s->host_ids + s->n_ids;
    if (s->n_ids < ISO_IDS_MIN || s->host_ids < 1000 || end > (uint64_t)ISO_HOST_ID_MAX + 1)
        return cyx_fail(err, CYX_EINVAL, "ids %u of the host, %u of them: want 1000 to %d",
                        s->host_ids, s->n_ids, ISO_HOST_ID_MAX);
    if (s->host_ids <= 65534 && end > 65534)
        return cyx_fail(err, CYX_EINVAL, "ids %u of the host, %u of them: 65534 is among them",
                        s->host_ids, s->n_ids);
    return 0;
}

static int check_limits(const struct iso_limits *l, struct cyx_err *err)
{
    if (l->memory_bytes != 0 && (l->memory_bytes < 1 << 20 || l->memory_bytes > INT64_MAX))
        return cyx_fail(err, CYX_EINVAL, "memory: %llu bytes: want 1 MiB at least",
                        (unsigned long long)l->memory_bytes);
    if (l->pids > 1 << 22)
        return cyx_fail(err, CYX_EINVAL, "pids: %llu", (unsigned long long)l->pids);
    if (l->cpu_quota_us != 0 && (l->cpu_quota_us < 1000 || l->cpu_period_us < 1000 ||
                                 l->cpu_period_us > 1000000 || l->cpu_quota_us > INT32_MAX))
        return cyx_fail(err, CYX_EINVAL, "cpu: %llu us of %llu: want 1000 at least, 1 s at most",
                        (unsigned long long)l->cpu_quota_us, (unsigned long long)l->cpu_period_us);
    if (l->cpu_weight > 10000 || l->io_weight > 10000)
        return cyx_fail(err, CYX_EINVAL, "weights: want 1 to 10000");
    return 0;
}

int iso__sysctl_allowed(const char *key); /* sysctl.c */

static int check_sysctls(const struct iso_spec *s, struct cyx_err *err)
{
    if (s->n_sysctls > ISO_SYSCTLS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u sysctls: at most %d", s->n_sysctls, ISO_SYSCTLS_MAX);
    for (unsigned i = 0; i < s->n_sysctls; i++) {
        if (!iso__sysctl_allowed(s->sysctls[i].key))
            return cyx_fail(err, CYX_EINVAL, "sysctl %.64s: not among those a container may set",
                            s->sysctls[i].key);
        if (s->sysctls[i].value == NULL || strnlen(s->sysctls[i].value, 129) > 128)
            return cyx_fail(err, CYX_EINVAL, "sysctl %s: its value is too long", s->sysctls[i].key);
    }
    return 0;
}

static int check_rest(const struct iso_spec *s, struct cyx_err *err)
{
    if (s->hostname != NULL && strnlen(s->hostname, 65) > 64)
        return cyx_fail(err, CYX_EINVAL, "hostname: more than 64 bytes");
    if (s->domainname != NULL && strnlen(s->domainname, 65) > 64)
        return cyx_fail(err, CYX_EINVAL, "domain name: more than 64 bytes");
    if (s->n_ports > ISO_PORTS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u ports: at most %d", s->n_ports, ISO_PORTS_MAX);
    for (unsigned i = 0; i < s->n_ports; i++) {
        if (s->ports[i] == 0)
            return cyx_fail(err, CYX_EINVAL, "port 0");
    }
    if (s->cgroup_parent != NULL &&
        (strstr(s->cgroup_parent, "..") != NULL || strnlen(s->cgroup_parent, 1025) > 1024))
        return cyx_fail(err, CYX_EINVAL, "cgroup parent: no \"..\", 1024 bytes at most");
    return 0;
}

int iso_spec_check(const struct iso_spec *s, struct cyx_err *err)
{
    int rc = 0;
    if (!iso_name_ok(s->name))
        return cyx_fail(err, CYX_EINVAL, "name: want 1 to %d of letters, digits, _ . + -",
                        ISO_NAME_MAX);
    if (s->n_mounts > ISO_MOUNTS_MAX)
        return cyx_fail(err, CYX_EINVAL, "%u mounts: at most %d", s->n_mounts, ISO_MOUNTS_MAX);
    for (unsigned i = 0; i < s->n_mounts && rc == 0; i++)
        rc = check_mount(&s->mounts[i], i, err);
    rc = rc != 0 ? rc : check_root(s, err);
    rc = rc != 0 ? rc : check_host_ids(s, err);
    rc = rc != 0 ? rc : iso_process_check(&s->process, s->n_ids, err);
    rc = rc != 0 ? rc : check_limits(&s->limits, err);
    rc = rc != 0 ? rc : check_paths("masked path", s->masked, s->n_masked, err);
    rc = rc != 0 ? rc : check_paths("read-only path", s->readonly, s->n_readonly, err);
    rc = rc != 0 ? rc : check_sysctls(s, err);
    return rc != 0 ? rc : check_rest(s, err);
}
