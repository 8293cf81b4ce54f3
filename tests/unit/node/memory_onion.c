#include "memory_onion.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

enum { WINDOW = 64 << 10, CELL = 1200 };

struct piece {
    struct list node;
    size_t len;
    uint8_t bytes[];
};

struct onion_stream {
    struct list node;
    struct onion *o;
    struct onion_stream *peer; /* NULL: gone */
    const struct onion_stream_events *ev;
    void *arg;
    struct list in; /* for us */
    size_t in_bytes, unconsumed;
    bool must_open, is_open, in_ended, told_end, wants_room, has_ended, is_over;
    bool is_visitor, waits, unannounced;
    uint16_t port;
    enum onion_fail why;
    struct onion_service *service; /* the visitor's end: to announce there */
    struct env_task task;
};

struct onion_service {
    struct list node;
    struct onion *o;
    struct onion_service_info info;
    struct onion_port ports[ONION_PORTS_MAX];
    size_t n_ports;
    const struct onion_service_events *ev;
    void *arg;
    struct env_task task;
};

struct onion_flow {
    struct list node;
    struct onion *o;
    struct onion_flow *peer;
    const struct onion_flow_events *ev;
    void *arg;
    struct list in;
    uint16_t port;
    struct onion_service *service; /* to announce the first datagram at */
    struct env_task task;
};

struct onion_why {
    struct list node;
    struct onion *o;
    struct onion_target to;
    void (*step)(void *arg, const struct onion_step *s);
    void (*done)(void *arg, enum onion_fail why);
    void *arg;
    unsigned at;
    struct env_task task;
};

/* ---- streams --------------------------------------------------------------------------------- */

static void step(void *arg);

static void wake(struct onion_stream *s)
{
    env_defer(s->o->env, &s->task);
}

static struct onion_stream *stream_new(struct onion *o)
{
    struct onion_stream *s = calloc(1, sizeof *s);
    s->o = o;
    list_init(&s->in);
    env_task_init(&s->task, step, s);
    list_push_back(&o->streams, &s->node);
    return s;
}

static void drop_pieces(struct list *in)
{
    while (!list_empty(in)) {
        struct piece *p = container_of(in->next, struct piece, node);
        list_del(&p->node);
        free(p);
    }
}

static void stream_free(struct onion_stream *s)
{
    env_task_cancel(&s->task);
    list_del(&s->node);
    drop_pieces(&s->in);
    if (s->peer != NULL)
        s->peer->peer = NULL;
    free(s);
}

static void fail(struct onion_stream *s, enum onion_fail why)
{
    if (s->is_over)
        return;
    s->is_over = true;
    s->why = why;
    wake(s);
}

static size_t window(const struct onion *o)
{
    return o->window > 0 ? o->window : WINDOW;
}

static bool lists(const struct onion_service *v, uint16_t port, unsigned kind)
{
    for (size_t i = 0; i < v->n_ports; i++)
        if (v->ports[i].port == port && (v->ports[i].kind & kind) != 0)
            return true;
    return false;
}

/* The visitor's end finds its service. */
static void announce(struct onion_stream *s)
{
    struct onion_stream *other = stream_new(s->o);
    s->unannounced = false;
    s->peer = other;
    other->peer = s;
    /* What was written before. */
    while (!list_empty(&s->in)) {
        struct list *n = s->in.next;
        list_del(n);
        list_push_back(&other->in, n);
    }
    other->in_bytes = s->in_bytes;
    s->in_bytes = 0;
    other->in_ended = s->has_ended;
    s->service->info.accepted++;
    s->service->ev->stream(s->service->arg, other, s->port);
    if (s->peer == other)
        wake(other);
}

static void deliver(struct onion_stream *s)
{
    struct piece *p = container_of(s->in.next, struct piece, node);
    list_del(&p->node);
    s->in_bytes -= p->len;
    s->unconsumed += p->len;
    s->ev->data(s->arg, p->bytes, p->len); /* may reset `s` */
    free(p);
}

