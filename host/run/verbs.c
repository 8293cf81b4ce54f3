#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/run/run.h"

static void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(j);
}

static json_t *config_of(const char *bundle)
{
    char path[ISO_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/config.json", bundle);
    return json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
}

int verb_start(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    char bundle[ISO_PATH_MAX] = "";
    struct iso_container *c = NULL;
    int rc = iso_adopt(e, o->id, &c, err);
    rc = rc < 0 ? rc : iso_start(c, err);
    if (rc == 0 && bundle_path(o, o->id, bundle, sizeof bundle, NULL) == 0) {
        json_t *config = config_of(bundle);
        rc = hooks_run(config, "poststart", c, bundle, err);
        json_decref(config);
    }
    iso_container_close(c);
    return rc;
}

int verb_state(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    char bundle[ISO_PATH_MAX] = "";
    struct iso_container *c = NULL;
    int rc = iso_adopt(e, o->id, &c, err);
    if (rc < 0)
        return rc;
    (void)bundle_path(o, o->id, bundle, sizeof bundle, NULL);
    json_t *config = config_of(bundle);
    print_json(state_json(c, bundle, config));
    json_decref(config);
    iso_container_close(c);
    return 0;
}

static int signal_number(const char *text)
{
    uint32_t n;
    if (iso_number(text, 64, &n) == 0)
        return (int)n;
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (int sig = 1; sig < 32; sig++) {
        const char *name = sigabbrev_np(sig);
        if (name != NULL && strcmp(name, text) == 0)
            return sig;
    }
    return -1;
}

int verb_kill(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    int sig = signal_number(o->n_rest > 0 ? o->rest[0] : "TERM");
    struct iso_container *c = NULL;
    if (sig < 0)
        return cyx_fail(err, CYX_EINVAL, "signal %s", o->rest[0]);
    int rc = iso_adopt(e, o->id, &c, err);
    rc = rc < 0 ? rc : iso_signal(c, sig, o->all ? ISO_ALL : ISO_FIRST, err);
    iso_container_close(c);
    return rc;
}

int verb_delete(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    char bundle[ISO_PATH_MAX] = "";
    struct iso_container *c = NULL;
    int rc = iso_adopt(e, o->id, &c, err);
    if (rc == CYX_ENOENT && o->force)
        return 0;
    if (rc < 0)
        return rc;
    enum iso_status status = iso_container_status(c);
    if (!o->force && (status == ISO_RUNNING || status == ISO_PAUSED)) {
        iso_container_close(c);
        return cyx_fail(err, CYX_EBUSY, "container %s is not stopped", o->id);
    }
    bool has_bundle = bundle_path(o, o->id, bundle, sizeof bundle, NULL) == 0;
    json_t *config = has_bundle ? config_of(bundle) : NULL;
    rc = iso_signal(c, SIGKILL, ISO_ALL, err);
    if (rc == 0 && hooks_run(config, "poststop", c, bundle, err) < 0)
        fprintf(stderr, "cyx-run: warning: %s\n", err->msg); /* the specification: goes on */
    json_decref(config);
    rc = rc < 0 ? rc : iso_destroy(c, err);
    if (rc < 0)
        iso_container_close(c);
    return rc;
}

static int one_step(struct iso_engine *e, const struct options *o, struct cyx_err *err,
                    int (*step)(struct iso_container *, struct cyx_err *))
{
    struct iso_container *c = NULL;
    int rc = iso_adopt(e, o->id, &c, err);
    rc = rc < 0 ? rc : step(c, err);
    iso_container_close(c);
    return rc;
}

int verb_pause(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    return one_step(e, o, err, iso_pause);
}

int verb_resume(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    return one_step(e, o, err, iso_resume);
}

int verb_ps(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    static pid_t pids[16384];
    struct iso_container *c = NULL;
    int rc = iso_adopt(e, o->id, &c, err);
    rc = rc < 0 ? rc : iso_pids(c, pids, 16384, err);
    iso_container_close(c);
    if (rc < 0)
        return rc;
    json_t *list = json_array();
    bool as_json = o->format != NULL && strcmp(o->format, "json") == 0;
    for (int i = 0; i < rc && i < 16384; i++) {
        json_array_append_new(list, json_integer(pids[i]));
        if (!as_json)
            printf("%s%d\n", i == 0 ? "PID\n" : "", (int)pids[i]);
    }
    if (as_json)
        print_json(list);
    else
        json_decref(list);
    return 0;
}

int verb_events(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    struct iso_container *c = NULL;
    struct iso_stats s;
    if (!o->stats)
        return cyx_fail(err, CYX_EUNSUPPORTED, "events: only --stats");
    int rc = iso_adopt(e, o->id, &c, err);
    rc = rc < 0 ? rc : iso_stats(c, &s, err);
    iso_container_close(c);
    if (rc < 0)
        return rc;
    print_json(json_pack("{s:s, s:s, s:{s:{s:{s:I}, s:{s:I}}, s:{s:{s:I, s:I}, s:I}, s:{s:I}}}",
                         "type", "stats", "id", o->id, "data", "cpu", "usage", "total",
                         (json_int_t)s.cpu_ns, "throttling", "throttledTime",
                         (json_int_t)s.throttled_ns, "memory", "usage", "usage",
                         (json_int_t)s.memory_bytes, "max", (json_int_t)s.memory_peak, "oomKills",
                         (json_int_t)s.oom_kills, "pids", "current", (json_int_t)s.pids));
    return 0;
}

int verb_list(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    static const char *const names[] = { "created", "running", "paused", "stopped" };
    DIR *d = opendir(o->root);
    if (d == NULL)
        return cyx_fail(err, CYX_EIO, "%s: %s", o->root, strerror(errno));
    printf("%-32s %8s %s\n", "NAME", "PID", "STATUS");
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        struct iso_container *c = NULL;
        if (!iso_name_ok(f->d_name) || iso_adopt(e, f->d_name, &c, NULL) < 0)
            continue;
        printf("%-32s %8d %s\n", f->d_name, (int)iso_container_pid(c),
               names[iso_container_status(c)]);
        iso_container_close(c);
    }
    closedir(d);
    return 0;
}

