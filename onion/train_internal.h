/* onion/train_internal.h - what both ends of a build record do alike: layouts, the two Noise NK
 * messages up to their payloads, the streams. Spec: protocol.md, section 8. */
#pragma once
#include "mesh/noise.h"
#include "onion/train.h"

enum {
    ONION__TYPE_X25519 = 1,
    ONION__HINT = 3,
    ONION__TAG = 16,

    /* BUILD_RECORD: type 1, hint 3, e 32, sealed (slot, fields, tag) */
    ONION__RECORD_E = 4,
    ONION__RECORD_SEALED = 36,
    ONION__FIELDS = 284,
    ONION__PAYLOAD = ONION_SLOT + ONION__FIELDS,
    ONION__REST = ONION_TRAIN - ONION_RECORD, /* behind a hop's own record */

    /* REPLY_RECORD: y 32, sealed (slot, fields, tag) */
    ONION__REPLY_SEALED = 32,
    ONION__REPLY_FIELDS = 128,
    ONION__REPLY_PAYLOAD = ONION_REPLY_SLOT + ONION__REPLY_FIELDS,
    ONION__REPLY_REST = ONION_REPLY - ONION_REPLY_RECORD,
};

_Static_assert(ONION__RECORD_SEALED + ONION__PAYLOAD + ONION__TAG == ONION_RECORD, "layout");
_Static_assert(ONION__REPLY_SEALED + ONION__REPLY_PAYLOAD + ONION__TAG == ONION_REPLY_RECORD,
               "layout");

/* The plaintext of a record: it may hold an owner secret. */
struct onion__payload {
    uint8_t b[ONION__PAYLOAD];
};
void onion__payload_wipe(struct onion__payload *p);
#define cleanup_payload __attribute__((cleanup(onion__payload_wipe)))

/* Slot (zero) and fields. Read: the slot is not looked at. DROP_LIMIT as onion_hop_open says. */
void onion__payload_write(struct onion__payload *out, const struct onion_fields *f);
enum drop onion__payload_read(struct onion_fields *out, const struct onion__payload *p);

struct onion__verdict {
    uint8_t status;
    uint32_t effort;
    uint8_t seed[16];
};
void onion__verdict_write(uint8_t out[static ONION__REPLY_PAYLOAD], const struct onion__verdict *v);
void onion__verdict_read(struct onion__verdict *out,
                         const uint8_t payload[static ONION__REPLY_PAYLOAD]);

/* First 3 bytes of H("cyx hint", onion key). */
void onion__hint(uint8_t out[static ONION__HINT], const uint8_t onion_key[static 32]);

/* Noise NK up to `e`: prologue (over type, hint and e's place in `record`, and over `rest`, the
 * 6144 bytes behind it), the hop's key, e. What follows is es. */
void onion__record_begin(struct noise *s, const struct mesh_network *net,
                         const uint8_t id[static 32], const uint8_t onion_key[static 32],
                         const uint8_t record[static ONION__RECORD_SEALED],
                         const uint8_t rest[static ONION__REST]);
/* ks alone, from es: the chain of keys depends neither on prologue nor on hash. */
void onion__record_stream(uint8_t ks[static 32], const uint8_t es[static 32]);

/* Noise NK's second message up to its payload: e (y), ee = dh, and N3 after it. `s` holds h and ck
 * as the first message left them. */
void onion__reply_begin(struct noise *s, const uint8_t y[static 32], const uint8_t ee[static 32],
                        struct onion_keys *keys, uint8_t kr[static 32]);

/* XORs `n` bytes with S(key), from byte `at` of the stream on (a multiple of 64). */
void onion__stream_xor(const uint8_t key[static 32], size_t at, uint8_t *data, size_t n);