static bool is_alive(struct onion *o, const struct onion_stream *s)
{
    list_each (pos, &o->streams)
        if (container_of(pos, struct onion_stream, node) == s)
            return true;
    return false;
}

/* One event a turn, like a loop that has other things to do. */
static void step(void *arg)
{
    struct onion_stream *s = arg;
    struct onion *o = s->o;
    if (s->is_over) {
        const struct onion_stream_events *ev = s->ev;
        void *to = s->arg;
        enum onion_fail why = s->why;
        struct onion_stream *peer = s->peer;
        stream_free(s);
        if (peer != NULL && why != ONION_FAIL_NONE)
            fail(peer, why == ONION_FAIL_LOST ? why : ONION_FAIL_RESET);
        if (ev != NULL)
            ev->closed(to, why);
        return;
    }
    if (s->must_open) {
        s->must_open = false;
        s->is_open = true;
        wake(s);
        s->ev->opened(s->arg);
        return;
    }
    if (s->unannounced) {
        announce(s);
        return;
    }
    if (s->ev == NULL)
        return; /* its owner has not said who listens */
    if (s->wants_room && s->peer != NULL && s->peer->in_bytes + s->peer->unconsumed < window(o)) {
        s->wants_room = false;
        wake(s);
        s->ev->writable(s->arg);
        return;
    }
    if (!list_empty(&s->in)) {
        deliver(s);
        if (is_alive(o, s))
            wake(s);
        return;
    }
    if (s->in_ended && !s->told_end) {
        s->told_end = true;
        struct onion_stream *peer = s->peer;
        if (peer != NULL && peer->told_end) {
            fail(s, ONION_FAIL_NONE);
            fail(peer, ONION_FAIL_NONE);
        }
        s->ev->data(s->arg, NULL, 0);
    }
}

static struct onion_stream *dial(struct onion *o, const struct onion_target *to,
                                 const struct onion_stream_events *ev, void *arg,
                                 struct cyx_err *err)
{
    (void)err;
    struct onion_stream *s = stream_new(o);
    s->ev = ev;
    s->arg = arg;
    s->is_visitor = true;
    s->port = to->port;
    s->waits = to->wait_for_answer;
    o->last = *to;
    o->n_dials++;
    if (o->never_answers)
        return s;
    for (size_t i = 0; i < o->n_places; i++) {
        if (memcmp(o->places[i].address, to->address, 32) == 0) {
            fail(s, o->places[i].why);
            return s;
        }
    }
    list_each (pos, &o->services) {
        struct onion_service *v = container_of(pos, struct onion_service, node);
        if (memcmp(v->info.address, to->address, 32) != 0)
            continue;
        if (!lists(v, to->port, ONION_PORT_STREAM)) {
            fail(s, ONION_FAIL_NO_PORT);
            return s;
        }
        s->service = v;
        s->unannounced = true;
        s->must_open = !s->waits; /* on the descriptor's word */
        wake(s);
        return s;
    }
    fail(s, ONION_FAIL_NO_DESCRIPTOR);
    return s;
}

static void put(struct onion_stream *s, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = len - at < CELL ? len - at : CELL;
        struct piece *p = malloc(sizeof *p + n);
        p->len = n;
        memcpy(p->bytes, data + at, n);
        list_push_back(&s->in, &p->node);
        s->in_bytes += n;
        at += n;
    }
    if (s->in_bytes + s->unconsumed > s->o->most_waiting)
        s->o->most_waiting = s->in_bytes + s->unconsumed;
    wake(s);
}

static size_t do_write(struct onion_stream *s, const uint8_t *data, size_t len)
{
    /* Before it is announced a visitor's first flight waits with itself. */
    struct onion_stream *to = s->unannounced || s->peer == NULL ? s : s->peer;
    size_t busy = to->in_bytes + (to == s ? 0 : to->unconsumed);
    size_t room = busy < window(s->o) ? window(s->o) - busy : 0;
    size_t n = len < room ? len : room;
    if (s->has_ended || s->is_over)
        return 0;
    s->wants_room = n < len;
    if (n > 0 && (to != s || s->unannounced))
        put(to, data, n);
    return n;
}

