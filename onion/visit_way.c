/* onion/visit_way.c - the paths of a visit: choose a pivot, do the work it asks for, build with the
 * splice in the train. Spec: protocol.md, sections 11 ("SPLICE"), 13 and 14. */
#include <stdlib.h>
#include <string.h>

#include "onion/visit_internal.h"

/* Work for a splice, on the pool; outlives its way if that goes. */
struct way_work {
    struct way *w; /* NULL: nobody wants it any more */
    struct onion *o;
    struct mesh_pow_subject subject;
    uint32_t effort;
    uint8_t nonce[16], proof[MESH_POW_PROOF];
    atomic_bool cancel;
    int code;
};

static void way_failed(struct way *w);
static void build(struct way *w, const uint8_t proof[static MESH_POW_PROOF]);

/* ---- finding them
 * --------------------------------------------------------------------------------- */

struct way *way__by_number(struct visit *v, uint32_t number)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v != NULL && v->ways[i].number == number)
            return &v->ways[i];
    return NULL;
}

struct way *way__up(struct visit *v)
{
    struct way *best = NULL;
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v != NULL && v->ways[i].is_up &&
            (best == NULL || v->ways[i].number > best->number))
            best = &v->ways[i];
    return best;
}

size_t ways__under_way(const struct visit *v)
{
    size_t n = 0;
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        n += v->ways[i].v != NULL && !v->ways[i].is_up;
    return n;
}

static void way_close(struct way *w)
{
    if (w->work != NULL) {
        w->work->w = NULL;
        atomic_store(&w->work->cancel, true);
    }
    onion_path_close(w->path);
    sodium_memzero(w, sizeof *w);
}

void ways__close(struct visit *v)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v != NULL)
            way_close(&v->ways[i]);
}

void ways__keep_only(struct visit *v, const struct way *keep)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++) {
        struct way *w = &v->ways[i];
        if (w->v == NULL || w == keep)
            continue;
        uint32_t number = w->number;
        way_close(w);
        if (v->conn != NULL)
            onion_conn_path_down(v->conn, number);
    }
}

/* ---- work
 * ------------------------------------------------------------------------------------------ */

static void work_run(void *arg)
{
    struct way_work *k = arg;
    k->code = mesh_pow_solve(&k->subject, k->effort, k->nonce, &k->cancel, k->proof, NULL);
}

static void work_done(void *arg, int code)
{
    struct way_work *k = arg;
    struct way *w = k->w;
    if (code == 0)
        code = k->code;
    if (w != NULL) {
        w->work = NULL;
        k->o->c.work_done += code == 0;
        if (code == 0)
            build(w, k->proof);
        else
            way_failed(w);
    }
    free(k);
}

static void work_begin(struct way *w, const uint8_t seed[static 16], uint32_t effort)
{
    struct visit *v = w->v;
    const struct onion_pivot *p = &v->d.inner.pivots[w->pivot];
    struct way_work *k = calloc(1, sizeof *k);
    if (k == NULL) {
        way_failed(w);
        return;
    }
    k->w = w;
    k->o = v->o;
    k->effort = effort;
    k->subject.purpose = MESH_POW_SPLICE;
    memcpy(k->subject.seed, seed, sizeof k->subject.seed);
    memcpy(k->subject.x, p->token, sizeof k->subject.x);
    memcpy(k->subject.y, p->id, sizeof k->subject.y);
    env_random(v->o->env, k->nonce, sizeof k->nonce);
    w->work = k;
    memcpy(w->seed, seed, sizeof w->seed);
    w->effort = effort;
    if (env_work(v->o->env, work_run, work_done, k, NULL) == 0)
        return;
    w->work = NULL;
    free(k);
    way_failed(w);
}

/* What we are ready to do: a pivot that lies about the effort only loses visitors. */
static bool is_too_much(const struct visit *v, uint32_t effort)
{
    uint64_t listed = v->d.inner.has_proof ? v->d.inner.effort : 0;
    uint64_t most = listed * VISIT__EFFORT_FACTOR;
    if (most < VISIT__EFFORT_LEAST)
        most = VISIT__EFFORT_LEAST;
    return effort > most || effort > VISIT__EFFORT_MAX;
}

/* ---- what the path says
 * ------------------------------------------------------------------------------ */

