#include "tests/sim/scenarios/cards.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/writer.h"
#include "mesh/pow.h"
#include "mesh/record.h"

struct cards *cards_create(uint64_t seed)
{
    struct cards *c = calloc(1, sizeof *c);
    if (c == NULL || mesh_network_init(&c->network, "sim", 1, false, NULL) < 0)
        abort();
    c->seed = seed;
    return c;
}

void cards_destroy(struct cards *c)
{
    if (c == NULL)
        return;
    for (unsigned kind = 0; kind < CARD_KINDS_; kind++)
        free(c->v[kind]);
    free(c);
}

static void draw(uint8_t out[static 32], const struct cards *c, const char *what,
                 enum card_kind kind, uint64_t number)
{
    uint8_t of[20];
    struct writer w = writer_on(of, sizeof of);
    writer_u64(&w, c->seed);
    writer_u32(&w, kind);
    writer_u64(&w, number);
    crypto_h(out, what, &BYTES(of, sizeof of), 1);
}

static void make(struct cards *c, enum card_kind kind, uint64_t number, struct card *out)
{
    uint8_t sk[64], nonce[32];
    struct mesh_pow_subject subject = { .purpose = MESH_POW_ID };
    draw(out->seed, c, "sim card", kind, number);
    draw(nonce, c, "sim nonce", kind, number);
    crypto_sign_seed_keypair(out->sign_pk, sk, out->seed);
    memcpy(subject.x, out->sign_pk, sizeof subject.x);
    if (mesh_pow_solve(&subject, c->network.id_effort, nonce, NULL, out->puzzle, NULL) != 0)
        abort();
    mesh_node_id(out->id, out->sign_pk, out->puzzle);
}

struct card cards_get(struct cards *c, enum card_kind kind, size_t number)
{
    if (number >= c->cap[kind]) {
        size_t cap = number + 1 > 2 * c->cap[kind] ? number + 1 : 2 * c->cap[kind];
        c->v[kind] = realloc(c->v[kind], cap * sizeof *c->v[kind]);
        if (c->v[kind] == NULL)
            abort();
        c->cap[kind] = cap;
    }
    for (; c->n[kind] <= number; c->n[kind]++)
        make(c, kind, c->n[kind], &c->v[kind][c->n[kind]]);
    return c->v[kind][number];
}

void card_secret(const struct card *c, uint8_t sk[static 64])
{
    uint8_t pk[32];
    crypto_sign_seed_keypair(pk, sk, c->seed);
}

struct mesh_identity *card_identity(const struct card *c, const struct mesh_network *net,
                                    struct env *e, struct cyx_err *err)
{
    struct mesh_identity *i = mesh_identity_create(e, (uint64_t)env_wall_ms(e) / 1000, err);
    if (i == NULL)
        return NULL;
    memcpy(i->seed, c->seed, sizeof i->seed);
    crypto_sign_seed_keypair(i->sign_pk, i->sign_sk, i->seed);
    if (mesh_identity_set_puzzle(i, net, c->puzzle, err) < 0) {
        mesh_identity_destroy(i);
        return NULL;
    }
    return i;
}
