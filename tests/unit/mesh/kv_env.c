#include "tests/unit/mesh/kv_env.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { COMMIT_MS = 2 };

struct env_kv {
    struct kv_env *e;
};

struct change {
    struct list node;
    struct kv_entry entry; /* val NULL: deletes */
};

struct env_kv_batch {
    struct list node;
    struct list changes;
    struct kv_env *e;
    env_done_fn done;
    void *arg;
    uint64_t at_ns;
};

static struct kv_env *of(struct env *env)
{
    return container_of(env, struct kv_env, env);
}

static uint8_t *copy(const void *data, size_t len)
{
    uint8_t *c = malloc(len + 1);
    cr_assert_not_null(c);
    if (len > 0)
        memcpy(c, data, len);
    return c;
}

static int compare(const struct kv_entry *e, const void *key, size_t key_len)
{
    int c = memcmp(e->key, key, e->key_len < key_len ? e->key_len : key_len);
    return c != 0 ? c : (e->key_len > key_len) - (e->key_len < key_len);
}

static void entry_free(struct kv_entry *e)
{
    free(e->key);
    free(e->val);
}

const struct kv_entry *kv_env_find(const struct kv_env *e, const void *key, size_t key_len)
{
    for (size_t i = 0; i < e->n_entries; i++)
        if (compare(&e->entries[i], key, key_len) == 0)
            return &e->entries[i];
    return NULL;
}

static void entry_del(struct kv_env *e, const void *key, size_t key_len)
{
    for (size_t i = 0; i < e->n_entries; i++)
        if (compare(&e->entries[i], key, key_len) == 0) {
            entry_free(&e->entries[i]);
            e->n_entries--;
            memmove(&e->entries[i], &e->entries[i + 1], (e->n_entries - i) * sizeof e->entries[0]);
            return;
        }
}

void kv_env_put(struct kv_env *e, const void *key, size_t key_len, const void *val, size_t val_len)
{
    size_t i = 0;
    entry_del(e, key, key_len);
    cr_assert_lt(e->n_entries, sizeof e->entries / sizeof e->entries[0]);
    while (i < e->n_entries && compare(&e->entries[i], key, key_len) < 0)
        i++;
    memmove(&e->entries[i + 1], &e->entries[i], (e->n_entries - i) * sizeof e->entries[0]);
    e->n_entries++;
    e->entries[i] = (struct kv_entry){ copy(key, key_len), copy(val, val_len), key_len, val_len };
}

/* ---- the table --------------------------------------------------------------------------------
 */

static uint64_t now_ns(struct env *env)
{
    return of(env)->now_ns;
}

static void timer_set(struct env *env, struct env_timer *t, uint64_t at_ns)
{
    if (!of(env)->is_dead)
        timers_set(&of(env)->timers, t, at_ns);
}

static void timer_stop(struct env *env, struct env_timer *t)
{
    timers_stop(&of(env)->timers, t);
}

static void defer(struct env *env, struct env_task *t)
{
    if (!list_linked(&t->node) && !of(env)->is_dead)
        list_push_back(&of(env)->tasks, &t->node);
}

static int kv_open(struct env *env, const char *name, size_t max_bytes, struct env_kv **out,
                   struct cyx_err *err)
{
    cr_expect_str_eq(name, "peers");
    (void)max_bytes;
    if (of(env)->open_code != 0)
        return cyx_fail(err, of(env)->open_code, "store peers: told to fail");
    *out = malloc(sizeof **out);
    cr_assert_not_null(*out);
    (*out)->e = of(env);
    of(env)->n_open++;
    return 0;
}

static void kv_close(struct env_kv *kv)
{
    cr_expect(list_empty(&kv->e->commits), "closed with commits under way");
    kv->e->n_open--;
    free(kv);
}

static int kv_each(struct env_kv *kv, const void *prefix, size_t prefix_len, env_kv_each_fn fn,
                   void *arg)
{
    for (size_t i = 0; i < kv->e->n_entries; i++) {
        const struct kv_entry *x = &kv->e->entries[i];
        if (x->key_len >= prefix_len && memcmp(x->key, prefix, prefix_len) == 0 &&
            !fn(arg, x->key, x->key_len, x->val, x->val_len))
            break;
    }
    return 0;
}

