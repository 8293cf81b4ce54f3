/* States: HALF -> OPEN -> ENDED.
 *   HALF   a side is missing or was not answered yet; local bytes go to the far side (they ride in
 *          its first flight), far bytes are held
 *   OPEN   both directions
 *   ENDED  both streams are gone; the owner is told at the end of the turn
 * One timer: idle. Callbacks of either stream may come in any order; what can end the bridge inside
 * a call of its owner only marks it, and `ended` follows from the loop. */
#include "node/bridge.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"

enum state { HALF, OPEN, ENDED };

enum {
    /* Far bytes come in pieces of a cell: those of one turn are written together, or each would
     * cost a system call (833,000 for a gigabyte). */
    HELD_CHUNK = 32 << 10,
};

/* Far bytes on their way to the local stream. */
struct held {
    struct list node;
    size_t at, len, cap;
    uint8_t bytes[];
};

struct bridge {
    struct bridge_options o;
    enum state state;
    struct env_stream *local;
    struct onion_stream *far;
    bool local_ended;                    /* their last byte came */
    bool far_ended;                      /* likewise */
    bool has_ended_local, has_ended_far; /* we said so to them */
    struct list held;
    size_t n_held;
    size_t written; /* to the local stream and not yet credited to the far one */
    uint8_t *rest;  /* local bytes that the far stream had no room for; reading is paused */
    size_t rest_at, rest_len;
    uint64_t active_ns;
    struct env_timer idle;
    struct env_task flush; /* of what came in this turn */
    struct env_task tell;
    struct bridge_end end;
};

/* ---- the end --------------------------------------------------------------------------------- */

static void on_tell(void *arg)
{
    struct bridge *b = arg;
    b->o.events->ended(b->o.arg, &b->end); /* destroys it */
}

static void drop_bytes(struct bridge *b)
{
    while (!list_empty(&b->held)) {
        struct held *h = container_of(b->held.next, struct held, node);
        list_del(&h->node);
        free(h);
    }
    b->n_held = 0;
    free(b->rest);
    b->rest = NULL;
}

/* Whatever is still there is reset, but a local stream that got everything in order. */
static void finish(struct bridge *b, enum bridge_how how, enum onion_fail why)
{
    struct env *e = b->o.env;
    if (b->state == ENDED)
        return;
    b->state = ENDED;
    b->end.how = how;
    b->end.why = why;
    if (how == BRIDGE_ORDERLY)
        env_stream_close(e, b->local);
    else
        env_stream_reset(e, b->local);
    if (b->far != NULL)
        b->o.ops->reset(b->far);
    b->local = NULL;
    b->far = NULL;
    drop_bytes(b);
    env_timer_stop(e, &b->idle);
    env_task_cancel(&b->flush);
    env_defer(e, &b->tell);
}

/* Over in order: the far side is gone, and all it sent is out of our hands. */
static void finish_if_done(struct bridge *b)
{
    if (b->state == OPEN && b->far == NULL && b->has_ended_local &&
        env_stream_queued(b->o.env, b->local) == 0)
        finish(b, BRIDGE_ORDERLY, ONION_FAIL_NONE);
}

static void on_idle(struct env_timer *t, void *arg)
{
    struct bridge *b = arg;
    uint64_t due = b->active_ns + b->o.idle_ns;
    if (env_now_ns(b->o.env) < due)
        env_timer_set(b->o.env, t, due);
    else
        finish(b, BRIDGE_IDLE, ONION_FAIL_NONE);
}

static void touch(struct bridge *b)
{
    b->active_ns = env_now_ns(b->o.env);
}

/* ---- far to local ---------------------------------------------------------------------------- */

/* The far end may send as many bytes again as have left us. */
static void credit(struct bridge *b)
{
    size_t queued = env_stream_queued(b->o.env, b->local);
    size_t n = b->written > queued ? b->written - queued : 0;
    b->written -= n;
    if (n > 0 && b->far != NULL)
        b->o.ops->consumed(b->far, n);
}

