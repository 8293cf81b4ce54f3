/* onion/train.h - the build of a path in one round trip: a train of nested records, each hop
 * running Noise NK with the client (Sphinx: Danezis, Goldberg, S&P 2009, with random fill). Pure:
 * keys, randomness and time come in, bytes go out. Spec: protocol.md, section 8.
 *
 * What is drawn from the environment, in this order and nothing else (tests/vectors/train.json):
 * - onion_train_create: 32 (n_hops + 1) bytes in one draw: the ephemeral secrets of hops 1 to
 *   n_hops, then the seed of the fill;
 * - onion_hop_answer: 32 bytes, the secret of y;
 * - onion_hop_reply: for a last hop 32 bytes, the seed of what stands behind its record; else none.
 * Random bytes are S(seed, n): a whole train of them costs one system call.
 *
 * A hop checks in this order, each step dearer than the one before: its budgets,
 * onion_replay_check(onion_train_ephemeral()), onion_hop_open, onion_replay_enter. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "mesh/identity.h"
#include "mesh/network.h"
#include "onion/limits.h"

enum onion_build_command {
    ONION_BUILD_RELAY = 1,
    ONION_BUILD_END = 2,
    ONION_BUILD_REGISTER = 3,
    ONION_BUILD_SPLICE = 4,
};

enum onion_status {
    ONION_OK = 0,
    ONION_BUSY = 1,
    ONION_NEXT_UNKNOWN = 2,
    ONION_NEXT_UNREACHABLE = 3,
    ONION_REFUSED = 4,
    ONION_NO_TOKEN = 5,
    ONION_MORE_WORK = 6,
    ONION_UNSUPPORTED = 7,
    ONION_NOTHING_BACK = 8,
    ONION_STATUSES,
};
/* For people: "no such token at the pivot"; never NULL, whatever a hop said. */
const char *onion_status_text(unsigned status);

enum { ONION_REST_FIELDS = 40 };

/* What a build record tells its hop. */
struct onion_fields {
    uint8_t command;    /* enum onion_build_command, or one that we don't know */
    uint8_t early_kind; /* SPLICE: enum onion_kind of the early payload; else 0 */
    uint16_t early_len; /* SPLICE: 0 to ONION_PAYLOAD; else 0 */
    uint64_t stamp;     /* network time, a multiple of 60 */
    uint8_t target[32]; /* RELAY: next node's id; REGISTER: owner secret; SPLICE: token */
    uint8_t rest[ONION_REST_FIELDS]; /* SPLICE: seed's first 4, proof 36; REGISTER: terms 28, serial
                                        8, zero 4 */
};

/* ---- at the client ----------------------------------------------------------------------------
 */

struct onion_hop {
    uint8_t id[32];
    uint8_t onion_key[32];
};

struct onion_build {
    struct onion_hop hops[ONION_HOPS_MAX];
    size_t n_hops;
    struct onion_fields last; /* of the last hop; its stamp is set from `stamp` */
    uint64_t stamp;           /* network time; rounded down to a minute here */
    /* last.early_len bytes, borrowed; SPLICE with n_hops <= ONION_EARLY_HOPS_MAX only */
    const uint8_t *early;
};

/* A train under way: what opens its reply. Holds secrets, in locked memory (base/secret.h). */
struct onion_train;

/* Builds the train (drawing ephemerals and fill from `env`) into out. NULL with `err`: CYX_EINVAL
 * (no hops or too many, the same hop twice, early payload too long or without room, or for another
 * command than SPLICE), CYX_EPROTO (a hop's key is a point of small order), CYX_ENOMEM. */
struct onion_train *onion_train_create(const struct onion_build *b, const struct mesh_network *net,
                                       struct env *env, uint8_t out[static ONION_TRAIN],
                                       struct cyx_err *err);
void onion_train_destroy(struct onion_train *t); /* wipes; NULL is fine */

struct onion_keys {
    uint8_t forward[32], backward[32]; /* kf: client to hop; kb: hop to client */
};

