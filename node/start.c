#include "node/start.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/uv/env_uv.h"
#include "node/confine.h"
#include "node/control.h"
#include "node/endpoints.h"
#include "node/keys.h"
#include "node/methods.h"
#include "node/metrics.h"
#include "node/notify.h"
#include "node/onion_node.h"
#include "node/privs.h"
#include "node/roles.h"

/* ---- steps ----------------------------------------------------------------------------------- */

const char *node__step_name(enum node_step step)
{
    static const char *const names[NODE_STEPS] = { "config",    "user",  "data",    "keys",
                                                   "listeners", "roles", "sandbox", "loop",
                                                   "stores",    "join" };
    return names[step];
}

void node__step(struct node *n, enum node_step step)
{
    assert(n->n_steps == (unsigned)step); /* our own order, not anybody's input */
    n->n_steps++;
    log_debug(n->log, "start", "step %u: %s", (unsigned)step, node__step_name(step));
}

/* ---- data and log ---------------------------------------------------------------------------- */

static int open_log(struct node *n, struct cyx_err *err)
{
    struct log_options o = { .level = n->config.log_level,
                             .format = n->config.log_format,
                             .fd = STDERR_FILENO,
                             .ring_lines = LOG_RING_LINES };
    if (!n->config.is_log_format_set)
        o.format = node_notify_is_journal(STDERR_FILENO) ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
    n->log = log_create(&o);
    return n->log != NULL ? 0 : cyx_fail(err, CYX_ENOMEM, "no memory for the log");
}

