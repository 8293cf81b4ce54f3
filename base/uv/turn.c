/* base/uv/turn.c - one turn of the loop: the clock that stands still in it, timers, deferred tasks.
 *
 * Order of a turn: the loop wakes, sockets and streams call back, then (check) due timers fire and
 * deferred tasks run, and once more (prepare) just before the loop sleeps, for what libuv's own
 * completions deferred in between.
 *
 * Timers have one timerfd, not a uv_timer: the poll time-out has a resolution of a millisecond,
 * shaping and acknowledgements want better. It is set to an absolute time on the clock that
 * env_uv__clock_ns reads, so no timer fires early, and moved only to earlier times: a deadline that
 * is pushed ahead again and again (keepalive) costs one early wake-up, not a system call each time.
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/uv/env_uv_internal.h"

/* CLOCK_BOOTTIME, which goes on while the machine sleeps: a laptop that wakes up must find its
 * sessions old, not think that they are young and the world's clocks wrong. */
uint64_t env_uv__clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t env_uv__now_ns(struct env *base)
{
    struct env_uv *e = env_uv_of(base);
    if (!e->now_is_fresh) {
        e->now_ns = env_uv__clock_ns();
        e->now_is_fresh = e->is_running; /* outside the loop nothing would refresh it */
    }
    return e->now_ns;
}

int64_t env_uv__wall_ms(struct env *base)
{
    (void)base;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void env_uv__timer_set(struct env *base, struct env_timer *t, uint64_t at_ns)
{
    struct env_uv *e = env_uv_of(base);
    /* A past deadline is "now": behind those that are due already, or a timer that sets itself to
     * the past each time would stay in front of them for ever. */
    if (e->now_is_fresh && at_ns < e->now_ns)
        at_ns = e->now_ns;
    timers_set(&e->timers, t, at_ns);
}

void env_uv__timer_stop(struct env *base, struct env_timer *t)
{
    timers_stop(&env_uv_of(base)->timers, t);
}

void env_uv__defer(struct env *base, struct env_task *t)
{
    if (!list_linked(&t->node))
        list_push_back(&env_uv_of(base)->tasks, &t->node);
}

static void run_timers(struct env_uv *e)
{
    uint64_t now = env_uv__now_ns(&e->base);
    for (unsigned n = 0; n < ENV_UV_TIMERS_PER_TURN; n++) {
        struct env_timer *t = timers_pop(&e->timers, now);
        if (t == NULL)
            return;
        t->fn(t, t->arg);
    }
}

static void run_tasks(struct env_uv *e)
{
    for (unsigned n = 0; n < ENV_UV_TASKS_PER_TURN && !list_empty(&e->tasks); n++) {
        struct env_task *t = container_of(e->tasks.next, struct env_task, node);
        list_del(&t->node); /* first: it may defer itself again, or free its owner */
        t->fn(t->arg);
    }
}

static void arm(struct env_uv *e, uint64_t at_ns)
{
    struct itimerspec it = { 0 };
    if (at_ns != UINT64_MAX) {
        if (at_ns == 0)
            at_ns = 1; /* zero would disarm */
        it.it_value.tv_sec = (time_t)(at_ns / 1000000000u);
        it.it_value.tv_nsec = (long)(at_ns % 1000000000u);
    }
    /* Can't fail with a good descriptor and tv_nsec in range; the kernel clamps distant times. */
    (void)timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &it, NULL);
    e->armed_ns = at_ns;
    e->timer_fired = false;
}

/* Setting the descriptor again clears it, so it is never read. */
static void on_timer_fd(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    struct env_uv *e = h->data;
    e->timer_fired = true;
}

static void on_check(uv_check_t *h)
{
    struct env_uv *e = h->data;
    run_timers(e);
    run_tasks(e);
}

static void on_idle(uv_idle_t *h)
{
    (void)h; /* its being active is what matters */
}

static void on_prepare(uv_prepare_t *h)
{
    struct env_uv *e = h->data;
    run_tasks(e);
    if (list_empty(&e->tasks))
        uv_idle_stop(&e->idle);
    else
        uv_idle_start(&e->idle, on_idle);
    uint64_t next = timers_next(&e->timers);
    if (e->timer_fired || next < e->armed_ns)
        arm(e, next);
    e->now_is_fresh = false;
}

int env_uv__turn_start(struct env_uv *e, struct cyx_err *err)
{
    timers_init(&e->timers);
    list_init(&e->tasks);
    e->armed_ns = UINT64_MAX;
    uv_prepare_init(&e->loop, &e->prepare);
    uv_check_init(&e->loop, &e->check);
    uv_idle_init(&e->loop, &e->idle);
    e->prepare.data = e->check.data = e->idle.data = e;
    uv_prepare_start(&e->prepare, on_prepare);
    uv_check_start(&e->check, on_check);

    char why[64];
    e->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (e->timer_fd < 0)
        return cyx_fail(err, env_uv__code(errno), "timerfd: %s", env_uv__why(errno, why));
    int rc = uv_poll_init(&e->loop, &e->timer_poll, e->timer_fd);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "poll the timerfd: %s", env_uv__why(rc, why));
    e->timer_poll.data = e;
    rc = uv_poll_start(&e->timer_poll, UV_READABLE, on_timer_fd);
    if (rc < 0)
        return cyx_fail(err, env_uv__code(rc), "poll the timerfd: %s", env_uv__why(rc, why));
    return 0;
}

void env_uv__turn_free(struct env_uv *e)
{
    if (e->timer_fd >= 0)
        close(e->timer_fd);
    e->timer_fd = -1;
}
