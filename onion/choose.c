#include "onion/choose.h"

#include <string.h>

/* What gives way where nothing fits otherwise. */
enum leniency {
    NOTHING,
    GUARD_EXCLUDED, /* the guard may be one of those excluded: there are three guards and no more,
                       and whoever can't reach a service for that tells it which they are */
    ALL_EXCLUDED,   /* in a very small network */
};

/* A path as it is put together. */
struct draft {
    const struct onion_wish *w;
    const struct onion_relays *relays;
    enum leniency lenient;
    struct onion_kin last_kin;
    const struct onion_candidate *hops[ONION_HOPS_MAX]; /* those chosen, but for a given last one */
    size_t n;
};

static bool is_excluded(const struct onion_wish *w, const uint8_t id[static 32])
{
    for (size_t i = 0; i < w->n_exclude; i++)
        if (memcmp(w->exclude[i], id, 32) == 0)
            return true;
    return false;
}

/* May it be the next hop, after those that are chosen? */
static bool fits(const struct draft *d, const struct onion_candidate *r)
{
    bool is_lab = onion_relays_is_lab(d->relays);
    if (d->lenient < (d->n == 0 ? GUARD_EXCLUDED : ALL_EXCLUDED) && is_excluded(d->w, r->id))
        return false;
    if (d->w->last != NULL && (memcmp(d->w->last, r->id, 32) == 0 ||
                               (!is_lab && onion_kin_is_near(&d->last_kin, &r->kin))))
        return false;
    for (size_t i = 0; i < d->n; i++)
        if (d->hops[i] == r || (!is_lab && onion_kin_is_near(&d->hops[i]->kin, &r->kin)))
            return false;
    return true;
}

static bool may_draw(const void *arg, const struct onion_candidate *r)
{
    return r->may_path && fits(arg, r);
}

/* ---- hop by hop ------------------------------------------------------------------------------ */

static bool push(struct draft *d, const struct onion_candidate *r)
{
    if (r == NULL)
        return false;
    d->hops[d->n++] = r;
    return true;
}

static bool push_random(struct draft *d, struct env *env)
{
    return push(d, onion_relays_draw(d->relays, env, may_draw, d));
}

/* Any of the second layer that fits, all alike: they were drawn by weight. */
static bool push_second(struct draft *d, const struct onion_guards *g, struct env *env)
{
    const uint8_t *ids[ONION_SECOND];
    const struct onion_candidate *fit[ONION_SECOND];
    size_t n = onion_guards_second(g, ids), n_fit = 0;
    for (size_t i = 0; i < n; i++) {
        const struct onion_candidate *r = onion_relays_find(d->relays, ids[i]);
        if (r != NULL && fits(d, r))
            fit[n_fit++] = r;
    }
    if (n_fit == 0)
        return push_random(d, env);
    return push(d, fit[env_random_below(env, n_fit)]);
}

/* Everything behind the guard, which is in the draft. On failure only the guard is left in it. */
static bool complete(struct draft *d, unsigned hops, const struct onion_guards *g, struct env *env)
{
    size_t want = d->w->last != NULL ? hops - 1 : hops;
    bool ok = push_second(d, g, env);
    while (ok && d->n < want)
        ok = push_random(d, env);
    if (!ok)
        d->n = 1;
    return ok;
}

static bool try_guards(struct draft *d, unsigned hops, const uint8_t *const *ids, size_t n,
                       const struct onion_guards *g, struct env *env)
{
    for (size_t i = 0; i < n; i++) {
        const struct onion_candidate *guard = onion_relays_find(d->relays, ids[i]);
        d->n = 0;
        if (guard == NULL || !fits(d, guard))
            continue;
        (void)push(d, guard);
        for (unsigned k = 0; k < ONION_CHOOSE_TRIES; k++)
            if (complete(d, hops, g, env))
                return true;
    }
    return false;
}

static enum leniency most_lenient(const struct draft *d)
{
    if (d->w->is_strict)
        return NOTHING;
    return onion_relays_len(d->relays) < ONION_FEW_RELAYS ? ALL_EXCLUDED : GUARD_EXCLUDED;
}

