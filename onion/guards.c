#include "onion/guards.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/guards_internal.h"

enum { DAY = 86400 };

struct onion_guards *onion_guards_create(const struct mesh_network *net)
{
    struct onion_guards *g = calloc(1, sizeof *g);
    if (g != NULL)
        memcpy(g->net, net->id, sizeof g->net);
    return g;
}

void onion_guards_destroy(struct onion_guards *g)
{
    if (g == NULL)
        return;
    sodium_memzero(g, sizeof *g); /* who our guards are is what an attacker wants to know */
    free(g);
}

/* ---- how long -------------------------------------------------------------------------------- */

static uint64_t draw_days(struct env *env, unsigned least, unsigned most)
{
    return (uint64_t)least * DAY + env_random_below(env, (uint64_t)(most - least) * DAY + 1);
}

static uint64_t guard_life(struct env *env)
{
    return draw_days(env, ONION_GUARD_DAYS_MIN, ONION_GUARD_DAYS_MAX);
}

/* The larger of two draws: most live long, and nobody can tell when one that is found will go. */
static uint64_t second_life(struct env *env)
{
    uint64_t a = draw_days(env, ONION_SECOND_DAYS_MIN, ONION_SECOND_DAYS_MAX);
    uint64_t b = draw_days(env, ONION_SECOND_DAYS_MIN, ONION_SECOND_DAYS_MAX);
    return a > b ? a : b;
}

/* ---- who is there ---------------------------------------------------------------------------- */

/* Notes in *unlisted whether there is a record of it. True: it changed. */
static bool note_listed(uint64_t *unlisted, const uint8_t id[static 32],
                        const struct onion_relays *relays, uint64_t now)
{
    uint64_t was = *unlisted;
    if (onion_relays_find(relays, id) != NULL)
        *unlisted = 0;
    else if (was == 0 || was > now)
        *unlisted = now > 0 ? now : 1;
    return *unlisted != was;
}

static bool is_missed(uint64_t unlisted, uint64_t now)
{
    return unlisted != 0 && now - unlisted >= ONION_UNLISTED_S;
}

static void guard_remove(struct onion_guards *g, size_t i)
{
    g->n_guards--;
    memmove(&g->guards[i], &g->guards[i + 1], (g->n_guards - i) * sizeof g->guards[0]);
    sodium_memzero(&g->guards[g->n_guards], sizeof g->guards[0]);
}

static void second_remove(struct onion_guards *g, size_t i)
{
    g->n_seconds--;
    memmove(&g->seconds[i], &g->seconds[i + 1], (g->n_seconds - i) * sizeof g->seconds[0]);
    sodium_memzero(&g->seconds[g->n_seconds], sizeof g->seconds[0]);
}

/* A clock that was far ahead when this was drawn would keep it for ever: it counts from now. */
static bool guards_age(struct onion_guards *g, const struct onion_relays *relays, struct env *env,
                       uint64_t now)
{
    bool has_changed = false;
    for (size_t i = g->n_guards; i-- > 0;) {
        struct guard *e = &g->guards[i];
        has_changed |= note_listed(&e->unlisted, e->id, relays, now);
        if (now >= e->until || (e->unlisted != 0 && now - e->unlisted >= ONION_GUARD_GONE_S)) {
            guard_remove(g, i);
            has_changed = true;
        } else if (e->since > now + DAY) {
            e->since = now;
            e->until = now + guard_life(env);
            has_changed = true;
        }
    }
    return has_changed;
}

