/* base/uv/kv_commit.c - commits on the pool, in order for each store.
 *
 * What waits when a commit starts goes into one write transaction (one fsync for all). If that
 * fails, each batch is tried in a transaction of its own, so that one that doesn't fit spoils only
 * itself. A transaction begins and ends inside the work function: LMDB wants one thread for it. */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/uv/kv_internal.h"

enum { KV_GROUP_BYTES = 8 << 20 /* of batches in one transaction: bounds its dirty pages */ };

/* ---- on the pool ------------------------------------------------------------------------------
 */

/* LMDB gives EIO for a write that a full disk cut short. */
static int disk_code(struct kv_store *st, int rc)
{
    struct statvfs fs;
    mdb_filehandle_t fd;
    if (rc == EIO && mdb_env_get_fd(st->mdb, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
        fs.f_bavail * fs.f_frsize < (1u << 20))
        return CYX_ENOSPC;
    return env_uv__mdb_code(rc);
}

static int apply(MDB_txn *txn, MDB_dbi dbi, struct env_kv_batch *b)
{
    list_each (pos, &b->ops) {
        struct kv_op *op = container_of(pos, struct kv_op, node);
        MDB_val k = { .mv_size = op->key_len, .mv_data = op->bytes };
        MDB_val v = { .mv_size = op->val_len, .mv_data = op->bytes + op->key_len };
        int rc = op->is_del ? mdb_del(txn, dbi, &k, NULL) : mdb_put(txn, dbi, &k, &v, 0);
        if (rc != 0 && !(op->is_del && rc == MDB_NOTFOUND))
            return rc;
    }
    return 0;
}

/* Applies the batches from `first` up to, not including, `end` in one transaction. */
static int transact(struct kv_store *st, struct list *first, const struct list *end)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(st->mdb, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    for (struct list *pos = first; pos != end && rc == 0; pos = pos->next)
        rc = apply(txn, st->dbi, container_of(pos, struct env_kv_batch, node));
    if (rc == 0)
        return mdb_txn_commit(txn); /* frees it whatever happens */
    mdb_txn_abort(txn);
    return rc;
}

static void on_pool(uv_work_t *req)
{
    struct env_kv *kv = req->data;
    struct kv_commit *c = &kv->commit;
    struct kv_store *st = kv->store;
    int rc = transact(st, c->batches.next, &c->batches);
    bool is_one = c->batches.next->next == &c->batches;
    list_each (pos, &c->batches) {
        struct env_kv_batch *b = container_of(pos, struct env_kv_batch, node);
        int own = rc == 0 || is_one ? rc : transact(st, pos, pos->next);
        b->code = own == 0 ? CYX_OK : disk_code(st, own);
    }
}

/* ---- on the loop ------------------------------------------------------------------------------
 */

static void start_next(struct env_kv *kv);

static void note_result(struct env_kv *kv, int code)
{
    if ((code != CYX_OK) == kv->was_failing)
        return;
    kv->was_failing = code != CYX_OK;
    if (code == CYX_ENOSPC)
        log_error(kv->e->base.log, "store",
                  "%s: the disk or the store is full, or read-only: "
                  "nothing new is kept until there is space",
                  kv->name);
    else if (code != CYX_OK)
        log_error(kv->e->base.log, "store", "%s: a commit failed (%s)", kv->name,
                  cyx_code_name(code));
    else
        log_info(kv->e->base.log, "store", "%s: commits work again", kv->name);
}

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* never cancelled */
    struct env_kv *kv = req->data;
    struct kv_commit *c = &kv->commit;
    kv->queued_bytes -= c->n_bytes;
    while (!list_empty(&c->batches)) {
        struct env_kv_batch *b = container_of(c->batches.next, struct env_kv_batch, node);
        list_del(&b->node);
        env_done_fn done = b->done;
        void *arg = b->arg;
        int code = b->code;
        env_uv__batch_free(b);
        note_result(kv, code);
        if (done != NULL)
            done(arg, code); /* may commit more (only queued while busy), or close the store */
    }
    c->is_busy = false;
    kv->e->n_busy--;
    start_next(kv);
    env_uv__kv_free_if_done(kv);
}

static void start_next(struct env_kv *kv)
{
    struct kv_commit *c = &kv->commit;
    if (c->is_busy || list_empty(&kv->queue))
        return;
    c->req.data = kv;
    c->n_bytes = 0;
    while (!list_empty(&kv->queue)) {
        struct env_kv_batch *b = container_of(kv->queue.next, struct env_kv_batch, node);
        if (!list_empty(&c->batches) && c->n_bytes + b->n_bytes > KV_GROUP_BYTES)
            break;
        list_del(&b->node);
        list_push_back(&c->batches, &b->node);
        c->n_bytes += b->n_bytes;
    }
    c->is_busy = true;
    kv->e->n_busy++;
    (void)uv_queue_work(&kv->e->loop, &c->req, on_pool,
                        on_done); /* fails only without a function */
}

/* Refusals are told at the end of the turn, never inside the call. */
static void refuse(struct env_kv *kv, struct env_kv_batch *b, int code)
{
    b->code = code;
    list_push_back(&kv->refused, &b->node);
    env_uv__defer(&kv->e->base, &kv->refused_task);
}

void env_uv__kv_commit(struct env_kv_batch *b, env_done_fn done, void *arg)
{
    struct env_kv *kv = b->kv;
    b->done = done;
    b->arg = arg;
    if (b->is_broken) {
        refuse(kv, b, CYX_ENOMEM);
        return;
    }
    if (kv->queued_bytes + b->n_bytes > ENV_UV_KV_QUEUE_MAX) {
        refuse(kv, b, CYX_EFULL);
        return;
    }
    kv->queued_bytes += b->n_bytes;
    list_push_back(&kv->queue, &b->node);
    start_next(kv);
}
