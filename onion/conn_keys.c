/* Secrets turned into packet protection, and handed to ngtcp2 level by level. */
#include <sodium.h>
#include <string.h>

#include "onion/conn_internal.h"

enum { IV = 12, SECRET = 32 };

/* A direction at a level: what ngtcp2 takes ownership of. */
struct half {
    ngtcp2_crypto_aead_ctx aead;
    ngtcp2_crypto_cipher_ctx hp;
    uint8_t iv[IV];
};

static void half_free(struct half *h)
{
    onion__quic_aead_free(&h->aead);
    onion__quic_hp_free(&h->hp);
    sodium_memzero(h, sizeof *h);
}
#define cleanup_half __attribute__((cleanup(half_free)))

static int half_make(struct half *h, const uint8_t *secret, enum onion__quic_use use,
                     struct onion__quic_seen *seen)
{
    cleanup_quic_keys struct onion_quic_keys k;
    onion_quic_keys_derive(&k, secret);
    memcpy(h->iv, k.iv, IV);
    if (onion__quic_aead(&h->aead, &k, use, seen) != 0 || onion__quic_hp(&h->hp, &k) != 0)
        return NGTCP2_ERR_NOMEM;
    return 0;
}

/* ngtcp2 took them, or says that it didn't. */
static int handed_over(struct half *h, int rv)
{
    if (rv == 0)
        sodium_memzero(h, sizeof *h);
    return rv;
}

static const uint8_t *ours(const struct onion_conn *c, const struct onion_secret_pair *s)
{
    return c->is_service ? s->server : s->client;
}

static const uint8_t *theirs(const struct onion_conn *c, const struct onion_secret_pair *s)
{
    return c->is_service ? s->client : s->server;
}

int conn__install_initial(struct onion_conn *c)
{
    struct onion_secret_pair s;
    cleanup_half struct half rx = { 0 }, tx = { 0 };
    onion_stream_initial(&c->id, &s);
    int rv = half_make(&rx, theirs(c, &s), ONION__QUIC_OPEN, NULL);
    if (rv == 0)
        rv = half_make(&tx, ours(c, &s), ONION__QUIC_SEAL, NULL);
    sodium_memzero(&s, sizeof s);
    if (rv != 0)
        return rv;
    ngtcp2_conn_set_initial_crypto_ctx(c->quic, onion__quic_crypto_ctx());
    rv = ngtcp2_conn_install_initial_key(c->quic, &rx.aead, rx.iv, &rx.hp, &tx.aead, tx.iv, &tx.hp,
                                         IV);
    return handed_over(&tx, handed_over(&rx, rv));
}

int conn__install_early(struct onion_conn *c, const uint8_t secret[static 32])
{
    cleanup_half struct half h = { 0 };
    int rv = half_make(&h, secret, c->is_service ? ONION__QUIC_OPEN : ONION__QUIC_SEAL, NULL);
    if (rv != 0)
        return rv;
    ngtcp2_conn_set_early_crypto_ctx(c->quic, onion__quic_crypto_ctx());
    return handed_over(&h, ngtcp2_conn_install_early_key(c->quic, &h.aead, h.iv, IV, &h.hp));
}

int conn__install_handshake(struct onion_conn *c, const struct onion_secret_pair *s)
{
    cleanup_half struct half rx = { 0 }, tx = { 0 };
    int rv = half_make(&rx, theirs(c, s), ONION__QUIC_OPEN, NULL);
    if (rv == 0)
        rv = half_make(&tx, ours(c, s), ONION__QUIC_SEAL, NULL);
    if (rv != 0)
        return rv;
    rv = handed_over(&rx,
                     ngtcp2_conn_install_rx_handshake_key(c->quic, &rx.aead, rx.iv, IV, &rx.hp));
    if (rv != 0)
        return rv;
    return handed_over(&tx,
                       ngtcp2_conn_install_tx_handshake_key(c->quic, &tx.aead, tx.iv, IV, &tx.hp));
}

int conn__install_rx(struct onion_conn *c, const struct onion_secret_pair *s)
{
    cleanup_half struct half h = { 0 };
    int rv = half_make(&h, theirs(c, s), ONION__QUIC_OPEN, &c->seen);
    if (rv != 0)
        return rv;
    return handed_over(
        &h, ngtcp2_conn_install_rx_key(c->quic, theirs(c, s), SECRET, &h.aead, h.iv, IV, &h.hp));
}

int conn__install_tx(struct onion_conn *c, const struct onion_secret_pair *s)
{
    cleanup_half struct half h = { 0 };
    int rv = half_make(&h, ours(c, s), ONION__QUIC_SEAL, NULL);
    if (rv != 0)
        return rv;
    return handed_over(
        &h, ngtcp2_conn_install_tx_key(c->quic, ours(c, s), SECRET, &h.aead, h.iv, IV, &h.hp));
}

/* The next generation of one direction; header protection stays (RFC 9001, section 6). */
static int next(ngtcp2_crypto_aead_ctx *ctx, uint8_t *iv, uint8_t *secret, const uint8_t *now,
                enum onion__quic_use use, struct onion__quic_seen *seen)
{
    cleanup_quic_keys struct onion_quic_keys k;
    onion_quic_secret_next(secret, now);
    onion_quic_keys_derive(&k, secret);
    memcpy(iv, k.iv, IV);
    return onion__quic_aead(ctx, &k, use, seen);
}

int conn__on_update_key(ngtcp2_conn *quic, uint8_t *rx_secret, uint8_t *tx_secret,
                        ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx,
                        uint8_t *tx_iv, const uint8_t *rx_now, const uint8_t *tx_now, size_t len,
                        void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    if (len != SECRET || next(rx, rx_iv, rx_secret, rx_now, ONION__QUIC_OPEN, &c->seen) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    if (next(tx, tx_iv, tx_secret, tx_now, ONION__QUIC_SEAL, NULL) != 0) {
        onion__quic_aead_free(rx);
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}
