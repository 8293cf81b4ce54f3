/* onion/train_build.c - the client's end of a train: builds it from the last hop to the first, and
 * peels the reply from the first to the last. Spec: protocol.md, section 8. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/train_internal.h"

enum { STAMP_ROUND_S = 60 };

/* What opens the reply of one hop: our ephemeral, and Noise's state after its record. */
struct hop_state {
    uint8_t e_secret[32], h[32], ck[32];
};

struct onion_train {
    size_t n_hops;
    bool is_spent;
    struct hop_state hops[ONION_HOPS_MAX];
};

/* Needed while a train is built, and never after. */
struct draft {
    uint8_t secrets[ONION_HOPS_MAX + 1][32]; /* as drawn: ephemerals, the fill's seed */
    uint8_t e[ONION_HOPS_MAX][32], es[ONION_HOPS_MAX][32], ks[ONION_HOPS_MAX][32];
};

static void draft_wipe(struct draft *d)
{
    sodium_memzero(d, sizeof *d);
}
#define cleanup_draft __attribute__((cleanup(draft_wipe)))

void onion_train_destroy(struct onion_train *t)
{
    secret_free(t);
}

/* ---- what can be built ----------------------------------------------------------------------- */

static int check_hops(const struct onion_build *b, struct cyx_err *err)
{
    if (b->n_hops < 1 || b->n_hops > ONION_HOPS_MAX)
        return cyx_fail(err, CYX_EINVAL, "a path has 1 to %d hops, not %zu", (int)ONION_HOPS_MAX,
                        b->n_hops);
    for (size_t i = 1; i < b->n_hops; i++)
        for (size_t k = 0; k < i; k++)
            if (memcmp(b->hops[i].id, b->hops[k].id, 32) == 0)
                return cyx_fail(err, CYX_EINVAL, "hops %zu and %zu of a path are the same node",
                                k + 1, i + 1);
    return 0;
}

static int check_early(const struct onion_build *b, struct cyx_err *err)
{
    size_t len = b->last.early_len;
    if (len == 0)
        return 0;
    if (b->last.command != ONION_BUILD_SPLICE || b->early == NULL)
        return cyx_fail(err, CYX_EINVAL, "an early payload is bytes behind a SPLICE");
    if (len > ONION_PAYLOAD)
        return cyx_fail(err, CYX_EINVAL, "an early payload of %zu bytes: at most %d fit", len,
                        (int)ONION_PAYLOAD);
    if (b->n_hops > ONION_EARLY_HOPS_MAX)
        return cyx_fail(err, CYX_EINVAL, "a path of %zu hops has no room for an early payload",
                        b->n_hops);
    return 0;
}

/* ---- building -------------------------------------------------------------------------------- */

/* Draws all ephemerals and derives what depends on them and the hops' keys alone. */
static int draft_make(struct draft *d, const struct onion_build *b, struct env *env,
                      struct cyx_err *err)
{
    env_random(env, d->secrets, (b->n_hops + 1) * sizeof d->secrets[0]);
    for (size_t i = 0; i < b->n_hops; i++) {
        crypto_dh_public(d->e[i], d->secrets[i]);
        if (crypto_dh(d->es[i], d->secrets[i], b->hops[i].onion_key) != 0)
            return cyx_fail(err, CYX_EPROTO, "the onion key of hop %zu is a point of small order",
                            i + 1);
        onion__record_stream(d->ks[i], d->es[i]);
    }
    return 0;
}

/* Everything behind the last record, rest_n: early payload and random bytes under the last hop's
 * stream, then what the streams of the hops before it will have made of the zeros that each of
 * them appends (f_(n-1), at the end). */
static void put_fill(uint8_t train[static ONION_TRAIN], const struct draft *d,
                     const struct onion_build *b)
{
    size_t n = b->n_hops, room = (ONION_HOPS_MAX - n) * ONION_RECORD;
    for (size_t i = 1; i < n; i++) {
        size_t start = ONION_TRAIN - i * ONION_RECORD;
        memmove(train + start, train + start + ONION_RECORD, (i - 1) * ONION_RECORD);
        memset(train + ONION_TRAIN - ONION_RECORD, 0, ONION_RECORD);
        onion__stream_xor(d->ks[i - 1], start, train + start, i * ONION_RECORD);
    }
    memset(train + ONION_RECORD, 0, room);
    onion__stream_xor(d->secrets[n], 0, train + ONION_RECORD, room);
    if (b->last.early_len > 0)
        memcpy(train + ONION_RECORD, b->early, b->last.early_len);
    onion__stream_xor(d->ks[n - 1], 0, train + ONION_RECORD, room);
}

static void payload_of(struct onion__payload *out, const struct onion_build *b, size_t i)
{
    struct onion_fields f = { .command = ONION_BUILD_RELAY };
    if (i + 1 == b->n_hops)
        f = b->last;
    else
        memcpy(f.target, b->hops[i + 1].id, sizeof f.target);
    f.stamp = b->stamp - b->stamp % STAMP_ROUND_S;
    onion__payload_write(out, &f);
    sodium_memzero(&f, sizeof f);
}

