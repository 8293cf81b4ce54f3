/* onion/relay_tombs.c - GONE: a path id that ended, or whose DESTROY overtook its BUILD. It stands
 * in the switch and drops whatever comes. */
#include <stdlib.h>

#include "onion/relay_internal.h"

static struct relay__tomb *tomb_of(struct onion_slot *s)
{
    return container_of(s, struct relay__tomb, slot);
}

static void heard_cell(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    (void)cell;
    tomb_of(s)->relay->n.cells_dropped[CELL_DROP_GONE]++;
}

static void heard_train(struct onion_slot *s)
{
    mesh_path_forget(s->link, s->path); /* the link took note of it */
    tomb_of(s)->relay->n.trains_gone++;
}

static void heard_reply(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    (void)train;
    heard_train(s);
}

static void heard_build(struct onion_slot *s, const uint8_t train[static ONION_TRAIN])
{
    (void)train;
    heard_train(s);
}

static void heard_destroy(struct onion_slot *s)
{
    tomb_of(s)->relay->n.destroys_gone++;
}

static void lost_link(struct onion_slot *s)
{
    relay__tomb_free(tomb_of(s));
}

static const struct onion_slot_ops ops = { .cell = heard_cell,
                                           .reply = heard_reply,
                                           .build = heard_build,
                                           .destroy = heard_destroy,
                                           .link_down = lost_link };

void relay__tomb_free(struct relay__tomb *t)
{
    struct onion_relay *r = t->relay;
    struct relay__link *k = relay__link_find(r, t->link);
    onion_switch_remove(r->paths, &t->slot);
    list_del(&t->all);
    list_del(&t->of_link);
    r->n_tombs--;
    if (k != NULL)
        k->n_tombs--;
    free(t);
}

/* The oldest go: of the link, of all. */
static void make_room(struct onion_relay *r, const struct relay__link *k)
{
    if (k->n_tombs >= ONION_TOMBSTONES)
        relay__tomb_free(container_of(k->tombs.next, struct relay__tomb, of_link));
    if (r->n_tombs >= ONION_TOMBSTONES_ALL)
        relay__tomb_free(container_of(r->tombs.next, struct relay__tomb, all));
}

void relay__tomb_add(struct onion_relay *r, struct mesh_link *l, uint32_t path)
{
    struct relay__link *k = relay__link_get(r, l);
    if (k == NULL)
        return;
    make_room(r, k);
    struct relay__tomb *t = calloc(1, sizeof *t);
    if (t == NULL)
        return;
    t->slot.ops = &ops;
    t->relay = r;
    t->link = l;
    if (onion_switch_add(r->paths, &t->slot, l, path) != 0) {
        free(t);
        return;
    }
    t->until_ns = relay__now(r) + ENV_S(ONION_TOMBSTONE_S);
    list_init(&t->all);
    list_init(&t->of_link);
    list_push_back(&r->tombs, &t->all);
    list_push_back(&k->tombs, &t->of_link);
    r->n_tombs++;
    k->n_tombs++;
    relay__timers_arm(r);
}
