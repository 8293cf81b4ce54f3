/* onion/descriptor_internal.h - what sealing and opening a descriptor share. The inner plaintext:
 *
 *   0  1  format = 1
 *   1  1  auth: 0 the map follows, 1 it is sealed for clients
 *   2  2  length of the map
 *
 * auth 1: e_d 32, n 2, n entries of 56 (tag 8, sealed K 48), nonce 24, sealed map. Zero to its end.
 */
#pragma once
#include "base/reader.h"
#include "base/writer.h"
#include "onion/descriptor.h"

enum {
    DESC__FORMAT = 1,
    DESC__OPEN = 0, /* auth */
    DESC__FOR_CLIENTS = 1,
    DESC__AEAD_TAG = 16,
    DESC__NONCE = 24,
    DESC__TAG = 8,
    DESC__ENTRY = DESC__TAG + 32 + DESC__AEAD_TAG,                  /* 56 */
    DESC__CLIENTS_HEAD = 4 + 32 + 2 + DESC__NONCE + DESC__AEAD_TAG, /* 78 */
    DESC__AD = 220,       /* head of the envelope, and the body before the ciphertext */
    DESC__MAP_MAX = 1024, /* the largest that we build: 8 pivots, 64 ports */
    DESC__PLAIN_MAX = DHT_DESCRIPTOR_MAX - DHT_DESCRIPTOR_OUTER, /* 7892 */
};

/* The inner plaintext, or a map: wiped on the way out. */
struct desc__plain {
    uint8_t b[DESC__PLAIN_MAX];
};
void desc__plain_wipe(struct desc__plain *p);
#define cleanup_plain __attribute__((cleanup(desc__plain_wipe)))

/* Which descriptor: keys of different ones have nothing in common. */
struct desc__context {
    const uint8_t *blinded;
    uint64_t period;
};

/* Every bound of section 12. */
bool desc__inner_is_valid(const struct onion_inner *in);
void desc__map_put(struct writer *w, const struct onion_inner *in);
enum drop desc__map_read(struct onion_inner *out, const uint8_t *data, size_t len);

/* HKDF(nonce, A, "cyx desc inner", A_p, p). */
void desc__inner_key(uint8_t key[static 32], const uint8_t nonce[static DESC__NONCE],
                     const uint8_t address[static 32], const struct desc__context *c);

/* Writes the part for clients: e_d to the sealed map. 0 or CYX_EPROTO. */
CYX_MUST_USE int desc__clients_put(struct writer *w, const struct onion_seal *s,
                                   const struct desc__context *c, const uint8_t *map,
                                   size_t map_len, struct env *env);
/* Entries for so many clients: 16, 32, 48 or 64. */
size_t desc__entries_for(size_t n_clients);
/* Reads it; map gets map_len bytes. */
enum drop desc__clients_read(struct desc__plain *map, struct reader *r, size_t map_len,
                             const uint8_t *client_secret, const struct desc__context *c);
