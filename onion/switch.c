/* onion/switch.c - the map from (link, path id) to slots. A slot knows its link by pointer, which
 * is good until link_down; the map's key is that pointer and the id, so that it costs one look-up
 * whoever owns the path. */
#include "onion/switch.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

enum {
    SLOTS_MAX = 4 * ONION_PATHS + (1 << 18)
}; /* two ends a path, those of our own, tombstones */

/* The slots of one link: what is told when it goes. */
struct of_link {
    struct mesh_link *link;
    struct list slots; /* those that needn't know when the link has room: thousands at a relay */
    struct list eager; /* those that want to */
    size_t n, n_eager;
};

struct key {
    uintptr_t link;
    uintptr_t path;
};

struct onion_switch {
    struct mesh *mesh;
    struct map *slots; /* struct key -> struct onion_slot */
    struct map *links; /* struct mesh_link * -> struct of_link */
    struct mesh_watcher watcher;
    struct onion_strays strays;
    void *strays_arg;
    struct onion_slot *last; /* found last: cells come in runs. NULL once it is out */
};

static struct key key_of(const struct mesh_link *l, uint32_t path)
{
    return (struct key){ (uintptr_t)l, path };
}

struct onion_slot *onion_switch_find(const struct onion_switch *s, const struct mesh_link *l,
                                     uint32_t path)
{
    struct key key = key_of(l, path);
    return map_get(s->slots, &key);
}

static struct onion_slot *find(struct onion_switch *s, const struct mesh_link *l, uint32_t path)
{
    struct key key = key_of(l, path);
    if (s->last == NULL || s->last->link != l || s->last->path != path)
        s->last = map_get(s->slots, &key);
    return s->last;
}

/* ---- what the mesh says ---- */

static void heard_cell(void *arg, struct mesh_link *l, uint32_t path,
                       uint8_t cell[static MESH_CELL])
{
    struct onion_switch *s = arg;
    struct onion_slot *slot = find(s, l, path);
    if (slot != NULL)
        slot->ops->cell(slot, cell);
    else if (s->strays.cell != NULL)
        s->strays.cell(s->strays_arg, l, path);
}

static void heard_destroy(void *arg, struct mesh_link *l, uint32_t path)
{
    struct onion_switch *s = arg;
    struct onion_slot *slot = find(s, l, path);
    if (slot != NULL)
        slot->ops->destroy(slot);
    else if (s->strays.destroy != NULL)
        s->strays.destroy(s->strays_arg, l, path);
}

static void heard_reply(struct onion_switch *s, struct mesh_link *l, uint32_t path,
                        const uint8_t *train)
{
    struct onion_slot *slot = find(s, l, path);
    if (slot != NULL)
        slot->ops->reply(slot, train);
    else if (s->strays.reply != NULL)
        s->strays.reply(s->strays_arg, l, path);
}

static void heard_build(struct onion_switch *s, struct mesh_link *l, uint32_t path,
                        const uint8_t *train)
{
    struct onion_slot *slot = find(s, l, path);
    if (slot == NULL && s->strays.build != NULL)
        s->strays.build(s->strays_arg, l, path, train);
    else if (slot != NULL && slot->ops->build != NULL)
        slot->ops->build(slot, train);
}

static void heard_train(void *arg, struct mesh_link *l, uint32_t path, bool is_reply,
                        const uint8_t *train, size_t len)
{
    if (is_reply && len == ONION_REPLY)
        heard_reply(arg, l, path, train);
    else if (!is_reply && len == ONION_TRAIN)
        heard_build(arg, l, path, train);
}

/* One round over the slots that want to know. They may come and go meanwhile, so that one may be
 * told twice or not at all: who goes on waiting is told the next time. */
static void heard_writable(void *arg, struct mesh_link *l)
{
    struct onion_switch *s = arg;
    struct of_link *of = map_get(s->links, &l);
    for (size_t left = of != NULL ? of->n_eager : 0; left > 0; left--) {
        if (of == NULL || list_empty(&of->eager))
            return;
        struct onion_slot *slot = container_of(of->eager.next, struct onion_slot, of_link);
        list_del(&slot->of_link);
        list_push_back(&of->eager, &slot->of_link);
        slot->ops->writable(slot);
        of = map_get(s->links, &l);
    }
}

static struct onion_slot *any_slot(const struct of_link *of)
{
    const struct list *from = list_empty(&of->slots) ? &of->eager : &of->slots;
    return container_of(from->next, struct onion_slot, of_link);
}

