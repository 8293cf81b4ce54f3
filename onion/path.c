/* onion/path.c - the life of an own path.
 *
 *   DIALING   the link to the first hop is being made
 *   WAITING   it is up; builds go out no faster than it may carry them. `build_timer`: its turn
 *   BUILDING  BUILD is out. `build_timer` first says `late`, then gives up
 *   OPEN      cells flow. `keep_timer` sends STATS so that relays don't forget a path that is
 * wanted but quiet, `probe_timer` waits for the answer to a probe, `life_timer` says when it grows
 * old, and ends it before its relays do
 *
 * Spec: protocol.md, sections 8 and 9. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/onion.h"
#include "onion/path_internal.h"

const char *onion_path_end_text(enum onion_path_end why)
{
    static const char *const texts[] = {
        [ONION_PATH_DESTROYED] = "ended by a relay on it",
        [ONION_PATH_LINK_DOWN] = "the link to its first relay went down",
        [ONION_PATH_NOISE] = "too many cells came out as noise",
        [ONION_PATH_SILENT] = "its other end doesn't answer",
        [ONION_PATH_OLD] = "its time is over",
    };
    return texts[why];
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void stop_timers(struct onion_path *path)
{
    struct env *e = path->paths->env;
    env_timer_stop(e, &path->build_timer);
    env_timer_stop(e, &path->keep_timer);
    env_timer_stop(e, &path->probe_timer);
    env_timer_stop(e, &path->life_timer);
}

void path__free(struct onion_path *path)
{
    stop_timers(path);
    onion_switch_remove(path->paths->sw, &path->slot);
    onion_train_destroy(path->train);
    for (size_t i = 0; i < path->route.n_hops; i++) {
        onion_layer_wipe(&path->forward[i]);
        onion_layer_wipe(&path->backward[i]);
    }
    list_del(&path->node);
    path->paths->n--;
    free(path->build);
    free(path->early);
    free(path);
}

void path__end(struct onion_path *path, enum onion_path_end why)
{
    void (*closed)(void *, enum onion_path_end) = path->ev.closed;
    void *arg = path->arg;
    path->paths->c.ended[why]++;
    if (path->slot.link != NULL)
        mesh_path_destroy(path->slot.link, path->slot.path);
    path__free(path);
    closed(arg, why);
}

void path__failed(struct onion_path *path, const struct onion_path_built *b)
{
    void (*opened)(void *, const struct onion_path_built *) = path->ev.opened;
    void *arg = path->arg;
    path->paths->c.failed++;
    if (path->slot.link != NULL)
        mesh_path_destroy(path->slot.link, path->slot.path);
    path__free(path);
    opened(arg, b);
}

void onion_path_close(struct onion_path *path)
{
    if (path == NULL)
        return;
    if (path->slot.link != NULL)
        mesh_path_destroy(path->slot.link, path->slot.path);
    path__free(path);
}

/* ---- what the switch says ---------------------------------------------------------------------
 */

static struct onion_path *of_slot(struct onion_slot *s)
{
    return container_of(s, struct onion_path, slot);
}

static void slot_cell(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    path__cell(of_slot(s), cell);
}

static void slot_reply(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    path__reply(of_slot(s), train);
}

static void slot_gone(struct onion_path *path, enum onion_path_end why)
{
    if (path->state == PATH_OPEN)
        path__end(path, why);
    else
        path__failed(path, &(struct onion_path_built){ .code = CYX_ECLOSED });
}

/* The first hop is done with it: no DESTROY back. */
static void slot_destroy(struct onion_slot *s)
{
    struct onion_path *path = of_slot(s);
    mesh_path_forget(s->link, s->path);
    onion_switch_remove(path->paths->sw, s);
    slot_gone(path, ONION_PATH_DESTROYED);
}

static void slot_link_down(struct onion_slot *s)
{
    slot_gone(of_slot(s), ONION_PATH_LINK_DOWN);
}

static void slot_writable(struct onion_slot *s)
{
    struct onion_path *path = of_slot(s);
    if (!path->wants_writable)
        return;
    path->wants_writable = false;
    if (path->ev.writable != NULL)
        path->ev.writable(path->arg);
}

