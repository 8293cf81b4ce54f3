/* A message is `fresh` while it has fragments never sent, then `sent` and kept for RESEND. Either
 * may also stand in `again`, with the fragments asked for once more marked. */
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

enum {
    COST_MIN = 128 /* what a tiny message costs in truth: bounds their number */
};

struct out_msg {
    struct list node;  /* in outbox->fresh or outbox->sent */
    struct list again; /* in outbox->again while anything is marked */
    uint64_t until_ns; /* kept till then, once sent */
    size_t len;
    uint32_t id;
    uint8_t kind;
    uint8_t count;
    uint8_t next;     /* first fragment never sent; count when all were */
    uint8_t n_resend; /* RESENDs heard */
    uint8_t marked[MSG_BITMAP];
    uint8_t data[];
};

struct mesh_outbox {
    struct list fresh; /* in order of mesh_outbox_add */
    struct list sent;  /* in order of until_ns */
    struct list again;
    struct map *by_key; /* NULL until first used */
    size_t fragment;
    size_t bytes;       /* cost of all */
    size_t bytes_fresh; /* cost of what waits unsent */
};

struct mesh_outbox *mesh_outbox_create(size_t fragment)
{
    struct mesh_outbox *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    list_init(&o->fresh);
    list_init(&o->sent);
    list_init(&o->again);
    o->fragment = fragment;
    return o;
}

static size_t cost_of(size_t len)
{
    return len < COST_MIN ? COST_MIN : len;
}

static void out_remove(struct mesh_outbox *o, struct out_msg *m)
{
    uint8_t key[MSG_KEY];
    msg__key(key, m->kind, m->id);
    map_del(o->by_key, key);
    o->bytes -= cost_of(m->len);
    if (m->next < m->count)
        o->bytes_fresh -= cost_of(m->len);
    list_del(&m->node);
    list_del(&m->again);
    free(m);
}

void mesh_outbox_destroy(struct mesh_outbox *o)
{
    if (o == NULL)
        return;
    while (!list_empty(&o->fresh))
        out_remove(o, container_of(o->fresh.next, struct out_msg, node));
    while (!list_empty(&o->sent))
        out_remove(o, container_of(o->sent.next, struct out_msg, node));
    map_destroy(o->by_key);
    free(o);
}

static struct out_msg *out_find(const struct mesh_outbox *o, uint8_t kind, uint32_t id)
{
    uint8_t key[MSG_KEY];
    if (o->by_key == NULL)
        return NULL;
    msg__key(key, kind, id);
    return map_get(o->by_key, key);
}

/* Back among the fresh ones, to be sent whole once more. */
static void out_repeat(struct mesh_outbox *o, struct out_msg *m)
{
    if (m->next < m->count)
        return; /* is on its way the first time */
    list_del(&m->node);
    list_del(&m->again);
    list_push_back(&o->fresh, &m->node);
    o->bytes_fresh += cost_of(m->len);
    memset(m->marked, 0, sizeof m->marked);
    m->n_resend = 0;
    m->next = 0;
}

static struct out_msg *out_new(struct mesh_outbox *o, uint8_t kind, uint32_t id, const void *data,
                               size_t len)
{
    uint8_t key[MSG_KEY];
    if (o->by_key == NULL)
        o->by_key = map_create(MSG_KEY, MESH_OUTBOX_BYTES / COST_MIN);
    struct out_msg *m = o->by_key != NULL ? malloc(sizeof *m + len) : NULL;
    if (m == NULL)
        return NULL;
    *m = (struct out_msg){ .len = len, .kind = kind, .id = id };
    m->count = (uint8_t)((len + o->fragment - 1) / o->fragment);
    list_init(&m->node);
    list_init(&m->again);
    memcpy(m->data, data, len);
    msg__key(key, kind, id);
    if (map_put(o->by_key, key, m) < 0) {
        free(m);
        return NULL;
    }
    return m;
}

int mesh_outbox_add(struct mesh_outbox *o, uint8_t kind, uint32_t id, const void *data, size_t len,
                    uint64_t now_ns)
{
    if (len == 0 || len > MESH_MSG_MAX || (len - 1) / o->fragment >= MSG_FRAGMENTS_MAX)
        return CYX_EINVAL;
    mesh_outbox_expire(o, now_ns);
    struct out_msg *m = out_find(o, kind, id);
    if (m != NULL && m->len == len && memcmp(m->data, data, len) == 0) {
        out_repeat(o, m);
        return 0;
    }
    if (m != NULL) /* the id stands for something else now */
        out_remove(o, m);
    if (o->bytes_fresh + cost_of(len) > MESH_OUTBOX_BYTES)
        return CYX_EFULL;
    while (o->bytes + cost_of(len) > MESH_OUTBOX_BYTES)
        out_remove(o, container_of(o->sent.next, struct out_msg, node));
    m = out_new(o, kind, id, data, len);
    if (m == NULL)
        return CYX_ENOMEM;
    list_push_back(&o->fresh, &m->node);
    o->bytes += cost_of(len);
    o->bytes_fresh += cost_of(len);
    return 0;
}

