/* mesh/stop.c - ends: links from the loop's deferred task, the mesh in order (GOODBYE, flush,
 * close) or at once (after a crash of the environment). */
#include <sodium.h>
#include <stdlib.h>

#include "mesh/link_internal.h"

/* ---- tickets --------------------------------------------------------------------------------- */

struct mesh__ticket *
mesh__ticket(struct mesh *m, void (*done)(struct mesh *m, int code, uint64_t value), uint64_t value)
{
    struct mesh__ticket *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->mesh = m;
    t->done = done;
    t->value = value;
    list_init(&t->node);
    list_push_back(&m->tickets, &t->node);
    return t;
}

void mesh__ticket_done(void *ticket, int code)
{
    struct mesh__ticket t = *(struct mesh__ticket *)ticket;
    list_del(&((struct mesh__ticket *)ticket)->node);
    free(ticket);
    if (t.mesh == NULL)
        return;
    if (t.done != NULL)
        t.done(t.mesh, code, t.value);
    mesh__stop_step(t.mesh);
}

static void tickets_orphan(struct mesh *m)
{
    while (!list_empty(&m->tickets)) {
        struct mesh__ticket *t = container_of(m->tickets.next, struct mesh__ticket, node);
        list_del(&t->node);
        t->mesh = NULL;
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

/* The one place where links' memory goes: no handler is on the stack. */
void mesh__reap(void *arg)
{
    struct mesh *m = arg;
    while (!list_empty(&m->ending)) {
        struct mesh_link *l = container_of(m->ending.next, struct mesh_link, queue);
        list_del(&l->queue);
        mesh__link_finish(l); /* callbacks may end more links: they join the list */
    }
    mesh__stop_step(m);
}

/* ---- the mesh -------------------------------------------------------------------------------- */

static bool say_goodbye(void *arg, struct mesh_link *l)
{
    (void)arg;
    mesh_link_close(l, MESH_BYE_LEAVING);
    return true;
}

static void timers_stop_all(struct mesh *m)
{
    env_timer_stop(m->env, &m->half_timer);
    env_timer_stop(m->env, &m->flush_timer);
    env_timer_stop(m->env, &m->housekeeping);
}

void mesh_stop(struct mesh *m, env_fn done, void *arg)
{
    m->stop_done = done;
    m->stop_arg = arg;
    m->is_stopping = true;
    timers_stop_all(m);
    if (m->discover != NULL)
        mesh__discover_stop(m);
    if (m->own != NULL)
        mesh__own_stop(m);
    mesh__beacon_stop(m);
    mesh__parcels_fail(m);
    mesh_links_each(m, say_goodbye, NULL);
    if (m->remembered != NULL && m->is_started && m->config.worker == 0) {
        mesh_time(m); /* moves T */
        mesh_remembered_set_number(m->remembered, "t", m->time.greatest_s, NULL, NULL);
    }
    env_defer(m->env, &m->reap); /* also without any link */
}

static void store_closed(void *arg)
{
    struct mesh *m = arg;
    m->closing = NULL;
    mesh__stop_step(m);
}

/* Closes the store once the last link is gone; false while that is under way. */
static bool close_store(struct mesh *m)
{
    if (m->remembered != NULL) {
        m->closing = m->remembered;
        m->remembered = NULL;
        mesh_remembered_close(m->closing, store_closed, m);
    }
    return m->closing == NULL;
}

/* Runs after everything that mesh_stop may wait for. */
void mesh__stop_step(struct mesh *m)
{
    if (!m->is_stopping || m->stop_done == NULL || !list_empty(&m->links))
        return;
    if (!close_store(m) || !list_empty(&m->tickets))
        return;
    if (m->carrier != NULL)
        m->carrier->ops->close(m->carrier);
    m->carrier = NULL;
    m->is_started = false;
    env_fn done = m->stop_done;
    m->stop_done = NULL;
    done(m->stop_arg); /* may destroy the mesh */
}

static void free_tables(struct mesh *m)
{
    mesh__own_destroy(m->own);
    mesh__discover_destroy(m->discover);
    mesh__sequences_destroy(m->sequences);
    mesh__rests_destroy(m->rests);
    mesh_prefix_budget_destroy(m->hs_prefixes);
    mesh_prefix_count_destroy(m->prefixes);
    mesh_prefix_count_destroy(m->half_prefixes);
    mesh_cells_destroy(m->cells);
    mesh_inbox_pool_destroy(m->inbox_pool);
    map_destroy(m->by_key);
    map_destroy(m->by_id);
    map_destroy(m->indices);
}

void mesh_destroy(struct mesh *m)
{
    if (m == NULL)
        return;
    timers_stop_all(m);
    env_task_cancel(&m->flush);
    env_task_cancel(&m->reap);
    mesh__beacon_stop(m);
    mesh__parcels_destroy(m);
    mesh__requests_drop(m);
    while (!list_empty(&m->links))
        mesh__link_free(container_of(m->links.next, struct mesh_link, all));
    mesh__half_opens_drop(m);
    while (!list_empty(&m->watchers))
        list_del(m->watchers.next);
    if (m->remembered != NULL)
        mesh_remembered_close(m->remembered, NULL, NULL);
    if (m->closing != NULL)
        mesh_remembered_close(m->closing, NULL, NULL); /* power failed while it was closed */
    if (m->carrier != NULL)
        m->carrier->ops->close(m->carrier);
    free_tables(m);
    tickets_orphan(m);
    free(m->send_buf);
    sodium_memzero(m->cookie_secret, sizeof m->cookie_secret);
    free(m);
}
