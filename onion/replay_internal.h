/* onion/replay_internal.h - parts of the replay cache: the set of hashes, what is in the file. */
#pragma once
#include "onion/replay.h"

/* ---- replay_set.c: 8-byte hashes, open addressing, memory in proportion to use --------------- */

struct onion__set {
    uint64_t *slots; /* 0: empty */
    size_t cap, n;   /* cap: a power of two, or 0 */
};

bool onion__set_has(const struct onion__set *s, uint64_t hash);
/* 0; CYX_EEXIST; CYX_ENOMEM. `hash` is not 0. */
CYX_MUST_USE int onion__set_add(struct onion__set *s, uint64_t hash);
void onion__set_clear(struct onion__set *s); /* frees */

/* ---- replay_file.c --------------------------------------------------------------------------- */

enum { ONION__REPLAY_KEY = 16, ONION__GENERATIONS = 2 };

struct onion__generation {
    struct onion__set seen;
    uint64_t start;  /* network time */
    uint64_t newest; /* greatest stamp entered; 0: none */
};

/* First 8 bytes of each onion key that builds could be accepted under; 0: an empty slot. */
struct onion__key_names {
    uint64_t of[MESH_ONION_KEYS];
};

struct onion__replay_file {
    bool is_saved;    /* by a clean stop: key and generations are there, and complete */
    uint64_t floor;   /* no stamp below it is accepted any more */
    uint64_t ceiling; /* no greater stamp was accepted ever */
    struct onion__key_names names;
    uint8_t key[ONION__REPLAY_KEY];                    /* of the hashes */
    struct onion__generation gens[ONION__GENERATIONS]; /* the current one, the one before */
};

/* Frees the sets and wipes. */
void onion__replay_file_clear(struct onion__replay_file *f);
size_t onion__replay_file_size(const struct onion__replay_file *f);
/* Returns the length, or CYX_EFULL when that is more than `cap`. */
CYX_MUST_USE int onion__replay_encode(const struct onion__replay_file *f, uint8_t *out, size_t cap);
/* 0; CYX_ECORRUPT, CYX_EVERSION, CYX_ENOMEM: *out is empty. Owned by the caller
 * (onion__replay_file_clear). */
CYX_MUST_USE int onion__replay_decode(struct onion__replay_file *out, const uint8_t *data,
                                      size_t len);
