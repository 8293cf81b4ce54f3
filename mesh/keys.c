/* mesh/keys.c - sessions by our index, and the table of those that no valid DATA packet has
 * confirmed yet. Spec: protocol.md, sections 3 and 16. */
#include <stdlib.h>
#include <string.h>

#include "mesh/mesh_internal.h"

/* Random, so that a stranger can't guess it; the top byte steers packets to our worker. */
static uint32_t draw_index(struct mesh *m)
{
    uint32_t index = env_random_u32(m->env);
    unsigned n = m->config.n_workers > 0 ? m->config.n_workers : 1;
    uint32_t top = index >> 24;
    top = top - top % n + m->config.worker;
    if (top > 255)
        top -= n;
    return (index & 0xffffffu) | top << 24;
}

struct mesh__keys *mesh__keys_create(struct mesh *m, enum mesh__keys_stage stage)
{
    struct mesh__keys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->stage = stage;
    k->is_initiator = stage == MESH__KEYS_DIALING;
    do
        k->index = draw_index(m);
    while (mesh__keys_find(m, k->index) != NULL);
    if (map_put(m->indices, &k->index, k) != 0) {
        free(k);
        return NULL;
    }
    return k;
}

void mesh__keys_destroy(struct mesh *m, struct mesh__keys *k)
{
    if (k == NULL)
        return;
    if (k->half != NULL)
        mesh__half_open_remove(m, k);
    map_del(m->indices, &k->index);
    mesh_session_destroy(k->session);
    free(k);
}

struct mesh__keys *mesh__keys_find(const struct mesh *m, uint32_t index)
{
    return map_get(m->indices, &index);
}

/* ---- unconfirmed ----------------------------------------------------------------------------- */

struct entry {
    struct mesh__half_open half;
    struct mesh__keys *keys;
};

static void arm(struct mesh *m)
{
    if (list_empty(&m->half_opens)) {
        env_timer_stop(m->env, &m->half_timer);
        return;
    }
    struct entry *e = container_of(m->half_opens.next, struct entry, half.by_age);
    env_timer_set(m->env, &m->half_timer, e->keys->made_ns + ENV_MS(MESH_UNCONFIRMED_MS));
}

static void evict(struct mesh *m, struct entry *e)
{
    m->n.half_open_evicted++;
    mesh__keys_destroy(m, e->keys); /* removes the entry with it */
}

static void evict_oldest_of(struct mesh *m, uint64_t prefix)
{
    list_each (at, &m->half_opens) {
        struct entry *e = container_of(at, struct entry, half.by_age);
        if (e->half.prefix == prefix) {
            evict(m, e);
            return;
        }
    }
}

static void make_room(struct mesh *m, uint64_t prefix)
{
    if (!m->network.is_lab &&
        mesh_prefix_count_get(m->half_prefixes, prefix) >= MESH_UNCONFIRMED_PREFIX)
        evict_oldest_of(m, prefix);
    if (m->n_half_opens >= MESH_UNCONFIRMED_MAX)
        evict(m, container_of(m->half_opens.next, struct entry, half.by_age));
}

int mesh__half_open_add(struct mesh *m, struct mesh__keys *k, const struct mesh__half_open *half)
{
    make_room(m, half->prefix);
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL || !mesh_prefix_count_add(m->half_prefixes, half->prefix, NULL)) {
        free(e);
        return CYX_ENOMEM;
    }
    e->half = *half;
    e->keys = k;
    k->half = &e->half;
    list_init(&e->half.by_age);
    list_push_back(&m->half_opens, &e->half.by_age);
    m->n_half_opens++;
    if (!m->half_timer.is_set)
        arm(m);
    return 0;
}

void mesh__half_open_remove(struct mesh *m, struct mesh__keys *k)
{
    struct entry *e = container_of(k->half, struct entry, half);
    list_del(&e->half.by_age);
    mesh_prefix_count_sub(m->half_prefixes, e->half.prefix);
    m->n_half_opens--;
    k->half = NULL;
    free(e);
}

void mesh__half_open_timer(struct env_timer *t, void *arg)
{
    struct mesh *m = arg;
    uint64_t now = mesh__now(m);
    (void)t;
    while (!list_empty(&m->half_opens)) {
        struct entry *e = container_of(m->half_opens.next, struct entry, half.by_age);
        if (e->keys->made_ns + ENV_MS(MESH_UNCONFIRMED_MS) > now)
            break;
        mesh__keys_destroy(m, e->keys);
    }
    arm(m);
}

void mesh__half_opens_drop(struct mesh *m)
{
    while (!list_empty(&m->half_opens))
        mesh__keys_destroy(m, container_of(m->half_opens.next, struct entry, half.by_age)->keys);
}
