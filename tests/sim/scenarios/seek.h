/* tests/sim/scenarios/seek.h - lookups of a service's descriptor over paths, as a visit begins with
 * them, but never out of memory. */
#pragma once
#include "tests/sim/scenarios/trade.h"

/* Borrowed until the maze is destroyed. */
struct seek_tally {
    uint64_t asked, found, missing, failed;
    uint64_t old; /* found, but not the newest that the service published */
    struct town_samples us;
};

/* That user looks for host 0's descriptor after so long. */
void seek(struct trade *t, uint32_t client, struct seek_tally *tally, uint64_t in_ns);
