#include "mesh/nettime.h"

#include <stdlib.h>
#include <string.h>

enum { MS = 1000, AGREE_MIN = 3 };

static const int64_t near_ms = MESH_TIME_NEAR_MS;
static const int64_t step_ms = (int64_t)MESH_TIME_STEP_S * MS;
static const uint64_t back_s = MESH_TIME_BACK_MS / MS;
static const int64_t max_ms = (int64_t)NETTIME_MAX_S * MS;

/* A clock that shows no possible time counts as 1970 or 9999: no sum overflows after this. */
static int64_t clamp_ms(int64_t wall_ms)
{
    if (wall_ms < 0)
        return 0;
    return wall_ms > max_ms ? max_ms : wall_ms;
}

static int64_t distance(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;
}

void nettime_init(struct nettime *t, uint64_t greatest_s, int64_t wall_ms, uint64_t now_ns)
{
    wall_ms = clamp_ms(wall_ms);
    uint64_t wall_s = (uint64_t)wall_ms / MS;
    if (greatest_s > NETTIME_MAX_S)
        greatest_s = NETTIME_MAX_S;
    *t = (struct nettime){ .wall_ms = wall_ms, .mono_ns = now_ns, .greatest_s = greatest_s };
    t->is_unset = wall_s < greatest_s;
    t->is_own = !t->is_unset;
    t->last_s = t->is_unset ? greatest_s : wall_s;
    t->offset_ms = t->is_unset ? (int64_t)greatest_s * MS - wall_ms : 0;
    t->vouched_ms = t->offset_ms;
    t->state = t->is_unset ? MESH_TIME_UNSET : MESH_TIME_UNCHECKED;
}

/* ---- what peers say -------------------------------------------------------------------------- */

static size_t find(const struct nettime *t, const uint8_t from[static 8])
{
    size_t i = 0;
    while (i < t->n && memcmp(t->samples[i].from, from, 8) != 0)
        i++;
    return i;
}

/* The oldest sample of the lowest weight; t->n when all weigh more than the newcomer. */
static size_t weakest(const struct nettime *t, uint8_t weight)
{
    size_t best = 0;
    for (size_t i = 1; i < t->n; i++)
        if (t->samples[i].weight < t->samples[best].weight ||
            (t->samples[i].weight == t->samples[best].weight &&
             t->samples[i].at_ns < t->samples[best].at_ns))
            best = i;
    return t->samples[best].weight > weight ? t->n : best;
}

struct vote {
    int64_t offset_ms;
    unsigned weight;
};

static int by_offset(const void *a, const void *b)
{
    int64_t x = ((const struct vote *)a)->offset_ms;
    int64_t y = ((const struct vote *)b)->offset_ms;
    return (x > y) - (x < y);
}

static int64_t median(const struct nettime *t)
{
    struct vote votes[NETTIME_SAMPLES];
    unsigned total = 0;
    size_t i = 0;
    for (size_t k = 0; k < t->n; k++) {
        votes[k] = (struct vote){ t->samples[k].offset_ms, t->samples[k].weight };
        total += votes[k].weight;
    }
    qsort(votes, t->n, sizeof votes[0], by_offset);
    for (unsigned sum = votes[0].weight; sum * 2 < total; sum += votes[i].weight)
        i++;
    return votes[i].offset_ms;
}

/* What peers think network time is, minus our clock; false when they have no opinion. */
static bool opinion(struct nettime *t, int64_t *offset_ms)
{
    if (t->n == 0)
        return false;
    if (t->n == 2 && distance(t->samples[0].offset_ms, t->samples[1].offset_ms) > near_ms)
        return false;
    if (!t->has_median)
        t->median_ms = t->n < AGREE_MIN ? t->samples[0].offset_ms : median(t);
    t->has_median = true;
    *offset_ms = t->median_ms;
    return true;
}

/* ---- our own clock --------------------------------------------------------------------------- */

/* Notes the clocks. Everything but our own clock runs on the monotonic one: what our clock gained
 * against that is taken out. */
static void look(struct nettime *t, int64_t wall_ms, uint64_t now_ns)
{
    int64_t passed_ms = now_ns > t->mono_ns ? (int64_t)((now_ns - t->mono_ns) / 1000000u) : 0;
    int64_t jump_ms = wall_ms - t->wall_ms - passed_ms;
    bool is_jump = distance(jump_ms, 0) > near_ms;
    for (size_t i = 0; i < t->n; i++)
        t->samples[i].offset_ms -= jump_ms;
    t->median_ms -= jump_ms; /* it moves with them */
    if (is_jump)
        t->jumps++;
    if (t->is_own && is_jump) {
        t->is_own = false;
        t->is_held = true;
        t->state = MESH_TIME_UNCHECKED;
    }
    if (!t->is_own) {
        t->offset_ms -= jump_ms;
        t->vouched_ms -= jump_ms;
    }
    t->wall_ms = wall_ms;
    /* Whole milliseconds only, or looks in quick succession would lose the rest each time. */
    t->mono_ns += (uint64_t)passed_ms * 1000000u;
}

