#include "mesh/identity.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "mesh/record.h"

/* Slots whose `made` is 0 are empty, so a clock that stands at 0 makes keys at 1. */
static void keypair_draw(struct mesh_keypair *k, struct env *env, uint64_t now)
{
    env_random(env, k->secret, sizeof k->secret);
    crypto_dh_public(k->pub, k->secret);
    k->made = now > 0 ? now : 1;
}

struct mesh_identity *mesh_identity_create(struct env *env, uint64_t now, struct cyx_err *err)
{
    struct mesh_identity *i = secret_alloc(sizeof *i);
    if (i == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for the identity");
        return NULL;
    }
    env_random(env, i->seed, sizeof i->seed);
    crypto_sign_seed_keypair(i->sign_pk, i->sign_sk, i->seed);
    keypair_draw(&i->link, env, now);
    keypair_draw(&i->onion[0], env, now);
    i->is_new = true;
    return i;
}

void mesh_identity_destroy(struct mesh_identity *i)
{
    secret_free(i);
}

void mesh_identity_subject(const struct mesh_identity *i, struct mesh_pow_subject *out)
{
    *out = (struct mesh_pow_subject){ .purpose = MESH_POW_ID };
    memcpy(out->x, i->sign_pk, sizeof out->x);
}

int mesh_identity_set_puzzle(struct mesh_identity *i, const struct mesh_network *net,
                             const uint8_t proof[static MESH_POW_PROOF], struct cyx_err *err)
{
    struct mesh_pow_subject s;
    mesh_identity_subject(i, &s);
    if (mesh_pow_check(&s, net->id_effort, proof) != DROP_NONE)
        return cyx_fail(err, CYX_EINVAL,
                        "id puzzle: the proof is wrong, or its effort is below %lu, which network "
                        "%s asks for",
                        (unsigned long)net->id_effort, net->name);
    memmove(i->puzzle, proof, sizeof i->puzzle); /* may be our own, checked for another network */
    mesh_node_id(i->id, i->sign_pk, i->puzzle);
    i->has_puzzle = true;
    return 0;
}

/* ---- rotation -------------------------------------------------------------------------------- */

/* Has `span` passed since `since`? A `since` further ahead than that was stamped by a clock that
 * ran wrong: over as well, or a key would live for as long as the clock was off. */
static bool is_over(uint64_t now, uint64_t since, uint64_t span)
{
    return now >= since ? now - since >= span : since - now > span;
}

static bool keypair_wipe(struct mesh_keypair *k)
{
    bool held = k->made != 0;
    sodium_memzero(k, sizeof *k);
    return held;
}

static bool rotate_link_key(struct mesh_identity *i, struct env *env, uint64_t now)
{
    if (!is_over(now, i->link.made, MESH_LINK_KEY_S))
        return false;
    i->link_old = i->link;
    keypair_draw(&i->link, env, now);
    return true;
}

static bool rotate_onion_key(struct mesh_identity *i, struct env *env, uint64_t now)
{
    if (!is_over(now, i->onion[0].made, MESH_ONION_KEY_S))
        return false;
    memmove(&i->onion[1], &i->onion[0], (MESH_ONION_KEYS - 1) * sizeof i->onion[0]);
    keypair_draw(&i->onion[0], env, now);
    return true;
}

bool mesh_identity_rotate(struct mesh_identity *i, struct env *env, uint64_t now, bool rotate_link)
{
    bool changed = rotate_link && rotate_link_key(i, env, now);
    if (rotate_onion_key(i, env, now))
        changed = true;
    /* A key was replaced when its successor was made. */
    if (i->link_old.made != 0 && is_over(now, i->link.made, MESH_LINK_KEY_OLD_S))
        changed = keypair_wipe(&i->link_old) || changed;
    bool is_old = false;
    for (unsigned k = 1; k < MESH_ONION_KEYS; k++) {
        is_old = is_old || is_over(now, i->onion[k - 1].made, MESH_ONION_KEY_OLD_S);
        if (is_old)
            changed = keypair_wipe(&i->onion[k]) || changed;
    }
    return changed;
}

void mesh_identity_renew_onion(struct mesh_identity *i, struct env *env, uint64_t now)
{
    sodium_memzero(i->onion, sizeof i->onion);
    keypair_draw(&i->onion[0], env, now);
}
