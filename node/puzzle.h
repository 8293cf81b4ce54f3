/* node/puzzle.h - solving the id's puzzle at start, before anything else runs. */
#pragma once
#include "base/env.h"
#include "base/err.h"
#include "mesh/pow.h"

/* Solves in a thread of its own and says once a second how long it has been at it; the thread is
 * gone on return (the sandbox that follows covers only threads started later). A signal that ends
 * the process may come at any time: nothing was promised yet. */
CYX_MUST_USE int puzzle_solve(struct env *env, const struct mesh_pow_subject *s, uint32_t effort,
                              void (*progress)(void), uint8_t proof[static MESH_POW_PROOF],
                              struct cyx_err *err);
