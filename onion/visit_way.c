/* onion/visit_way.c - the paths of a visit: choose a pivot, do the work it asks for, build with the
 * splice in the train. Spec: protocol.md, sections 11 ("SPLICE"), 13 and 14. */
#include <stdlib.h>
#include <string.h>

#include "onion/visit_internal.h"

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

bool ways__any_good(const struct visit *v)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++)
        if (v->ways[i].v != NULL && !(v->ways[i].is_up && v->ways[i].is_dead) &&
            !v->ways[i].is_late && !v->ways[i].is_replaced)
            return true;
    return false;
}

void ways__fresh_round(struct visit *v)
{
    v->tries = v->tried = 0;
    v->was_refetched = v->is_refused = false;
    v->rest_ms = 0;
}

static void way_close(struct way *w)
{
    way__work_drop(w);
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

/* The connection went on to `by`: what is on its way to us on the others still comes in, but for
 * those that brought nothing lately. */
static void replace_others(struct visit *v, const struct way *by)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++) {
        struct way *w = &v->ways[i];
        if (w->v == NULL || w == by)
            continue;
        w->is_replaced = w->is_up;
        if (w->is_up && !w->is_dead)
            continue;
        uint32_t number = w->number;
        way_close(w);
        onion_conn_path_down(v->conn, number);
    }
    env_timer_in(v->o->env, &v->overlap, ENV_MS(VISIT__OVERLAP_MS));
}

void ways__overlap_over(struct visit *v)
{
    for (unsigned i = 0; i < VISIT__WAYS; i++) {
        struct way *w = &v->ways[i];
        if (w->v == NULL || !w->is_replaced)
            continue;
        uint32_t number = w->number;
        way_close(w);
        onion_conn_path_down(v->conn, number);
    }
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
        v->is_refused = true;
        way__failed(w);
    } else if (c->command == ONION_CELL_DATA && c->kind == ONION_KIND_QUIC) {
        v->heard = w->number;
        v->heard_ns = env_now_ns(v->o->env);
        w->is_dead = false;
        (void)onion_conn_received(v->conn, w->number, c->payload, c->len);
    }
}

