/* onion/stream_keys.h - the handshake and the keys of an end-to-end connection: Noise NK to the
 * service key of a descriptor, carried in QUIC's CRYPTO frames, and what QUIC v1's packet
 * protection is fed with. Pure: keys, randomness and time come in as arguments.
 * Spec: protocol.md, section 14. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"
#include "mesh/noise.h"

enum {
    ONION_STREAM_TYPE = 1,  /* X25519; 2 (with ML-KEM-768) is reserved */
    ONION_DCID = 8,         /* the client's first destination connection id */
    ONION_LOCATOR = 16,     /* ATTACH */
    ONION_PARAMS_MAX = 256, /* encoded transport parameters: 53 bytes are usual */
    ONION_MESSAGE_HEAD = 3, /* type 1, length 2 (of what follows) */
    ONION_MESSAGE1 = ONION_MESSAGE_HEAD + 32 + 8 + 16, /* without parameters */
    ONION_MESSAGE2 = ONION_MESSAGE_HEAD + 32 + 16,
    ONION_MESSAGE_MAX = ONION_MESSAGE1 + ONION_PARAMS_MAX,
};

/* What both ends must agree on before the first byte: it is in the prologue. */
struct onion_stream_id {
    uint8_t net[32];         /* network id */
    uint8_t address[32];     /* A, the service's public key */
    uint8_t service_key[32]; /* X25519, from the descriptor */
    uint8_t dcid[ONION_DCID];
};

struct onion_secret_pair {
    uint8_t client[32], server[32]; /* that side writes with it */
};

/* After message 2. Wipe. */
struct onion_stream_secrets {
    struct onion_secret_pair handshake, app;
    uint8_t resume[32]; /* s3: locators come from it */
};
#define cleanup_stream_secrets __attribute__((cleanup(onion_stream_secrets_wipe)))
void onion_stream_secrets_wipe(struct onion_stream_secrets *s);

/* Secrets of Initial packets: they hide nothing from those who hold the descriptor. */
void onion_stream_initial(const struct onion_stream_id *id, struct onion_secret_pair *out);

/* One end between its two messages. Holds secrets: onion_stream_hs_wipe. */
struct onion_stream_hs {
    struct noise noise;
    uint8_t e_secret[32]; /* the client's */
    uint8_t remote_e[32]; /* what the service got: the key of the cache of first flights */
};
void onion_stream_hs_wipe(struct onion_stream_hs *hs);

/* Message 1 into out: ONION_MESSAGE1 + n bytes. `stamp` is network time, rounded down to a minute
 * here; params are the client's, n <= ONION_PARAMS_MAX. `early` gets the 0-RTT secret. CYX_EPROTO:
 * the service key is a point of small order; nothing is written then. */
CYX_MUST_USE int onion_stream_hello(struct onion_stream_hs *hs, const struct onion_stream_id *id,
                                    const uint8_t e_secret[static 32], uint64_t stamp,
                                    const uint8_t *params, size_t n, uint8_t *out,
                                    uint8_t early[static 32]);

/* How long the message is that begins with these bytes: 0 when more are needed to tell; SIZE_MAX
 * when it can be none (type, length). */
size_t onion_stream_message_len(const uint8_t *data, size_t len);

/* What message 1 said. */
struct onion_hello {
    uint64_t stamp;
    size_t n_params;
    uint8_t params[ONION_PARAMS_MAX];
};

/* The service's side of message 1: exactly `len` bytes, as onion_stream_message_len says.
 * DROP_SHORT, DROP_LONG, DROP_TYPE; DROP_KEY (small order); DROP_AUTH. Outputs are written only on
 * DROP_NONE. */
enum drop onion_stream_hello_read(struct onion_stream_hs *hs, const struct onion_stream_id *id,
                                  const uint8_t service_secret[static 32], const uint8_t *msg,
                                  size_t len, struct onion_hello *out, uint8_t early[static 32]);
/* Message 1's ephemeral key where it stands: looked up before any public-key work. NULL when the
 * message is too short. */
const uint8_t *onion_stream_hello_e(const uint8_t *msg, size_t len);

/* Message 2 into out: ONION_MESSAGE2 + n bytes. CYX_EPROTO: the client's key is of small order. */
CYX_MUST_USE int onion_stream_reply(struct onion_stream_hs *hs, const uint8_t e_secret[static 32],
                                    const uint8_t *params, size_t n, uint8_t *out,
                                    struct onion_stream_secrets *secrets);
/* The client's side of message 2. params: room for ONION_PARAMS_MAX. Drops as above. */
enum drop onion_stream_reply_read(struct onion_stream_hs *hs, const uint8_t *msg, size_t len,
                                  uint8_t *params, size_t *n, struct onion_stream_secrets *secrets);

/* locator_j of a connection. */
void onion_stream_locator(const uint8_t resume[static 32], uint32_t j,
                          uint8_t out[static ONION_LOCATOR]);

/* Packet protection from a secret, by QUIC's labels (RFC 9001, 5.1), for AES-256-GCM. Wipe. */
struct onion_quic_keys {
    uint8_t key[32], iv[12], hp[32];
};
#define cleanup_quic_keys __attribute__((cleanup(onion_quic_keys_wipe)))
void onion_quic_keys_wipe(struct onion_quic_keys *k);
void onion_quic_keys_derive(struct onion_quic_keys *out, const uint8_t secret[static 32]);
/* The secret after a key update ("quic ku"). out may be secret. */
void onion_quic_secret_next(uint8_t out[static 32], const uint8_t secret[static 32]);
