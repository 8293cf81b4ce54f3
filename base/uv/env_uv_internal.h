/* base/uv/env_uv_internal.h - what the files of this folder share, and what their tests may reach.
 *
 * One struct env_uv belongs to one thread. The few things other threads touch are the posts (behind
 * post_lock) and what a work function was handed. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/env.h"
#include "base/uv/env_uv.h"

enum { ENV_UV_BOOT_ID = 36 }; /* characters of /proc/sys/kernel/random/boot_id */

enum {
    ENV_UV_SIGNALS_MAX = 8,
    ENV_UV_TASKS_PER_TURN = 4096,   /* deferred tasks; the rest runs next turn, without sleep */
    ENV_UV_TIMERS_PER_TURN = 4096,  /* likewise: a timer that sets itself "now" starves nobody */
    ENV_UV_STREAM_BUF = 64 * 1024,  /* one read of a stream */
    ENV_UV_MULTICAST_IFS = 32,      /* interfaces a beacon joins */
    ENV_UV_KV_QUEUE_MAX = 64 << 20, /* bytes of batches waiting for one store; more: CYX_EFULL */
    ENV_UV_BLOB_MAX = 1 << 20,      /* a blob is a key or a small state file */
    ENV_UV_BLOB_QUEUE_MAX = 64,     /* blobs waiting to be written; more: CYX_EFULL */
};

/* What tests switch off or inject. Set before the sockets are opened. */
struct env_uv_switches {
    bool no_gso, no_gro, no_ipv6;
    /* The next n_send_fail send calls (sendmsg or sendmmsg), after skipping n_send_skip of them,
     * fail with this errno without reaching the kernel. */
    int send_errno;
    unsigned n_send_skip, n_send_fail;
    /* sendmmsg hands the kernel at most this many datagrams a call; 0: all. */
    unsigned mmsg_max;
    bool no_write_memory;  /* what a stream's socket doesn't take at once can't be queued */
    bool no_stream_memory; /* no stream can be made */
};

struct env_uv_signal {
    uv_signal_t handle;
    env_fn fn;
    void *arg;
};

struct post {
    struct post *next;
    env_fn fn;
    void *arg;
};

struct udp_rx;
struct blob_job;

struct env_uv {
    struct env base; /* first: a struct env * is a struct env_uv * */
    uv_loop_t loop;
    bool is_running; /* inside uv_run: the clock may be cached */
    bool is_closing;

    /* turn.c */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active: the next poll must not sleep */
    uv_poll_t timer_poll;
    int timer_fd;
    uint64_t armed_ns; /* what timer_fd is set to; UINT64_MAX: nothing */
    bool timer_fired;
    struct timers timers;
    struct list tasks;
    uint64_t now_ns;
    bool now_is_fresh;

    /* post.c */
    uv_async_t async;
    pthread_mutex_t post_lock;
    struct post *post_head, **post_tail;

    /* work.c and everybody who uses the pool: requests whose end has not come yet */
    struct list works;
    size_t n_busy;

    /* data_dir.c */
    char *dir; /* absolute; NULL: no storage */
    int dir_fd;

    char boot_id[ENV_UV_BOOT_ID]; /* trail.c: of the machine */
    bool has_boot_id;

    struct list stores;     /* kv.c: struct env_kv.node */
    struct list blob_queue; /* blob.c */
    size_t n_blobs;         /* waiting or being written */
    bool is_blob_busy;
    struct list blob_failed; /* refused at once; told by blob_task */
    struct env_task blob_task;

    struct udp_rx *rx;   /* udp_recv.c: receive buffers of all sockets here */
    uint8_t *stream_buf; /* ENV_UV_STREAM_BUF bytes */

    struct env_uv_signal signals[ENV_UV_SIGNALS_MAX];
    unsigned n_signals;
    struct env_uv_switches switches;
};

static inline struct env_uv *env_uv_of(struct env *e)
{
    return container_of(e, struct env_uv, base);
}

/* The switches of `e`, for tests. */
struct env_uv_switches *env_uv__switches(struct env *e);

/* errors.c: an errno (positive) or a libuv error (negative) as a CYX_E* code. */
int env_uv__code(int errno_or_uv);
/* "why" for messages: strerror without its thread trap. */
const char *env_uv__why(int errno_or_uv, char buf[static 64]);