static const struct onion_slot_ops slot_ops = { .cell = slot_cell,
                                                .reply = slot_reply,
                                                .destroy = slot_destroy,
                                                .writable = slot_writable,
                                                .link_down = slot_link_down };

/* ---- links ------------------------------------------------------------------------------------
 */

/* Every one of them may go, and take others with it: begins anew after each. */
static struct onion_path *first_over(struct onion_paths *p, const struct mesh_link *l,
                                     enum path_state state)
{
    list_each (n, &p->all) {
        struct onion_path *path = container_of(n, struct onion_path, node);
        if (path->state == state && path->link == l)
            return path;
    }
    return NULL;
}

static void link_up(void *arg, struct mesh_link *l)
{
    struct onion_path *path;
    while ((path = first_over(arg, l, PATH_DIALING)) != NULL)
        path__begin(path);
}

/* Those with a path id hear it from the switch. */
static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct onion_path *path;
    (void)why;
    while ((path = first_over(arg, l, PATH_DIALING)) != NULL ||
           (path = first_over(arg, l, PATH_WAITING)) != NULL)
        path__failed(path, &(struct onion_path_built){ .code = CYX_ECLOSED });
}

/* Not from inside onion_path_open, whose caller doesn't have the path yet. */
static void begin_task(struct env_timer *t, void *arg)
{
    (void)t;
    path__begin(arg);
}

static bool is_up(const struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    return info.state == MESH_LINK_UP;
}

