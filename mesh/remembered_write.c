#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/writer.h"
#include "mesh/remembered_internal.h"

bool mesh__remembered_has_work(const struct mesh_remembered *r)
{
    list_each (n, &r->numbers)
        if (container_of(n, struct number, node)->is_dirty)
            return true;
    return !list_empty(&r->dirty) || !list_empty(&r->gone);
}

void mesh__remembered_arm(struct mesh_remembered *r)
{
    if (!r->is_flushing && !r->is_closing && !r->timer.is_set)
        env_timer_in(r->env, &r->timer, ENV_MS(REMEMBERED_FLUSH_MS));
}

void mesh__item_move(struct item *it, struct list *to)
{
    list_del(&it->node);
    list_push_back(to, &it->node);
}

void mesh__item_dirty(struct mesh_remembered *r, struct item *it)
{
    if (it->is_foreign) {
        list_del(&it->node); /* it may have become that just now */
        return;
    }
    mesh__item_move(it, &r->dirty);
    mesh__remembered_arm(r);
}

static void peer_key(uint8_t key[static REMEMBERED_KEY], const uint8_t id[static 32])
{
    key[0] = 'p';
    memcpy(key + 1, id, 32);
}

static size_t number_key(uint8_t key[static 1 + REMEMBERED_NAME_MAX], const char *name)
{
    size_t len = strlen(name);
    assert(len >= 1 && len <= REMEMBERED_NAME_MAX);
    key[0] = 'n';
    memcpy(key + 1, name, len);
    return 1 + len;
}

static int put_item(struct mesh_remembered *r, struct env_kv_batch *b, const struct item *it)
{
    uint8_t key[REMEMBERED_KEY];
    uint8_t val[REMEMBERED_HEAD + MESH_NODE_RECORD_MAX];
    struct writer w = writer_on(val, sizeof val);
    peer_key(key, it->e.id);
    if (it->is_gone)
        return env_kv_del(r->env, b, key, sizeof key);
    writer_u64(&w, it->e.seen_s);
    writer_u32(&w, it->e.failures);
    writer_copy(&w, it->e.record, it->e.record_len);
    return env_kv_put(r->env, b, key, sizeof key, val, writer_len(&w));
}

static int put_number(struct mesh_remembered *r, struct env_kv_batch *b, const struct number *n)
{
    uint8_t key[1 + REMEMBERED_NAME_MAX], val[8];
    size_t key_len = number_key(key, n->name);
    struct writer w = writer_on(val, sizeof val);
    writer_u64(&w, n->value);
    return env_kv_put(r->env, b, key, key_len, val, sizeof val);
}

/* Deletions before puts: an id that went and came back stays. */
static int fill(struct mesh_remembered *r, struct env_kv_batch *b)
{
    struct list *const lists[] = { &r->gone, &r->dirty };
    int code = 0;
    for (size_t i = 0; i < 2; i++)
        list_each (n, lists[i])
            if (code == 0)
                code = put_item(r, b, container_of(n, struct item, node));
    list_each (n, &r->numbers) {
        const struct number *num = container_of(n, struct number, node);
        if (code == 0 && num->is_dirty)
            code = put_number(r, b, num);
    }
    return code;
}

static void take_off(struct mesh_remembered *r)
{
    while (!list_empty(&r->gone))
        mesh__item_move(container_of(r->gone.next, struct item, node), &r->flying);
    while (!list_empty(&r->dirty))
        mesh__item_move(container_of(r->dirty.next, struct item, node), &r->flying);
    list_each (n, &r->numbers) {
        struct number *num = container_of(n, struct number, node);
        num->is_flying = num->is_dirty;
        num->is_dirty = false;
    }
    r->is_flushing = true;
}

/* What flew is on disk, or (not kept) waits again. */
static void land(struct mesh_remembered *r, bool is_kept)
{
    while (!list_empty(&r->flying)) {
        struct item *it = container_of(r->flying.next, struct item, node);
        if (!is_kept)
            mesh__item_move(it, it->is_gone ? &r->gone : &r->dirty);
        else if (it->is_gone)
            list_del(&it->node), free(it);
        else
            list_del(&it->node);
    }
    list_each (n, &r->numbers) {
        struct number *num = container_of(n, struct number, node);
        num->is_dirty = num->is_dirty || (num->is_flying && !is_kept);
        num->is_flying = false;
    }
    r->is_flushing = false;
}

static void on_flushed(void *arg, int code)
{
    struct mesh_remembered *r = arg;
    if (code != 0)
        r->write_errors++;
    land(r, code == 0);
    if (r->is_closing)
        mesh__remembered_close_step(r);
    else if (mesh__remembered_has_work(r))
        mesh__remembered_arm(r);
}

/* Commits all that waits; on a dead environment on_flushed comes at once, and `r` may be gone after
 * this. False when memory is out: all waits on. */
