/* dht/type_descriptor.c - type 2: how to reach a hidden endpoint, sealed for those who know its
 * address. A store sees a blinded key, three size classes and a period. Spec: protocol.md, section
 * 12. Body:
 *
 *   0    8   period
 *   8    4   serial of the delegation
 *   12   32  d, the delegated key
 *   44   64  delegation, the blinded key's signature
 *   108  36  proof of work over the blinded key
 *   144  24  nonce
 *   168      ciphertext to the end */
#include <sodium.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "dht/type_internal.h"

enum {
    FIXED = 168,  /* of the body, before the ciphertext */
    EFFORT = 256, /* 0.4 s of a core for each period, or blinded keys were free */
    EFFORT_LAB = 1,
    SEQUENCE_MINUTES = 60, /* a publisher's clock may be so far ahead of ours */
    SEQUENCE_STEP = 256,
    AFTER_S = 12 * 3600, /* a descriptor outlives its period by this */
    BODY_MAX = DHT_DESCRIPTOR_MAX - MESH_RECORD_HEAD - MESH_RECORD_SIGNATURE,
};

_Static_assert(MESH_RECORD_HEAD + FIXED + MESH_RECORD_SIGNATURE + 16 == DHT_DESCRIPTOR_OUTER,
               "what the outside takes of a class, the ciphertext's tag included");

/* Three sizes and no more: a store learns two bits about what is inside. */
static bool is_class(size_t len)
{
    return len == 2048 || len == 4096 || len == DHT_DESCRIPTOR_MAX;
}

/* Where period `p` ends, and the allowance. For periods that period_is_near let through. */
static uint64_t expiry_of(uint64_t p)
{
    return (p + 1) * DHT_PERIOD_S + DHT_PERIOD_OFFSET_S + AFTER_S;
}

static bool period_is_near(uint64_t p, uint64_t now)
{
    uint64_t own = dht_period(now);
    return p > own ? p - own == 1 : own - p <= 1;
}

/* A sequence above this comes from the future: were it stored, its publisher (or who stole d) could
 * be replaced by nobody until the descriptor expires. Counted from the start of period p - 1. */
static uint64_t sequence_max(uint64_t p, uint64_t now)
{
    uint64_t start = p * DHT_PERIOD_S, t = now + DHT_PERIOD_S - DHT_PERIOD_OFFSET_S;
    uint64_t minutes = t > start ? (t - start) / 60 : 0;
    return (minutes + SEQUENCE_MINUTES) * SEQUENCE_STEP + SEQUENCE_STEP - 1;
}

static enum drop body_read(struct dht_descriptor *out, const struct mesh_record *head)
{
    struct dht_descriptor d = { .sequence = head->sequence };
    struct reader r = reader_on(head->body, head->body_len);
    memcpy(d.blinded, head->publisher, sizeof d.blinded);
    d.period = reader_u64(&r);
    d.serial = reader_u32(&r);
    reader_copy(&r, d.d, sizeof d.d);
    reader_copy(&r, d.delegation, sizeof d.delegation);
    reader_copy(&r, d.proof, sizeof d.proof);
    reader_copy(&r, d.nonce, sizeof d.nonce);
    d.inner_len = reader_left(&r);
    d.inner = reader_bytes(&r, d.inner_len);
    if (r.bad)
        return DROP_SHORT;
    *out = d;
    return DROP_NONE;
}

static enum drop descriptor_form(struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    struct dht_descriptor d;
    if (!is_class(v->len))
        return DROP_FIELD;
    enum drop drop = body_read(&d, &v->head);
    if (drop != DROP_NONE)
        return drop;
    if (!period_is_near(d.period, now))
        return DROP_EXPIRED;
    if (v->head.expiry != expiry_of(d.period) || d.sequence > sequence_max(d.period, now))
        return DROP_FIELD;
    v->serial = d.serial;
    memcpy(v->signer, d.d, sizeof v->signer);
    for (uint8_t i = 0; i < DHT_REPLICAS; i++)
        dht_descriptor_place(v->places[i], net, d.blinded, d.period, i);
    v->n_places = DHT_REPLICAS;
    return DROP_NONE;
}

