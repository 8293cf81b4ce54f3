/* tests/bench/two.h - what both halves of the link benchmark share: two processes, a sender that is
 * forked and a receiver that counts, and how a rate is taken. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TWO_CELL = 1280,
    TWO_WINDOW = 1536,      /* packets under way at most: 2 MiB, half of the receive buffer asked
                               for, so that nothing is lost on loopback */
    TWO_CREDIT_EVERY = 192, /* packets behind one credit */
    TWO_WARM_MS = 300,      /* not counted, at the start */
};

struct two_count {
    uint64_t cells; /* received and opened since the start */
    uint64_t first_ns, begin_ns, end_ns;
    uint64_t begin_cells;
    uint64_t span_ns; /* how long to count for */
    double begin_cpu; /* CPU seconds of this process when counting began */
    double cpu;
    bool gro;
    uint64_t lost; /* packets that were sent and never came */
};

uint64_t two_now_ns(void);
double two_cpu_s(void);

/* Notes `n` more cells that arrived. True once the span is over. */
bool two_arrived(struct two_count *c, uint64_t n);

/* Ends the sender and prints the JSON object that tests/bench/run reads. A sender's CPU time is
 * that of its whole life, over all cells. */
void two_finish(const struct two_count *c, const char *what, const char *cipher, pid_t sender);
