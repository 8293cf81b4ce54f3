/* onion/service_publish.c - a period's descriptor: proof of work once, then made, stored through
 * ENDs and looked up again as a visitor would, whenever what it says has changed, and every few
 * hours. Spec: protocol.md, section 12. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/service_internal.h"

struct service_work {
    struct service_period *p; /* NULL: nobody wants it any more */
    struct mesh_pow_subject subject;
    uint32_t effort;
    uint8_t nonce[16], proof[MESH_POW_PROOF];
    atomic_bool cancel;
    int code;
};

static void again_after(struct service_period *p, uint64_t ms);
static void publish(struct service_period *p);
static void check(struct service_period *p);

/* ---- what survives a restart
 * ------------------------------------------------------------------------- The last sequence of
 * each period: stores take only greater ones. */

enum { SAVED_BYTES = 1 + SERVICE__PERIODS * 16 };

static const char *saved_name(const struct onion_service *s, char out[static 40])
{
    uint8_t h[CRYPTO_HASH];
    crypto_h(h, "cyx service file", &BYTES(s->address, 32), 1); /* a name that says nothing */
    snprintf(out, 40, "service-%02x%02x%02x%02x%02x%02x%02x%02x", h[0], h[1], h[2], h[3], h[4],
             h[5], h[6], h[7]);
    return out;
}

void publish__load(struct onion_service *s)
{
    uint8_t buf[SAVED_BYTES];
    char name[40];
    size_t len = 0;
    if (env_blob_load(s->o->env, saved_name(s, name), buf, sizeof buf, &len, NULL) != 0)
        return;
    struct reader r = reader_on(buf, len);
    if (reader_u8(&r) != 1)
        return;
    for (unsigned i = 0; i < SERVICE__PERIODS; i++) {
        s->saved_period[i] = reader_u64(&r);
        s->saved_sequence[i] = reader_u64(&r);
    }
}

static uint64_t last_sequence(const struct onion_service *s, uint64_t period)
{
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->saved_period[i] == period)
            return s->saved_sequence[i];
    return 0;
}

static void save(struct onion_service *s, uint64_t period, uint64_t sequence)
{
    uint8_t buf[SAVED_BYTES];
    char name[40];
    unsigned at = s->saved_period[0] < s->saved_period[1] ? 0 : 1;
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (s->saved_period[i] == period)
            at = i;
    s->saved_period[at] = period;
    s->saved_sequence[at] = sequence;
    struct writer w = writer_on(buf, sizeof buf);
    writer_u8(&w, 1);
    for (unsigned i = 0; i < SERVICE__PERIODS; i++) {
        writer_u64(&w, s->saved_period[i]);
        writer_u64(&w, s->saved_sequence[i]);
    }
    env_blob_store(s->o->env, saved_name(s, name), buf, sizeof buf, NULL, NULL);
}

/* ---- when
 * ---------------------------------------------------------------------------------------- */

static void timer(struct env_timer *t, void *arg)
{
    struct service_period *p = arg;
    (void)t;
    if (p->state == PUBLISH_CHECKING)
        check(p);
    else
        publish(p);
}

void publish__init(struct service_period *p)
{
    env_timer_init(&p->timer, timer, p);
    env_random(p->s->o->env, p->seed, sizeof p->seed);
    p->seed_ns = env_now_ns(p->s->o->env);
}

/* Twice as long after each failure: who hides what we store doesn't make us store it without end.
 */
static void failed(struct service_period *p, const char *trouble)
{
    uint64_t ms = (uint64_t)SERVICE__AGAIN_MS << (p->fails < 8 ? p->fails : 8);
    p->fails++;
    p->s->trouble = trouble;
    again_after(p, ms < SERVICE__AGAIN_MAX_MS ? ms : SERVICE__AGAIN_MAX_MS);
    service__changed(p->s);
}

static void again_after(struct service_period *p, uint64_t ms)
{
    p->state = PUBLISH_IDLE;
    env_timer_in(p->s->o->env, &p->timer, ENV_MS(ms));
}

/* Is there a descriptor of another period that visitors can use meanwhile? */
static bool has_other(const struct service_period *p)
{
    for (unsigned i = 0; i < SERVICE__PERIODS; i++)
        if (&p->s->periods[i] != p && p->s->periods[i].period != 0 && p->s->periods[i].was_seen)
            return true;
    return false;
}

/* The moment is drawn once: whoever makes pivots change neither hurries it nor puts it off. */
static uint64_t until_first(struct service_period *p, uint64_t least)
{
    struct env *e = p->s->o->env;
    uint64_t now = env_now_ns(e);
    if (p->first_ns == 0)
        p->first_ns = now + env_random_below(e, ENV_S(SERVICE__EARLY_S));
    return p->first_ns > now + least ? p->first_ns - now : least;
}

