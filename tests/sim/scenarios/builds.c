#include "tests/sim/scenarios/builds.h"

#include <stdlib.h>

#include "onion/onion_internal.h"
#include "onion/path_internal.h"

struct build {
    struct builds *of;
    struct maze_node *at;
    unsigned hops;
    struct onion_route route;
    struct onion_path *path; /* NULL: not open */
};

static void note_failure(struct builds *b, const struct onion_path_built *how)
{
    if (how->code == CYX_EREFUSED && how->status < ONION_STATUSES)
        b->status[how->status]++;
    else if (how->code == CYX_ETIMEDOUT)
        b->silent++;
    else if (how->code == CYX_EPROTO)
        b->garbled++;
    else
        b->lost++;
}

static void opened(void *arg, const struct onion_path_built *how)
{
    struct build *x = arg;
    onion_picker_built(x->at->onion->picker, &x->route, how);
    if (how->code != 0) {
        x->path = NULL;
        note_failure(x->of, how);
        return;
    }
    x->of->built++;
    town_sample(&x->of->us, how->ns / 1000);
    if (x->of->is_kept)
        return;
    onion_path_close(x->path);
    x->path = NULL;
}

static void closed(void *arg, enum onion_path_end why)
{
    struct build *x = arg;
    (void)why;
    x->path = NULL;
    x->of->ended++;
}

static void ignore(void *arg, const struct onion_cell *c)
{
    (void)arg;
    (void)c;
}

static int find_route(struct build *x)
{
    struct onion_picker *p = x->at->onion->picker;
    uint8_t last[32];
    if (x->hops == 0)
        return onion_pick_end(p, NULL, &x->route, NULL);
    int code = onion_pick_pivot(p, NULL, last, NULL);
    return code != 0 ? code : onion_pick_to(p, last, x->hops, NULL, &x->route, NULL);
}

static void open_it(void *arg)
{
    static const struct onion_path_events ev = { .opened = opened,
                                                 .cell = ignore,
                                                 .closed = closed };
    struct build *x = arg;
    struct onion_path_options o = { .route = &x->route,
                                    .last.command = ONION_BUILD_END,
                                    .is_kept = x->of->is_kept,
                                    .purpose = "probe" };
    if (find_route(x) == 0)
        x->path = onion_path_open(x->at->onion->paths, &o, &ev, x, NULL);
    if (x->path == NULL)
        x->of->no_route++;
}

static void begin(void *arg)
{
    struct build *x = arg;
    if (!x->at->base.is_started)
        return;
    x->of->asked++;
    sim_node_enter(x->at->base.node, open_it, x);
}

struct builds *builds_create(struct maze *m, bool is_kept)
{
    struct builds *b = calloc(1, sizeof *b);
    if (b == NULL)
        abort();
    b->maze = m;
    b->is_kept = is_kept;
    return b;
}

void builds_add(struct builds *b, uint32_t user, unsigned hops, uint64_t in_ns)
{
    struct build *x = calloc(1, sizeof *x);
    if (b->n == b->cap) {
        b->cap = b->cap == 0 ? 64 : 2 * b->cap;
        b->all = realloc(b->all, b->cap * sizeof(struct build *));
    }
    if (x == NULL || b->all == NULL)
        abort();
    x->of = b;
    x->at = maze_user(b->maze, user);
    x->hops = hops;
    b->all[b->n++] = x;
    sim_at(b->maze->w, sim_now(b->maze->w) + in_ns, begin, x);
}

static void close_it(void *arg)
{
    struct build *x = arg;
    onion_path_close(x->path);
    x->path = NULL;
}

void builds_close(struct builds *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->all[i]->path != NULL)
            sim_node_enter(b->all[i]->at->base.node, close_it, b->all[i]);
}

static void junk_in(void *arg)
{
    struct build *x = arg;
    uint8_t noise[MESH_CELL];
    if (x->path == NULL)
        return;
    env_random(sim_node_env(x->at->base.node), noise, sizeof noise);
    const struct onion_cell c = { .command = noise[0] % 8,
                                  .kind = noise[1],
                                  .splice = noise[2],
                                  .payload = noise + 4,
                                  .len = noise[3] * 4 };
    (void)onion_path_send(x->path, &c);
    if (x->path->slot.link != NULL)
        (void)mesh_cell_send(x->path->slot.link, x->path->slot.path, noise);
}

uint64_t builds_junk(struct builds *b)
{
    uint64_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->all[i]->path == NULL || b->all[i]->path->state != PATH_OPEN)
            continue;
        sim_node_enter(b->all[i]->at->base.node, junk_in, b->all[i]);
        n += 2;
    }
    return n;
}

void builds_destroy(struct builds *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->all[i]);
    free(b->all);
    free(b->us.v);
    free(b);
}

uint64_t builds_permyriad(const struct builds *b)
{
    return b->asked > 0 ? 10000 * b->built / b->asked : 10000;
}

static void reason(struct sim_run *r, const char *key, const char *label, const char *why,
                   uint64_t n)
{
    if (n > 0)
        run_figure(r, run_text(r, "%s_%s", key, why), run_text(r, "%s: %s", label, why), n, "");
}

void builds_report(struct sim_run *r, struct builds *b, const char *key, const char *label)
{
    run_figure(r, run_text(r, "%s", key), run_text(r, "%s", label), b->asked, "");
    run_figure_real(r, run_text(r, "%s_percent", key), run_text(r, "%s: succeeded", label),
                    (double)builds_permyriad(b) / 100, "%");
    run_figure_real(r, run_text(r, "%s_p50", key), run_text(r, "%s: median time", label),
                    (double)town_percentile(&b->us, 50) / 1000, "ms");
    run_figure_real(r, run_text(r, "%s_p99", key), run_text(r, "%s: 99th percentile", label),
                    (double)town_percentile(&b->us, 99) / 1000, "ms");
    for (unsigned i = 1; i < ONION_STATUSES; i++)
        reason(r, run_text(r, "%s", key), label, run_text(r, "status_%u", i), b->status[i]);
    reason(r, key, label, "silent", b->silent);
    reason(r, key, label, "garbled", b->garbled);
    reason(r, key, label, "lost", b->lost);
    reason(r, key, label, "no_route", b->no_route);
}