static void consumed(struct onion_stream *s, size_t len)
{
    if (len > s->unconsumed)
        abort(); /* more than it was given */
    s->unconsumed -= len;
    if (s->peer != NULL && s->peer->wants_room)
        wake(s->peer);
}

static void end(struct onion_stream *s)
{
    s->has_ended = true;
    if (s->peer != NULL) {
        s->peer->in_ended = true;
        wake(s->peer);
    }
}

static void reset(struct onion_stream *s)
{
    if (s == NULL)
        return;
    s->o->n_resets++;
    struct onion_stream *peer = s->peer;
    stream_free(s);
    if (peer != NULL)
        fail(peer, ONION_FAIL_RESET);
}

static void attach(struct onion_stream *s, const struct onion_stream_events *ev, void *arg)
{
    s->ev = ev;
    s->arg = arg;
    wake(s);
}

static void do_accept(struct onion_stream *s)
{
    if (s->peer != NULL && s->peer->waits && !s->peer->is_open) {
        s->peer->must_open = true;
        wake(s->peer);
    }
}

static void refuse(struct onion_stream *s, enum onion_open_status why)
{
    static const enum onion_fail fails[] = { ONION_FAIL_NONE,    ONION_FAIL_REFUSED,
                                             ONION_FAIL_NO_PORT, ONION_FAIL_NOT_FOR_US,
                                             ONION_FAIL_BUSY,    ONION_FAIL_UNREACHABLE,
                                             ONION_FAIL_TIMEOUT };
    struct onion_stream *peer = s->peer;
    stream_free(s);
    if (peer != NULL)
        fail(peer, fails[why]);
}

/* ---- flows ----------------------------------------------------------------------------------- */

static void flow_step(void *arg);

static struct onion_flow *flow_new(struct onion *o, uint16_t port)
{
    struct onion_flow *f = calloc(1, sizeof *f);
    f->o = o;
    f->port = port;
    list_init(&f->in);
    env_task_init(&f->task, flow_step, f);
    list_push_back(&o->flows, &f->node);
    return f;
}

static void flow_free(struct onion_flow *f)
{
    env_task_cancel(&f->task);
    list_del(&f->node);
    drop_pieces(&f->in);
    if (f->peer != NULL)
        f->peer->peer = NULL;
    free(f);
}

static void flow_step(void *arg)
{
    struct onion_flow *f = arg;
    if (f->service != NULL) {
        struct onion_service *v = f->service;
        f->service = NULL;
        v->ev->flow(v->arg, f, f->port);
        return; /* attached or gone */
    }
    if (f->ev == NULL || list_empty(&f->in))
        return;
    struct piece *p = container_of(f->in.next, struct piece, node);
    list_del(&p->node);
    env_defer(f->o->env, &f->task);
    f->ev->datagram(f->arg, p->bytes, p->len);
    free(p);
}

static struct onion_flow *flow_open(struct onion *o, const struct onion_target *to,
                                    const struct onion_flow_events *ev, void *arg,
                                    struct cyx_err *err)
{
    (void)err;
    o->last = *to;
    o->n_flows++;
    struct onion_flow *f = flow_new(o, to->port);
    f->ev = ev;
    f->arg = arg;
    list_each (pos, &o->services) {
        struct onion_service *v = container_of(pos, struct onion_service, node);
        if (memcmp(v->info.address, to->address, 32) == 0 &&
            lists(v, to->port, ONION_PORT_DATAGRAM)) {
            f->peer = flow_new(o, to->port);
            f->peer->peer = f;
            f->peer->service = v;
        }
    }
    return f;
}

static int flow_send(struct onion_flow *f, const uint8_t *data, size_t len)
{
    if (len > ONION_DATAGRAM_MAX)
        return CYX_EINVAL;
    if (f->peer == NULL)
        return 0; /* lost on the way, like any datagram */
    struct piece *p = malloc(sizeof *p + len);
    p->len = len;
    memcpy(p->bytes, data, len);
    list_push_back(&f->peer->in, &p->node);
    env_defer(f->o->env, &f->peer->task);
    return 0;
}

