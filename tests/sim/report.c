/* A run's arguments, figures, failures, and how they are printed. */
#include "tests/sim/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

enum { FIGURES_MAX = 256, FAILURES_SHOWN = 20, PARAMS_MAX = 16, FAILURE_TEXT = 240, TEXT_MAX = 64 };

struct figure {
    const char *key, *label, *unit;
    bool is_real;
    uint64_t value;
    double real;
};

struct text {
    struct text *next;
    char text[TEXT_MAX];
};

struct sim_run {
    const struct sim_scenario *scenario;
    uint64_t seed;
    uint64_t args[PARAMS_MAX];
    struct figure figures[FIGURES_MAX];
    size_t n_figures;
    char failures[FAILURES_SHOWN][FAILURE_TEXT];
    size_t n_failures, n_checks;
    struct text *texts;
    char hash[33];
    struct timespec started, last_progress;
};

/* How long people wait is real time: the one place of the simulator that looks at it. */
static struct timespec real_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

static double seconds_between(const struct timespec *a, const struct timespec *b)
{
    return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

static size_t n_params(const struct sim_scenario *s)
{
    size_t n = 0;
    while (s->params != NULL && s->params[n].name != NULL)
        n++;
    assert(n <= PARAMS_MAX);
    return n;
}

struct sim_run *run_create(const struct sim_scenario *s, uint64_t seed)
{
    struct sim_run *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->scenario = s;
    r->seed = seed;
    for (size_t i = 0; i < n_params(s); i++)
        r->args[i] = s->params[i].def;
    r->started = real_now();
    return r;
}

void run_destroy(struct sim_run *r)
{
    for (struct text *t = r != NULL ? r->texts : NULL, *next; t != NULL; t = next) {
        next = t->next;
        free(t);
    }
    free(r);
}

bool run_set(struct sim_run *r, const char *name, const char *value)
{
    for (size_t i = 0; i < n_params(r->scenario); i++) {
        const struct sim_param *p = &r->scenario->params[i];
        if (strcmp(p->name, name) != 0)
            continue;
        char *end;
        errno = 0;
        unsigned long long v = strtoull(value, &end, 10);
        if (errno != 0 || *end != '\0' || end == value || v < p->min || v > p->max) {
            fprintf(stderr, "--%s %s: want a number from %" PRIu64 " to %" PRIu64 "\n", name, value,
                    p->min, p->max);
            return false;
        }
        r->args[i] = v;
        return true;
    }
    fprintf(stderr, "--%s: scenario %s has no such option\n", name, r->scenario->name);
    return false;
}

uint64_t run_seed(const struct sim_run *r)
{
    return r->seed;
}

uint64_t run_arg(const struct sim_run *r, const char *name)
{
    for (size_t i = 0; i < n_params(r->scenario); i++)
        if (strcmp(r->scenario->params[i].name, name) == 0)
            return r->args[i];
    assert(false && "no such parameter");
    return 0;
}

static struct figure *figure_add(struct sim_run *r, const char *key, const char *label,
                                 const char *unit)
{
    assert(r->n_figures < FIGURES_MAX);
    struct figure *f = &r->figures[r->n_figures++];
    f->key = key;
    f->label = label;
    f->unit = unit;
    return f;
}

void run_figure(struct sim_run *r, const char *key, const char *label, uint64_t value,
                const char *unit)
{
    figure_add(r, key, label, unit)->value = value;
}

void run_figure_real(struct sim_run *r, const char *key, const char *label, double value,
                     const char *unit)
{
    struct figure *f = figure_add(r, key, label, unit);
    f->is_real = true;
    f->real = value;
}

const char *run_text(struct sim_run *r, const char *fmt, ...)
{
    struct text *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text, sizeof t->text, fmt, ap);
    va_end(ap);
    t->next = r->texts;
    r->texts = t;
    return t->text;
}

bool run_check(struct sim_run *r, bool ok, const char *fmt, ...)
{
    r->n_checks++;
    if (ok)
        return true;
    if (r->n_failures < FAILURES_SHOWN) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(r->failures[r->n_failures], FAILURE_TEXT, fmt, ap);
        va_end(ap);
    }
    r->n_failures++;
    return false;
}

void run_hash(struct sim_run *r, const struct sim_world *w)
{
    sim_hash(w, r->hash);
}

void run_progress(struct sim_run *r, const char *fmt, ...)
{
    struct timespec now = real_now();
    if (seconds_between(&r->last_progress, &now) < 1)
        return;
    r->last_progress = now;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: %.0f s: ", r->scenario->name, run_wall_seconds(r));
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

double run_wall_seconds(const struct sim_run *r)
{
    struct timespec now = real_now();
    return seconds_between(&r->started, &now);
}

/* ---- printing ---- */

static void print_table(const struct sim_run *r)
{
    printf("%s, seed %" PRIu64 "\n", r->scenario->name, r->seed);
    for (size_t i = 0; i < r->n_figures; i++) {
        const struct figure *f = &r->figures[i];
        if (f->is_real)
            printf("  %-44s %14.3f %s\n", f->label, f->real, f->unit);
        else
            printf("  %-44s %14" PRIu64 " %s\n", f->label, f->value, f->unit);
    }
    printf("  %-44s %14zu of %zu\n", "checks that held", r->n_checks - r->n_failures, r->n_checks);
}

static void print_failures(const struct sim_run *r)
{
    if (r->n_failures == 0)
        return;
    for (size_t i = 0; i < r->n_failures && i < FAILURES_SHOWN; i++)
        printf("FAILED: %s\n", r->failures[i]);
    if (r->n_failures > FAILURES_SHOWN)
        printf("FAILED: and %zu more\n", r->n_failures - FAILURES_SHOWN);
    printf("replay: tests/sim/run %s --seed %" PRIu64, r->scenario->name, r->seed);
    for (size_t i = 0; i < n_params(r->scenario); i++)
        if (r->args[i] != r->scenario->params[i].def)
            printf(" --%s %" PRIu64, r->scenario->params[i].name, r->args[i]);
    printf("\n");
}

static void print_json(const struct sim_run *r)
{
    printf("{\"scenario\": \"%s\", \"seed\": %" PRIu64, r->scenario->name, r->seed);
    for (size_t i = 0; i < n_params(r->scenario); i++)
        printf(", \"%s\": %" PRIu64, r->scenario->params[i].name, r->args[i]);
    for (size_t i = 0; i < r->n_figures; i++) {
        const struct figure *f = &r->figures[i];
        if (f->is_real)
            printf(", \"%s\": %.3f", f->key, f->real);
        else
            printf(", \"%s\": %" PRIu64, f->key, f->value);
    }
    printf(", \"checks\": %zu, \"failed\": %zu, \"wall_s\": %.2f, \"hash\": \"%s\", \"ok\": %s}\n",
           r->n_checks, r->n_failures, run_wall_seconds(r), r->hash,
           r->n_failures == 0 ? "true" : "false");
}

int run_finish(struct sim_run *r)
{
    /* A scenario that checks nothing proves nothing. */
    run_check(r, r->n_checks > 0, "the scenario made no check");
    print_table(r);
    print_failures(r);
    print_json(r);
    return r->n_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
