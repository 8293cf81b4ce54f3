/* Small whole files on a simulated disk. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

struct sim_blob {
    struct list in_node;
    char *name;
    size_t len;
    uint8_t data[];
};

static struct sim_blob *blob_find(struct sim_node *n, const char *name)
{
    list_each (pos, &n->blobs) {
        struct sim_blob *b = container_of(pos, struct sim_blob, in_node);
        if (strcmp(b->name, name) == 0)
            return b;
    }
    return NULL;
}

int sim__blob_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len,
                   struct cyx_err *err)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return cyx_fail(err, CYX_ECLOSED, "node %u is off", n->index);
    const struct sim_blob *b = blob_find(n, name);
    if (b == NULL)
        return cyx_fail(err, CYX_ENOENT, "%s: no such file", name);
    if (b->len > cap)
        return cyx_fail(err, CYX_EFULL, "%s: %zu bytes, at most %zu wanted", name, b->len, cap);
    if (b->len > 0)
        memcpy(buf, b->data, b->len);
    *len = b->len;
    return 0;
}

void sim__blob_store(struct env *e, const char *name, const uint8_t *data, size_t len,
                     env_done_fn done, void *arg)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up) {
        if (done != NULL)
            done(arg, CYX_ECANCELED); /* there is no loop any more to call it from */
        return;
    }
    struct sim_blob *b = sim__alloc(sizeof *b + len);
    list_init(&b->in_node);
    b->name = strdup(name);
    if (b->name == NULL)
        abort();
    b->len = len;
    if (len > 0)
        memcpy(b->data, data, len);
    struct sim_op *op = sim__op_start(n, SIM_OP_BLOB, sim__disk_time(n));
    op->blob = b;
    op->done = done;
    op->arg = arg;
}

void sim__blob_free(struct sim_blob *b)
{
    if (b == NULL)
        return;
    list_del(&b->in_node);
    free(b->name);
    sodium_memzero(b->data, b->len);
    free(b);
}

int sim__blob_apply(struct sim_node *n, struct sim_blob *b)
{
    if (n->disk_state != SIM_DISK_OK)
        return CYX_ENOSPC;
    sim__note(n->world, SIM_EV_OP, n->index, b->len, sim__mix_bytes(0, b->data, b->len));
    sim__blob_free(blob_find(n, b->name));
    list_push_back(&n->blobs, &b->in_node);
    return 0;
}

void sim__blobs_free(struct sim_node *n)
{
    while (!list_empty(&n->blobs))
        sim__blob_free(container_of(n->blobs.next, struct sim_blob, in_node));
}
