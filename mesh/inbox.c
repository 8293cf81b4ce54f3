/* A message being put together holds only the fragments that came. Two timers for each, both driven
 * by mesh_inbox_poll: when to ask for what is missing, and when to give up. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

/* A whole message, remembered so that a late copy of a fragment doesn't begin it anew. */
struct had {
    uint64_t until_ns;
    uint32_t id;
    uint8_t kind;
};

struct mesh_inbox {
    struct mesh_inbox_pool *pool;
    struct list msgs; /* in_msg.of_inbox, oldest first */
    struct had *had;  /* ring; grows up to MSG_HAD_MAX while none is old enough to go */
    size_t had_len, had_cap, had_head;
    size_t fragment;
    size_t bytes, count;
    uint64_t prefix;
    uint64_t lost;
};

struct mesh_inbox *mesh_inbox_create(struct mesh_inbox_pool *pool, size_t fragment, uint64_t prefix)
{
    struct mesh_inbox *i = calloc(1, sizeof *i);
    if (i == NULL)
        return NULL;
    i->pool = pool;
    i->fragment = fragment;
    i->prefix = prefix;
    list_init(&i->msgs);
    return i;
}

/* Out of every list and sum, freed. */
static void in_remove(struct in_msg *m)
{
    struct mesh_inbox *i = m->inbox;
    if (m->holder != NULL)
        msg__pool_detach(i->pool, m);
    list_del(&m->of_inbox);
    i->bytes -= m->bytes;
    i->count--;
    while (m->parts != NULL) {
        struct in_part *p = m->parts;
        m->parts = p->next;
        free(p);
    }
    free(m);
}

static void in_give_up(struct in_msg *m)
{
    m->inbox->lost++;
    in_remove(m);
}

void mesh_inbox_destroy(struct mesh_inbox *i)
{
    if (i == NULL)
        return;
    while (!list_empty(&i->msgs))
        in_remove(container_of(i->msgs.next, struct in_msg, of_inbox));
    free(i->had);
    free(i);
}

void mesh_inbox_set_prefix(struct mesh_inbox *i, uint64_t prefix)
{
    if (prefix == i->prefix)
        return;
    i->prefix = prefix;
    list_each_safe (n, &i->msgs) {
        struct in_msg *m = container_of(n, struct in_msg, of_inbox);
        struct inbox_prefix *h = msg__pool_holder(i->pool, prefix);
        msg__pool_detach(i->pool, m);
        if (h == NULL)
            in_give_up(m);
        else
            msg__pool_attach(i->pool, h, m);
    }
}

/* ---- whole messages, remembered -------------------------------------------------------------- */

static bool was_had(const struct mesh_inbox *i, uint8_t kind, uint32_t id, uint64_t now_ns)
{
    for (size_t k = 0; k < i->had_len; k++)
        if (i->had[k].id == id && i->had[k].kind == kind && i->had[k].until_ns > now_ns)
            return true;
    return false;
}

/* A ring of twice the size, in order from its start. False when memory is out. */
static bool had_grow(struct mesh_inbox *i)
{
    size_t cap = i->had_cap != 0 ? i->had_cap * 2 : 4;
    struct had *grown = malloc(cap * sizeof *grown);
    if (grown == NULL)
        return false;
    for (size_t k = 0; k < i->had_len; k++)
        grown[k] = i->had[(i->had_head + k) % i->had_len];
    free(i->had);
    i->had = grown;
    i->had_cap = cap;
    i->had_head = 0;
    return true;
}

/* The place for one more: a free one, else the oldest one's. Out of memory it is the oldest one's
 * too, or none: then a late fragment costs a RESEND, no more. */
static struct had *had_slot(struct mesh_inbox *i, uint64_t now_ns)
{
    bool is_oldest_needed = i->had_len > 0 && i->had[i->had_head].until_ns > now_ns;
    bool wants_more = i->had_len == 0 || (is_oldest_needed && i->had_cap < MSG_HAD_MAX);
    if (i->had_len < i->had_cap || (wants_more && had_grow(i)))
        return &i->had[i->had_len++];
    if (i->had_len == 0)
        return NULL;
    struct had *oldest = &i->had[i->had_head];
    i->had_head = (i->had_head + 1) % i->had_len;
    return oldest;
}

static void remember(struct mesh_inbox *i, const struct mesh_frame_msg *f, uint64_t now_ns,
                     uint64_t rtt_ns)
{
    uint64_t keep = rtt_ns > MSG_MS(MSG_HAD_MS) / 4 ? rtt_ns * 4 : MSG_MS(MSG_HAD_MS);
    struct had *h = had_slot(i, now_ns);
    if (h != NULL)
        *h = (struct had){ .kind = f->kind, .id = f->id, .until_ns = now_ns + keep };
}

/* ---- fragments ------------------------------------------------------------------------------- */

