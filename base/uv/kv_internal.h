/* base/uv/kv_internal.h - stores over LMDB, shared by kv*.c.
 *
 * A file has one MDB_env in a process (LMDB's rule): struct kv_store, counted, in a registry behind
 * a mutex. Each environment (thread) has its own struct env_kv on it: a read transaction that is
 * reset and renewed, and a queue of batches that the pool commits in order. LMDB's own lock orders
 * the writers of several threads. */
#pragma once
#include <lmdb.h>

#include "base/uv/env_uv_internal.h"

struct kv_store {
    struct list node; /* the registry */
    char *path;
    MDB_env *mdb;
    MDB_dbi dbi;
    unsigned n_refs;
};

/* What is under way on the pool: some batches from the head of the queue. */
struct kv_commit {
    uv_work_t req;
    bool is_busy;
    struct list batches;
    size_t n_bytes;
};

struct env_kv {
    struct list node; /* env_uv.stores */
    struct env_uv *e;
    struct kv_store *store;
    char name[33];
    unsigned n_refs;     /* kv_open of one name in one environment counts */
    MDB_txn *read;       /* reset between reads; NULL until the first */
    bool is_reading;     /* a callback of kv_each may read again: with a transaction of its own */
    bool was_failing;    /* the last commit failed: the log says it once, and when it is over */
    struct list queue;   /* struct env_kv_batch, in order of their commits */
    size_t queued_bytes; /* waiting or under way */
    struct kv_commit commit;
    struct list refused; /* batches above the bound, told by refused_task */
    struct env_task refused_task;
};

struct kv_op {
    struct list node;
    size_t key_len, val_len;
    bool is_del;
    uint8_t bytes[]; /* key, then value */
};

struct env_kv_batch {
    struct list node; /* env_kv.queue, then kv_commit.batches */
    struct env_kv *kv;
    struct list ops;
    size_t n_bytes;
    bool is_broken; /* an operation was refused for memory: never commit half a batch */
    env_done_fn done;
    void *arg;
    int code;
};

/* kv_registry.c */
/* Opens `path` (name for messages) or takes another reference. 0 or a CYX_E* with `err`. */
int env_uv__store_ref(struct env_uv *e, const char *name, size_t max_bytes, struct kv_store **out,
                      struct cyx_err *err);
void env_uv__store_unref(struct kv_store *st);
/* LMDB's error as ours. */
int env_uv__mdb_code(int rc);

/* kv_check.c */
/* Looks at the file behind `fd` with pread alone, so that no damage can crash us: LMDB maps the
 * file, and a page beyond its end would be SIGBUS. NULL: sound (or empty); else what is wrong. */
const char *env_uv__kv_check(int fd);

/* kv_batch.c */
void env_uv__batch_free(struct env_kv_batch *b);
/* kv.c */
void env_uv__kv_free_if_done(struct env_kv *kv);
