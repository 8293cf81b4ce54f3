/* base/env.h - the world, as protocol code sees it: clocks, timers, datagrams, streams, randomness,
 * storage, blocking work. libuv stands behind it in the daemon (base/uv), a seeded simulator in
 * tests (tests/sim). Protocol code touches nothing else, so the same bytes run in both.
 *
 * One environment belongs to one thread (its loop); only env_post may be called from others.
 * Callbacks never run inside the call that registered them, only from the loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/timers.h"

struct log;
struct env;

/* ---- addresses ------------------------------------------------------------------------------- */

/* IPv6, or IPv4 as ::ffff:a.b.c.d. Always dual stack, one comparison. */
struct env_addr {
    uint8_t ip[16];
    uint16_t port;
    uint32_t scope; /* link-local scope id, 0 otherwise */
};

enum { ENV_ADDR_TEXT = 64 };

bool env_addr_is_v4(const struct env_addr *a);
bool env_addr_equal(const struct env_addr *a, const struct env_addr *b);
struct env_addr env_addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port);
/* "192.0.2.1:4100" or "[2001:db8::1]:4100" (with %scope when it has one); returns `out`. */
const char *env_addr_text(const struct env_addr *a, char out[static ENV_ADDR_TEXT]);
/* Reads what env_addr_text writes. Numeric only: names are never resolved. 0 or CYX_EINVAL. */
CYX_MUST_USE int env_addr_parse(struct env_addr *out, const char *text, struct cyx_err *err);
/* The address's /24 (IPv4) or /48 (IPv6) as 8 bytes: what limits by prefix are counted under. */
uint64_t env_addr_prefix(const struct env_addr *a);

/* ---- callbacks' shapes ------------------------------------------------------------------------
 */

typedef void (*env_fn)(void *arg);

/* Deferred work, embedded in its owner: runs once at the end of the current turn of the loop. */
struct env_task {
    struct list node;
    env_fn fn;
    void *arg;
};

/* ---- datagrams --------------------------------------------------------------------------------
 */

struct env_udp;

/* What arrived: `len` bytes at `data`, a row of datagrams of `segment` bytes each (the last may be
 * shorter) from one sender. Without GRO len <= segment. The receiver may change the bytes in place
 * (decryption) and must be done with them on return. */
struct env_datagrams {
    struct env_addr from;
    uint8_t *data;
    size_t len;
    size_t segment;
};

struct env_udp_options {
    struct env_addr bind; /* zero ip: all addresses, both families; port 0: any */
    unsigned n_workers; /* > 1: SO_REUSEPORT group; packets are steered to worker (receiver index's
                           top byte) % n_workers, see mesh/packet.h. 0 and 1: no group */
    unsigned worker;    /* this socket's place in the group, 0.. in order of opening */
    bool multicast;     /* join `group` on all interfaces (beacon); implies address reuse */
    struct env_addr group;
    int rcvbuf, sndbuf; /* bytes asked for; 0: 4 MiB. The kernel may grant less */
    void (*received)(void *arg, struct env_datagrams *batch, size_t n);
    void (*writable)(void *arg); /* after env_udp_send said CYX_EAGAIN; may be NULL */
    void *arg;
};

enum {
    ENV_UDP_SEGMENTS_MAX = 48,    /* datagrams of 1328 in one GSO send: under 64 KiB and under the
                                     kernel's 64 segments */
    ENV_UDP_BATCHES_PER_TURN = 64 /* receive budget of one wake-up */
};

/* What the socket found out about its kernel, and its counters. */
struct env_udp_info {
    struct env_addr local; /* with the port in use */
    bool gso, gro, dual_stack;
    int rcvbuf, sndbuf; /* as granted */
    uint64_t rx_datagrams, rx_bytes, tx_datagrams, tx_bytes, tx_again, tx_errors, rx_overflow;
};

/* ---- streams ----------------------------------------------------------------------------------
 */

struct env_stream;
struct env_listener;

struct env_endpoint {
    enum { ENV_UNIX, ENV_TCP } kind;
    char path[108];       /* ENV_UNIX: socket file; a leading '@' means abstract */
    unsigned mode;        /* ENV_UNIX listeners: file mode, 0 means 0600 */
    struct env_addr addr; /* ENV_TCP */
};

/* Who is on the other end of a unix socket. */
struct env_cred {
    uint32_t uid, gid;
    int32_t pid;
};

