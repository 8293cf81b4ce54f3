/* onion/relay_timers.c - everything of a relay that ends by itself. All that wait for the same span
 * stand in one list, in the order in which they end, so one timer is enough: it is set for the
 * first of the heads. A wake-up ends a bounded number of them. */
#include "onion/relay_internal.h"

enum { BUDGET = 256 };

struct queue {
    struct list *list;
    uint64_t span_ns;
    enum relay_event ev;
    uint64_t *counter;
};

enum { QUEUES = 4 };

static void queues_of(struct onion_relay *r, struct queue out[static QUEUES])
{
    out[0] = (struct queue){ &r->building, ENV_S(ONION_BUILD_WAIT_S), RELAY_EV_SILENCE, NULL };
    out[1] =
        (struct queue){ &r->unused, ENV_S(ONION_UNUSED_S), RELAY_EV_EXPIRED, &r->n.expired_unused };
    out[2] = (struct queue){ &r->idle, ENV_S(ONION_IDLE_S), RELAY_EV_EXPIRED, &r->n.expired_idle };
    out[3] = (struct queue){ &r->closing, ENV_S(ONION_CLOSING_S), RELAY_EV_EXPIRED, NULL };
}

static struct relay_path *first_by_use(const struct list *l)
{
    return list_empty(l) ? NULL : container_of(l->next, struct relay_path, by_use);
}

static struct relay_path *first_by_life(const struct onion_relay *r)
{
    return list_empty(&r->by_life) ? NULL
                                   : container_of(r->by_life.next, struct relay_path, by_life);
}

static struct relay__tomb *first_tomb(const struct onion_relay *r)
{
    return list_empty(&r->tombs) ? NULL : container_of(r->tombs.next, struct relay__tomb, all);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void relay__timers_arm(struct onion_relay *r)
{
    struct queue q[QUEUES];
    uint64_t at = UINT64_MAX;
    queues_of(r, q);
    for (unsigned i = 0; i < QUEUES; i++) {
        const struct relay_path *p = first_by_use(q[i].list);
        if (p != NULL)
            at = sooner(at, p->noted_ns + q[i].span_ns);
    }
    const struct relay_path *oldest = first_by_life(r);
    const struct relay__tomb *tomb = first_tomb(r);
    if (oldest != NULL)
        at = sooner(at, oldest->made_ns + ENV_S(ONION_LIFE_S));
    if (tomb != NULL)
        at = sooner(at, tomb->until_ns);
    if (at == UINT64_MAX)
        env_timer_stop(r->env, &r->timer);
    else if (!r->timer.is_set || r->timer.at_ns != at)
        env_timer_set(r->env, &r->timer, at);
}

/* A path that was used within the second in which it was noted is not idle yet. */
static bool is_due(const struct relay_path *p, const struct queue *q, uint64_t now)
{
    return now >= p->noted_ns + q->span_ns;
}

static bool was_used_since(const struct relay_path *p, const struct queue *q, uint64_t now)
{
    return q->counter != NULL && p->is_used && now < p->used_ns + q->span_ns;
}

/* At most `most`; returns how many. */
static unsigned expire_queue(const struct queue *q, uint64_t now, unsigned most)
{
    unsigned n = 0;
    struct relay_path *p = first_by_use(q->list);
    for (; p != NULL && n < most && is_due(p, q, now); p = first_by_use(q->list)) {
        n++;
        if (was_used_since(p, q, now)) {
            relay__path_moved(p, now);
            continue;
        }
        if (q->counter != NULL)
            (*q->counter)++;
        relay__path_step(p, q->ev, NULL);
    }
    return n;
}

static unsigned expire_lives(struct onion_relay *r, uint64_t now, unsigned most)
{
    unsigned n = 0;
    struct relay_path *p = first_by_life(r);
    for (; p != NULL && n < most && now >= p->made_ns + ENV_S(ONION_LIFE_S); p = first_by_life(r)) {
        n++;
        r->n.expired_life++;
        relay__path_step(p, RELAY_EV_EXPIRED, NULL);
    }
    return n;
}

static void expire_tombs(struct onion_relay *r, uint64_t now, unsigned most)
{
    struct relay__tomb *t = first_tomb(r);
    for (; t != NULL && most > 0 && now >= t->until_ns; t = first_tomb(r)) {
        most--;
        relay__tomb_free(t);
    }
}

void relay__timers_fire(struct env_timer *t, void *arg)
{
    struct onion_relay *r = arg;
    uint64_t now = relay__now(r);
    struct queue q[QUEUES];
    unsigned left = BUDGET;
    (void)t;
    queues_of(r, q);
    for (unsigned i = 0; i < QUEUES; i++)
        left -= expire_queue(&q[i], now, left);
    (void)expire_lives(r, now, left);
    expire_tombs(r, now, BUDGET);
    relay__timers_arm(r);
}
