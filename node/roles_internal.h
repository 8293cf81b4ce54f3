/* node/roles_internal.h - what roles.c (life) and role_load.c (shared objects) share. */
#pragma once
#include <stdbool.h>

#include "node/config.h"
#include "node/roles.h"

struct role {
    const struct node_role *table;
    void *library; /* dlopen's, or NULL */
    void *state;
    bool is_created, is_started;
    bool is_hung; /* did not stop: its code may still be called, it stays loaded */
};

struct stop_wait;

struct role_set {
    struct role roles[NODE_ROLES_MAX];
    size_t n;
    struct node_ctx ctx;
    struct env_timer stop_timer;
    size_t stopping; /* roles below this index are still to be stopped */
    bool is_stopping;
    struct stop_wait *wait; /* of the role being stopped; NULL: none */
    env_fn done;
    void *done_arg;
};

/* Opens the shared object and finds its table. */
CYX_MUST_USE int node__role_open(const char *dir, const char *name, struct role *out,
                                 struct cyx_err *err);
/* What roles_load and roles_add ask of a table. `what` begins the message. */
CYX_MUST_USE int node__role_check(const struct node_role *t, const char *name, const char *what,
                                  struct cyx_err *err);
