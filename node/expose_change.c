/* Changes of what is exposed. Each goes: key to disk (a new one), list to disk, then it holds: an
 * address is never shown before its key can be read again. */
#include <stdlib.h>
#include <string.h>

#include "node/expose_internal.h"

static int put_entry(struct expose *x, const struct expose_spec *spec, bool is_on, env_done_fn done,
                     void *arg)
{
    uint8_t *buf = malloc(EXPOSE_SPEC_MAX);
    struct env_kv_batch *b = env_kv_batch(x->o.env, x->kv);
    int rc = CYX_ENOMEM;
    if (buf != NULL && b != NULL)
        rc = env_kv_put(x->o.env, b, spec->name, strlen(spec->name), buf,
                        expose_spec_encode(spec, is_on, buf));
    if (rc == 0)
        env_kv_commit(x->o.env, b, done, arg);
    else
        env_kv_abort(x->o.env, b);
    free(buf);
    return rc;
}

/* ---- changes --------------------------------------------------------------------------------- */

struct change {
    struct list node;
    struct expose *expose; /* NULL: it is gone, and so is who asked */
    struct expose_spec spec;
    bool is_on, is_new;
    enum expose_forget forget;
    env_done_fn done;
    void *arg;
};

/* It is on disk: from now on it holds. */
static void commit(struct expose_entry *e, const struct change *c)
{
    expose__stop(e); /* other ports, other clients: another descriptor */
    e->spec = c->spec;
    e->is_on = c->is_on;
    if (c->forget == EXPOSE_FORGET_KEY)
        expose__entry_free(e);
    else
        expose__start(e);
}

static void finish(struct change *c, int code)
{
    env_done_fn done = c->done;
    void *arg = c->arg;
    struct expose *x = c->expose;
    struct expose_entry *e = x != NULL ? expose__entry(x, c->spec.name) : NULL;
    if (e != NULL) { /* while it is busy nobody takes it away */
        e->is_busy = false;
        if (code == 0)
            commit(e, c);
        else if (c->is_new)
            expose__entry_free(e);
    }
    list_del(&c->node);
    free(c);
    if (x == NULL)
        return;
    if (done != NULL)
        done(arg, code);
    expose__tell(x);
}

static void on_listed(void *arg, int code)
{
    finish(arg, code);
}

static void on_key_stored(void *arg, int code)
{
    struct change *c = arg;
    if (code == 0 && c->expose == NULL)
        code = CYX_ECANCELED;
    if (code == 0)
        code = put_entry(c->expose, &c->spec, c->is_on, on_listed, c);
    if (code != 0)
        finish(c, code);
}

static struct change *change_new(struct expose_entry *e, const struct expose_spec *spec,
                                 env_done_fn done, void *arg)
{
    struct change *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->expose = e->expose;
    c->spec = *spec;
    c->done = done;
    c->arg = arg;
    list_push_back(&e->expose->changes, &c->node);
    e->is_busy = true;
    return c;
}

static void change_drop(struct change *c)
{
    if (c == NULL)
        return;
    list_del(&c->node);
    free(c);
}

static int busy(const struct expose_entry *e, struct cyx_err *err)
{
    return cyx_fail(err, CYX_EBUSY, "%s is being changed: try again in a moment", e->spec.name);
}

/* The entry, if it may be changed now; NULL with `err`. */
static struct expose_entry *entry_to_change(struct expose_entry *e, struct cyx_err *err)
{
    if (e->is_busy)
        (void)busy(e, err);
    else if (e->seed == NULL)
        (void)cyx_fail(err, e->trouble.code, "%s: %s", e->spec.name, e->trouble.msg);
    else
        return e;
    return NULL;
}

/* A new one with a key of its own; NULL with `err`. */
static struct expose_entry *entry_to_begin(struct expose *x, const struct expose_spec *spec,
                                           struct cyx_err *err)
{
    if (x->n_entries == EXPOSE_SERVICES_MAX) {
        (void)cyx_fail(err, CYX_EFULL,
                       "%d endpoints are kept at most: `cyx unexpose NAME --forget` removes one",
                       EXPOSE_SERVICES_MAX);
        return NULL;
    }
    struct expose_entry *e = expose__entry_new(x, spec);
    if (e == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for the endpoint");
    } else if (expose__set_seed(e, NULL, err) < 0) {
        expose__entry_free(e);
        e = NULL;
    }
    return e;
}

int expose_add(struct expose *x, const struct expose_spec *spec, env_done_fn done, void *arg,
               struct cyx_err *err)
{
    char name[EXPOSE_FILE_NAME];
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    struct expose_entry *e = expose__entry(x, spec->name);
    bool is_new = e == NULL;
    e = is_new ? entry_to_begin(x, spec, err) : entry_to_change(e, err);
    if (e == NULL)
        return err->code;
    struct change *c = change_new(e, spec, done, arg);
    int rc = CYX_ENOMEM;
    if (c != NULL) {
        c->is_on = true;
        c->is_new = is_new;
        rc = is_new ? vault_store(x->o.vault, expose__file(spec->name, name), e->seed, EXPOSE_SEED,
                                  on_key_stored, c)
                    : put_entry(x, spec, true, on_listed, c);
    }
    if (rc == 0)
        return 0;
    e->is_busy = false;
    if (is_new)
        expose__entry_free(e);
    change_drop(c);
    return cyx_fail(err, rc, "no memory for the endpoint");
}

static int forget_entry(struct expose *x, const char *name, env_done_fn done, void *arg)
{
    static const uint8_t nothing[1];
    char file[EXPOSE_FILE_NAME];
    struct env_kv_batch *b = env_kv_batch(x->o.env, x->kv);
    int rc = b != NULL ? env_kv_del(x->o.env, b, name, strlen(name)) : CYX_ENOMEM;
    if (rc < 0) {
        env_kv_abort(x->o.env, b);
        return rc;
    }
    /* The old bytes may linger on the medium; the file no longer leads to them. */
    env_blob_store(x->o.env, expose__file(name, file), nothing, sizeof nothing, NULL, NULL);
    env_kv_commit(x->o.env, b, done, arg);
    return 0;
}

int expose_remove(struct expose *x, const char *name, enum expose_forget forget, env_done_fn done,
                  void *arg, struct cyx_err *err)
{
    struct expose_entry *e = expose__entry(x, name);
    if (e == NULL)
        return cyx_fail(err, CYX_ENOENT, "nothing is exposed as \"%.64s\": `cyx services` lists",
                        name);
    if (e->is_busy)
        return busy(e, err);
    struct change *c = change_new(e, &e->spec, done, arg);
    int rc = CYX_ENOMEM;
    if (c != NULL) {
        c->forget = forget;
        rc = forget == EXPOSE_FORGET_KEY ? forget_entry(x, name, on_listed, c)
                                         : put_entry(x, &e->spec, false, on_listed, c);
    }
    if (rc < 0) {
        e->is_busy = false;
        change_drop(c);
        return cyx_fail(err, rc, "no memory for the change");
    }
    e->is_on = false;
    expose__stop(e); /* whatever the disk says: it was asked to be off */
    return 0;
}

/* They end with the environment. */
void expose__cancel_changes(struct expose *x)
{
    list_each_safe (pos, &x->changes) {
        struct change *c = container_of(pos, struct change, node);
        list_del(&c->node);
        c->expose = NULL;
        if (c->done != NULL)
            c->done(c->arg, CYX_ECANCELED);
    }
}
