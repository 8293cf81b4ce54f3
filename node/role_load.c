#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/roles_internal.h"

/* Nobody but root and this user may have had a hand in it. */
static int check_owner(const char *path, bool is_dir, struct cyx_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return cyx_fail(err, errno == ENOENT ? CYX_ENOENT : CYX_EIO, "%s: %s", path,
                        strerror(errno));
    if (is_dir ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
        return cyx_fail(err, CYX_EPERM, "%s is no %s", path, is_dir ? "folder" : "regular file");
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022) != 0)
        return cyx_fail(err, CYX_EPERM,
                        "%s can be changed by others (owner %u, mode %03o), and it would run as "
                        "part of this daemon: `chown root %s; chmod go-w %s`",
                        path, (unsigned)st.st_uid, (unsigned)st.st_mode & 0777, path, path);
    return 0;
}

int node__role_check(const struct node_role *t, const char *name, const char *what,
                     struct cyx_err *err)
{
    if (t->abi != NODE_ROLE_ABI)
        return cyx_fail(err, CYX_EVERSION,
                        "%s: built for role ABI %u, this cyxd %s has ABI %u: build the role "
                        "against this version",
                        what, (unsigned)t->abi, CYX_VERSION, (unsigned)NODE_ROLE_ABI);
    if (t->name == NULL || !node_role_name_ok(t->name) || strcmp(t->name, name) != 0)
        return cyx_fail(err, CYX_EINVAL, "%s: says that it is the role \"%.40s\"", what,
                        t->name != NULL ? t->name : "");
    if (t->create == NULL || t->start == NULL || t->stop == NULL || t->destroy == NULL)
        return cyx_fail(err, CYX_EINVAL,
                        "%s: a role has the functions create, start, stop and destroy; one is "
                        "missing",
                        what);
    for (const struct conf_item *c = t->schema; c != NULL && c->key != NULL; c++)
        if (c->table == NULL || strcmp(c->table, name) != 0)
            return cyx_fail(err, CYX_EINVAL, "%s: its setting %s stands in table [%s], want [%s]",
                            what, c->key, c->table != NULL ? c->table : "", name);
    return 0;
}

int node__role_open(const char *dir, const char *name, struct role *out, struct cyx_err *err)
{
    char path[NODE_PATH_MAX + 64];
    if (dir[0] != '/') /* dlopen would look elsewhere, and the start's folder is nobody's choice */
        return cyx_fail(err, CYX_EINVAL, "role %s: role_dir \"%s\" is not an absolute path", name,
                        dir);
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    int rc = check_owner(dir, true, err);
    if (rc == 0)
        rc = check_owner(path, false, err);
    if (rc < 0)
        return cyx_wrap(err, "role %s", name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return cyx_fail(err, CYX_EINVAL, "role %s: %s", name, dlerror());
    const struct node_role *table = dlsym(library, "cyx_role");
    if (table == NULL)
        rc = cyx_fail(err, CYX_EINVAL,
                      "role %s: %s exports no `const struct node_role cyx_role`: it is not a role",
                      name, path);
    else
        rc = node__role_check(table, name, path, err);
    if (rc < 0) {
        dlclose(library);
        return rc;
    }
    *out = (struct role){ .table = table, .library = library };
    return 0;
}