static enum drop descriptor_proof(const struct dht_value *v, const struct mesh_network *net,
                                  uint64_t now)
{
    struct mesh_pow_subject s = { .purpose = MESH_POW_DESCRIPTOR };
    struct dht_descriptor d;
    (void)now;
    enum drop drop = body_read(&d, &v->head);
    if (drop != DROP_NONE)
        return drop;
    memcpy(s.x, d.blinded, sizeof s.x);
    drop = mesh_pow_check(&s, net->is_lab ? EFFORT_LAB : EFFORT, d.proof);
    return drop == DROP_NONE ? DROP_NONE : DROP_PROOF;
}

/* The envelope shows that d made this; the delegation, that d may speak for the blinded key. */
static enum drop descriptor_check(const struct dht_value *v, const struct mesh_network *net,
                                  uint64_t now)
{
    uint8_t text[DHT_DELEGATION_TEXT];
    struct dht_descriptor d;
    (void)now;
    enum drop drop = body_read(&d, &v->head);
    if (drop != DROP_NONE)
        return drop;
    dht_delegation_text(text, net, d.period, d.serial, d.d);
    return crypto_sign_verify_detached(d.delegation, text, sizeof text, d.blinded) == 0
               ? DROP_NONE
               : DROP_SIGNATURE;
}

const struct dht_type dht__type_descriptor = {
    .number = MESH_RECORD_DESCRIPTOR,
    .name = "descriptor",
    .len_max = DHT_DESCRIPTOR_MAX,
    .keep = 1,
    .form = descriptor_form,
    .proof = descriptor_proof,
    .check = descriptor_check,
};

void dht_delegation_text(uint8_t out[static DHT_DELEGATION_TEXT], const struct mesh_network *net,
                         uint64_t period, uint32_t serial, const uint8_t d[static 32])
{
    struct writer w = writer_on(out, DHT_DELEGATION_TEXT);
    writer_copy(&w, "cyx delegate 1", 14);
    writer_copy(&w, net->id, sizeof net->id);
    writer_u64(&w, period);
    writer_u32(&w, serial);
    writer_copy(&w, d, 32);
}

bool dht_descriptor_read(struct dht_descriptor *out, const struct dht_value *v)
{
    return v->type == &dht__type_descriptor && body_read(out, &v->head) == DROP_NONE;
}

static void body_put(struct writer *w, const struct dht_descriptor *d)
{
    writer_u64(w, d->period);
    writer_u32(w, d->serial);
    writer_copy(w, d->d, sizeof d->d);
    writer_copy(w, d->delegation, sizeof d->delegation);
    writer_copy(w, d->proof, sizeof d->proof);
    writer_copy(w, d->nonce, sizeof d->nonce);
    writer_copy(w, d->inner, d->inner_len);
}

int dht_descriptor_build(const struct dht_descriptor *d, const struct mesh_network *net,
                         const uint8_t d_sk[static 64], uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    uint8_t body[BODY_MAX], d_pk[32];
    struct writer w = writer_on(body, sizeof body);
    body_put(&w, d);
    crypto_sign_ed25519_sk_to_pk(d_pk, d_sk);
    /* What every store would refuse is not worth sending. */
    if (!writer_ok(&w) || memcmp(d_pk, d->d, sizeof d_pk) != 0 ||
        d->period > UINT64_MAX / DHT_PERIOD_S - 2 ||
        !is_class(MESH_RECORD_HEAD + writer_len(&w) + MESH_RECORD_SIGNATURE))
        return CYX_EINVAL;
    struct mesh_record r = { .type = MESH_RECORD_DESCRIPTOR,
                             .sequence = d->sequence,
                             .expiry = expiry_of(d->period),
                             .body = body,
                             .body_len = writer_len(&w) };
    memcpy(r.publisher, d->blinded, sizeof r.publisher);
    return mesh_record_build(net, &r, d_sk, out, DHT_DESCRIPTOR_MAX);
}