static bool seconds_age(struct onion_guards *g, const struct onion_relays *relays, struct env *env,
                        uint64_t now)
{
    bool has_changed = false, has_listed = false;
    for (size_t i = 0; i < g->n_seconds; i++) {
        has_changed |= note_listed(&g->seconds[i].unlisted, g->seconds[i].id, relays, now);
        has_listed |= g->seconds[i].unlisted == 0;
    }
    for (size_t i = g->n_seconds; i-- > 0;) {
        struct second *e = &g->seconds[i];
        if (now >= e->until || is_missed(e->unlisted, now) || (e->unlisted != 0 && !has_listed)) {
            second_remove(g, i);
            has_changed = true;
        } else if (e->until > now + (uint64_t)ONION_SECOND_DAYS_MAX * DAY) {
            e->until = now + second_life(env);
            has_changed = true;
        }
    }
    return has_changed;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Who may be sampled. */
struct sampling {
    const struct onion_guards *g;
    const struct onion_relays *relays;
    bool for_guards;
    bool is_strict; /* in neither set, and of other families and prefixes */
};

static bool is_guard(const struct onion_guards *g, const uint8_t id[static 32])
{
    for (size_t i = 0; i < g->n_guards; i++)
        if (memcmp(g->guards[i].id, id, 32) == 0)
            return true;
    return false;
}

static bool is_second(const struct onion_guards *g, const uint8_t id[static 32])
{
    for (size_t i = 0; i < g->n_seconds; i++)
        if (memcmp(g->seconds[i].id, id, 32) == 0)
            return true;
    return false;
}

static bool is_near(const struct sampling *s, const uint8_t id[static 32],
                    const struct onion_candidate *relay)
{
    const struct onion_candidate *held = onion_relays_find(s->relays, id);
    return held != NULL && onion_kin_is_near(&held->kin, &relay->kin);
}

/* Of those beside which it would stand: a guard and a second-layer relay of one operator could
 * never be in one path, and a pivot of that operator would rule out both. */
static bool is_near_any(const struct sampling *s, const struct onion_candidate *relay)
{
    for (size_t i = 0; i < s->g->n_guards; i++)
        if (is_near(s, s->g->guards[i].id, relay))
            return true;
    for (size_t i = 0; i < s->g->n_seconds && !s->for_guards; i++)
        if (is_near(s, s->g->seconds[i].id, relay))
            return true;
    return false;
}

static bool may_sample(const void *arg, const struct onion_candidate *relay)
{
    const struct sampling *s = arg;
    if (is_guard(s->g, relay->id) || !(s->for_guards ? relay->may_guard : relay->may_path))
        return false;
    if (!s->is_strict)
        return s->for_guards || !is_second(s->g, relay->id);
    return !is_second(s->g, relay->id) &&
           (onion_relays_is_lab(s->relays) || !is_near_any(s, relay));
}

static const struct onion_candidate *sample(const struct onion_guards *g,
                                            const struct onion_relays *relays, struct env *env,
                                            bool for_guards)
{
    struct sampling s = { g, relays, for_guards, .is_strict = true };
    const struct onion_candidate *r = onion_relays_draw(relays, env, may_sample, &s);
    s.is_strict = false;
    return r != NULL ? r : onion_relays_draw(relays, env, may_sample, &s);
}

/* Makes room by forgetting the one that is gone for longest. */
static bool guards_make_room(struct onion_guards *g)
{
    size_t worst = SIZE_MAX;
    if (g->n_guards < ONION_GUARDS_KEPT)
        return true;
    for (size_t i = 0; i < g->n_guards; i++)
        if (g->guards[i].unlisted != 0 &&
            (worst == SIZE_MAX || g->guards[i].unlisted < g->guards[worst].unlisted))
            worst = i;
    if (worst == SIZE_MAX)
        return false;
    guard_remove(g, worst);
    return true;
}

/* How many hold a place: those with a record, and those that are missed for a short while only.
 * With nobody left one stands in at once. */
static size_t guards_holding(const struct onion_guards *g, uint64_t now)
{
    size_t n_listed = 0, n_waited_for = 0;
    for (size_t i = 0; i < g->n_guards; i++) {
        n_listed += g->guards[i].unlisted == 0;
        n_waited_for += g->guards[i].unlisted != 0 && !is_missed(g->guards[i].unlisted, now);
    }
    return n_listed > 0 ? n_listed + n_waited_for : 0;
}

static bool guards_fill(struct onion_guards *g, const struct onion_relays *relays, struct env *env,
                        uint64_t now)
{
    bool has_changed = false;
    while (guards_holding(g, now) < ONION_GUARDS) {
        const struct onion_candidate *r = sample(g, relays, env, true);
        if (r == NULL || !guards_make_room(g))
            break;
        struct guard *e = &g->guards[g->n_guards++];
        *e = (struct guard){ .since = now, .until = now + guard_life(env) };
        memcpy(e->id, r->id, sizeof e->id);
        has_changed = true;
    }
    return has_changed;
}

static bool seconds_fill(struct onion_guards *g, const struct onion_relays *relays, struct env *env,
                         uint64_t now)
{
    bool has_changed = false;
    while (g->n_seconds < ONION_SECOND) {
        const struct onion_candidate *r = sample(g, relays, env, false);
        if (r == NULL)
            break;
        struct second *e = &g->seconds[g->n_seconds++];
        *e = (struct second){ .until = now + second_life(env) };
        memcpy(e->id, r->id, sizeof e->id);
        has_changed = true;
    }
    return has_changed;
}

bool onion_guards_refresh(struct onion_guards *g, const struct onion_relays *relays,
                          struct env *env, uint64_t now)
{
    bool has_changed = guards_age(g, relays, env, now);
    has_changed |= seconds_age(g, relays, env, now);
    has_changed |= guards_fill(g, relays, env, now);
    has_changed |= seconds_fill(g, relays, env, now);
    return has_changed;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static uint64_t rest_s(const struct guard *e)
{
    unsigned doublings = e->failures > 0 ? e->failures - 1 : 0;
    uint64_t s = (uint64_t)ONION_GUARD_REST_S << (doublings < 8 ? doublings : 8);
    return s < ONION_GUARD_REST_MAX_S ? s : ONION_GUARD_REST_MAX_S;
}

/* A failure in the future (the clock went back) doesn't count. */
static bool does_rest(const struct guard *e, uint64_t now)
{
    return e->failed_s != 0 && e->failed_s <= now && now - e->failed_s < rest_s(e);
}

/* The first three that have records, whether they rest or not. */
static size_t in_use(const struct onion_guards *g, const struct guard *out[static ONION_GUARDS])
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_guards && n < ONION_GUARDS; i++)
        if (g->guards[i].unlisted == 0)
            out[n++] = &g->guards[i];
    return n;
}

