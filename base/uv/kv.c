/* base/uv/kv.c - opening, closing and reading a store. */
#include <stdlib.h>
#include <string.h>

#include "base/uv/kv_internal.h"

static struct env_kv *find(struct env_uv *e, const char *name)
{
    list_each (pos, &e->stores) {
        struct env_kv *kv = container_of(pos, struct env_kv, node);
        if (strcmp(kv->name, name) == 0)
            return kv;
    }
    return NULL;
}

static void tell_refused(void *arg)
{
    struct env_kv *kv = arg;
    kv->n_refs++; /* a callback may close the store */
    while (!list_empty(&kv->refused)) {
        struct env_kv_batch *b = container_of(kv->refused.next, struct env_kv_batch, node);
        list_del(&b->node);
        env_done_fn done = b->done;
        void *done_arg = b->arg;
        int code = b->code;
        env_uv__batch_free(b);
        if (done != NULL)
            done(done_arg, code);
    }
    env_uv__kv_close(kv);
}

int env_uv__kv_open(struct env *base, const char *name, size_t max_bytes, struct env_kv **out,
                    struct cyx_err *err)
{
    struct env_uv *e = env_uv_of(base);
    if (e->dir == NULL)
        return cyx_fail(err, CYX_EUNSUPPORTED, "store %s: this environment has no data folder",
                        name);
    if (!env_uv__name_ok(name, false))
        return cyx_fail(err, CYX_EINVAL, "store name %.40s: want 1 to 32 of a-z, 0-9 and -", name);
    struct env_kv *kv = find(e, name);
    if (kv != NULL) { /* open, or closed with commits under way: the queue goes on */
        kv->n_refs++;
        *out = kv;
        return 0;
    }
    kv = calloc(1, sizeof *kv);
    if (kv == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for store %s", name);
    int rc = env_uv__store_ref(e, name, max_bytes, &kv->store, err);
    if (rc < 0) {
        free(kv);
        return rc;
    }
    kv->e = e;
    kv->n_refs = 1;
    memcpy(kv->name, name, strlen(name) + 1);
    list_init(&kv->queue);
    list_init(&kv->refused);
    list_init(&kv->commit.batches);
    env_task_init(&kv->refused_task, tell_refused, kv);
    list_push_back(&e->stores, &kv->node);
    *out = kv;
    return 0;
}

/* The only place a store's memory goes away: nobody has it open and nothing is on its way. */
void env_uv__kv_free_if_done(struct env_kv *kv)
{
    if (kv->n_refs > 0 || kv->commit.is_busy || !list_empty(&kv->queue) ||
        !list_empty(&kv->refused))
        return;
    env_task_cancel(&kv->refused_task);
    if (kv->read != NULL)
        mdb_txn_abort(kv->read);
    list_del(&kv->node);
    env_uv__store_unref(kv->store);
    free(kv);
}

void env_uv__kv_close(struct env_kv *kv)
{
    if (kv->n_refs > 0)
        kv->n_refs--;
    env_uv__kv_free_if_done(kv);
}

/* ---- reads ------------------------------------------------------------------------------------
 */

/* The store's own transaction, renewed; inside another read a fresh one. */
static int read_begin(struct env_kv *kv, MDB_txn **out)
{
    int rc;
    if (kv->is_reading) {
        rc = mdb_txn_begin(kv->store->mdb, NULL, MDB_RDONLY, out);
    } else if (kv->read == NULL) {
        rc = mdb_txn_begin(kv->store->mdb, NULL, MDB_RDONLY, &kv->read);
        *out = kv->read;
    } else {
        rc = mdb_txn_renew(kv->read);
        *out = kv->read;
    }
    if (rc == 0 && *out == kv->read)
        kv->is_reading = true;
    return env_uv__mdb_code(rc);
}

static void read_end(struct env_kv *kv, MDB_txn *txn)
{
    if (txn != kv->read) {
        mdb_txn_abort(txn);
        return;
    }
    mdb_txn_reset(txn); /* a reader that stays would pin old pages */
    kv->is_reading = false;
}

static MDB_val val_of(const void *data, size_t len)
{
    return (MDB_val){ .mv_size = len, .mv_data = (void *)(uintptr_t)data };
}

int env_uv__kv_get(struct env_kv *kv, const void *key, size_t key_len, void *buf, size_t cap,
                   size_t *len)
{
    MDB_txn *txn = NULL;
    MDB_val v;
    if (key_len < 1 || key_len > ENV_KV_KEY_MAX)
        return CYX_EINVAL;
    MDB_val k = val_of(key, key_len);
    int rc = read_begin(kv, &txn);
    if (rc < 0)
        return rc;
    rc = env_uv__mdb_code(mdb_get(txn, kv->store->dbi, &k, &v));
    if (rc == 0) {
        *len = v.mv_size;
        if (v.mv_size > cap)
            rc = CYX_EFULL;
        else if (v.mv_size > 0)
            memcpy(buf, v.mv_data, v.mv_size);
    }
    read_end(kv, txn);
    return rc;
}

static int walk(struct env_kv *kv, MDB_txn *txn, MDB_val prefix, env_kv_each_fn fn, void *arg)
{
    MDB_cursor *cur = NULL;
    int rc = mdb_cursor_open(txn, kv->store->dbi, &cur);
    if (rc != 0)
        return rc;
    MDB_val k = prefix;
    MDB_val v;
    rc = mdb_cursor_get(cur, &k, &v, prefix.mv_size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && k.mv_size >= prefix.mv_size &&
           (prefix.mv_size == 0 || memcmp(k.mv_data, prefix.mv_data, prefix.mv_size) == 0) &&
           fn(arg, k.mv_data, k.mv_size, v.mv_data, v.mv_size))
        rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
    mdb_cursor_close(cur);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int env_uv__kv_each(struct env_kv *kv, const void *prefix, size_t prefix_len, env_kv_each_fn fn,
                    void *arg)
{
    MDB_txn *txn = NULL;
    if (prefix_len > ENV_KV_KEY_MAX)
        return CYX_EINVAL;
    int rc = read_begin(kv, &txn);
    if (rc < 0)
        return rc;
    kv->n_refs++; /* the callback may close the store */
    rc = env_uv__mdb_code(walk(kv, txn, val_of(prefix, prefix_len), fn, arg));
    read_end(kv, txn);
    env_uv__kv_close(kv);
    return rc;
}
