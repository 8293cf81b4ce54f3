#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/run/run.h"

enum { HOOK_ARGS_MAX = 256, HOOK_S_MAX = 3600 };

static int fill(json_t *list, char **out)
{
    size_t n = json_array_size(list);
    if (n > HOOK_ARGS_MAX)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL)
            return -1;
        out[i] = (char *)(uintptr_t)text; /* posix_spawn writes to none of them */
    }
    out[n] = NULL;
    return (int)n;
}

/* The state as a file to read: a hook that doesn't read it can't block us. */
static int state_file(json_t *state)
{
    cleanup_free char *text = json_dumps(state, JSON_COMPACT);
    int fd = memfd_create("state", MFD_CLOEXEC);
    if (fd >= 0 && text != NULL &&
        (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int wait_for(pid_t pid, json_int_t seconds)
{
    int status = -1;
    cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    if (seconds <= 0 || seconds > HOOK_S_MAX)
        seconds = HOOK_S_MAX;
    if (pidfd >= 0 && poll(&p, 1, (int)seconds * 1000) == 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static int run_one(json_t *hook, json_t *state, struct cyx_err *err)
{
    char *argv[HOOK_ARGS_MAX + 1], *envp[HOOK_ARGS_MAX + 1];
    const char *path = config__string(hook, "path");
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (path == NULL || path[0] != '/' || fill(json_object_get(hook, "args"), argv) < 0 ||
        fill(json_object_get(hook, "env"), envp) < 0)
        return cyx_fail(err, CYX_EINVAL, "hooks: want an absolute path, arguments and variables");
    if (argv[0] == NULL) {
        argv[0] = (char *)(uintptr_t)path;
        argv[1] = NULL;
    }
    cleanup_close int in = state_file(state);
    if (in < 0)
        return cyx_fail(err, CYX_EIO, "hooks: state: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    int rc = posix_spawn(&pid, path, &actions, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return cyx_fail(err, CYX_EIO, "hook %s: %s", path, strerror(rc));
    int status = wait_for(pid, json_integer_value(json_object_get(hook, "timeout")));
    return status == 0 ? 0
                       : cyx_fail(err, CYX_EREFUSED, "hook %s: status %#x", path, (unsigned)status);
}

int hooks_run(json_t *config, const char *kind, struct iso_container *c, const char *bundle,
              struct cyx_err *err)
{
    json_t *list = json_object_get(json_object_get(config, "hooks"), kind);
    if (json_array_size(list) == 0)
        return 0;
    int rc = 0;
    size_t i;
    json_t *hook, *state = state_json(c, bundle, config);
    json_array_foreach(list, i, hook)
    {
        rc = run_one(hook, state, err);
        if (rc < 0)
            break;
    }
    json_decref(state);
    return rc;
}