/* As much as the local stream takes now; the number of bytes. */
static size_t give_local(struct bridge *b, const uint8_t *data, size_t len)
{
    size_t queued = env_stream_queued(b->o.env, b->local);
    size_t room = queued < BRIDGE_AHEAD ? BRIDGE_AHEAD - queued : 0;
    size_t n = len < room ? len : room;
    if (n == 0)
        return 0;
    int rc = env_stream_write(b->o.env, b->local, data, n);
    if (rc < 0) {
        finish(b, rc == CYX_ECLOSED ? BRIDGE_LOCAL_GONE : BRIDGE_NO_MEMORY, ONION_FAIL_NONE);
        return 0;
    }
    b->written += n;
    b->end.to_local += n;
    return n;
}

/* The last chunk if it has room, else a new one; NULL: no memory, or too much is held. */
static struct held *chunk_for(struct bridge *b, size_t len)
{
    struct held *last = container_of(b->held.prev, struct held, node);
    if (len > BRIDGE_HELD_MAX - b->n_held)
        return NULL;
    if (!list_empty(&b->held) && last->cap - last->len >= len)
        return last;
    size_t cap = len > HELD_CHUNK ? len : HELD_CHUNK;
    struct held *h = malloc(sizeof *h + cap);
    if (h == NULL)
        return NULL;
    h->at = h->len = 0;
    h->cap = cap;
    list_push_back(&b->held, &h->node);
    return h;
}

static void hold(struct bridge *b, const uint8_t *data, size_t len)
{
    struct held *h = chunk_for(b, len);
    if (h == NULL) {
        finish(b, BRIDGE_NO_MEMORY, ONION_FAIL_NONE);
        return;
    }
    memcpy(h->bytes + h->len, data, len);
    h->len += len;
    b->n_held += len;
}

static void give_held(struct bridge *b)
{
    while (b->state == OPEN && !list_empty(&b->held)) {
        struct held *h = container_of(b->held.next, struct held, node);
        size_t n = give_local(b, h->bytes + h->at, h->len - h->at);
        if (n == 0)
            return; /* no room, or ended and `h` is gone */
        h->at += n;
        b->n_held -= n;
        if (h->at == h->len) {
            list_del(&h->node);
            free(h);
        }
    }
}

static void pump_local(struct bridge *b)
{
    if (b->state != OPEN)
        return;
    give_held(b);
    if (b->state != OPEN)
        return;
    credit(b);
    if (b->far_ended && list_empty(&b->held) && !b->has_ended_local) {
        b->has_ended_local = true;
        env_stream_end(b->o.env, b->local);
    }
    finish_if_done(b);
}

static void on_flush(void *arg)
{
    pump_local(arg);
}

static void on_far_data(void *arg, const uint8_t *data, size_t len)
{
    struct bridge *b = arg;
    touch(b);
    if (len == 0)
        b->far_ended = true;
    else
        hold(b, data, len);
    if (b->state != OPEN)
        return;
    if (b->n_held >= HELD_CHUNK)
        pump_local(b);
    else
        env_defer(b->o.env, &b->flush);
}

static void on_local_drained(void *arg)
{
    struct bridge *b = arg;
    touch(b);
    pump_local(b);
}

/* ---- local to far ---------------------------------------------------------------------------- */

static size_t give_far(struct bridge *b, const uint8_t *data, size_t len)
{
    size_t n = b->far != NULL ? b->o.ops->write(b->far, data, len) : len; /* nobody reads it */
    b->end.to_far += b->far != NULL ? n : 0;
    return n;
}

static void end_far(struct bridge *b)
{
    if (!b->local_ended || b->rest != NULL || b->has_ended_far || b->far == NULL)
        return;
    b->has_ended_far = true;
    b->o.ops->end(b->far);
}

static void keep_rest(struct bridge *b, const uint8_t *data, size_t len)
{
    uint8_t *more = realloc(b->rest, b->rest_len + len);
    if (more == NULL) {
        finish(b, BRIDGE_NO_MEMORY, ONION_FAIL_NONE);
        return;
    }
    memcpy(more + b->rest_len, data, len);
    b->rest = more;
    b->rest_len += len;
    if (b->local != NULL)
        env_stream_pause(b->o.env, b->local, true);
}

void bridge_feed(struct bridge *b, const uint8_t *data, size_t len)
{
    if (b->state == ENDED || len == 0)
        return;
    touch(b);
    size_t n = b->rest == NULL ? give_far(b, data, len) : 0;
    if (n < len)
        keep_rest(b, data + n, len - n);
}

static void on_local_data(void *arg, uint8_t *data, size_t len)
{
    struct bridge *b = arg;
    bridge_feed(b, data, len);
    if (len == 0 && b->state != ENDED) {
        touch(b);
        b->local_ended = true;
        end_far(b);
    }
}

