#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/run/run.h"

static int set_user(struct iso_process *p, const char *text, struct cyx_err *err)
{
    char uid[16];
    size_t len = strcspn(text, ":");
    if (len >= sizeof uid)
        return cyx_fail(err, CYX_EINVAL, "user %.40s: want UID[:GID]", text);
    memcpy(uid, text, len);
    uid[len] = '\0';
    if (iso_number(uid, ISO_HOST_ID_MAX, &p->uid) < 0 ||
        (text[len] == ':' && iso_number(text + len + 1, ISO_HOST_ID_MAX, &p->gid) < 0))
        return cyx_fail(err, CYX_EINVAL, "user %.40s: want UID[:GID], numbers", text);
    return 0;
}

static int load_process(struct config *c, const char *path, struct cyx_err *err)
{
    json_error_t e;
    json_decref(c->doc);
    c->doc = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    if (c->doc == NULL)
        return cyx_fail(err, CYX_EINVAL, "%s:%d: %.100s", path, e.line, e.text);
    free(c->argv);
    free(c->envp);
    c->argv = c->envp = NULL;
    c->spec.process = (struct iso_process){ 0 };
    c->spec.flags &= ~(unsigned)ISO_TTY;
    return config_process(c, c->doc, err);
}

/* The container's own process with another command, unless a file says all of it. */
static int fill(const struct options *o, struct config *c, const char ***envp, struct cyx_err *err)
{
    char bundle[ISO_PATH_MAX], path[ISO_PATH_MAX + 16];
    int rc = bundle_path(o, o->id, bundle, sizeof bundle, err);
    snprintf(path, sizeof path, "%s/config.json", bundle);
    rc = rc < 0 ? rc : config_load(c, path, bundle, err);
    if (rc < 0 || o->process_file != NULL)
        return rc < 0 ? rc : load_process(c, o->process_file, err);
    struct iso_process *p = &c->spec.process;
    if (o->n_rest == 0)
        return cyx_fail(err, CYX_EINVAL, "exec: nothing to run");
    p->argv = o->rest;
    p->cwd = o->cwd != NULL ? o->cwd : p->cwd;
    size_t n = 0;
    while (p->envp[n] != NULL)
        n++;
    *envp = calloc(n + (size_t)o->n_env + 1, sizeof **envp);
    if (*envp == NULL)
        return cyx_fail(err, CYX_ENOMEM, "exec");
    memcpy(*envp, o->env, (size_t)o->n_env * sizeof **envp); /* first: getenv finds these */
    memcpy(*envp + o->n_env, p->envp, n * sizeof **envp);
    p->envp = *envp;
    c->spec.flags = (c->spec.flags & ~(unsigned)ISO_TTY) | (o->tty ? (unsigned)ISO_TTY : 0u);
    return o->user != NULL ? set_user(p, o->user, err) : 0;
}

static int go(const struct options *o, struct iso_exec *x, struct cyx_err *err)
{
    struct iso_exit end;
    cleanup_close int master = iso_exec_tty(x);
    int rc = write_pid_file(o->pid_file, iso_exec_pid(x), err);
    if (rc == 0 && master >= 0 && o->console_socket != NULL)
        rc = console_send(o->console_socket, master, err);
    else if (rc == 0 && master >= 0)
        console_carry(master, iso_exec_pidfd(x));
    if (rc < 0 || o->detach)
        return rc;
    rc = iso_exec_wait(x, -1, &end, err);
    return rc < 0 ? rc : exit_status(&end);
}

int verb_exec(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    struct config c = { 0 };
    struct iso_container *box = NULL;
    struct iso_exec *x = NULL;
    cleanup_free const char **envp = NULL;
    int rc = iso_adopt(e, o->id, &box, err);
    rc = rc < 0 ? rc : fill(o, &c, &envp, err);
    for (int i = 0; i < 3; i++)
        c.spec.process.stdio[i] = i;
    /* Group lists were settled when the container was made. */
    rc = rc < 0 ? rc
                : iso_exec(box, &c.spec.process, (c.spec.flags & ISO_TTY) != 0,
                           c.filter.filter != NULL ? &c.filter : NULL, &x, err);
    rc = rc < 0 ? rc : go(o, x, err);
    iso_exec_close(x);
    iso_container_close(box);
    config_free(&c);
    return rc;
}