struct env_stream_events {
    void (*opened)(void *arg, int code); /* env_connect only: 0 or a CYX_E* (the stream is then
                                            dead; close it) */
    void (*data)(void *arg, uint8_t *data,
                 size_t len);            /* len 0: the other end sent its last byte */
    void (*drained)(void *arg);          /* the write queue is empty again; may be NULL */
    void (*closed)(void *arg, int code); /* reset or error; the stream is dead: close it. Not called
                                            after env_stream_close */
};

enum { ENV_STREAM_QUEUE_MAX = 1 << 20 }; /* bytes waiting to be written; more: CYX_EFULL */

/* ---- storage ----------------------------------------------------------------------------------
 */

/* A named ordered key-value store: LMDB on disk, memory in the simulator. Reads see what was
 * committed. Keys 1..511 bytes. */
struct env_kv;
struct env_kv_batch;

enum { ENV_KV_KEY_MAX = 511 };

/* Called in key order; return false to stop. Pointers are valid only during the call. */
typedef bool (*env_kv_each_fn)(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                               size_t val_len);
/* code 0: on disk, survives kill -9. Otherwise nothing of the batch was kept. */
typedef void (*env_done_fn)(void *arg, int code);

/* ---- blocking work ----------------------------------------------------------------------------
 */

struct env_work;
struct env_trail;

/* Runs `work(arg)` on a pool thread, then `done(arg, code)` on the loop: code 0, or CYX_ECANCELED
 * when env_work_cancel came before it started or the environment is closing. */
typedef void (*env_work_fn)(void *arg);

/* ---- the table --------------------------------------------------------------------------------
 */

struct env_ops {
    uint64_t (*now_ns)(struct env *);
    int64_t (*wall_ms)(struct env *);
    void (*timer_set)(struct env *, struct env_timer *, uint64_t at_ns);
    void (*timer_stop)(struct env *, struct env_timer *);
    void (*defer)(struct env *, struct env_task *);
    void (*random)(struct env *, void *buf, size_t n);

    int (*udp_open)(struct env *, const struct env_udp_options *, struct env_udp **,
                    struct cyx_err *);
    void (*udp_close)(struct env_udp *);
    int (*udp_send)(struct env_udp *, const struct env_addr *to, const uint8_t *data, size_t len,
                    size_t segment);
    void (*udp_info)(const struct env_udp *, struct env_udp_info *);

    int (*listen)(struct env *, const struct env_endpoint *,
                  void (*accepted)(void *arg, struct env_stream *s), void *arg,
                  struct env_listener **, struct cyx_err *);
    void (*listener_close)(struct env_listener *);
    int (*connect)(struct env *, const struct env_endpoint *, const struct env_stream_events *,
                   void *arg, struct env_stream **, struct cyx_err *);
    void (*stream_attach)(struct env_stream *, const struct env_stream_events *, void *arg);
    int (*stream_write)(struct env_stream *, const void *data, size_t len);
    void (*stream_pause)(struct env_stream *, bool paused);
    void (*stream_end)(struct env_stream *);
    void (*stream_close)(struct env_stream *);
    size_t (*stream_queued)(const struct env_stream *);
    int (*stream_cred)(const struct env_stream *, struct env_cred *);

    int (*kv_open)(struct env *, const char *name, size_t max_bytes, struct env_kv **,
                   struct cyx_err *);
    void (*kv_close)(struct env_kv *);
    int (*kv_get)(struct env_kv *, const void *key, size_t key_len, void *buf, size_t cap,
                  size_t *len);
    int (*kv_each)(struct env_kv *, const void *prefix, size_t prefix_len, env_kv_each_fn, void *);
    struct env_kv_batch *(*kv_batch)(struct env_kv *);
    int (*kv_put)(struct env_kv_batch *, const void *key, size_t key_len, const void *val,
                  size_t val_len);
    int (*kv_del)(struct env_kv_batch *, const void *key, size_t key_len);
    void (*kv_commit)(struct env_kv_batch *, env_done_fn, void *arg);
    void (*kv_abort)(struct env_kv_batch *);

    int (*blob_load)(struct env *, const char *name, uint8_t *buf, size_t cap, size_t *len,
                     struct cyx_err *);
    void (*blob_store)(struct env *, const char *name, const uint8_t *data, size_t len, env_done_fn,
                       void *arg);

    /* all may be NULL together: an environment that keeps no trails */
    int (*trail_load)(struct env *, const char *name, uint8_t *buf, size_t cap, size_t *len);
    int (*trail_open)(struct env *, const char *name, bool is_anew, struct env_trail **);
    int (*trail_add)(struct env_trail *, const uint8_t *data, size_t len);
    void (*trail_close)(struct env_trail *);

    int (*work)(struct env *, env_work_fn, env_done_fn, void *arg, struct env_work **);
    void (*work_cancel)(struct env_work *);
    void (*post)(struct env *, env_fn, void *arg);