/* With as many hops as wished; with 3; then exclusions give way. */
static bool draw(struct draft *d, const uint8_t *const *ids, size_t n, const struct onion_guards *g,
                 struct env *env)
{
    for (unsigned lenient = NOTHING; lenient <= most_lenient(d); lenient++) {
        d->lenient = (enum leniency)lenient;
        for (unsigned hops = d->w->hops; hops >= ONION_HOPS_LEAST; hops--)
            if (try_guards(d, hops, ids, n, g, env))
                return true;
    }
    return false;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void hop_of(struct onion_hop *out, const struct mesh_node *n)
{
    memcpy(out->id, n->id, sizeof out->id);
    memcpy(out->onion_key, n->onion_key, sizeof out->onion_key);
}

/* Ids and keys of the hops; `last` is the record of a given last hop. False: a record is gone. */
static bool write_path(struct onion_chosen *out, const struct draft *d,
                       const struct mesh_node *last)
{
    struct onion_chosen p = { 0 };
    struct mesh_node n;
    for (size_t i = 0; i < d->n; i++) {
        if (!onion_relays_node(d->relays, d->hops[i]->id, &n))
            return false;
        hop_of(&p.hops[p.n_hops++], &n);
        if (i == 0)
            p.first = n;
    }
    if (d->w->last != NULL)
        hop_of(&p.hops[p.n_hops++], last);
    *out = p;
    return true;
}

int onion_choose(struct onion_chosen *out, const struct onion_wish *w,
                 const struct onion_relays *relays, const struct onion_guards *guards,
                 struct env *env, uint64_t now, struct cyx_err *err)
{
    struct draft d = { .w = w, .relays = relays };
    const uint8_t *ids[ONION_GUARDS];
    struct mesh_node last;
    if (w->hops < ONION_HOPS_LEAST || w->hops > ONION_HOPS_END)
        return cyx_fail(err, CYX_EINVAL, "path: %u hops, want 3 or 4", w->hops);
    if (w->last != NULL && onion_relays_is_self(relays, w->last))
        return cyx_fail(err, CYX_EINVAL, "path: we can't be its last hop ourselves");
    if (w->last != NULL && !onion_relays_node(relays, w->last, &last))
        return cyx_fail(err, CYX_ENOENT, "path: the record of its last hop isn't known");
    if (w->last != NULL)
        onion_kin_of(&d.last_kin, &last);
    size_t n = onion_guards_usable(guards, now, ids);
    if (n <= w->skip_guards)
        return cyx_fail(err, CYX_EAGAIN, "path: no guard can be reached now");
    if (!draw(&d, ids + w->skip_guards, n - w->skip_guards, guards, env))
        return cyx_fail(err, CYX_ENOENT, "path: of %zu relays none fit together",
                        onion_relays_len(relays));
    if (!write_path(out, &d, &last))
        return cyx_fail(err, CYX_ENOENT, "path: a relay's record is gone");
    return 0;
}

/* ---- pivots ---------------------------------------------------------------------------------- */

/* Whom a service doesn't take for a pivot, the less strict the fewer are left. */
struct pivoting {
    const struct onion_relays *relays;
    const struct onion_guards *guards;
    const uint8_t (*exclude)[32];
    size_t n_exclude;
    const uint8_t *guard_ids[ONION_GUARDS];
    size_t n_guards; /* of those, so many are spared */
    bool spares_second;
    bool is_any_kin;
    const struct onion_candidate *taken[ONION_PIVOTS_MAX];
    size_t n_taken;
};

static bool is_spared(const struct pivoting *p, const uint8_t id[static 32])
{
    for (size_t i = 0; i < p->n_guards; i++)
        if (memcmp(p->guard_ids[i], id, 32) == 0)
            return true;
    if (!p->spares_second)
        return false;
    const uint8_t *ids[ONION_SECOND];
    size_t n = onion_guards_second(p->guards, ids);
    for (size_t i = 0; i < n; i++)
        if (memcmp(ids[i], id, 32) == 0)
            return true;
    return false;
}

static bool may_be_pivot(const void *arg, const struct onion_candidate *r)
{
    const struct pivoting *p = arg;
    for (size_t i = 0; i < p->n_exclude; i++)
        if (memcmp(p->exclude[i], r->id, 32) == 0)
            return false;
    for (size_t i = 0; i < p->n_taken; i++)
        if (p->taken[i] == r || (!p->is_any_kin && onion_kin_is_near(&p->taken[i]->kin, &r->kin)))
            return false;
    return r->may_path && !is_spared(p, r->id);
}

static void take_pivots(struct pivoting *p, size_t n, struct env *env)
{
    while (p->n_taken < n) {
        const struct onion_candidate *r = onion_relays_draw(p->relays, env, may_be_pivot, p);
        if (r == NULL)
            return;
        p->taken[p->n_taken++] = r;
    }
}

size_t onion_pivots_wanted(const struct onion_relays *relays, size_t want)
{
    size_t n = onion_relays_len(relays);
    size_t left = n > 3 ? n - 2 : 1;
    want = want == 0 ? ONION_PIVOTS : want > ONION_PIVOTS_MAX ? ONION_PIVOTS_MAX : want;
    return want < left ? want : left;
}

size_t onion_choose_pivots(uint8_t (*out)[32], size_t n, const uint8_t (*exclude)[32],
                           size_t n_exclude, const struct onion_relays *relays,
                           const struct onion_guards *guards, struct env *env, uint64_t now)
{
    struct pivoting p = { .relays = relays,
                          .guards = guards,
                          .exclude = exclude,
                          .n_exclude = n_exclude,
                          .spares_second = true,
                          .is_any_kin = onion_relays_is_lab(relays) };
    p.n_guards = onion_guards_usable(guards, now, p.guard_ids);
    n = n < ONION_PIVOTS_MAX ? n : ONION_PIVOTS_MAX;
    take_pivots(&p, n, env);
    /* A pivot is no guard nor middle of the paths to its fellows: who is taken here is missing
     * there. The second layer can be spared first, its place goes to any relay. */
    p.spares_second = false;
    take_pivots(&p, n, env);
    p.n_guards = p.n_guards < 1 ? p.n_guards : 1;
    take_pivots(&p, n, env);
    for (size_t i = 0; i < p.n_taken; i++)
        memcpy(out[i], p.taken[i]->id, 32);
    return p.n_taken;
}
