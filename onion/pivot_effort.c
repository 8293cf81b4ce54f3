#include "onion/pivot_effort.h"

#include "base/env.h"
#include "mesh/pow.h"

static uint32_t greatest(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t price(const struct onion_effort *e)
{
    return greatest(greatest(e->effort, e->floor), e->least);
}

void onion_effort_init(struct onion_effort *e, uint32_t rate, uint32_t burst, uint32_t most,
                       uint32_t least, uint64_t now_ns)
{
    *e = (struct onion_effort){ .most = most,
                                .least = least,
                                .at_s = now_ns / ENV_S(1),
                                .busy_ns = now_ns,
                                .changed_ns = now_ns };
    mesh_bucket_init(&e->bucket, rate, burst, now_ns);
}

/* Whoever sets terms again and again must not find the bucket full each time. */
void onion_effort_set(struct onion_effort *e, uint32_t rate, uint32_t burst, uint32_t most,
                      uint32_t least, uint64_t now_ns)
{
    e->most = most;
    e->least = least;
    if (e->bucket.rate == rate && e->bucket.burst == burst)
        return;
    bool was_dry = mesh_bucket_when(&e->bucket, 1, now_ns) > now_ns;
    mesh_bucket_init(&e->bucket, rate, burst, now_ns);
    if (was_dry)
        (void)mesh_bucket_take(&e->bucket, burst, now_ns);
}

/* ---- what happened ----------------------------------------------------------------------------
 */

static void seconds_pass(struct onion_effort *e, uint64_t now_ns)
{
    uint64_t s = now_ns / ENV_S(1);
    uint64_t passed = s > e->at_s ? s - e->at_s : 0;
    e->dry_s = passed < 64 ? e->dry_s << passed : 0;
    e->at_s += passed;
}

/* Half used, or more: now, or until the bucket will have filled. */
static void note_use(struct onion_effort *e, uint64_t now_ns)
{
    uint64_t until = mesh_bucket_when(&e->bucket, e->bucket.burst / 2 + 1, now_ns);
    if (e->open >= e->most / 2 + e->most % 2)
        until = now_ns > until ? now_ns : until;
    else if (until <= now_ns)
        return;
    if (until != UINT64_MAX && until > e->busy_ns)
        e->busy_ns = until;
}

static bool is_pressed(const struct onion_effort *e)
{
    uint64_t mask = (UINT64_C(1) << ONION_EFFORT_UP_S) - 1;
    return __builtin_popcountll(e->dry_s & mask) > ONION_EFFORT_UP_S / 2 ||
           (uint64_t)e->open * 4 > (uint64_t)e->most * 3;
}

static bool is_half_full(const struct onion_effort *e)
{
    return e->open >= e->most / 2 + e->most % 2;
}

/* ---- up and down ------------------------------------------------------------------------------
 */

static void rise(struct onion_effort *e, uint64_t now_ns)
{
    uint32_t from = price(e);
    uint32_t to = from > MESH_POW_EFFORT_MAX / 2 ? MESH_POW_EFFORT_MAX : from * 2;
    e->effort = greatest(to, ONION_EFFORT_FIRST);
    e->changed_ns = now_ns;
    e->was_changed = true;
}

static void fall(struct onion_effort *e)
{
    e->effort /= 2;
    if (e->effort < ONION_EFFORT_FIRST)
        e->effort = 0;
}

uint32_t onion_effort_now(struct onion_effort *e, uint64_t now_ns)
{
    seconds_pass(e, now_ns);
    if (is_pressed(e)) {
        if (!e->was_changed || now_ns - e->changed_ns >= ENV_S(ONION_EFFORT_UP_S))
            rise(e, now_ns);
        return price(e);
    }
    uint64_t since = e->busy_ns > e->changed_ns ? e->busy_ns : e->changed_ns;
    if (is_half_full(e))
        return price(e);
    while (e->effort > 0 && now_ns >= since && now_ns - since >= ENV_S(ONION_EFFORT_DOWN_S)) {
        fall(e);
        since += ENV_S(ONION_EFFORT_DOWN_S);
        e->changed_ns = since;
    }
    return price(e);
}

bool onion_effort_take(struct onion_effort *e, uint64_t now_ns)
{
    seconds_pass(e, now_ns);
    bool has = mesh_bucket_take(&e->bucket, 1, now_ns);
    if (!has)
        e->dry_s |= 1;
    note_use(e, now_ns);
    return has;
}

void onion_effort_opened(struct onion_effort *e, uint64_t now_ns)
{
    e->open++;
    note_use(e, now_ns);
}

void onion_effort_closed(struct onion_effort *e, uint64_t now_ns)
{
    note_use(e, now_ns); /* it was in use until now */
    e->open--;
}

uint32_t onion_effort_full(struct onion_effort *e, uint64_t now_ns)
{
    rise(e, now_ns);
    e->floor = e->effort;
    return e->floor;
}

void onion_effort_reseeded(struct onion_effort *e)
{
    e->floor = 0;
}
