/* base/uv/post.c - calls from other threads, run on the loop in the order they came. */
#include <stdlib.h>

#include "base/uv/env_uv_internal.h"

void env_uv__post(struct env *base, env_fn fn, void *arg)
{
    struct env_uv *e = env_uv_of(base);
    struct post *p = malloc(sizeof *p);
    /* A lost post breaks promises between threads in ways nobody could report (an object that is
     * never freed, an answer that never comes): out of memory for 24 bytes ends the process. */
    if (p == NULL)
        abort();
    *p = (struct post){ .fn = fn, .arg = arg };
    pthread_mutex_lock(&e->post_lock);
    *e->post_tail = p;
    e->post_tail = &p->next;
    /* Under the lock, so that the loop can't have run this post and gone away in between. */
    uv_async_send(&e->async);
    pthread_mutex_unlock(&e->post_lock);
}

void env_uv__post_drain(struct env_uv *e)
{
    pthread_mutex_lock(&e->post_lock);
    struct post *p = e->post_head;
    e->post_head = NULL;
    e->post_tail = &e->post_head;
    pthread_mutex_unlock(&e->post_lock);
    while (p != NULL) {
        struct post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
}

static void on_async(uv_async_t *h)
{
    env_uv__post_drain(h->data);
}

int env_uv__post_start(struct env_uv *e, struct cyx_err *err)
{
    char why[64];
    e->post_tail = &e->post_head;
    pthread_mutex_init(&e->post_lock, NULL);
    int rc = uv_async_init(&e->loop, &e->async, on_async);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "uv_async_init: %s", env_uv__why(rc, why));
    e->async.data = e;
    return 0;
}
