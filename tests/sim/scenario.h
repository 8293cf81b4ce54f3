/* tests/sim/scenario.h - what a scenario is, and what it reports. A scenario is one const table in
 * one file of scenarios/, listed in scenarios.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_run; /* one execution: arguments in, figures and checks out (report.c) */
struct sim_world;

/* A number that the command line may set: --name VALUE. */
struct sim_param {
    const char *name;
    uint64_t def, min, max;
    const char *help;
};

struct sim_scenario {
    const char *name;
    const char *help;               /* one line */
    const struct sim_param *params; /* ended by a NULL name; may be NULL */
    void (*run)(struct sim_run *r);
};

extern const struct sim_scenario *const sim_scenarios[]; /* ended by NULL */

uint64_t run_seed(const struct sim_run *r);
/* The value of a parameter of this scenario (asserts that it has it). */
uint64_t run_arg(const struct sim_run *r, const char *name);

/* Adds a figure: `key` for the JSON line, `label` and `unit` for people (all borrowed). */
void run_figure(struct sim_run *r, const char *key, const char *label, uint64_t value,
                const char *unit);
/* The same with three decimals, for display only: nothing decides on it. */
void run_figure_real(struct sim_run *r, const char *key, const char *label, double value,
                     const char *unit);
/* Formats a text that lives as long as the run: keys and labels that are put together. */
__attribute__((format(printf, 2, 3))) const char *run_text(struct sim_run *r, const char *fmt, ...);
/* Records a failure when `ok` is false; returns `ok`. */
__attribute__((format(printf, 3, 4))) bool run_check(struct sim_run *r, bool ok, const char *fmt,
                                                     ...);
/* Takes the world's fingerprint for the "hash" of the last line (the last one taken counts). */
void run_hash(struct sim_run *r, const struct sim_world *w);
/* A line on stderr, at most one a second of real time; for runs that take long. */
__attribute__((format(printf, 2, 3))) void run_progress(struct sim_run *r, const char *fmt, ...);
/* Real seconds since the run began; for figures only. */
double run_wall_seconds(const struct sim_run *r);
