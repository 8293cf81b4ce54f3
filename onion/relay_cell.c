/* onion/relay_cell.c - what comes for a path of ours: cells (the hot path: one look-up in the
 * switch, the duplicate window, one pass of the cipher in place, one copy into the other link's
 * queue), and everything else as an event. Spec: protocol.md, sections 9 and 10. */
#include "onion/relay_internal.h"

static struct relay_path *by_before(struct onion_slot *s)
{
    return container_of(s, struct relay_path, before);
}

static struct relay_path *by_next(struct onion_slot *s)
{
    return container_of(s, struct relay_path, next);
}

/* ---- cells ------------------------------------------------------------------------------------
 */

static void drop(struct onion_relay *r, enum cell_drop why)
{
    r->n.cells_dropped[why]++;
}

/* True: it is not to be passed on. Looked at before it is enciphered: so no relay can make the next
 * but one see two equal cells. */
static bool is_repeat(struct onion_relay *r, struct onion_seen **seen, const uint8_t *cell)
{
    switch (onion_seen_note(seen, cell)) {
    case ONION_SEEN_NEW:
        return false;
    case ONION_SEEN_REPEAT:
        drop(r, CELL_DROP_REPEAT);
        return true;
    case ONION_SEEN_NO_MEMORY:
        drop(r, CELL_DROP_MEMORY);
        return true;
    }
    return true;
}

static void pass(struct onion_relay *r, const struct onion_slot *to, const uint8_t *cell)
{
    if (to->link != NULL && mesh_cell_send(to->link, to->path, cell) == CYX_EFULL)
        r->n.cell_runs_dropped++;
}

static void pass_forward(struct relay_path *p, uint8_t *cell)
{
    struct onion_relay *r = p->relay;
    if (is_repeat(r, &p->seen_forward, cell))
        return;
    relay__path_used(p, relay__now(r));
    onion_layer_decipher(&p->forward, cell);
    r->n.cells_forward++;
    pass(r, &p->next, cell);
}

/* Also before our reply is on its way: we have the keys, and the client holds what overtook it. */
static void pass_backward(struct relay_path *p, uint8_t *cell)
{
    struct onion_relay *r = p->relay;
    if (is_repeat(r, &p->seen_backward, cell))
        return;
    relay__path_used(p, relay__now(r));
    onion_layer_encipher(&p->backward, cell);
    r->n.cells_backward++;
    pass(r, &p->before, cell);
}

/* The last hop needs no window of its own: its counters know a repeat, however old. */
static void arrive(struct relay_path *p, uint8_t *cell)
{
    relay__path_used(p, relay__now(p->relay));
    onion_layer_decipher(&p->forward, cell);
    tail__heard(p->tail, cell);
}

static void cell_before(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    struct relay_path *p = by_before(s);
    switch (p->state) {
    case RELAY_OPEN:
        pass_forward(p, cell);
        break;
    case RELAY_END:
        arrive(p, cell);
        break;
    case RELAY_BUILDING:
        drop(p->relay, CELL_DROP_EARLY);
        break;
    case RELAY_CLOSING:
    case RELAY_GONE:
        drop(p->relay, CELL_DROP_GONE);
        break;
    }
}

static void cell_next(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    struct relay_path *p = by_next(s);
    switch (p->state) {
    case RELAY_BUILDING:
    case RELAY_OPEN:
        pass_backward(p, cell);
        break;
    case RELAY_END:
    case RELAY_CLOSING:
    case RELAY_GONE:
        drop(p->relay, CELL_DROP_GONE);
        break;
    }
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void build_again(struct onion_slot *s, const uint8_t train[static ONION_TRAIN])
{
    (void)train;
    relay__link_violation(by_before(s)->relay, s->link);
}

static void build_from_next(struct onion_slot *s, const uint8_t train[static ONION_TRAIN])
{
    (void)train;
    relay__link_violation(by_next(s)->relay, s->link);
}

static void reply_from_before(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    (void)train;
    relay__link_violation(by_before(s)->relay, s->link);
}

static void reply_from_next(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    relay__path_step(by_next(s), RELAY_EV_REPLY, train);
}

static void destroy_before(struct onion_slot *s)
{
    by_before(s)->relay->n.destroys++;
    relay__path_step(by_before(s), RELAY_EV_BEFORE_GONE, NULL);
}

static void destroy_next(struct onion_slot *s)
{
    by_next(s)->relay->n.destroys++;
    relay__path_step(by_next(s), RELAY_EV_NEXT_GONE, NULL);
}

static void lost_before(struct onion_slot *s)
{
    relay__path_step(by_before(s), RELAY_EV_BEFORE_GONE, NULL);
}

static void lost_next(struct onion_slot *s)
{
    relay__path_step(by_next(s), RELAY_EV_NEXT_GONE, NULL);
}

const struct onion_slot_ops relay__before_ops = { .cell = cell_before,
                                                  .reply = reply_from_before,
                                                  .build = build_again,
                                                  .destroy = destroy_before,
                                                  .link_down = lost_before };

const struct onion_slot_ops relay__next_ops = { .cell = cell_next,
                                                .reply = reply_from_next,
                                                .build = build_from_next,
                                                .destroy = destroy_next,
                                                .link_down = lost_next };