static void heard_cell(void *arg, const struct onion_cell *c)
{
    struct way *w = arg;
    struct visit *v = w->v;
    if (c->command == ONION_CELL_CLOSE) {
        bool is_limit = c->len == 1 && c->payload[0] == ONION_CLOSE_LIMIT;
        v->worst = is_limit ? ONION_FAIL_BUSY : ONION_FAIL_UNREACHABLE;
        way_failed(w);
    } else if (c->command == ONION_CELL_DATA && c->kind == ONION_KIND_QUIC) {
        v->heard = w->number;
        (void)onion_conn_received(v->conn, w->number, c->payload, c->len);
    }
}

static void way_up(struct way *w)
{
    struct visit *v = w->v;
    w->is_up = true;
    v->is_silent = false;
    v->tried = 1u << w->pivot; /* should it fail, a new round begins */
    visit__step(v, ONION_STAGE_PATH, ONION_FAIL_NONE, "spliced at pivot %zu of %zu, %zu hops",
                w->pivot + 1, v->d.inner.n_pivots, w->route.n_hops);
    onion_conn_path_up(v->conn, w->number, &w->early, w->went);
    /* Before the service has answered it may do so on any way; after, the newest is the one. */
    if (v->state == VISIT_OPEN) {
        v->o->c.replaced_paths++;
        ways__keep_only(v, w);
    }
}

static enum onion_fail fail_of(const struct onion_path_built *b)
{
    if (b->code == CYX_ETIMEDOUT)
        return ONION_FAIL_TIMEOUT;
    if (b->code == CYX_EREFUSED && b->status == ONION_MORE_WORK)
        return ONION_FAIL_EFFORT;
    if (b->code == CYX_EREFUSED && b->status == ONION_BUSY)
        return ONION_FAIL_BUSY;
    return ONION_FAIL_UNREACHABLE;
}

static bool is_last_hop(const struct way *w, const struct onion_path_built *b)
{
    return b->code == CYX_EREFUSED && b->hop + 1 == w->route.n_hops;
}

static void opened(void *arg, const struct onion_path_built *b)
{
    struct way *w = arg;
    struct visit *v = w->v;
    onion_picker_built(v->o->picker, &w->route, b);
    if (b->code == 0) {
        way_up(w);
        return;
    }
    w->path = NULL;
    v->worst = fail_of(b);
    if (is_last_hop(w, b) && b->status == ONION_MORE_WORK && !is_too_much(v, b->effort)) {
        uint8_t seed[16];
        memcpy(seed, b->seed, sizeof seed);
        work_begin(w, seed, b->effort);
        return;
    }
    if (is_last_hop(w, b) && b->status == ONION_NO_TOKEN)
        visit__no_token(v);
    way_failed(w);
}

/* Another one beside it: the same first flight, through another pivot. */
static void late(void *arg)
{
    struct way *w = arg;
    w->is_late = true;
    (void)way__begin(w->v);
}

static void closed(void *arg, enum onion_path_end why)
{
    struct way *w = arg;
    (void)why;
    w->path = NULL;
    way_failed(w);
}

/* The way is over; another is begun unless one is under way or works. */
static void way_failed(struct way *w)
{
    struct visit *v = w->v;
    uint32_t number = w->number;
    bool was_up = w->is_up;
    way_close(w);
    if (was_up)
        onion_conn_path_down(v->conn, number);
    if (v->state == VISIT_OVER || v->fetching != NULL || ways__under_way(v) > 0 ||
        (way__up(v) != NULL && !v->is_silent))
        return;
    if (was_up)
        v->tries = 0;
    if (way__up(v) != NULL)
        ways__another(v);
    else if (!way__begin(v))
        visit__lost_ways(v);
}

static const struct onion_path_events events = {
    .opened = opened, .late = late, .cell = heard_cell, .closed = closed
};

/* ---- building
 * ------------------------------------------------------------------------------------------ */

static void fill_splice(const struct way *w, const uint8_t proof[static MESH_POW_PROOF],
                        struct onion_fields *f)
{
    f->command = ONION_BUILD_SPLICE;
    memcpy(f->target, w->v->d.inner.pivots[w->pivot].token, sizeof f->target);
    if (w->effort == 0)
        return;
    memcpy(f->rest, w->seed, 4);
    memcpy(f->rest + 4, proof, MESH_POW_PROOF);
}

