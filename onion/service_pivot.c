/* onion/service_pivot.c - registrations at pivots. Each has a secret of its own; who shows it on a
 * new path with a greater serial takes over, splices and all, so that paths are replaced without a
 * visitor noticing. Spec: protocol.md, section 11, "REGISTER", "Pivots are chosen by the service".
 */
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
        n += p->pivots[i].p != NULL && p->pivots[i].is_up;
    return n;
}

/* This relay won't do: its place is given to another, and the descriptor says so. */
static void pivot_replace(struct service_pivot *v)
{
    struct service_period *p = v->p;
    bool was_up = v->is_up;
    pivot_end(v);
    if (was_up)
        publish__wanted(p);
    pivots__tick(p);
    service__changed(p->s);
}

/* ---- what the path says
 * -------------------------------------------------------------------------- */

static void heard_cell(void *arg, const struct onion_cell *c)
{
    splices__heard(arg, c);
}

static void heard_stats(void *arg, const struct onion_stats *s)
{
    struct service_pivot *v = arg;
    struct service_period *p = v->p;
    uint64_t now = env_now_ns(p->s->o->env);
    v->effort = s->effort;
    uint32_t most = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        if (p->pivots[i].p != NULL && p->pivots[i].effort > most)
            most = p->pivots[i].effort;
    if (most != p->effort && now - p->effort_ns >= ENV_S(SERVICE__EFFORT_S)) {
        p->effort = most;
        p->effort_ns = now;
        publish__wanted(p);
    }
}

static void path_closed(void *arg, enum onion_path_end why)
{
    struct service_pivot *v = arg;
    (void)why;
    v->path = NULL;
    v->is_up = false;
    v->tries = 0;
    /* The pivot keeps the splices for half a minute: a new path takes them over. */
    if (v->next == NULL)
        path_begin(v);
    service__changed(v->p->s);
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
    bool is_new = !v->is_up;
    v->path = v->next;
    v->next = NULL;
    v->route = v->next_route;
    v->serial = v->next_serial;
    v->is_up = true;
    v->tries = 0;
    v->again_ms = 0;
    onion_path_close(old);
    register_later(v, SERVICE__PATH_MIN_S, SERVICE__PATH_MAX_S);
    if (is_new)
        publish__wanted(p);
    service__changed(p->s);
}

static const struct onion_path_events up_events = {
    .opened = next_opened, .cell = heard_cell, .stats = heard_stats, .closed = path_closed
};

/* ---- registering
 * ----------------------------------------------------------------------------------- */

static void fill_register(const struct service_pivot *v, struct onion_fields *f)
{
    const struct onion_service *s = v->p->s;
    struct onion_terms terms = { .rate = ONION_SPLICE_RATE,
                                 .burst = ONION_SPLICE_BURST,
                                 .most_open = (uint16_t)(ONION_CONNS / s->n_pivots) };
    memcpy(terms.seed, v->p->seed, sizeof terms.seed);
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
    int code = onion_pick_to(s->o->picker, v->id, s->hops, &avoid, &v->next_route, &err);
    if (code == CYX_ENOENT)
        code = onion_pick_to(s->o->picker, v->id, s->hops, NULL, &v->next_route, &err);
    return code == 0;
}

static void path_begin(struct service_pivot *v)
{
    struct onion_path_options o = { .route = &v->next_route,
                                    .is_kept = true,
                                    .purpose = "service" };
    if (v->next != NULL)
        return;
    v->tries++;
    v->next_serial = v->serial > v->next_serial ? v->serial + 1 : v->next_serial + 1;
    fill_register(v, &o.last);
    if (route_to(v))
        v->next = onion_path_open(v->p->s->o->paths, &o, &up_events, v, NULL);
    if (v->next == NULL)
        pivot_later(v);
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
    if (mesh_time(v->p->s->o->mesh) >= v->replace_s)
        pivot_replace(v);
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
    env_timer_in(o->env, &v->timer, 0);
    return true;
}

void pivots__tick(struct service_period *p)
{
    size_t want = onion_pick_pivots_wanted(p->s->o->picker, p->s->n_pivots), have = 0;
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++)
        have += p->pivots[i].p != NULL;
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
