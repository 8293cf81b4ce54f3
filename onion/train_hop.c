/* onion/train_hop.c - a hop's end of a train: opens its record, answers. Spec: protocol.md,
 * section 8. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/train_internal.h"

/* ---- the record ------------------------------------------------------------------------------ */

/* Opens with one key. Leaves *out and *ks alone unless it opened. */
static enum drop open_with(struct onion_opened *out, struct key32 *ks,
                           const struct mesh_keypair *key, const uint8_t id[static 32],
                           const struct mesh_network *net, const uint8_t train[static ONION_TRAIN])
{
    cleanup_noise struct noise s = { 0 };
    cleanup_key32 struct key32 es = { 0 }, stream = { 0 };
    cleanup_payload struct onion__payload payload = { 0 };
    cleanup_opened struct onion_opened o = { 0 };
    const uint8_t *e = onion_train_ephemeral(train);
    if (crypto_dh(es.b, key->secret, e) != 0)
        return DROP_AUTH;
    onion__record_begin(&s, net, id, key->pub, train, train + ONION_RECORD);
    noise_mix_key3(&s, es.b, stream.b); /* es */
    enum drop drop =
        noise_decrypt(&s, train + ONION__RECORD_SEALED, ONION__PAYLOAD + ONION__TAG, payload.b);
    if (drop == DROP_NONE)
        drop = onion__payload_read(&o.fields, &payload);
    if (drop != DROP_NONE)
        return drop;
    memcpy(o.e, e, sizeof o.e);
    memcpy(o.record_h, s.h, sizeof o.record_h);
    memcpy(o.record_ck, s.ck, sizeof o.record_ck);
    *out = o;
    *ks = stream;
    return DROP_NONE;
}

enum drop onion_hop_open(struct onion_opened *out, const struct mesh_identity *identity,
                         const struct mesh_network *net, uint8_t train[static ONION_TRAIN])
{
    cleanup_key32 struct key32 ks = { 0 };
    enum drop drop = DROP_KEY;
    if (train[0] != ONION__TYPE_X25519)
        return DROP_FIELD;
    for (size_t k = 0; k < MESH_ONION_KEYS && drop != DROP_NONE; k++) {
        const struct mesh_keypair *key = &identity->onion[k];
        uint8_t hint[ONION__HINT];
        if (key->made == 0)
            continue;
        onion__hint(hint, key->pub);
        /* Once in 2^24 two keys of ours share a hint: then both are tried. */
        if (memcmp(hint, train + 1, sizeof hint) == 0)
            drop = open_with(out, &ks, key, identity->id, net, train);
    }
    if (drop != DROP_NONE)
        return drop;
    memmove(train, train + ONION_RECORD, ONION__REST);
    memset(train + ONION__REST, 0, ONION_RECORD);
    onion__stream_xor(ks.b, 0, train, ONION_TRAIN);
    return DROP_NONE;
}

/* ---- the reply ------------------------------------------------------------------------------- */

int onion_hop_answer(struct onion_answer *out, const struct onion_opened *o, struct env *env)
{
    cleanup_noise struct noise s = { 0 };
    cleanup_key32 struct key32 secret = { 0 }, ee = { 0 };
    cleanup_answer struct onion_answer a = { 0 };
    env_random(env, secret.b, sizeof secret.b);
    crypto_dh_public(a.y, secret.b);
    int code = crypto_dh(ee.b, secret.b, o->e);
    if (code != 0)
        return code;
    memcpy(s.h, o->record_h, sizeof s.h);
    memcpy(s.ck, o->record_ck, sizeof s.ck);
    onion__reply_begin(&s, a.y, ee.b, &a.keys, a.reply_stream);
    memcpy(a.h, s.h, sizeof a.h);
    memcpy(a.k, s.k, sizeof a.k);
    *out = a;
    return 0;
}

static void seal_reply(const struct onion_answer *a, const struct onion__verdict *v,
                       uint8_t record[static ONION_REPLY_RECORD])
{
    cleanup_noise struct noise s = { .has_k = true };
    uint8_t payload[ONION__REPLY_PAYLOAD];
    memcpy(s.h, a->h, sizeof s.h);
    memcpy(s.k, a->k, sizeof s.k);
    onion__verdict_write(payload, v);
    memcpy(record, a->y, sizeof a->y);
    noise_encrypt(&s, payload, sizeof payload, record + ONION__REPLY_SEALED);
}

/* Random bytes, as train.h says that they are drawn. */
static void put_noise(struct env *env, uint8_t *data, size_t n)
{
    cleanup_key32 struct key32 seed = { 0 };
    env_random(env, seed.b, sizeof seed.b);
    memset(data, 0, n);
    onion__stream_xor(seed.b, 0, data, n);
}

void onion_hop_reply(struct onion_answer *a, enum onion_status status, uint32_t effort,
                     const uint8_t *seed, bool is_last, struct env *env,
                     uint8_t reply[static ONION_REPLY])
{
    struct onion__verdict v = { .status = (uint8_t)status };
    if (status == ONION_MORE_WORK) {
        v.effort = effort;
        if (seed != NULL)
            memcpy(v.seed, seed, sizeof v.seed);
    }
    if (sodium_is_zero(a->k, sizeof a->k) == 1) { /* sealed before: one key, one nonce, one use */
        put_noise(env, reply, ONION_REPLY);
        return;
    }
    if (is_last) {
        put_noise(env, reply + ONION_REPLY_RECORD, ONION__REPLY_REST);
    } else {
        onion__stream_xor(a->reply_stream, 0, reply, ONION__REPLY_REST);
        memmove(reply + ONION_REPLY_RECORD, reply, ONION__REPLY_REST);
    }
    seal_reply(a, &v, reply);
    sodium_memzero(a->h, sizeof a->h);
    sodium_memzero(a->k, sizeof a->k);
    sodium_memzero(a->reply_stream, sizeof a->reply_stream);
}