static bool flush(struct mesh_remembered *r)
{
    struct env_kv_batch *b = env_kv_batch(r->env, r->kv);
    if (b == NULL || fill(r, b) != 0) {
        env_kv_abort(r->env, b);
        r->write_errors++;
        return false;
    }
    take_off(r);
    env_kv_commit(r->env, b, on_flushed, r);
    return true;
}

void mesh__remembered_timer(struct env_timer *t, void *arg)
{
    struct mesh_remembered *r = arg;
    (void)t;
    if (!r->is_flushing && mesh__remembered_has_work(r) && !flush(r))
        mesh__remembered_arm(r);
}

/* mesh_remembered_set_number under way. */
struct number_put {
    struct mesh_remembered *r;
    struct number *n;
    env_done_fn done;
    void *arg;
};

/* ---- numbers --------------------------------------------------------------------------------- */

static struct number *number_find(struct mesh_remembered *r, const char *name)
{
    list_each (n, &r->numbers) {
        struct number *num = container_of(n, struct number, node);
        if (strcmp(num->name, name) == 0)
            return num;
    }
    return NULL;
}

struct number *mesh__number_get(struct mesh_remembered *r, const char *name)
{
    struct number *num = number_find(r, name);
    if (num != NULL)
        return num;
    assert(strlen(name) <= REMEMBERED_NAME_MAX);
    num = calloc(1, sizeof *num);
    if (num == NULL)
        return NULL;
    memcpy(num->name, name, strlen(name));
    list_push_back(&r->numbers, &num->node);
    return num;
}

uint64_t mesh_remembered_number(struct mesh_remembered *r, const char *name)
{
    const struct number *num = number_find(r, name);
    return num != NULL ? num->value : 0;
}

uint64_t mesh_remembered_greatest(struct mesh_remembered *r, const char *name)
{
    size_t len = strlen(name);
    uint64_t greatest = 0;
    list_each (n, &r->numbers) {
        const struct number *num = container_of(n, struct number, node);
        if (strncmp(num->name, name, len) == 0 &&
            (num->name[len] == '\0' || num->name[len] == '.') && num->value > greatest)
            greatest = num->value;
    }
    return greatest;
}

static void on_number_put(void *arg, int code)
{
    struct number_put p = *(struct number_put *)arg;
    free(arg);
    p.r->n_puts--;
    if (code != 0) {
        p.r->write_errors++;
        p.n->is_dirty = true;
        mesh__remembered_arm(p.r);
    }
    if (p.r->is_closing)
        mesh__remembered_close_step(p.r);
    if (p.done != NULL)
        p.done(p.arg, code);
}

void mesh_remembered_set_number(struct mesh_remembered *r, const char *name, uint64_t v,
                                env_done_fn done, void *arg)
{
    struct number *num = mesh__number_get(r, name);
    struct number_put *p = malloc(sizeof *p);
    struct env_kv_batch *b = env_kv_batch(r->env, r->kv);
    if (num != NULL)
        num->value = v;
    if (num == NULL || p == NULL || b == NULL || put_number(r, b, num) != 0) {
        env_kv_abort(r->env, b);
        free(p);
        r->write_errors++;
        if (num != NULL) {
            num->is_dirty = true;
            mesh__remembered_arm(r);
        }
        if (done != NULL)
            done(arg, CYX_ENOMEM);
        return;
    }
    *p = (struct number_put){ .r = r, .n = num, .done = done, .arg = arg };
    r->n_puts++;
    env_kv_commit(r->env, b, on_number_put, p);
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool free_item(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

void mesh__remembered_free(struct mesh_remembered *r)
{
    /* Entries that are not gone are the map's, in whatever list they stand. */
    list_each_safe (n, &r->gone)
        free(container_of(n, struct item, node));
    list_each_safe (n, &r->numbers)
        free(container_of(n, struct number, node));
    if (r->items != NULL)
        map_each(r->items, free_item, NULL);
    map_destroy(r->items);
    env_timer_stop(r->env, &r->timer);
    env_kv_close(r->env, r->kv);
    free(r);
}

static void say_closed(void *arg)
{
    struct mesh_remembered *r = arg;
    env_fn done = r->done;
    void *done_arg = r->arg;
    mesh__remembered_free(r);
    done(done_arg);
}

/* Goes on once nothing is under way: one last flush, then the end. */
void mesh__remembered_close_step(struct mesh_remembered *r)
{
    if (r->is_flushing || r->n_puts > 0)
        return;
    bool is_first = !r->is_last_try;
    r->is_last_try = true;
    if (is_first && mesh__remembered_has_work(r) && flush(r))
        return; /* on_flushed comes back here */
    if (r->done == NULL) {
        mesh__remembered_free(r);
        return;
    }
    env_task_init(&r->closed, say_closed, r);
    env_defer(r->env, &r->closed);
}
