/* onion/stream.c - streams as front doors and services see them: they may be written to before
 * there is a connection, and say with one word why they ended. Spec: protocol.md, section 14,
 * "Opening". */
#include <stdlib.h>
#include <string.h>

#include "onion/onion_internal.h"

const char *onion_fail_text(enum onion_fail why)
{
    static const char *const texts[ONION_FAILS] = {
        [ONION_FAIL_NONE] = "it ended in order",
        [ONION_FAIL_NAME] = "that is no address of a hidden endpoint",
        [ONION_FAIL_NOT_READY] = "this node knows too few relays yet, or can reach none",
        [ONION_FAIL_NO_DESCRIPTOR] =
            "nobody has a descriptor of it: a wrong address, or the service is off",
        [ONION_FAIL_NOT_FOR_US] = "it is open to some clients only, and we hold no key for it",
        [ONION_FAIL_NO_PORT] = "the service doesn't offer that port",
        [ONION_FAIL_REFUSED] = "the service's backend refused the connection",
        [ONION_FAIL_UNREACHABLE] = "no relay through which it can be met leads to it",
        [ONION_FAIL_BUSY] = "the service is busy",
        [ONION_FAIL_EFFORT] = "the service is under load and asks for more work than allowed",
        [ONION_FAIL_TIMEOUT] = "it took too long to answer",
        [ONION_FAIL_RESET] = "the other end gave up the stream",
        [ONION_FAIL_LOST] = "the connection was lost",
        [ONION_FAIL_CLOSING] = "this node is stopping",
    };
    return texts[why];
}

