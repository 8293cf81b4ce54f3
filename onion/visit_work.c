/* onion/visit_work.c - proof of work for a splice, on the pool: what the descriptor asks for, or
 * the pivot. Spec: protocol.md, section 13. */
#include <stdlib.h>
#include <string.h>

#include "onion/visit_internal.h"

/* Outlives its way if that goes. */
struct way_work {
    struct way *w; /* NULL: nobody wants it any more */
    struct onion *o;
    struct mesh_pow_subject subject;
    uint32_t effort;
    uint8_t nonce[16], proof[MESH_POW_PROOF];
    atomic_bool cancel;
    int code;
};

/* What we are ready to do: a pivot that lies about the effort only loses visitors. */
bool way__is_too_much(const struct visit *v, uint32_t effort)
{
    uint64_t listed = v->d.inner.has_proof ? v->d.inner.effort : 0;
    uint64_t most = listed * VISIT__EFFORT_FACTOR;
    if (most < VISIT__EFFORT_LEAST)
        most = VISIT__EFFORT_LEAST;
    return effort == 0 || effort > most || effort > VISIT__EFFORT_MAX;
}

static void run(void *arg)
{
    struct way_work *k = arg;
    k->code = mesh_pow_solve(&k->subject, k->effort, k->nonce, &k->cancel, k->proof, NULL);
}

static void work_free(struct way_work *k)
{
    sodium_memzero(k, sizeof *k); /* a token is in it */
    free(k);
}

static void done(void *arg, int code)
{
    struct way_work *k = arg;
    struct way *w = k->w;
    uint8_t proof[MESH_POW_PROOF];
    if (code == 0)
        code = k->code;
    memcpy(proof, k->proof, sizeof proof);
    if (w != NULL) {
        w->work = NULL;
        k->o->c.work_done += code == 0;
    }
    work_free(k);
    if (w != NULL && code == 0)
        way__build(w, proof);
    else if (w != NULL)
        way__failed(w);
}

static struct way_work *work_new(struct way *w, const uint8_t seed[static 16], uint32_t effort)
{
    struct way_work *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->w = w;
    k->o = w->v->o;
    k->effort = effort;
    k->subject.purpose = MESH_POW_SPLICE;
    memcpy(k->subject.seed, seed, sizeof k->subject.seed);
    memcpy(k->subject.x, w->pivot.token, sizeof k->subject.x);
    memcpy(k->subject.y, w->pivot.id, sizeof k->subject.y);
    env_random(k->o->env, k->nonce, sizeof k->nonce);
    return k;
}

void way__work(struct way *w, const uint8_t seed[static 16], uint32_t effort)
{
    struct way_work *k = work_new(w, seed, effort);
    w->works++;
    if (k != NULL) {
        memcpy(w->seed, seed, sizeof w->seed);
        w->effort = effort;
        w->work = k;
        if (env_work(k->o->env, run, done, k, NULL) == 0)
            return;
        w->work = NULL;
        work_free(k);
    }
    way__failed(w);
}

void way__work_drop(struct way *w)
{
    if (w->work == NULL)
        return;
    w->work->w = NULL;
    atomic_store(&w->work->cancel, true);
    w->work = NULL;
}