    int (*listener_addr)(const struct env_listener *, struct env_addr *); /* may be NULL */
    void (*stream_reset)(struct env_stream *);                            /* may be NULL */
    int (*stream_peer)(const struct env_stream *, struct env_addr *);     /* may be NULL */
};

struct env {
    const struct env_ops *ops;
    struct log *log; /* may be NULL */
};

/* Monotonic nanoseconds since some start; does not go back, goes on while the machine sleeps.
 * Cached for one turn of the loop. */
static inline uint64_t env_now_ns(struct env *e)
{
    return e->ops->now_ns(e);
}

static inline uint64_t env_now_ms(struct env *e)
{
    return e->ops->now_ns(e) / 1000000u;
}

/* The machine's wall clock, unix milliseconds: may jump either way at any time. Only network time
 * (mesh/nettime.h), records and logs look at it. */
static inline int64_t env_wall_ms(struct env *e)
{
    return e->ops->wall_ms(e);
}

#define ENV_MS(ms) ((uint64_t)(ms)*1000000u)
#define ENV_S(s)   ((uint64_t)(s)*1000000000u)

/* Prepares a timer in its owner's memory. Stop it before that memory goes away. */
static inline void env_timer_init(struct env_timer *t, void (*fn)(struct env_timer *t, void *arg),
                                  void *arg)
{
    *t = (struct env_timer){ .fn = fn, .arg = arg };
}

/* Fires once at the monotonic time `at_ns` (or as soon as possible when past); moves it if set. */
static inline void env_timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
    e->ops->timer_set(e, t, at_ns);
}

static inline void env_timer_in(struct env *e, struct env_timer *t, uint64_t delay_ns)
{
    e->ops->timer_set(e, t, e->ops->now_ns(e) + delay_ns);
}

static inline void env_timer_stop(struct env *e, struct env_timer *t)
{
    e->ops->timer_stop(e, t);
}

static inline void env_task_init(struct env_task *t, env_fn fn, void *arg)
{
    list_init(&t->node);
    t->fn = fn;
    t->arg = arg;
}

/* Runs `t` at the end of this turn, before the loop sleeps; once, however often it is asked. */
static inline void env_defer(struct env *e, struct env_task *t)
{
    e->ops->defer(e, t);
}

static inline void env_task_cancel(struct env_task *t)
{
    list_del(&t->node);
}

/* Cryptographic randomness (from the seed in the simulator). Never fails. */
static inline void env_random(struct env *e, void *buf, size_t n)
{
    e->ops->random(e, buf, n);
}

uint32_t env_random_u32(struct env *e);
uint64_t env_random_u64(struct env *e);
/* Uniform in 0..bound-1, without modulo bias; 0 when bound is 0. */
uint64_t env_random_below(struct env *e, uint64_t bound);

/* Opens a UDP socket; owned by the caller (env_udp_close). CYX_EIO names the address and reason
 * ("bind [::]:4100: Address already in use"). */
static inline CYX_MUST_USE int env_udp_open(struct env *e, const struct env_udp_options *o,
                                            struct env_udp **out, struct cyx_err *err)
{
    return e->ops->udp_open(e, o, out, err);
}

/* Sends `len` bytes as datagrams of `segment` bytes (the last may be shorter), at most
 * ENV_UDP_SEGMENTS_MAX of them; the bytes are not needed after return. 0; CYX_EAGAIN when the
 * socket is full: nothing was sent, `writable` follows; CYX_EIO for this destination (counted, like
 * loss). */
static inline int env_udp_send(struct env *e, struct env_udp *u, const struct env_addr *to,
                               const uint8_t *data, size_t len, size_t segment)
{
    return e->ops->udp_send(u, to, data, len, segment);
}

static inline void env_udp_info(struct env *e, const struct env_udp *u, struct env_udp_info *out)
{
    e->ops->udp_info(u, out);
}

/* No callback comes after it. NULL is fine. */
static inline void env_udp_close(struct env *e, struct env_udp *u)
{
    if (u != NULL)
        e->ops->udp_close(u);
}

/* Listens; `accepted` gets each stream: it must env_stream_attach or env_stream_close it. A stale
 * unix socket file (nobody listening) is replaced; a live one is CYX_EBUSY. */
static inline CYX_MUST_USE int env_listen(struct env *e, const struct env_endpoint *at,
                                          void (*accepted)(void *arg, struct env_stream *s),
                                          void *arg, struct env_listener **out, struct cyx_err *err)
{
    return e->ops->listen(e, at, accepted, arg, out, err);
}

