#include "made.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void made_key(struct made_key *k, uint8_t seed, enum mesh_pow_purpose purpose)
{
    const uint8_t nonce[16] = { 0 }, seed32[32] = { seed };
    struct mesh_pow_subject s = { .purpose = purpose };
    crypto_sign_seed_keypair(k->pk, k->sk, seed32);
    memcpy(s.x, k->pk, sizeof s.x);
    cr_assert_eq(mesh_pow_solve(&s, 1, nonce, NULL, k->puzzle, NULL), 0);
}

struct made made_start(void)
{
    struct made m = { .map = { 0x81, 1, 0xa2, 'h', 'i' }, .map_len = 5 };
    const uint8_t seed[32] = { 3 };
    cr_assert(sodium_init() >= 0);
    cr_assert_eq(mesh_network_init(&m.net, "types", 1, true, NULL), 0);
    made_key(&m.self, 1, MESH_POW_ID);
    made_key(&m.blinded, 2, MESH_POW_DESCRIPTOR);
    crypto_sign_seed_keypair(m.d.pk, m.d.sk, seed);
    randombytes_buf_deterministic(m.inner, sizeof m.inner, seed);
    return m;
}

struct dht_provider made_provider(const struct made *m)
{
    struct dht_provider p = { .size = 1 << 20, .sequence = 7, .expiry = MADE_NOW + 3600 };
    memset(p.content, 0xcc, sizeof p.content);
    memcpy(p.address, m->blinded.pk, sizeof p.address); /* any point */
    memcpy(p.puzzle, m->self.puzzle, sizeof p.puzzle);
    return p;
}

struct dht_offer made_offer(const struct made *m)
{
    struct dht_offer o = {
        .map = m->map, .map_len = m->map_len, .sequence = 8, .expiry = MADE_NOW + 3600
    };
    memcpy(o.puzzle, m->self.puzzle, sizeof o.puzzle);
    return o;
}

void made_delegate(const struct made *m, struct dht_descriptor *d)
{
    uint8_t text[DHT_DELEGATION_TEXT];
    dht_delegation_text(text, &m->net, d->period, d->serial, d->d);
    crypto_sign_detached(d->delegation, NULL, text, sizeof text, m->blinded.sk);
}

struct dht_descriptor made_descriptor(const struct made *m, size_t len)
{
    struct dht_descriptor d = { .period = dht_period(MADE_NOW),
                                .serial = 5,
                                .nonce = { 9, 9, 9 },
                                .inner = m->inner,
                                .inner_len = len - DHT_DESCRIPTOR_OUTER + 16,
                                .sequence = 24 * 60 * 256 };
    memcpy(d.blinded, m->blinded.pk, sizeof d.blinded);
    memcpy(d.d, m->d.pk, sizeof d.d);
    memcpy(d.proof, m->blinded.puzzle, sizeof d.proof);
    made_delegate(m, &d);
    return d;
}

static int node_build(const struct made *m, uint8_t *out)
{
    struct mesh_node n = { .sequence = 6,
                           .expiry = MADE_NOW + 3600,
                           .addrs = { { .kind = 4, .ip = env_addr_v4(192, 0, 2, 1, 4100) } },
                           .n_addrs = 1,
                           .version = { 1, 1, 0, 0 } };
    memcpy(n.identity, m->self.pk, sizeof n.identity);
    memcpy(n.puzzle, m->self.puzzle, sizeof n.puzzle);
    return mesh_node_record_build(&n, &m->net, m->self.sk, out);
}

size_t made_record(const struct made *m, unsigned type, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    const struct dht_provider p = made_provider(m);
    const struct dht_offer o = made_offer(m);
    const struct dht_descriptor d = made_descriptor(m, 2048);
    int len = type == MESH_RECORD_NODE         ? node_build(m, out)
              : type == MESH_RECORD_DESCRIPTOR ? dht_descriptor_build(&d, &m->net, m->d.sk, out)
              : type == MESH_RECORD_PROVIDER   ? dht_provider_build(&p, &m->net, m->self.sk, out)
                                               : dht_offer_build(&o, &m->net, m->self.sk, out);
    cr_assert_gt(len, 0, "type %u: %d", type, len);
    return (size_t)len;
}

size_t made_envelope(const struct made *m, unsigned type, uint64_t expiry, const void *body,
                     size_t len, uint8_t out[static DHT_DESCRIPTOR_MAX])
{
    struct mesh_record r = {
        .type = (uint8_t)type, .sequence = 1, .expiry = expiry, .body = body, .body_len = len
    };
    memcpy(r.publisher, m->self.pk, sizeof r.publisher);
    int built = mesh_record_build(&m->net, &r, m->self.sk, out, DHT_DESCRIPTOR_MAX);
    cr_assert_gt(built, 0);
    return (size_t)built;
}

enum drop made_judge(const struct made *m, const uint8_t *data, size_t len)
{
    struct dht_value v;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    enum drop drop = dht_value_parse(&v, &m->net, MADE_NOW, copy, len);
    if (drop == DROP_NONE)
        drop = dht_value_verify(&v, &m->net, MADE_NOW);
    free(copy);
    return drop;
}
