/* base/uv/work.c - blocking calls on libuv's pool. The pool belongs to the process (four threads,
 * started by the first use); its order is first come, first served. */
#include <stdlib.h>

#include "base/uv/env_uv_internal.h"

struct env_work {
    uv_work_t req;
    struct list node; /* env_uv.works */
    struct env_uv *e;
    env_work_fn work;
    env_done_fn done;
    void *arg;
};

static void on_pool(uv_work_t *req)
{
    struct env_work *w = req->data;
    w->work(w->arg);
}

static void on_done(uv_work_t *req, int status)
{
    struct env_work *w = req->data;
    env_done_fn done = w->done;
    void *arg = w->arg;
    list_del(&w->node);
    w->e->n_busy--;
    free(w);
    if (done != NULL)
        done(arg, status == 0 ? CYX_OK : CYX_ECANCELED);
}

int env_uv__work(struct env *base, env_work_fn work, env_done_fn done, void *arg,
                 struct env_work **out)
{
    struct env_uv *e = env_uv_of(base);
    struct env_work *w = calloc(1, sizeof *w);
    if (w == NULL)
        return CYX_ENOMEM;
    *w = (struct env_work){ .e = e, .work = work, .done = done, .arg = arg };
    w->req.data = w;
    int rc = uv_queue_work(&e->loop, &w->req, on_pool, on_done);
    if (rc < 0) { /* only for a NULL function; kept honest all the same */
        free(w);
        return env_uv__code(rc);
    }
    list_push_back(&e->works, &w->node);
    e->n_busy++;
    if (e->is_closing)
        env_uv__work_cancel(w);
    if (out != NULL)
        *out = w;
    return 0;
}

void env_uv__work_cancel(struct env_work *w)
{
    /* Fails when it runs or has run: then `done` comes with 0, as promised. */
    (void)uv_cancel((uv_req_t *)&w->req);
}

void env_uv__work_cancel_all(struct env_uv *e)
{
    list_each (pos, &e->works)
        env_uv__work_cancel(container_of(pos, struct env_work, node));
}
