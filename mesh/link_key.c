/* mesh/link_key.c - links by the keys of both ends. A peer that dials our new link key while its
 * link to the previous one still stands has two links: their sessions must not mix. */
#include <string.h>

#include "mesh/link_internal.h"

static void key_of(uint8_t out[static MESH__LINK_KEY], const uint8_t key[static 32],
                   uint64_t own_made)
{
    struct writer w = writer_on(out, MESH__LINK_KEY);
    writer_copy(&w, key, 32);
    writer_u64(&w, own_made);
}

struct mesh_link *mesh__link_find(const struct mesh *m, const uint8_t key[static 32],
                                  uint64_t own_made)
{
    uint8_t k[MESH__LINK_KEY];
    key_of(k, key, own_made);
    return map_get(m->by_key, k);
}

struct mesh_link *mesh__link_find_any(const struct mesh *m, const uint8_t key[static 32])
{
    const struct mesh_identity *i = m->identity;
    struct mesh_link *l = mesh__link_find(m, key, i->link.made);
    return l != NULL ? l : mesh__link_find(m, key, i->link_old.made);
}

int mesh__link_key_add(struct mesh_link *l)
{
    uint8_t k[MESH__LINK_KEY];
    key_of(k, l->key, l->own_made);
    return map_put(l->mesh->by_key, k, l);
}

void mesh__link_key_remove(struct mesh_link *l)
{
    uint8_t k[MESH__LINK_KEY];
    key_of(k, l->key, l->own_made);
    map_del(l->mesh->by_key, k);
}