size_t onion_guards_usable(const struct onion_guards *g, uint64_t now,
                           const uint8_t *ids[static ONION_GUARDS])
{
    const struct guard *used[ONION_GUARDS];
    size_t n = in_use(g, used), out = 0;
    for (size_t i = 0; i < n; i++)
        if (!does_rest(used[i], now))
            ids[out++] = used[i]->id;
    return out;
}

uint64_t onion_guards_next(const struct onion_guards *g, uint64_t now)
{
    const struct guard *used[ONION_GUARDS];
    size_t n = in_use(g, used);
    uint64_t next = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t end = used[i]->failed_s + rest_s(used[i]);
        if (does_rest(used[i], now) && (next == 0 || end < next))
            next = end;
    }
    return next;
}

size_t onion_guards_second(const struct onion_guards *g, const uint8_t *ids[static ONION_SECOND])
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_seconds; i++)
        if (g->seconds[i].unlisted == 0)
            ids[n++] = g->seconds[i].id;
    return n;
}

bool onion_guards_has(const struct onion_guards *g, const uint8_t id[static 32])
{
    const struct guard *used[ONION_GUARDS];
    size_t n = in_use(g, used);
    for (size_t i = 0; i < n; i++)
        if (memcmp(used[i]->id, id, 32) == 0)
            return true;
    return is_second(g, id);
}

/* ---- what a guard answers for ---------------------------------------------------------------- */

static struct guard *guard_find(struct onion_guards *g, const uint8_t id[static 32])
{
    for (size_t i = 0; i < g->n_guards; i++)
        if (memcmp(g->guards[i].id, id, 32) == 0)
            return &g->guards[i];
    return NULL;
}

static void guard_failed(struct guard *e, bool is_mute, uint64_t now)
{
    e->failures++;
    e->is_mute = is_mute;
    e->silent = 0;
    e->failed_s = now > 0 ? now : 1;
}

static void guard_works(struct guard *e)
{
    e->failures = e->silent = 0;
    e->failed_s = 0;
    e->is_mute = false;
}

void onion_guards_link_failed(struct onion_guards *g, const uint8_t id[static 32], uint64_t now)
{
    struct guard *e = guard_find(g, id);
    if (e != NULL)
        guard_failed(e, false, now);
}

void onion_guards_link_up(struct onion_guards *g, const uint8_t id[static 32])
{
    struct guard *e = guard_find(g, id);
    if (e != NULL && !e->is_mute)
        e->failed_s = 0;
}

void onion_guards_build_answered(struct onion_guards *g, const uint8_t id[static 32])
{
    struct guard *e = guard_find(g, id);
    if (e != NULL)
        guard_works(e);
}

void onion_guards_build_silent(struct onion_guards *g, const uint8_t id[static 32], uint64_t now)
{
    struct guard *e = guard_find(g, id);
    if (e != NULL && ++e->silent >= ONION_GUARD_SILENT)
        guard_failed(e, true, now);
}

void onion_guards_rested(struct onion_guards *g)
{
    for (size_t i = 0; i < g->n_guards; i++)
        guard_works(&g->guards[i]);
}
