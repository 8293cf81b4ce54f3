/* Streams: reliable bytes in order, after the pair's latency. A partition stalls them, a crash
 * resets them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/stream_internal.h"

struct env_stream *sim__stream_new(struct sim_conn *c, unsigned side)
{
    struct env_stream *s = sim__alloc(sizeof *s);
    s->node = c->node[side];
    s->conn = c;
    s->side = side;
    c->end[side] = s;
    list_push_back(&s->node->ends, &s->in_node);
    return s;
}

/* ---- halves ---- */

static void half_arm(struct sim_half *h, uint64_t at)
{
    if (h->has_event)
        return;
    h->has_event = true;
    sim__queue_push(&h->conn->world->queue, at, SIM_EV_CONN, h);
}

static struct chunk *half_head(const struct sim_half *h)
{
    return list_empty(&h->chunks) ? NULL : container_of(h->chunks.next, struct chunk, in_half);
}

void sim__chunk_push(struct sim_half *h, enum chunk_kind kind, int code, const void *data,
                     size_t len, uint64_t delay_ns)
{
    struct sim_conn *c = h->conn;
    struct chunk *k = sim__alloc(sizeof *k + len);
    k->kind = kind;
    k->code = code;
    k->len = len;
    if (len > 0)
        memcpy(k->data, data, len);
    k->at = c->world->now + c->latency_ns + delay_ns;
    if (k->at < h->last_at)
        k->at = h->last_at;
    h->last_at = k->at;
    h->queued += len;
    list_push_back(&h->chunks, &k->in_half);
    half_arm(h, half_head(h)->at);
}

static void half_pop(struct sim_half *h, struct chunk *k)
{
    list_del(&k->in_half);
    h->queued -= k->len;
    free(k);
}

static void half_clear(struct sim_half *h)
{
    while (!list_empty(&h->chunks))
        half_pop(h, half_head(h));
}

static void conn_free_if_over(struct sim_conn *c)
{
    if (c->end[0] != NULL || c->end[1] != NULL || c->half[0].has_event || c->half[1].has_event)
        return;
    half_clear(&c->half[0]);
    half_clear(&c->half[1]);
    free(c);
}

/* Tells the other end, if there is one, that this one is gone. */
static void send_reset(struct sim_conn *c, unsigned to, int code)
{
    if (c->end[to] != NULL)
        sim__chunk_push(&c->half[to], CHUNK_RESET, code, NULL, 0, 0);
}

/* ---- delivery ---- */

static void deliver_data(struct env_stream *s, uint8_t *data, size_t len)
{
    struct sim_node *n = s->node;
    sim__note(n->world, SIM_EV_STREAM, n->index, len, sim__mix_bytes(s->side, data, len));
    n->world->stats.stream_bytes += len;
    sim__turn_begin(n);
    s->events->data(s->arg, data, len);
    sim__turn_end(n);
}

static void tell_end(struct env_stream *s, const struct chunk *k)
{
    struct sim_node *n = s->node;
    void (*fn)(void *arg, int code) = k->kind == CHUNK_OPEN ? s->events->opened : s->events->closed;
    if (k->code != 0)
        s->is_dead = true;
    sim__note(n->world, SIM_EV_STREAM, n->index, k->kind, (uint64_t)(int64_t)k->code);
    if (fn == NULL)
        return;
    sim__turn_begin(n);
    fn(s->arg, k->code);
    sim__turn_end(n);
}

static void tell_drained(struct sim_half *h)
{
    struct env_stream *s = h->conn->end[1 - h->to];
    if (h->queued > 0 || s == NULL || s->is_dead || s->events == NULL || s->events->drained == NULL)
        return;
    sim__turn_begin(s->node);
    s->events->drained(s->arg);
    sim__turn_end(s->node);
}

static void deliver(struct sim_half *h, struct chunk *k)
{
    struct sim_conn *c = h->conn;
    struct env_stream *s = c->end[h->to];
    if (k->kind == CHUNK_SYN) {
        sim__syn(c);
        return;
    }
    if (s == NULL || s->is_dead) {
        if (k->kind == CHUNK_DATA)
            send_reset(c, 1 - h->to, CYX_ECLOSED);
        return;
    }
    switch (k->kind) {
    case CHUNK_SYN:
        break; /* above */
    case CHUNK_OPEN:
    case CHUNK_RESET:
        tell_end(s, k);
        break;
    case CHUNK_DATA:
        deliver_data(s, k->data, k->len);
        break;
    case CHUNK_FIN:
        deliver_data(s, k->data, 0);
        break;
    }
}

static bool is_cut(const struct sim_conn *c)
{
    return c->node[0] != NULL && c->node[1] != NULL && c->node[0]->group != c->node[1]->group;
}

/* Across a partition: waits, and in the end gives up. True while it waits. */
static bool stalls(struct sim_half *h)
{
    struct sim_conn *c = h->conn;
    struct sim_world *w = c->world;
    if (!is_cut(c)) {
        h->stalled_since = 0;
        return false;
    }
    if (h->stalled_since == 0)
        h->stalled_since = w->now;
    if (w->now - h->stalled_since < SIM_S(SIM_STALL_LIMIT_S)) {
        half_arm(h, w->now + SIM_MS(SIM_STALL_MS));
        return true;
    }
    half_clear(h);
    h->has_event = true; /* keeps the connection in memory while callbacks run */
    for (unsigned side = 0; side < 2; side++) {
        struct chunk over = { .kind = CHUNK_RESET, .code = CYX_ETIMEDOUT };
        if (c->end[side] != NULL && !c->end[side]->is_dead)
            tell_end(c->end[side], &over);
    }
    h->has_event = false;
    return true;
}

