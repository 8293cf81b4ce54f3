/* onion/visit_why.c - a visit as `cyx why` and `cyx trace` see it: step by step, from scratch. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onion/visit_internal.h"

/* ---- what `cyx why` sees ------------------------------------------------------------------------
 */

const char *onion_stage_name(enum onion_stage s)
{
    static const char *const names[ONION_STAGES] = {
        [ONION_STAGE_GUARD] = "guard",   [ONION_STAGE_DESCRIPTOR] = "descriptor",
        [ONION_STAGE_PATH] = "path",     [ONION_STAGE_HANDSHAKE] = "handshake",
        [ONION_STAGE_STREAM] = "stream",
    };
    return names[s];
}

void visit__trace(struct visit *v, visit_trace_fn fn, void *arg)
{
    v->trace = fn;
    v->trace_arg = arg;
}

void visit__step(struct visit *v, enum onion_stage stage, enum onion_fail fail, const char *fmt,
                 ...)
{
    struct onion_step s = { .stage = stage, .fail = fail };
    uint64_t now = env_now_ns(v->o->env);
    va_list ap;
    if (v->trace == NULL)
        return;
    s.ns = now - v->stage_ns;
    v->stage_ns = now;
    va_start(ap, fmt);
    (void)vsnprintf(s.detail, sizeof s.detail, fmt, ap);
    va_end(ap);
    v->trace(v->trace_arg, &s);
}

/* ---- why
 * -------------------------------------------------------------------------------------------- */

struct onion_why {
    struct visit *v;        /* as long as we have a stream of it, and while that ends */
    struct onion_stream *s; /* NULL: ended */
    uint16_t port;
    bool is_telling, is_cancelled; /* in the midst of the last step */
    void (*step)(void *arg, const struct onion_step *s);
    void (*done)(void *arg, enum onion_fail why);
    void *arg;
};

static void why_step(void *arg, const struct onion_step *s)
{
    struct onion_why *w = arg;
    w->step(w->arg, s);
}

/* The visit may outlive us by a minute: it must not talk to us then. */
static void why_free(struct onion_why *w)
{
    visit__trace(w->v, NULL, NULL);
    free(w);
}

static void why_end(struct onion_why *w, enum onion_fail why)
{
    void (*done)(void *, enum onion_fail) = w->done;
    void *arg = w->arg;
    why_free(w);
    done(arg, why);
}

/* The last step: the one who hears of it may cancel. False: he did, and w is gone. */
static bool why_last_step(struct onion_why *w, enum onion_fail fail)
{
    w->is_telling = true;
    visit__step(w->v, ONION_STAGE_STREAM, fail, "port %u: %s", w->port,
                fail == ONION_FAIL_NONE ? "answers" : onion_fail_text(fail));
    w->is_telling = false;
    if (!w->is_cancelled)
        return true;
    free(w);
    return false;
}

static void why_opened(void *arg)
{
    struct onion_why *w = arg;
    if (!why_last_step(w, ONION_FAIL_NONE))
        return;
    onion_stream_reset(w->s);
    why_end(w, ONION_FAIL_NONE);
}

static void why_closed(void *arg, enum onion_fail why)
{
    struct onion_why *w = arg;
    w->s = NULL;
    if ((why == ONION_FAIL_REFUSED || why == ONION_FAIL_NO_PORT || why == ONION_FAIL_BUSY) &&
        !why_last_step(w, why))
        return;
    why_end(w, why);
}

struct onion_why *onion_why(struct onion *o, const struct onion_target *to,
                            void (*step)(void *arg, const struct onion_step *s),
                            void (*done)(void *arg, enum onion_fail why), void *arg,
                            struct cyx_err *err)
{
    static const struct onion_stream_events ev = { .opened = why_opened, .closed = why_closed };
    struct onion_why *w = calloc(1, sizeof *w);
    struct onion_target own = *to;
    if (w == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory");
        return NULL;
    }
    *w = (struct onion_why){ .port = to->port, .step = step, .done = done, .arg = arg };
    env_random(o->env, own.isolation.tag,
               sizeof own.isolation.tag); /* from scratch: shares nothing */
    own.wait_for_answer = true;
    w->s = onion_dial(o, &own, &ev, w, err);
    if (w->s == NULL) {
        free(w);
        return NULL;
    }
    w->v = w->s->visit;
    visit__trace(w->v, why_step, w);
    return w;
}

void onion_why_cancel(struct onion_why *w)
{
    if (w == NULL)
        return;
    struct onion_stream *s = w->s;
    w->s = NULL;
    w->is_cancelled = true;
    if (w->is_telling)
        visit__trace(w->v, NULL, NULL);
    else
        why_free(w);
    onion_stream_reset(s);
}