struct onion_built {
    size_t n_hops;    /* whose replies opened with status 0 */
    uint8_t status;   /* ONION_OK: the whole path is there. Else what hop n_hops (from 0) said, as
                         sent: it may be a status that we don't know */
    uint32_t effort;  /* ONION_MORE_WORK: what it wants, */
    uint8_t seed[16]; /* ... and for which seed */
    struct onion_keys keys[ONION_HOPS_MAX]; /* of the n_hops first: wipe */
};
#define cleanup_built __attribute__((cleanup(onion_built_wipe)))
void onion_built_wipe(struct onion_built *b);

/* Peels the reply. DROP_NONE: *out is set, whatever the status. DROP_AUTH: some hop's record didn't
 * open (out->n_hops says how many did; status is ONION_NOTHING_BACK): the train may be destroyed,
 * no reply can follow. The ephemerals are wiped either way: a second call is DROP_STATE and leaves
 * *out alone. */
enum drop onion_train_reply(struct onion_train *t, const uint8_t reply[static ONION_REPLY],
                            struct onion_built *out);

/* ---- at a hop ----------------------------------------------------------------------------------
 */

/* A build record that this node opened: what it wants, and what its reply needs. Holds secrets. */
struct onion_opened {
    struct onion_fields fields;
    uint8_t e[32];                       /* the client's ephemeral: the replay cache's key */
    uint8_t record_h[32], record_ck[32]; /* Noise's state after the record, for the reply */
};
void onion_opened_wipe(struct onion_opened *o);
#define cleanup_opened __attribute__((cleanup(onion_opened_wipe)))

/* Opens the first record of `train` with whichever of the identity's onion keys its hint names, and
 * turns `train` into what comes after: the next hop's train (RELAY), or the early payload at its
 * beginning. DROP_FIELD: unknown handshake type; DROP_KEY: the hint names none of our keys;
 * DROP_AUTH: didn't open (small-order points, any changed bit of the whole train); DROP_LIMIT: a
 * SPLICE whose early payload would be longer than ONION_PAYLOAD. All leave `train` and *out as they
 * were, and none is answered. Freshness (stamp, replay) is the caller's: onion/replay.h, asked
 * about e before, and entered after. The command is returned as sent: it may be unknown. */
enum drop onion_hop_open(struct onion_opened *out, const struct mesh_identity *identity,
                         const struct mesh_network *net, uint8_t train[static ONION_TRAIN]);
/* The ephemeral at its place in a train, to be looked up before any public-key work. */
const uint8_t *onion_train_ephemeral(const uint8_t train[static ONION_TRAIN]);

/* A hop's half of the answer: its fresh ephemeral, the keys of the path, the key of the reply's
 * stream. */
struct onion_answer {
    uint8_t y[32];
    uint8_t h[32], k[32], reply_stream[32];
    struct onion_keys keys;
};
void onion_answer_wipe(struct onion_answer *a);
#define cleanup_answer __attribute__((cleanup(onion_answer_wipe)))
/* Draws y and derives everything: the keys are there before the reply leaves. 0, or CYX_EPROTO.
 * Afterwards `o` has nothing left to give: wipe it. */
CYX_MUST_USE int onion_hop_answer(struct onion_answer *out, const struct onion_opened *o,
                                  struct env *env);

/* Seals our reply record, once, and puts it in front: `reply` holds what came from the next hop
 * (is_last false) or is filled with randomness (is_last, or an error of our own). Wipes what is
 * used once (k, reply_stream, h); the path's keys stay. effort and seed (16 bytes, NULL: zero) only
 * for ONION_MORE_WORK. A second call seals nothing, since that would repeat the nonce: the client
 * gets noise. */
void onion_hop_reply(struct onion_answer *a, enum onion_status status, uint32_t effort,
                     const uint8_t *seed, bool is_last, struct env *env,
                     uint8_t reply[static ONION_REPLY]);
