#include "onion/tail.h"

#include <string.h>

#include "onion/relay_internal.h"

void tail__attach(struct onion_tail *t, const struct onion_tail_ops *ops, struct relay_path *p)
{
    *t = (struct onion_tail){ .ops = ops, .path = p, .stats_ns = relay__now(p->relay) };
}

void tail__close(struct onion_tail *t)
{
    struct relay_path *p = t->path;
    if (p == NULL)
        return;
    t->path = NULL;
    p->tail = NULL;
    relay__path_close(p);
}

void tail__leave(struct onion_tail *t)
{
    struct relay_path *p = t->path;
    if (p == NULL)
        return;
    t->path = NULL;
    relay__path_closing(p);
}

/* ---- sending ----------------------------------------------------------------------------------
 */

int tail__send_written(struct onion_tail *t, uint8_t cell[static MESH_CELL])
{
    struct relay_path *p = t->path;
    if (p == NULL || p->before.link == NULL)
        return CYX_ECLOSED;
    onion_cell_number(cell, t->sent++);
    onion_layer_encipher(&p->backward, cell);
    relay__path_used(p, relay__now(p->relay));
    p->relay->n.cells_backward++;
    int code = mesh_cell_send(p->before.link, p->before.path, cell);
    p->relay->n.cell_runs_dropped += code == CYX_EFULL;
    return code;
}

int tail__send(struct onion_tail *t, const struct onion_cell *c)
{
    uint8_t cell[MESH_CELL];
    onion_cell_write(cell, c, 0);
    return tail__send_written(t, cell);
}

size_t tail__queued(const struct onion_tail *t)
{
    const struct relay_path *p = t->path;
    return p != NULL && p->before.link != NULL ? mesh_path_queued(p->before.link, p->before.path)
                                               : 0;
}

/* ---- STATS ------------------------------------------------------------------------------------
 */

static void stats_send(struct onion_tail *t)
{
    uint8_t payload[ONION_STATS];
    const struct onion_stats s = { .sent = t->sent,
                                   .recognised = t->recognised,
                                   .unrecognised = t->unrecognised,
                                   .effort = t->ops->effort != NULL ? t->ops->effort(t) : 0 };
    onion_stats_write(payload, &s);
    t->stats_ns = relay__now(t->path->relay);
    (void)tail__send(t, &(struct onion_cell){
                            .command = ONION_CELL_STATS, .payload = payload, .len = ONION_STATS });
}

static void stats_heard(struct onion_tail *t, const struct onion_cell *c)
{
    struct onion_stats s;
    if (onion_stats_read(&s, c->payload, c->len) == DROP_NONE && s.wants_answer)
        stats_send(t);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

void tail__heard(struct onion_tail *t, const uint8_t cell[static MESH_CELL])
{
    struct onion_relay *r = t->path->relay;
    struct onion_cell c;
    if (onion_cell_read(&c, &t->window, cell) != DROP_NONE) {
        t->unrecognised++;
        r->n.cells_dropped[CELL_DROP_NOISE]++;
        return;
    }
    t->recognised++;
    r->n.cells_forward++;
    /* told by use, so that a quiet path needs no timer */
    if (c.command == ONION_CELL_STATS)
        stats_heard(t, &c);
    else if (relay__now(r) - t->stats_ns >= ENV_S(ONION_STATS_S))
        stats_send(t);
    if (c.command != ONION_CELL_STATS && c.command != ONION_CELL_PADDING)
        t->ops->cell(t, &c);
}
