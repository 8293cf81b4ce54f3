/* node/keys.h - the node's identity on disk: read, made on the first start, sealed, stored. */
#pragma once
#include <stdbool.h>

#include "base/env.h"
#include "base/err.h"
#include "base/log.h"
#include "mesh/identity.h"
#include "mesh/network.h"

enum { NODE_PASSPHRASE_MAX = 1024 };
#define NODE_KEY_FILE "identity.key"

struct node_passphrase {
    char text[NODE_PASSPHRASE_MAX + 1];
    bool is_set;
};

/* Reads the passphrase: the first line of `file` ("" : the systemd credential cyxd-passphrase, if
 * there is one). While still root: the file may belong to it. Fills *out with locked memory (NULL
 * when there is none), freed by secret_free. CYX_EPERM for a file that others may read. */
CYX_MUST_USE int node_passphrase_read(const char *file, struct node_passphrase **out,
                                      struct cyx_err *err);

struct node_keys_options {
    struct env *env;
    const struct mesh_network *network;
    const char *data_dir;   /* for messages */
    const char *passphrase; /* NULL: none */
    bool is_listed;         /* needs a puzzle */
    void (*progress)(void); /* once a second while the puzzle is being solved; may be NULL */
};

/* Reads identity.key, or makes an identity on the first start; solves its puzzle when one is needed
 * (about 7 s at effort 4096, in a thread that is gone on return). `is_changed` asks for
 * node_keys_store. NULL with `err`: cause and cure. */
struct mesh_identity *node_keys_load(const struct node_keys_options *o, bool *is_changed,
                                     struct cyx_err *err);

/* Writes identity.key; `done` from the loop. 0, or a CYX_E* and done is not called. */
CYX_MUST_USE int node_keys_store(struct env *env, const struct mesh_identity *i, env_done_fn done,
                                 void *arg);