static int dial(struct onion_path *path, struct cyx_err *err)
{
    struct onion_paths *p = path->paths;
    path->link = mesh_dial(p->mesh, &path->route.first, err);
    if (path->link == NULL)
        return err->code;
    if (is_up(path->link)) {
        env_timer_init(&path->build_timer, begin_task, path);
        env_timer_in(p->env, &path->build_timer, 0);
    }
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static int make_train(struct onion_path *path, const struct onion_path_options *o,
                      struct cyx_err *err)
{
    struct onion_paths *p = path->paths;
    struct onion_build b = {
        .n_hops = o->route->n_hops, .last = o->last, .stamp = mesh_time(p->mesh), .early = o->early
    };
    if (b.n_hops == 0 || b.n_hops > ONION_HOPS_MAX)
        return cyx_fail(err, CYX_EINVAL, "a path has 1 to %d hops", ONION_HOPS_MAX);
    memcpy(b.hops, o->route->hops, b.n_hops * sizeof b.hops[0]);
    path->build = malloc(ONION_TRAIN);
    if (path->build == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a path");
    path->train = onion_train_create(&b, mesh_network_of(p->mesh), p->env, path->build, err);
    sodium_memzero(&b.last, sizeof b.last); /* a token, or an owner's secret */
    return path->train != NULL ? 0 : err->code;
}

struct onion_path *onion_path_open(struct onion_paths *p, const struct onion_path_options *o,
                                   const struct onion_path_events *events, void *arg,
                                   struct cyx_err *err)
{
    struct cyx_err local = { 0 };
    struct onion_path *path = calloc(1, sizeof *path);
    if (err == NULL)
        err = &local;
    if (path == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a path");
        return NULL;
    }
    path->paths = p;
    path->ev = *events;
    path->arg = arg;
    path->route = *o->route;
    path->is_kept = o->is_kept;
    path->purpose = o->purpose;
    path->number = ++p->next_number;
    path->slot.ops = &slot_ops;
    list_init(&path->node);
    list_push_back(&p->all, &path->node);
    p->n++;
    path__timers_init(path);
    if (make_train(path, o, err) < 0 || dial(path, err) < 0) {
        path->route.n_hops = path->route.n_hops <= ONION_HOPS_MAX ? path->route.n_hops : 0;
        path__free(path);
        return NULL;
    }
    p->c.opened++;
    return path;
}

void onion_path_info(const struct onion_path *path, struct onion_path_info *out)
{
    *out = (struct onion_path_info){ .is_open = path->state == PATH_OPEN,
                                     .n_hops = path->route.n_hops,
                                     .hops = path->route.hops,
                                     .opened_ns = path->opened_ns,
                                     .build_ns = path->build_ns,
                                     .sent = path->counter,
                                     .recognised = path->recognised,
                                     .unrecognised = path->unrecognised,
                                     .repeated = path->repeated,
                                     .has_peer_stats = path->has_peer,
                                     .peer = path->peer };
}

/* ---- all of them ------------------------------------------------------------------------------
 */

struct onion_paths *onion_paths_create(struct onion_switch *sw)
{
    struct onion_paths *p = calloc(1, sizeof *p);
    struct mesh_status status;
    if (p == NULL)
        return NULL;
    p->sw = sw;
    p->mesh = onion_switch_mesh(sw);
    p->env = mesh_env(p->mesh);
    list_init(&p->all);
    env_timer_init(&p->miss, path__miss, p);
    mesh_get_status(p->mesh, &status);
    p->is_paced = !status.is_listed;
    mesh_bucket_init(&p->builds, ONION_BUILDS_LINK, PATH__BUILDS_BURST, env_now_ns(p->env));
    p->watcher = (struct mesh_watcher){ .link_up = link_up, .link_down = link_down, .arg = p };
    mesh_watch(p->mesh, &p->watcher);
    return p;
}

void onion_paths_destroy(struct onion_paths *p)
{
    if (p == NULL)
        return;
    while (!list_empty(&p->all))
        onion_path_close(container_of(p->all.next, struct onion_path, node));
    mesh_unwatch(&p->watcher);
    env_timer_stop(p->env, &p->miss);
    free(p);
}

size_t onion_paths_count(const struct onion_paths *p)
{
    return p->n;
}

static void row_of(const struct onion_path *path, struct onion_path_row *row)
{
    uint64_t since = path->opened_ns != 0 ? path->opened_ns : path->sent_ns;
    *row = (struct onion_path_row){ .number = path->number,
                                    .purpose = path->purpose != NULL ? path->purpose : "",
                                    .state = path->state == PATH_OPEN ? "open" : "building",
                                    .n_hops = path->route.n_hops,
                                    .build_ns = path->build_ns,
                                    .sent = path->counter,
                                    .received = path->recognised,
                                    .noise = path->unrecognised };
    if (since != 0)
        row->age_ns = env_now_ns(path->paths->env) - since;
    for (size_t i = 0; i < path->route.n_hops; i++)
        memcpy(row->hops[i], path->route.hops[i].id, sizeof row->hops[i]);
}

void onion_paths_rows(const struct onion_paths *p,
                      bool (*fn)(void *arg, const struct onion_path_row *row), void *arg)
{
    struct onion_path_row row;
    list_each_safe (n, &p->all) {
        row_of(container_of(n, struct onion_path, node), &row);
        if (!fn(arg, &row))
            return;
    }
}

struct mesh *onion_paths_mesh(struct onion_paths *p)
{
    return p->mesh;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t onion_paths_build_ns(const struct onion_paths *p)
{
    uint64_t sorted[PATH__RECENT];
    unsigned n = p->n_recent < PATH__RECENT ? p->n_recent : PATH__RECENT;
    if (n == 0)
        return 0;
    memcpy(sorted, p->recent, n * sizeof sorted[0]);
    qsort(sorted, n, sizeof sorted[0], by_size);
    return sorted[n / 2];
}

void onion_paths_metrics(const struct onion_paths *p, metric_fn fn, void *arg)
{
    static const char refused[] = "cyx_onion_build_status_total";
    static const char *const ends[] = { "destroyed", "link", "noise", "silent", "old" };
    const struct metric_out o = { fn, arg };
    metric_gauge(&o, "cyx_onion_own_paths", "paths that this node began", p->n);
    metric_counter(&o, "cyx_onion_own_built_total", "own paths built", p->c.built);
    metric_counter(&o, "cyx_onion_own_failed_total", "own paths that were not", p->c.failed);
    metric_counter(&o, "cyx_onion_own_waited_total",
                   "builds that waited for their turn on the first link", p->c.waited);
    metric_counter(&o, "cyx_onion_own_late_total", "builds that took three times the usual",
                   p->c.late);
    for (unsigned i = 1; i < ONION_STATUSES; i++)
        metric_labelled(&o, refused, "own builds that a relay refused, by its status", "status",
                        onion_status_text(i), p->c.refused[i]);
    for (unsigned i = 0; i <= ONION_PATH_OLD; i++)
        metric_labelled(&o, "cyx_onion_own_ended_total", "own paths that ended, by reason", "why",
                        ends[i], p->c.ended[i]);
    metric_counter(&o, "cyx_onion_own_cells_out_total", "cells sent on own paths", p->c.cells_sent);
    metric_counter(&o, "cyx_onion_own_cells_in_total", "cells recognised", p->c.cells_recognised);
    metric_counter(&o, "cyx_onion_own_cells_noise_total", "cells that came out as noise",
                   p->c.cells_unrecognised);
    metric_counter(&o, "cyx_onion_own_cells_repeated_total", "cells that came twice",
                   p->c.cells_repeated);
}

/* ---- the timers of an open path ----------------------------------------------------------------
 */

static void arm_keep(struct onion_path *path)
{
    struct env *e = path->paths->env;
    uint64_t span = ENV_S(PATH__KEEP_MAX_S - PATH__KEEP_MIN_S);
    env_timer_in(e, &path->keep_timer, ENV_S(PATH__KEEP_MIN_S) + env_random_below(e, span));
}

/* The STATS that keep it ask for an answer: a relay that swallows what comes, and says nothing, is
 * found out within minutes even where nothing else flows. */
static void keep(struct env_timer *t, void *arg)
{
    struct onion_path *path = arg;
    (void)t;
    arm_keep(path);
    onion_path_probe(path);
}

/* First it grows old, which its owner may use; then it is over. */
static void life(struct env_timer *t, void *arg)
{
    struct onion_path *path = arg;
    if (path->was_old) {
        path__end(path, ONION_PATH_OLD);
        return;
    }
    path->was_old = true;
    env_timer_set(path->paths->env, t, path->opened_ns + ENV_S(ONION_LIFE_S - PATH__LIFE_SPARE_S));
    if (path->ev.old != NULL)
        path->ev.old(path->arg);
}

static uint64_t probe_wait(const struct onion_path *path)
{
    uint64_t wait = PATH__PROBE_FACTOR * path->build_ns;
    return wait > ENV_MS(PATH__PROBE_MIN_MS) ? wait : ENV_MS(PATH__PROBE_MIN_MS);
}

static void probe(struct env_timer *t, void *arg)
{
    struct onion_path *path = arg;
    (void)t;
    if (path->probes == PATH__PROBES) {
        path__end(path, ONION_PATH_SILENT);
        return;
    }
    path->probes++;
    (void)path__stats(path, true);
    env_timer_in(path->paths->env, &path->probe_timer, probe_wait(path));
}

void onion_path_probe(struct onion_path *path)
{
    if (path->state == PATH_OPEN && path->probes == 0)
        probe(&path->probe_timer, path);
}

void path__timers_init(struct onion_path *path)
{
    env_timer_init(&path->build_timer, begin_task, path);
    env_timer_init(&path->keep_timer, keep, path);
    env_timer_init(&path->probe_timer, probe, path);
    env_timer_init(&path->life_timer, life, path);
}

/* PADDING at once: what never carried a cell is forgotten after half a minute. */
void path__opened(struct onion_path *path)
{
    struct env *e = path->paths->env;
    const struct onion_cell padding = { .command = ONION_CELL_PADDING };
    (void)onion_path_send(path, &padding);
    path->noise_ns = path->stats_ns = path->opened_ns;
    uint64_t span = ENV_S(PATH__OLD_MAX_S - PATH__OLD_MIN_S);
    env_timer_in(e, &path->life_timer, ENV_S(PATH__OLD_MIN_S) + env_random_below(e, span));
    if (path->is_kept)
        arm_keep(path);
}
