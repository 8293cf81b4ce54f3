/* onion/relay_path.c - states of a path through this node. Spec: protocol.md, section 9.
 *
 *   none      no slot in the switch: relay_build.c makes a path of a BUILD
 *   BUILDING  keys are there, the train went on (or waits for its link); ONION_BUILD_WAIT_S for the
 *             reply, then status 8 (3 while it still waits)
 *   OPEN      cells pass both ways
 *   END       we are the last hop: a tail stands on it (an END, a registration, a splice)
 *   CLOSING   the tail let it go; ONION_CLOSING_S for its last cells, then DESTROY
 *   GONE      the memory is freed; a tombstone on each link drops what still comes for the id
 *
 * Every path also ends ONION_LIFE_S after its build, ONION_IDLE_S after its last cell, and
 * ONION_UNUSED_S after its reply if it never carried one. Those are ordered lists with one timer
 * for all (relay_timers.c). */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/relay_internal.h"

enum { SAY_BEFORE = 1, SAY_NEXT = 2 };

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void building_free(struct relay_path *p)
{
    struct relay__building *b = p->building;
    if (b == NULL)
        return;
    p->building = NULL;
    if (b->train != NULL)
        p->relay->n_waiting--;
    list_del(&b->waiting);
    onion_answer_wipe(&b->answer);
    free(b->train);
    free(b);
}

static void group_leave(struct relay_path *p)
{
    struct onion_relay *r = p->relay;
    struct relay__group *g = p->group;
    list_del(&p->by_group);
    greedy_set(&r->greedy, &g->greedy, g->greedy.weight - 1);
    if (g->greedy.weight > 0)
        return;
    map_del(r->groups, &g->prefix);
    free(g);
}

void relay__path_free(struct relay_path *p)
{
    struct onion_relay *r = p->relay;
    struct relay__link *k = relay__link_find(r, p->from);
    if (k != NULL)
        k->n_paths--;
    building_free(p);
    onion_switch_remove(r->paths, &p->before);
    onion_switch_remove(r->paths, &p->next);
    list_del(&p->by_life);
    list_del(&p->by_use);
    group_leave(p);
    r->n_paths--;
    free(p->seen_forward);
    free(p->seen_backward);
    sodium_memzero(p, sizeof *p);
    free(p);
}

/* Takes the id off its link, with or without a word; what still comes for it meets a tombstone. */
static void slot_end(struct onion_relay *r, struct onion_slot *s, bool say)
{
    struct mesh_link *l = s->link;
    uint32_t id = s->path;
    if (l == NULL)
        return; /* the link is lost, or it was never on one */
    onion_switch_remove(r->paths, s);
    if (say)
        mesh_path_destroy(l, id);
    else
        mesh_path_forget(l, id);
    relay__tomb_add(r, l, id);
}

/* ---- states -----------------------------------------------------------------------------------
 */

static void use_list(struct relay_path *p, struct list *to)
{
    list_del(&p->by_use);
    list_push_back(to, &p->by_use);
    p->noted_ns = relay__now(p->relay);
}

static void path_set_state(struct relay_path *p, enum relay_state to)
{
    struct onion_relay *r = p->relay;
    r->n_of[p->state]--;
    r->n_of[to]++;
    p->state = to;
    switch (to) {
    case RELAY_BUILDING:
        use_list(p, &r->building);
        break;
    case RELAY_OPEN:
    case RELAY_END:
        building_free(p);
        use_list(p, p->is_used ? &r->idle : &r->unused);
        break;
    case RELAY_CLOSING:
        use_list(p, &r->closing);
        break;
    case RELAY_GONE:
        r->n_of[RELAY_GONE]--;
        return; /* whoever set it frees it */
    }
    relay__timers_arm(r);
}

/* -> GONE. The tail hears of it last: it may do anything. */
static void path_gone(struct relay_path *p, unsigned say)
{
    struct onion_relay *r = p->relay;
    struct onion_tail *t = p->tail;
    bool was_sent = p->building == NULL || p->building->train == NULL;
    path_set_state(p, RELAY_GONE);
    slot_end(r, &p->before, (say & SAY_BEFORE) != 0);
    if (was_sent)
        slot_end(r, &p->next, (say & SAY_NEXT) != 0);
    relay__path_free(p);
    if (t == NULL)
        return;
    t->path = NULL;
    t->ops->gone(t);
}

void relay__path_close(struct relay_path *p)
{
    path_gone(p, SAY_BEFORE | SAY_NEXT);
}

void relay__path_closing(struct relay_path *p)
{
    p->tail = NULL;
    path_set_state(p, RELAY_CLOSING);
}

