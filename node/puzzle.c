#include "node/puzzle.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

enum { US_PER_EFFORT = 1600, SAY_EVERY_S = 5 };

struct puzzle {
    const struct mesh_pow_subject *subject;
    uint32_t effort;
    uint8_t nonce[16];
    uint8_t proof[MESH_POW_PROOF];
    int rc;
    struct cyx_err err;
};

static void *run(void *arg)
{
    struct puzzle *p = arg;
    p->rc = mesh_pow_solve(p->subject, p->effort, p->nonce, NULL, p->proof, &p->err);
    return NULL;
}

/* Waits for the thread, with a sign of life each second. */
static void wait_for(struct env *env, pthread_t thread, void (*progress)(void))
{
    for (unsigned s = 1;; s++) {
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_sec++;
        if (pthread_timedjoin_np(thread, NULL, &at) == 0)
            return;
        if (progress != NULL)
            progress();
        if (s % SAY_EVERY_S == 0)
            log_info(env->log, "keys", "still solving the id puzzle, %u s so far", s);
    }
}

int puzzle_solve(struct env *env, const struct mesh_pow_subject *s, uint32_t effort,
                 void (*progress)(void), uint8_t proof[static MESH_POW_PROOF], struct cyx_err *err)
{
    struct puzzle p = { .subject = s, .effort = effort };
    pthread_t thread;
    env_random(env, p.nonce, sizeof p.nonce);
    log_info(env->log, "keys",
             "solving the id puzzle: effort %u, about %u s of one core, once for this identity",
             (unsigned)effort, (unsigned)((uint64_t)effort * US_PER_EFFORT / 1000000 + 1));
    int rc = pthread_create(&thread, NULL, run, &p);
    if (rc != 0)
        return cyx_fail(err, CYX_EIO, "start a thread for the id puzzle: %s", strerror(rc));
    wait_for(env, thread, progress);
    if (p.rc < 0)
        return cyx_fail(err, p.rc, "id puzzle: %s", p.err.msg);
    memcpy(proof, p.proof, sizeof p.proof);
    log_info(env->log, "keys", "id puzzle solved");
    return 0;
}
