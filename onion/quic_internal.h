/* onion/quic_internal.h - what ngtcp2 0.12.1 is given: AES-256-GCM through libcrypto, and packets
 * that it can bear. Inside onion/ and its tests. Spec: protocol.md, section 14. */
#pragma once
#include <ngtcp2/ngtcp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"
#include "onion/stream_keys.h"

/* ---- packet protection ------------------------------------------------------------------------
 */

/* Which 1-RTT packets opened so far. ngtcp2 tells nobody a packet's number; its decrypt callback
 * gets the nonce, which is the number XOR iv. */
struct onion__quic_seen {
    uint64_t next; /* greatest number that opened, plus one */
    uint64_t n;    /* how many opened, copies too */
};

enum onion__quic_use { ONION__QUIC_SEAL = 1, ONION__QUIC_OPEN = 0 };

/* Contexts of one key: making one costs as much as several packets, so it lives as long as the key.
 * `seen` (may be NULL) is noted by OPEN, borrowed for life. 0 or CYX_ENOMEM. ngtcp2 frees what it
 * took through its callbacks. */
CYX_MUST_USE int onion__quic_aead(ngtcp2_crypto_aead_ctx *out, const struct onion_quic_keys *k,
                                  enum onion__quic_use use, struct onion__quic_seen *seen);
CYX_MUST_USE int onion__quic_hp(ngtcp2_crypto_cipher_ctx *out, const struct onion_quic_keys *k);
void onion__quic_aead_free(ngtcp2_crypto_aead_ctx *ctx);
void onion__quic_hp_free(ngtcp2_crypto_cipher_ctx *ctx);

/* GCM's limits: 2^23 packets under one key, then it is updated; 2^52 failures, then it is over. */
const ngtcp2_crypto_ctx *onion__quic_crypto_ctx(void);
/* Sets encrypt, decrypt, hp_mask and the two delete callbacks. */
void onion__quic_crypto_callbacks(ngtcp2_callbacks *cb);

/* ---- packets that may reach ngtcp2 ------------------------------------------------------------
 */

enum onion__quic_from { ONION__FROM_CLIENT, ONION__FROM_SERVICE };

/* Walks the packets of one datagram. ngtcp2 must not see Retry, version negotiation or another
 * version (a forged Retry crashes, a forged negotiation ends the handshake), wherever they hide
 * among coalesced packets; nor connection ids that we never use. DROP_SHORT, DROP_LONG,
 * DROP_VERSION, DROP_TYPE, DROP_FIELD. *first gets the type bits of the first packet:
 * ONION__QUIC_SHORT or a long type. */
enum {
    ONION__QUIC_INITIAL = 0,
    ONION__QUIC_0RTT,
    ONION__QUIC_HANDSHAKE,
    ONION__QUIC_RETRY,
    ONION__QUIC_SHORT
};
enum drop onion__quic_shape(const uint8_t *packet, size_t len, enum onion__quic_from from,
                            uint8_t *first);
/* Of a datagram of the right shape: how many bytes at its front are packets with long headers. */
size_t onion__quic_long(const uint8_t *packet, size_t len);
/* Is there a Handshake packet in it? */
bool onion__quic_has_handshake(const uint8_t *packet, size_t len);
/* A datagram that may start a connection: a whole first flight from a client, with its first DCID
 * (8 bytes). */
enum drop onion__quic_first(const uint8_t *packet, size_t len, uint8_t dcid[static ONION_DCID]);
