/* Trails of a simulated machine: they outlive its programs, not its power. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

struct sim_trail {
    struct list in_node;
    char *name;
    uint8_t *data;
    size_t len, cap;
};

/* A program's hold of one. */
struct env_trail {
    struct sim_node *node;
    char *name;
};

static struct sim_trail *trail_find(struct sim_node *n, const char *name)
{
    list_each (pos, &n->trails) {
        struct sim_trail *t = container_of(pos, struct sim_trail, in_node);
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

int sim__trail_load(struct env *e, const char *name, uint8_t *buf, size_t cap, size_t *len)
{
    struct sim_node *n = sim__node_of(e);
    const struct sim_trail *t = n->up ? trail_find(n, name) : NULL;
    if (t == NULL)
        return CYX_ENOENT;
    *len = t->len;
    if (t->len > cap)
        return CYX_EFULL;
    if (t->len > 0)
        memcpy(buf, t->data, t->len);
    return 0;
}

int sim__trail_open(struct env *e, const char *name, bool is_anew, struct env_trail **out)
{
    struct sim_node *n = sim__node_of(e);
    if (!n->up)
        return CYX_ECLOSED;
    if (n->disk_state != SIM_DISK_OK)
        return CYX_ENOSPC;
    struct sim_trail *t = trail_find(n, name);
    if (t == NULL) {
        t = sim__alloc(sizeof *t);
        t->name = strdup(name);
        list_push_back(&n->trails, &t->in_node);
    }
    if (is_anew)
        t->len = 0;
    *out = sim__alloc(sizeof **out);
    **out = (struct env_trail){ .node = n, .name = strdup(name) };
    if (t->name == NULL || (*out)->name == NULL)
        abort();
    return 0;
}

int sim__trail_add(struct env_trail *h, const uint8_t *data, size_t len)
{
    struct sim_trail *t = h->node->up ? trail_find(h->node, h->name) : NULL;
    if (t == NULL)
        return CYX_EIO;
    if (h->node->disk_state != SIM_DISK_OK)
        return CYX_ENOSPC;
    if (t->len + len > t->cap) {
        t->cap = 2 * (t->len + len);
        t->data = realloc(t->data, t->cap);
    }
    if (t->data == NULL)
        abort();
    memcpy(t->data + t->len, data, len);
    t->len += len;
    return 0;
}

void sim__trail_close(struct env_trail *h)
{
    free(h->name);
    free(h);
}

void sim__trails_free(struct sim_node *n)
{
    while (!list_empty(&n->trails)) {
        struct sim_trail *t = container_of(n->trails.next, struct sim_trail, in_node);
        list_del(&t->in_node);
        free(t->name);
        free(t->data);
        free(t);
    }
}
