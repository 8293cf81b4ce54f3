/* onion/descriptor_seal.c - the service's side of a descriptor. Spec: protocol.md, section 12. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/descriptor_internal.h"

enum {
    LABEL = 14,
    SEQUENCE_STEP = 256,
    SEQUENCE_AHEAD_MIN = 60, /* what stores put up with */
    FIRST_FOR_CLIENTS = 1,   /* 4096: in 2048 a store could tell few clients from many */
};

static const size_t classes[] = { 2048, 4096, DHT_DESCRIPTOR_MAX };
enum { CLASSES = sizeof classes / sizeof classes[0] };

_Static_assert(DESC__AD == DHT_DESCRIPTOR_OUTER - MESH_RECORD_SIGNATURE - DESC__AEAD_TAG,
               "what stands before the ciphertext");

void desc__plain_wipe(struct desc__plain *p)
{
    sodium_memzero(p->b, sizeof p->b);
}

/* ---- periods --------------------------------------------------------------------------------- */

void onion_periods(uint64_t now, uint64_t out[static 2])
{
    uint64_t own = dht_period(now);
    uint64_t since = now - (own * DHT_PERIOD_S + DHT_PERIOD_OFFSET_S);
    bool is_early = now >= DHT_PERIOD_OFFSET_S && since < DHT_PERIOD_S / 2;
    out[0] = own;
    out[1] = is_early && own > 0 ? own - 1 : own + 1;
}

uint64_t onion_descriptor_expiry(uint64_t period)
{
    return (period + 2) * DHT_PERIOD_S; /* its end, and half a day */
}

int onion_descriptor_sequence(uint64_t *out, uint64_t period, uint64_t now, uint64_t last)
{
    uint64_t start = period * DHT_PERIOD_S, t = now + DHT_PERIOD_S - DHT_PERIOD_OFFSET_S;
    uint64_t minutes = t > start ? (t - start) / 60 : 0;
    uint64_t next = minutes * SEQUENCE_STEP;
    if (last >= next)
        next = last + 1;
    if (next < last || next > (minutes + SEQUENCE_AHEAD_MIN) * SEQUENCE_STEP + SEQUENCE_STEP - 1)
        return CYX_EAGAIN;
    *out = next;
    return 0;
}

/* ---- proof of work --------------------------------------------------------------------------- */

void onion_descriptor_subject(struct mesh_pow_subject *out, const uint8_t blinded[static 32])
{
    *out = (struct mesh_pow_subject){ .purpose = MESH_POW_DESCRIPTOR };
    memcpy(out->x, blinded, sizeof out->x);
}

uint32_t onion_descriptor_effort(const struct mesh_network *net)
{
    return net->is_lab ? ONION_DESCRIPTOR_EFFORT_LAB : ONION_DESCRIPTOR_EFFORT;
}

/* ---- sealing --------------------------------------------------------------------------------- */

void desc__inner_key(uint8_t key[static 32], const uint8_t nonce[static DESC__NONCE],
                     const uint8_t address[static 32], const struct desc__context *c)
{
    uint8_t info[LABEL + 32 + 8];
    struct writer w = writer_on(info, sizeof info);
    writer_copy(&w, "cyx desc inner", LABEL);
    writer_copy(&w, c->blinded, 32);
    writer_u64(&w, c->period);
    crypto_hkdf(nonce, DESC__NONCE, address, 32, info, sizeof info, key, 32);
}

static int check(const struct onion_seal *s, const struct mesh_network *net, struct cyx_err *err)
{
    struct mesh_pow_subject subject;
    if (!desc__inner_is_valid(s->inner))
        return cyx_fail(err, CYX_EINVAL,
                        "descriptor: %zu pivots, %zu ports: want 1 to %u pivots, each once, and up "
                        "to %u ports, ascending",
                        s->inner->n_pivots, s->inner->n_ports, (unsigned)ONION_PIVOTS_MAX,
                        (unsigned)ONION_PORTS_MAX);
    if (s->n_clients > ONION_CLIENTS_MAX || (s->n_clients > 0 && !s->is_for_clients))
        return cyx_fail(err, CYX_EINVAL, "descriptor: %zu clients, %u at most", s->n_clients,
                        (unsigned)ONION_CLIENTS_MAX);
    onion_descriptor_subject(&subject, s->delegation->blinded);
    if (mesh_pow_check(&subject, onion_descriptor_effort(net), s->proof) != DROP_NONE)
        return cyx_fail(err, CYX_EINVAL, "descriptor: the proof of work is not worth %lu",
                        (unsigned long)onion_descriptor_effort(net));
    return 0;
}

