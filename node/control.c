/* Clients of the control socket: who may talk, the bytes in and out, and their bounds. A client is
 * unlinked at once when it ends and freed at the end of the loop's turn. */
#include "node/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/control_internal.h"

enum { IN_FIRST = 4096, OUT_CHUNK = 256 * 1024 };

/* ---- bytes out ------------------------------------------------------------------------------- */

/* Moves what waits into the stream, as far as it takes it. */
static void flush(struct control_client *c)
{
    struct env *e = c->control->o.env;
    size_t at = 0;
    if (c->stream == NULL)
        return;
    while (at < c->out_len && env_stream_queued(e, c->stream) < OUT_CHUNK) {
        size_t n = c->out_len - at < OUT_CHUNK ? c->out_len - at : OUT_CHUNK;
        if (env_stream_write(e, c->stream, c->out + at, n) < 0)
            break;
        at += n;
    }
    if (at > 0) {
        memmove(c->out, c->out + at, c->out_len - at);
        c->out_len -= at;
    }
    if (c->out_len == 0) {
        free(c->out);
        c->out = NULL;
        c->out_cap = 0;
        if (c->is_ending)
            env_stream_end(e, c->stream);
    }
}

static bool keep(struct control_client *c, const void *data, size_t len)
{
    if (c->out_cap - c->out_len < len) {
        size_t cap = c->out_len + len + c->out_cap / 2;
        uint8_t *more = realloc(c->out, cap);
        if (more == NULL)
            return false;
        c->out = more;
        c->out_cap = cap;
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
    return true;
}

void control__write(struct control_client *c, const void *data, size_t len, size_t most)
{
    struct env *e = c->control->o.env;
    if (c->stream == NULL || len == 0)
        return;
    size_t waiting = c->out_len + env_stream_queued(e, c->stream);
    if (len > most || waiting > most - len || !keep(c, data, len)) {
        c->control->counts.slow++;
        log_warn(e->log, "control", "client %d does not read: closed with %zu bytes waiting",
                 (int)c->cred.pid, waiting);
        control__drop_client(c);
        return;
    }
    flush(c);
}

static void on_drained(void *arg)
{
    flush(arg);
}

/* ---- life of a client ------------------------------------------------------------------------ */

static void free_client(struct control_client *c)
{
    free(c->in);
    free(c->out);
    free(c);
}

static void reap(void *arg)
{
    struct control *ctl = arg;
    while (!list_empty(&ctl->dead)) {
        struct control_client *c = container_of(ctl->dead.next, struct control_client, node);
        list_del(&c->node);
        control__cancel_calls(c);
        free_client(c);
    }
}

/* Its calls end with its memory: a reply that finds the client gone may come from a walk over links
 * or watchers, and cancelling takes other calls' watchers out. */
void control__drop_client(struct control_client *c)
{
    struct control *ctl = c->control;
    if (c->stream == NULL)
        return; /* on its way out already */
    env_stream_close(ctl->o.env, c->stream);
    c->stream = NULL;
    list_del(&c->node);
    ctl->n_clients--;
    list_push_back(&ctl->dead, &c->node);
    env_defer(ctl->o.env, &ctl->reap);
}

static void on_closed(void *arg, int code)
{
    (void)code;
    control__drop_client(arg);
}

/* ---- bytes in -------------------------------------------------------------------------------- */

static bool take_in(struct control_client *c, const uint8_t *data, size_t len)
{
    if (len > CONTROL_MESSAGE_MAX + (size_t)IN_FIRST * 32 ||
        c->in_len > CONTROL_MESSAGE_MAX) /* one read behind a whole message is fine */
        return false;
    if (c->in_cap - c->in_len < len) {
        size_t cap = c->in_len + len + (c->in_cap > IN_FIRST ? c->in_cap / 2 : IN_FIRST);
        uint8_t *more = realloc(c->in, cap);
        if (more == NULL)
            return false;
        c->in = more;
        c->in_cap = cap;
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    return true;
}

/* Hands on the whole messages at the front. False when the client must go. */
static bool take_messages(struct control_client *c)
{
    size_t at = 0;
    while (at < c->in_len && c->stream != NULL) {
        enum drop d = mp_scan_more(&c->scan, c->in + at, c->in_len - at, &mp_local_rules);
        if (d == DROP_SHORT)
            break;
        if (d != DROP_NONE || c->scan.at > CONTROL_MESSAGE_MAX)
            return false;
        size_t len = c->scan.at;
        mp_scan_init(&c->scan);
        control__request(c, c->in + at, len);
        at += len;
    }
    if (c->in_len - at > CONTROL_MESSAGE_MAX)
        return false;
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->in_len == 0) { /* an idle client holds no buffer */
        free(c->in);
        c->in = NULL;
        c->in_cap = 0;
    }
    return true;
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct control_client *c = arg;
    if (len == 0) {
        control__drop_client(c);
        return;
    }
    if (take_in(c, data, len) && take_messages(c))
        return;
    if (c->stream == NULL)
        return;
    c->control->counts.malformed++;
    log_warn(c->control->o.env->log, "control", "client %d sent what is no request: closed",
             (int)c->cred.pid);
    control__drop_client(c);
}

/* ---- who may talk ---------------------------------------------------------------------------- */

static bool may_call(const struct control *ctl, const struct env_cred *cred)
{
    if (cred->uid == 0 || cred->uid == ctl->o.uid)
        return true;
    if (!ctl->o.has_group)
        return false;
    if (cred->gid == ctl->o.gid)
        return true;
    for (size_t i = 0; i < ctl->o.n_members; i++)
        if (ctl->o.member_uids[i] == cred->uid)
            return true;
    return false;
}

static const struct env_stream_events client_events = { .data = on_data,
                                                        .drained = on_drained,
                                                        .closed = on_closed };

/* Says why and hangs up. */
static void refuse(struct control *ctl, struct env_stream *s, int code, const char *why)
{
    msgpack_sbuffer buf;
    msgpack_sbuffer_init(&buf);
    control__pack_error(&buf, 0, code, why);
    if (env_stream_write(ctl->o.env, s, buf.data, buf.size) < 0)
        log_debug(ctl->o.env->log, "control", "a refused client left by itself");
    msgpack_sbuffer_destroy(&buf);
    ctl->counts.refused++;
    env_stream_end(ctl->o.env, s);
    env_stream_close(ctl->o.env, s);
}

static void on_accepted(void *arg, struct env_stream *s)
{
    struct control *ctl = arg;
    struct env *e = ctl->o.env;
    struct env_cred cred;
    if (env_stream_cred(e, s, &cred) < 0 || !may_call(ctl, &cred)) {
        log_warn(e->log, "control", "refused a client of another user");
        refuse(ctl, s, CYX_EPERM,
               "only root, the daemon's own user and the group in [control] may use this socket");
        return;
    }
    struct control_client *c = NULL;
    if (ctl->n_clients < CONTROL_CLIENTS_MAX)
        c = calloc(1, sizeof *c);
    if (c == NULL) {
        refuse(ctl, s, CYX_EFULL, "64 programs are connected already: close one and try again");
        return;
    }
    *c = (struct control_client){ .control = ctl, .stream = s, .cred = cred };
    list_init(&c->calls);
    mp_scan_init(&c->scan);
    list_push_back(&ctl->clients, &c->node);
    ctl->n_clients++;
    ctl->counts.accepted++;
    env_stream_attach(e, s, &client_events, c);
}

/* ---- life of the socket ---------------------------------------------------------------------- */

struct control *control_create(const struct control_options *o, struct cyx_err *err)
{
    struct env_endpoint at = { .kind = ENV_UNIX, .mode = o->has_group ? 0660 : 0600 };
    struct control *ctl = calloc(1, sizeof *ctl);
    if (ctl == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for the control socket");
        return NULL;
    }
    ctl->o = *o;
    list_init(&ctl->clients);
    list_init(&ctl->dead);
    env_task_init(&ctl->reap, reap, ctl);
    memcpy(at.path, o->path, strnlen(o->path, sizeof at.path - 1));
    if (env_listen(o->env, &at, on_accepted, ctl, &ctl->listener, err) < 0) {
        cyx_wrap(err, "control socket");
        free(ctl);
        return NULL;
    }
    control__follow_start(ctl);
    return ctl;
}

void control_stop_accepting(struct control *ctl)
{
    ctl->is_stopping = true;
    env_listener_close(ctl->o.env, ctl->listener);
    ctl->listener = NULL;
}

void control_end(struct control *ctl)
{
    list_each_safe (pos, &ctl->clients) {
        struct control_client *c = container_of(pos, struct control_client, node);
        control__cancel_calls(c);
        c->is_ending = true;
        flush(c);
    }
}

void control_destroy(struct control *ctl)
{
    if (ctl == NULL)
        return;
    env_listener_close(ctl->o.env, ctl->listener);
    env_timer_stop(ctl->o.env, &ctl->follow_timer);
    while (!list_empty(&ctl->clients))
        control__drop_client(container_of(ctl->clients.next, struct control_client, node));
    reap(ctl);
    env_task_cancel(&ctl->reap);
    free(ctl);
}

void control_counts(const struct control *c, struct control_counts *out)
{
    *out = c->counts;
    out->clients = c->n_clients;
    out->in_flight = 0;
    for (const struct list *pos = c->clients.next; pos != &c->clients; pos = pos->next) {
        const struct control_client *client =
            (const struct control_client *)(const void *)((const char *)pos -
                                                          offsetof(struct control_client, node));
        out->in_flight += client->n_calls;
    }
}