static void use_own(struct nettime *t, enum mesh_time_state state)
{
    t->is_own = true;
    t->is_held = false;
    t->offset_ms = t->vouched_ms = 0;
    t->state = state;
}

static void use_offset(struct nettime *t, int64_t offset_ms)
{
    t->is_own = false;
    t->is_held = false;
    t->offset_ms = offset_ms;
    t->state = MESH_TIME_MEDIAN;
}

/* ---- deciding -------------------------------------------------------------------------------- */

static void follow_opinion(struct nettime *t, int64_t theirs_ms, bool user_accepts)
{
    bool is_forward = t->wall_ms + theirs_ms >= (int64_t)t->last_s * MS;
    if (t->is_unset && !is_forward && !user_accepts) {
        t->state = MESH_TIME_UNSET; /* stands still until theirs reaches it, see give() */
        t->offset_ms = theirs_ms;
        return;
    }
    if (t->is_unset || user_accepts)
        t->vouched_ms = theirs_ms;
    if (distance(theirs_ms, 0) <= near_ms)
        use_own(t, MESH_TIME_OWN);
    else if (distance(theirs_ms, t->vouched_ms) <= step_ms)
        use_offset(t, theirs_ms);
    else
        t->state = MESH_TIME_REFUSED;
    if (t->state != MESH_TIME_REFUSED)
        t->is_unset = false;
}

static void go_alone(struct nettime *t, bool user_accepts)
{
    bool is_set_now = t->is_unset && (uint64_t)t->wall_ms / MS >= t->last_s;
    bool is_back_again = t->is_held && distance(t->offset_ms, 0) <= near_ms;
    if (t->state == MESH_TIME_REFUSED) /* nobody is left whose word could wait */
        t->state = MESH_TIME_UNCHECKED;
    if (!user_accepts && !is_set_now && !is_back_again)
        return;
    t->is_unset = false;
    use_own(t, MESH_TIME_UNCHECKED);
}

/* Turns the decision into seconds that do not run back without need. */
static uint64_t give(struct nettime *t, bool user_accepts)
{
    int64_t now_ms = clamp_ms(t->wall_ms + t->offset_ms);
    uint64_t now_s = (uint64_t)now_ms / MS;
    if (now_s < t->last_s) {
        bool is_short = t->last_s - now_s <= back_s;
        if (is_short || t->is_unset)
            return t->last_s;
        t->back_steps++;
    }
    t->last_s = now_s;
    if (now_s > t->greatest_s || user_accepts)
        t->greatest_s = now_s;
    return now_s;
}

uint64_t nettime_now(struct nettime *t, int64_t wall_ms, uint64_t now_ns)
{
    int64_t theirs_ms;
    bool user_accepts = t->user_accepts;
    t->user_accepts = false;
    look(t, clamp_ms(wall_ms), now_ns);
    if (opinion(t, &theirs_ms))
        follow_opinion(t, theirs_ms, user_accepts);
    else
        go_alone(t, user_accepts);
    return give(t, user_accepts);
}

void nettime_heard(struct nettime *t, const uint8_t from[static 8], bool is_preferred,
                   uint64_t peer_s, int64_t wall_ms, uint64_t now_ns)
{
    uint8_t weight = is_preferred ? 2 : 1;
    if (peer_s > NETTIME_MAX_S)
        return;
    look(t, clamp_ms(wall_ms), now_ns);
    size_t i = find(t, from);
    if (i == NETTIME_SAMPLES)
        i = weakest(t, weight);
    if (i == NETTIME_SAMPLES)
        return;
    if (i == t->n)
        t->n++;
    t->has_median = false;
    t->samples[i].offset_ms = (int64_t)peer_s * MS - t->wall_ms;
    t->samples[i].at_ns = now_ns;
    t->samples[i].weight = weight;
    memcpy(t->samples[i].from, from, 8);
}

void nettime_forget(struct nettime *t, const uint8_t from[static 8])
{
    size_t i = find(t, from);
    if (i < t->n)
        t->samples[i] = t->samples[--t->n];
    t->has_median = false;
}

void nettime_accept(struct nettime *t)
{
    bool waits = t->state == MESH_TIME_REFUSED || t->is_unset || t->is_held;
    t->user_accepts = waits;
}
