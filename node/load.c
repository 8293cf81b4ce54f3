/* The configuration and the roles it names, as start-up and --check read them. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/roles.h"
#include "node/start.h"

#define DEFAULT_FILE "/etc/cyxd/cyxd.toml"

static void complain(void *arg, const char *file, unsigned line, const char *text)
{
    (void)arg;
    if (line > 0)
        fprintf(stderr, "%s:%u: %s\n", file, line, text);
    else
        fprintf(stderr, "%s: %s\n", file, text);
}

/* Paths on the command line may be relative; the daemon's are absolute. Lives as long as the
 * process. */
static int absolute(const char *path, char out[static NODE_PATH_MAX], struct cyx_err *err)
{
    char cwd[NODE_PATH_MAX];
    int n;
    if (path[0] == '/') {
        n = snprintf(out, NODE_PATH_MAX, "%s", path);
    } else {
        if (getcwd(cwd, sizeof cwd) == NULL)
            return cyx_fail(err, CYX_EIO, "getcwd: %s", strerror(errno));
        n = snprintf(out, NODE_PATH_MAX, "%s/%s", cwd, path);
    }
    if (n < 0 || n >= NODE_PATH_MAX - 64)
        return cyx_fail(err, CYX_EINVAL, "%s: too long", path);
    return 0;
}

static int overrides(struct node_overrides *out, const struct node_options *o, struct cyx_err *err)
{
    static char data_dir[NODE_PATH_MAX],
        role_dir[NODE_PATH_MAX]; /* borrowed by the process's node */
    int rc = 0;
    *out = (struct node_overrides){ .user = o->user, .is_verbose = o->is_verbose };
    if (o->data_dir != NULL && (rc = absolute(o->data_dir, data_dir, err)) == 0)
        out->data_dir = data_dir;
    if (rc == 0 && o->role_dir != NULL && (rc = absolute(o->role_dir, role_dir, err)) == 0)
        out->role_dir = role_dir;
    return rc;
}

/* The roles that the text names; NULL with `err`. */
static struct role_set *load_roles(const struct node_config_text *text,
                                   const struct node_overrides *over, struct cyx_err *err)
{
    struct node_config *peek = calloc(1, sizeof *peek);
    if (peek == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the configuration");
        return NULL;
    }
    node_config_peek(peek, text, over);
    struct role_set *s =
        roles_load(peek->role_dir, (const char(*)[33])peek->roles, peek->n_roles, err);
    free(peek);
    return s;
}

int node__load_config(struct node_config *out, struct role_set **set, const struct node_options *o,
                      struct node_overrides *over, struct cyx_err *err)
{
    static char path[NODE_PATH_MAX];
    struct node_config_text text = { 0 };
    const struct conf_item *schemas[NODE_ROLES_MAX];
    const char *file = o->config;
    if (file == NULL && access(DEFAULT_FILE, F_OK) == 0)
        file = DEFAULT_FILE;
    int rc = overrides(over, o, err);
    if (rc == 0 && file != NULL && (rc = absolute(file, path, err)) == 0)
        file = path;
    if (rc == 0)
        rc = node_config_read(&text, file, err);
    if (rc < 0)
        return rc;
    *set = load_roles(&text, over, err);
    if (*set == NULL) {
        rc = err->code;
        complain(NULL, file != NULL ? file : "(no file)", 0, err->msg);
    } else {
        size_t n = roles_schemas(*set, schemas, NODE_ROLES_MAX);
        rc = node_config_parse(out, &text, over, schemas, n, complain, NULL, err);
    }
    node_config_text_fini(&text);
    return rc;
}