static void flow_attach(struct onion_flow *f, const struct onion_flow_events *ev, void *arg)
{
    f->ev = ev;
    f->arg = arg;
    env_defer(f->o->env, &f->task);
}

/* ---- services -------------------------------------------------------------------------------- */

static void service_step(void *arg)
{
    struct onion_service *v = arg;
    v->ev->changed(v->arg, &v->info);
}

void memory_address(uint8_t out[static 32], const uint8_t seed[static 32])
{
    uint8_t secret[64];
    crypto_sign_seed_keypair(out, secret, seed);
}

static struct onion_service *serve(struct onion *o, const struct onion_service_config *c,
                                   const struct onion_service_events *ev, void *arg,
                                   struct cyx_err *err)
{
    struct onion_service *v = calloc(1, sizeof *v);
    memory_address(v->info.address, c->seed);
    list_each (pos, &o->services) {
        if (memcmp(container_of(pos, struct onion_service, node)->info.address, v->info.address,
                   32) == 0) {
            free(v);
            (void)cyx_fail(err, CYX_EEXIST, "this address is served already");
            return NULL;
        }
    }
    v->o = o;
    v->ev = ev;
    v->arg = arg;
    v->info.pivots_wanted = 3;
    v->n_ports = c->n_ports;
    memcpy(v->ports, c->ports, c->n_ports * sizeof *c->ports);
    env_task_init(&v->task, service_step, v);
    list_push_back(&o->services, &v->node);
    return v;
}

static void service_info(const struct onion_service *v, struct onion_service_info *out)
{
    *out = v->info;
}

static void service_close(struct onion_service *v)
{
    if (v == NULL)
        return;
    list_each_safe (pos, &v->o->streams) {
        struct onion_stream *s = container_of(pos, struct onion_stream, node);
        if (s->service == v)
            fail(s, ONION_FAIL_LOST);
    }
    env_task_cancel(&v->task);
    list_del(&v->node);
    free(v);
}

void memory_advance(struct onion *o)
{
    list_each (pos, &o->services) {
        struct onion_service *v = container_of(pos, struct onion_service, node);
        if (v->info.state == ONION_SERVICE_READY)
            continue;
        v->info.state++;
        v->info.pivots = 3;
        v->info.published_s = v->info.state >= ONION_SERVICE_PUBLISHED ? 1 : 0;
        env_defer(o->env, &v->task);
    }
}

