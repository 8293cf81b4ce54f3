/* onion/relay_link.c - what a relay keeps of each link that paths are on: its budget of builds, its
 * share, its violations, its tombstones, and the trains that wait for it to come up. */
#include <stdlib.h>
#include <string.h>

#include "onion/relay_internal.h"

struct relay__link *relay__link_find(const struct onion_relay *r, const struct mesh_link *l)
{
    return map_get(r->links, &l);
}

/* False: the link is about to go. */
static bool describe(struct onion_relay *r, struct relay__link *k)
{
    struct mesh_link_info info;
    mesh_link_info(k->link, &info);
    if (info.state == MESH_LINK_CLOSING)
        return false;
    memcpy(&k->number, info.key, sizeof k->number);
    /* In a lab all come from one address: limits by prefix are by link there. */
    k->prefix = mesh_network_of(r->mesh)->is_lab ? k->number : env_addr_prefix(&info.addr);
    k->is_listed = info.is_listed;
    k->their_bit = ~mesh_path_id(k->link) & 0x80000000u;
    mesh_bucket_init(&k->builds, ONION_BUILDS_LINK, ONION_BUILDS_LINK_BURST, relay__now(r));
    return true;
}

struct relay__link *relay__link_get(struct onion_relay *r, struct mesh_link *l)
{
    struct relay__link *k = relay__link_find(r, l);
    if (k != NULL)
        return k;
    k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->link = l;
    list_init(&k->waiting);
    list_init(&k->tombs);
    if (describe(r, k) && map_put(r->links, &l, k) == 0)
        return k;
    free(k);
    return NULL;
}

void relay__link_violation(struct onion_relay *r, struct mesh_link *l)
{
    struct relay__link *k = relay__link_get(r, l);
    uint64_t now = relay__now(r);
    r->n.violations++;
    if (k == NULL)
        return;
    if (now - k->violation_ns >= ENV_S(60)) {
        k->violation_ns = now;
        k->n_violations = 0;
    }
    if (++k->n_violations != MESH_VIOLATIONS)
        return;
    r->n.links_ended++;
    mesh_link_close(l, MESH_BYE_VIOLATION);
}

bool relay__link_may_build(struct onion_relay *r, struct relay__link *k)
{
    uint64_t now = relay__now(r);
    if (!k->is_listed && !mesh_bucket_take(&k->builds, 1, now))
        return false;
    return onion_share_take(r->builds, k->prefix, k->number, now);
}

/* ---- what happens to links ---------------------------------------------------------------------
 */

/* Each train leaves the list as it is sent, or its path ends. */
static void link_up(void *arg, struct mesh_link *l)
{
    struct onion_relay *r = arg;
    struct relay__link *k = relay__link_find(r, l);
    if (k == NULL || !describe(r, k)) /* who is there is known only now */
        return;
    while (!list_empty(&k->waiting)) {
        struct relay__building *b = container_of(k->waiting.next, struct relay__building, waiting);
        list_del(&b->waiting);
        relay__path_step(b->path, RELAY_EV_LINK_UP, NULL);
    }
}

/* Its paths and tombstones hear of it from the switch, before or after. */
static void link_free(struct relay__link *k)
{
    while (!list_empty(&k->waiting))
        list_del(k->waiting.next);
    while (!list_empty(&k->tombs))
        list_del(k->tombs.next);
    free(k);
}

static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct onion_relay *r = arg;
    struct relay__link *k = map_del(r->links, &l);
    (void)why;
    if (k != NULL)
        link_free(k);
}

void relay__link_watch(struct onion_relay *r)
{
    r->watcher = (struct mesh_watcher){ .link_up = link_up, .link_down = link_down, .arg = r };
    mesh_watch(r->mesh, &r->watcher);
}

static bool free_one(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    link_free(value);
    return true;
}

void relay__links_free(struct onion_relay *r)
{
    mesh_unwatch(&r->watcher);
    map_each(r->links, free_one, NULL);
    map_destroy(r->links);
}
