/* mesh/link_send.c - packets out. A link with something to send stands in mesh->dirty; at the end
 * of the turn mesh__flush takes the links in order, one row of packets each and then the next link,
 * so that none starves. A packet is filled in the order of protocol.md, section 4: DESTROY, PONG,
 * PING, RESEND, OBSERVED; messages, at most a quarter of the packets while cells wait; cells, fair
 * over paths, written straight into the packet. No allocation once the send buffer has grown. */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

/* ---- what waits ------------------------------------------------------------------------------ */

static bool has_control(const struct mesh_link *l)
{
    const struct mesh__control *c = &l->ctl;
    return c->n_destroys > 0 || c->n_pongs > 0 || c->n_resends > 0 || c->wants_observed ||
           mesh__ping_waits(l);
}

static size_t next_fragment(const struct mesh_link *l)
{
    return l->outbox != NULL ? mesh_outbox_peek(l->outbox) : 0;
}

bool mesh__link_has_work(const struct mesh_link *l)
{
    return mesh_link_queued(l) > 0 || has_control(l) || next_fragment(l) > 0;
}

void mesh__link_dirty(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    if (l->state != MESH_LINK_UP || list_linked(&l->queue))
        return;
    list_push_back(&m->dirty, &l->queue);
    env_defer(m->env, &m->flush);
}

/* ---- filling a packet ------------------------------------------------------------------------ */

static void put_destroys(struct mesh_link *l, struct writer *w)
{
    struct mesh__control *c = &l->ctl;
    unsigned n = 0;
    while (n < c->n_destroys && writer_left(w) >= MESH_FRAME_DESTROY_LEN)
        mesh_frame_put_destroy(w, c->destroys[n++]);
    if (n == 0)
        return;
    c->n_destroys -= n;
    memmove(c->destroys, c->destroys + n, c->n_destroys * sizeof c->destroys[0]);
}

static void put_pongs(struct mesh_link *l, struct writer *w)
{
    struct mesh__control *c = &l->ctl;
    while (c->n_pongs > 0 && writer_left(w) >= MESH_FRAME_PING_LEN)
        mesh_frame_put_ping(w, MESH_FRAME_PONG, c->pongs[--c->n_pongs]);
}

static void put_resends(struct mesh_link *l, struct writer *w)
{
    struct mesh__control *c = &l->ctl;
    while (c->n_resends > 0 && writer_left(w) >= MESH_FRAME_RESEND_LEN)
        mesh_frame_put_resend(w, &c->resends[--c->n_resends]);
}

static void put_observed(struct mesh_link *l, struct writer *w)
{
    if (!l->ctl.wants_observed || writer_left(w) < MESH_FRAME_OBSERVED_LEN)
        return;
    mesh_frame_put_observed(w, &l->addr);
    l->ctl.wants_observed = false;
}

static void put_control(struct mesh_link *l, struct writer *w)
{
    put_destroys(l, w);
    put_pongs(l, w);
    mesh__ping_put(l, w);
    put_resends(l, w);
    put_observed(l, w);
}

static bool put_messages(struct mesh_link *l, struct writer *w, uint64_t now)
{
    struct mesh_frame_msg f;
    size_t n = next_fragment(l);
    bool any = false;
    while (n > 0 && writer_left(w) >= MESH_FRAME_MSG_HEAD + n &&
           mesh_outbox_next(l->outbox, now, &f)) {
        mesh_frame_put_msg(w, &f);
        any = true;
        n = next_fragment(l);
    }
    return any;
}

static bool put_cell(struct mesh_link *l, struct writer *w)
{
    if (mesh_link_queued(l) == 0 || writer_left(w) < MESH_FRAME_CELL_LEN)
        return false;
    uint8_t *head = writer_reserve(w, MESH_FRAME_CELL_LEN - MESH_CELL);
    uint8_t *cell = writer_reserve(w, MESH_CELL);
    uint32_t path = mesh_sched_pop(l->sched, cell); /* straight into the packet */
    struct writer h = writer_on(head, MESH_FRAME_CELL_LEN - MESH_CELL);
    writer_u8(&h, MESH_FRAME_CELL);
    writer_u32(&h, path);
    l->tx_cells++;
    l->mesh->n.tx_cells++;
    return true;
}

