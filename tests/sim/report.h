/* tests/sim/report.h - the runner's side of a run. */
#pragma once
#include "tests/sim/scenario.h"

struct sim_run *run_create(const struct sim_scenario *s, uint64_t seed);
void run_destroy(struct sim_run *r);
/* Sets a parameter from the command line. False with a line on stderr: unknown or out of range. */
bool run_set(struct sim_run *r, const char *name, const char *value);
/* Table, failures with the command that replays them, JSON line. The program's exit status. */
int run_finish(struct sim_run *r);
