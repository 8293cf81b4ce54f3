#include "train_rig.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"

static void rig_random(struct env *e, void *buf, size_t n)
{
    struct train_rig *r = (struct train_rig *)e;
    if (r->is_queued) {
        cr_assert_leq(r->taken + n, r->queued, "draws more than was put there");
        memcpy(buf, r->queue + r->taken, n);
        r->taken += n;
        return;
    }
    uint8_t seed[32] = { 0 };
    memcpy(seed, &r->draws, sizeof r->draws);
    r->draws++;
    randombytes_buf_deterministic(buf, n, seed);
}

static const struct env_ops ops = { .random = rig_random };

void rig_init(struct train_rig *r)
{
    cr_assert_eq(secret_init(NULL), 0);
    memset(r, 0, sizeof *r);
    r->env.ops = &ops;
    cr_assert_eq(mesh_network_init(&r->net, "vectors", 1, true, NULL), 0);
    for (size_t i = 0; i < ONION_HOPS_MAX; i++) {
        struct mesh_keypair *k = &r->hops[i].onion[0];
        env_random(&r->env, r->hops[i].id, 32);
        env_random(&r->env, k->secret, 32);
        crypto_dh_public(k->pub, k->secret);
        k->made = 1;
    }
}

void rig_queue(struct train_rig *r, const void *bytes, size_t n)
{
    if (rig_is_drained(r))
        r->queued = r->taken = 0;
    cr_assert_leq(r->queued + n, sizeof r->queue);
    memcpy(r->queue + r->queued, bytes, n);
    r->queued += n;
    r->is_queued = true;
}

bool rig_is_drained(const struct train_rig *r)
{
    return r->taken == r->queued;
}

struct onion_build rig_path(const struct train_rig *r, size_t n, uint8_t command)
{
    struct onion_build b = { .n_hops = n, .last.command = command, .stamp = 1700000039 };
    for (size_t i = 0; i < n; i++) {
        memcpy(b.hops[i].id, r->hops[i].id, 32);
        memcpy(b.hops[i].onion_key, r->hops[i].onion[0].pub, 32);
    }
    return b;
}

struct onion_train *rig_create(struct train_rig *r, const struct onion_build *b,
                               uint8_t out[static ONION_TRAIN])
{
    struct cyx_err err = { 0 };
    struct onion_train *t = onion_train_create(b, &r->net, &r->env, out, &err);
    cr_assert_not_null(t, "%s", err.msg);
    return t;
}

void rig_travel(struct train_rig *r, uint8_t train[static ONION_TRAIN], size_t last,
                struct onion_opened *opened)
{
    for (size_t i = 0; i <= last; i++)
        cr_assert_eq(onion_hop_open(&opened[i], &r->hops[i], &r->net, train), DROP_NONE, "hop %zu",
                     i);
}

void rig_return(struct train_rig *r, const struct onion_opened *opened, size_t last,
                enum onion_status status, uint8_t reply[static ONION_REPLY],
                struct onion_answer *answers)
{
    for (size_t i = last + 1; i-- > 0;) {
        struct onion_answer a;
        cr_assert_eq(onion_hop_answer(&a, &opened[i], &r->env), 0);
        onion_hop_reply(&a, i == last ? status : ONION_OK, 0, NULL, i == last, &r->env, reply);
        if (answers != NULL)
            answers[i] = a;
    }
}

void rig_seal(const struct train_rig *r, const struct mesh_identity *hop,
              const uint8_t e_secret[static 32], const struct onion__payload *p,
              uint8_t train[static ONION_TRAIN])
{
    struct noise s;
    uint8_t es[32], ks[32];
    train[0] = ONION__TYPE_X25519;
    onion__hint(train + 1, hop->onion[0].pub);
    crypto_dh_public(train + ONION__RECORD_E, e_secret);
    cr_assert_eq(crypto_dh(es, e_secret, hop->onion[0].pub), 0);
    onion__record_begin(&s, &r->net, hop->id, hop->onion[0].pub, train, train + ONION_RECORD);
    noise_mix_key3(&s, es, ks);
    noise_encrypt(&s, p->b, sizeof p->b, train + ONION__RECORD_SEALED);
}
