/* node/roles.h - the roles of this process: loaded by name, created, started, stopped. */
#pragma once
#include <stddef.h>

#include "base/conf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/metric.h"
#include "node/role.h"

struct role_set;

enum { ROLE_STOP_MS = 10000 /* then the hanging one is named and passed over */ };

/* Loads DIR/NAME.so for each of the `n` names (at most NODE_ROLES_MAX) and checks their tables. The
 * folder and the files must belong to root or to this user, and nobody else may write to them: they
 * become part of the process. NULL with `err`: CYX_ENOENT, CYX_EPERM, CYX_EVERSION (another ABI),
 * CYX_EINVAL (no table, a broken one). Owned by the caller. */
struct role_set *roles_load(const char *dir, const char (*names)[33], size_t n,
                            struct cyx_err *err);
/* Adds a table that is linked in rather than loaded (tests). */
CYX_MUST_USE int roles_add(struct role_set *s, const struct node_role *role, struct cyx_err *err);

size_t roles_len(const struct role_set *s);
const struct node_role *roles_at(const struct role_set *s, size_t i);
void *roles_state(const struct role_set *s, size_t i);
/* The schemas of those that have one, at most roles_len. */
size_t roles_schemas(const struct role_set *s, const struct conf_item **out, size_t cap);

/* Creates all in order. On failure those created are destroyed; the role is named. `ctx` is copied;
 * its mesh may still be NULL and is filled by roles_start. */
CYX_MUST_USE int roles_create(struct role_set *s, const struct node_ctx *ctx,
                              const struct conf *conf, struct cyx_err *err);
/* Starts all in order; one that fails is named (those before stay started: roles_stop). */
CYX_MUST_USE int roles_start(struct role_set *s, struct mesh *mesh, struct cyx_err *err);
/* Stops the started ones, last first, each with ROLE_STOP_MS; then done, from the loop or at once
 * when there is nothing to stop. */
void roles_stop(struct role_set *s, env_fn done, void *arg);
/* Destroys states and unloads. NULL is fine. */
void roles_destroy(struct role_set *s);

/* "example.echo": the method, with the role's state. NULL when there is none. */
const struct node_method *roles_method(const struct role_set *s, const char *name, size_t len,
                                       void **state);
void roles_metrics(const struct role_set *s, metric_fn fn, void *arg);
enum node_health roles_health(const struct role_set *s, size_t i, char *text, size_t cap);