/* Seals the record of hop i in front of what stands behind it. */
static void put_record(struct hop_state *state, uint8_t train[static ONION_TRAIN],
                       const struct draft *d, const struct onion_build *b,
                       const struct mesh_network *net, size_t i)
{
    cleanup_noise struct noise s = { 0 };
    cleanup_payload struct onion__payload payload = { 0 };
    cleanup_key32 struct key32 ks = { 0 };
    const struct onion_hop *hop = &b->hops[i];
    train[0] = ONION__TYPE_X25519;
    onion__hint(train + 1, hop->onion_key);
    memcpy(train + ONION__RECORD_E, d->e[i], 32);
    onion__record_begin(&s, net, hop->id, hop->onion_key, train, train + ONION_RECORD);
    noise_mix_key3(&s, d->es[i], ks.b); /* es */
    payload_of(&payload, b, i);
    noise_encrypt(&s, payload.b, sizeof payload.b, train + ONION__RECORD_SEALED);
    memcpy(state->e_secret, d->secrets[i], sizeof state->e_secret);
    memcpy(state->h, s.h, sizeof state->h);
    memcpy(state->ck, s.ck, sizeof state->ck);
}

struct onion_train *onion_train_create(const struct onion_build *b, const struct mesh_network *net,
                                       struct env *env, uint8_t out[static ONION_TRAIN],
                                       struct cyx_err *err)
{
    cleanup_draft struct draft d = { 0 };
    if (check_hops(b, err) != 0 || check_early(b, err) != 0 || draft_make(&d, b, env, err) != 0)
        return NULL;
    struct onion_train *t = secret_alloc(sizeof *t);
    if (t == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for the secrets of a path build");
        return NULL;
    }
    t->n_hops = b->n_hops;
    put_fill(out, &d, b);
    for (size_t i = b->n_hops; i-- > 0;) {
        put_record(&t->hops[i], out, &d, b, net, i);
        if (i == 0)
            break;
        onion__stream_xor(d.ks[i - 1], 0, out, ONION__REST); /* rest_(i-1) */
        memmove(out + ONION_RECORD, out, ONION__REST);
    }
    return t;
}

/* ---- the reply ------------------------------------------------------------------------------- */

/* Opens the reply record of one hop. DROP_AUTH leaves all outputs alone. */
static enum drop open_reply(const struct hop_state *state,
                            const uint8_t record[static ONION_REPLY_RECORD],
                            struct onion__verdict *verdict, struct onion_keys *keys,
                            struct key32 *kr)
{
    cleanup_noise struct noise s = { 0 };
    cleanup_key32 struct key32 ee = { 0 }, stream = { 0 };
    struct onion_keys derived;
    uint8_t payload[ONION__REPLY_PAYLOAD];
    memcpy(s.h, state->h, sizeof s.h);
    memcpy(s.ck, state->ck, sizeof s.ck);
    if (crypto_dh(ee.b, state->e_secret, record) != 0)
        return DROP_AUTH; /* y of small order: no honest hop's */
    onion__reply_begin(&s, record, ee.b, &derived, stream.b);
    enum drop drop =
        noise_decrypt(&s, record + ONION__REPLY_SEALED, ONION__REPLY_PAYLOAD + ONION__TAG, payload);
    if (drop == DROP_NONE) {
        onion__verdict_read(verdict, payload);
        *keys = derived;
        *kr = stream;
    }
    sodium_memzero(&derived, sizeof derived);
    return drop;
}

static enum drop peel(const struct onion_train *t, uint8_t reply[static ONION_REPLY],
                      struct onion_built *built)
{
    for (size_t i = 0; i < t->n_hops; i++) {
        cleanup_key32 struct key32 kr = { 0 };
        struct onion__verdict v = { 0 };
        struct onion_keys keys = { 0 };
        uint8_t *record = reply + i * ONION_REPLY_RECORD;
        if (open_reply(&t->hops[i], record, &v, &keys, &kr) != DROP_NONE) {
            built->status = ONION_NOTHING_BACK;
            return DROP_AUTH;
        }
        built->status = v.status;
        built->effort = v.effort;
        memcpy(built->seed, v.seed, sizeof built->seed);
        if (v.status == ONION_OK)
            built->keys[built->n_hops++] = keys;
        sodium_memzero(&keys, sizeof keys);
        if (v.status != ONION_OK)
            break;
        uint8_t *next = record + ONION_REPLY_RECORD;
        onion__stream_xor(kr.b, 0, next, (size_t)(reply + ONION_REPLY - next));
    }
    return DROP_NONE;
}

enum drop onion_train_reply(struct onion_train *t, const uint8_t reply[static ONION_REPLY],
                            struct onion_built *out)
{
    cleanup_built struct onion_built built = { 0 };
    uint8_t copy[ONION_REPLY];
    if (t->is_spent)
        return DROP_STATE;
    memcpy(copy, reply, sizeof copy);
    enum drop drop = peel(t, copy, &built);
    t->is_spent = true;
    sodium_memzero(t->hops, sizeof t->hops);
    *out = built;
    return drop;
}
