/* node/config.h - the daemon's settings: the schema of its file, and what they mean. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/log.h"
#include "dht/dht.h"
#include "mesh/mesh.h"
#include "node/endpoints.h"
#include "node/paths.h"

enum {
    NODE_ROLES_MAX = 16,
    NODE_WORKERS_MAX = 64,
    NODE_BOOTSTRAP_MAX = 256,
    NODE_USER_MAX = 64,
    NODE_DHT_STORE_MIB_MIN = 1,    /* less would hold no full share of any source */
    NODE_DHT_STORE_MIB_MAX = 1024, /* its index is in memory: about a hundredth of it */
    NODE_DHT_ROSTER_MAX = 65536,   /* 4 MiB of memory */
};

/* The schema of everything but roles, ended by an item with key NULL. */
extern const struct conf_item node_schema[];

enum node_sandbox {
    NODE_SANDBOX_AUTO,     /* as much as this kernel has; what is missing is said at warn */
    NODE_SANDBOX_REQUIRED, /* refuse to start without */
    NODE_SANDBOX_OFF
};

/* What the command line says; it goes before the file. NULL: nothing. Paths are absolute. */
struct node_overrides {
    const char *data_dir;
    const char *role_dir;
    const char *user;
    bool is_verbose;
};

/* Everything decoded. Strings are the struct's own. */
struct node_config {
    char path[NODE_PATH_MAX]; /* the file, "" when there is none */
    char data_dir[NODE_PATH_MAX];
    char role_dir[NODE_PATH_MAX];
    char socket[NODE_SOCKET_MAX];
    char socket_group[NODE_USER_MAX]; /* "": the daemon's own group only */
    char user[NODE_USER_MAX];         /* "": cyxd when started as root */
    char passphrase_file[NODE_PATH_MAX];
    unsigned workers;
    size_t n_roles;
    char roles[NODE_ROLES_MAX][33];
    struct mesh_config mesh; /* without identity; bootstrap points into this struct */
    struct mesh_contact *bootstrap;
    struct dht_config dht;
    struct endpoints_config endpoints;
    bool has_metrics;
    struct env_addr metrics_at; /* loopback */
    enum log_level log_level;
    bool is_log_format_set; /* else: what stderr is connected to decides */
    enum log_format log_format;
    enum node_sandbox sandbox;
    struct conf *conf; /* with the tables of roles when they were given */
};

/* The file's bytes, read once: `roles` is looked up before their schemas are known, then all of it
 * is checked, and both looks must see the same bytes. */
struct node_config_text {
    char *path; /* NULL: no file, an empty text */
    char *text;
    size_t len;
};

/* Reads `path`; NULL: the empty configuration. CYX_ENOENT, CYX_EIO, CYX_EFULL. */
CYX_MUST_USE int node_config_read(struct node_config_text *t, const char *path,
                                  struct cyx_err *err);
void node_config_text_fini(struct node_config_text *t);

/* The values of `roles` and `role_dir`, as far as they can be read; everything wrong is left to
 * node_config_parse. `out` gets n_roles, roles, role_dir. */
void node_config_peek(struct node_config *out, const struct node_config_text *t,
                      const struct node_overrides *o);

/* Checks all of it against the node's schema and those of `n` roles (at most NODE_ROLES_MAX) and
 * decodes. Every complaint goes to `complain` (may be NULL). 0, or a CYX_E* with the first one in
 * `err`; `out` is then empty. The caller frees with node_config_fini. */
CYX_MUST_USE int node_config_parse(struct node_config *out, const struct node_config_text *t,
                                   const struct node_overrides *o,
                                   const struct conf_item *const *role_schemas, size_t n,
                                   conf_complain_fn complain, void *arg, struct cyx_err *err);
void node_config_fini(struct node_config *c);

/* [a-z][a-z0-9-]{0,31} */
bool node_role_name_ok(const char *name);
