#include "node/roles.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/roles_internal.h"

static bool is_listed(const struct role_set *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->roles[i].table->name, name) == 0)
            return true;
    return false;
}

static int add(struct role_set *s, const struct role *r, struct cyx_err *err)
{
    if (s->n == NODE_ROLES_MAX)
        return cyx_fail(err, CYX_EFULL, "more than %d roles", NODE_ROLES_MAX);
    s->roles[s->n++] = *r;
    return 0;
}

struct role_set *roles_load(const char *dir, const char (*names)[33], size_t n, struct cyx_err *err)
{
    struct role_set *s = calloc(1, sizeof *s);
    if (s == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for roles");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        struct role r = { 0 };
        if (is_listed(s, names[i])) {
            cyx_fail(err, CYX_EINVAL, "role %s is named twice in `roles`", names[i]);
            roles_destroy(s);
            return NULL;
        }
        if (node__role_open(dir, names[i], &r, err) < 0 || add(s, &r, err) < 0) {
            roles_destroy(s);
            return NULL;
        }
    }
    return s;
}

int roles_add(struct role_set *s, const struct node_role *role, struct cyx_err *err)
{
    int rc = node__role_check(role, role->name != NULL ? role->name : "", "role", err);
    return rc < 0 ? rc : add(s, &(struct role){ .table = role }, err);
}

size_t roles_len(const struct role_set *s)
{
    return s != NULL ? s->n : 0;
}

const struct node_role *roles_at(const struct role_set *s, size_t i)
{
    return s->roles[i].table;
}

void *roles_state(const struct role_set *s, size_t i)
{
    return s->roles[i].state;
}

size_t roles_schemas(const struct role_set *s, const struct conf_item **out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < roles_len(s) && n < cap; i++)
        if (s->roles[i].table->schema != NULL)
            out[n++] = s->roles[i].table->schema;
    return n;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy_states(struct role_set *s)
{
    for (size_t i = s->n; i-- > 0;) {
        struct role *r = &s->roles[i];
        if (r->is_created)
            r->table->destroy(r->state);
        r->is_created = false;
        r->state = NULL;
    }
}

int roles_create(struct role_set *s, const struct node_ctx *ctx, const struct conf *conf,
                 struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    s->ctx = *ctx;
    for (size_t i = 0; i < s->n; i++) {
        struct role *r = &s->roles[i];
        if (r->table->create(&s->ctx, conf, &r->state, err) < 0) {
            destroy_states(s);
            return cyx_wrap(err, "role %s", r->table->name);
        }
        r->is_created = true;
    }
    return 0;
}

int roles_start(struct role_set *s, struct mesh *mesh, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    s->ctx.mesh = mesh;
    for (size_t i = 0; i < s->n; i++) {
        struct role *r = &s->roles[i];
        if (r->table->start(r->state, err) < 0)
            return cyx_wrap(err, "role %s", r->table->name);
        r->is_started = true;
        log_info(s->ctx.log, "roles", "%s started", r->table->name);
    }
    return 0;
}

/* ---- stop ------------------------------------------------------------------------------------ */

/* What a role's `done` comes back with; its own block, since it may come after we gave up. */
struct stop_wait {
    struct role_set *set; /* NULL: given up */
};

static void stop_next(struct role_set *s);

static void on_stopped(void *arg)
{
    struct stop_wait *w = arg;
    struct role_set *s = w->set;
    free(w);
    if (s == NULL)
        return;
    s->wait = NULL;
    env_timer_stop(s->ctx.env, &s->stop_timer);
    stop_next(s);
}

static void on_stop_timeout(struct env_timer *t, void *arg)
{
    (void)t;
    struct role_set *s = arg;
    log_error(s->ctx.log, "roles", "%s did not stop within %d s: going on without it",
              s->roles[s->stopping].table->name, ROLE_STOP_MS / 1000);
    s->wait->set = NULL; /* its `done` may still come, and frees the block */
    s->wait = NULL;
    /* Its state may still be in use by what hangs: it is neither destroyed nor unloaded. */
    s->roles[s->stopping].is_created = false;
    s->roles[s->stopping].is_hung = true;
    stop_next(s);
}

static void stop_next(struct role_set *s)
{
    while (s->stopping > 0) {
        struct role *r = &s->roles[--s->stopping];
        if (!r->is_started)
            continue;
        r->is_started = false;
        struct stop_wait *w = calloc(1, sizeof *w);
        if (w == NULL) {
            log_error(s->ctx.log, "roles", "no memory to stop %s", r->table->name);
            r->is_created = false;
            r->is_hung = true;
            continue;
        }
        w->set = s;
        s->wait = w;
        env_timer_init(&s->stop_timer, on_stop_timeout, s);
        env_timer_in(s->ctx.env, &s->stop_timer, ENV_MS(ROLE_STOP_MS));
        r->table->stop(r->state, on_stopped, w);
        return;
    }
    s->done(s->done_arg);
}

void roles_stop(struct role_set *s, env_fn done, void *arg)
{
    if (s == NULL || s->is_stopping) {
        done(arg);
        return;
    }
    s->is_stopping = true;
    s->done = done;
    s->done_arg = arg;
    s->stopping = s->n;
    stop_next(s);
}

void roles_destroy(struct role_set *s)
{
    if (s == NULL)
        return;
    destroy_states(s);
    for (size_t i = s->n; i-- > 0;)
        if (s->roles[i].library != NULL && !s->roles[i].is_hung)
            dlclose(s->roles[i].library);
    free(s);
}

/* ---- what the rest of the daemon asks -------------------------------------------------------- */

const struct node_method *roles_method(const struct role_set *s, const char *name, size_t len,
                                       void **state)
{
    for (size_t i = 0; i < roles_len(s); i++) {
        const struct node_role *t = s->roles[i].table;
        size_t n = strlen(t->name);
        if (len <= n + 1 || memcmp(name, t->name, n) != 0 || name[n] != '.')
            continue;
        for (const struct node_method *m = t->methods; m != NULL && m->name != NULL; m++) {
            if (strlen(m->name) == len - n - 1 && memcmp(m->name, name + n + 1, len - n - 1) == 0) {
                *state = s->roles[i].state;
                return s->roles[i].is_started ? m : NULL;
            }
        }
    }
    return NULL;
}

void roles_metrics(const struct role_set *s, metric_fn fn, void *arg)
{
    for (size_t i = 0; i < roles_len(s); i++)
        if (s->roles[i].is_created && s->roles[i].table->metrics != NULL)
            s->roles[i].table->metrics(s->roles[i].state, fn, arg);
}

enum node_health roles_health(const struct role_set *s, size_t i, char *text, size_t cap)
{
    const struct role *r = &s->roles[i];
    if (cap > 0)
        text[0] = '\0';
    if (!r->is_started)
        return NODE_FAILED;
    return r->table->health != NULL ? r->table->health(r->state, text, cap) : NODE_HEALTHY;
}
