/* onion/relay.c - life of a relay, and what comes for path ids that nobody stands for. */
#include "onion/relay.h"

#include <stdlib.h>

#include "onion/end.h"
#include "onion/pivot.h"
#include "onion/relay_internal.h"

/* ---- strays ------------------------------------------------------------------------------------
 */

static void stray_build(void *arg, struct mesh_link *l, uint32_t path,
                        const uint8_t train[static ONION_TRAIN])
{
    relay__build_heard(arg, l, path, train);
}

/* Whoever sends them believes in a path that isn't there: we restarted, or forgot its end. */
static void stray_cell(void *arg, struct mesh_link *l, uint32_t path)
{
    struct onion_relay *r = arg;
    r->n.cells_dropped[CELL_DROP_STRAY]++;
    mesh_path_destroy(l, path);
}

/* It overtook its BUILD. */
static void stray_destroy(void *arg, struct mesh_link *l, uint32_t path)
{
    struct onion_relay *r = arg;
    r->n.destroys_stray++;
    relay__tomb_add(r, l, path);
}

static void stray_reply(void *arg, struct mesh_link *l, uint32_t path)
{
    struct onion_relay *r = arg;
    r->n.replies_stray++;
    mesh_path_forget(l, path); /* the link took note of it */
}

static const struct onion_strays strays = {
    .build = stray_build, .cell = stray_cell, .destroy = stray_destroy, .reply = stray_reply
};

/* ---- life --------------------------------------------------------------------------------------
 */

static bool make_parts(struct onion_relay *r)
{
    r->links = map_create(sizeof(struct mesh_link *), MESH_LINKS_MAX);
    r->groups = map_create(sizeof(uint64_t), r->paths_max + 1);
    r->builds = onion_share_create(ONION_BUILDS_ALL, ONION_BUILDS_ALL);
    r->pivot = pivot__create(r);
    r->end = end__create(r);
    return r->links != NULL && r->groups != NULL && r->builds != NULL && r->pivot != NULL &&
           r->end != NULL;
}

static void free_parts(struct onion_relay *r)
{
    end__destroy(r->end);
    pivot__destroy(r->pivot);
    onion_share_destroy(r->builds);
    map_destroy(r->groups);
}

struct onion_relay *onion_relay_create(const struct onion_relay_config *c, struct cyx_err *err)
{
    struct onion_relay *r = calloc(1, sizeof *r);
    if (r == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a relay");
        return NULL;
    }
    r->paths = c->paths;
    r->mesh = onion_switch_mesh(c->paths);
    r->env = mesh_env(r->mesh);
    r->dht = c->dht;
    r->replay = c->replay;
    r->paths_max = c->paths_max != 0 ? c->paths_max : ONION_PATHS;
    struct list *lists[] = {
        &r->by_life, &r->building, &r->unused, &r->idle, &r->closing, &r->tombs
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    greedy_init(&r->greedy);
    env_timer_init(&r->timer, relay__timers_fire, r);
    if (!make_parts(r)) {
        free_parts(r);
        map_destroy(r->links);
        free(r);
        cyx_fail(err, CYX_ENOMEM, "no memory for a relay");
        return NULL;
    }
    relay__link_watch(r);
    onion_switch_set_strays(r->paths, &strays, r);
    return r;
}

static void free_paths(struct onion_relay *r)
{
    while (!list_empty(&r->by_life)) {
        struct relay_path *p = container_of(r->by_life.next, struct relay_path, by_life);
        struct onion_tail *t = p->tail;
        relay__path_free(p);
        if (t == NULL)
            continue;
        t->path = NULL;
        t->ops->gone(t);
    }
    while (!list_empty(&r->tombs))
        relay__tomb_free(container_of(r->tombs.next, struct relay__tomb, all));
}

void onion_relay_destroy(struct onion_relay *r)
{
    if (r == NULL)
        return;
    onion_switch_set_strays(r->paths, NULL, NULL);
    free_paths(r);
    env_timer_stop(r->env, &r->timer);
    relay__links_free(r);
    free_parts(r);
    free(r);
}

/* ---- for tests ---------------------------------------------------------------------------------
 */

struct sums {
    size_t paths, registrations, tombs, waiting;
    bool is_sound;
};

static bool add_up(void *arg, const void *key, void *value)
{
    struct sums *s = arg;
    const struct relay__link *k = value;
    size_t tombs = 0;
    (void)key;
    list_each (at, &k->tombs)
        tombs++;
    list_each (at, &k->waiting)
        s->waiting++;
    s->paths += k->n_paths;
    s->tombs += tombs;
    s->is_sound &= tombs == k->n_tombs && tombs <= ONION_TOMBSTONES &&
                   k->n_registrations <= ONION_REGISTRATIONS_LINK &&
                   (k->is_listed || k->n_paths <= MESH_PATHS_UNLISTED);
    return true;
}

static bool is_sound_path(const struct relay_path *p)
{
    switch (p->state) {
    case RELAY_BUILDING:
        return p->building != NULL && p->tail == NULL && p->before.link != NULL &&
               p->next.link != NULL;
    case RELAY_OPEN:
        return p->building == NULL && p->tail == NULL && p->before.link != NULL &&
               p->next.link != NULL;
    case RELAY_END:
        return p->building == NULL && p->tail != NULL && p->tail->path == p &&
               p->before.link != NULL && p->next.link == NULL;
    case RELAY_CLOSING:
        return p->building == NULL && p->tail == NULL && p->before.link != NULL;
    case RELAY_GONE:
        break;
    }
    return false;
}

static size_t length(const struct list *l)
{
    size_t n = 0;
    list_each (at, l)
        n++;
    return n;
}

static bool lists_hold(const struct onion_relay *r)
{
    size_t of[RELAY_GONE + 1] = { 0 };
    list_each (at, &r->by_life) {
        const struct relay_path *p = container_of(at, struct relay_path, by_life);
        if (!is_sound_path(p))
            return false;
        of[p->state]++;
    }
    return of[RELAY_BUILDING] == length(&r->building) && of[RELAY_CLOSING] == length(&r->closing) &&
           of[RELAY_OPEN] + of[RELAY_END] == length(&r->unused) + length(&r->idle) &&
           of[RELAY_BUILDING] == r->n_of[RELAY_BUILDING] && of[RELAY_OPEN] == r->n_of[RELAY_OPEN] &&
           of[RELAY_END] == r->n_of[RELAY_END] && of[RELAY_CLOSING] == r->n_of[RELAY_CLOSING] &&
           length(&r->tombs) == r->n_tombs;
}

bool relay__check(const struct onion_relay *r)
{
    struct sums s = { .is_sound = true };
    map_each(r->links, add_up, &s);
    return s.is_sound && lists_hold(r) && length(&r->by_life) == r->n_paths &&
           r->n_paths <= r->paths_max && s.paths == r->n_paths && s.tombs == r->n_tombs &&
           r->n_tombs <= ONION_TOMBSTONES_ALL && s.waiting == r->n_waiting &&
           r->n_waiting <= ONION_TRAINS_WAITING && pivot__check(r->pivot) && end__check(r->end);
}