static void on_far_writable(void *arg)
{
    struct bridge *b = arg;
    touch(b);
    if (b->rest != NULL) {
        b->rest_at += give_far(b, b->rest + b->rest_at, b->rest_len - b->rest_at);
        if (b->rest_at < b->rest_len)
            return;
        free(b->rest);
        b->rest = NULL;
        b->rest_at = b->rest_len = 0;
        env_stream_pause(b->o.env, b->local, false);
    }
    end_far(b);
}

/* ---- openings and ends ----------------------------------------------------------------------- */

static void on_far_opened(void *arg)
{
    struct bridge *b = arg;
    touch(b);
    if (b->o.events->far_opened != NULL)
        b->o.events->far_opened(b->o.arg);
}

static void on_far_closed(void *arg, enum onion_fail why)
{
    struct bridge *b = arg;
    b->far = NULL;
    if (why == ONION_FAIL_NONE && b->state == OPEN) {
        b->far_ended = true;
        pump_local(b);
    } else if (b->state == HALF) {
        b->o.events->far_failed(b->o.arg, why != ONION_FAIL_NONE ? why : ONION_FAIL_RESET);
    } else {
        finish(b, BRIDGE_FAR_FAILED, why);
    }
}

static void on_local_opened(void *arg, int code)
{
    struct bridge *b = arg;
    touch(b);
    if (b->o.events->local_opened != NULL)
        b->o.events->local_opened(b->o.arg, code);
}

static void on_local_closed(void *arg, int code)
{
    struct bridge *b = arg;
    (void)code;
    finish(b, BRIDGE_LOCAL_GONE, ONION_FAIL_NONE);
}

static const struct onion_stream_events far_events = { .opened = on_far_opened,
                                                       .data = on_far_data,
                                                       .writable = on_far_writable,
                                                       .closed = on_far_closed };
static const struct env_stream_events local_events = { .opened = on_local_opened,
                                                       .data = on_local_data,
                                                       .drained = on_local_drained,
                                                       .closed = on_local_closed };

/* ---- for its owner --------------------------------------------------------------------------- */

struct bridge *bridge_create(const struct bridge_options *o)
{
    struct bridge *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->o = *o;
    list_init(&b->held);
    env_task_init(&b->flush, on_flush, b);
    env_task_init(&b->tell, on_tell, b);
    env_timer_init(&b->idle, on_idle, b);
    touch(b);
    if (o->idle_ns > 0)
        env_timer_in(o->env, &b->idle, o->idle_ns);
    return b;
}

static void bridge_free(struct bridge *b)
{
    drop_bytes(b);
    env_timer_stop(b->o.env, &b->idle);
    env_task_cancel(&b->flush);
    env_task_cancel(&b->tell);
    free(b);
}

void bridge_destroy(struct bridge *b)
{
    if (b == NULL)
        return;
    env_stream_reset(b->o.env, b->local);
    if (b->far != NULL)
        b->o.ops->reset(b->far);
    bridge_free(b);
}

void bridge_release(struct bridge *b, struct env_stream **local, struct onion_stream **far)
{
    *local = b->local;
    *far = b->far;
    bridge_free(b);
}

int bridge_dial(struct bridge *b, struct onion *o, const struct onion_target *to,
                struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    b->far = b->o.ops->dial(o, to, &far_events, b, err);
    return b->far != NULL ? 0 : err->code;
}

void bridge_take_far(struct bridge *b, struct onion_stream *far)
{
    b->far = far;
    b->o.ops->attach(far, &far_events, b);
}

void bridge_take_local(struct bridge *b, struct env_stream *local)
{
    b->local = local;
    env_stream_attach(b->o.env, local, &local_events, b);
    env_stream_pause(b->o.env, local, b->rest != NULL);
}

int bridge_connect(struct bridge *b, const struct env_endpoint *to, struct cyx_err *err)
{
    return env_connect(b->o.env, to, &local_events, b, &b->local, err);
}

void bridge_open(struct bridge *b)
{
    if (b->state != HALF)
        return;
    b->state = OPEN;
    touch(b);
    pump_local(b);
}

size_t bridge_held(const struct bridge *b)
{
    return b->n_held + (b->rest_len - b->rest_at);
}