const char *onion_fail_name(enum onion_fail why)
{
    static const char *const names[ONION_FAILS] = {
        [ONION_FAIL_NONE] = "none",
        [ONION_FAIL_NAME] = "name",
        [ONION_FAIL_NOT_READY] = "not-ready",
        [ONION_FAIL_NO_DESCRIPTOR] = "no-descriptor",
        [ONION_FAIL_NOT_FOR_US] = "not-for-us",
        [ONION_FAIL_NO_PORT] = "no-port",
        [ONION_FAIL_REFUSED] = "refused",
        [ONION_FAIL_UNREACHABLE] = "unreachable",
        [ONION_FAIL_BUSY] = "busy",
        [ONION_FAIL_EFFORT] = "effort",
        [ONION_FAIL_TIMEOUT] = "timeout",
        [ONION_FAIL_RESET] = "reset",
        [ONION_FAIL_LOST] = "lost",
        [ONION_FAIL_CLOSING] = "closing",
    };
    return names[why];
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void writable(void *arg);

/* From the loop: what waited for the descriptor, and who waited for the connection to write more.
 */
static void late(struct env_timer *t, void *arg)
{
    struct onion_stream *s = arg;
    (void)t;
    if (s->visit != NULL && !s->is_judged)
        visit__late_stream(s);
    else
        writable(s);
}

struct onion_stream *stream__new(struct onion *o, uint16_t port,
                                 const struct onion_stream_events *ev, void *arg)
{
    struct onion_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->o = o;
    s->port = port;
    s->arg = arg;
    if (ev != NULL)
        s->ev = *ev;
    list_init(&s->node);
    env_timer_init(&s->later, late, s);
    o->c.streams++;
    return s;
}

/* What the connection knows of it must be gone already. */
void stream__free(struct onion_stream *s)
{
    struct visit *v = s->visit;
    if (s->n_streams != NULL)
        --*s->n_streams;
    env_timer_stop(s->o->env, &s->later);
    list_del(&s->node);
    free(s->early);
    free(s);
    if (v != NULL)
        visit__lost_stream(v);
}

void stream__fail(struct onion_stream *s, enum onion_fail why)
{
    void (*closed)(void *, enum onion_fail) = s->ev.closed;
    void *arg = s->arg;
    s->o->c.fails[why]++;
    stream__free(s);
    if (closed != NULL)
        closed(arg, why);
}

void stream__tell_opened(struct onion_stream *s)
{
    if (s->is_told)
        return;
    s->is_told = true;
    if (s->ev.opened != NULL)
        s->ev.opened(s->arg);
}

/* ---- what the connection says -------------------------------------------------------------------
 */

static enum onion_fail fail_of_status(uint8_t status)
{
    switch (status) {
    case ONION_ANSWER_REFUSED:
        return ONION_FAIL_REFUSED;
    case ONION_ANSWER_NO_PORT:
        return ONION_FAIL_NO_PORT;
    case ONION_ANSWER_NOT_ALLOWED:
        return ONION_FAIL_NOT_FOR_US;
    case ONION_ANSWER_BUSY:
        return ONION_FAIL_BUSY;
    case ONION_ANSWER_UNREACHABLE:
        return ONION_FAIL_UNREACHABLE;
    case ONION_ANSWER_TIMED_OUT:
        return ONION_FAIL_TIMEOUT;
    default:
        return ONION_FAIL_RESET;
    }
}

static void heard_status(void *arg, uint8_t status)
{
    struct onion_stream *s = arg;
    if (status == ONION_ANSWER_OPEN) {
        stream__tell_opened(s);
        return;
    }
    s->s = NULL;
    stream__fail(s, fail_of_status(status));
}

static void heard_data(void *arg, const uint8_t *data, size_t len, bool is_early)
{
    struct onion_stream *s = arg;
    (void)is_early;
    if (s->ev.data != NULL)
        s->ev.data(s->arg, data, len);
}

static void heard_end(void *arg)
{
    struct onion_stream *s = arg;
    s->end_heard = true;
    if (s->ev.data != NULL)
        s->ev.data(s->arg, NULL, 0);
}

static void writable(void *arg)
{
    struct onion_stream *s = arg;
    if (!s->is_short)
        return;
    s->is_short = false;
    if (s->ev.writable != NULL)
        s->ev.writable(s->arg);
}

static void heard_reset(void *arg, uint64_t code)
{
    struct onion_stream *s = arg;
    (void)code;
    s->s = NULL;
    stream__fail(s, s->visit != NULL ? visit__why(s->visit) : ONION_FAIL_RESET);
}

static void heard_closed(void *arg)
{
    struct onion_stream *s = arg;
    s->s = NULL;
    stream__fail(s, ONION_FAIL_NONE);
}

static const struct onion_conn_stream_ops ops = { .status = heard_status,
                                                  .data = heard_data,
                                                  .end = heard_end,
                                                  .writable = writable,
                                                  .reset = heard_reset,
                                                  .closed = heard_closed };

int stream__open(struct onion_stream *s, struct onion_conn *c)
{
    struct cyx_err err = { 0 };
    s->s = onion_conn_stream_open(c, s->port, &ops, s, &err);
    if (s->s == NULL)
        return err.code;
    if (s->n_early > 0) {
        size_t took = onion_conn_stream_write(s->s, s->early, s->n_early);
        if (took <
            s->n_early) { /* the connection takes as much at least: protocol.md, section 14 */
            onion_conn_stream_reset(s->s, ONION_CODE_ABORT);
            s->s = NULL;
            return CYX_ENOMEM;
        }
    }
    free(s->early);
    s->early = NULL;
    s->n_early = 0;
    if (s->end_wanted)
        onion_conn_stream_end(s->s);
    else if (s->is_short)
        env_timer_in(s->o->env, &s->later, 0);
    return 0;
}

void stream__take(struct onion_stream *s, struct onion_conn_stream *cs)
{
    s->s = cs;
    onion_conn_stream_set_ops(cs, &ops, s);
}

/* ---- what its user says -------------------------------------------------------------------------
 */

static size_t write_early(struct onion_stream *s, const uint8_t *data, size_t len)
{
    if (s->early == NULL)
        s->early = malloc(ONION__EARLY);
    size_t room = s->early != NULL ? ONION__EARLY - s->n_early : 0, n = len < room ? len : room;
    if (n > 0)
        memcpy(s->early + s->n_early, data, n);
    s->n_early += n;
    if (s->visit != NULL)
        visit__request_written(s->visit);
    return n;
}

size_t onion_stream_write(struct onion_stream *s, const uint8_t *data, size_t len)
{
    size_t n;
    if (s->end_wanted || len == 0)
        return 0;
    n = s->s != NULL ? onion_conn_stream_write(s->s, data, len) : write_early(s, data, len);
    s->has_written |= n > 0;
    s->is_short = n < len;
    return n;
}

void onion_stream_consumed(struct onion_stream *s, size_t len)
{
    if (s->s != NULL)
        onion_conn_stream_consumed(s->s, len);
}

void onion_stream_end(struct onion_stream *s)
{
    if (s->end_wanted)
        return;
    s->end_wanted = s->has_written = true;
    if (s->s != NULL)
        onion_conn_stream_end(s->s);
    else if (s->visit != NULL)
        visit__request_written(s->visit);
}

void onion_stream_reset(struct onion_stream *s)
{
    if (s == NULL)
        return;
    if (s->s != NULL)
        onion_conn_stream_reset(s->s, ONION_CODE_ABORT);
    s->s = NULL;
    stream__free(s);
}

void onion_stream_attach(struct onion_stream *s, const struct onion_stream_events *ev, void *arg)
{
    s->ev = *ev;
    s->arg = arg;
}

void onion_stream_accept(struct onion_stream *s)
{
    if (s->s == NULL || s->is_answered)
        return;
    s->is_answered = true;
    onion_conn_stream_answer(s->s, ONION_ANSWER_OPEN);
}

void onion_stream_refuse(struct onion_stream *s, enum onion_open_status why)
{
    if (s->s != NULL && !s->is_answered && why != ONION_OPEN_OK)
        onion_conn_stream_answer(s->s, (enum onion_answer_status)why);
    else if (s->s != NULL)
        onion_conn_stream_reset(s->s, ONION_CODE_ABORT);
    s->s = NULL;
    stream__free(s);
}
