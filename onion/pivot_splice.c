/* onion/pivot_splice.c - SPLICE: a client's path is joined to a service. The checks stand in the
 * order of protocol.md, section 11: what is free to know first, so that junk costs one hash, and so
 * that only those who paid draw on the bucket. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "onion/pivot_internal.h"

enum { SEED_BEGIN = 4 };

struct request {
    struct pivot_registration *reg;
    struct relay_path *path;
    const struct onion_fields *fields;
    uint8_t seed_begin[SEED_BEGIN];
    uint8_t proof[MESH_POW_PROOF];
    uint32_t effort; /* that the proof claims */
    unsigned seed;   /* which of the registration's */
    uint32_t paid;
};

static void request_read(struct request *q, const struct onion_fields *f)
{
    struct reader r = reader_on(f->rest, sizeof f->rest);
    reader_copy(&r, q->seed_begin, sizeof q->seed_begin);
    reader_copy(&r, q->proof, sizeof q->proof);
    r = reader_on(q->proof, sizeof q->proof);
    reader_skip(&r, 16);
    q->effort = reader_u32(&r);
}

/* ---- proof of work -----------------------------------------------------------------------------
 */

static bool find_seed(struct request *q)
{
    const struct pivot_registration *g = q->reg;
    for (q->seed = 0; q->seed < (g->has_old_seed ? 2u : 1u); q->seed++)
        if (memcmp(g->seed[q->seed], q->seed_begin, SEED_BEGIN) == 0)
            return true;
    return false;
}

static enum drop check_proof(const struct request *q, uint32_t price)
{
    const struct pivot_registration *g = q->reg;
    struct mesh_pow_subject subject = { .purpose = MESH_POW_SPLICE };
    memcpy(subject.seed, g->seed[q->seed], sizeof subject.seed);
    memcpy(subject.x, g->token, sizeof subject.x);
    memcpy(subject.y, mesh_identity_of(g->pivot->relay->mesh)->id, sizeof subject.y);
    return mesh_pow_check(&subject, price > 0 ? price : 1, q->proof);
}

/* Sets what was paid. A proof that nobody asked for counts if it is one: who paid for a place must
 * not lose it to those who came later and paid less. SPLICE_REFUSALS: enough. */
static enum splice_refusal pay(struct request *q, uint32_t price)
{
    if (price == 0 && q->effort == 0)
        return SPLICE_REFUSALS;
    if (q->effort < price)
        return SPLICE_WORK;
    if (!find_seed(q))
        return price > 0 ? SPLICE_SEED : SPLICE_REFUSALS;
    if (check_proof(q, price) != DROP_NONE)
        return price > 0 ? SPLICE_PROOF : SPLICE_REFUSALS;
    if (onion_nonces_has(&q->reg->nonces[q->seed], q->proof))
        return price > 0 ? SPLICE_NONCE : SPLICE_REFUSALS;
    q->paid = q->effort;
    return SPLICE_REFUSALS;
}

/* Too many are known: the price doubles, and what can't have paid it is forgotten, since it can't
 * count again before the seeds change. */
static void make_room(struct pivot_registration *g)
{
    struct onion_pivots *v = g->pivot;
    uint32_t floor = onion_effort_full(&g->effort, env_now_ns(v->env));
    v->n.nonces_full++;
    for (unsigned i = 0; i < 2; i++) {
        v->n_nonces -= g->nonces[i].len;
        onion_nonces_below(&g->nonces[i], floor);
        v->n_nonces += g->nonces[i].len;
    }
}

/* False: there is no room for its nonce, so it can't count. */
static bool remember(struct request *q)
{
    struct onion_pivots *v = q->reg->pivot;
    struct onion_nonces *set = &q->reg->nonces[q->seed];
    if (q->paid == 0)
        return true;
    size_t before = set->len;
    int code =
        v->n_nonces < ONION_NONCES_ALL ? onion_nonces_add(set, q->proof, q->effort) : CYX_EFULL;
    v->n_nonces += set->len - before;
    if (code == CYX_EFULL)
        make_room(q->reg);
    return code == 0;
}

/* ---- places ------------------------------------------------------------------------------------
 */

struct least {
    struct pivot_splice *splice;
};

static bool is_lesser(const struct pivot_splice *a, const struct pivot_splice *b)
{
    if (a->paid != b->paid)
        return a->paid < b->paid;
    return a->tail.path->used_ns < b->tail.path->used_ns;
}

static bool find_least(void *arg, const void *key, void *value)
{
    struct least *least = arg;
    struct pivot_splice *s = value;
    (void)key;
    if (least->splice == NULL || is_lesser(s, least->splice))
        least->splice = s;
    return true;
}

/* The idlest of the lowest effort goes if the newcomer paid more. */
static bool take_place(struct pivot_registration *g, uint32_t paid)
{
    struct least least = { 0 };
    if (paid == 0)
        return false;
    map_each(g->splices, find_least, &least);
    if (least.splice == NULL || least.splice->paid >= paid)
        return false;
    g->pivot->n.gave_way++;
    pivot__say_close(&g->tail, least.splice->id, ONION_CLOSE_LIMIT);
    pivot__splice_close(least.splice, ONION_CLOSE_LIMIT);
    return true;
}

