/* mesh/link_limit.c - how many links, and how many of one prefix: above the bound the idlest of the
 * largest prefix gets GOODBYE 5. Spec: protocol.md, section 16. */
#include "mesh/link_internal.h"

/* The link used least recently, of one prefix or of all; those that carry paths come last. NULL:
 * none. */
static struct mesh_link *idlest(struct mesh *m, bool of_prefix, uint64_t prefix)
{
    struct mesh_link *best = NULL;
    list_each (at, &m->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state == MESH_LINK_CLOSING || (of_prefix && l->prefix != prefix))
            continue;
        bool has_paths = mesh__link_paths(l) > 0;
        bool best_has = best != NULL && mesh__link_paths(best) > 0;
        if (best == NULL || (best_has && !has_paths) ||
            (best_has == has_paths && l->last_use_ns < best->last_use_ns))
            best = l;
    }
    return best;
}

static bool shed(struct mesh *m, bool of_prefix, uint64_t prefix)
{
    struct mesh_link *l = idlest(m, of_prefix, prefix);
    if (l == NULL)
        return false;
    m->n.links_shed++;
    mesh_link_close(l, MESH_BYE_OVERLOAD); /* its memory goes later, from the loop */
    return true;
}

/* What one prefix may hold now. */
static size_t prefix_share(const struct mesh *m)
{
    size_t all = m->config.links_max, share = all / MESH_LINKS_PREFIX_SHARE;
    bool is_crowded = m->n_links >= all / 4 * 3;
    if (is_crowded && share > MESH_LINKS_PREFIX_CROWDED)
        share = MESH_LINKS_PREFIX_CROWDED;
    return share > 0 ? share : 1;
}

void mesh__links_make_room(struct mesh *m, uint64_t prefix)
{
    size_t n = 0;
    /* One for one: when the share shrinks, a large prefix is not cut down in one go. */
    if (!m->network.is_lab && mesh_prefix_count_get(m->prefixes, prefix) >= prefix_share(m))
        shed(m, true, prefix);
    while (m->n_links >= m->config.links_max) {
        uint64_t largest = mesh_prefix_count_greatest(m->prefixes, &n);
        if (!shed(m, !m->network.is_lab, largest))
            return;
    }
}