static enum drop check_sizes(const struct mesh_inbox *i, const struct mesh_frame_msg *f)
{
    if (f->count == 0 || f->count > MSG_FRAGMENTS_MAX || f->index >= f->count)
        return DROP_FIELD;
    bool is_last = f->index + 1 == f->count;
    if (f->len == 0 || f->len > i->fragment || (!is_last && f->len != i->fragment))
        return DROP_FIELD;
    size_t least = (size_t)(f->count - 1) * i->fragment + (is_last ? f->len : 1u);
    return least > MESH_MSG_MAX ? DROP_LIMIT : DROP_NONE;
}

static struct in_msg *in_find(const struct mesh_inbox *i, uint8_t kind, uint32_t id)
{
    for (struct list *n = i->msgs.prev; n != &i->msgs; n = n->prev) { /* the youngest is likely */
        struct in_msg *m = container_of(n, struct in_msg, of_inbox);
        if (m->id == id && m->kind == kind)
            return m;
    }
    return NULL;
}

/* Oldest ones go until `cost` bytes (and, without `m`, one message more) fit the bounds of this
 * inbox and of the pool. False when `m`, which is to grow, was itself the one to go. */
static bool make_room(struct mesh_inbox *i, const struct in_msg *m, size_t cost)
{
    while ((m == NULL && i->count >= MESH_INBOX_MSGS) || i->bytes + cost > MESH_INBOX_BYTES) {
        struct in_msg *oldest = container_of(i->msgs.next, struct in_msg, of_inbox);
        bool is_it = oldest == m;
        in_give_up(oldest);
        if (is_it)
            return false;
    }
    while (i->pool->bytes + cost > i->pool->max_bytes) {
        struct in_msg *victim = msg__pool_victim(i->pool);
        if (victim == NULL)
            return false; /* the bound is below one fragment */
        bool is_it = victim == m;
        in_give_up(victim);
        if (is_it)
            return false;
    }
    return true;
}

/* A new message without fragments; there is room for it. */
static struct in_msg *in_new(struct mesh_inbox *i, const struct mesh_frame_msg *f, uint64_t now_ns)
{
    struct in_msg *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->inbox = i;
    m->kind = f->kind;
    m->id = f->id;
    m->count = f->count;
    m->bytes = sizeof *m;
    m->age = ++i->pool->next_age;
    m->give_up_ns = now_ns + MSG_MS(MESH_INBOX_MS);
    list_init(&m->of_inbox);
    list_init(&m->of_prefix);
    struct inbox_prefix *h = msg__pool_holder(i->pool, i->prefix);
    if (h == NULL) {
        free(m);
        return NULL;
    }
    msg__pool_attach(i->pool, h, m);
    list_push_back(&i->msgs, &m->of_inbox);
    i->bytes += m->bytes;
    i->count++;
    return m;
}

/* 25 ms of silence; after a RESEND also its answer's time. */
static uint64_t resend_gap(uint64_t rtt_ns)
{
    uint64_t least = MSG_MS(MESH_RESEND_MS);
    uint64_t by_rtt = rtt_ns + rtt_ns / 2;
    return by_rtt > least ? by_rtt : least;
}

static void in_delay_resend(struct in_msg *m, uint64_t now_ns)
{
    uint64_t quiet = now_ns + MSG_MS(MESH_RESEND_MS);
    if (m->n_resend == 0 || m->resend_ns < quiet)
        m->resend_ns = quiet;
}

/* Keeps a copy of a fragment that is not the last one missing. */
static enum drop in_keep(struct mesh_inbox *i, struct in_msg *m, const struct mesh_frame_msg *f,
                         uint64_t now_ns)
{
    size_t cost = sizeof(struct in_part) + f->len;
    if (!make_room(i, m, m != NULL ? cost : cost + sizeof *m))
        return DROP_LIMIT;
    struct in_part *p = malloc(sizeof *p + f->len);
    if (p == NULL)
        return DROP_MEMORY;
    if (m == NULL)
        m = in_new(i, f, now_ns);
    if (m == NULL) {
        free(p);
        return DROP_MEMORY;
    }
    p->index = f->index;
    p->len = f->len;
    memcpy(p->data, f->data, f->len);
    p->next = m->parts;
    m->parts = p;
    m->bytes += cost;
    m->n_have++;
    msg__set_bit(m->have, f->index);
    i->bytes += cost;
    msg__pool_grow(i->pool, m, cost);
    in_delay_resend(m, now_ns);
    return DROP_NONE;
}

/* `f` is the last fragment missing of `m` (NULL: it is a message by itself): all together into one
 * block for the caller. */
