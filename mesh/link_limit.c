/* mesh/link_limit.c - how many links, and how many of one prefix: above the bound the idlest of the
 * largest prefix gets GOODBYE 5. Spec: protocol.md, section 16. */
#include <stddef.h>

#include "mesh/link_internal.h"

enum { SHED_SCAN = 64 }; /* links looked at to find one that is idle */

/* The more dispensable of two: without paths, and used longer ago. */
static struct mesh_link *idler(struct mesh_link *a, struct mesh_link *b)
{
    bool a_has = mesh__link_paths(a) > 0, b_has = mesh__link_paths(b) > 0;
    if (a_has != b_has)
        return a_has ? b : a;
    return b->last_use_ns < a->last_use_ns ? b : a;
}

/* Of those in a list that were looked at least recently the one used least recently: they go to the
 * end, so that each has its turn, and strangers who dial and dial don't make us walk them all.
 * `member` is where the list's nodes are in a link. */
static struct mesh_link *idlest_of(struct list *links, size_t member)
{
    struct mesh_link *best = NULL;
    struct list seen;
    list_init(&seen);
    for (unsigned i = 0; i < SHED_SCAN && !list_empty(links); i++) {
        struct list *at = links->next;
        struct mesh_link *l = (struct mesh_link *)(void *)((char *)at - member);
        list_del(at);
        list_push_back(&seen, at);
        best = best == NULL ? l : idler(best, l);
    }
    while (!list_empty(&seen)) {
        struct list *at = seen.next;
        list_del(at);
        list_push_back(links, at);
    }
    return best;
}

static bool shed(struct mesh *m, struct mesh_link *l)
{
    if (l == NULL)
        return false;
    m->n.links_shed++;
    mesh_link_close(l, MESH_BYE_OVERLOAD); /* its memory goes later, from the loop */
    return true;
}

static struct mesh_link *idlest_of_prefix(struct mesh *m, uint64_t prefix)
{
    struct list *members = mesh_prefix_count_members(m->prefixes, prefix);
    return members != NULL ? idlest_of(members, offsetof(struct mesh_link, by_prefix)) : NULL;
}

/* Where one prefix has more than others, one of its links; else any. */
static struct mesh_link *dispensable(struct mesh *m)
{
    size_t n = 0;
    uint64_t largest = mesh_prefix_count_greatest(m->prefixes, &n);
    if (!m->network.is_lab && n > 1)
        return idlest_of_prefix(m, largest);
    return idlest_of(&m->turns, offsetof(struct mesh_link, turn));
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
    /* One for one: when the share shrinks, a large prefix is not cut down in one go. */
    if (!m->network.is_lab && mesh_prefix_count_get(m->prefixes, prefix) >= prefix_share(m))
        (void)shed(m, idlest_of_prefix(m, prefix));
    while (m->n_links >= m->config.links_max)
        if (!shed(m, dispensable(m)))
            return;
}