static struct env_kv_batch *kv_batch(struct env_kv *kv)
{
    struct env_kv_batch *b = kv->e->no_memory ? NULL : calloc(1, sizeof *b);
    if (b != NULL) {
        b->e = kv->e;
        list_init(&b->node);
        list_init(&b->changes);
    }
    return b;
}

static struct change *add_change(struct env_kv_batch *b, const void *key, size_t key_len)
{
    struct change *c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    c->entry.key = copy(key, key_len);
    c->entry.key_len = key_len;
    list_push_back(&b->changes, &c->node);
    return c;
}

static int kv_put(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                  size_t val_len)
{
    struct change *c = add_change(b, key, key_len);
    c->entry.val = copy(val, val_len);
    c->entry.val_len = val_len;
    return 0;
}

static int kv_del(struct env_kv_batch *b, const void *key, size_t key_len)
{
    add_change(b, key, key_len);
    return 0;
}

static void kv_abort(struct env_kv_batch *b)
{
    list_each_safe (n, &b->changes) {
        struct change *c = container_of(n, struct change, node);
        entry_free(&c->entry);
        free(c);
    }
    free(b);
}

static void finish(struct env_kv_batch *b, int code)
{
    struct kv_env *e = b->e;
    env_done_fn done = b->done;
    void *arg = b->arg;
    list_each (n, &b->changes) {
        const struct kv_entry *x = &container_of(n, struct change, node)->entry;
        if (code == 0 && x->val != NULL)
            kv_env_put(e, x->key, x->key_len, x->val, x->val_len);
        else if (code == 0)
            entry_del(e, x->key, x->key_len);
    }
    e->n_commits += code == 0;
    list_del(&b->node);
    kv_abort(b);
    if (done != NULL)
        done(arg, code);
}

static void kv_commit(struct env_kv_batch *b, env_done_fn done, void *arg)
{
    b->done = done;
    b->arg = arg;
    b->at_ns = b->e->now_ns + ENV_MS(COMMIT_MS);
    if (b->e->is_dead)
        finish(b, CYX_ECANCELED);
    else
        list_push_back(&b->e->commits, &b->node);
}

static const struct env_ops ops = {
    .now_ns = now_ns,
    .timer_set = timer_set,
    .timer_stop = timer_stop,
    .defer = defer,
    .kv_open = kv_open,
    .kv_close = kv_close,
    .kv_each = kv_each,
    .kv_batch = kv_batch,
    .kv_put = kv_put,
    .kv_del = kv_del,
    .kv_commit = kv_commit,
    .kv_abort = kv_abort,
};

/* ---- driving it -------------------------------------------------------------------------------
 */

void kv_env_init(struct kv_env *e)
{
    memset(e, 0, sizeof *e);
    e->env.ops = &ops;
    e->now_ns = ENV_S(5);
    timers_init(&e->timers);
    list_init(&e->tasks);
    list_init(&e->commits);
}

void kv_env_fini(struct kv_env *e)
{
    for (size_t i = 0; i < e->n_entries; i++)
        entry_free(&e->entries[i]);
}

static void run_tasks(struct kv_env *e)
{
    while (!list_empty(&e->tasks)) {
        struct env_task *t = container_of(e->tasks.next, struct env_task, node);
        list_del(&t->node);
        t->fn(t->arg);
    }
}

void kv_env_run(struct kv_env *e, uint64_t ms)
{
    for (; ms > 0; ms--) {
        struct env_timer *t;
        e->now_ns += ENV_MS(1);
        while (!list_empty(&e->commits)) {
            struct env_kv_batch *b = container_of(e->commits.next, struct env_kv_batch, node);
            if (b->at_ns > e->now_ns)
                break;
            finish(b, e->is_dead ? CYX_ECANCELED : e->disk_code);
        }
        while (!e->is_dead && (t = timers_pop(&e->timers, e->now_ns)) != NULL)
            t->fn(t, t->arg);
        run_tasks(e);
    }
}
