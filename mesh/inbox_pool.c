/* Whose half-built messages hold how much, over all links of a thread: by address prefix, so that
 * one machine with many links counts as one. */
#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

enum { PREFIX_SCAN = 16 }; /* prefixes looked at among those of the top power of two */

struct mesh_inbox_pool *mesh_inbox_pool_create(size_t max_bytes)
{
    struct mesh_inbox_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->by_prefix = map_create(sizeof(uint64_t), SIZE_MAX); /* bounded by max_bytes */
    if (p->by_prefix == NULL) {
        free(p);
        return NULL;
    }
    greedy_init(&p->greedy);
    p->max_bytes = max_bytes;
    return p;
}

void mesh_inbox_pool_destroy(struct mesh_inbox_pool *p)
{
    if (p == NULL)
        return;
    assert(map_len(p->by_prefix) == 0); /* inboxes go first */
    map_destroy(p->by_prefix);
    free(p);
}

size_t mesh_inbox_pool_bytes(const struct mesh_inbox_pool *p)
{
    return p->bytes;
}

struct inbox_prefix *msg__pool_holder(struct mesh_inbox_pool *p, uint64_t prefix)
{
    struct inbox_prefix *h = map_get(p->by_prefix, &prefix);
    if (h != NULL)
        return h;
    h = malloc(sizeof *h);
    if (h == NULL)
        return NULL;
    greedy_item_init(&h->greedy);
    list_init(&h->msgs);
    h->prefix = prefix;
    if (map_put(p->by_prefix, &prefix, h) < 0) {
        free(h);
        return NULL;
    }
    return h;
}

static void drop_if_empty(struct mesh_inbox_pool *p, struct inbox_prefix *h)
{
    if (!list_empty(&h->msgs))
        return;
    map_del(p->by_prefix, &h->prefix);
    free(h);
}

void msg__pool_attach(struct mesh_inbox_pool *p, struct inbox_prefix *h, struct in_msg *m)
{
    /* From the back: nearly always it is the youngest. */
    struct list *at = &h->msgs;
    while (at->prev != &h->msgs && container_of(at->prev, struct in_msg, of_prefix)->age > m->age)
        at = at->prev;
    list_add_before(at, &m->of_prefix);
    m->holder = h;
    msg__pool_grow(p, m, m->bytes);
}

void msg__pool_grow(struct mesh_inbox_pool *p, struct in_msg *m, size_t more)
{
    p->bytes += more;
    greedy_set(&p->greedy, &m->holder->greedy, m->holder->greedy.weight + more);
}

void msg__pool_detach(struct mesh_inbox_pool *p, struct in_msg *m)
{
    struct inbox_prefix *h = m->holder;
    p->bytes -= m->bytes;
    greedy_set(&p->greedy, &h->greedy, h->greedy.weight - m->bytes);
    list_del(&m->of_prefix);
    m->holder = NULL;
    drop_if_empty(p, h);
}

struct in_msg *msg__pool_victim(const struct mesh_inbox_pool *p)
{
    struct greedy_item *it = greedy_top(&p->greedy, PREFIX_SCAN);
    if (it == NULL)
        return NULL;
    struct inbox_prefix *h = container_of(it, struct inbox_prefix, greedy);
    return container_of(h->msgs.next, struct in_msg, of_prefix);
}

struct sum {
    size_t bytes;
    bool is_sound;
};

static bool add_prefix(void *arg, const void *key, void *value)
{
    (void)key;
    struct sum *sum = arg;
    struct inbox_prefix *h = value;
    size_t bytes = 0;
    uint64_t age = 0;
    list_each (n, &h->msgs) {
        const struct in_msg *m = container_of(n, struct in_msg, of_prefix);
        bytes += m->bytes;
        sum->is_sound = sum->is_sound && m->holder == h && m->age > age;
        age = m->age;
    }
    sum->is_sound = sum->is_sound && bytes > 0 && bytes == h->greedy.weight;
    sum->bytes += bytes;
    return true;
}

bool msg__pool_is_sound(const struct mesh_inbox_pool *p)
{
    struct sum sum = { .is_sound = true };
    map_each(p->by_prefix, add_prefix, &sum);
    return sum.is_sound && sum.bytes == p->bytes && p->bytes <= p->max_bytes;
}
