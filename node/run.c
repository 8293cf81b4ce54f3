/* The daemon in its loop: joining, signals, reload, stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/uv/env_uv.h"
#include "dht/dht.h"
#include "node/control.h"
#include "node/endpoints.h"
#include "node/gather.h"
#include "node/keys.h"
#include "node/methods.h"
#include "node/metrics.h"
#include "node/notify.h"
#include "node/onion_node.h"
#include "node/process.h"
#include "node/pseudonym.h"
#include "node/roles.h"
#include "node/start.h"

enum {
    TICK_JOINING_MS = 50, /* how soon `ready` is seen */
    TICK_MS = 1000,
    STOP_MS = 20000, /* roles' bounds and the mesh's GOODBYEs together; then the end anyway */
};

const char *node__state_name(enum node_state state)
{
    static const char *const names[] = { "starting", "joining", "ready", "stopping", "stopped" };
    return names[state];
}

int node__exit_for(int code)
{
    switch (code) {
    case CYX_EBUSY:
        return NODE_EXIT_BUSY;
    case CYX_EPERM:
        return NODE_EXIT_PERM;
    case CYX_ECORRUPT:
        return NODE_EXIT_CORRUPT;
    case CYX_ENOSPC:
        return NODE_EXIT_NOSPACE;
    case CYX_EUNSUPPORTED:
        return NODE_EXIT_SANDBOX;
    default:
        return NODE_EXIT_FAILURE;
    }
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void on_mesh_stopped(void *arg)
{
    struct node *n = arg;
    env_timer_stop(node_env(n), &n->stop_timer);
    n->state = NODE_STOPPED;
    if (n->control != NULL)
        control_end(n->control);
    env_uv_stop(node_env(n));
}

static void on_onion_stopped(void *arg)
{
    struct node *n = arg;
    if (n->pseudonym != NULL)
        node_pseudonym_stop(n->pseudonym);
    if (n->dht != NULL)
        dht_stop(n->dht); /* while links are up: it takes its questions back */
    workers_stop(n->workers, on_mesh_stopped, n);
}

static void on_roles_stopped(void *arg)
{
    struct node *n = arg;
    if (n->state != NODE_STOPPING)
        return; /* the deadline came first */
    endpoints_set_onion(n->endpoints, NULL);
    node__onion_stop(n, on_onion_stopped, n); /* while links are up: its ends say so */
}

static void on_stop_timeout(struct env_timer *t, void *arg)
{
    struct node *n = arg;
    (void)t;
    log_error(n->log, "stop", "not done within %d s: ending anyway", STOP_MS / 1000);
    node_notify_close();
    _exit(n->exit_code != 0 ? n->exit_code : NODE_EXIT_FAILURE);
}

static void begin_stop(void *arg)
{
    struct node *n = arg;
    if (n->n_steps > NODE_STEP_STORES)
        node__rates_stop(n);
    env_timer_stop(node_env(n), &n->tick);
    roles_stop(n->roles, on_roles_stopped, n);
}

void node__stop(struct node *n, int exit_code, const char *why)
{
    if (n->state == NODE_STOPPING || n->state == NODE_STOPPED)
        return;
    n->state = NODE_STOPPING;
    n->exit_code = exit_code;
    log_info(n->log, "stop", "%s", why);
    node_notify("STOPPING=1\nSTATUS=stopping");
    if (n->control != NULL)
        control_stop_accepting(n->control);
    env_timer_init(&n->stop_timer, on_stop_timeout, n);
    env_timer_in(node_env(n), &n->stop_timer, ENV_MS(STOP_MS));
    env_task_init(&n->stop_task, begin_stop, n); /* never from inside a role or a method */
    env_defer(node_env(n), &n->stop_task);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_stop_signal(void *arg)
{
    struct node *n = arg;
    if (n->n_signals++ == 0) {
        node__stop(n, NODE_EXIT_OK, "a signal asks to stop");
        return;
    }
    /* What was acknowledged is on disk; the rest may go. */
    log_warn(n->log, "stop", "a second signal: ending at once");
    _exit(NODE_EXIT_FAILURE);
}

static void on_reload_signal(void *arg)
{
    node__reload(arg);
}

static int watch_signals(struct node *n, struct cyx_err *err)
{
    int rc = env_uv_on_signal(node_env(n), SIGTERM, on_stop_signal, n, err);
    if (rc == 0)
        rc = env_uv_on_signal(node_env(n), SIGINT, on_stop_signal, n, err);
    if (rc == 0)
        rc = env_uv_on_signal(node_env(n), SIGHUP, on_reload_signal, n, err);
    return rc;
}

void node__reload(struct node *n)
{
    struct node_config_text text;
    struct node_config *fresh = calloc(1, sizeof *fresh);
    struct cyx_err err = { 0 };
    const struct conf_item *schemas[NODE_ROLES_MAX];
    size_t count = roles_schemas(n->roles, schemas, NODE_ROLES_MAX);
    const char *path = n->config.path[0] != '\0' ? n->config.path : NULL;
    if (fresh == NULL)
        return;
    if (node_config_read(&text, path, &err) < 0) {
        log_error(n->log, "reload", "%s: keeping the old settings", err.msg);
    } else if (node_config_parse(fresh, &text, &n->overrides, schemas, count, NULL, NULL, &err) <
               0) {
        log_error(n->log, "reload", "%s: keeping the old settings", err.msg);
    } else {
        log_set_level(n->log, fresh->log_level);
        log_info(n->log, "reload", "log level %s; other settings change with a restart",
                 log_level_name(fresh->log_level));
        node_config_fini(fresh);
    }
    node_config_text_fini(&text);
    free(fresh);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void on_status(void *arg, const struct node_gathered *g)
{
    struct node *n = arg;
    const struct mesh_status *s = &g->status;
    uint64_t watchdog = node_notify_watchdog_ms();
    uint64_t next = n->state == NODE_JOINING ? TICK_JOINING_MS : TICK_MS;
    if (n->state != NODE_JOINING && n->state != NODE_READY)
        return; /* a stop began while the workers were asked */
    if (n->state == NODE_JOINING && s->is_ready) {
        n->state = NODE_READY;
        n->ready_ns = s->ready_ns != 0 ? s->ready_ns : env_now_ns(node_env(n));
        log_info(n->log, "node", "ready after %.3f s with %zu links",
                 (double)(n->ready_ns - n->started_ns) / 1e9, s->links);
        node_notify("STATUS=ready");
    }
    if (watchdog > 0)
        node_notify("WATCHDOG=1");
    if (watchdog > 0 && watchdog < next)
        next = watchdog;
    env_timer_in(node_env(n), &n->tick, ENV_MS(next));
}

/* The watchdog hears from us only while every worker answers. */
static void on_tick(struct env_timer *t, void *arg)
{
    (void)t;
    node__gather(arg, NODE_GATHER_STATUS, on_status, arg);
}

/* Before the roles, which may use it, and after all meshes, which it asks through. */
static int open_dht(struct node *n, struct cyx_err *err)
{
    n->pseudonym = node_pseudonym_open(node_env(n), n->log, &n->config.mesh.network);
    if (n->pseudonym == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the pseudonym");
    n->dht = dht_create(node_mesh(n), &n->config.dht, err);
    int rc = n->dht != NULL ? dht_start(n->dht, err) : err->code;
    for (unsigned m = MESH_METHOD_FIND;
         rc == 0 && n->config.dht.is_serving && m <= MESH_METHOD_RECORDS;
         m++) /* FIND, STORE, DIGEST, LIST, RECORDS */
        workers_hand_requests(n->workers, m);
    return rc;
}

/* After the dht, through which it finds and is found. */
static int open_endpoints(struct node *n, struct cyx_err *err)
{
    int rc = node__onion_open(n, err);
    if (rc == 0)
        rc = endpoints_open(n->endpoints, n->identity, err);
    if (rc == 0 && n->onion != NULL)
        endpoints_set_onion(n->endpoints, n->onion);
    return rc;
}

static void join(struct node *n)
{
    struct cyx_err err = { 0 };
    struct mesh_status s;
    char addr[ENV_ADDR_TEXT];
    node__step(n, NODE_STEP_STORES);
    n->config.mesh.identity = n->identity;
    int rc = workers_open(n->workers, &n->config.mesh, &err);
    if (rc == 0)
        rc = open_dht(n, &err);
    if (rc == 0)
        rc = open_endpoints(n, &err);
    if (rc == 0) {
        node__step(n, NODE_STEP_JOIN);
        n->state = NODE_JOINING;
        node__rates_start(n);
        env_timer_init(&n->tick, on_tick, n);
        env_timer_in(node_env(n), &n->tick, ENV_MS(TICK_JOINING_MS));
        rc = roles_start(n->roles, node_mesh(n), &err);
    }
    if (rc < 0) {
        log_error(n->log, "start", "%s", err.msg);
        node__stop(n, node__exit_for(rc), "start-up failed");
        return;
    }
    mesh_get_status(node_mesh(n), &s);
    log_info(n->log, "node", "cyxd %s in network \"%s\", UDP %s, control %s", CYX_VERSION,
             n->config.mesh.network.name, env_addr_text(&s.local, addr), n->config.socket);
    node_notify("READY=1\nSTATUS=joining");
}

static void on_keys_stored(void *arg, int code)
{
    struct node *n = arg;
    if (n->state != NODE_STARTING)
        return; /* stopped in the meantime */
    if (code == 0) {
        join(n);
        return;
    }
    log_error(n->log, "keys", "%s/%s can't be written (%s): %s", n->config.data_dir, NODE_KEY_FILE,
              cyx_code_name(code),
              code == CYX_ENOSPC ? "make room on the disk or remount it read-write"
                                 : "check the folder's owner and mode");
    node__stop(n, node__exit_for(code), "start-up failed");
}

void node__start_mesh(struct node *n)
{
    int rc;
    if (!n->is_identity_new) {
        join(n);
        return;
    }
    if ((rc = node_keys_store(node_env(n), n->identity, on_keys_stored, n)) < 0)
        on_keys_stored(n, rc);
}

static void on_loop(void *arg)
{
    struct node *n = arg;
    node__step(n, NODE_STEP_LOOP);
    node__start_mesh(n);
}

/* ---- the process ----------------------------------------------------------------------------- */

void node__finish(struct node *n)
{
    if (n->workers != NULL) {
        control_destroy(n->control); /* calls in flight let go of links and roles */
        metrics_destroy(n->metrics);
        roles_destroy(n->roles);
        endpoints_destroy(n->endpoints);
        node__onion_destroy(n);
        dht_destroy(n->dht);
        n->dht = NULL;
        workers_destroy(n->workers); /* runs the posts that wait: the node must stand */
        node_pseudonym_destroy(n->pseudonym);
        free(n->rates.metrics);
    } else {
        roles_destroy(n->roles);
    }
    mesh_identity_destroy(n->identity);
    node_config_fini(&n->config);
    node_notify_close();
    if (n->statm_fd >= 0)
        close(n->statm_fd);
    log_destroy(n->log);
}

int node_process(const struct node_options *o)
{
    struct cyx_err err = { 0 };
    struct env_task first;
    struct node *n = calloc(1, sizeof *n);
    if (n == NULL) {
        fputs("cyxd: no memory\n", stderr);
        return NODE_EXIT_FAILURE;
    }
    n->statm_fd = -1;
    int rc = node__start(n, o, &err);
    if (rc == 0)
        rc = watch_signals(n, &err);
    if (rc == 0) {
        env_task_init(&first, on_loop, n);
        env_defer(node_env(n), &first);
        env_uv_run(node_env(n));
        log_info(n->log, "stop", "bye");
    } else if (n->log != NULL) {
        log_error(n->log, "start", "%s", err.msg);
    } else {
        fprintf(stderr, "cyxd: %s\n", err.msg);
    }
    int status = rc == 0 ? n->exit_code : n->n_steps == 0 ? NODE_EXIT_CONFIG : node__exit_for(rc);
    node__finish(n);
    free(n);
    return status;
}
