/* mesh/link_path.c - cells and paths of a link, as the one consumer of paths sees them. The link
 * only notes which path ids are in use: it is kept up while there are any. Spec: protocol.md,
 * section 9, "Path id". */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

enum { PATH_TRIES = 64 };

/* The id of the path itself stands for its entry; it is never 0. */
void mesh__path_note(struct mesh_link *l, uint32_t path)
{
    if (path == l->last_path && l->paths != NULL)
        return; /* cells come in runs */
    if (l->paths == NULL)
        l->paths = map_create(sizeof path, MESH__PATHS_MAX);
    if (l->paths == NULL)
        return;
    bool is_first = map_len(l->paths) == 0;
    if (map_get(l->paths, &path) == NULL && map_put(l->paths, &path, l) != 0)
        return; /* at the bound: the link is kept up anyway */
    l->last_path = path;
    if (is_first)
        mesh__link_arm(l); /* keepalives begin */
}

uint32_t mesh_path_id(struct mesh_link *l)
{
    bool is_low = memcmp(mesh__link_own_pub(l), l->key, 32) < 0;
    for (unsigned i = 0; i < PATH_TRIES; i++) {
        uint32_t path = env_random_u32(l->mesh->env) & 0x7fffffffu;
        path |= is_low ? 0 : 0x80000000u;
        if (path != 0 && (l->paths == NULL || map_get(l->paths, &path) == NULL))
            return path;
    }
    return 0;
}

int mesh_cell_send(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL])
{
    if (l->state != MESH_LINK_UP)
        return CYX_ECLOSED;
    if (mesh__row_put(l, path, cell)) {
        mesh__path_note(l, path);
        l->last_use_ns = mesh__now(l->mesh);
        return 0;
    }
    if (l->sched == NULL)
        l->sched = mesh_sched_create(l->mesh->cells);
    if (l->sched == NULL)
        return CYX_ENOMEM;
    int code = mesh_sched_push(l->sched, path, cell);
    if (code == CYX_ENOMEM)
        return code;
    mesh__path_note(l, path);
    if (mesh_sched_len(l->sched) > MESH_LINK_WRITABLE)
        l->was_over = true;
    l->last_use_ns = mesh__now(l->mesh);
    mesh__link_dirty(l);
    if (mesh_sched_len(l->sched) >= ENV_UDP_SEGMENTS_MAX)
        mesh__link_row(l);
    return code;
}

size_t mesh_path_queued(const struct mesh_link *l, uint32_t path)
{
    return l->sched != NULL ? mesh_sched_path_len(l->sched, path) : 0;
}

size_t mesh_link_queued(const struct mesh_link *l)
{
    return l->sched != NULL ? mesh_sched_len(l->sched) : 0;
}

void mesh_path_forget(struct mesh_link *l, uint32_t path)
{
    if (l->sched != NULL)
        mesh_sched_forget(l->sched, path);
    if (l->paths != NULL)
        map_del(l->paths, &path);
    if (l->last_path == path)
        l->last_path = 0;
    if (mesh__link_paths(l) == 0)
        mesh__link_arm(l); /* the idle time begins */
}

/* Above the rate, or with too many waiting, the path is left to the other side's idle timer. */
void mesh_path_destroy(struct mesh_link *l, uint32_t path)
{
    struct mesh__control *c = &l->ctl;
    mesh_path_forget(l, path);
    if (l->state != MESH_LINK_UP || path == 0)
        return;
    if (c->destroys == NULL)
        c->destroys = calloc(LINK__DESTROYS, sizeof c->destroys[0]);
    if (c->destroys == NULL || c->n_destroys == LINK__DESTROYS ||
        !mesh_bucket_take(&l->destroys_out, 1, mesh__now(l->mesh))) {
        l->mesh->n.late_destroys++;
        return;
    }
    c->destroys[c->n_destroys++] = path;
    l->mesh->n.tx_destroys++;
    mesh__link_dirty(l);
}

void mesh_set_paths(struct mesh *m, const struct mesh_paths *ops, void *arg)
{
    m->paths = ops != NULL ? *ops : (struct mesh_paths){ 0 };
    m->paths_arg = arg;
}
