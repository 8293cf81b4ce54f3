/* What is under way at a node and ends in a callback: commits, blobs, work, posted calls. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

struct sim_op *sim__op_start(struct sim_node *n, enum sim_op_kind kind, uint64_t at)
{
    struct sim_op *op = sim__alloc(sizeof *op);
    op->node = n;
    op->kind = kind;
    list_push_back(&n->ops, &op->in_node);
    sim__queue_push(&n->world->queue, at, SIM_EV_OP, op);
    return op;
}

/* When the disk will have done one more thing: one after another, as one writer does them. */
uint64_t sim__disk_time(struct sim_node *n)
{
    const struct sim_options *o = &n->world->o;
    uint64_t us = o->disk_min_us + sim__below(&n->chance, o->disk_max_us - o->disk_min_us + 1);
    uint64_t start = n->disk_free_at > n->world->now ? n->disk_free_at : n->world->now;
    n->disk_free_at = start + us * 1000;
    return n->disk_free_at;
}

void sim__op_free(struct sim_op *op)
{
    if (op->batch != NULL)
        sim__kv_abort(op->batch);
    sim__blob_free(op->blob);
    free(op);
}

/* Puts a commit or blob on the disk. */
static void op_apply(struct sim_op *op)
{
    if (op->is_applied)
        return;
    op->is_applied = true;
    if (op->kind == SIM_OP_COMMIT)
        op->code = sim__kv_apply(op->batch);
    if (op->kind == SIM_OP_BLOB) {
        op->code = sim__blob_apply(op->node, op->blob);
        if (op->code == 0)
            op->blob = NULL; /* the disk's now */
    }
    op->node->world->stats.commits++;
}

static void op_finish(struct sim_op *op)
{
    if (op->kind == SIM_OP_WORK && !op->is_canceled)
        op->work(op->arg);
    if (op->kind == SIM_OP_POST)
        op->post(op->arg);
    else if (op->done != NULL)
        op->done(op->arg, op->is_canceled ? CYX_ECANCELED : op->code);
}

void sim__op_fire(struct sim_world *w, struct sim_op *op)
{
    struct sim_node *n = op->node;
    if (n != NULL) {
        sim__note(w, SIM_EV_OP, n->index, op->kind, 0);
        list_del(&op->in_node);
        if (op->kind == SIM_OP_COMMIT || op->kind == SIM_OP_BLOB)
            op_apply(op);
        sim__turn_begin(n);
        op_finish(op);
        sim__turn_end(n);
    }
    sim__op_free(op);
}

void sim__ops_settle(struct sim_node *n, bool is_crash)
{
    bool is_on_disk = true;
    list_each (pos, &n->ops) {
        struct sim_op *op = container_of(pos, struct sim_op, in_node);
        if (op->kind != SIM_OP_COMMIT && op->kind != SIM_OP_BLOB)
            continue;
        /* One writer, in order: what comes after a lost one is lost too. */
        if (is_crash && sim__below(&n->chance, 2) == 0)
            is_on_disk = false;
        if (is_on_disk)
            op_apply(op);
    }
    n->disk_free_at = 0;
}

void sim__ops_report(struct sim_node *n, bool is_crash)
{
    while (!list_empty(&n->ops)) {
        struct sim_op *op = container_of(n->ops.next, struct sim_op, in_node);
        list_del(&op->in_node);
        int code = op->is_applied && !is_crash ? op->code : CYX_ECANCELED;
        if (op->kind != SIM_OP_POST && op->done != NULL)
            op->done(op->arg, code);
        op->node = NULL;
    }
}

int sim__work(struct env *e, env_work_fn work, env_done_fn done, void *arg, struct env_work **out)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up) {
        /* The dead run nothing, and there is no loop to report on. */
        return CYX_ENOMEM;
    }
    uint64_t at = n->world->now + (uint64_t)n->world->o.work_us * 1000;
    struct sim_op *op = sim__op_start(n, SIM_OP_WORK, at);
    op->work = work;
    op->done = done;
    op->arg = arg;
    if (out != NULL)
        *out = (struct env_work *)(void *)op;
    return 0;
}

void sim__work_cancel(struct env_work *w)
{
    ((struct sim_op *)(void *)w)->is_canceled = true;
}

void sim__post(struct env *e, env_fn fn, void *arg)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return;
    struct sim_op *op = sim__op_start(n, SIM_OP_POST, n->world->now);
    op->post = fn;
    op->arg = arg;
}
