/* node/metrics.h - every counter of the process, and the loopback port that shows them. */
#pragma once
#include "base/env.h"
#include "base/err.h"
#include "base/metric.h"

struct node;
struct node_gathered;
struct metrics_server;

enum { METRICS_CLIENTS_MAX = 16, METRICS_CLIENT_MS = 10000 /* from connect to answer */ };

/* Calls fn for the daemon's own metrics, the meshes' as gathered, and the roles'. */
void node__metrics(struct node *n, const struct node_gathered *g, metric_fn fn, void *arg);
/* The same at once: with several workers the meshes' are up to a second old. */
void node__metrics_now(struct node *n, metric_fn fn, void *arg);

struct metrics_options {
    struct env *env;
    struct env_addr at; /* loopback */
    /* Calls fn for each metric. */
    void (*collect)(void *arg, metric_fn fn, void *fn_arg);
    /* True when the node is well: /health says 200 then, else 503. `text` gets a word. */
    bool (*is_healthy)(void *arg, const char **text);
    void *arg;
};

/* Listens and serves GET /metrics and GET /health over HTTP/1.1, one request a connection. */
struct metrics_server *metrics_create(const struct metrics_options *o, struct cyx_err *err);
void metrics_addr(const struct metrics_server *s, struct env_addr *out);
void metrics_destroy(struct metrics_server *s); /* NULL is fine */