void relay__path_moved(struct relay_path *p, uint64_t now_ns)
{
    p->is_used = true;
    list_del(&p->by_group);
    list_push_back(&p->group->paths, &p->by_group);
    if (p->state != RELAY_OPEN && p->state != RELAY_END)
        return; /* their lists are in order of how long they are in that state */
    p->noted_ns = now_ns;
    list_del(&p->by_use);
    list_push_back(&p->relay->idle, &p->by_use);
}

/* ---- replies ----------------------------------------------------------------------------------
 */

/* Seals our record, once, and sends the reply back. False: it could not be sent. */
static bool reply_send(struct relay_path *p, enum onion_status status, bool is_last,
                       uint8_t reply[static ONION_REPLY])
{
    struct onion_relay *r = p->relay;
    onion_hop_reply(&p->building->answer, status, 0, NULL, is_last, r->env, reply);
    r->n.build_status[status]++;
    return p->before.link != NULL &&
           mesh_train_send(p->before.link, p->before.path, true, reply, ONION_REPLY) == 0;
}

static void reply_error(struct onion_relay *r, struct mesh_link *l, uint32_t id,
                        struct onion_answer *a, enum onion_status status, uint32_t effort,
                        const uint8_t *seed)
{
    uint8_t reply[ONION_REPLY];
    onion_hop_reply(a, status, effort, seed, true, r->env, reply);
    r->n.build_status[status]++;
    if (l != NULL && mesh_train_send(l, id, true, reply, ONION_REPLY) != 0)
        r->n.replies_lost++; /* its timer ends it there */
}

void relay__reply_refuse(struct onion_relay *r, struct mesh_link *l, uint32_t id,
                         struct onion_answer *answer, enum onion_status status)
{
    reply_error(r, l, id, answer, status, 0, NULL);
    mesh_path_forget(l, id);
    relay__tomb_add(r, l, id);
}

void relay__path_refuse(struct relay_path *p, enum onion_status status, uint32_t effort,
                        const uint8_t *seed)
{
    reply_error(p->relay, p->before.link, p->before.path, &p->building->answer, status, effort,
                seed);
    path_gone(p, SAY_NEXT);
}

void relay__path_end(struct relay_path *p, struct onion_tail *t)
{
    uint8_t reply[ONION_REPLY];
    p->tail = t;
    if (reply_send(p, ONION_OK, true, reply))
        path_set_state(p, RELAY_END);
    else
        path_gone(p, SAY_BEFORE);
}

/* ---- events -----------------------------------------------------------------------------------
 */

static void building_reply(struct relay_path *p, const uint8_t *from_next)
{
    uint8_t reply[ONION_REPLY];
    memcpy(reply, from_next, sizeof reply);
    if (reply_send(p, ONION_OK, false, reply))
        path_set_state(p, RELAY_OPEN);
    else
        path_gone(p, SAY_BEFORE | SAY_NEXT);
}

static void building_silence(struct relay_path *p)
{
    bool was_sent = p->building->train == NULL;
    p->relay->n.silences++;
    relay__path_refuse(p, was_sent ? ONION_NOTHING_BACK : ONION_NEXT_UNREACHABLE, 0, NULL);
}

static void in_building(struct relay_path *p, enum relay_event ev, const uint8_t *reply)
{
    switch (ev) {
    case RELAY_EV_REPLY:
        if (p->building->train == NULL)
            building_reply(p, reply);
        else
            relay__link_violation(p->relay, p->next.link); /* to what we never sent */
        break;
    case RELAY_EV_LINK_UP:
        if (!relay__next_up(p))
            relay__path_refuse(p, ONION_NEXT_UNREACHABLE, 0, NULL);
        break;
    case RELAY_EV_BEFORE_GONE:
        path_gone(p, SAY_NEXT);
        break;
    case RELAY_EV_NEXT_GONE:
        relay__path_refuse(p, ONION_NEXT_UNREACHABLE, 0, NULL);
        break;
    case RELAY_EV_SILENCE:
        building_silence(p);
        break;
    case RELAY_EV_EXPIRED:
        path_gone(p, SAY_BEFORE | SAY_NEXT);
        break;
    }
}

static void in_open(struct relay_path *p, enum relay_event ev)
{
    switch (ev) {
    case RELAY_EV_REPLY:
        relay__link_violation(p->relay, p->next.link);
        break;
    case RELAY_EV_BEFORE_GONE:
        path_gone(p, SAY_NEXT);
        break;
    case RELAY_EV_NEXT_GONE:
        path_gone(p, SAY_BEFORE);
        break;
    case RELAY_EV_EXPIRED:
        path_gone(p, SAY_BEFORE | SAY_NEXT);
        break;
    case RELAY_EV_LINK_UP:
    case RELAY_EV_SILENCE:
        break; /* of its building */
    }
}