static inline void env_listener_close(struct env *e, struct env_listener *l)
{
    if (l != NULL)
        e->ops->listener_close(l);
}

/* Where a TCP listener listens, with the port the kernel chose for port 0. 0, or CYX_EUNSUPPORTED
 * for a unix socket or an environment that doesn't tell. */
static inline CYX_MUST_USE int env_listener_addr(struct env *e, const struct env_listener *l,
                                                 struct env_addr *out)
{
    return e->ops->listener_addr != NULL ? e->ops->listener_addr(l, out) : CYX_EUNSUPPORTED;
}

/* Starts to connect; `opened` follows. */
static inline CYX_MUST_USE int env_connect(struct env *e, const struct env_endpoint *to,
                                           const struct env_stream_events *events, void *arg,
                                           struct env_stream **out, struct cyx_err *err)
{
    return e->ops->connect(e, to, events, arg, out, err);
}

static inline void env_stream_attach(struct env *e, struct env_stream *s,
                                     const struct env_stream_events *events, void *arg)
{
    e->ops->stream_attach(s, events, arg);
}

/* Queues a copy of the bytes. 0; CYX_EFULL above ENV_STREAM_QUEUE_MAX (nothing queued; wait for
 * `drained`) or CYX_ENOMEM (nothing queued); CYX_ECLOSED: nothing more can be written. */
static inline CYX_MUST_USE int env_stream_write(struct env *e, struct env_stream *s,
                                                const void *data, size_t len)
{
    return e->ops->stream_write(s, data, len);
}

/* Stops and restarts reading: how a slow consumer pushes back. */
static inline void env_stream_pause(struct env *e, struct env_stream *s, bool paused)
{
    e->ops->stream_pause(s, paused);
}

/* Sends what is queued, then our end of stream. */
static inline void env_stream_end(struct env *e, struct env_stream *s)
{
    e->ops->stream_end(s);
}

/* Ends at once; unsent bytes are lost; no callback follows. NULL is fine. */
static inline void env_stream_close(struct env *e, struct env_stream *s)
{
    if (s != NULL)
        e->ops->stream_close(s);
}

/* The same, and the other end sees a reset (ECONNRESET), never an orderly end: for when what it got
 * so far must not pass for the whole. A unix stream has no resets: there it is env_stream_close.
 * NULL is fine. */
static inline void env_stream_reset(struct env *e, struct env_stream *s)
{
    if (s == NULL)
        return;
    if (e->ops->stream_reset != NULL)
        e->ops->stream_reset(s);
    else
        e->ops->stream_close(s);
}

static inline size_t env_stream_queued(struct env *e, const struct env_stream *s)
{
    return e->ops->stream_queued(s);
}

/* Credentials of a unix peer (SO_PEERCRED). 0, or CYX_EUNSUPPORTED for TCP. */
static inline CYX_MUST_USE int env_stream_cred(struct env *e, const struct env_stream *s,
                                               struct env_cred *out)
{
    return e->ops->stream_cred(s, out);
}

/* The address of a TCP stream's other end. 0, or CYX_EUNSUPPORTED for a unix socket or an
 * environment that doesn't tell, or CYX_ECLOSED. */
static inline CYX_MUST_USE int env_stream_peer(struct env *e, const struct env_stream *s,
                                               struct env_addr *out)
{
    return e->ops->stream_peer != NULL ? e->ops->stream_peer(s, out) : CYX_EUNSUPPORTED;
}

/* Opens (creates) the store `name` ([a-z0-9-]{1,32}) of at most `max_bytes`. CYX_EBUSY, CYX_ENOSPC,
 * CYX_EPERM with a message that says what to do. A store that is corrupt is moved aside (kept for
 * inspection), said in the log at warn, and started afresh. */
static inline CYX_MUST_USE int env_kv_open(struct env *e, const char *name, size_t max_bytes,
                                           struct env_kv **out, struct cyx_err *err)
{
    return e->ops->kv_open(e, name, max_bytes, out, err);
}

/* Commits under way still end properly, and tell `done`. NULL is fine. */
static inline void env_kv_close(struct env *e, struct env_kv *kv)
{
    if (kv != NULL)
        e->ops->kv_close(kv);
}

/* Copies the value: 0 with *len set; CYX_ENOENT; CYX_EFULL when it is longer than cap (*len says
 * how long). */
static inline CYX_MUST_USE int env_kv_get(struct env *e, struct env_kv *kv, const void *key,
                                          size_t key_len, void *buf, size_t cap, size_t *len)
{
    return e->ops->kv_get(kv, key, key_len, buf, cap, len);
}

