#include "node/confine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/privs.h"
#include "node/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static void folder_of(const char *path, size_t len, char out[static NODE_PATH_MAX])
{
    snprintf(out, NODE_PATH_MAX, "%.*s", (int)len, path);
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        slash[slash == out ? 1 : 0] = '\0';
}

/* Sanitizers read the process's maps and write their reports at the end: those builds see the whole
 * tree and write below the folder of their log. */
static size_t sanitizer_paths(struct sandbox_path *paths, char log_dir[static NODE_PATH_MAX])
{
    const char *options = getenv("ASAN_OPTIONS");
    const char *log = options != NULL ? strstr(options, "log_path=") : NULL;
    size_t n = 0;
    paths[n++] = (struct sandbox_path){ "/", false };
    if (log == NULL)
        return n;
    log += strlen("log_path=");
    folder_of(log, strcspn(log, ":"), log_dir);
    paths[n++] = (struct sandbox_path){ log_dir, true };
    return n;
}

/* The folders of data and socket, and the files that SIGHUP reads again. */
static int close_files(const struct node *n, struct cyx_err *err)
{
    static char socket_dir[NODE_PATH_MAX], config_dir[NODE_PATH_MAX], contacts_dir[NODE_PATH_MAX],
        log_dir[NODE_PATH_MAX];
    const char *bootstrap = conf_str(n->config.conf, "mesh", "bootstrap_file");
    struct sandbox_path paths[SANDBOX_PATHS_MAX];
    size_t k = 0;
    folder_of(n->config.socket, strlen(n->config.socket), socket_dir);
    /* The folders: editors replace the files. */
    folder_of(n->config.path, strlen(n->config.path), config_dir);
    folder_of(bootstrap, strlen(bootstrap), contacts_dir);
    paths[k++] = (struct sandbox_path){ n->config.data_dir, true };
    paths[k++] = (struct sandbox_path){ socket_dir, true };
    paths[k++] = (struct sandbox_path){ config_dir, false };
    paths[k++] = (struct sandbox_path){ contacts_dir, false };
    paths[k++] = (struct sandbox_path){ "/etc/passwd", false };
    paths[k++] = (struct sandbox_path){ "/etc/group", false };
    paths[k++] = (struct sandbox_path){ "/etc/nsswitch.conf", false };
    paths[k++] = (struct sandbox_path){ "/proc/sys/net", false };
    if (IS_SANITIZED)
        k += sanitizer_paths(paths + k, log_dir);
    return sandbox_files(paths, k, err);
}

static int missing(struct node *n, struct cyx_err *err)
{
    const struct node_sandbox_state *s = &n->sandbox;
    const char *what = !s->has_seccomp && s->landlock_abi == 0 ? "seccomp filters and Landlock"
                       : !s->has_seccomp                       ? "seccomp filters"
                                                               : "Landlock";
    snprintf(n->sandbox.text, sizeof n->sandbox.text, "this kernel has no %s", what);
    if (n->config.sandbox == NODE_SANDBOX_REQUIRED)
        return cyx_fail(err, CYX_EUNSUPPORTED,
                        "%s, and [sandbox] says `required`: use a kernel that has them, or "
                        "`enable = \"auto\"`",
                        n->sandbox.text);
    log_warn(n->log, "sandbox", "%s: running without", n->sandbox.text);
    return 0;
}

int node__confine(struct node *n, struct cyx_err *err)
{
    struct node_sandbox_state *s = &n->sandbox;
    int rc = node_privs_clear(err);
    if (rc < 0)
        return rc;
    if (n->config.sandbox == NODE_SANDBOX_OFF) {
        snprintf(s->text, sizeof s->text, "switched off in the configuration");
        log_warn(n->log, "sandbox", "%s", s->text);
        return 0;
    }
    s->is_on = true;
    if ((rc = close_files(n, err)) < 0)
        return rc;
    s->landlock_abi = rc;
    if ((rc = sandbox_calls(err)) < 0)
        return rc;
    s->has_seccomp = rc > 0;
    if (!s->has_seccomp || s->landlock_abi == 0)
        return missing(n, err);
    snprintf(s->text, sizeof s->text, "seccomp and Landlock (ABI %d)", s->landlock_abi);
    log_info(n->log, "sandbox", "%s", s->text);
    return 0;
}