/* The smallest class that holds so much plaintext; 0: none does. */
static size_t class_for(size_t len, bool is_for_clients)
{
    for (size_t i = is_for_clients ? FIRST_FOR_CLIENTS : 0; i < CLASSES; i++)
        if (len <= classes[i] - DHT_DESCRIPTOR_OUTER)
            return classes[i];
    return 0;
}

/* Fills the plaintext, zero to its end; its class, or a CYX_E*. */
static int plain_put(struct desc__plain *plain, const struct onion_seal *s,
                     const struct desc__context *c, struct env *env, struct cyx_err *err)
{
    cleanup_plain struct desc__plain map = { 0 };
    struct writer mw = writer_on(map.b, DESC__MAP_MAX), w = writer_on(plain->b, sizeof plain->b);
    desc__map_put(&mw, s->inner);
    size_t map_len = writer_len(&mw);
    writer_u8(&w, DESC__FORMAT);
    writer_u8(&w, s->is_for_clients ? DESC__FOR_CLIENTS : DESC__OPEN);
    writer_u16(&w, (uint16_t)map_len);
    if (!s->is_for_clients)
        writer_copy(&w, map.b, map_len);
    else if (desc__clients_put(&w, s, c, map.b, map_len, env) != 0)
        return cyx_fail(err, CYX_EPROTO, "descriptor: a client's key is a point of small order");
    size_t size = class_for(writer_len(&w), s->is_for_clients);
    if (!writer_ok(&mw) || !writer_ok(&w) || size == 0)
        return cyx_fail(err, CYX_EFULL, "descriptor: larger than %u bytes",
                        (unsigned)DHT_DESCRIPTOR_MAX);
    return (int)size;
}

/* The outside, with whatever stands for the ciphertext. */
static int build(const struct onion_seal *s, const struct mesh_network *net,
                 const uint8_t nonce[static DESC__NONCE], const uint8_t *inner, size_t inner_len,
                 uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    const struct onion_delegation *g = s->delegation;
    uint8_t pk[32], sk[64];
    struct dht_descriptor d = { .period = g->period,
                                .serial = g->serial,
                                .inner = inner,
                                .inner_len = inner_len,
                                .sequence = s->sequence };
    memcpy(d.blinded, g->blinded, sizeof d.blinded);
    memcpy(d.d, g->d, sizeof d.d);
    memcpy(d.delegation, g->signature, sizeof d.delegation);
    memcpy(d.proof, s->proof, sizeof d.proof);
    memcpy(d.nonce, nonce, sizeof d.nonce);
    crypto_sign_seed_keypair(pk, sk, g->d_seed);
    int len = dht_descriptor_build(&d, net, sk, out);
    sodium_memzero(sk, sizeof sk);
    return len;
}

/* The ciphertext vouches for the outside as well, so that is built first, around zeros: the bytes
 * before the ciphertext are then what they will be. */
static int seal(const struct onion_seal *s, const struct mesh_network *net,
                const struct desc__context *c, const struct desc__plain *plain, size_t size,
                struct env *env, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    cleanup_key32 struct key32 key = { 0 };
    static const uint8_t zeros[DESC__PLAIN_MAX + DESC__AEAD_TAG];
    uint8_t nonce[DESC__NONCE], sealed[DESC__PLAIN_MAX + DESC__AEAD_TAG];
    size_t len = size - DHT_DESCRIPTOR_OUTER;
    env_random(env, nonce, sizeof nonce);
    int built = build(s, net, nonce, zeros, len + DESC__AEAD_TAG, out);
    if (built < 0)
        return built;
    desc__inner_key(key.b, nonce, s->address, c);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, plain->b, len, out, DESC__AD, NULL,
                                               nonce, key.b);
    return build(s, net, nonce, sealed, len + DESC__AEAD_TAG, out);
}

int onion_descriptor_seal(const struct onion_seal *s, const struct mesh_network *net,
                          struct env *env, uint8_t out[static DHT_DESCRIPTOR_MAX],
                          struct cyx_err *err)
{
    cleanup_plain struct desc__plain plain = { 0 };
    const struct desc__context c = { s->delegation->blinded, s->delegation->period };
    int code = check(s, net, err);
    if (code != 0)
        return code;
    int size = plain_put(&plain, s, &c, env, err);
    if (size < 0)
        return size;
    int len = seal(s, net, &c, &plain, (size_t)size, env, out);
    return len > 0 ? len : cyx_fail(err, len, "descriptor: its outside can't be built");
}
