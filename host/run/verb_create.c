#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/run/run.h"

enum hold { LET_GO, HOLD };

/* Hooks that would run inside, as root of the container, before its walls are whole. */
static int refuse_inner_hooks(json_t *config, struct cyx_err *err)
{
    static const char *const inner[] = { "createContainer", "startContainer" };
    for (size_t i = 0; i < 2; i++) {
        if (json_array_size(json_object_get(json_object_get(config, "hooks"), inner[i])) > 0)
            return cyx_fail(err, CYX_EUNSUPPORTED, "hooks.%s: not supported", inner[i]);
    }
    return 0;
}

static int before_start(const struct options *o, struct config *c, struct iso_container *box,
                        const char *bundle, struct cyx_err *err)
{
    int rc = bundle_save(o, o->id, bundle, err);
    cleanup_close int master = -1;
    if (rc == 0 && (c->spec.flags & ISO_TTY) != 0 && o->console_socket != NULL) {
        master = iso_container_tty(box);
        rc = console_send(o->console_socket, master, err);
    }
    rc = rc < 0 ? rc : hooks_run(c->doc, "prestart", box, bundle, err);
    rc = rc < 0 ? rc : hooks_run(c->doc, "createRuntime", box, bundle, err);
    return rc < 0 ? rc : write_pid_file(o->pid_file, iso_container_pid(box), err);
}

static int make(struct iso_engine *e, const struct options *o, struct config *c, const char *bundle,
                enum hold hold, struct iso_container **out, struct cyx_err *err)
{
    /* Hooks and the console have their turn before the process does. */
    bool waits = hold == HOLD || json_object_get(c->doc, "hooks") != NULL ||
                 ((c->spec.flags & ISO_TTY) != 0 && o->console_socket != NULL);
    c->spec.name = o->id;
    c->spec.flags |= waits ? (unsigned)ISO_HOLD : 0u;
    for (int i = 0; i < 3; i++)
        c->spec.process.stdio[i] = i;
    int rc = refuse_inner_hooks(c->doc, err);
    if (rc == 0 && !c->has_ids)
        rc = iso_engine_claim_ids(e, o->id, &c->spec.host_ids, err);
    rc = rc < 0 ? rc
                : iso_create(e, &c->spec, c->filter.filter != NULL ? &c->filter : NULL, out, err);
    if (rc < 0)
        return rc;
    rc = before_start(o, c, *out, bundle, err);
    if (rc == 0 && waits && hold == LET_GO)
        rc = iso_start(*out, err);
    if (rc == 0 && hold == LET_GO)
        rc = hooks_run(c->doc, "poststart", *out, bundle, err);
    if (rc < 0 && iso_destroy(*out, NULL) < 0)
        iso_container_close(*out);
    return rc;
}

static int load(const struct options *o, struct config *c, char **bundle, struct cyx_err *err)
{
    char path[ISO_PATH_MAX];
    *bundle = realpath(o->bundle, NULL);
    if (*bundle == NULL)
        return cyx_fail(err, CYX_ENOENT, "bundle %s: %s", o->bundle, strerror(errno));
    snprintf(path, sizeof path, "%s/config.json", *bundle);
    int rc = config_load(c, path, *bundle, err);
    if (rc == 0 && c->warnings[0] != '\0')
        fprintf(stderr, "cyx-run: warning: %s\n", c->warnings);
    return rc;
}

int verb_create(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    static struct config c; /* the held process runs on it until it is started: never freed */
    struct iso_container *box = NULL;
    cleanup_free char *bundle = NULL;
    int rc = load(o, &c, &bundle, err);
    if (rc == 0 && (c.spec.flags & ISO_TTY) != 0 && o->console_socket == NULL)
        rc = cyx_fail(err, CYX_EINVAL, "a terminal wants --console-socket");
    rc = rc < 0 ? rc : make(e, o, &c, bundle, HOLD, &box, err);
    if (rc == 0)
        iso_container_close(box);
    else
        config_free(&c);
    return rc;
}

static struct iso_container *running; /* for the handler */

static void pass_on(int sig)
{
    int saved = errno;
    (void)iso_signal(running, sig, ISO_FIRST, NULL);
    errno = saved;
}

static void forward_signals(struct iso_container *box)
{
    static const int all[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT };
    running = box;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sigaction(all[i], &(struct sigaction){ .sa_handler = pass_on, .sa_flags = SA_RESTART },
                  NULL);
}

static int wait_and_remove(struct iso_container *box, struct config *c, const char *bundle,
                           struct cyx_err *err)
{
    struct iso_exit end = { .end = ISO_END_UNKNOWN };
    cleanup_close int master = iso_container_tty(box);
    forward_signals(box);
    if (master >= 0)
        console_carry(master, iso_container_pidfd(box));
    int rc = iso_wait(box, -1, &end, err);
    if (rc == 0)
        rc = hooks_run(c->doc, "poststop", box, bundle, err);
    int removed = iso_destroy(box, rc < 0 ? NULL : err);
    rc = rc < 0 ? rc : removed;
    return rc < 0 ? rc : exit_status(&end);
}

int verb_run(struct iso_engine *e, const struct options *o, struct cyx_err *err)
{
    struct config c = { 0 };
    struct iso_container *box = NULL;
    cleanup_free char *bundle = NULL;
    int rc = load(o, &c, &bundle, err);
    if (rc == 0 && (c.spec.flags & ISO_TTY) != 0 && o->detach && o->console_socket == NULL)
        rc = cyx_fail(err, CYX_EINVAL, "a terminal and --detach want --console-socket");
    rc = rc < 0 ? rc : make(e, o, &c, bundle, LET_GO, &box, err);
    if (rc == 0 && o->detach)
        iso_container_close(box);
    else if (rc == 0)
        rc = wait_and_remove(box, &c, bundle, err);
    config_free(&c);
    return rc;
}