static bool must_wait(const struct sim_half *h, const struct chunk *k)
{
    const struct env_stream *s = h->conn->end[h->to];
    return s != NULL && s->is_paused && (k->kind == CHUNK_DATA || k->kind == CHUNK_FIN);
}

static void half_advance(struct sim_half *h)
{
    struct chunk *k = half_head(h);
    if (k == NULL || must_wait(h, k))
        return;
    if (k->at > h->conn->world->now) {
        half_arm(h, k->at);
        return;
    }
    if (stalls(h))
        return;
    h->has_event = true; /* as above */
    list_del(&k->in_half);
    h->queued -= k->len;
    deliver(h, k);
    bool was_data = k->kind == CHUNK_DATA;
    free(k);
    if (was_data)
        tell_drained(h);
    h->has_event = false;
    k = half_head(h);
    if (k != NULL && !must_wait(h, k))
        half_arm(h, k->at > h->conn->world->now ? k->at : h->conn->world->now);
}

void sim__half_fire(struct sim_world *w, struct sim_half *h)
{
    (void)w;
    h->has_event = false;
    half_advance(h);
    conn_free_if_over(h->conn);
}

void sim__half_drop(struct sim_half *h)
{
    h->has_event = false;
    conn_free_if_over(h->conn);
}

/* ---- env ---- */

void sim__stream_attach(struct env_stream *s, const struct env_stream_events *events, void *arg)
{
    s->events = events;
    s->arg = arg;
}

int sim__stream_write(struct env_stream *s, const void *data, size_t len)
{
    if (s->is_dead || s->has_ended)
        return CYX_ECLOSED;
    struct sim_half *h = &s->conn->half[1 - s->side];
    if (len > ENV_STREAM_QUEUE_MAX || h->queued > ENV_STREAM_QUEUE_MAX - len)
        return CYX_EFULL;
    if (len > 0)
        sim__chunk_push(h, CHUNK_DATA, 0, data, len, 0);
    return 0;
}

void sim__stream_pause(struct env_stream *s, bool paused)
{
    s->is_paused = paused;
    if (paused || s->conn == NULL)
        return;
    struct sim_half *h = &s->conn->half[s->side];
    const struct chunk *k = half_head(h);
    if (k != NULL)
        half_arm(h, k->at > s->node->world->now ? k->at : s->node->world->now);
}

void sim__stream_end(struct env_stream *s)
{
    if (s->is_dead || s->has_ended)
        return;
    s->has_ended = true;
    sim__chunk_push(&s->conn->half[1 - s->side], CHUNK_FIN, 0, NULL, 0, 0);
}

/* Bytes that lie unread make it a reset, as the kernel does; otherwise an ordinary end. What was
 * written is in the kernel's hands by now and still arrives. */
static void say_goodbye(struct env_stream *s)
{
    struct sim_conn *c = s->conn;
    const struct chunk *unread = half_head(&c->half[s->side]);
    bool is_rude = unread != NULL && unread->kind == CHUNK_DATA && unread->at <= c->world->now;
    if (is_rude)
        send_reset(c, 1 - s->side, CYX_ECLOSED);
    else if (!s->has_ended && c->end[1 - s->side] != NULL)
        sim__chunk_push(&c->half[1 - s->side], CHUNK_FIN, 0, NULL, 0, 0);
}

void sim__stream_close(struct env_stream *s)
{
    struct sim_conn *c = s->conn;
    list_del(&s->in_node);
    if (c != NULL) {
        if (!s->is_dead)
            say_goodbye(s);
        c->end[s->side] = NULL;
        conn_free_if_over(c);
    }
    free(s);
}

/* What is still on its way is lost, as the kernel's queue is. */
void sim__stream_reset(struct env_stream *s)
{
    struct sim_conn *c = s->conn;
    if (c != NULL && !s->is_dead && c->target.kind == ENV_TCP) {
        half_clear(&c->half[1 - s->side]);
        send_reset(c, 1 - s->side, CYX_ECLOSED);
        s->is_dead = true; /* nothing more to say at its close */
    }
    sim__stream_close(s);
}

size_t sim__stream_queued(const struct env_stream *s)
{
    return s->conn != NULL ? s->conn->half[1 - s->side].queued : 0;
}

int sim__stream_cred(const struct env_stream *s, struct env_cred *out)
{
    if (s->conn == NULL)
        return CYX_ECLOSED;
    if (s->conn->target.kind != ENV_UNIX)
        return CYX_EUNSUPPORTED;
    const struct sim_node *peer = s->conn->node[1 - s->side];
    *out =
        (struct env_cred){ .uid = 0, .gid = 0, .pid = peer != NULL ? 1000 + (int)peer->index : 0 };
    return 0;
}

void sim__streams_crash(struct sim_node *n)
{
    list_each (pos, &n->ends) {
        struct env_stream *s = container_of(pos, struct env_stream, in_node);
        struct sim_conn *c = s->conn;
        s->is_dead = true;
        if (c == NULL)
            continue;
        s->conn = NULL;
        c->end[s->side] = NULL;
        half_clear(&c->half[1 - s->side]); /* in flight, and lost with the machine */
        send_reset(c, 1 - s->side, CYX_ECLOSED);
        conn_free_if_over(c);
    }
    list_each (pos, &n->listeners)
        list_del(&container_of(pos, struct env_listener, in_node)->in_reachable);
}