static int open_data(struct node *n, struct cyx_err *err)
{
    int rc = env_uv_lock_data_dir(n->config.data_dir, err);
    if (rc < 0)
        return rc;
    n->workers = workers_create(n->config.data_dir, n->log, n->config.workers, err);
    if (n->workers == NULL)
        return err->code;
    n->started_ns = env_now_ns(node_env(n));
    return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void still_alive(void)
{
    /* systemd counts the time to READY: ask for more while the puzzle runs. */
    node_notify("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=solving the id puzzle");
}

static int open_keys(struct node *n, struct node_passphrase *pass, struct cyx_err *err)
{
    struct node_keys_options o = { .env = node_env(n),
                                   .network = &n->config.mesh.network,
                                   .data_dir = n->config.data_dir,
                                   .passphrase = pass != NULL ? pass->text : NULL,
                                   .is_listed = n->config.mesh.is_listed,
                                   .progress = still_alive };
    n->identity = node_keys_load(&o, &n->is_identity_new, err);
    return n->identity != NULL ? 0 : err->code;
}

/* ---- control and metrics --------------------------------------------------------------------- */

enum { MEMBERS_MAX = 64 };

/* The group's members by name; those who have it as their own group show it themselves. */
static size_t group_members(const char *group, uint32_t *gid, uint32_t uids[static MEMBERS_MAX])
{
    char names[MEMBERS_MAX][NODE_USER_MAX];
    size_t n = 0, n_uids = 0;
    const struct group *gr = getgrnam(group);
    if (gr == NULL)
        return 0;
    *gid = gr->gr_gid;
    for (char **m = gr->gr_mem; *m != NULL && n < MEMBERS_MAX; m++)
        snprintf(names[n++], sizeof names[0], "%s", *m);
    for (size_t i = 0; i < n; i++) {
        const struct passwd *pw = getpwnam(names[i]);
        if (pw != NULL)
            uids[n_uids++] = pw->pw_uid;
    }
    return n_uids;
}

static int open_control(struct node *n, struct cyx_err *err)
{
    static uint32_t uids[MEMBERS_MAX]; /* borrowed by the control socket */
    struct control_options o = { .env = node_env(n),
                                 .path = n->config.socket,
                                 .uid = geteuid(),
                                 .has_group = n->config.socket_group[0] != '\0',
                                 .find = node__find_method,
                                 .arg = n,
                                 .member_uids = uids };
    if (o.has_group)
        o.n_members = group_members(n->config.socket_group, &o.gid, uids);
    n->control = control_create(&o, err);
    if (n->control == NULL)
        return err->code;
    return o.has_group ? node_privs_share(o.path, n->config.socket_group, err) : 0;
}

static void collect(void *arg, metric_fn fn, void *fn_arg)
{
    node__metrics_now(arg, fn, fn_arg);
}

static bool is_healthy(void *arg, const char **text)
{
    const struct node *n = arg;
    *text = node__state_name(n->state);
    return n->state == NODE_READY || n->state == NODE_JOINING;
}

static int open_metrics(struct node *n, struct cyx_err *err)
{
    struct metrics_options o = { .env = node_env(n),
                                 .at = n->config.metrics_at,
                                 .collect = collect,
                                 .is_healthy = is_healthy,
                                 .arg = n };
    struct env_addr at;
    char text[ENV_ADDR_TEXT];
    if (!n->config.has_metrics)
        return 0;
    n->metrics = metrics_create(&o, err);
    if (n->metrics == NULL)
        return err->code;
    metrics_addr(n->metrics, &at);
    log_info(n->log, "metrics", "http://%s/metrics", env_addr_text(&at, text));
    return 0;
}

static int open_doors(struct node *n, struct cyx_err *err)
{
    const struct endpoints_options o = { .env = node_env(n),
                                         .ops = node__door_ops(),
                                         .config = n->config.endpoints };
    n->endpoints = endpoints_create(&o, err);
    return n->endpoints != NULL ? 0 : err->code;
}

static int open_listeners(struct node *n, struct cyx_err *err)
{
    int rc = open_control(n, err);
    if (rc == 0)
        rc = open_metrics(n, err);
    return rc == 0 ? open_doors(n, err) : rc;
}

static int create_roles(struct node *n, struct cyx_err *err)
{
    struct node_ctx ctx = { .abi = NODE_ROLE_ABI,
                            .env = node_env(n),
                            .log = n->log,
                            .data_dir = n->config.data_dir,
                            .version = CYX_VERSION };
    return roles_create(n->roles, &ctx, n->config.conf, err);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int start_inside(struct node *n, struct node_passphrase *pass, struct cyx_err *err)
{
    int rc = node_privs_become(&n->config, err);
    if (rc == 0)
        rc = node_privs_harden(err); /* after setuid, which makes a process dumpable again */
    if (rc < 0)
        return rc;
    node__step(n, NODE_STEP_USER);
    if ((rc = open_data(n, err)) < 0)
        return rc;
    node__step(n, NODE_STEP_DATA);
    if ((rc = open_keys(n, pass, err)) < 0)
        return rc;
    node__step(n, NODE_STEP_KEYS);
    if ((rc = open_listeners(n, err)) < 0)
        return rc;
    node__step(n, NODE_STEP_LISTENERS);
    if ((rc = create_roles(n, err)) < 0)
        return rc;
    node__step(n, NODE_STEP_ROLES);
    n->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if ((rc = node__confine(n, err)) < 0)
        return rc;
    node__step(n, NODE_STEP_SANDBOX);
    return 0;
}

int node__start(struct node *n, const struct node_options *o, struct cyx_err *err)
{
    struct node_passphrase *pass = NULL;
    n->statm_fd = -1;
    int rc = secret_init(err);
    if (rc == 0)
        rc = node__load_config(&n->config, &n->roles, o, &n->overrides, err);
    if (rc == 0)
        rc = open_log(n, err);
    if (rc < 0)
        return rc;
    node__step(n, NODE_STEP_CONFIG);
    node_notify_open();
    rc = node_passphrase_read(n->config.passphrase_file, &pass, err);
    if (rc == 0)
        rc = start_inside(n, pass, err);
    secret_free(pass);
    return rc;
}
