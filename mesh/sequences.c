/* mesh/sequences.c - what stops replayed INITs: the greatest sequence seen of each link key (LRU),
 * and our own sequence, which is on disk before it is used. Spec: protocol.md, section 3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mesh/mesh_internal.h"

/* INITs that one write to the disk pays for; a crash skips at most as many numbers. */
enum { SEQUENCE_BLOCK = 1 << 16 };

struct seen {
    struct list by_use;
    uint8_t key[32];
    uint64_t sequence;
};

struct mesh__sequences {
    struct map *map;
    struct list by_use; /* least recent first */
    size_t cap;
};

struct mesh__sequences *mesh__sequences_create(size_t cap)
{
    struct mesh__sequences *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    list_init(&s->by_use);
    s->cap = cap;
    s->map = map_create(32, cap);
    if (s->map == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

static void forget(struct mesh__sequences *s, struct seen *e)
{
    map_del(s->map, e->key);
    list_del(&e->by_use);
    free(e);
}

void mesh__sequences_destroy(struct mesh__sequences *s)
{
    if (s == NULL)
        return;
    while (!list_empty(&s->by_use))
        forget(s, container_of(s->by_use.next, struct seen, by_use));
    map_destroy(s->map);
    free(s);
}

bool mesh__sequence_is_fresh(const struct mesh__sequences *s, const uint8_t key[static 32],
                             uint64_t sequence)
{
    const struct seen *e = map_get(s->map, key);
    return e == NULL || sequence > e->sequence;
}

void mesh__sequence_note(struct mesh__sequences *s, const uint8_t key[static 32], uint64_t sequence)
{
    struct seen *e = map_get(s->map, key);
    if (e == NULL) {
        if (map_len(s->map) >= s->cap)
            forget(s, container_of(s->by_use.next, struct seen, by_use));
        e = calloc(1, sizeof *e);
        if (e == NULL)
            return; /* a replay of this one costs a RESP and a half-open session, no more */
        list_init(&e->by_use);
        memcpy(e->key, key, sizeof e->key);
        if (map_put(s->map, key, e) != 0) {
            free(e);
            return;
        }
    }
    e->sequence = sequence;
    list_del(&e->by_use);
    list_push_back(&s->by_use, &e->by_use);
}

/* ---- our own --------------------------------------------------------------------------------- */

static void stored(struct mesh *m, int code, uint64_t limit)
{
    m->is_sequence_storing = false;
    if (code != 0)
        log_warn(m->env->log, "mesh",
                 "the handshake sequence is not on disk (%s): a clock set "
                 "back before the next start may delay links",
                 cyx_code_name(code));
    /* Even then: links matter more, and the clock's seconds lift the next start above these. */
    if (limit > m->sequence_limit)
        m->sequence_limit = limit;
}

/* Each worker has a number of its own. */
static const char *number_name(const struct mesh *m, char out[static 16])
{
    if (m->config.worker == 0)
        return "seq";
    snprintf(out, 16, "seq.%u", m->config.worker & 0xffu);
    return out;
}

static void store_ahead(struct mesh *m)
{
    char name[16];
    uint64_t limit = m->sequence_next + SEQUENCE_BLOCK;
    struct mesh__ticket *t = mesh__ticket(m, stored, limit);
    if (t == NULL)
        return; /* the next INIT asks again */
    m->is_sequence_storing = true;
    mesh_remembered_set_number(m->remembered, number_name(m, name), limit, mesh__ticket_done, t);
}

void mesh__sequence_start(struct mesh *m)
{
    /* The greatest of all workers': a peer may have been another's before. */
    uint64_t disk = mesh_remembered_greatest(m->remembered, "seq");
    uint64_t clock = mesh_time(m) << 20;
    uint64_t base = disk > clock ? disk : clock;
    if (m->identity->init_sequence > base)
        base = m->identity->init_sequence;
    m->sequence_next = base + 1;
    m->sequence_limit = 0;
    store_ahead(m);
}

bool mesh__sequence_take(struct mesh *m, uint64_t *out)
{
    if (m->sequence_next + SEQUENCE_BLOCK / 2 > m->sequence_limit && !m->is_sequence_storing)
        store_ahead(m);
    if (m->sequence_next > m->sequence_limit)
        return false;
    *out = m->sequence_next++;
    m->identity->init_sequence = *out;
    return true;
}

void mesh_take_sequence(struct mesh *m, uint64_t next)
{
    if (m->is_started && !m->is_stopping && next > m->sequence_next)
        m->sequence_next = next; /* above what is on disk: the next INIT waits for that */
}
