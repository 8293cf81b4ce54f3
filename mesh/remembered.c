#include "mesh/remembered.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "mesh/remembered_internal.h"
#include "mesh/worker.h"

struct item *mesh__item_new(const uint8_t id[static 32], const uint8_t *record, size_t len)
{
    struct item *it = calloc(1, sizeof *it + len);
    if (it == NULL)
        return NULL;
    list_init(&it->node);
    memcpy(it->e.id, id, 32);
    it->e.record_len = (uint16_t)len;
    memcpy(it->e.record, record, len);
    return it;
}

/* Whether `a` is the one of less worth: not seen longer; then more failures; then the greater id.
 */
static bool is_worse(const struct mesh_peer_entry *a, const struct mesh_peer_entry *b)
{
    if (a->seen_s != b->seen_s)
        return a->seen_s < b->seen_s;
    if (a->failures != b->failures)
        return a->failures > b->failures;
    return memcmp(a->id, b->id, 32) > 0;
}

static bool pick_worst(void *arg, const void *key, void *value)
{
    (void)key;
    struct item **worst = arg;
    struct item *it = value;
    if (*worst == NULL || is_worse(&it->e, &(*worst)->e))
        *worst = it;
    return true;
}

/* Its memory stays until the deletion is on disk. */
static void evict(struct mesh_remembered *r, struct item *it)
{
    map_del(r->items, it->e.id);
    if (it->is_foreign) {
        list_del(&it->node);
        free(it);
        return;
    }
    it->is_gone = true;
    mesh__item_move(it, &r->gone);
    mesh__remembered_arm(r);
}

/* Adds `it` (taken over, freed on failure); when full, the worst of all gives way. */
int mesh__item_add(struct mesh_remembered *r, struct item *it)
{
    struct item *worst = NULL;
    int code = map_len(r->items) < r->max ? 0 : CYX_EFULL;
    if (code != 0)
        map_each(r->items, pick_worst, &worst);
    /* Among equals only one that failed gives way, so that hearsay doesn't replace hearsay. */
    if (worst != NULL && (worst->e.seen_s < it->e.seen_s || (worst->e.seen_s == it->e.seen_s &&
                                                             worst->e.failures > it->e.failures))) {
        evict(r, worst);
        code = 0;
    }
    if (code == 0)
        code = map_put(r->items, it->e.id, it);
    if (code != 0)
        free(it);
    return code;
}

static bool is_foreign(const struct mesh_remembered *r, const uint8_t link_key[static 32])
{
    return r->n_workers > 1 && mesh_worker_of(link_key, r->n_workers) != r->worker;
}

static int add_new(struct mesh_remembered *r, const struct mesh_node *node, const uint8_t *record,
                   size_t len, uint64_t seen_s)
{
    struct item *it = mesh__item_new(node->id, record, len);
    if (it == NULL)
        return CYX_ENOMEM;
    it->sequence = node->sequence;
    it->is_foreign = is_foreign(r, node->link_key);
    it->e.seen_s = seen_s;
    int code = mesh__item_add(r, it);
    if (code == 0)
        mesh__item_dirty(r, it);
    return code;
}

/* Gives the entry a newer record; *it moves when the length differs. */
static int replace(struct mesh_remembered *r, struct item **it, const struct mesh_node *node,
                   const uint8_t *record, size_t len)
{
    struct item *old = *it, *fresh = old;
    if (old->e.record_len != len) {
        fresh = mesh__item_new(node->id, record, len);
        if (fresh == NULL)
            return CYX_ENOMEM;
        fresh->e.seen_s = old->e.seen_s;
        fresh->e.failures = old->e.failures;
        if (map_put(r->items, node->id, fresh) < 0) {
            free(fresh);
            return CYX_ENOMEM;
        }
        list_del(&old->node);
        free(old);
    }
    memcpy(fresh->e.record, record, len);
    fresh->sequence = node->sequence;
    fresh->is_foreign = is_foreign(r, node->link_key);
    mesh__item_dirty(r, fresh);
    *it = fresh;
    return 0;
}

int mesh_remembered_put(struct mesh_remembered *r, const struct mesh_node *node,
                        const uint8_t *record, size_t len, uint64_t seen_s)
{
    if (len == 0 || len > MESH_NODE_RECORD_MAX)
        return CYX_EINVAL;
    struct item *it = map_get(r->items, node->id);
    if (it == NULL)
        return add_new(r, node, record, len, seen_s);
    int code = node->sequence > it->sequence ? replace(r, &it, node, record, len) : 0;
    if (seen_s > it->e.seen_s) {
        it->e.seen_s = seen_s;
        it->e.failures = 0;
        mesh__item_dirty(r, it);
    }
    return code;
}

void mesh_remembered_failed(struct mesh_remembered *r, const uint8_t id[static 32])
{
    struct item *it = map_get(r->items, id);
    if (it == NULL || it->e.failures == UINT32_MAX)
        return;
    it->e.failures++;
    mesh__item_dirty(r, it);
}