void publish__wanted(struct service_period *p)
{
    struct env *e = p->s->o->env;
    if (p->s->is_closing)
        return;
    if (p->state != PUBLISH_IDLE && p->state != PUBLISH_DONE) {
        p->is_wanted_again = true;
        return;
    }
    uint64_t wait = ENV_MS(SERVICE__GATHER_MS);
    if (pivots__up(p) >= onion_pick_pivots_wanted(p->s->o->picker, p->s->n_pivots))
        wait = 0;
    /* The first of a period says when this service saw its boundary: not all at the same moment. */
    if (p->published_s == 0 && has_other(p) && !mesh_network_of(p->s->o->mesh)->is_lab)
        wait = until_first(p, wait);
    p->state = PUBLISH_IDLE;
    env_timer_in(e, &p->timer, wait);
}

void publish__end(struct service_period *p)
{
    env_timer_stop(p->s->o->env, &p->timer);
    for (unsigned i = 0; i < DHT_REPLICAS; i++) {
        onion_ask_cancel(p->stores[i]);
        p->stores[i] = NULL;
    }
    onion_ask_cancel(p->check);
    p->check = NULL;
    if (p->work != NULL) {
        p->work->p = NULL;
        atomic_store(&p->work->cancel, true);
    }
    p->work = NULL;
}

/* ---- proof
 * ---------------------------------------------------------------------------------------- */

static void work_run(void *arg)
{
    struct service_work *k = arg;
    k->code = mesh_pow_solve(&k->subject, k->effort, k->nonce, &k->cancel, k->proof, NULL);
}

static void work_done(void *arg, int code)
{
    struct service_work *k = arg;
    struct service_period *p = k->p;
    if (p != NULL) {
        p->work = NULL;
        p->has_proof = code == 0 && k->code == 0;
        memcpy(p->proof, k->proof, sizeof p->proof);
        again_after(p, p->has_proof ? 0 : SERVICE__AGAIN_MS);
    }
    free(k);
}

static void prove(struct service_period *p)
{
    struct onion *o = p->s->o;
    struct service_work *k = calloc(1, sizeof *k);
    if (k == NULL) {
        again_after(p, SERVICE__AGAIN_MS);
        return;
    }
    k->p = p;
    onion_descriptor_subject(&k->subject, p->delegations->list[0].blinded);
    k->effort = onion_descriptor_effort(mesh_network_of(o->mesh));
    env_random(o->env, k->nonce, sizeof k->nonce);
    p->work = k;
    p->state = PUBLISH_PROVING;
    if (env_work(o->env, work_run, work_done, k, NULL) == 0)
        return;
    p->work = NULL;
    free(k);
    again_after(p, SERVICE__AGAIN_MS);
}

/* ---- the record
 * ------------------------------------------------------------------------------------- */

static void fill_inner(struct service_period *p, struct onion_inner *in)
{
    const struct onion_service *s = p->s;
    *in = (struct onion_inner){ .handshakes = ONION_HANDSHAKE_X25519, .n_ports = s->n_ports };
    memcpy(in->service_key, p->key.pub, sizeof in->service_key);
    for (unsigned i = 0; i < ONION_PIVOTS_MAX; i++) {
        struct service_pivot *v = &p->pivots[i];
        v->is_listed = v->p != NULL && v->is_up && !v->is_leaving;
        if (!v->is_listed)
            continue;
        memcpy(in->pivots[in->n_pivots].id, v->id, 32);
        memcpy(in->pivots[in->n_pivots++].token, v->token, ONION_TOKEN);
    }
    memcpy(in->ports, s->ports, s->n_ports * sizeof in->ports[0]);
    in->ask_ports = s->n_ports == 0;
    if (p->effort == 0)
        return;
    in->has_proof = true;
    memcpy(in->seed, p->seed, sizeof in->seed);
    in->effort = p->effort;
}

static int make_record(struct service_period *p, struct cyx_err *err)
{
    struct onion_service *s = p->s;
    struct onion_inner inner;
    uint64_t now = mesh_time(s->o->mesh);
    int code = onion_descriptor_sequence(&p->sequence, p->period, now, last_sequence(s, p->period));
    if (code < 0)
        return cyx_fail(err, code, "the clock went back");
    fill_inner(p, &inner);
    const struct onion_seal seal = { .address = s->address,
                                     .delegation = &p->delegations->list[0],
                                     .proof = p->proof,
                                     .sequence = p->sequence,
                                     .inner = &inner,
                                     .is_for_clients = s->n_clients > 0,
                                     .clients = (const uint8_t(*)[32])s->clients,
                                     .n_clients = s->n_clients };
    int len = onion_descriptor_seal(&seal, mesh_network_of(s->o->mesh), s->o->env, p->record, err);
    sodium_memzero(&inner, sizeof inner);
    if (len < 0)
        return len;
    p->record_len = (size_t)len;
    save(s, p->period, p->sequence);
    return 0;
}

/* ---- storing
 * ------------------------------------------------------------------------------------------ */