/* At the last hop, with a tail or after it. */
static void in_end(struct relay_path *p, enum relay_event ev)
{
    switch (ev) {
    case RELAY_EV_BEFORE_GONE:
        path_gone(p, 0);
        break;
    case RELAY_EV_EXPIRED:
        path_gone(p, SAY_BEFORE);
        break;
    case RELAY_EV_REPLY:
    case RELAY_EV_NEXT_GONE:
    case RELAY_EV_LINK_UP:
    case RELAY_EV_SILENCE:
        break; /* there is no next hop */
    }
}

void relay__path_step(struct relay_path *p, enum relay_event ev, const uint8_t *reply)
{
    switch (p->state) {
    case RELAY_BUILDING:
        in_building(p, ev, reply);
        break;
    case RELAY_OPEN:
        in_open(p, ev);
        break;
    case RELAY_END:
    case RELAY_CLOSING:
        in_end(p, ev);
        break;
    case RELAY_GONE:
        break;
    }
}

/* ---- entering ---------------------------------------------------------------------------------
 */

static struct relay__group *group_of(struct onion_relay *r, uint64_t prefix)
{
    struct relay__group *g = map_get(r->groups, &prefix);
    if (g != NULL)
        return g;
    g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    greedy_item_init(&g->greedy);
    list_init(&g->paths);
    g->prefix = prefix;
    if (map_put(r->groups, &prefix, g) == 0)
        return g;
    free(g);
    return NULL;
}

/* All paths are used: the idlest of the prefix that holds most. */
static void give_way(struct onion_relay *r)
{
    enum { LOOK = 16 };
    struct greedy_item *top = greedy_top(&r->greedy, LOOK);
    if (top == NULL)
        return;
    struct relay__group *g = container_of(top, struct relay__group, greedy);
    r->n.gave_way++;
    relay__path_step(container_of(g->paths.next, struct relay_path, by_group), RELAY_EV_EXPIRED,
                     NULL);
}

static struct relay_path *path_alloc(struct onion_relay *r, struct onion_answer *answer)
{
    struct relay_path *p = calloc(1, sizeof *p);
    struct relay__building *b = calloc(1, sizeof *b);
    if (p == NULL || b == NULL) {
        free(p);
        free(b);
        return NULL;
    }
    onion_layer_init(&p->forward, answer->keys.forward);
    onion_layer_init(&p->backward, answer->keys.backward);
    sodium_memzero(&answer->keys, sizeof answer->keys);
    b->answer = *answer;
    list_init(&b->waiting);
    list_init(&p->by_life);
    list_init(&p->by_use);
    list_init(&p->by_group);
    p->before.ops = &relay__before_ops;
    p->next.ops = &relay__next_ops;
    b->path = p;
    p->building = b;
    p->relay = r;
    return p;
}

static void path_enter(struct relay_path *p, struct relay__link *k, struct relay__group *g)
{
    struct onion_relay *r = p->relay;
    p->from = k->link;
    p->group = g;
    k->n_paths++;
    r->n_paths++;
    r->n_of[RELAY_BUILDING]++;
    p->made_ns = p->used_ns = relay__now(r);
    list_push_back(&r->by_life, &p->by_life);
    list_push_back(&g->paths, &p->by_group);
    greedy_set(&r->greedy, &g->greedy, g->greedy.weight + 1);
    path_set_state(p, RELAY_BUILDING);
}

static void path_discard(struct relay_path *p)
{
    onion_answer_wipe(&p->building->answer);
    free(p->building);
    sodium_memzero(p, sizeof *p);
    free(p);
}

int relay__path_create(struct onion_relay *r, struct relay__link *k, uint32_t id,
                       struct onion_answer *answer, struct relay_path **out)
{
    if (!k->is_listed && k->n_paths >= MESH_PATHS_UNLISTED)
        return CYX_EFULL;
    if (r->n_paths >= r->paths_max)
        give_way(r);
    struct relay_path *p = path_alloc(r, answer);
    if (p == NULL)
        return CYX_ENOMEM;
    struct relay__group *g = group_of(r, k->prefix);
    int code = g != NULL ? onion_switch_add(r->paths, &p->before, k->link, id) : CYX_ENOMEM;
    if (code == 0) {
        path_enter(p, k, g);
        *out = p;
        return 0;
    }
    if (g != NULL && list_empty(&g->paths)) {
        map_del(r->groups, &g->prefix);
        free(g);
    }
    path_discard(p);
    return code;
}