/* Slots may remove each other while they hear of it: always the first of what is left. */
static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct onion_switch *s = arg;
    struct of_link *of = map_get(s->links, &l);
    (void)why;
    while (of != NULL) {
        struct onion_slot *slot = any_slot(of);
        onion_switch_remove(s, slot);
        slot->ops->link_down(slot);
        of = map_get(s->links, &l);
    }
}

/* ---- slots ---- */

static struct of_link *link_entry(struct onion_switch *s, struct mesh_link *l)
{
    struct of_link *of = map_get(s->links, &l);
    if (of != NULL)
        return of;
    of = calloc(1, sizeof *of);
    if (of == NULL)
        return NULL;
    of->link = l;
    list_init(&of->slots);
    list_init(&of->eager);
    if (map_put(s->links, &l, of) == 0)
        return of;
    free(of);
    return NULL;
}

static void link_entry_release(struct onion_switch *s, struct of_link *of)
{
    if (of->n > 0)
        return;
    map_del(s->links, &of->link);
    free(of);
}

int onion_switch_add(struct onion_switch *s, struct onion_slot *slot, struct mesh_link *l,
                     uint32_t path)
{
    struct key key = key_of(l, path);
    if (map_get(s->slots, &key) != NULL)
        return CYX_EEXIST;
    struct of_link *of = link_entry(s, l);
    if (of == NULL)
        return CYX_ENOMEM;
    int code = map_put(s->slots, &key, slot);
    if (code != 0) {
        link_entry_release(s, of);
        return code;
    }
    slot->link = l;
    slot->path = path;
    slot->is_eager = slot->ops->writable != NULL;
    list_push_back(slot->is_eager ? &of->eager : &of->slots, &slot->of_link);
    of->n++;
    of->n_eager += slot->is_eager;
    return 0;
}

void onion_switch_remove(struct onion_switch *s, struct onion_slot *slot)
{
    if (slot->link == NULL)
        return;
    if (s->last == slot)
        s->last = NULL;
    struct key key = key_of(slot->link, slot->path);
    struct of_link *of = map_get(s->links, &slot->link);
    map_del(s->slots, &key);
    list_del(&slot->of_link);
    of->n--;
    of->n_eager -= slot->is_eager;
    link_entry_release(s, of);
    slot->link = NULL;
}

size_t onion_switch_len(const struct onion_switch *s)
{
    return map_len(s->slots);
}

size_t onion_switch_link_len(const struct onion_switch *s, const struct mesh_link *l)
{
    const struct of_link *of = map_get(s->links, &l);
    return of != NULL ? of->n : 0;
}

struct mesh *onion_switch_mesh(struct onion_switch *s)
{
    return s->mesh;
}

/* ---- life ---- */

struct onion_switch *onion_switch_create(struct mesh *mesh)
{
    static const struct mesh_paths ops = { .cell = heard_cell,
                                           .destroy = heard_destroy,
                                           .train = heard_train,
                                           .writable = heard_writable };
    struct onion_switch *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->mesh = mesh;
    s->slots = map_create(sizeof(struct key), SLOTS_MAX);
    s->links = map_create(sizeof(struct mesh_link *), MESH_LINKS_MAX);
    if (s->slots == NULL || s->links == NULL) {
        map_destroy(s->slots);
        map_destroy(s->links);
        free(s);
        return NULL;
    }
    s->watcher = (struct mesh_watcher){ .link_down = link_down, .arg = s };
    mesh_watch(mesh, &s->watcher);
    mesh_set_paths(mesh, &ops, s);
    return s;
}

void onion_switch_set_strays(struct onion_switch *s, const struct onion_strays *ops, void *arg)
{
    s->strays = ops != NULL ? *ops : (struct onion_strays){ 0 };
    s->strays_arg = arg;
}

static bool forget(void *arg, const void *key, void *value)
{
    struct onion_slot *slot = value;
    (void)arg;
    (void)key;
    list_del(&slot->of_link);
    slot->link = NULL;
    return true;
}

static bool free_entry(void *arg, const void *key, void *value)
{
    (void)arg;
    (void)key;
    free(value);
    return true;
}

void onion_switch_destroy(struct onion_switch *s)
{
    if (s == NULL)
        return;
    mesh_set_paths(s->mesh, NULL, NULL);
    mesh_unwatch(&s->watcher);
    map_each(s->slots, forget, NULL);
    map_each(s->links, free_entry, NULL);
    map_destroy(s->slots);
    map_destroy(s->links);
    free(s);
}
