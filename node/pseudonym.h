/* node/pseudonym.h - the key that signs what this node announces (dht/pseudonym.h): read at the
 * start, made when it is first needed, since its puzzle takes seconds. On worker 0's loop. */
#pragma once
#include "base/env.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "dht/pseudonym.h"
#include "mesh/network.h"

struct node_pseudonym;

/* Reads pseudonym.key; blocks a moment. One that can't be read is left alone, said in the log, and
 * told to whoever wants it. `network` is borrowed for life. NULL: no memory. */
struct node_pseudonym *node_pseudonym_open(struct env *env, struct log *log,
                                           const struct mesh_network *network);
/* Ends the puzzle's work soon; who waits gets CYX_ECANCELED, from the loop. */
void node_pseudonym_stop(struct node_pseudonym *p);
/* After the environment, which may still hold work for it. NULL is fine. */
void node_pseudonym_destroy(struct node_pseudonym *p);

/* Who waits, in its own memory until `fn` was called. `key` is borrowed; NULL with `err`. */
struct node_pseudonym_wait {
    struct list node;
    void (*fn)(void *arg, const struct dht_pseudonym *key, const struct cyx_err *err);
    void *arg;
};
/* Calls back with the key, on disk and with its puzzle solved: at once if there is one, else from
 * the loop. */
void node_pseudonym_get(struct node_pseudonym *p, struct node_pseudonym_wait *w);
/* Waits no more; harmless afterwards. */
void node_pseudonym_forget(struct node_pseudonym_wait *w);
/* A sequence for its next record: greater than any before. `now`: network time in seconds. */
uint64_t node_pseudonym_sequence(struct node_pseudonym *p, uint64_t now);
