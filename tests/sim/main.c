/* sim_run SCENARIO [--seed S] [--OPTION N]...: runs one scenario. Without arguments: lists them. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "tests/sim/report.h"

enum { EXIT_USAGE = 2 };

static void list_all(void)
{
    printf("usage: tests/sim/run SCENARIO [--seed S] [--OPTION N]...\n\n");
    for (const struct sim_scenario *const *s = sim_scenarios; *s != NULL; s++) {
        printf("%-20s %s\n", (*s)->name, (*s)->help);
        for (const struct sim_param *p = (*s)->params; p != NULL && p->name != NULL; p++)
            printf("    --%-14s %s (%" PRIu64 "; %" PRIu64 "..%" PRIu64 ")\n", p->name, p->help,
                   p->def, p->min, p->max);
    }
}

static const struct sim_scenario *scenario_named(const char *name)
{
    for (const struct sim_scenario *const *s = sim_scenarios; *s != NULL; s++)
        if (strcmp((*s)->name, name) == 0)
            return *s;
    return NULL;
}

/* The seed on the command line, or a fresh one. Short, so that people can retype it. */
static bool find_seed(int argc, char **argv, uint64_t *out)
{
    *out = randombytes_uniform(1000000000);
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") != 0)
            continue;
        char *end;
        errno = 0;
        *out = strtoull(argv[i + 1], &end, 10);
        if (errno != 0 || *end != '\0' || end == argv[i + 1]) {
            fprintf(stderr, "--seed %s: want a number\n", argv[i + 1]);
            return false;
        }
    }
    return true;
}

static bool set_options(struct sim_run *r, int argc, char **argv)
{
    for (int i = 2; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc) {
            fprintf(stderr, "%s: want --OPTION NUMBER\n", argv[i]);
            return false;
        }
        if (strcmp(argv[i], "--seed") != 0 && !run_set(r, argv[i] + 2, argv[i + 1]))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        list_all();
        return EXIT_SUCCESS;
    }
    struct cyx_err err;
    if (secret_init(&err) < 0) {
        fprintf(stderr, "sim_run: %s\n", err.msg);
        return EXIT_FAILURE;
    }
    const struct sim_scenario *s = scenario_named(argv[1]);
    uint64_t seed;
    if (s == NULL) {
        fprintf(stderr, "sim_run: no scenario '%s'; without arguments all are listed\n", argv[1]);
        return EXIT_USAGE;
    }
    if (!find_seed(argc, argv, &seed))
        return EXIT_USAGE;
    struct sim_run *r = run_create(s, seed);
    if (r == NULL || !set_options(r, argc, argv)) {
        run_destroy(r);
        return EXIT_USAGE;
    }
    fprintf(stderr, "%s: seed %" PRIu64 "\n", s->name, seed);
    s->run(r);
    int status = run_finish(r);
    run_destroy(r);
    return status;
}
