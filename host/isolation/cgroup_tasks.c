/* host/isolation/cgroup_tasks.c - a container's processes as one: listed, frozen, killed. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/cgroup_internal.h"
#include "host/isolation/isolation.h"

enum { PROCS_BYTES = 1 << 18, END_MS_MAX = 10000, FREEZE_MS_MAX = 5000 };

/* The hierarchy that holds every process of the container: v2 where it is (it is entered at clone).
 */
static int all_of(const struct iso__groups *g)
{
    if (g->fd[ISO__V2] >= 0)
        return g->fd[ISO__V2];
    return g->fd[ISO__FREEZER] >= 0 ? g->fd[ISO__FREEZER] : g->fd[ISO__PIDS];
}

int iso__groups_pids(const struct iso__groups *g, pid_t *out, size_t cap)
{
    cleanup_free char *buf = malloc(PROCS_BYTES);
    if (buf == NULL || iso__cg_read(all_of(g), "cgroup.procs", buf, PROCS_BYTES) < 0)
        return CYX_EIO;
    int n = 0;
    for (char *p = buf; *p != '\0'; p++) {
        long pid = strtol(p, &p, 10);
        if (pid > 0 && (size_t)n < cap)
            out[n] = (pid_t)pid;
        n += pid > 0;
        if (*p == '\0')
            break;
    }
    return n;
}

static void rest(unsigned us)
{
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000L }, NULL);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int iso__groups_kill(const struct iso__groups *g, struct cyx_err *err)
{
    pid_t pids[512];
    uint64_t end = now_ms() + END_MS_MAX;
    if (all_of(g) < 0)
        return 0;
    for (unsigned us = 50; now_ms() < end; us = us < 5000 ? us * 2 : us) {
        int n = iso__groups_pids(g, pids, 512);
        if (n <= 0)
            return 0;
        /* One step that forks can't outrun; else again and again, frozen so that they can't. */
        if (g->fd[ISO__V2] < 0 || iso__cg_write(g->fd[ISO__V2], "cgroup.kill", "1") < 0) {
            (void)iso__groups_freeze(g, true, NULL);
            n = iso__groups_pids(g, pids, 512);
            for (int i = 0; i < n && i < 512; i++)
                kill(pids[i], SIGKILL);
        }
        (void)iso__groups_freeze(g, false, NULL);
        rest(us);
    }
    return cyx_fail(err, CYX_ETIMEDOUT, "processes that don't end within %d ms", END_MS_MAX);
}

/* cgroup.events becomes readable with POLLPRI when its content changes. */
static bool wait_frozen(int dir, bool frozen)
{
    uint64_t end = now_ms() + FREEZE_MS_MAX;
    for (unsigned us = 20; now_ms() < end; us = us < 1000 ? us * 2 : us) {
        if ((iso__cg_keyed(dir, "cgroup.events", "frozen") != 0) == frozen)
            return true;
        rest(us);
    }
    return false;
}

static int freeze_v1(int dir, bool frozen, struct cyx_err *err)
{
    char state[32];
    uint64_t end = now_ms() + FREEZE_MS_MAX;
    const char *want = frozen ? "FROZEN" : "THAWED";
    for (unsigned us = 20; now_ms() < end; us = us < 1000 ? us * 2 : us) {
        if (iso__cg_write(dir, "freezer.state", want) < 0)
            return cyx_fail(err, CYX_EIO, "freezer.state: %s", strerror(errno));
        if (iso__cg_read(dir, "freezer.state", state, sizeof state) > 0 &&
            strncmp(state, want, 6) == 0)
            return 0;
        rest(us);
    }
    return cyx_fail(err, CYX_ETIMEDOUT, "not %s within %d ms", want, FREEZE_MS_MAX);
}

int iso__groups_freeze(const struct iso__groups *g, bool frozen, struct cyx_err *err)
{
    if (g->fd[ISO__V2] < 0)
        return freeze_v1(g->fd[ISO__FREEZER], frozen, err);
    if (iso__cg_write(g->fd[ISO__V2], "cgroup.freeze", frozen ? "1" : "0") < 0)
        return cyx_fail(err, CYX_EIO, "cgroup.freeze: %s", strerror(errno));
    if (err != NULL && !wait_frozen(g->fd[ISO__V2], frozen))
        return cyx_fail(err, CYX_ETIMEDOUT, "not %s within %d ms", frozen ? "frozen" : "thawed",
                        FREEZE_MS_MAX);
    return 0;
}

bool iso__groups_frozen(const struct iso__groups *g)
{
    char state[32];
    if (g->fd[ISO__V2] >= 0)
        return iso__cg_keyed(g->fd[ISO__V2], "cgroup.events", "frozen") != 0;
    return g->fd[ISO__FREEZER] >= 0 &&
           iso__cg_read(g->fd[ISO__FREEZER], "freezer.state", state, sizeof state) > 0 &&
           strncmp(state, "FROZEN", 6) == 0;
}

int iso__groups_stats(const struct iso__groups *g, struct iso_stats *out)
{
    int v2 = g->fd[ISO__V2];
    *out = (struct iso_stats){ 0 };
    out->cpu_ns = v2 >= 0 ? iso__cg_keyed(v2, "cpu.stat", "usage_usec") * 1000
                          : iso__cg_number(g->fd[ISO__CPUACCT], "cpuacct.usage");
    if (g->fd[ISO__MEMORY] >= 0) {
        out->memory_bytes = iso__cg_number(g->fd[ISO__MEMORY], "memory.usage_in_bytes");
        out->memory_peak = iso__cg_number(g->fd[ISO__MEMORY], "memory.max_usage_in_bytes");
        out->oom_kills = iso__cg_keyed(g->fd[ISO__MEMORY], "memory.oom_control", "oom_kill");
        out->pids = iso__cg_number(g->fd[ISO__PIDS], "pids.current");
        out->throttled_ns = iso__cg_keyed(g->fd[ISO__CPU], "cpu.stat", "throttled_time");
        return 0;
    }
    out->memory_bytes = iso__cg_number(v2, "memory.current");
    out->memory_peak = iso__cg_number(v2, "memory.peak");
    out->oom_kills = iso__cg_keyed(v2, "memory.events", "oom_kill");
    out->pids = iso__cg_number(g->fd[ISO__PIDS] >= 0 ? g->fd[ISO__PIDS] : v2, "pids.current");
    out->throttled_ns = iso__cg_keyed(v2, "cpu.stat", "throttled_usec") * 1000;
    return 0;
}

int iso__groups_remove(struct iso__groups *g, struct cyx_err *err)
{
    int rc = 0;
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        bool shared = h == ISO__DEVICES && g->devices_shared;
        if (g->path[h][0] == '\0' || shared)
            continue;
        uint64_t end = now_ms() + 1000;
        /* A task that has ended leaves its group a moment later. */
        while (rmdir(g->path[h]) < 0 && errno == EBUSY && now_ms() < end)
            rest(100);
        if (access(g->path[h], F_OK) == 0)
            rc = cyx_fail(err, CYX_EBUSY, "cgroup %s: not empty", g->path[h]);
    }
    iso__groups_close(g);
    return rc;
}