static inline int env_kv_each(struct env *e, struct env_kv *kv, const void *prefix,
                              size_t prefix_len, env_kv_each_fn fn, void *arg)
{
    return e->ops->kv_each(kv, prefix, prefix_len, fn, arg);
}

/* A batch is all or nothing. NULL when memory is out. */
static inline struct env_kv_batch *env_kv_batch(struct env *e, struct env_kv *kv)
{
    return e->ops->kv_batch(kv);
}

static inline CYX_MUST_USE int env_kv_put(struct env *e, struct env_kv_batch *b, const void *key,
                                          size_t key_len, const void *val, size_t val_len)
{
    return e->ops->kv_put(b, key, key_len, val, val_len);
}

static inline CYX_MUST_USE int env_kv_del(struct env *e, struct env_kv_batch *b, const void *key,
                                          size_t key_len)
{
    return e->ops->kv_del(b, key, key_len);
}

/* Commits on the pool, in the order of the calls, and frees the batch. `done` may be NULL; it is
 * called exactly once (CYX_ENOSPC when the disk is full or read-only: the store stays readable). */
static inline void env_kv_commit(struct env *e, struct env_kv_batch *b, env_done_fn done, void *arg)
{
    e->ops->kv_commit(b, done, arg);
}

static inline void env_kv_abort(struct env *e, struct env_kv_batch *b)
{
    if (b != NULL)
        e->ops->kv_abort(b);
}

/* Small whole files beside the stores (keys): mode 0600, replaced atomically (write, fsync, rename,
 * fsync of the folder). Load at start only: it blocks. CYX_ENOENT; CYX_EPERM for another owner, a
 * link, or a mode with group or others; CYX_EFULL when longer than cap. */
static inline CYX_MUST_USE int env_blob_load(struct env *e, const char *name, uint8_t *buf,
                                             size_t cap, size_t *len, struct cyx_err *err)
{
    return e->ops->blob_load(e, name, buf, cap, len, err);
}

/* Takes a copy (wiped afterwards); `done` may be NULL. Stores of one name happen in call order. */
static inline void env_blob_store(struct env *e, const char *name, const uint8_t *data, size_t len,
                                  env_done_fn done, void *arg)
{
    e->ops->blob_store(e, name, data, len, done, arg);
}

/* Trails: bytes added one after another that outlive the program, whatever ends it, but not the
 * machine: for what can't wait for a disk. Loaded at start only (it blocks): CYX_ENOENT when there
 * is none, or the machine was started again since; CYX_EFULL when longer than cap (*len says how
 * long); CYX_EIO. Names
 * are those of blobs, and no blob's. */
static inline CYX_MUST_USE int env_trail_load(struct env *e, const char *name, uint8_t *buf,
                                              size_t cap, size_t *len)
{
    return e->ops->trail_load != NULL ? e->ops->trail_load(e, name, buf, cap, len) : CYX_ENOENT;
}

/* To add to it; empty if it is begun anew, or if nothing could be loaded. 0, or CYX_ENOSPC,
 * CYX_EIO, CYX_ENOMEM, CYX_EUNSUPPORTED: *out is NULL. One at a time for each name. */
static inline CYX_MUST_USE int env_trail_open(struct env *e, const char *name, bool is_anew,
                                              struct env_trail **out)
{
    *out = NULL;
    return e->ops->trail_open != NULL ? e->ops->trail_open(e, name, is_anew, out)
                                      : CYX_EUNSUPPORTED;
}

/* All of it, or nothing. With 0 the bytes outlive the program from now on; CYX_ENOSPC, CYX_EIO. */
static inline CYX_MUST_USE int env_trail_add(struct env *e, struct env_trail *t,
                                             const uint8_t *data, size_t len)
{
    return e->ops->trail_add(t, data, len);
}

static inline void env_trail_close(struct env *e, struct env_trail *t) /* NULL is fine */
{
    if (t != NULL)
        e->ops->trail_close(t);
}

/* 0 or CYX_ENOMEM; *out may be NULL when it is never cancelled; it is valid until `done`. */
static inline CYX_MUST_USE int env_work(struct env *e, env_work_fn work, env_done_fn done,
                                        void *arg, struct env_work **out)
{
    return e->ops->work(e, work, done, arg, out);
}

static inline void env_work_cancel(struct env *e, struct env_work *w)
{
    e->ops->work_cancel(w);
}

/* From any thread: runs fn(arg) on this environment's loop, in order of the calls. */
static inline void env_post(struct env *e, env_fn fn, void *arg)
{
    e->ops->post(e, fn, arg);
}
