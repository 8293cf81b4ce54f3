/* base/uv/kv_batch.c - a batch: a list of copied operations, until the pool applies it. */
#include <stdlib.h>
#include <string.h>

#include "base/uv/kv_internal.h"

struct env_kv_batch *env_uv__kv_batch(struct env_kv *kv)
{
    struct env_kv_batch *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    list_init(&b->node);
    list_init(&b->ops);
    b->kv = kv;
    return b;
}

void env_uv__batch_free(struct env_kv_batch *b)
{
    list_each_safe (pos, &b->ops)
        free(container_of(pos, struct kv_op, node));
    free(b);
}

void env_uv__kv_abort(struct env_kv_batch *b)
{
    env_uv__batch_free(b);
}

static int add(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
               size_t val_len, bool is_del)
{
    if (key_len < 1 || key_len > ENV_KV_KEY_MAX || val_len > ENV_UV_KV_QUEUE_MAX)
        return CYX_EINVAL;
    struct kv_op *op = malloc(sizeof *op + key_len + val_len);
    if (op == NULL) {
        b->is_broken = true;
        return CYX_ENOMEM;
    }
    op->key_len = key_len;
    op->val_len = val_len;
    op->is_del = is_del;
    memcpy(op->bytes, key, key_len);
    if (val_len > 0)
        memcpy(op->bytes + key_len, val, val_len);
    list_push_back(&b->ops, &op->node);
    b->n_bytes += sizeof *op + key_len + val_len;
    return 0;
}

int env_uv__kv_put(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                   size_t val_len)
{
    return add(b, key, key_len, val, val_len, false);
}

int env_uv__kv_del(struct env_kv_batch *b, const void *key, size_t key_len)
{
    return add(b, key, key_len, NULL, 0, true);
}
