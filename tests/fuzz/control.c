/* The control socket's bytes: framing, requests, dispatch and replies, over an environment without
 * a kernel. The input is one client's stream, cut into pieces by its own bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "node/control_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* ---- the least environment a control socket needs -------------------------------------------- */

struct env_stream {
    const struct env_stream_events *events;
    void *arg;
    bool is_closed;
};

static struct env_stream stream;
static struct list tasks;
static void (*accepted)(void *arg, struct env_stream *s);
static void *accepted_arg;

static uint64_t now_ns(struct env *e)
{
    (void)e;
    return 0;
}

static void timer(struct env *e, struct env_timer *t, uint64_t at)
{
    (void)e, (void)t, (void)at;
}

static void timer_stop(struct env *e, struct env_timer *t)
{
    (void)e, (void)t;
}

static void defer(struct env *e, struct env_task *t)
{
    (void)e;
    if (!list_linked(&t->node))
        list_push_back(&tasks, &t->node);
}

static int do_listen(struct env *e, const struct env_endpoint *at,
                     void (*fn)(void *arg, struct env_stream *s), void *arg,
                     struct env_listener **out, struct cyx_err *err)
{
    (void)e, (void)at, (void)out, (void)err;
    accepted = fn;
    accepted_arg = arg;
    return 0;
}

static void attach(struct env_stream *s, const struct env_stream_events *events, void *arg)
{
    s->events = events;
    s->arg = arg;
}

static int do_write(struct env_stream *s, const void *data, size_t len)
{
    size_t used = 0;
    (void)s;
    /* Whatever came in, what goes out is well-formed: each write is one whole message. */
    if (mp_span(data, len, &mp_local_rules, &used) != DROP_NONE || used != len)
        abort();
    return 0;
}

static void do_end(struct env_stream *s)
{
    (void)s;
}

static void do_close(struct env_stream *s)
{
    if (s->is_closed)
        abort(); /* closed twice */
    s->is_closed = true;
}

static size_t queued(const struct env_stream *s)
{
    (void)s;
    return 0;
}

static int cred(const struct env_stream *s, struct env_cred *out)
{
    (void)s;
    *out = (struct env_cred){ .uid = 0 };
    return 0;
}

static const struct env_ops ops = { .now_ns = now_ns,
                                    .timer_set = timer,
                                    .timer_stop = timer_stop,
                                    .defer = defer,
                                    .listen = do_listen,
                                    .stream_attach = attach,
                                    .stream_write = do_write,
                                    .stream_end = do_end,
                                    .stream_close = do_close,
                                    .stream_queued = queued,
                                    .stream_cred = cred };

/* ---- methods: reply at once, with an error, later, never ------------------------------------- */

static struct node_call *held;

static void forget(void *arg)
{
    (void)arg;
    held = NULL;
}

static void at_once(void *state, struct node_call *call, const msgpack_object *params)
{
    const char *text = "";
    size_t len = 0;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)state;
    (void)mp_str(mp_get(params, "text"), &text, &len);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_str(&pk, len);
    msgpack_pack_str_body(&pk, text, len);
    control_reply_buf(call, &buf);
}

static void with_error(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)state, (void)params;
    node_reply_error(call, CYX_EINVAL, "no");
}

static void later(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)state, (void)params;
    if (held != NULL) {
        struct node_call *old = held;
        control_on_cancel(old, NULL, NULL);
        held = NULL;
        node_reply(old, "\xc0", 1);
    }
    held = call;
    control_on_cancel(call, forget, NULL);
    node_progress(call, "\x01", 1);
}

static bool find(void *arg, const char *name, size_t len, struct control_target *out)
{
    static const node_method_fn fns[] = { at_once, with_error, later };
    (void)arg;
    if (len != 1 || name[0] < 'a' || name[0] > 'c')
        return false;
    *out = (struct control_target){ .fn = fns[name[0] - 'a'], .state = NULL };
    return true;
}

static void run_tasks(void)
{
    while (!list_empty(&tasks)) {
        struct env_task *t = container_of(tasks.next, struct env_task, node);
        list_del(&t->node);
        t->fn(t->arg);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct env env = { .ops = &ops };
    struct control_options o = { .env = &env, .path = "/x", .find = find };
    list_init(&tasks);
    stream = (struct env_stream){ .events = NULL };
    held = NULL;
    struct control *c = control_create(&o, NULL);
    if (c == NULL)
        return 0;
    accepted(accepted_arg, &stream);
    for (size_t at = 0; at < len && !stream.is_closed;) {
        size_t n = 1 + data[at] % 61u;
        n = n < len - at ? n : len - at;
        uint8_t *piece = malloc(n);
        memcpy(piece, data + at, n);
        stream.events->data(stream.arg, piece, n);
        free(piece);
        run_tasks();
        at += n;
    }
    control_destroy(c);
    run_tasks();
    return 0;
}
