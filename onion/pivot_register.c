/* onion/pivot_register.c - REGISTER: a service comes, or comes again on another path. Whoever holds
 * the owner secret may; the greater serial wins, so that a train held back takes nothing. Spec:
 * protocol.md, section 11. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "onion/pivot_internal.h"

struct request {
    uint8_t token[32];
    struct onion_terms terms;
    uint64_t serial;
};

static void request_read(struct request *q, const struct onion_fields *f)
{
    struct bytes secret = BYTES(f->target, sizeof f->target);
    struct reader r = reader_on(f->rest, sizeof f->rest);
    crypto_h(q->token, "cyx token", &secret, 1);
    onion_terms_read(&q->terms, reader_bytes(&r, ONION_TERMS));
    q->serial = reader_u64(&r);
}

/* ---- terms -------------------------------------------------------------------------------------
 */

static uint32_t or_default(uint32_t v, uint32_t by_default, uint32_t most)
{
    uint32_t chosen = v != 0 ? v : by_default;
    return chosen < most ? chosen : most;
}

static void seed_set(struct pivot_registration *g, const uint8_t seed[static 16])
{
    if (memcmp(g->seed[0], seed, sizeof g->seed[0]) == 0)
        return;
    pivot__nonces_forget(g, 1);
    g->nonces[1] = g->nonces[0];
    g->nonces[0] = (struct onion_nonces){ 0 };
    memcpy(g->seed[1], g->seed[0], sizeof g->seed[1]);
    memcpy(g->seed[0], seed, sizeof g->seed[0]);
    g->has_old_seed = true;
    onion_effort_reseeded(&g->effort);
}

static uint32_t rate_of(const struct onion_terms *t)
{
    return or_default(t->rate, ONION_SPLICE_RATE, UINT16_MAX);
}

static uint32_t burst_of(const struct onion_terms *t)
{
    return or_default(t->burst, ONION_SPLICE_BURST, UINT16_MAX);
}

static uint32_t most_of(const struct onion_terms *t)
{
    return or_default(t->most_open, ONION_SPLICES_DEFAULT, ONION_SPLICES_EACH);
}

static uint32_t least_of(const struct onion_terms *t)
{
    return or_default(t->least_effort, 0, MESH_POW_EFFORT_MAX);
}

void pivot__terms_set(struct pivot_registration *g, const struct onion_terms *t)
{
    onion_effort_set(&g->effort, rate_of(t), burst_of(t), most_of(t), least_of(t),
                     env_now_ns(g->pivot->env));
    seed_set(g, t->seed);
    g->pivot->n.terms++;
}

/* ---- registrations -----------------------------------------------------------------------------
 */

static struct pivot_registration *registration_new(struct onion_pivots *v, const struct request *q)
{
    struct pivot_registration *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->pivot = v;
    memcpy(g->token, q->token, sizeof g->token);
    list_init(&g->orphan);
    list_init(&g->congested);
    g->splices = map_create(sizeof(uint32_t), ONION_SPLICES_EACH);
    if (g->splices == NULL || map_put(v->by_token, g->token, g) != 0) {
        map_destroy(g->splices);
        free(g);
        return NULL;
    }
    memcpy(g->seed[0], q->terms.seed, sizeof g->seed[0]);
    onion_effort_init(&g->effort, rate_of(&q->terms), burst_of(&q->terms), most_of(&q->terms),
                      least_of(&q->terms), env_now_ns(v->env));
    v->n.registered++;
    return g;
}

static void count_from(struct pivot_registration *g, const struct mesh_link *from)
{
    struct relay__link *was = relay__link_find(g->pivot->relay, g->from);
    struct relay__link *is = relay__link_find(g->pivot->relay, from);
    if (g->from != NULL && was != NULL)
        was->n_registrations--;
    if (from != NULL && is != NULL)
        is->n_registrations++;
    g->from = from;
}

/* Its old path, if it still has one, closes; splices stay as they are. */
static void move_to(struct pivot_registration *g, struct relay_path *p, const struct request *q)
{
    tail__close(&g->tail);
    list_del(&g->orphan);
    g->serial = q->serial;
    count_from(g, p->from);
    tail__attach(&g->tail, &pivot__service_ops, p);
    pivot__arm(g->pivot);
    relay__path_end(p, &g->tail); /* may end at once, as any path may */
}

static bool is_old(struct onion_pivots *v, const struct pivot_registration *g,
                   const struct request *q)
{
    const struct pivot_serial *s = map_get(v->serials, q->token);
    return (g != NULL && q->serial <= g->serial) || (s != NULL && q->serial <= s->serial);
}

static bool has_room(const struct onion_pivots *v, const struct relay_path *p,
                     const struct pivot_registration *g)
{
    const struct relay__link *k = relay__link_find(v->relay, p->from);
    if (g != NULL && g->from == p->from)
        return true; /* it counts already */
    return k != NULL && k->n_registrations < ONION_REGISTRATIONS_LINK &&
           (g != NULL || map_len(v->by_token) < ONION_REGISTRATIONS);
}

static void serial_supersede(struct onion_pivots *v, const uint8_t token[static 32])
{
    struct pivot_serial *s = map_del(v->serials, token);
    if (s == NULL)
        return;
    list_del(&s->node);
    free(s);
}

void pivot__register(struct onion_pivots *v, struct relay_path *p, const struct onion_fields *f)
{
    struct request q;
    request_read(&q, f);
    struct pivot_registration *g = map_get(v->by_token, q.token);
    if (is_old(v, g, &q)) {
        v->n.old_serials++;
        relay__path_refuse(p, ONION_REFUSED, 0, NULL);
        return;
    }
    bool is_new = g == NULL;
    if (has_room(v, p, g) && is_new)
        g = registration_new(v, &q);
    else if (!has_room(v, p, g))
        g = NULL;
    if (g == NULL) {
        v->n.register_full++;
        relay__path_refuse(p, ONION_BUSY, 0, NULL);
        return;
    }
    serial_supersede(v, q.token);
    if (!is_new) {
        v->n.taken_over++;
        pivot__terms_set(g, &q.terms);
    }
    move_to(g, p, &q);
}

/* ---- the path goes -----------------------------------------------------------------------------
 */

void pivot__service_gone(struct onion_tail *t)
{
    struct pivot_registration *g = container_of(t, struct pivot_registration, tail);
    struct onion_pivots *v = g->pivot;
    count_from(g, NULL);
    mesh_sched_destroy(g->queue); /* for a path that is no more; QUIC sends it again */
    g->queue = NULL;
    list_del(&g->congested);
    g->until_ns = env_now_ns(v->env) + ENV_S(ONION_SPLICE_WAIT_S);
    list_push_back(&v->orphans, &g->orphan);
    v->n.orphaned++;
    pivot__arm(v);
}
