#include "node/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICE_DATA   "/var/lib/cyxd"
#define SERVICE_SOCKET "/run/cyxd/control.sock"

/* The variable's value when it is an absolute path. systemd may list several folders: the first. */
static bool env_path(const char *name, char out[static NODE_PATH_MAX])
{
    const char *v = getenv(name);
    if (v == NULL || v[0] != '/')
        return false;
    size_t n = strcspn(v, ":");
    if (n >= NODE_PATH_MAX)
        return false;
    memcpy(out, v, n);
    out[n] = '\0';
    return true;
}

/* Joins folder and name; false when it does not fit. */
static bool join(char *out, size_t cap, const char *dir, const char *name)
{
    int n = snprintf(out, cap, "%s/%s", dir, name);
    return n > 0 && (size_t)n < cap;
}

int node_default_data_dir(char out[static NODE_PATH_MAX], struct cyx_err *err)
{
    char dir[NODE_PATH_MAX];
    if (env_path("STATE_DIRECTORY", out))
        return 0;
    if (geteuid() == 0) {
        memcpy(out, SERVICE_DATA, sizeof SERVICE_DATA);
        return 0;
    }
    if (env_path("XDG_DATA_HOME", dir) && join(out, NODE_PATH_MAX, dir, "cyxd"))
        return 0;
    if (env_path("HOME", dir) && join(out, NODE_PATH_MAX, dir, ".local/share/cyxd"))
        return 0;
    return cyx_fail(err, CYX_EINVAL,
                    "no place for data: HOME is not set; name one with --data-dir or `data_dir`");
}

int node_default_control(char out[static NODE_SOCKET_MAX], const char *data_dir, bool is_chosen,
                         struct cyx_err *err)
{
    char dir[NODE_PATH_MAX];
    bool fits;
    if (is_chosen) {
        fits = join(out, NODE_SOCKET_MAX, data_dir, "control.sock");
    } else if (env_path("RUNTIME_DIRECTORY", dir)) {
        fits = join(out, NODE_SOCKET_MAX, dir, "control.sock");
    } else if (geteuid() == 0) {
        memcpy(out, SERVICE_SOCKET, sizeof SERVICE_SOCKET);
        fits = true;
    } else if (env_path("XDG_RUNTIME_DIR", dir)) {
        fits = join(out, NODE_SOCKET_MAX, dir, "cyxd/control.sock");
    } else {
        fits = join(out, NODE_SOCKET_MAX, data_dir, "control.sock");
    }
    if (fits)
        return 0;
    return cyx_fail(err, CYX_EINVAL,
                    "the control socket's path is longer than %d bytes: set `socket` in [control]",
                    NODE_SOCKET_MAX - 1);
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

void node_find_control(char out[static NODE_SOCKET_MAX])
{
    char dir[NODE_PATH_MAX];
    if (env_path("XDG_RUNTIME_DIR", dir) && join(out, NODE_SOCKET_MAX, dir, "cyxd/control.sock") &&
        is_there(out))
        return;
    if (node_default_data_dir(dir, NULL) == 0 && join(out, NODE_SOCKET_MAX, dir, "control.sock") &&
        is_there(out))
        return;
    memcpy(out, SERVICE_SOCKET, sizeof SERVICE_SOCKET);
}