static void way_up(struct way *w)
{
    struct visit *v = w->v;
    w->is_up = true;
    w->is_late = false;
    w->up_ns = env_now_ns(v->o->env);
    visit__step(v, ONION_STAGE_PATH, ONION_FAIL_NONE, "spliced at pivot %zu of %zu, %zu hops",
                w->place + 1, v->d.inner.n_pivots, w->route.n_hops);
    onion_conn_path_up(v->conn, w->number, &w->early, w->went);
    if (v->state == VISIT_CONNECTING)
        visit__expect_answer(v);
    /* Before the service has answered it may do so on any way; after, the newest is the one. */
    if (v->state == VISIT_OPEN) {
        v->o->c.replaced_paths++;
        replace_others(v, w);
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
    if (is_last_hop(w, b) && b->status == ONION_MORE_WORK && !way__is_too_much(v, b->effort) &&
        w->works < VISIT__WORKS) {
        uint8_t seed[16];
        memcpy(seed, b->seed, sizeof seed);
        way__work(w, seed, b->effort);
        return;
    }
    v->is_refused |= is_last_hop(w, b);
    if (is_last_hop(w, b) && b->status == ONION_NO_TOKEN)
        visit__no_token(v);
    way__failed(w);
}

/* Another one beside it: the same first flight, through another pivot. */
static void late(void *arg)
{
    struct way *w = arg;
    struct visit *v = w->v;
    onion_picker_doubt(v->o->picker, &w->route);
    w->is_late = true;
    if (v->state >= VISIT_LEAVING || visit__needs_descriptor(v) || way__begin(v))
        return;
    if (!ways__any_good(v))
        visit__none_now(v); /* it may come all the same */
}

/* Its relays will end it before long: the next is made meanwhile. If that fails its end is like any
 * other's. */
static void old(void *arg)
{
    struct way *w = arg;
    struct visit *v = w->v;
    if (v->state != VISIT_OPEN || w->is_replaced || ways__under_way(v) > 0)
        return;
    ways__fresh_round(v);
    (void)way__begin(v);
}

static void closed(void *arg, enum onion_path_end why)
{
    struct way *w = arg;
    onion_picker_ended(w->v->o->picker, &w->route, why);
    w->path = NULL;
    way__failed(w);
}

/* The way is over; another is begun unless one is under way or works. */
void way__failed(struct way *w)
{
    struct visit *v = w->v;
    uint32_t number = w->number;
    bool was_up = w->is_up;
    bool was_steady = was_up && env_now_ns(v->o->env) - w->up_ns >= ENV_S(VISIT__STEADY_S);
    way_close(w);
    if (was_up)
        onion_conn_path_down(v->conn, number);
    if (v->state >= VISIT_LEAVING || visit__needs_descriptor(v) || v->rest.is_set ||
        ways__any_good(v))
        return;
    if (was_steady)
        ways__fresh_round(v);
    if (!way__begin(v))
        visit__lost_ways(v);
}

static const struct onion_path_events events = {
    .opened = opened, .late = late, .old = old, .cell = heard_cell, .closed = closed
};

/* ---- building
 * ------------------------------------------------------------------------------------------ */

static void fill_splice(const struct way *w, const uint8_t proof[static MESH_POW_PROOF],
                        struct onion_fields *f)
{
    f->command = ONION_BUILD_SPLICE;
    memcpy(f->target, w->pivot.token, sizeof f->target);
    if (w->effort == 0)
        return;
    memcpy(f->rest, w->seed, 4);
    memcpy(f->rest + 4, proof, MESH_POW_PROOF);
}

void way__build(struct way *w, const uint8_t proof[static MESH_POW_PROOF])
{
    struct visit *v = w->v;
    struct onion_path_options o = { .route = &w->route, .is_kept = true, .purpose = "visit" };
    fill_splice(w, proof, &o.last);
    w->went = ONION_EARLY_TO_SEND;
    if (onion_conn_early(v->conn, &w->early) != 0) {
        way__failed(w);
        return;
    }
    if (w->route.n_hops <= ONION_EARLY_HOPS_MAX) {
        o.last.early_kind = (uint8_t)w->early.kind;
        o.last.early_len = (uint16_t)w->early.len;
        o.early = w->early.bytes;
        w->went = ONION_EARLY_WENT;
    }
    struct cyx_err err = { 0 };
    w->path = onion_path_open(v->o->paths, &o, &events, w, &err);
    sodium_memzero(&o.last, sizeof o.last);
    if (w->path != NULL)
        return;
    onion_picker_not_opened(v->o->picker, &w->route, err.code);
    way__failed(w);
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

static bool route_to(struct visit *v, struct way *w)
{
    uint8_t ids[ONION_PIVOTS_MAX][32];
    size_t n = v->d.inner.n_pivots;
    for (size_t i = 0; i < n; i++)
        memcpy(ids[i], v->d.inner.pivots[i].id, 32);
    const struct onion_avoid avoid = { .ids = (const uint8_t(*)[32])ids, .n = n };
    struct cyx_err err = { 0 };
    int code = onion_pick_to(v->o->picker, w->pivot.id, v->o->config.hops, &avoid, &w->route, &err);
    if (code == CYX_EAGAIN)
        v->worst = ONION_FAIL_NOT_READY;
    return code == 0;
}

static void begin_at(struct visit *v, struct way *w, size_t place)
{
    *w = (struct way){ .v = v, .place = place, .number = ++v->next_number };
    w->pivot = v->d.inner.pivots[place];
}

bool way__begin(struct visit *v)
{
    static const uint8_t none[MESH_POW_PROOF];
    const struct onion_inner *in = &v->d.inner;
    bool wants_work = in->has_proof && in->effort > 0;
    if (wants_work && way__is_too_much(v, in->effort)) {
        v->worst = ONION_FAIL_EFFORT; /* never without the user's word */
        return false;
    }
    while (v->tries < VISIT__TRIES) {
        struct way *w = unused(v);
        size_t place = draw_pivot(v);
        if (w == NULL || place == SIZE_MAX)
            return false;
        v->tries++;
        v->tried |= 1u << place;
        begin_at(v, w, place);
        if (!route_to(v, w)) {
            sodium_memzero(w, sizeof *w);
            continue;
        }
        if (wants_work)
            way__work(w, in->seed, in->effort);
        else
            way__build(w, none);
        return true; /* it may be over already, and v with it */
    }
    return false;
}

unsigned ways__places(const struct visit *v)
{
    unsigned places = 0;
    for (size_t i = 0; i < v->d.inner.n_pivots; i++)
        for (unsigned k = 0; k < VISIT__WAYS; k++)
            if (v->ways[k].v != NULL &&
                memcmp(v->ways[k].pivot.id, v->d.inner.pivots[i].id, 32) == 0)
                places |= 1u << i;
    return places;
}

void ways__make_room(struct visit *v)
{
    struct way *oldest = &v->ways[0];
    if (unused(v) != NULL)
        return;
    for (unsigned i = 1; i < VISIT__WAYS; i++)
        if (v->ways[i].number < oldest->number)
            oldest = &v->ways[i];
    uint32_t number = oldest->number;
    way_close(oldest);
    onion_conn_path_down(v->conn, number);
}

/* All of them were tried and none brings an answer: those without a way now have another turn. */
void ways__beside(struct visit *v)
{
    ways__make_room(v);
    visit__expect_answer(v); /* nothing to begin: the next look comes all the same */
    if (way__begin(v))
        return;
    v->tried = ways__places(v);
    (void)way__begin(v);
}
