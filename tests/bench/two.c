#include "tests/bench/two.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

uint64_t two_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double two_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

bool two_arrived(struct two_count *c, uint64_t n)
{
    uint64_t now = two_now_ns();
    c->cells += n;
    if (c->first_ns == 0)
        c->first_ns = now;
    if (c->begin_ns == 0 && now - c->first_ns >= (uint64_t)TWO_WARM_MS * 1000000u) {
        c->begin_ns = now;
        c->begin_cells = c->cells;
        c->begin_cpu = two_cpu_s();
    }
    if (c->begin_ns == 0 || now - c->begin_ns < c->span_ns)
        return false;
    c->end_ns = now;
    c->cpu = two_cpu_s() - c->begin_cpu;
    return true;
}

void two_finish(const struct two_count *c, const char *what, const char *cipher, pid_t sender)
{
    struct rusage u;
    double s = (double)(c->end_ns - c->begin_ns) / 1e9, sender_cpu = 0;
    double n = (double)(c->cells - c->begin_cells);
    kill(sender, SIGKILL);
    if (wait4(sender, NULL, 0, &u) == sender)
        sender_cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    printf("{\"what\":\"%s\",\"cipher\":\"%s\",\"gro\":%s,\"seconds\":%.3f,\"cells_per_s\":%.0f,"
           "\"mb_per_s\":%.1f,\"receiver_cpu_us_per_cell\":%.3f,\"sender_cpu_us_per_cell\":%.3f,"
           "\"lost\":%llu}\n",
           what, cipher, c->gro ? "true" : "false", s, n / s, n * TWO_CELL / s / 1e6,
           n > 0 ? c->cpu / n * 1e6 : 0, n > 0 ? sender_cpu / (double)c->cells * 1e6 : 0,
           (unsigned long long)c->lost);
}