static void fill(struct mesh_link *l, uint8_t packet[static MESH_PACKET], uint64_t now)
{
    struct writer w = writer_on(packet + MESH_PACKET_HEAD, MESH_PACKET_ROOM);
    bool cells_wait = mesh_link_queued(l) > 0;
    put_control(l, &w);
    bool msg_may = !cells_wait || l->cells_since_msg >= MESH_MSG_SHARE - 1;
    if (msg_may && put_messages(l, &w, now))
        l->cells_since_msg = 0;
    if (put_cell(l, &w))
        l->cells_since_msg++;
    mesh_frame_pad(&w);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* May one more packet go to an address that has not been proven? */
bool mesh__link_may_send(const struct mesh_link *l)
{
    return env_addr_equal(&l->addr, &l->proven) ||
           l->roam_tx + MESH_PACKET <= l->roam_rx * MESH_ROAM_FACTOR;
}

void mesh__note_sent(struct mesh_link *l, uint64_t now)
{
    l->tx_packets++;
    l->mesh->n.tx_packets[MESH_FULL]++;
    l->last_tx_ns = now;
    l->roam_tx += MESH_PACKET;
}

bool mesh__send_buf_grow(struct mesh *m)
{
    size_t cap = m->send_cap == 0 ? MESH__BATCH_FIRST : m->send_cap * 2;
    if (cap > ENV_UDP_SEGMENTS_MAX)
        cap = ENV_UDP_SEGMENTS_MAX;
    if (cap == m->send_cap)
        return false;
    uint8_t *buf = realloc(m->send_buf, cap * MESH_PACKET);
    if (buf == NULL)
        return false;
    m->send_buf = buf;
    m->send_cap = cap;
    return true;
}

enum sent {
    SENT_ALL,     /* the link has nothing more that may go */
    SENT_SOME,    /* its row is full: next turn */
    SENT_SHAPED,  /* the egress bucket is empty */
    SENT_BLOCKED, /* the socket is full: the row waits in the buffer */
    SENT_UNABLE,  /* a packet couldn't be sealed: the link has to end */
};

void mesh__row_send(struct mesh *m, const struct env_addr *to, size_t n)
{
    size_t len = n * MESH_PACKET;
    int code = m->carrier->ops->send(m->carrier, to, m->send_buf, len, MESH_PACKET);
    if (code == CYX_EAGAIN) {
        m->pending = (struct mesh__pending){ .to = *to, .len = len };
        m->is_blocked = true;
        m->n.send_blocked++;
    } else if (code != 0) {
        m->n.send_failed++; /* this destination: as good as lost on the way */
    }
}

/* Fills and seals a row of packets. */
static size_t row_build(struct mesh_link *l, uint64_t now, enum sent *why)
{
    struct mesh *m = l->mesh;
    size_t n = 0;
    *why = SENT_ALL;
    while (mesh__link_has_work(l) && mesh__link_may_send(l)) {
        if (n == m->send_cap && !mesh__send_buf_grow(m)) {
            *why = SENT_SOME;
            break;
        }
        if (m->egress.rate > 0 && !mesh_bucket_take(&m->egress, MESH_PACKET, now)) {
            *why = SENT_SHAPED;
            break;
        }
        uint8_t *packet = m->send_buf + n * MESH_PACKET;
        fill(l, packet, now);
        if (mesh_session_seal(l->current->session, packet) != 0) {
            *why = SENT_UNABLE;
            break;
        }
        mesh__note_sent(l, now);
        n++;
    }
    return n;
}

static enum sent link_send(struct mesh_link *l, uint64_t now)
{
    struct mesh *m = l->mesh;
    const struct env_addr to = l->addr;
    enum sent why;
    size_t n = row_build(l, now, &why);
    if (n > 0)
        mesh__row_send(m, &to, n);
    if (why == SENT_UNABLE)
        mesh__link_end(l, "its keys are used up");
    if (l->was_over && mesh_link_queued(l) < MESH_LINK_WRITABLE) {
        l->was_over = false;
        if (m->paths.writable != NULL && l->state == MESH_LINK_UP)
            m->paths.writable(m->paths_arg, l);
    }
    if (m->is_blocked)
        return SENT_BLOCKED;
    return why;
}

/* Cells come in runs: a row that is full already leaves while it is warm in the cache, and the
 * socket works while the rest comes. Other links have their row at the end of the turn as ever.
 * Calls nobody: what ends or wakes somebody is left to mesh__flush. */
void mesh__link_row(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    enum sent why;
    mesh__row_close(m);
    if (m->carrier == NULL || m->is_blocked || m->egress.rate > 0)
        return;
    const struct env_addr to = l->addr;
    size_t n = row_build(l, mesh__now(m), &why);
    if (n > 0)
        mesh__row_send(m, &to, n);
}

static bool pending_send(struct mesh *m)
{
    if (m->pending.len == 0)
        return true;
    int code =
        m->carrier->ops->send(m->carrier, &m->pending.to, m->send_buf, m->pending.len, MESH_PACKET);
    if (code == CYX_EAGAIN)
        return false;
    if (code != 0)
        m->n.send_failed++;
    m->pending.len = 0;
    m->is_blocked = false;
    return true;
}

/* The bucket is empty: comes back when half a row's worth is there (or what the bucket holds). */
static void wait_for_egress(struct mesh *m, uint64_t now)
{
    uint64_t want = (uint64_t)MESH_PACKET * 8;
    if (want > m->egress.burst)
        want = m->egress.burst;
    m->n.egress_waits++;
    env_timer_set(m->env, &m->flush_timer, mesh_bucket_when(&m->egress, want, now));
}

void mesh__flush(void *arg)
{
    struct mesh *m = arg;
    uint64_t now = mesh__now(m);
    mesh__row_close(m);
    if (m->carrier == NULL || m->is_blocked)
        return;
    for (unsigned rows = 0; rows < MESH__COLLECT && !list_empty(&m->dirty); rows++) {
        struct mesh_link *l = container_of(m->dirty.next, struct mesh_link, queue);
        list_del(&l->queue);
        enum sent sent = link_send(l, now);
        bool has_more =
            l->state == MESH_LINK_UP && mesh__link_has_work(l) && mesh__link_may_send(l);
        if (has_more && !list_linked(&l->queue))
            list_push_back(&m->dirty, &l->queue);
        if (sent == SENT_BLOCKED)
            return; /* `writable` follows */
        if (sent == SENT_SHAPED) {
            wait_for_egress(m, now);
            return;
        }
    }
    if (!list_empty(&m->dirty))
        env_timer_set(m->env, &m->flush_timer, now); /* others' turn first */
}

void mesh__flush_timer(struct env_timer *t, void *arg)
{
    (void)t;
    mesh__flush(arg);
}

void mesh__writable(void *arg, struct mesh_carrier *c)
{
    struct mesh *m = arg;
    (void)c;
    if (pending_send(m))
        mesh__flush(m);
}

/* On its own and at once: the link is about to lose its keys. */
void mesh__link_goodbye(struct mesh_link *l, enum mesh_goodbye reason)
{
    uint8_t packet[MESH_PACKET];
    struct writer w = writer_on(packet + MESH_PACKET_HEAD, MESH_PACKET_ROOM);
    mesh__row_close(l->mesh); /* cells before it */
    put_destroys(l, &w);
    if (writer_left(&w) >= MESH_FRAME_GOODBYE_LEN)
        mesh_frame_put_goodbye(&w, reason);
    mesh_frame_pad(&w);
    if (!mesh__link_may_send(l) || mesh_session_seal(l->current->session, packet) != 0)
        return;
    mesh__note_sent(l, mesh__now(l->mesh));
    l->mesh->n.tx_packets[MESH_FULL]--; /* mesh__send_one counts it */
    mesh__send_one(l->mesh, &l->addr, packet, sizeof packet);
}
