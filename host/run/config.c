#include "host/run/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

void config__warn(struct config *c, const char *what, const char *value)
{
    size_t n = strlen(c->warnings);
    snprintf(c->warnings + n, sizeof c->warnings - n, "%s%s %s", n > 0 ? "; " : "", what,
             value != NULL ? value : "");
}

const char *config__string(json_t *in, const char *key)
{
    return json_string_value(json_object_get(in, key));
}

static int load_root(struct config *c, const char *bundle, struct cyx_err *err)
{
    json_t *root = json_object_get(c->doc, "root");
    const char *path = config__string(root, "path");
    if (path == NULL || path[0] == '\0')
        return cyx_fail(err, CYX_EINVAL, "root.path: missing");
    char *full = NULL;
    if (asprintf(&full, "%s%s%s", path[0] == '/' ? "" : bundle, path[0] == '/' ? "" : "/", path) <
        0)
        return cyx_fail(err, CYX_ENOMEM, "root.path");
    c->root = realpath(full, NULL);
    free(full);
    if (c->root == NULL)
        return cyx_fail(err, CYX_EINVAL, "root.path %s: %s", path, strerror(errno));
    c->spec.root_dir = c->root;
    if (json_is_true(json_object_get(root, "readonly")))
        c->spec.flags |= ISO_ROOT_READONLY;
    return 0;
}

static bool one_mapping(json_t *list, uint32_t *host, uint32_t *size)
{
    json_t *m = json_array_get(list, 0);
    json_int_t inside = json_integer_value(json_object_get(m, "containerID"));
    json_int_t outside = json_integer_value(json_object_get(m, "hostID"));
    json_int_t n = json_integer_value(json_object_get(m, "size"));
    if (json_array_size(list) != 1 || inside != 0 || outside < 0 || outside > UINT32_MAX || n < 0 ||
        n > UINT32_MAX)
        return false;
    *host = (uint32_t)outside;
    *size = (uint32_t)n;
    return true;
}

/* A user namespace there always is. Mappings of the configuration are taken when they are one range
 * that is the same for both kinds; host root in it is refused by the specification's check. */
static int load_ids(struct config *c, json_t *lin, struct cyx_err *err)
{
    json_t *uids = json_object_get(lin, "uidMappings");
    json_t *gids = json_object_get(lin, "gidMappings");
    uint32_t host = 0, gid_host = 0, size = 0, gid_size = 0;
    c->spec.n_ids = 65536;
    if (json_array_size(uids) == 0 && json_array_size(gids) == 0)
        return 0;
    if (!one_mapping(uids, &host, &size) || !one_mapping(gids, &gid_host, &gid_size) ||
        host != gid_host || size != gid_size)
        return cyx_fail(err, CYX_EUNSUPPORTED,
                        "linux.uidMappings, gidMappings: want one range from "
                        "0, the same for both");
    c->spec.host_ids = host;
    c->spec.n_ids = size;
    c->spec.root_dir_plain_ids = true;
    c->has_ids = true;
    return 0;
}

static int load_namespaces(json_t *lin, struct cyx_err *err)
{
    static const char *const known[] = { "pid", "network", "mount",  "ipc",
                                         "uts", "user",    "cgroup", "time" };
    size_t i;
    json_t *ns;
    json_array_foreach(json_object_get(lin, "namespaces"), i, ns)
    {
        const char *type = config__string(ns, "type");
        const char *path = config__string(ns, "path");
        size_t k = 0;
        while (type != NULL && k < 8 && strcmp(known[k], type) != 0)
            k++;
        if (type == NULL || k == 8)
            return cyx_fail(err, CYX_EINVAL, "linux.namespaces: %s",
                            type != NULL ? type : "no type");
        if (path != NULL && path[0] != '\0')
            return cyx_fail(err, CYX_EUNSUPPORTED,
                            "linux.namespaces: %s: %s: a container joins no namespace of others",
                            type, path);
    }
    return 0;
}

static uint64_t number_in(json_t *in, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(in, key));
    return n > 0 ? (uint64_t)n : 0; /* -1 is "no limit" there */
}

static void load_limits(struct config *c, json_t *resources)
{
    struct iso_limits *l = &c->spec.limits;
    json_t *cpu = json_object_get(resources, "cpu");
    l->memory_bytes = number_in(json_object_get(resources, "memory"), "limit");
    l->pids = number_in(json_object_get(resources, "pids"), "limit");
    l->cpu_quota_us = number_in(cpu, "quota");
    l->cpu_period_us = number_in(cpu, "period");
    if (l->cpu_quota_us != 0 && l->cpu_period_us == 0)
        l->cpu_period_us = 100000;
    uint64_t shares = number_in(cpu, "shares");
    if (shares != 0)
        l->cpu_weight = shares * 100 / 1024 < 1 ? 1 : shares * 100 / 1024;
    if (l->cpu_weight > 10000)
        l->cpu_weight = 10000;
    l->io_weight = number_in(json_object_get(resources, "blockIO"), "weight");
    if (json_object_get(cpu, "cpus") != NULL || json_object_get(cpu, "mems") != NULL)
        config__warn(c, "not applied:", "linux.resources.cpu.cpus/mems");
}

