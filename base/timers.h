/* base/timers.h - timers embedded in their owners, in a pairing heap: no allocation, so setting a
 * timer can't fail. Both environments drive it; protocol code uses env_timer_* (base/env.h). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct env_timer {
    uint64_t at_ns; /* monotonic deadline */
    uint64_t seq;   /* order among equals: first set fires first */
    void (*fn)(struct env_timer *t, void *arg);
    void *arg;
    struct env_timer *child, *next, *prev; /* heap links; prev is the parent for a first child */
    bool is_set;
};

struct timers {
    struct env_timer *root;
    uint64_t next_seq;
};

void timers_init(struct timers *ts);
void timers_set(struct timers *ts, struct env_timer *t, uint64_t at_ns); /* moves if set */
void timers_stop(struct timers *ts, struct env_timer *t);                /* harmless if not set */
/* The next deadline, or UINT64_MAX when none is set. */
uint64_t timers_next(const struct timers *ts);
/* Takes the earliest timer that is due at now_ns out of the heap, or NULL. The caller calls fn. */
struct env_timer *timers_pop(struct timers *ts, uint64_t now_ns);
