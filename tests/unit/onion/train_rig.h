/* tests/unit/onion/train_rig.h - a client and five hops, for tests of trains. Randomness is either
 * a stream from a seed, or bytes put in a queue, of which none may be left or missing. */
#pragma once
#include <criterion/criterion.h>

#include "onion/train_internal.h"

enum { RIG_QUEUE = 1024 };

struct train_rig {
    struct env env; /* first: the fake environment */
    uint64_t draws;
    bool is_queued;
    uint8_t queue[RIG_QUEUE];
    size_t queued, taken;

    struct mesh_network net;
    struct mesh_identity hops[ONION_HOPS_MAX];
};

/* Network "vectors" and hops of random keys. */
void rig_init(struct train_rig *r);
/* The next draw takes from these, and from these alone. */
void rig_queue(struct train_rig *r, const void *bytes, size_t n);
bool rig_is_drained(const struct train_rig *r);

/* A path through the first `n` hops that ends with `command`. */
struct onion_build rig_path(const struct train_rig *r, size_t n, uint8_t command);
struct onion_train *rig_create(struct train_rig *r, const struct onion_build *b,
                               uint8_t out[static ONION_TRAIN]);
/* Hops 0 to `last` open the train in turn; *train is what comes after. */
void rig_travel(struct train_rig *r, uint8_t train[static ONION_TRAIN], size_t last,
                struct onion_opened *opened);
/* Hop `last` says `status`, those before it add theirs; answers (may be NULL) are as they are after
 * the reply. */
void rig_return(struct train_rig *r, const struct onion_opened *opened, size_t last,
                enum onion_status status, uint8_t reply[static ONION_REPLY],
                struct onion_answer *answers);

/* Seals any payload as the record of one hop in front of the 6144 bytes in `train`. */
void rig_seal(const struct train_rig *r, const struct mesh_identity *hop,
              const uint8_t e_secret[static 32], const struct onion__payload *p,
              uint8_t train[static ONION_TRAIN]);
