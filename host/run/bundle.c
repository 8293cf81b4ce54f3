#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/run/run.h"

int bundle_save(const struct options *o, const char *id, const char *bundle, struct cyx_err *err)
{
    char path[ISO_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/bundle", o->root, id);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t len = strlen(bundle);
    if (fd < 0 || write(fd, bundle, len) != (ssize_t)len)
        return cyx_fail(err, CYX_EIO, "%s: %s", path, strerror(errno));
    return 0;
}

int bundle_path(const struct options *o, const char *id, char *out, size_t cap, struct cyx_err *err)
{
    char path[ISO_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/bundle", o->root, id);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? read(fd, out, cap - 1) : -1;
    if (n < 0)
        return cyx_fail(err, CYX_ENOENT, "%s: %s", path, strerror(errno));
    out[n] = '\0';
    return 0;
}

int write_pid_file(const char *path, pid_t pid, struct cyx_err *err)
{
    char text[16], temporary[ISO_PATH_MAX];
    int len = snprintf(text, sizeof text, "%d", (int)pid);
    if (path == NULL)
        return 0;
    snprintf(temporary, sizeof temporary, "%s.new", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)len) != len || rename(temporary, path) < 0)
        return cyx_fail(err, CYX_EIO, "%s: %s", path, strerror(errno));
    return 0;
}

json_t *state_json(struct iso_container *c, const char *bundle, json_t *config)
{
    static const char *const names[] = { "created", "running", "paused", "stopped" };
    json_t *state =
        json_pack("{s:s, s:s, s:s, s:s}", "ociVersion", "1.0.2", "id", iso_container_name(c),
                  "status", names[iso_container_status(c)], "bundle", bundle);
    if (iso_container_pid(c) > 0)
        json_object_set_new(state, "pid", json_integer(iso_container_pid(c)));
    json_t *notes = json_object_get(config, "annotations");
    if (notes != NULL)
        json_object_set(state, "annotations", notes);
    return state;
}
