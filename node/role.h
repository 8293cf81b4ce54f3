/* node/role.h - what a role plug-in exports and what it may reach. A role is a shared object with
 * one exported symbol, `const struct node_role cyx_role`; the daemon loads it by name and refuses
 * another ABI. A third party needs this header and the ones it includes, nothing else of the tree:
 * the daemon exports the functions of base/ and mesh/. All calls happen on the thread of ctx->env.
 */
#pragma once
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"
#include "mesh/mesh.h"

enum { NODE_ROLE_ABI = 1, NODE_ROLE_NAME_MAX = 32 };

/* Handed to create; lives as long as the role. */
struct node_ctx {
    uint32_t abi;
    struct env *env;   /* clocks, timers, sockets, stores ("<role>-..." names only) */
    struct mesh *mesh; /* worker 0's: with `workers` > 1 it holds the links to its share of the
                          peers only (mesh/worker.h); mesh_ask reaches all */
    struct log *log;
    const char *data_dir;
    const char *version; /* the daemon's */
};

/* A control call in progress. Reply exactly once, now or later (node_reply_*). */
struct node_call;

/* `params` is the request's parameter map (may be an empty map), borrowed for the call. */
typedef void (*node_method_fn)(void *state, struct node_call *call, const msgpack_object *params);

struct node_method {
    const char
        *name; /* without the role: "stats" is called as "<role>.stats"; NULL ends the list */
    node_method_fn fn;
    const char *help; /* one line */
};

/* Ends the call with a result: one MessagePack value. Bytes are copied. */
void node_reply(struct node_call *call, const void *data, size_t len);
/* Ends the call with an error: a CYX_E* code and a text that names cause and cure. */
__attribute__((format(printf, 3, 4))) void node_reply_error(struct node_call *call, int code,
                                                            const char *fmt, ...);
/* Sends a progress notification for long work (a MessagePack value), before the reply. */
void node_progress(struct node_call *call, const void *data, size_t len);

enum node_health { NODE_HEALTHY, NODE_DEGRADED, NODE_FAILED };

struct node_role {
    uint32_t abi;                   /* NODE_ROLE_ABI at build time */
    const char *name;               /* [a-z][a-z0-9-]*, as written in `roles = [...]` */
    const char *help;               /* one line */
    const struct conf_item *schema; /* table "<name>", ended by a NULL key; may be NULL */
    int (*create)(struct node_ctx *ctx, const struct conf *conf, void **state, struct cyx_err *err);
    int (*start)(void *state, struct cyx_err *err);
    void (*stop)(void *state, env_fn done, void *arg);     /* asynchronous; done exactly once */
    void (*destroy)(void *state);                          /* after done; NULL is fine */
    const struct node_method *methods;                     /* may be NULL */
    void (*metrics)(void *state, metric_fn fn, void *arg); /* may be NULL */
    /* One line of text for `cyx doctor` and `cyx status`; may be NULL. */
    enum node_health (*health)(void *state, char *text, size_t cap);
};
