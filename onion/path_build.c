/* onion/path_build.c - a path from its link's coming up to its reply. Spec: protocol.md, section 8.
 */
#include <stdlib.h>

#include "onion/path_internal.h"

static void give_up(struct env_timer *t, void *arg)
{
    struct onion_path *path = arg;
    (void)t;
    path->paths->c.timed_out++;
    path__failed(path, &(struct onion_path_built){ .code = CYX_ETIMEDOUT });
}

static uint64_t late_after(const struct onion_paths *p)
{
    uint64_t usual = PATH__LATE_FACTOR * onion_paths_build_ns(p);
    return usual > ENV_MS(PATH__LATE_MIN_MS) ? usual : ENV_MS(PATH__LATE_MIN_MS);
}

static void is_late(struct env_timer *t, void *arg)
{
    struct onion_path *path = arg;
    struct onion_paths *p = path->paths;
    uint64_t end = path->sent_ns + ENV_MS(PATH__GIVE_UP_MS);
    (void)t;
    path->is_late = true;
    if (path->slot.link != NULL)
        mesh_link_suspect(path->slot.link);
    p->c.late++;
    env_timer_init(&path->build_timer, give_up, path);
    env_timer_set(p->env, &path->build_timer, end);
    if (path->ev.late != NULL)
        path->ev.late(path->arg);
}

static void fail(struct onion_path *path, int code)
{
    path__failed(path, &(struct onion_path_built){ .code = code });
}

static void its_turn(struct env_timer *t, void *arg)
{
    (void)t;
    path__begin(arg);
}

/* Whether it must wait before it may be sent. A relay drops what exceeds an unlisted link's budget
 * without a word: to us that is the silence of a dead guard. Spec: section 16. */
static bool must_wait(struct onion_path *path)
{
    struct onion_paths *p = path->paths;
    uint64_t now = env_now_ns(p->env);
    if (!p->is_paced || mesh_bucket_take(&p->builds, 1, now))
        return false;
    p->c.waited += path->state != PATH_WAITING;
    path->state = PATH_WAITING;
    env_timer_init(&path->build_timer, its_turn, path);
    env_timer_set(p->env, &path->build_timer, mesh_bucket_when(&p->builds, 1, now));
    return true;
}

void path__begin(struct onion_path *path)
{
    struct onion_paths *p = path->paths;
    env_timer_stop(p->env, &path->build_timer); /* to begin, if its link came up meanwhile */
    if (must_wait(path))
        return;
    uint32_t id = mesh_path_id(path->link);
    int code = id != 0 ? onion_switch_add(p->sw, &path->slot, path->link, id) : CYX_EFULL;
    if (code == 0)
        code = mesh_train_send(path->link, id, false, path->build, ONION_TRAIN);
    if (code != 0) {
        fail(path, code);
        return;
    }
    free(path->build);
    path->build = NULL;
    path->state = PATH_BUILDING;
    path->sent_ns = env_now_ns(p->env);
    env_timer_init(&path->build_timer, is_late, path);
    env_timer_in(p->env, &path->build_timer, late_after(p));
}

/* ---- the reply --------------------------------------------------------------------------------
 */

static void note_time(struct onion_path *path)
{
    struct onion_paths *p = path->paths;
    path->opened_ns = env_now_ns(p->env);
    path->build_ns = path->opened_ns - path->sent_ns;
    p->recent[p->n_recent % PATH__RECENT] = path->build_ns;
    p->n_recent++;
    if (p->n_recent == 2 * PATH__RECENT)
        p->n_recent = PATH__RECENT;
}

static void take_keys(struct onion_path *path, const struct onion_built *b)
{
    for (size_t i = 0; i < path->route.n_hops; i++) {
        onion_layer_init(&path->forward[i], b->keys[i].forward);
        onion_layer_init(&path->backward[i], b->keys[i].backward);
    }
}

static void refused(struct onion_path *path, const struct onion_built *b)
{
    struct onion_path_built out = { .code = CYX_EREFUSED,
                                    .hop = b->n_hops,
                                    .status = b->status,
                                    .effort = b->effort,
                                    .ns = env_now_ns(path->paths->env) - path->sent_ns };
    for (size_t i = 0; i < sizeof out.seed; i++)
        out.seed[i] = b->seed[i];
    if (b->status < ONION_STATUSES)
        path->paths->c.refused[b->status]++;
    path__failed(path, &out);
}

/* Cells that overtook the reply: each may be the last thing that happens to the path. */
static void release_early(struct onion_path *path)
{
    struct path_early *early = path->early;
    struct onion_paths *p = path->paths;
    uint32_t id = path->slot.path;
    struct mesh_link *link = path->slot.link;
    size_t n = early != NULL ? early->n : 0;
    path->early = NULL;
    for (size_t i = 0; i < n; i++) {
        struct onion_slot *s = onion_switch_find(p->sw, link, id);
        if (s != &path->slot)
            break;
        path__cell(path, early->cells[i]);
    }
    free(early);
}

static void open_path(struct onion_path *path, const struct onion_built *b)
{
    struct onion_path_built out = { .code = 0 };
    struct onion_paths *p = path->paths;
    struct mesh_link *link = path->slot.link;
    uint32_t id = path->slot.path;
    take_keys(path, b);
    note_time(path);
    env_timer_stop(p->env, &path->build_timer);
    path->state = PATH_OPEN;
    p->c.built++;
    out.ns = path->build_ns;
    path__opened(path);
    path->ev.opened(path->arg, &out);
    if (onion_switch_find(p->sw, link, id) == &path->slot)
        release_early(path);
}

void path__reply(struct onion_path *path, const uint8_t train[static ONION_REPLY])
{
    cleanup_built struct onion_built b = { 0 };
    if (path->state != PATH_BUILDING)
        return; /* a second one */
    enum drop drop = onion_train_reply(path->train, train, &b);
    onion_train_destroy(path->train);
    path->train = NULL;
    if (drop != DROP_NONE)
        path__failed(path, &(struct onion_path_built){ .code = CYX_EPROTO, .hop = b.n_hops });
    else if (b.status != ONION_OK || b.n_hops != path->route.n_hops)
        refused(path, &b);
    else
        open_path(path, &b);
}