static int load_paths(json_t *lin, const char *key, const char **out, unsigned *n,
                      struct cyx_err *err)
{
    json_t *list = json_object_get(lin, key);
    if (json_array_size(list) > ISO_PATHS_MAX)
        return cyx_fail(err, CYX_EINVAL, "linux.%s: more than %d", key, ISO_PATHS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        out[i] = json_string_value(json_array_get(list, i));
        if (out[i] == NULL)
            return cyx_fail(err, CYX_EINVAL, "linux.%s: want strings", key);
    }
    *n = (unsigned)json_array_size(list);
    return 0;
}

static int load_sysctls(struct config *c, json_t *lin, struct cyx_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(lin, "sysctl"), key, value)
    {
        if (c->spec.n_sysctls == ISO_SYSCTLS_MAX || !json_is_string(value))
            return cyx_fail(err, CYX_EINVAL, "linux.sysctl: want at most %d strings",
                            ISO_SYSCTLS_MAX);
        c->sysctls[c->spec.n_sysctls++] = (struct iso_sysctl){ key, json_string_value(value) };
    }
    c->spec.sysctls = c->sysctls;
    return 0;
}

static int load_linux(struct config *c, struct cyx_err *err)
{
    json_t *lin = json_object_get(c->doc, "linux");
    int rc = load_namespaces(lin, err);
    rc = rc < 0 ? rc : load_ids(c, lin, err);
    rc = rc < 0 ? rc : load_sysctls(c, lin, err);
    /* The default lists always; what the configuration adds comes on top of neither, so that an
     * engine's shorter list uncovers nothing. */
    rc = rc < 0 ? rc : load_paths(lin, "maskedPaths", c->masked, &c->spec.n_masked, err);
    rc = rc < 0 ? rc : load_paths(lin, "readonlyPaths", c->readonly, &c->spec.n_readonly, err);
    if (rc < 0)
        return rc;
    c->spec.masked = c->spec.n_masked > 0 ? c->masked : NULL;
    c->spec.readonly = c->spec.n_readonly > 0 ? c->readonly : NULL;
    load_limits(c, json_object_get(lin, "resources"));
    if (json_array_size(json_object_get(lin, "devices")) > 0)
        config__warn(c, "not made:", "linux.devices (the six usual ones are there)");
    if (json_object_get(lin, "intelRdt") != NULL)
        return cyx_fail(err, CYX_EUNSUPPORTED, "linux.intelRdt: not supported");
    return config__seccomp(c, json_object_get(lin, "seccomp"), err);
}

static int fill(struct config *c, const char *bundle, struct cyx_err *err)
{
    const char *version = config__string(c->doc, "ociVersion");
    if (version == NULL || strncmp(version, "1.", 2) != 0)
        return cyx_fail(err, CYX_EVERSION, "ociVersion %s: want 1.x",
                        version != NULL ? version : "(none)");
    int rc = load_root(c, bundle, err);
    rc = rc < 0 ? rc : load_linux(c, err);
    rc = rc < 0 ? rc : config_process(c, json_object_get(c->doc, "process"), err);
    rc = rc < 0 ? rc : config__mounts(c, json_object_get(c->doc, "mounts"), bundle, err);
    c->spec.hostname = config__string(c->doc, "hostname");
    c->spec.domainname = config__string(c->doc, "domainname");
    return rc;
}

int config_parse(struct config *c, const char *text, size_t len, const char *bundle,
                 struct cyx_err *err)
{
    json_error_t e;
    if (len > CONFIG_BYTES_MAX)
        return cyx_fail(err, CYX_EFULL, "config.json: more than %d bytes", CONFIG_BYTES_MAX);
    c->doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(c->doc))
        return cyx_fail(err, CYX_EINVAL, "config.json:%d: %.120s", e.line,
                        c->doc != NULL ? "want an object" : e.text);
    return fill(c, bundle, err);
}

int config_load(struct config *c, const char *path, const char *bundle, struct cyx_err *err)
{
    *c = (struct config){ 0 };
    struct stat st;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return cyx_fail(err, CYX_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_BYTES_MAX)
        return cyx_fail(err, CYX_EINVAL, "%s: want a file of at most %d bytes", path,
                        CONFIG_BYTES_MAX);
    cleanup_free char *text = malloc((size_t)st.st_size + 1);
    if (text == NULL)
        return cyx_fail(err, CYX_ENOMEM, "config.json");
    size_t len = 0;
    for (ssize_t n = 1; n > 0 && len<(size_t)st.st_size; len += n> 0 ? (size_t)n : 0)
        n = read(fd, text + len, (size_t)st.st_size - len);
    return config_parse(c, text, len, bundle, err);
}

void config_free(struct config *c)
{
    for (unsigned i = 0; i < ISO_MOUNTS_MAX; i++)
        free(c->sources[i]);
    free(c->argv);
    free(c->envp);
    free(c->root);
    free(c->filter.filter);
    json_decref(c->doc);
    *c = (struct config){ 0 };
}
