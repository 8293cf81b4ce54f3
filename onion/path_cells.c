/* onion/path_cells.c - cells through all layers of an own path, and what is counted of them. The
 * end enciphers with the farthest hop's key first; each hop takes one layer off. Spec: protocol.md,
 * sections 9 and 10. */
#include <stdlib.h>
#include <string.h>

#include "onion/path_internal.h"

static bool link_has_room(const struct onion_path *path)
{
    return mesh_path_queued(path->slot.link, path->slot.path) < PATH__QUEUE;
}

int onion_path_send(struct onion_path *path, const struct onion_cell *c)
{
    uint8_t cell[MESH_CELL];
    if (path->state != PATH_OPEN)
        return CYX_ECLOSED;
    if (!link_has_room(path)) {
        path->wants_writable = true;
        return CYX_EAGAIN;
    }
    onion_cell_write(cell, c, path->counter);
    for (size_t i = path->route.n_hops; i-- > 0;)
        onion_layer_encipher(&path->forward[i], cell);
    int code = mesh_cell_send(path->slot.link, path->slot.path, cell);
    if (code == CYX_ECLOSED || code == CYX_ENOMEM)
        return code;
    path->counter++;
    path->paths->c.cells_sent++;
    if (c->command == ONION_CELL_DATA || c->command == ONION_CELL_MSG)
        path__expect(path);
    return 0;
}

int path__stats(struct onion_path *path, bool wants_answer)
{
    uint8_t payload[ONION_STATS];
    path->stats_ns = env_now_ns(path->paths->env);
    struct onion_stats s = { .sent = path->counter + 1,
                             .recognised = path->recognised,
                             .unrecognised = path->unrecognised,
                             .wants_answer = wants_answer };
    onion_stats_write(payload, &s);
    return onion_path_send(path, &(struct onion_cell){ .command = ONION_CELL_STATS,
                                                       .payload = payload,
                                                       .len = sizeof payload });
}

/* ---- silence ----------------------------------------------------------------------------------
 */

void path__expect(struct onion_path *path)
{
    struct onion_paths *p = path->paths;
    if (path->missing_ns == 0)
        path->missing_ns = env_now_ns(p->env);
    if (!p->miss.is_set)
        env_timer_in(p->env, &p->miss, ENV_MS(PATH__MISS_MS));
}

static struct onion_path *missing(struct onion_paths *p, uint64_t now)
{
    list_each (node, &p->all) {
        struct onion_path *path = container_of(node, struct onion_path, node);
        if (path->missing_ns != 0 && now - path->missing_ns >= ENV_MS(PATH__MISS_AFTER_MS))
            return path;
    }
    return NULL;
}

static bool any_expects(const struct onion_paths *p)
{
    list_each (node, &p->all)
        if (container_of(node, struct onion_path, node)->missing_ns != 0)
            return true;
    return false;
}

/* The first link is asked whether its peer is there, the far end whether it is: what a stranger
 * beyond it does or doesn't answer proves nothing about the path. */
void path__miss(struct env_timer *t, void *arg)
{
    struct onion_paths *p = arg;
    uint64_t now = env_now_ns(p->env);
    struct onion_path *path;
    while ((path = missing(p, now)) != NULL) {
        path->missing_ns = 0;
        mesh_link_suspect(path->slot.link);
        onion_path_probe(path);
    }
    if (any_expects(p))
        env_timer_in(p->env, t, ENV_MS(PATH__MISS_MS));
}

/* ---- noise ------------------------------------------------------------------------------------
 */

/* True: so much of what comes is noise that somebody on the path must be making it. */
static bool noise_is_much(struct onion_path *path)
{
    uint64_t now = env_now_ns(path->paths->env);
    if (now - path->noise_ns > ENV_S(ONION_NOISE_S)) {
        path->noise_ns = now;
        path->noise_cells = path->noise_of = 0;
    }
    path->noise_cells++;
    return path->noise_cells > ONION_NOISE_CELLS &&
           path->noise_cells * 100 > path->noise_of * PATH__NOISE_PERCENT;
}

/* Relays drop what comes again so soon. So it was the guard that sent it twice, which tells nobody
 * anything, and is no reason to give up the path. */
static bool is_near_repeat(const struct onion_path *path)
{
    return path->window.top - path->window.repeat <= PATH__NEAR_REPEAT;
}

/* A cell that came long before is noise as well: somebody held it back to mark us with it. */
static void unrecognised(struct onion_path *path, enum drop why)
{
    if (why == DROP_REPLAY) {
        path->repeated++;
        path->paths->c.cells_repeated++;
        if (is_near_repeat(path))
            return;
    }
    path->noise_of++;
    path->unrecognised++;
    path->paths->c.cells_unrecognised++;
    if (noise_is_much(path))
        path__end(path, ONION_PATH_NOISE);
}

/* ---- cells that come --------------------------------------------------------------------------
 */

static void heard_stats(struct onion_path *path, const struct onion_cell *c)
{
    struct onion_stats s;
    if (onion_stats_read(&s, c->payload, c->len) != DROP_NONE)
        return;
    path->has_peer = true;
    path->peer = s;
    if (s.wants_answer)
        (void)path__stats(path, false);
    if (path->ev.stats != NULL)
        path->ev.stats(path->arg, &s);
}

static void hold_early(struct onion_path *path, const uint8_t cell[static MESH_CELL])
{
    if (path->early == NULL)
        path->early = calloc(1, sizeof *path->early);
    if (path->early == NULL || path->early->n == ONION_EARLY_CELLS)
        return;
    memcpy(path->early->cells[path->early->n++], cell, MESH_CELL);
}

static void recognised(struct onion_path *path, const struct onion_cell *c)
{
    path->missing_ns = 0;
    path->recognised++;
    path->noise_of++;
    path->paths->c.cells_recognised++;
    /* Anything that the far end made shows that it lives. */
    path->probes = 0;
    env_timer_stop(path->paths->env, &path->probe_timer);
    if (c->command == ONION_CELL_STATS)
        heard_stats(path, c);
    else if (env_now_ns(path->paths->env) - path->stats_ns >= ENV_S(ONION_STATS_S))
        (void)path__stats(path, false);
    if (c->command != ONION_CELL_STATS && c->command != ONION_CELL_PADDING)
        path->ev.cell(path->arg, c);
}

void path__cell(struct onion_path *path, uint8_t cell[static MESH_CELL])
{
    struct onion_cell c;
    if (path->state != PATH_OPEN) {
        hold_early(path, cell);
        return;
    }
    for (size_t i = 0; i < path->route.n_hops; i++)
        onion_layer_decipher(&path->backward[i], cell);
    enum drop drop = onion_cell_read(&c, &path->window, cell);
    if (drop == DROP_NONE)
        recognised(path, &c);
    else
        unrecognised(path, drop);
}
