#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "host/run/config.h"

static const char *const cap_names[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

static const char *const rlimit_names[] = {
    [RLIMIT_CPU] = "CPU",           [RLIMIT_FSIZE] = "FSIZE",
    [RLIMIT_DATA] = "DATA",         [RLIMIT_STACK] = "STACK",
    [RLIMIT_CORE] = "CORE",         [RLIMIT_RSS] = "RSS",
    [RLIMIT_NPROC] = "NPROC",       [RLIMIT_NOFILE] = "NOFILE",
    [RLIMIT_MEMLOCK] = "MEMLOCK",   [RLIMIT_AS] = "AS",
    [RLIMIT_LOCKS] = "LOCKS",       [RLIMIT_SIGPENDING] = "SIGPENDING",
    [RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE",
    [RLIMIT_RTPRIO] = "RTPRIO",     [RLIMIT_RTTIME] = "RTTIME",
};

static int strings(json_t *list, const char *what, const char ***out, struct cyx_err *err)
{
    size_t n = json_array_size(list);
    if (n > ISO_ARGS_MAX)
        return cyx_fail(err, CYX_EINVAL, "process.%s: more than %d", what, ISO_ARGS_MAX);
    *out = calloc(n + 1, sizeof **out);
    if (*out == NULL)
        return cyx_fail(err, CYX_ENOMEM, "process.%s", what);
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = json_string_value(json_array_get(list, i));
        if ((*out)[i] == NULL)
            return cyx_fail(err, CYX_EINVAL, "process.%s: want strings", what);
    }
    return 0;
}

/* An id as JSON has it: an integer that fits, or nothing at all. */
static int id_of(json_t *value, const char *what, uint32_t *out, struct cyx_err *err)
{
    if (value == NULL) {
        *out = 0;
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > ISO_HOST_ID_MAX)
        return cyx_fail(err, CYX_EINVAL, "process.user.%s: want 0 to %d", what, ISO_HOST_ID_MAX);
    *out = (uint32_t)json_integer_value(value);
    return 0;
}

static int load_user(struct config *c, json_t *user, struct cyx_err *err)
{
    struct iso_process *p = &c->spec.process;
    json_t *more = json_object_get(user, "additionalGids");
    json_t *mask = json_object_get(user, "umask");
    if (id_of(json_object_get(user, "uid"), "uid", &p->uid, err) < 0 ||
        id_of(json_object_get(user, "gid"), "gid", &p->gid, err) < 0)
        return CYX_EINVAL;
    if (json_array_size(more) > ISO_GROUPS_MAX)
        return cyx_fail(err, CYX_EINVAL, "process.user.additionalGids: more than %d",
                        ISO_GROUPS_MAX);
    for (size_t i = 0; i < json_array_size(more); i++) {
        if (id_of(json_array_get(more, i), "additionalGids", &c->groups[i], err) < 0)
            return CYX_EINVAL;
    }
    p->groups = c->groups;
    p->n_groups = (unsigned)json_array_size(more);
    p->umask = json_is_integer(mask) ? (uint32_t)json_integer_value(mask) : 022;
    return 0;
}

/* What the process may have at most; what we never give is left out and said. */
static void load_caps(struct config *c, json_t *caps)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(caps, "bounding"), i, name)
    {
        const char *text = json_string_value(name);
        for (unsigned k = 0; text != NULL && k < sizeof cap_names / sizeof cap_names[0]; k++) {
            if (strncmp(text, "CAP_", 4) != 0 || strcmp(text + 4, cap_names[k]) != 0)
                continue;
            if ((ISO_CAPS_ALLOWED >> k & 1) != 0)
                c->spec.process.caps |= 1ull << k;
            else
                config__warn(c, "not given:", text);
        }
    }
}

static int load_rlimits(struct config *c, json_t *list, struct cyx_err *err)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) > ISO_RLIMITS_MAX)
        return cyx_fail(err, CYX_EINVAL, "process.rlimits: more than %d", ISO_RLIMITS_MAX);
    json_array_foreach(list, i, item)
    {
        const char *type = config__string(item, "type");
        json_int_t soft = json_integer_value(json_object_get(item, "soft"));
        json_int_t hard = json_integer_value(json_object_get(item, "hard"));
        unsigned k = 0;
        while (type != NULL && k < 16 &&
               (strncmp(type, "RLIMIT_", 7) != 0 || strcmp(type + 7, rlimit_names[k]) != 0))
            k++;
        if (type == NULL || k == 16)
            return cyx_fail(err, CYX_EINVAL, "process.rlimits: %s",
                            type != NULL ? type : "no type");
        /* 2^64 - 1 is beyond JSON's integers here; -1 is how it arrives from some engines. */
        c->rlimits[i] = (struct iso_rlimit){ k, (uint64_t)soft, (uint64_t)hard };
    }
    if (json_array_size(list) > 0) {
        c->spec.process.rlimits = c->rlimits;
        c->spec.process.n_rlimits = (unsigned)json_array_size(list);
    }
    return 0;
}

int config_process(struct config *c, json_t *process, struct cyx_err *err)
{
    struct iso_process *p = &c->spec.process;
    json_t *size = json_object_get(process, "consoleSize");
    if (!json_is_object(process))
        return cyx_fail(err, CYX_EINVAL, "process: missing");
    if (strings(json_object_get(process, "args"), "args", &c->argv, err) < 0 ||
        strings(json_object_get(process, "env"), "env", &c->envp, err) < 0 ||
        load_user(c, json_object_get(process, "user"), err) < 0 ||
        load_rlimits(c, json_object_get(process, "rlimits"), err) < 0)
        return err != NULL ? err->code : CYX_EINVAL;
    load_caps(c, json_object_get(process, "capabilities"));
    p->argv = c->argv;
    p->envp = c->envp;
    p->cwd = config__string(process, "cwd");
    p->rows = (uint16_t)json_integer_value(json_object_get(size, "height"));
    p->cols = (uint16_t)json_integer_value(json_object_get(size, "width"));
    if (json_is_true(json_object_get(process, "terminal")))
        c->spec.flags |= ISO_TTY;
    const char *label = config__string(process, "apparmorProfile");
    if (label != NULL && label[0] != '\0')
        config__warn(c, "not applied: apparmorProfile", label);
    label = config__string(process, "selinuxLabel");
    if (label != NULL && label[0] != '\0')
        config__warn(c, "not applied: selinuxLabel", label);
    if (json_is_false(json_object_get(process, "noNewPrivileges")))
        config__warn(c, "always on:", "noNewPrivileges");
    return 0;
}
