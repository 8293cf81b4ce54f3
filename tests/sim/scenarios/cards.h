/* tests/sim/scenarios/cards.h - identities made beforehand. The puzzle is what an id costs, so the
 * worlds of one run share them. A card depends on the seed, its kind and its number alone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/identity.h"
#include "mesh/network.h"

enum card_kind {
    CARD_NODE,      /* of honest nodes, and of liars that took what they got */
    CARD_PSEUDONYM, /* of publishers */
    CARD_JUNK,      /* of liars that store junk */
    CARD_FAKE,      /* ids nobody lives under */
    CARD_SYBIL,     /* tried by an attacker who looks for places */
    CARD_KINDS_,
};

struct card {
    uint8_t seed[32];
    uint8_t sign_pk[32];
    uint8_t puzzle[MESH_POW_PROOF];
    uint8_t id[32];
};

struct cards {
    uint64_t seed;
    struct mesh_network network; /* "sim", effort 1, no lab: prefix rules hold */
    struct card *v[CARD_KINDS_];
    size_t n[CARD_KINDS_], cap[CARD_KINDS_];
};

/* Aborts when memory is out, like the others here. */
struct cards *cards_create(uint64_t seed);
void cards_destroy(struct cards *c); /* NULL is fine */
/* Makes it, and those before it, when they were not asked for yet. */
struct card cards_get(struct cards *c, enum card_kind kind, size_t number);

/* libsodium's 64-byte secret key. */
void card_secret(const struct card *c, uint8_t sk[static 64]);
/* A node's identity with this key and puzzle; the rest is drawn. NULL with `err`. */
struct mesh_identity *card_identity(const struct card *c, const struct mesh_network *net,
                                    struct env *e, struct cyx_err *err);
