#include "tests/unit/onion/crowd.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/secret.h"

static bool node_of(void *arg, const uint8_t id[static DHT_ID], struct mesh_node *out)
{
    struct crowd *c = arg;
    const struct mesh_node *n = crowd_node(c, id);
    c->n_decoded++;
    if (n == NULL)
        return false;
    *out = *n;
    return true;
}

struct crowd *crowd_start(uint64_t seed, bool is_lab)
{
    static const uint8_t secret[32] = { 3 };
    struct crowd *c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    cr_assert_eq(secret_init(NULL), 0);
    c->dice = dice_of(seed);
    c->now = CROWD_NOW;
    memset(c->self, 0x5e, sizeof c->self);
    c->roster = dht_roster_create(DHT_ROSTER_MAX, c->self, secret, is_lab);
    c->relays = onion_relays_create(c->roster, c->self, is_lab, node_of, c);
    cr_assert(c->roster != NULL && c->relays != NULL);
    return c;
}

void crowd_destroy(struct crowd *c)
{
    onion_relays_destroy(c->relays);
    dht_roster_destroy(c->roster);
    free(c);
}

struct mesh_node *crowd_node(struct crowd *c, const uint8_t id[static 32])
{
    for (size_t i = 0; i < c->n; i++)
        if (memcmp(c->nodes[i].id, id, 32) == 0)
            return &c->nodes[i];
    return NULL;
}

void crowd_hear(struct crowd *c, struct mesh_node *n)
{
    n->sequence++;
    cr_assert_eq(dht_roster_heard(c->roster, n, CROWD_NOW, NULL, NULL), 0);
}

struct mesh_node *crowd_add(struct crowd *c, uint8_t net, uint8_t family, uint32_t capacity)
{
    cr_assert_lt(c->n, (size_t)CROWD_MAX);
    struct mesh_node *n = &c->nodes[c->n];
    *n = (struct mesh_node){ .expiry = UINT32_MAX,
                             .n_addrs = 1,
                             .roles = MESH_ROLE_RELAY_PATHS,
                             .has_family = family != 0,
                             .family = { family },
                             .capacity = capacity };
    crypto_h(n->id, "crowd", &BYTES(&c->n, sizeof c->n), 1);
    memcpy(n->onion_key, n->id, 32);
    n->onion_key[0] ^= 0xff;
    n->addrs[0].kind = 4;
    n->addrs[0].ip = env_addr_v4(30, net, (uint8_t)(c->n / 4), 1, 4100);
    c->n++;
    crowd_hear(c, n);
    dht_roster_restore(c->roster, n->id, CROWD_NOW - 2 * CROWD_DAY, CROWD_NOW);
    return n;
}

void crowd_fill(struct crowd *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)crowd_add(c, (uint8_t)i, 0, 1000);
}

void crowd_fill_mixed(struct crowd *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t net = (uint8_t)env_random_below(&c->dice.env, 40);
        uint8_t family = (uint8_t)env_random_below(&c->dice.env, 30);
        family = family < 10 ? family : 0;
        (void)crowd_add(c, net, family, (uint32_t)env_random_below(&c->dice.env, 50000));
    }
}

void crowd_lose(struct crowd *c, const uint8_t id[static 32])
{
    dht_roster_remove(c->roster, id);
}

void crowd_find_again(struct crowd *c, const uint8_t id[static 32])
{
    struct mesh_node *n = crowd_node(c, id);
    cr_assert_not_null(n);
    crowd_hear(c, n);
    dht_roster_restore(c->roster, id, CROWD_NOW - 2 * CROWD_DAY, CROWD_NOW);
}

void crowd_refresh(struct crowd *c)
{
    cr_assert_eq(onion_relays_refresh(c->relays, c->now), 0);
}
