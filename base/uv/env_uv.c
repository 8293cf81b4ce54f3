/* base/uv/env_uv.c - an environment's life: create, run, stop, destroy. */
#include "base/uv/env_uv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/uv/env_uv_internal.h"
#include "base/uv/udp_internal.h"

static void fill_random(struct env *e, void *buf, size_t n)
{
    (void)e;
    randombytes_buf(buf, n); /* getrandom; ends the process rather than return weak bytes */
}

static const struct env_ops ops = {
    .now_ns = env_uv__now_ns,
    .wall_ms = env_uv__wall_ms,
    .timer_set = env_uv__timer_set,
    .timer_stop = env_uv__timer_stop,
    .defer = env_uv__defer,
    .random = fill_random,
    .udp_open = env_uv__udp_open,
    .udp_close = env_uv__udp_close,
    .udp_send = env_uv__udp_send,
    .udp_info = env_uv__udp_info,
    .listen = env_uv__listen,
    .listener_close = env_uv__listener_close,
    .listener_addr = env_uv__listener_addr,
    .stream_reset = env_uv__stream_reset,
    .stream_peer = env_uv__stream_peer,
    .connect = env_uv__connect,
    .stream_attach = env_uv__stream_attach,
    .stream_write = env_uv__stream_write,
    .stream_pause = env_uv__stream_pause,
    .stream_end = env_uv__stream_end,
    .stream_close = env_uv__stream_close,
    .stream_queued = env_uv__stream_queued,
    .stream_cred = env_uv__stream_cred,
    .kv_open = env_uv__kv_open,
    .kv_close = env_uv__kv_close,
    .kv_get = env_uv__kv_get,
    .kv_each = env_uv__kv_each,
    .kv_batch = env_uv__kv_batch,
    .kv_put = env_uv__kv_put,
    .kv_del = env_uv__kv_del,
    .kv_commit = env_uv__kv_commit,
    .kv_abort = env_uv__kv_abort,
    .blob_load = env_uv__blob_load,
    .blob_store = env_uv__blob_store,
    .trail_load = env_uv__trail_load,
    .trail_open = env_uv__trail_open,
    .trail_add = env_uv__trail_add,
    .trail_close = env_uv__trail_close,
    .work = env_uv__work,
    .work_cancel = env_uv__work_cancel,
    .post = env_uv__post,
};

/* Once in a process, before the first loop. */
static void prepare_process(void)
{
    /* A peer that closes its end must not kill us: libuv writes without MSG_NOSIGNAL. */
    signal(SIGPIPE, SIG_IGN);
    /* The size of the pool is not for the surroundings to choose. */
    unsetenv("UV_THREADPOOL_SIZE");
}

static int open_storage(struct env_uv *e, const struct env_uv_options *o, struct cyx_err *err)
{
    const char *dir = o->data_dir;
    if (dir == NULL && o->share_stores_with != NULL)
        dir = env_uv_of(o->share_stores_with)->dir;
    if (dir == NULL)
        return 0;
    e->dir_fd = env_uv__dir_open(dir, err);
    if (e->dir_fd < 0)
        return err != NULL ? err->code : CYX_EIO;
    e->dir = realpath(dir, NULL); /* stores are opened by path: a chdir must not move them */
    char why[64];
    if (e->dir == NULL)
        return cyx_fail(err, env_uv__code(errno), "%s: %s", dir, env_uv__why(errno, why));
    return 0;
}

static int start(struct env_uv *e, const struct env_uv_options *o, struct cyx_err *err)
{
    int rc = env_uv__post_start(e, err);
    if (rc == 0)
        rc = env_uv__turn_start(e, err);
    if (rc == 0)
        rc = open_storage(e, o, err);
    return rc;
}

static void free_memory(struct env_uv *e)
{
    env_uv__turn_free(e);
    pthread_mutex_destroy(&e->post_lock);
    if (e->dir_fd >= 0)
        close(e->dir_fd);
    env_uv__udp_rx_free(e->rx);
    free(e->stream_buf);
    free(e->dir);
    free(e);
}

/* Closes our own handles (their data points at the environment). A handle of somebody else's that
 * is still open is a bug of its owner: said by name, then the end, since waiting for it would hang
 * and freeing the loop under it would corrupt memory. */
static void close_handle(uv_handle_t *h, void *arg)
{
    struct env_uv *e = arg;
    if (uv_is_closing(h))
        return;
    if (h->data != e) {
        log_error(e->base.log, "env", "a %s handle is open while the loop ends",
                  uv_handle_type_name(h->type));
        abort();
    }
    uv_close(h, NULL);
}

static void close_loop(struct env_uv *e)
{
    uv_walk(&e->loop, close_handle, e);
    while (uv_run(&e->loop, UV_RUN_DEFAULT) != 0) {
    }
    if (uv_loop_close(&e->loop) != 0)
        abort(); /* a request without a handle: see close_handle */
}

struct env *env_uv_create(const struct env_uv_options *o, struct cyx_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_process);
    if (secret_init(err) < 0)
        return NULL;
    cleanup_free struct env_uv *e = calloc(1, sizeof *e);
    if (e == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for an environment");
        return NULL;
    }
    char why[64];
    e->base = (struct env){ .ops = &ops, .log = o->log };
    e->timer_fd = e->dir_fd = -1;
    list_init(&e->works);
    list_init(&e->stores);
    env_uv__blob_init(e);
    env_uv__boot_id_read(e);
    int rc = uv_loop_init(&e->loop);
    if (rc < 0) {
        cyx_fail(err, env_uv__code(rc), "uv_loop_init: %s", env_uv__why(rc, why));
        return NULL;
    }
    if (start(e, o, err) < 0) {
        close_loop(e);
        free_memory(steal(&e));
        return NULL;
    }
    return &steal(&e)->base;
}

void env_uv_run(struct env *base)
{
    struct env_uv *e = env_uv_of(base);
    e->is_running = true;
    uv_run(&e->loop, UV_RUN_DEFAULT);
    e->is_running = e->now_is_fresh = false;
}

void env_uv_stop(struct env *base)
{
    uv_stop(&env_uv_of(base)->loop);
}

void env_uv_destroy(struct env *base)
{
    if (base == NULL)
        return;
    struct env_uv *e = env_uv_of(base);
    e->is_closing = e->is_running = true;
    env_uv__work_cancel_all(e);
    env_uv__post_drain(e);
    /* Commits and blob stores under way end properly; each ending may start the next. */
    while (e->n_busy > 0 || !list_empty(&e->tasks)) {
        uv_run(&e->loop, UV_RUN_ONCE);
        env_uv__post_drain(e);
    }
    close_loop(e);
    free_memory(e);
}

void *env_uv_loop(struct env *base)
{
    return &env_uv_of(base)->loop;
}

struct env_uv_switches *env_uv__switches(struct env *base)
{
    return &env_uv_of(base)->switches;
}