const struct mesh_peer_entry *mesh_remembered_get(struct mesh_remembered *r,
                                                  const uint8_t id[static 32])
{
    const struct item *it = map_get(r->items, id);
    return it != NULL ? &it->e : NULL;
}

size_t mesh_remembered_len(const struct mesh_remembered *r)
{
    return map_len(r->items);
}

static bool count_own(void *arg, const void *key, void *value)
{
    const struct item *it = value;
    (void)key;
    *(size_t *)arg += !it->is_foreign;
    return true;
}

size_t mesh_remembered_own(const struct mesh_remembered *r)
{
    size_t n = 0;
    if (r->n_workers <= 1)
        return map_len(r->items);
    map_each(r->items, count_own, &n);
    return n;
}

struct visit {
    bool (*fn)(void *arg, const struct mesh_peer_entry *e);
    void *arg;
    const struct mesh_peer_entry **all;
    size_t n;
};

static bool visit_item(void *arg, const void *key, void *value)
{
    (void)key;
    struct visit *v = arg;
    const struct item *it = value;
    if (v->all == NULL)
        return v->fn(v->arg, &it->e);
    v->all[v->n++] = &it->e;
    return true;
}

void mesh_remembered_each(struct mesh_remembered *r,
                          bool (*fn)(void *arg, const struct mesh_peer_entry *e), void *arg)
{
    struct visit v = { .fn = fn, .arg = arg };
    map_each(r->items, visit_item, &v);
}

static int by_preference(const void *a, const void *b)
{
    const struct mesh_peer_entry *x = *(const struct mesh_peer_entry *const *)a;
    const struct mesh_peer_entry *y = *(const struct mesh_peer_entry *const *)b;
    if (x->failures != y->failures)
        return x->failures < y->failures ? -1 : 1;
    if (x->seen_s != y->seen_s)
        return x->seen_s > y->seen_s ? -1 : 1;
    return memcmp(x->id, y->id, 32);
}

void mesh_remembered_best(struct mesh_remembered *r,
                          bool (*fn)(void *arg, const struct mesh_peer_entry *e), void *arg)
{
    struct visit v = { .fn = fn, .arg = arg };
    if (map_len(r->items) == 0)
        return;
    v.all = calloc(map_len(r->items), sizeof(struct mesh_peer_entry *));
    map_each(r->items, visit_item, &v); /* without memory for sorting: in any order */
    if (v.all == NULL)
        return;
    qsort(v.all, v.n, sizeof v.all[0], by_preference);
    for (size_t i = 0; i < v.n && fn(arg, v.all[i]); i++)
        ;
    free(v.all);
}

uint64_t mesh_remembered_write_errors(const struct mesh_remembered *r)
{
    return r->write_errors;
}

uint64_t mesh_remembered_bad_entries(const struct mesh_remembered *r)
{
    return r->bad_entries;
}

/* ---- life ------------------------------------------------------------------------------------ */

int mesh_remembered_open(struct env *env, size_t kv_bytes, struct mesh_remembered **out,
                         struct cyx_err *err)
{
    return mesh_remembered_open_shared(env, kv_bytes, 0, 1, out, err);
}

int mesh_remembered_open_shared(struct env *env, size_t kv_bytes, unsigned worker,
                                unsigned n_workers, struct mesh_remembered **out,
                                struct cyx_err *err)
{
    struct mesh_remembered *r = calloc(1, sizeof *r);
    if (r == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for remembered peers");
    r->env = env;
    r->worker = worker;
    r->n_workers = n_workers;
    list_init(&r->dirty);
    list_init(&r->gone);
    list_init(&r->flying);
    list_init(&r->numbers);
    env_timer_init(&r->timer, mesh__remembered_timer, r);
    r->items = map_create(32, MESH_REMEMBERED);
    r->max = MESH_REMEMBERED;
    int code = r->items != NULL ? env_kv_open(env, "peers", kv_bytes, &r->kv, err)
                                : cyx_fail(err, CYX_ENOMEM, "no memory for remembered peers");
    if (code == 0)
        code = mesh__remembered_load(r, err);
    if (code != 0) {
        mesh__remembered_free(r);
        return code;
    }
    if (mesh__remembered_has_work(r))
        mesh__remembered_arm(r);
    *out = r;
    return 0;
}

void mesh_remembered_close(struct mesh_remembered *r, env_fn done, void *arg)
{
    r->is_closing = true;
    r->done = done;
    r->arg = arg;
    env_timer_stop(r->env, &r->timer);
    mesh__remembered_close_step(r);
}

void mesh_remembered_limit(struct mesh_remembered *r, size_t max)
{
    if (max > 0 && max < MESH_REMEMBERED)
        r->max = max;
}
