/* onion/service_pivot.c - registrations at pivots. Each has a secret of its own; who shows it on a
 * new path with a greater serial takes over, splices and all, so that paths are replaced without a
 * visitor noticing. Spec: protocol.md, section 11, "REGISTER", "Pivots are chosen by the service".
 */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/writer.h"
#include "onion/service_internal.h"

static void pivot_later(struct service_pivot *v);
static void path_begin(struct service_pivot *v);

/* ---- ends -------------------------------------------------------------------------------------
 */

static void pivot_end(struct service_pivot *v)
{
    struct onion_service *s = v->p->s;
    env_timer_stop(s->o->env, &v->timer);
    splices__lost(v);
    onion_path_close(v->path);
    onion_path_close(v->next);
    sodium_memzero(v, sizeof *v);
}

void pivots__end(struct service_period *p)
{
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (p->pivots[i].p != NULL)
            pivot_end(&p->pivots[i]);
}

size_t pivots__up(const struct service_period *p)
{
    size_t n = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        n += p->pivots[i].p != NULL && p->pivots[i].is_up && !p->pivots[i].is_leaving;
    return n;
}

/* This relay won't do: its place is given to another, and the descriptor says so when that one is
 * there. */
static void pivot_replace(struct service_pivot *v)
{
    struct service_period *p = v->p;
    pivot_end(v);
    p->replaced++;
    pivots__tick(p);
    service__changed(p->s);
}

static bool has_free_place(const struct service_period *p)
{
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (p->pivots[i].p == NULL)
            return true;
    return false;
}

/* Its time is over: the next is made first, and those who meet us here go on for a while. */
static void pivot_leave(struct service_pivot *v)
{
    struct service_period *p = v->p;
    if (!has_free_place(p)) {
        pivot_end(v);
    } else {
        v->is_leaving = true;
        onion_path_close(v->next);
        v->next = NULL;
        env_timer_in(p->s->o->env, &v->timer, ENV_S(SERVICE__LEAVE_S));
    }
    pivots__tick(p);
}

/* ---- what the path says
 * -------------------------------------------------------------------------- */

static void heard_cell(void *arg, const struct onion_cell *c)
{
    splices__heard(arg, c);
}