int verb_spec(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    char path[ISO_PATH_MAX];
    (void)e;
    snprintf(path, sizeof path, "%s/config.json", o->bundle);
    json_t *j = json_pack(
        "{s:s, s:{s:b, s:{s:i, s:i}, s:[s], s:[s, s], s:s, s:b, s:[{s:s, s:i, s:i}]}, s:{s:s, "
        "s:b}, s:s, "
        "s:[], s:{s:[{s:s}, {s:s}, {s:s}, {s:s}, {s:s}, {s:s}, {s:s}, {s:s}]}}",
        "ociVersion", "1.0.2", "process", "terminal", 1, "user", "uid", 0, "gid", 0, "args", "sh",
        "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm",
        "cwd", "/", "noNewPrivileges", 1, "rlimits", "type", "RLIMIT_NOFILE", "soft", 1024, "hard",
        1024, "root", "path", "rootfs", "readonly", 1, "hostname", "cyx", "mounts", "linux",
        "namespaces", "type", "pid", "type", "network", "type", "ipc", "type", "uts", "type",
        "mount", "type", "cgroup", "type", "user", "type", "time");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int rc = j != NULL && fd >= 0 ? json_dumpfd(j, fd, JSON_INDENT(2)) : -1;
    if (fd >= 0)
        close(fd);
    json_decref(j);
    return rc < 0 ? cyx_fail(err, CYX_EIO, "%s: %s", path, strerror(errno)) : 0;
}

int verb_features(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    const struct iso_features *f = iso_engine_features(e);
    (void)o;
    (void)err;
    print_json(json_pack("{s:s, s:s, s:[s,s,s,s], s:{s:[s,s,s,s,s,s,s,s], s:{s:b, s:b, s:b, s:b, "
                         "s:b, s:b}, s:{s:b}, "
                         "s:{s:b}, s:{s:b}}, s:{s:i, s:s}}",
                         "ociVersionMin", "1.0.0", "ociVersionMax", "1.0.2", "hooks", "prestart",
                         "createRuntime", "poststart", "poststop", "linux", "namespaces", "cgroup",
                         "ipc", "mount", "network", "pid", "time", "user", "uts", "cgroup", "v1",
                         f->cgroup1, "v2", f->cgroup2, "memory", f->memory, "pids", f->pids, "cpu",
                         f->cpu, "io", f->io, "seccomp", "enabled", 1, "apparmor", "enabled", 0,
                         "selinux", "enabled", 0, "annotations", "cyx.landlockAbi",
                         (int)f->landlock_abi, "cyx.missing", f->missing));
    return 0;
}