/* ---- splices -----------------------------------------------------------------------------------
 */

static uint32_t draw_id(const struct pivot_registration *g)
{
    uint32_t id = 0;
    while (id == 0 || map_get(g->splices, &id) != NULL) /* 4096 of 2^32 at most */
        id = env_random_u32(g->pivot->env);
    return id;
}

static struct pivot_splice *splice_new(const struct request *q)
{
    struct pivot_registration *g = q->reg;
    struct pivot_splice *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->reg = g;
    s->id = draw_id(g);
    s->paid = q->paid;
    if (map_put(g->splices, &s->id, s) != 0) {
        free(s);
        return NULL;
    }
    g->pivot->n_splices++;
    onion_effort_opened(&g->effort, env_now_ns(g->pivot->env));
    tail__attach(&s->tail, &pivot__client_ops, q->path);
    return s;
}

void pivot__splice_free(struct pivot_splice *s)
{
    struct pivot_registration *g = s->reg;
    map_del(g->splices, &s->id);
    g->pivot->n_splices--;
    onion_effort_closed(&g->effort, env_now_ns(g->pivot->env));
    sodium_memzero(s, sizeof *s);
    free(s);
}

void pivot__splice_close(struct pivot_splice *s, enum onion_close why)
{
    pivot__say_close(&s->tail, 0, why);
    tail__leave(&s->tail);
    pivot__splice_free(s);
}

void pivot__client_gone(struct onion_tail *t)
{
    struct pivot_splice *s = container_of(t, struct pivot_splice, tail);
    const struct onion_cell c = { .command = ONION_CELL_CLOSE,
                                  .payload = (const uint8_t[]){ ONION_CLOSE_DONE },
                                  .len = 1 };
    s->reg->pivot->n.closed_by_client++;
    pivot__to_service(s->reg, s->id, &c); /* behind what it sent before */
    pivot__splice_free(s);
}

/* ---- SPLICE ------------------------------------------------------------------------------------
 */

static enum onion_status status_of(enum splice_refusal why)
{
    switch (why) {
    case SPLICE_NO_TOKEN:
        return ONION_NO_TOKEN;
    case SPLICE_SEED:
    case SPLICE_WORK:
    case SPLICE_PROOF:
    case SPLICE_NONCE:
        return ONION_MORE_WORK;
    case SPLICE_NO_SERVICE:
    case SPLICE_BUCKET:
    case SPLICE_OPEN:
    case SPLICE_FULL:
    case SPLICE_REFUSALS:
        break;
    }
    return ONION_BUSY;
}

static void refuse(struct onion_pivots *v, const struct request *q, enum splice_refusal why)
{
    enum onion_status status = status_of(why);
    bool is_work = status == ONION_MORE_WORK;
    v->n.refused[why]++;
    relay__path_refuse(q->path, status, is_work ? pivot__effort(q->reg) : 0,
                       is_work ? q->reg->seed[0] : NULL);
}

/* SPLICE_REFUSALS: it may. */
static enum splice_refusal may_splice(struct onion_pivots *v, struct request *q)
{
    struct pivot_registration *g = q->reg;
    uint64_t now = env_now_ns(v->env);
    if (g == NULL)
        return SPLICE_NO_TOKEN;
    if (g->tail.path == NULL)
        return SPLICE_NO_SERVICE;
    enum splice_refusal why = pay(q, pivot__effort(g));
    if (why != SPLICE_REFUSALS)
        return why;
    if (!onion_effort_take(&g->effort, now))
        return SPLICE_BUCKET;
    if (v->n_splices >= ONION_SPLICES)
        return SPLICE_FULL;
    if (g->effort.open >= g->effort.most && !take_place(g, q->paid))
        return SPLICE_OPEN;
    return remember(q) ? SPLICE_REFUSALS : SPLICE_NONCE;
}

/* Twice: a lost one would cost the client a timeout. */
static void early_to_service(const struct pivot_splice *s, const struct onion_fields *f,
                             const uint8_t *early)
{
    const struct onion_cell c = {
        .command = ONION_CELL_DATA, .kind = f->early_kind, .payload = early, .len = f->early_len
    };
    for (unsigned i = 0; i < 2 && f->early_len > 0; i++)
        pivot__to_service(s->reg, s->id, &c);
}

void pivot__splice(struct onion_pivots *v, struct relay_path *p, const struct onion_fields *f,
                   const uint8_t early[static ONION_TRAIN])
{
    struct request q = { .path = p, .fields = f, .reg = map_get(v->by_token, f->target) };
    request_read(&q, f);
    enum splice_refusal why = may_splice(v, &q);
    struct pivot_splice *s = why == SPLICE_REFUSALS ? splice_new(&q) : NULL;
    if (s == NULL) {
        refuse(v, &q, why == SPLICE_REFUSALS ? SPLICE_FULL : why);
        return;
    }
    v->n.spliced++;
    early_to_service(s, f, early);
    relay__path_end(p, &s->tail); /* last: it may end at once */
}