static enum drop in_finish(struct mesh_inbox *i, struct in_msg *m, const struct mesh_frame_msg *f,
                           struct mesh_message *out)
{
    size_t len = f->len;
    for (const struct in_part *p = m != NULL ? m->parts : NULL; p != NULL; p = p->next)
        len += p->len;
    uint8_t *data = malloc(len);
    if (data == NULL)
        return DROP_MEMORY; /* the fragment counts as lost: a RESEND may bring it again */
    memcpy(data + (size_t)f->index * i->fragment, f->data, f->len);
    for (const struct in_part *p = m != NULL ? m->parts : NULL; p != NULL; p = p->next)
        memcpy(data + (size_t)p->index * i->fragment, p->data, p->len);
    *out = (struct mesh_message){ .kind = f->kind, .id = f->id, .data = data, .len = len };
    if (m != NULL)
        in_remove(m);
    return DROP_NONE;
}

enum drop mesh_inbox_fragment(struct mesh_inbox *i, const struct mesh_frame_msg *f, uint64_t now_ns,
                              uint64_t rtt_ns, struct mesh_message *out)
{
    *out = (struct mesh_message){ .data = NULL };
    enum drop drop = check_sizes(i, f);
    if (drop != DROP_NONE)
        return drop;
    if (was_had(i, f->kind, f->id, now_ns))
        return DROP_REPLAY;
    struct in_msg *m = in_find(i, f->kind, f->id);
    if (m != NULL && m->count != f->count)
        return DROP_FIELD;
    if (m != NULL && msg__bit(m->have, f->index))
        return DROP_REPLAY;
    if ((m != NULL ? m->n_have : 0) + 1 < f->count)
        return in_keep(i, m, f, now_ns);
    drop = in_finish(i, m, f, out);
    if (drop == DROP_NONE)
        remember(i, f, now_ns, rtt_ns);
    return drop;
}

/* ---- what is due ----------------------------------------------------------------------------- */

static void in_missing(const struct in_msg *m, struct mesh_frame_resend *r)
{
    *r = (struct mesh_frame_resend){ .kind = m->kind, .id = m->id };
    for (unsigned k = 0; k < m->count; k++)
        if (!msg__bit(m->have, k))
            msg__set_bit(r->missing, k);
}

/* When `m` next wants attention, after it got what was due. */
static uint64_t in_due(const struct in_msg *m)
{
    bool asks = m->n_resend < MESH_RESEND_TRIES && m->resend_ns < m->give_up_ns;
    return asks ? m->resend_ns : m->give_up_ns;
}

uint64_t mesh_inbox_poll(struct mesh_inbox *i, uint64_t now_ns, uint64_t rtt_ns,
                         void (*resend)(void *arg, const struct mesh_frame_resend *r), void *arg)
{
    struct mesh_frame_resend asks[MESH_INBOX_MSGS];
    size_t n_asks = 0;
    uint64_t next = UINT64_MAX;
    assert(msg__inbox_is_sound(i)); /* debug builds recompute the sums now and then */
    list_each_safe (n, &i->msgs) {
        struct in_msg *m = container_of(n, struct in_msg, of_inbox);
        if (now_ns >= m->give_up_ns) {
            in_give_up(m);
            continue;
        }
        if (m->n_resend < MESH_RESEND_TRIES && now_ns >= m->resend_ns) {
            in_missing(m, &asks[n_asks++]);
            m->n_resend++;
            m->resend_ns = now_ns + resend_gap(rtt_ns);
        }
        next = in_due(m) < next ? in_due(m) : next;
    }
    for (size_t k = 0; k < n_asks; k++)
        resend(arg, &asks[k]);
    return next;
}

size_t mesh_inbox_bytes(const struct mesh_inbox *i)
{
    return i->bytes;
}

size_t mesh_inbox_count(const struct mesh_inbox *i)
{
    return i->count;
}

uint64_t mesh_inbox_lost(const struct mesh_inbox *i)
{
    return i->lost;
}

static bool in_is_sound(const struct mesh_inbox *i, const struct in_msg *m)
{
    size_t bytes = sizeof *m, n = 0, bits = 0;
    for (const struct in_part *p = m->parts; p != NULL; p = p->next) {
        bytes += sizeof *p + p->len;
        n++;
        if (!msg__bit(m->have, p->index))
            return false;
    }
    for (unsigned k = 0; k < MSG_FRAGMENTS_MAX; k++)
        bits += msg__bit(m->have, k);
    return bytes == m->bytes && n == m->n_have && bits == n && n > 0 && n < m->count &&
           m->inbox == i && m->holder != NULL && m->holder->prefix == i->prefix;
}

bool msg__inbox_is_sound(const struct mesh_inbox *i)
{
    size_t bytes = 0, count = 0;
    list_each (n, &i->msgs) {
        const struct in_msg *m = container_of(n, struct in_msg, of_inbox);
        if (!in_is_sound(i, m))
            return false;
        bytes += m->bytes;
        count++;
    }
    return bytes == i->bytes && count == i->count && count <= MESH_INBOX_MSGS &&
           bytes <= MESH_INBOX_BYTES;
}