static void build(struct way *w, const uint8_t proof[static MESH_POW_PROOF])
{
    struct visit *v = w->v;
    struct onion_path_options o = { .route = &w->route, .is_kept = true, .purpose = "visit" };
    fill_splice(w, proof, &o.last);
    w->went = ONION_EARLY_TO_SEND;
    if (onion_conn_early(v->conn, &w->early) != 0) {
        way_failed(w);
        return;
    }
    if (w->route.n_hops <= ONION_EARLY_HOPS_MAX) {
        o.last.early_kind = (uint8_t)w->early.kind;
        o.last.early_len = (uint16_t)w->early.len;
        o.early = w->early.bytes;
        w->went = ONION_EARLY_WENT;
    }
    w->path = onion_path_open(v->o->paths, &o, &events, w, NULL);
    if (w->path == NULL)
        way_failed(w);
}

static struct way *unused(struct visit *v)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v == NULL)
            return &v->ways[i];
    return NULL;
}

/* A random pivot that wasn't tried. SIZE_MAX: none. */
static size_t draw_pivot(struct visit *v)
{
    size_t n = v->d.inner.n_pivots, left = 0;
    for (size_t i = 0; i < n; i++)
        left += (v->tried >> i & 1) == 0;
    if (left == 0)
        return SIZE_MAX;
    uint64_t skip = env_random_below(v->o->env, left);
    for (size_t i = 0; i < n; i++)
        if ((v->tried >> i & 1) == 0 && skip-- == 0)
            return i;
    return SIZE_MAX;
}

static void close_oldest(struct visit *v)
{
    struct way *oldest = NULL;
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (oldest == NULL || v->ways[i].number < oldest->number)
            oldest = &v->ways[i];
    uint32_t number = oldest->number;
    way_close(oldest);
    onion_conn_path_down(v->conn, number);
}

/* Before the handshake is over all ways stand, since the answer may come over any: a pivot that
 * forwards nothing must neither be drawn again and again nor keep its place. It is known after its
 * way is gone, too. */
void ways__another(struct visit *v)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v != NULL && v->ways[i].is_up)
            v->mute |= 1u << v->ways[i].pivot;
    v->tried = v->mute;
    if (unused(v) == NULL)
        close_oldest(v);
    if (way__begin(v))
        return;
    v->mute = v->tried = 0; /* no other pivot: another path to one of these */
    (void)way__begin(v);
}

static bool route_to(struct visit *v, struct way *w)
{
    uint8_t ids[ONION_PIVOTS_MAX][32];
    size_t n = v->d.inner.n_pivots;
    for (size_t i = 0; i < n; i++)
        memcpy(ids[i], v->d.inner.pivots[i].id, 32);
    const struct onion_avoid avoid = { .ids = (const uint8_t(*)[32])ids, .n = n };
    struct cyx_err err = { 0 };
    int code =
        onion_pick_to(v->o->picker, ids[w->pivot], v->o->config.hops, &avoid, &w->route, &err);
    if (code == CYX_ENOENT) /* a small network: the other pivots have to do */
        code = onion_pick_to(v->o->picker, ids[w->pivot], v->o->config.hops, NULL, &w->route, &err);
    if (code == CYX_EAGAIN)
        v->worst = ONION_FAIL_NOT_READY;
    return code == 0;
}

bool way__begin(struct visit *v)
{
    static const uint8_t none[MESH_POW_PROOF];
    while (v->tries < VISIT__TRIES) {
        struct way *w = unused(v);
        size_t pivot = draw_pivot(v);
        if (w == NULL || pivot == SIZE_MAX)
            return false;
        v->tries++;
        v->tried |= 1u << pivot;
        *w = (struct way){ .v = v, .pivot = pivot, .number = ++v->next_number };
        w->begun_ns = env_now_ns(v->o->env);
        if (!route_to(v, w)) {
            *w = (struct way){ .v = NULL };
            continue;
        }
        if (v->d.inner.has_proof && v->d.inner.effort > 0)
            work_begin(w, v->d.inner.seed, v->d.inner.effort);
        else
            build(w, none);
        return true;
    }
    return false;
}
