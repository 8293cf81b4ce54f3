/* onion/guards_internal.h - the sets themselves, for guards*.c and tests. */
#pragma once
#include "onion/guards.h"

struct guard {
    uint8_t id[32];
    uint64_t since, until; /* network time, seconds: sampled then, kept until */
    uint64_t unlisted;     /* since when there is no record of it; 0: there is */
    /* in memory only */
    unsigned failures; /* in a row */
    unsigned silent;   /* builds in a row */
    uint64_t failed_s; /* when it last failed; 0: it rests no longer */
    bool is_mute;      /* it failed by silence: that its link is up is no news */
};

struct second {
    uint8_t id[32];
    uint64_t until, unlisted;
};

struct onion_guards {
    uint8_t net[32];
    struct guard guards[ONION_GUARDS_KEPT]; /* in order of sampling */
    size_t n_guards;
    struct second seconds[ONION_SECOND];
    size_t n_seconds;
};
