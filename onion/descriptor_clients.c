/* onion/descriptor_clients.c - the part of a descriptor that is for some clients only: each of them
 * has an entry that holds the map's key, found by a tag that only it can compute; random entries
 * hide how many there are. Spec: protocol.md, section 12, "Inner". */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "onion/descriptor_internal.h"

enum { LABEL = 15 };

/* What one client and one descriptor share: the tag that finds an entry, the key that opens it. */
struct entry_keys {
    uint8_t tag[DESC__TAG], key[32];
};

static void entry_keys_wipe(struct entry_keys *k)
{
    sodium_memzero(k, sizeof *k);
}
#define cleanup_entry_keys __attribute__((cleanup(entry_keys_wipe)))

/* An entry's key is used once: K under a nonce of zero. */
static const uint8_t zero_nonce[12];

static int entry_keys_derive(struct entry_keys *out, const uint8_t secret[static 32],
                             const uint8_t pub[static 32], const uint8_t e[static 32],
                             const struct desc__context *c)
{
    cleanup_key32 struct key32 shared = { 0 };
    uint8_t info[LABEL + 32 + 8], okm[sizeof *out];
    struct writer w = writer_on(info, sizeof info);
    int code = crypto_dh(shared.b, secret, pub);
    if (code != 0)
        return code;
    writer_copy(&w, "cyx desc client", LABEL);
    writer_copy(&w, c->blinded, 32);
    writer_u64(&w, c->period);
    crypto_hkdf(e, 32, shared.b, sizeof shared.b, info, sizeof info, okm, sizeof okm);
    memcpy(out->tag, okm, sizeof out->tag);
    memcpy(out->key, okm + sizeof out->tag, sizeof out->key);
    sodium_memzero(okm, sizeof okm);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t desc__entries_for(size_t n_clients)
{
    size_t steps = (n_clients + ONION_CLIENTS_STEP - 1) / ONION_CLIENTS_STEP;
    return (steps > 0 ? steps : 1) * ONION_CLIENTS_STEP;
}

struct entry {
    uint8_t b[DESC__ENTRY];
};

static int entry_make(struct entry *out, const uint8_t client[static 32],
                      const uint8_t e_secret[static 32], const uint8_t e[static 32],
                      const uint8_t k[static 32], const struct desc__context *c)
{
    cleanup_entry_keys struct entry_keys keys = { 0 };
    int code = entry_keys_derive(&keys, e_secret, client, e, c);
    if (code != 0)
        return code;
    memcpy(out->b, keys.tag, sizeof keys.tag);
    crypto_aead_chacha20poly1305_ietf_encrypt(out->b + DESC__TAG, NULL, k, 32, NULL, 0, NULL,
                                              zero_nonce, keys.key);
    return 0;
}

/* Fisher-Yates: where an entry stands says nothing. */
static void shuffle(struct entry *list, size_t n, struct env *env)
{
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = (size_t)env_random_below(env, i + 1);
        struct entry kept = list[i];
        list[i] = list[j];
        list[j] = kept;
    }
}

int desc__clients_put(struct writer *w, const struct onion_seal *s, const struct desc__context *c,
                      const uint8_t *map, size_t map_len, struct env *env)
{
    cleanup_key32 struct key32 e_secret = { 0 }, k = { 0 };
    struct entry list[ONION_CLIENTS_MAX];
    uint8_t e[32], nonce[DESC__NONCE];
    size_t n = desc__entries_for(s->n_clients);
    env_random(env, e_secret.b, sizeof e_secret.b);
    env_random(env, k.b, sizeof k.b);
    env_random(env, nonce, sizeof nonce);
    crypto_dh_public(e, e_secret.b);
    for (size_t i = 0; i < s->n_clients; i++) {
        int code = entry_make(&list[i], s->clients[i], e_secret.b, e, k.b, c);
        if (code != 0)
            return code;
    }
    for (size_t i = s->n_clients; i < n; i++)
        env_random(env, list[i].b, sizeof list[i].b);
    shuffle(list, n, env);
    writer_copy(w, e, sizeof e);
    writer_u16(w, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        writer_copy(w, list[i].b, sizeof list[i].b);
    writer_copy(w, nonce, sizeof nonce);
    uint8_t *sealed = writer_reserve(w, map_len + DESC__AEAD_TAG);
    if (sealed != NULL)
        crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, map, map_len, NULL, 0, NULL, nonce,
                                                   k.b);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Tries the entries whose tags are ours: a random one may have our tag by chance. */
static enum drop find_key(uint8_t k[static 32], struct reader *entries, size_t n,
                          const struct entry_keys *keys)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *tag = reader_bytes(entries, DESC__TAG);
        const uint8_t *sealed = reader_bytes(entries, 32 + DESC__AEAD_TAG);
        if (tag == NULL || sealed == NULL)
            return DROP_SHORT;
        if (secret_equal(tag, keys->tag, DESC__TAG) &&
            crypto_aead_chacha20poly1305_ietf_decrypt(k, NULL, NULL, sealed, 32 + DESC__AEAD_TAG,
                                                      NULL, 0, zero_nonce, keys->key) == 0)
            return DROP_NONE;
    }
    return DROP_UNKNOWN;
}

static enum drop open_map(struct desc__plain *map, struct reader *r, size_t map_len,
                          const uint8_t k[static 32])
{
    const uint8_t *nonce = reader_bytes(r, DESC__NONCE);
    const uint8_t *sealed = reader_bytes(r, map_len + DESC__AEAD_TAG);
    if (nonce == NULL || sealed == NULL || map_len > sizeof map->b)
        return DROP_SHORT;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            map->b, NULL, NULL, sealed, map_len + DESC__AEAD_TAG, NULL, 0, nonce, k) != 0)
        return DROP_AUTH;
    return DROP_NONE;
}

enum drop desc__clients_read(struct desc__plain *map, struct reader *r, size_t map_len,
                             const uint8_t *client_secret, const struct desc__context *c)
{
    cleanup_entry_keys struct entry_keys keys = { 0 };
    cleanup_key32 struct key32 k = { 0 };
    const uint8_t *e = reader_bytes(r, 32);
    size_t n = reader_u16(r);
    if (r->bad)
        return DROP_SHORT;
    if (n == 0 || n > ONION_CLIENTS_MAX || n % ONION_CLIENTS_STEP != 0)
        return DROP_LIMIT;
    struct reader entries = reader_sub(r, n * DESC__ENTRY);
    if (r->bad)
        return DROP_SHORT;
    if (client_secret == NULL)
        return DROP_UNKNOWN;
    if (entry_keys_derive(&keys, client_secret, e, e, c) != 0)
        return DROP_KEY;
    enum drop drop = find_key(k.b, &entries, n, &keys);
    return drop == DROP_NONE ? open_map(map, r, map_len, k.b) : drop;
}