static void purpose_of(const struct service_period *p, uint8_t what, struct onion_purpose *out)
{
    uint8_t h[CRYPTO_HASH], period[8];
    struct writer w = writer_on(period, sizeof period);
    writer_u64(&w, p->period);
    const struct bytes x[] = { BYTES(p->s->address, 32), BYTES(period, 8), BYTES(&what, 1) };
    crypto_h(h, "cyx purpose service", x, 3);
    memcpy(out->tag, h, sizeof out->tag);
}

static void check_later(struct service_period *p)
{
    p->state = PUBLISH_CHECKING;
    env_timer_in(p->s->o->env, &p->timer, ENV_MS((uint64_t)SERVICE__CHECK_MS << p->checks));
}

static void stored_all(struct service_period *p)
{
    struct onion_service *s = p->s;
    if (p->n_stored == 0) {
        failed(p, "the descriptor could not be stored");
        return;
    }
    p->published_s = mesh_time(s->o->mesh);
    p->checks = 0;
    service__changed(s);
    check(p);
}

static void one_stored(struct service_period *p, unsigned replica, int code)
{
    p->stores[replica] = NULL;
    p->n_stored += code == 0;
    if (--p->n_storing == 0)
        stored_all(p);
}

static void stored_0(void *arg, int code)
{
    one_stored(arg, 0, code);
}

static void stored_1(void *arg, int code)
{
    one_stored(arg, 1, code);
}

static void store(struct service_period *p)
{
    static const onion_stored_fn done[DHT_REPLICAS] = { stored_0, stored_1 };
    struct onion_purpose why;
    p->state = PUBLISH_STORING;
    p->n_stored = p->n_storing = 0;
    for (uint8_t i = 0; i < DHT_REPLICAS; i++) {
        purpose_of(p, i, &why);
        p->stores[i] =
            onion_ask_store(p->s->o->asks, &why, p->record, p->record_len, done[i], p, NULL);
        p->n_storing += p->stores[i] != NULL;
    }
    if (p->n_storing == 0)
        again_after(p, SERVICE__AGAIN_MS);
}

static void publish(struct service_period *p)
{
    struct cyx_err err = { 0 };
    if (pivots__up(p) == 0) {
        again_after(p, SERVICE__AGAIN_MS);
        return;
    }
    if (!p->has_proof) {
        prove(p);
        return;
    }
    p->is_wanted_again = false;
    if (make_record(p, &err) < 0) {
        failed(p, "the descriptor could not be made");
        return;
    }
    store(p);
}

/* ---- seen from outside
 * ---------------------------------------------------------------------------------- */

static void done(struct service_period *p)
{
    struct env *e = p->s->o->env;
    uint64_t span = ENV_S(SERVICE__REPEAT_MAX_S - SERVICE__REPEAT_MIN_S);
    p->state = PUBLISH_DONE;
    env_timer_in(e, &p->timer, ENV_S(SERVICE__REPEAT_MIN_S) + env_random_below(e, span));
    service__changed(p->s);
    if (p->is_wanted_again)
        publish__wanted(p);
}

/* As a visitor would: the record, by the address alone. With clients, whose secrets we don't have,
 * its outside. */
static bool is_ours(const struct service_period *p, const struct dht_value *v)
{
    cleanup_descriptor struct onion_descriptor d = { .period = 0 };
    const struct onion_reading how = { .address = p->s->address };
    struct onion *o = p->s->o;
    enum drop drop = onion_descriptor_open(&d, &how, mesh_network_of(o->mesh), mesh_time(o->mesh),
                                           v->data, v->len);
    if (p->s->n_clients > 0 && drop == DROP_UNKNOWN)
        return v->head.sequence >= p->sequence;
    return drop == DROP_NONE && d.sequence >= p->sequence;
}

static void checked(void *arg, int code, const struct onion_answer_found *f)
{
    struct service_period *p = arg;
    p->check = NULL;
    if (code == 0 && f->n > 0 && is_ours(p, &f->values[0])) {
        p->was_seen = true;
        p->fails = 0;
        done(p);
        return;
    }
    if (++p->checks < SERVICE__CHECKS) {
        check_later(p);
        return;
    }
    p->was_seen = false;
    failed(p, "the descriptor was stored, but isn't found");
}

static void check(struct service_period *p)
{
    struct onion *o = p->s->o;
    uint8_t places[DHT_REPLICAS][DHT_ID];
    struct onion_purpose why;
    p->state = PUBLISH_CHECKING;
    for (uint8_t i = 0; i < DHT_REPLICAS; i++)
        dht_descriptor_place(places[i], mesh_network_of(o->mesh), p->delegations->list[0].blinded,
                             p->period, i);
    purpose_of(p, DHT_REPLICAS, &why);
    p->check = onion_ask_find(o->asks, &why, places, DHT_REPLICAS, MESH_RECORD_DESCRIPTOR, checked,
                              p, NULL);
    if (p->check == NULL)
        check_later(p);
}