static int by_effort(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The middle of what the pivots say, the lower one of two: one that lies about its load neither
 * frightens visitors of the others away nor lets a flood in. */
static uint32_t effort_of(const struct service_period *p)
{
    uint32_t said[ONION_PIVOTS_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++) {
        const struct service_pivot *v = &p->pivots[i];
        if (v->p != NULL && v->is_up && v->has_stats && !v->is_leaving)
            said[n++] = v->effort;
    }
    if (n == 0)
        return 0;
    qsort(said, n, sizeof said[0], by_effort);
    return said[(n - 1) / 2];
}

static void heard_stats(void *arg, const struct onion_stats *s)
{
    struct service_pivot *v = arg;
    struct service_period *p = v->p;
    uint64_t now = env_now_ns(p->s->o->env);
    v->effort = s->effort <= MESH_POW_EFFORT_MAX ? s->effort : MESH_POW_EFFORT_MAX;
    v->has_stats = true;
    uint32_t effort = effort_of(p);
    if (effort == p->effort || (p->effort_ns != 0 && now - p->effort_ns < ENV_S(SERVICE__EFFORT_S)))
        return;
    p->effort = effort;
    p->effort_ns = now;
    publish__wanted(p);
}

/* The pivot keeps the splices for half a minute: a new path takes them over. One that ends soon
 * counts as a try that failed, or a pivot could have paths built for as long as it likes. */
static void path_closed(void *arg, enum onion_path_end why)
{
    struct service_pivot *v = arg;
    struct onion_service *s = v->p->s;
    bool was_steady = env_now_ns(s->o->env) - v->up_ns >= ENV_S(SERVICE__STEADY_S);
    onion_picker_ended(s->o->picker, &v->route, why);
    v->path = NULL;
    v->is_up = v->has_stats = false;
    if (was_steady) {
        v->tries = 0;
        v->again_ms = 0;
        v->p->replaced = 0;
    }
    service__changed(s);
    if (v->is_leaving)
        pivot_end(v);
    else if (v->next == NULL && (was_steady || why == ONION_PATH_LINK_DOWN))
        path_begin(v); /* our guard's end is no fault of the pivot's */
    else if (v->next == NULL)
        pivot_later(v);
}

static void register_later(struct service_pivot *v, uint64_t least_s, uint64_t most_s)
{
    struct env *e = v->p->s->o->env;
    env_timer_in(e, &v->timer, ENV_S(least_s) + env_random_below(e, ENV_S(most_s - least_s)));
}

static void next_opened(void *arg, const struct onion_path_built *b)
{
    struct service_pivot *v = arg;
    struct service_period *p = v->p;
    onion_picker_built(p->s->o->picker, &v->next_route, b);
    if (b->code != 0) {
        v->next = NULL;
        pivot_later(v);
        return;
    }
    struct onion_path *old = v->path;
    v->path = v->next;
    v->next = NULL;
    v->route = v->next_route;
    v->serial = v->next_serial;
    v->is_up = true;
    v->up_ns = env_now_ns(p->s->o->env);
    onion_path_close(old);
    register_later(v, SERVICE__PATH_MIN_S, SERVICE__PATH_MAX_S);
    if (!v->is_listed)
        publish__wanted(p);
    service__changed(p->s);
}

/* The late status isn't waited for: another way to the same pivot, with a greater serial. */
static void next_late(void *arg)
{
    struct service_pivot *v = arg;
    onion_picker_doubt(v->p->s->o->picker, &v->next_route);
    onion_path_close(v->next);
    v->next = NULL;
    if (v->tries < SERVICE__TRIES)
        path_begin(v);
    else
        pivot_later(v);
}

static const struct onion_path_events up_events = { .opened = next_opened,
                                                    .late = next_late,
                                                    .cell = heard_cell,
                                                    .stats = heard_stats,
                                                    .closed = path_closed };

/* ---- registering
 * ----------------------------------------------------------------------------------- */

static uint16_t most_open(const struct onion_service *s)
{
    return (uint16_t)(ONION_CONNS / s->n_pivots);
}

static struct onion_terms terms_of(const struct service_period *p)
{
    struct onion_terms terms = { .rate = ONION_SPLICE_RATE,
                                 .burst = ONION_SPLICE_BURST,
                                 .most_open = most_open(p->s) };
    memcpy(terms.seed, p->seed, sizeof terms.seed);
    return terms;
}

static void tell_terms(struct service_pivot *v)
{
    uint8_t payload[ONION_TERMS];
    const struct onion_terms terms = terms_of(v->p);
    onion_terms_write(payload, &terms);
    /* Lost: the next registration brings them, and until then the pivot tells visitors its seed. */
    (void)pivot__send(v, &(struct onion_cell){
                             .command = ONION_CELL_TERMS, .payload = payload, .len = ONION_TERMS });
}

/* Whoever hoards proofs can't hoard them for long. */
void pivots__seed_tick(struct service_period *p)
{
    struct env *e = p->s->o->env;
    if (p->effort == 0 || env_now_ns(e) - p->seed_ns < ENV_S(SERVICE__SEED_S))
        return;
    p->seed_ns = env_now_ns(e);
    env_random(e, p->seed, sizeof p->seed);
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (p->pivots[i].p != NULL && p->pivots[i].is_up)
            tell_terms(&p->pivots[i]);
    publish__wanted(p);
}

static void fill_register(const struct service_pivot *v, struct onion_fields *f)
{
    struct onion_terms terms = terms_of(v->p);
    f->command = ONION_BUILD_REGISTER;
    memcpy(f->target, v->secret, sizeof f->target);
    struct writer w = writer_on(f->rest, sizeof f->rest);
    onion_terms_write(writer_reserve(&w, ONION_TERMS), &terms);
    writer_u64(&w, v->next_serial);
}

static bool route_to(struct service_pivot *v)
{
    struct onion_service *s = v->p->s;
    uint8_t ids[ONION_PIVOTS_MAX][32];
    size_t n = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (v->p->pivots[i].p != NULL)
            memcpy(ids[n++], v->p->pivots[i].id, 32);
    const struct onion_avoid avoid = { .ids = (const uint8_t(*)[32])ids, .n = n };
    struct cyx_err err = { 0 };
    return onion_pick_to(s->o->picker, v->id, s->hops, &avoid, &v->next_route, &err) == 0;
}

static void path_begin(struct service_pivot *v)
{
    struct onion_path_options o = { .route = &v->next_route,
                                    .is_kept = true,
                                    .purpose = "service" };
    struct onion *onion = v->p->s->o;
    struct cyx_err err = { 0 };
    if (v->next != NULL)
        return;
    v->next_serial = v->serial > v->next_serial ? v->serial + 1 : v->next_serial + 1;
    fill_register(v, &o.last);
    if (route_to(v)) {
        v->next = onion_path_open(onion->paths, &o, &up_events, v, &err);
        if (v->next == NULL)
            onion_picker_not_opened(onion->picker, &v->next_route, err.code);
    }
    sodium_memzero(&o.last, sizeof o.last);
    if (v->next != NULL)
        v->tries++;
    else /* our own affair: no fault of the pivot's, and nobody else's time */
        env_timer_in(onion->env, &v->timer, ENV_MS(SERVICE__AGAIN_MS));
}

static void pivot_later(struct service_pivot *v)
{
    if (!v->is_up && v->tries >= SERVICE__TRIES) {
        pivot_replace(v);
        return;
    }
    v->again_ms = v->again_ms == 0 ? SERVICE__AGAIN_MS : v->again_ms * 2;
    if (v->again_ms > SERVICE__AGAIN_MAX_MS)
        v->again_ms = SERVICE__AGAIN_MAX_MS;
    env_timer_in(v->p->s->o->env, &v->timer, ENV_MS(v->again_ms));
}

static void timer(struct env_timer *t, void *arg)
{
    struct service_pivot *v = arg;
    (void)t;
    if (v->is_leaving) {
        pivot_end(v);
        return;
    }
    if (v->is_up) {
        v->tries = 0;
        v->again_ms = 0;
        v->p->replaced = 0;
    }
    if (mesh_time(v->p->s->o->mesh) >= v->replace_s)
        pivot_leave(v);
    else
        path_begin(v);
}

/* ---- choosing
 * -------------------------------------------------------------------------------------- */

/* Pivots of all periods: no relay learns two tokens of one service. */
static size_t all_ids(const struct onion_service *s, uint8_t (*ids)[32])
{
    size_t n = 0;
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        for (unsigned k = 0; k < ONION_PIVOTS_MAX; k++)
            if (s->periods[i].period != 0 && s->periods[i].pivots[k].p != NULL)
                memcpy(ids[n++], s->periods[i].pivots[k].id, 32);
    return n;
}

static int draw(struct service_period *p, uint8_t id[static 32])
{
    uint8_t ids[SERVICE__PERIODS * ONION_PIVOTS_MAX][32];
    struct onion_service *s = p->s;
    struct onion_avoid avoid = { .ids = (const uint8_t(*)[32])ids, .n = all_ids(s, ids) };
    if (onion_pick_pivot(s->o->picker, &avoid, id, NULL) == 0)
        return 0;
    /* Few relays: those of the other period have to do, but none twice in one descriptor. */
    avoid.n = 0;
    for (unsigned k = 0; k < ONION_PIVOTS_MAX; k++)
        if (p->pivots[k].p != NULL)
            memcpy(ids[avoid.n++], p->pivots[k].id, 32);
    return onion_pick_pivot(s->o->picker, &avoid, id, NULL);
}

/* Pivots that fail one after the other: whoever makes them fail gains no new ones at once. */
static uint64_t again_after(unsigned replaced)
{
    uint64_t ms = replaced == 0 ? 0 : (uint64_t)SERVICE__AGAIN_MS << (replaced < 8 ? replaced : 8);
    return ENV_MS(ms < SERVICE__AGAIN_MAX_MS ? ms : SERVICE__AGAIN_MAX_MS);
}

static bool pivot_begin(struct service_period *p, struct service_pivot *v)
{
    struct onion *o = p->s->o;
    uint8_t id[32];
    if (draw(p, id) != 0)
        return false;
    *v = (struct service_pivot){ .p = p };
    memcpy(v->id, id, sizeof v->id);
    env_random(o->env, v->secret, sizeof v->secret);
    crypto_h(v->token, "cyx token", &BYTES(v->secret, sizeof v->secret), 1);
    v->next_serial = mesh_time(o->mesh);
    uint64_t span = SERVICE__PIVOT_MAX_S - SERVICE__PIVOT_MIN_S;
    v->replace_s = mesh_time(o->mesh) + SERVICE__PIVOT_MIN_S + env_random_below(o->env, span);
    env_timer_init(&v->timer, timer, v);
    env_timer_in(o->env, &v->timer, again_after(p->replaced));
    return true;
}

void pivots__tick(struct service_period *p)
{
    size_t want = onion_pick_pivots_wanted(p->s->o->picker, p->s->n_pivots), have = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        have += p->pivots[i].p != NULL && !p->pivots[i].is_leaving;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX && have < want; i++) {
        if (p->pivots[i].p != NULL)
            continue;
        if (!pivot_begin(p, &p->pivots[i])) {
            p->s->trouble = "no relay is left to be a pivot";
            return;
        }
        have++;
    }
}

int pivot__send(struct service_pivot *v, const struct onion_cell *c)
{
    return v->path != NULL ? onion_path_send(v->path, c) : CYX_ECLOSED;
}

bool pivot__may_splice(const struct service_pivot *v)
{
    return v->n_splices < (size_t)SERVICE__SPLICES_FACTOR * most_open(v->p->s);
}