/* turn.c */
int env_uv__turn_start(struct env_uv *e, struct cyx_err *err);
void env_uv__turn_free(struct env_uv *e); /* after the loop is closed */
uint64_t env_uv__clock_ns(void);          /* the clock itself, not the turn's */
uint64_t env_uv__now_ns(struct env *e);
int64_t env_uv__wall_ms(struct env *e);
void env_uv__timer_set(struct env *e, struct env_timer *t, uint64_t at_ns);
void env_uv__timer_stop(struct env *e, struct env_timer *t);
void env_uv__defer(struct env *e, struct env_task *t);

/* post.c */
int env_uv__post_start(struct env_uv *e, struct cyx_err *err);
void env_uv__post(struct env *e, env_fn fn, void *arg);
void env_uv__post_drain(struct env_uv *e); /* runs what waits */

/* work.c */
int env_uv__work(struct env *e, env_work_fn work, env_done_fn done, void *arg,
                 struct env_work **out);
void env_uv__work_cancel(struct env_work *w);
void env_uv__work_cancel_all(struct env_uv *e);

/* data_dir.c */
/* Opens a data folder: a directory of ours that nobody else may enter. -1 with `err`. */
int env_uv__dir_open(const char *dir, struct cyx_err *err);
/* Checks an open file of the data folder: regular, ours, nobody else's to read or write. */
int env_uv__file_check(int fd, const char *dir, const char *name, struct cyx_err *err);
/* [a-z0-9-]{1,32}; with `dots` also '.' inside, for blobs such as "link.key". */
bool env_uv__name_ok(const char *name, bool dots);

/* trail.c */
void env_uv__boot_id_read(struct env_uv *e); /* before the sandbox */
int env_uv__trail_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len);
int env_uv__trail_open(struct env *e, const char *name, bool is_anew, struct env_trail **out);
int env_uv__trail_add(struct env_trail *t, const uint8_t *data, size_t len);
void env_uv__trail_close(struct env_trail *t);

/* kv.c, kv_batch.c, kv_commit.c */
int env_uv__kv_open(struct env *e, const char *name, size_t max_bytes, struct env_kv **out,
                    struct cyx_err *err);
void env_uv__kv_close(struct env_kv *kv);
int env_uv__kv_get(struct env_kv *kv, const void *key, size_t key_len, void *buf, size_t cap,
                   size_t *len);
int env_uv__kv_each(struct env_kv *kv, const void *prefix, size_t prefix_len, env_kv_each_fn fn,
                    void *arg);
struct env_kv_batch *env_uv__kv_batch(struct env_kv *kv);
int env_uv__kv_put(struct env_kv_batch *b, const void *key, size_t key_len, const void *val,
                   size_t val_len);
int env_uv__kv_del(struct env_kv_batch *b, const void *key, size_t key_len);
void env_uv__kv_commit(struct env_kv_batch *b, env_done_fn done, void *arg);
void env_uv__kv_abort(struct env_kv_batch *b);

/* blob.c */
void env_uv__blob_init(struct env_uv *e);
int env_uv__blob_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len,
                      struct cyx_err *err);
void env_uv__blob_store(struct env *e, const char *name, const uint8_t *data, size_t len,
                        env_done_fn done, void *arg);

/* udp.c, udp_send.c, udp_recv.c */
int env_uv__udp_open(struct env *e, const struct env_udp_options *o, struct env_udp **out,
                     struct cyx_err *err);
void env_uv__udp_close(struct env_udp *u);
int env_uv__udp_send(struct env_udp *u, const struct env_addr *to, const uint8_t *data, size_t len,
                     size_t segment);
void env_uv__udp_info(const struct env_udp *u, struct env_udp_info *out);

/* stream.c, stream_open.c */
int env_uv__listen(struct env *e, const struct env_endpoint *at,
                   void (*accepted)(void *arg, struct env_stream *s), void *arg,
                   struct env_listener **out, struct cyx_err *err);
void env_uv__listener_close(struct env_listener *l);
int env_uv__listener_addr(const struct env_listener *l, struct env_addr *out);
int env_uv__connect(struct env *e, const struct env_endpoint *to,
                    const struct env_stream_events *events, void *arg, struct env_stream **out,
                    struct cyx_err *err);
void env_uv__stream_attach(struct env_stream *s, const struct env_stream_events *events, void *arg);
int env_uv__stream_write(struct env_stream *s, const void *data, size_t len);
void env_uv__stream_pause(struct env_stream *s, bool paused);
void env_uv__stream_end(struct env_stream *s);
void env_uv__stream_close(struct env_stream *s);
void env_uv__stream_reset(struct env_stream *s);
int env_uv__stream_peer(const struct env_stream *s, struct env_addr *out);
size_t env_uv__stream_queued(const struct env_stream *s);
int env_uv__stream_cred(const struct env_stream *s, struct env_cred *out);
