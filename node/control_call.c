/* Requests of the control socket and their replies. A call lives from its request to its one reply,
 * or until its client goes away. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/control_internal.h"

enum drop control__parse(struct control_request *out, const msgpack_object *root)
{
    static const msgpack_object no_params = { .type = MSGPACK_OBJECT_MAP };
    struct control_request r = { .params = &no_params };
    uint64_t type = 0, id = 0;
    if (root->type != MSGPACK_OBJECT_ARRAY || root->via.array.size != 4)
        return DROP_FIELD;
    const msgpack_object *item = root->via.array.ptr, *params = &item[3];
    if (!mp_u64(&item[0], &type) || type != 0)
        return DROP_TYPE;
    if (!mp_u64(&item[1], &id) || id > UINT32_MAX || !mp_str(&item[2], &r.method, &r.method_len))
        return DROP_FIELD;
    if (params->type != MSGPACK_OBJECT_ARRAY || params->via.array.size > 1)
        return DROP_FIELD;
    if (params->via.array.size == 1) {
        r.params = &params->via.array.ptr[0];
        if (r.params->type != MSGPACK_OBJECT_MAP)
            return DROP_FIELD;
    }
    r.id = (uint32_t)id;
    *out = r;
    return DROP_NONE;
}

/* ---- replies --------------------------------------------------------------------------------- */

void control__pack_error(msgpack_sbuffer *buf, uint32_t id, int code, const char *message)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_uint32(&pk, id);
    msgpack_pack_map(&pk, 2);
    mp_pack_str(&pk, "code");
    mp_pack_str(&pk, cyx_code_name(code));
    mp_pack_str(&pk, "message");
    mp_pack_text(&pk, message);
    msgpack_pack_nil(&pk);
}

static void send_error(struct control_client *c, uint32_t id, int code, const char *message)
{
    msgpack_sbuffer buf;
    msgpack_sbuffer_init(&buf);
    control__pack_error(&buf, id, code, message);
    c->control->counts.errors++;
    control__write(c, buf.data, buf.size, CONTROL_REPLY_MAX);
    msgpack_sbuffer_destroy(&buf);
}

/* The call is answered: it is out of its client's list; the dispatcher frees it if its method is
 * still on the stack. */
static void finish(struct node_call *call)
{
    list_del(&call->node);
    if (call->client != NULL)
        call->client->n_calls--;
    call->client = NULL;
    call->is_replied = true;
    if (!call->is_running)
        free(call);
}

void node_reply(struct node_call *call, const void *data, size_t len)
{
    struct control_client *c = call->client;
    uint32_t id = call->id;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    finish(call);
    if (c == NULL)
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_uint32(&pk, id);
    msgpack_pack_nil(&pk);
    if (msgpack_sbuffer_write(&buf, data, len) == 0)
        control__write(c, buf.data, buf.size, CONTROL_REPLY_MAX);
    else
        control__drop_client(c); /* no memory: half a reply would be worse */
    msgpack_sbuffer_destroy(&buf);
}

void control_reply_buf(struct node_call *call, msgpack_sbuffer *buf)
{
    node_reply(call, buf->data, buf->size);
    msgpack_sbuffer_destroy(buf);
}

void node_reply_error(struct node_call *call, int code, const char *fmt, ...)
{
    struct control_client *c = call->client;
    uint32_t id = call->id;
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(message, sizeof message, fmt, ap) < 0)
        message[0] = '\0';
    va_end(ap);
    finish(call);
    if (c != NULL)
        send_error(c, id, code, message);
}

void node_progress(struct node_call *call, const void *data, size_t len)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (call->client == NULL)
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 3);
    msgpack_pack_int(&pk, 2);
    mp_pack_str(&pk, "progress");
    msgpack_pack_array(&pk, 2);
    msgpack_pack_uint32(&pk, call->id);
    if (msgpack_sbuffer_write(&buf, data, len) == 0)
        control__write(call->client, buf.data, buf.size, CONTROL_UNREAD_MAX);
    msgpack_sbuffer_destroy(&buf);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

void control_on_cancel(struct node_call *call, env_fn cancelled, void *arg)
{
    call->cancelled = cancelled;
    call->cancel_arg = arg;
}

/* Ends every call of a client. A method that said how to cancel loses its call here; another keeps
 * a call without a client, and its reply, which is still due, goes nowhere. */
void control__cancel_calls(struct control_client *c)
{
    while (!list_empty(&c->calls)) {
        struct node_call *call = container_of(c->calls.next, struct node_call, node);
        env_fn cancelled = call->cancelled;
        void *arg = call->cancel_arg;
        uint32_t id = call->id;
        if (cancelled != NULL) {
            finish(call);
            cancelled(arg);
        } else {
            list_del(&call->node);
            c->n_calls--;
            call->client = NULL;
        }
        if (c->stream != NULL)
            send_error(c, id, CYX_ECANCELED, "the daemon is stopping");
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void run(struct control_client *c, const struct control_request *r,
                const struct control_target *t)
{
    struct node_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        send_error(c, r->id, CYX_ENOMEM, "no memory for the call");
        return;
    }
    call->client = c;
    call->id = r->id;
    call->is_running = true;
    list_push_back(&c->calls, &call->node);
    c->n_calls++;
    t->fn(t->state, call, r->params);
    call->is_running = false;
    if (call->is_replied)
        free(call);
}

static bool has_call(const struct control_client *c, uint32_t id)
{
    for (const struct list *pos = c->calls.next; pos != &c->calls; pos = pos->next)
        if (((const struct node_call *)(const void *)((const char *)pos -
                                                      offsetof(struct node_call, node)))
                ->id == id)
            return true;
    return false;
}

static void dispatch(struct control_client *c, const struct control_request *r)
{
    struct control *ctl = c->control;
    struct control_target t;
    char text[160];
    ctl->counts.calls++;
    if (ctl->is_stopping) {
        send_error(c, r->id, CYX_ECANCELED, "the daemon is stopping");
    } else if (c->n_calls >= CONTROL_CALLS_MAX) {
        send_error(c, r->id, CYX_EFULL, "16 calls are in flight: wait for a reply");
    } else if (has_call(c, r->id)) {
        send_error(c, r->id, CYX_EEXIST, "a call with this id is in flight");
    } else if (r->method_len > CONTROL_METHOD_MAX ||
               !ctl->o.find(ctl->o.arg, r->method, r->method_len, &t)) {
        snprintf(text, sizeof text, "there is no method \"%.*s\": `methods` lists them",
                 (int)(r->method_len < CONTROL_METHOD_MAX ? r->method_len : CONTROL_METHOD_MAX),
                 r->method);
        send_error(c, r->id, CYX_ENOENT, text);
    } else {
        run(c, r, &t);
    }
}

void control__request(struct control_client *c, const uint8_t *data, size_t len)
{
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    struct control_request r;
    enum drop d = mp_parse(&doc, data, len, &mp_local_rules);
    if (d == DROP_NONE)
        d = control__parse(&r, &doc.root);
    if (d == DROP_NONE) {
        dispatch(c, &r);
        return;
    }
    c->control->counts.malformed++;
    log_warn(c->control->o.env->log, "control", "client %d sent a broken request (%s): closed",
             (int)c->cred.pid, drop_name(d));
    control__drop_client(c);
}
