/* onion/pivot_data.c - cells between a client and a service. No cell passes through: each is
 * deciphered, looked at, and written anew for the other side. Towards the service splices take
 * turns (deficit round robin, mesh/sched.h): little is given to the link ahead, so that the waiting
 * is done here, where it is fair. Spec: protocol.md, section 11, DATA. */
#include "onion/pivot_internal.h"

void pivot__say_close(struct onion_tail *t, uint32_t id, enum onion_close why)
{
    const uint8_t reason = (uint8_t)why;
    (void)tail__send(t, &(struct onion_cell){ .splice = id,
                                              .command = ONION_CELL_CLOSE,
                                              .payload = &reason,
                                              .len = sizeof reason });
}

/* ---- to the service ----------------------------------------------------------------------------
 */

static size_t waiting(const struct pivot_registration *g)
{
    return g->queue != NULL ? mesh_sched_len(g->queue) : 0;
}

/* Gives the link what it can take now. */
static void pump(struct pivot_registration *g)
{
    uint8_t cell[MESH_CELL];
    while (waiting(g) > 0 && tail__queued(&g->tail) < ONION_PIVOT_AHEAD &&
           mesh_sched_pop(g->queue, cell) != 0)
        (void)tail__send_written(&g->tail, cell);
    if (waiting(g) == 0)
        list_del(&g->congested);
}

static void wait_in_turn(struct pivot_registration *g, uint32_t id, const struct onion_cell *c)
{
    struct onion_pivots *v = g->pivot;
    uint8_t cell[MESH_CELL];
    if (g->queue == NULL)
        g->queue = mesh_sched_create(v->cells);
    onion_cell_write(cell, c, 0);
    if (g->queue == NULL || mesh_sched_push(g->queue, id, cell) == CYX_ENOMEM) {
        v->n.cells_lost++;
        return;
    }
    v->n.queued++;
    if (!list_linked(&g->congested))
        list_push_back(&v->congested, &g->congested);
    if (!v->pump.is_set)
        env_timer_in(v->env, &v->pump, ENV_MS(ONION_PIVOT_PUMP_MS));
}

void pivot__to_service(struct pivot_registration *g, uint32_t id, const struct onion_cell *c)
{
    struct onion_cell mine = *c;
    mine.splice = id;
    if (g->tail.path == NULL) {
        g->pivot->n.cells_lost++;
        return;
    }
    g->pivot->n.cells_to_service++;
    pump(g);
    if (waiting(g) > 0 || tail__queued(&g->tail) >= ONION_PIVOT_AHEAD)
        wait_in_turn(g, id, &mine);
    else
        (void)tail__send(&g->tail, &mine);
}

void pivot__pump_fire(struct env_timer *t, void *arg)
{
    struct onion_pivots *v = arg;
    list_each_safe (at, &v->congested)
        pump(container_of(at, struct pivot_registration, congested));
    if (!list_empty(&v->congested))
        env_timer_in(v->env, t, ENV_MS(ONION_PIVOT_PUMP_MS));
}

/* ---- from the client ---------------------------------------------------------------------------
 */

static void client_closed(struct pivot_splice *s, const struct onion_cell *c)
{
    s->reg->pivot->n.closed_by_client++;
    pivot__to_service(s->reg, s->id, c);
    tail__leave(&s->tail);
    pivot__splice_free(s);
}

static void from_client(struct onion_tail *t, const struct onion_cell *c)
{
    struct pivot_splice *s = container_of(t, struct pivot_splice, tail);
    if (c->command == ONION_CELL_DATA)
        pivot__to_service(s->reg, s->id, c);
    else if (c->command == ONION_CELL_CLOSE && c->len == 1)
        client_closed(s, c);
    else
        s->reg->pivot->relay->n.cells_dropped[CELL_DROP_COMMAND]++;
}

static uint32_t client_effort(struct onion_tail *t)
{
    return pivot__effort(container_of(t, struct pivot_splice, tail)->reg);
}

const struct onion_tail_ops pivot__client_ops = { .cell = from_client,
                                                  .gone = pivot__client_gone,
                                                  .effort = client_effort };

/* ---- from the service --------------------------------------------------------------------------
 */

static void data_to_client(struct pivot_splice *s, const struct onion_cell *c)
{
    struct onion_cell theirs = *c;
    theirs.splice = 0;
    s->reg->pivot->n.cells_to_client++;
    (void)tail__send(&s->tail, &theirs);
}

static void close_client(struct pivot_splice *s, const struct onion_cell *c)
{
    s->reg->pivot->n.closed_by_service++;
    data_to_client(s, c);
    tail__leave(&s->tail);
    pivot__splice_free(s);
}

static void terms_heard(struct pivot_registration *g, const struct onion_cell *c)
{
    struct onion_terms terms;
    if (c->len != ONION_TERMS) {
        g->pivot->n.terms_bad++;
        return;
    }
    onion_terms_read(&terms, c->payload);
    pivot__terms_set(g, &terms);
}

static void from_service(struct onion_tail *t, const struct onion_cell *c)
{
    struct pivot_registration *g = container_of(t, struct pivot_registration, tail);
    struct pivot_splice *s = map_get(g->splices, &c->splice);
    bool is_for_client =
        c->command == ONION_CELL_DATA || (c->command == ONION_CELL_CLOSE && c->len == 1);
    if (c->command == ONION_CELL_TERMS)
        terms_heard(g, c);
    else if (!is_for_client)
        g->pivot->relay->n.cells_dropped[CELL_DROP_COMMAND]++;
    else if (s == NULL)
        g->pivot->n.cells_unknown++;
    else if (c->command == ONION_CELL_DATA)
        data_to_client(s, c);
    else
        close_client(s, c);
}

static uint32_t service_effort(struct onion_tail *t)
{
    return pivot__effort(container_of(t, struct pivot_registration, tail));
}

const struct onion_tail_ops pivot__service_ops = { .cell = from_service,
                                                   .gone = pivot__service_gone,
                                                   .effort = service_effort };
