/* The key-value store of a simulated disk: entries sorted by key in an array. Stores belong to the
 * node and outlive its program; a handle (struct env_kv) is the program's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

enum { KV_ENTRY_COST = 32 }; /* what an entry takes of max_bytes besides key and value */

struct kv_entry {
    uint32_t key_len, val_len;
    uint8_t data[]; /* key, then value */
};

struct store {
    struct list in_node;
    char name[33];
    struct kv_entry **entries;
    size_t n, cap;
    size_t bytes;
};

struct env_kv {
    struct list in_node;
    struct sim_node *node;
    struct store *store;
    size_t max_bytes;
    unsigned n_batches; /* the handle stays until its batches are done */
    bool is_dead, is_closed;
};

/* A change: val NULL deletes. */
struct kv_change {
    struct kv_entry *entry;
    bool is_delete;
};

struct env_kv_batch {
    struct env_kv *kv;
    struct kv_change *changes;
    size_t n, cap;
};

static int key_cmp(const struct kv_entry *e, const void *key, size_t key_len)
{
    size_t n = e->key_len < key_len ? e->key_len : key_len;
    int c = memcmp(e->data, key, n);
    if (c != 0)
        return c;
    return e->key_len < key_len ? -1 : e->key_len > key_len;
}

/* The first place whose key is not less. */
static size_t lower_bound(const struct store *s, const void *key, size_t key_len)
{
    size_t lo = 0;
    size_t hi = s->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (key_cmp(s->entries[mid], key, key_len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t find(const struct store *s, const void *key, size_t key_len)
{
    size_t i = lower_bound(s, key, key_len);
    return i < s->n && key_cmp(s->entries[i], key, key_len) == 0 ? i : SIZE_MAX;
}

static size_t cost(const struct kv_entry *e)
{
    return (size_t)e->key_len + e->val_len + KV_ENTRY_COST;
}

static struct store *store_find(struct sim_node *n, const char *name)
{
    list_each (pos, &n->stores) {
        struct store *s = container_of(pos, struct store, in_node);
        if (strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

static bool name_is_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int sim__kv_open(struct env *e, const char *name, size_t max_bytes, struct env_kv **out,
                 struct cyx_err *err)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return cyx_fail(err, CYX_ECLOSED, "node %u is off", n->index);
    if (!name_is_valid(name))
        return cyx_fail(err, CYX_EINVAL, "store name '%s': want [a-z0-9-]{1,32}", name);
    struct store *s = store_find(n, name);
    if (s == NULL && n->disk_state != SIM_DISK_OK)
        return cyx_fail(err, CYX_ENOSPC, "store %s: the disk is full or read-only", name);
    if (s == NULL) {
        s = sim__alloc(sizeof *s);
        memcpy(s->name, name, strlen(name));
        list_push_back(&n->stores, &s->in_node);
    }
    struct env_kv *kv = sim__alloc(sizeof *kv);
    kv->node = n;
    kv->store = s;
    kv->max_bytes = max_bytes;
    list_push_back(&n->kvs, &kv->in_node);
    *out = kv;
    return 0;
}

static void kv_unref(struct env_kv *kv)
{
    if (kv->is_closed && kv->n_batches == 0)
        free(kv);
}

void sim__kv_close(struct env_kv *kv)
{
    assert(!kv->is_closed);
    list_del(&kv->in_node);
    kv->is_closed = true;
    kv_unref(kv);
}

void sim__kv_crash(struct sim_node *n)
{
    list_each (pos, &n->kvs)
        container_of(pos, struct env_kv, in_node)->is_dead = true;
}

int sim__kv_get(struct env_kv *kv, const void *key, size_t key_len, void *buf, size_t cap,
                size_t *len)
{
    if (kv->is_dead)
        return CYX_ECLOSED;
    size_t i = find(kv->store, key, key_len);
    if (i == SIZE_MAX)
        return CYX_ENOENT;
    const struct kv_entry *e = kv->store->entries[i];
    *len = e->val_len;
    if (e->val_len > cap)
        return CYX_EFULL;
    if (e->val_len > 0)
        memcpy(buf, e->data + e->key_len, e->val_len);
    return 0;
}

int sim__kv_each(struct env_kv *kv, const void *prefix, size_t prefix_len, env_kv_each_fn fn,
                 void *arg)
{
    if (kv->is_dead)
        return CYX_ECLOSED;
    const struct store *s = kv->store;
    for (size_t i = prefix_len > 0 ? lower_bound(s, prefix, prefix_len) : 0; i < s->n; i++) {
        const struct kv_entry *e = s->entries[i];
        if (e->key_len < prefix_len || (prefix_len > 0 && memcmp(e->data, prefix, prefix_len) != 0))
            break;
        if (!fn(arg, e->data, e->key_len, e->data + e->key_len, e->val_len))
            break;
    }
    return 0;
}

struct env_kv_batch *sim__kv_batch(struct env_kv *kv)
{
    struct env_kv_batch *b = sim__alloc(sizeof *b);
    b->kv = kv;
    kv->n_batches++;
    return b;
}

static int batch_add(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                     size_t val_len, bool is_delete)
{
    if (key_len < 1 || key_len > ENV_KV_KEY_MAX || val_len > UINT32_MAX)
        return CYX_EINVAL;
    if (b->n == b->cap) {
        b->cap = b->cap == 0 ? 4 : b->cap * 2;
        b->changes = realloc(b->changes, b->cap * sizeof *b->changes);
        if (b->changes == NULL)
            abort();
    }
    struct kv_entry *e = sim__alloc(sizeof *e + key_len + val_len);
    e->key_len = (uint32_t)key_len;
    e->val_len = (uint32_t)val_len;
    memcpy(e->data, key, key_len);
    if (val_len > 0)
        memcpy(e->data + key_len, val, val_len);
    b->changes[b->n++] = (struct kv_change){ .entry = e, .is_delete = is_delete };
    return 0;
}

int sim__kv_put(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                size_t val_len)
{
    return batch_add(b, key, key_len, val, val_len, false);
}

int sim__kv_del(struct env_kv_batch *b, const void *key, size_t key_len)
{
    return batch_add(b, key, key_len, NULL, 0, true);
}

void sim__kv_abort(struct env_kv_batch *b)
{
    struct env_kv *kv = b->kv;
    for (size_t i = 0; i < b->n; i++)
        free(b->changes[i].entry);
    free(b->changes);
    free(b);
    kv->n_batches--;
    kv_unref(kv);
}

void sim__kv_commit(struct env_kv_batch *b, env_done_fn done, void *arg)
{
    struct sim_node *n = b->kv->node;
    if (b->kv->is_dead) {
        sim__kv_abort(b);
        if (done != NULL)
            done(arg, CYX_ECANCELED); /* there is no loop any more to call it from */
        return;
    }
    struct sim_op *op = sim__op_start(n, SIM_OP_COMMIT, sim__disk_time(n));
    op->batch = b;
    op->done = done;
    op->arg = arg;
}

static void store_remove(struct store *s, size_t i)
{
    s->bytes -= cost(s->entries[i]);
    free(s->entries[i]);
    memmove(&s->entries[i], &s->entries[i + 1], (--s->n - i) * sizeof(struct kv_entry *));
}

static void store_insert(struct store *s, struct kv_entry *e)
{
    size_t i = lower_bound(s, e->data, e->key_len);
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 4 : s->cap * 2;
        s->entries = realloc(s->entries, s->cap * sizeof(struct kv_entry *));
        if (s->entries == NULL)
            abort();
    }
    memmove(&s->entries[i + 1], &s->entries[i], (s->n - i) * sizeof(struct kv_entry *));
    s->entries[i] = e;
    s->n++;
    s->bytes += cost(e);
}

/* An upper bound of the store's size after the batch: what it adds, replaced entries not deducted.
 */
static bool batch_fits(const struct env_kv_batch *b)
{
    size_t bytes = b->kv->store->bytes;
    for (size_t i = 0; i < b->n; i++)
        if (!b->changes[i].is_delete)
            bytes += cost(b->changes[i].entry);
    return bytes <= b->kv->max_bytes;
}

int sim__kv_apply(struct env_kv_batch *b)
{
    struct store *s = b->kv->store;
    if (b->kv->node->disk_state != SIM_DISK_OK || !batch_fits(b))
        return CYX_ENOSPC;
    uint64_t print = s->n;
    for (size_t i = 0; i < b->n; i++) {
        struct kv_entry *e = b->changes[i].entry;
        print = sim__mix_bytes(print, e->data, (size_t)e->key_len + e->val_len);
        size_t old = find(s, e->data, e->key_len);
        if (old != SIZE_MAX)
            store_remove(s, old);
        if (!b->changes[i].is_delete) {
            store_insert(s, e);
            b->changes[i].entry = NULL; /* the store's now */
        }
    }
    sim__note(b->kv->node->world, SIM_EV_OP, b->kv->node->index, b->n, print);
    return 0;
}

void sim__stores_free(struct sim_node *n)
{
    while (!list_empty(&n->stores)) {
        struct store *s = container_of(n->stores.next, struct store, in_node);
        list_del(&s->in_node);
        for (size_t i = 0; i < s->n; i++)
            free(s->entries[i]);
        free(s->entries);
        free(s);
    }
}