static int client_key_set(struct onion *o, const uint8_t address[static 32],
                          const uint8_t secret[static 32], struct cyx_err *err)
{
    (void)err;
    o->n_keys++;
    memcpy(o->key_address, address, 32);
    memcpy(o->key_secret, secret, 32);
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static void why_free(struct onion_why *w)
{
    env_task_cancel(&w->task);
    list_del(&w->node);
    free(w);
}

/* Fails at the descriptor where the address is unknown, else goes all the way. */
static void why_step(void *arg)
{
    struct onion_why *w = arg;
    struct onion_step s = { .stage = (enum onion_stage)w->at, .ns = 1000000u * (w->at + 1) };
    bool is_known = false;
    list_each (pos, &w->o->services)
        is_known = is_known || memcmp(container_of(pos, struct onion_service, node)->info.address,
                                      w->to.address, 32) == 0;
    memcpy(s.detail, "as it should be", 16);
    if (w->at == ONION_STAGE_DESCRIPTOR && !is_known)
        s.fail = ONION_FAIL_NO_DESCRIPTOR;
    w->at++;
    w->step(w->arg, &s);
    if (s.fail == ONION_FAIL_NONE && w->at < ONION_STAGES) {
        env_defer(w->o->env, &w->task);
        return;
    }
    void (*done)(void *, enum onion_fail) = w->done;
    void *to = w->arg;
    why_free(w);
    done(to, s.fail);
}

static struct onion_why *do_why(struct onion *o, const struct onion_target *to,
                                void (*on_step)(void *arg, const struct onion_step *s),
                                void (*done)(void *arg, enum onion_fail why), void *arg,
                                struct cyx_err *err)
{
    (void)err;
    struct onion_why *w = calloc(1, sizeof *w);
    *w = (struct onion_why){ .o = o, .to = *to, .step = on_step, .done = done, .arg = arg };
    env_task_init(&w->task, why_step, w);
    list_push_back(&o->whys, &w->node);
    env_defer(o->env, &w->task);
    return w;
}

static void get_status(struct onion *o, struct onion_summary *out)
{
    *out = (struct onion_summary){ .is_ready = true,
                                   .relays = 12,
                                   .guards_up = 3,
                                   .services = memory_services(o),
                                   .streams = memory_streams(o) };
}

static void paths_each(struct onion *o, bool (*fn)(void *arg, const struct onion_path_row *row),
                       void *arg)
{
    struct onion_path_row row = { .number = 7, .purpose = "visit", .state = "open", .n_hops = 3 };
    (void)o;
    memset(row.hops, 0xab, sizeof row.hops);
    (void)fn(arg, &row);
}

static const char *fail_text(enum onion_fail why)
{
    return why == ONION_FAIL_NO_DESCRIPTOR ? "nobody has a descriptor of it" : "it failed";
}

static const char *fail_name(enum onion_fail why)
{
    return why == ONION_FAIL_NO_DESCRIPTOR ? "no-descriptor" : "failed";
}

static const char *stage_name(enum onion_stage s)
{
    static const char *const names[] = { "guard", "descriptor", "path", "handshake", "stream" };
    return names[s];
}

const struct door_ops memory_ops = { .dial = dial,
                                     .write = do_write,
                                     .consumed = consumed,
                                     .end = end,
                                     .reset = reset,
                                     .attach = attach,
                                     .accept = do_accept,
                                     .refuse = refuse,
                                     .flow_open = flow_open,
                                     .flow_send = flow_send,
                                     .flow_close = flow_free,
                                     .flow_attach = flow_attach,
                                     .serve = serve,
                                     .service_info = service_info,
                                     .service_close = service_close,
                                     .client_key_set = client_key_set,
                                     .why = do_why,
                                     .why_cancel = why_free,
                                     .status = get_status,
                                     .paths_each = paths_each,
                                     .fail_text = fail_text,
                                     .fail_name = fail_name,
                                     .stage_name = stage_name };

/* ---- for tests ------------------------------------------------------------------------------- */

void memory_start(struct onion *o, struct env *env)
{
    *o = (struct onion){ .env = env };
    list_init(&o->services);
    list_init(&o->streams);
    list_init(&o->flows);
    list_init(&o->whys);
}

void memory_stop(struct onion *o)
{
    while (!list_empty(&o->streams))
        stream_free(container_of(o->streams.next, struct onion_stream, node));
    while (!list_empty(&o->flows))
        flow_free(container_of(o->flows.next, struct onion_flow, node));
    while (!list_empty(&o->whys))
        why_free(container_of(o->whys.next, struct onion_why, node));
    while (!list_empty(&o->services))
        service_close(container_of(o->services.next, struct onion_service, node));
}

void memory_fail(struct onion *o, const uint8_t address[static 32], enum onion_fail why)
{
    memcpy(o->places[o->n_places].address, address, 32);
    o->places[o->n_places++].why = why;
}

void memory_lose_all(struct onion *o, enum onion_fail why)
{
    list_each_safe (pos, &o->streams)
        fail(container_of(pos, struct onion_stream, node), why);
}

static size_t count(const struct list *l)
{
    size_t n = 0;
    for (const struct list *p = l->next; p != l; p = p->next)
        n++;
    return n;
}

size_t memory_services(const struct onion *o)
{
    return count(&o->services);
}

size_t memory_streams(const struct onion *o)
{
    return count(&o->streams);
}
