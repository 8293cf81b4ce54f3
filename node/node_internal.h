/* node/node_internal.h - the running daemon: what its parts share. One process, one struct node;
 * the main thread is worker 0 and carries control, metrics and roles as well. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/env.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"
#include "mesh/mesh.h"
#include "node/config.h"
#include "node/role.h"
#include "node/workers.h"

struct control;
struct dht;
struct endpoints;
struct metrics_server;
struct node_pseudonym;
struct onion;
struct role_set;

enum node_state { NODE_STARTING, NODE_JOINING, NODE_READY, NODE_STOPPING, NODE_STOPPED };

/* The fixed order of start-up (README.md). Each step is entered once, in this order: a step out of
 * turn is a bug of ours and ends the process. */
enum node_step {
    NODE_STEP_CONFIG,    /* file read and checked, roles' shared objects loaded */
    NODE_STEP_USER,      /* running as the user it will stay */
    NODE_STEP_DATA,      /* data folder locked */
    NODE_STEP_KEYS,      /* keys read or made, puzzle solved */
    NODE_STEP_LISTENERS, /* control and metrics sockets open, nothing read yet */
    NODE_STEP_ROLES,     /* roles created */
    NODE_STEP_SANDBOX,   /* no capabilities, no new privileges, Landlock, seccomp */
    NODE_STEP_LOOP,      /* control answers from here on */
    NODE_STEP_STORES,    /* new keys are on disk */
    NODE_STEP_JOIN,      /* peers' store and UDP socket open: the network's first byte may come */
    NODE_STEPS
};

struct node_sandbox_state {
    bool is_on;
    bool has_seccomp;
    int landlock_abi; /* 0: this kernel has none */
    char text[160];   /* for doctor: what is missing and why */
};

enum { NODE_RATE_MS = 1000 };

/* Totals a second ago and now, for `top`. */
struct node_rates {
    struct env_timer timer;
    bool is_on;
    uint64_t at_ns;
    struct metric *metrics; /* of all workers' meshes, at at_ns: for Prometheus */
    size_t n_metrics;
    uint64_t last[6], per_s[6]; /* enum node_rate */
};
enum node_rate {
    RATE_RX_BYTES,
    RATE_TX_BYTES,
    RATE_RX_PACKETS,
    RATE_TX_PACKETS,
    RATE_CELLS,
    RATE_DROPS
};

struct node {
    struct node_config config;
    struct node_overrides overrides;
    struct log *log;
    enum node_state state;
    unsigned n_steps; /* taken: also the next one's number */
    struct workers *workers;
    struct mesh_identity *identity;
    bool is_identity_new;
    struct dht *dht; /* on worker 0; NULL before the join, stopped before the meshes are */
    struct node_pseudonym *pseudonym; /* with the dht */
    struct endpoints *endpoints;      /* from the listeners on; its stores from the join on */
    struct onion *onion;              /* likewise on worker 0, after the dht; may be NULL */
    struct control *control;
    struct metrics_server *metrics;
    struct role_set *roles;
    struct node_sandbox_state sandbox;
    struct node_rates rates;
    uint64_t started_ns, ready_ns;
    struct env_timer tick; /* joining -> ready, watchdog */
    struct env_timer stop_timer;
    unsigned n_signals;
    unsigned n_stop_waits; /* parts that have not stopped yet */
    int statm_fd;          /* our own memory use, opened before the sandbox */
    int exit_code;
    struct env_task stop_task;
};

static inline struct env *node_env(struct node *n)
{
    return n->workers != NULL ? workers_env(n->workers, 0) : NULL;
}

/* Worker 0's. */
static inline struct mesh *node_mesh(struct node *n)
{
    return n->workers != NULL ? workers_mesh(n->workers, 0) : NULL;
}

/* Notes that `step` is done; aborts when it is not its turn. Logs at debug. */
void node__step(struct node *n, enum node_step step);
const char *node__step_name(enum node_step step);
const char *node__state_name(enum node_state state);

/* Begins a graceful stop (idempotent). `exit_code` becomes the process's. */
void node__stop(struct node *n, int exit_code, const char *why);

/* SIGHUP: reads the file again; takes over what can change while running. A bad file changes
 * nothing. */
void node__reload(struct node *n);

/* Exit codes, as cyxd(8) lists them. */
enum node_exit {
    NODE_EXIT_OK = 0,
    NODE_EXIT_FAILURE = 1, /* anything else */
    NODE_EXIT_USAGE = 2,
    NODE_EXIT_CONFIG = 3,
    NODE_EXIT_BUSY = 4,    /* another cyxd has the data folder or the socket */
    NODE_EXIT_PERM = 5,    /* owners, modes, users, passphrase */
    NODE_EXIT_CORRUPT = 6, /* keys that fail their check */
    NODE_EXIT_NOSPACE = 7,
    NODE_EXIT_SANDBOX = 8, /* required, and this kernel lacks it */
};
int node__exit_for(int code);