static size_t out_fragment_len(const struct mesh_outbox *o, const struct out_msg *m, uint8_t index)
{
    return index + 1 < m->count ? o->fragment : m->len - (size_t)index * o->fragment;
}

/* The first marked fragment; the message has one. */
static uint8_t out_first_marked(const struct out_msg *m)
{
    uint8_t i = 0;
    while (!msg__bit(m->marked, i))
        i++;
    return i;
}

/* Which fragment is next, of which message; NULL: none. */
static struct out_msg *out_pick(const struct mesh_outbox *o, uint8_t *index)
{
    struct out_msg *m = NULL;
    if (!list_empty(&o->again)) {
        m = container_of(o->again.next, struct out_msg, again);
        *index = out_first_marked(m);
    } else if (!list_empty(&o->fresh)) {
        m = container_of(o->fresh.next, struct out_msg, node);
        *index = m->next;
    }
    return m;
}

size_t mesh_outbox_peek(const struct mesh_outbox *o)
{
    uint8_t index;
    const struct out_msg *m = out_pick(o, &index);
    return m != NULL ? out_fragment_len(o, m, index) : 0;
}

/* Notes that a fragment picked by out_pick goes out now. */
static void out_went(struct mesh_outbox *o, struct out_msg *m, uint8_t index, uint64_t now_ns)
{
    if (list_linked(&m->again)) {
        msg__clear_bit(m->marked, index);
        if (msg__none(m->marked))
            list_del(&m->again);
        return;
    }
    if (++m->next < m->count)
        return;
    o->bytes_fresh -= cost_of(m->len);
    m->until_ns = now_ns + MSG_MS(MESH_OUTBOX_MS);
    list_del(&m->node);
    list_push_back(&o->sent, &m->node);
}

bool mesh_outbox_next(struct mesh_outbox *o, uint64_t now_ns, struct mesh_frame_msg *out)
{
    uint8_t index;
    struct out_msg *m = out_pick(o, &index);
    if (m == NULL)
        return false;
    *out = (struct mesh_frame_msg){ .kind = m->kind,
                                    .id = m->id,
                                    .index = index,
                                    .count = m->count,
                                    .len = (uint16_t)out_fragment_len(o, m, index),
                                    .data = m->data + (size_t)index * o->fragment };
    out_went(o, m, index, now_ns);
    return true;
}

enum drop mesh_outbox_resend(struct mesh_outbox *o, const struct mesh_frame_resend *r)
{
    struct out_msg *m = out_find(o, r->kind, r->id);
    if (m == NULL)
        return DROP_UNKNOWN;
    unsigned n = 0;
    while (n < m->count && !msg__bit(r->missing, n))
        n++;
    if (n == m->count)
        return DROP_FIELD;
    if (m->n_resend == MESH_RESEND_TRIES)
        return DROP_LOAD;
    m->n_resend++;
    for (; n < m->next; n++)
        if (msg__bit(r->missing, n))
            msg__set_bit(m->marked, n);
    if (!msg__none(m->marked) && !list_linked(&m->again))
        list_push_back(&o->again, &m->again);
    return DROP_NONE;
}

uint64_t mesh_outbox_expire(struct mesh_outbox *o, uint64_t now_ns)
{
    while (!list_empty(&o->sent)) {
        struct out_msg *m = container_of(o->sent.next, struct out_msg, node);
        if (m->until_ns > now_ns)
            return m->until_ns;
        out_remove(o, m);
    }
    return UINT64_MAX;
}

void mesh_outbox_cancel(struct mesh_outbox *o, uint8_t kind, uint32_t id)
{
    struct out_msg *m = out_find(o, kind, id);
    if (m != NULL)
        out_remove(o, m);
}

size_t mesh_outbox_bytes(const struct mesh_outbox *o)
{
    return o->bytes;
}

bool msg__outbox_is_sound(const struct mesh_outbox *o)
{
    size_t bytes = 0, fresh = 0;
    list_each (n, &o->fresh) {
        const struct out_msg *m = container_of(n, struct out_msg, node);
        fresh += cost_of(m->len);
        if (m->next >= m->count)
            return false;
    }
    list_each (n, &o->sent) {
        const struct out_msg *m = container_of(n, struct out_msg, node);
        bytes += cost_of(m->len);
        if (m->next != m->count)
            return false;
    }
    list_each (n, &o->again)
        if (msg__none(container_of(n, struct out_msg, again)->marked))
            return false;
    return fresh == o->bytes_fresh && bytes + fresh == o->bytes && o->bytes <= MESH_OUTBOX_BYTES;
}
