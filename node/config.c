#include "node/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "node/config_check.h"

/* ---- the file's bytes ------------------------------------------------------------------------ */

static int read_all(int fd, struct node_config_text *t, struct cyx_err *err)
{
    t->text = malloc(CONF_FILE_MAX + 1);
    if (t->text == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the configuration");
    while (t->len <= CONF_FILE_MAX) {
        ssize_t n = read(fd, t->text + t->len, CONF_FILE_MAX + 1 - t->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cyx_fail(err, CYX_EIO, "read %s: %s", t->path, strerror(errno));
        if (n == 0)
            return 0;
        t->len += (size_t)n;
    }
    return cyx_fail(err, CYX_EFULL, "%s: more than %d bytes", t->path, CONF_FILE_MAX);
}

int node_config_read(struct node_config_text *t, const char *path, struct cyx_err *err)
{
    *t = (struct node_config_text){ 0 };
    if (path == NULL)
        return 0;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cyx_fail(err, errno == ENOENT ? CYX_ENOENT : CYX_EIO, "%s: %s", path,
                        strerror(errno));
    t->path = strdup(path);
    if (t->path == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the configuration");
    int rc = read_all(fd, t, err);
    if (rc < 0)
        node_config_text_fini(t);
    return rc;
}

void node_config_text_fini(struct node_config_text *t)
{
    free(t->path);
    free(t->text);
    *t = (struct node_config_text){ 0 };
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* The schema bounds every length below what the arrays hold. */
static void take(char *to, size_t cap, const char *value)
{
    snprintf(to, cap, "%s", value);
}

static void peek_role(void *arg, const char *value)
{
    struct node_config *c = arg;
    if (c->n_roles < NODE_ROLES_MAX && node_role_name_ok(value))
        take(c->roles[c->n_roles++], sizeof c->roles[0], value);
}

static void peek_role_dir(void *arg, const char *value)
{
    struct node_config *c = arg;
    if (strlen(value) < sizeof c->role_dir)
        take(c->role_dir, sizeof c->role_dir, value);
}

void node_config_peek(struct node_config *out, const struct node_config_text *t,
                      const struct node_overrides *o)
{
    *out = (struct node_config){ .role_dir = CYX_ROLE_DIR };
    conf_peek(t->text, t->len, "", "roles", peek_role, out);
    conf_peek(t->text, t->len, "", "role_dir", peek_role_dir, out);
    if (o->role_dir != NULL)
        take(out->role_dir, sizeof out->role_dir, o->role_dir);
}

static int decode_places(struct node_config *out, const struct conf *c,
                         const struct node_overrides *o, struct cyx_err *err)
{
    const char *data = o->data_dir != NULL ? o->data_dir : conf_str(c, "", "data_dir");
    const char *role_dir = o->role_dir != NULL ? o->role_dir : conf_str(c, "", "role_dir");
    const char *socket = conf_str(c, "control", "socket");
    int rc = node__check_path(data, err);
    if (rc == 0)
        rc = node__check_path(role_dir, err);
    if (rc < 0)
        return rc;
    take(out->role_dir, sizeof out->role_dir, role_dir);
    take(out->data_dir, sizeof out->data_dir, data);
    if (data[0] == '\0' && (rc = node_default_data_dir(out->data_dir, err)) < 0)
        return rc;
    take(out->socket, sizeof out->socket, socket);
    if (socket[0] == '\0')
        return node_default_control(out->socket, out->data_dir, data[0] != '\0', err);
    return 0;
}

static void decode_process(struct node_config *out, const struct conf *c,
                           const struct node_overrides *o)
{
    static const char *const formats[] = { "text", "json", "journal" };
    const char *format = conf_str(c, "log", "format"), *sandbox = conf_str(c, "sandbox", "enable");
    const char *const *roles = NULL;
    take(out->user, sizeof out->user, o->user != NULL ? o->user : conf_str(c, "", "user"));
    take(out->socket_group, sizeof out->socket_group, conf_str(c, "control", "group"));
    take(out->passphrase_file, sizeof out->passphrase_file, conf_str(c, "key", "passphrase_file"));
    out->workers = (unsigned)conf_int(c, "", "workers");
    out->n_roles = conf_strs(c, "", "roles", &roles);
    for (size_t i = 0; i < out->n_roles; i++)
        take(out->roles[i], sizeof out->roles[i], roles[i]);
    (void)log_level_parse(conf_str(c, "log", "level"), &out->log_level); /* `words` checked it */
    if (o->is_verbose)
        out->log_level = LOG_LEVEL_DEBUG;
    for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(format, formats[i]) == 0) {
            out->is_log_format_set = true;
            out->log_format = (enum log_format)i;
        }
    }
    out->sandbox = strcmp(sandbox, "off") == 0        ? NODE_SANDBOX_OFF
                   : strcmp(sandbox, "required") == 0 ? NODE_SANDBOX_REQUIRED
                                                      : NODE_SANDBOX_AUTO;
}

static int decode_addresses(struct node_config *out, const struct conf *c, struct cyx_err *err)
{
    struct mesh_config *m = &out->mesh;
    const char *const *list = NULL;
    const char *metrics = conf_str(c, "metrics", "listen");
    int rc = env_addr_parse(&m->listen, conf_str(c, "mesh", "listen"), err);
    m->n_advertise = conf_strs(c, "mesh", "advertise", &list);
    for (size_t i = 0; rc == 0 && i < m->n_advertise; i++)
        rc = env_addr_parse(&m->advertise[i], list[i], err);
    out->has_metrics = metrics[0] != '\0';
    if (rc == 0 && out->has_metrics)
        rc = env_addr_parse(&out->metrics_at, metrics, err);
    return rc;
}

static int decode_bootstrap(struct node_config *out, const struct conf *c, struct cyx_err *err)
{
    const char *const *list = NULL;
    const char *file = conf_str(c, "mesh", "bootstrap_file");
    size_t n = conf_strs(c, "mesh", "bootstrap", &list), more = 0;
    out->bootstrap = calloc(NODE_BOOTSTRAP_MAX, sizeof *out->bootstrap);
    if (out->bootstrap == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the configuration");
    for (size_t i = 0; i < n; i++)
        if (mesh_contact_parse(&out->bootstrap[i], list[i], err) < 0)
            return err != NULL ? err->code : CYX_EINVAL;
    if (file[0] != '\0') {
        int rc = node__contacts_load(file, out->bootstrap + n, NODE_BOOTSTRAP_MAX - n, &more, err);
        if (rc < 0)
            return rc;
    }
    out->mesh.bootstrap = out->bootstrap;
    out->mesh.n_bootstrap = n + more;
    return 0;
}

static int decode_mesh(struct node_config *out, const struct conf *c, struct cyx_err *err)
{
    struct mesh_config *m = &out->mesh;
    const char *family = conf_str(c, "mesh", "family");
    int rc = mesh_network_init(&m->network, conf_str(c, "network", "name"),
                               (uint32_t)conf_int(c, "network", "id_effort"),
                               conf_bool(c, "network", "lab"), err);
    if (rc < 0)
        return rc;
    m->is_listed = conf_bool(c, "mesh", "listed");
    m->rotate_link_key = conf_bool(c, "mesh", "rotate_link_key");
    m->no_gcm = !conf_bool(c, "mesh", "gcm");
    m->beacon = conf_bool(c, "mesh", "beacon");
    m->beacon_port = (uint16_t)conf_int(c, "mesh", "beacon_port");
    m->links_target = (size_t)conf_int(c, "mesh", "links");
    m->capacity_kbps = (uint32_t)(conf_int(c, "mesh", "capacity") / 1000);
    m->egress_bytes_per_s = (uint64_t)conf_int(c, "mesh", "egress_limit");
    m->lab_rekey_ms = (uint32_t)conf_int(c, "mesh", "lab_rekey");
    m->n_workers = out->workers;
    m->has_family = family[0] != '\0';
    if (m->has_family)
        (void)sodium_hex2bin(m->family, sizeof m->family, family, 32, NULL, NULL, NULL);
    rc = decode_addresses(out, c, err);
    return rc == 0 ? decode_bootstrap(out, c, err) : rc;
}

static void decode_dht(struct node_config *out, const struct conf *c)
{
    int64_t roster = conf_int(c, "dht", "roster");
    out->dht = (struct dht_config){
        .is_serving = out->mesh.is_listed,
        .store_bytes = (size_t)conf_int(c, "dht", "store"),
        .roster_max = roster > 0 ? (size_t)roster : SIZE_MAX, /* 0 means the default there */
    };
}

/* A front door speaks for the user: to others' machines only if somebody said so in so many words.
 */
static int decode_door(const struct conf *c, const char *table, bool *has, struct env_addr *at,
                       struct cyx_err *err)
{
    const char *listen = conf_str(c, table, "listen");
    *has = listen[0] != '\0';
    int rc = *has ? env_addr_parse(at, listen, err) : 0;
    if (rc == 0 && *has && !node__is_loopback(at) && !conf_bool(c, table, "allow_remote"))
        return cyx_fail(err, CYX_EINVAL,
                        "[%s] listen: \"%s\" is not a loopback address: whoever reaches it uses "
                        "this node as you do; want 127.0.0.1:PORT or [::1]:PORT, or "
                        "`allow_remote = true` as well",
                        table, listen);
    return rc;
}

static int decode_endpoints(struct node_config *out, const struct conf *c, struct cyx_err *err)
{
    struct endpoints_config *e = &out->endpoints;
    int rc = decode_door(c, "socks", &e->has_socks, &e->socks_at, err);
    e->is_socks_default = conf_line(c, "socks", "listen") == 0;
    if (rc == 0)
        rc = decode_door(c, "http", &e->has_tunnel, &e->tunnel_at, err);
    e->wait_for_answer = conf_bool(c, "onion", "wait_for_answer");
    /* A path's two links may belong to different threads: paths don't cross those. */
    e->is_relay = conf_bool(c, "onion", "relay") && out->mesh.is_listed && out->workers <= 1 &&
                  out->dht.roster_max != SIZE_MAX;
    if (e->is_relay)
        out->mesh.roles |= MESH_ROLE_RELAY_PATHS;
    e->hops = (unsigned)conf_int(c, "onion", "hops");
    return rc;
}

int node_config_parse(struct node_config *out, const struct node_config_text *t,
                      const struct node_overrides *o, const struct conf_item *const *role_schemas,
                      size_t n, conf_complain_fn complain, void *arg, struct cyx_err *err)
{
    const struct conf_item *schemas[NODE_ROLES_MAX + 1] = { node_schema };
    const char *file = t->path != NULL ? t->path : "(no file)";
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    for (size_t i = 0; i < n && i < NODE_ROLES_MAX; i++)
        schemas[i + 1] = role_schemas[i];
    *out = (struct node_config){ 0 };
    out->conf = conf_parse(file, t->text != NULL ? t->text : "", t->len, schemas, n + 1, complain,
                           arg, err);
    if (out->conf == NULL)
        return err->code;
    take(out->path, sizeof out->path, t->path != NULL ? t->path : "");
    decode_process(out, out->conf, o);
    int rc = decode_places(out, out->conf, o, err);
    if (rc == 0)
        rc = decode_mesh(out, out->conf, err);
    if (rc == 0)
        decode_dht(out, out->conf);
    if (rc == 0)
        rc = decode_endpoints(out, out->conf, err);
    if (rc < 0 && complain != NULL)
        complain(arg, file, 0, err->msg);
    if (rc < 0)
        node_config_fini(out);
    return rc;
}

void node_config_fini(struct node_config *c)
{
    conf_destroy(c->conf);
    free(c->bootstrap);
    c->conf = NULL;
    c->bootstrap = NULL;
    c->mesh.bootstrap = NULL;
    c->mesh.n_bootstrap = 0;
}
