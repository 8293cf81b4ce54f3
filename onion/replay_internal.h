/* onion/replay_internal.h - parts of the replay cache: the set of hashes, what is in the file, and
 * the trails of what was accepted since. */
#pragma once
#include "base/env.h"
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

enum { ONION__REPLAY_KEY = 16, ONION__REPLAY_RUN = 16, ONION__GENERATIONS = 2 };

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
    uint8_t run[ONION__REPLAY_RUN];                    /* whose trails are complete; 0: nobody's */
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

/* ---- replay_trail.c: every entry, as it is made, where a crash of the program doesn't reach it --
 *
 * One trail for each generation, two in turn. Layout:
 *
 *   0   8   magic "cyx-rtr1"
 *   8   16  run
 *   24  16  key of the hashes
 *   40  8   turn: 1, 2, 3... of the generations of a run
 *   48  8   start of the generation
 *   56  8   floor, when it began
 *   64  8   greatest stamp of the generation before; 0: none
 *   72      for each entry: hash 8, stamp 8 */

struct onion__trails {
    struct env *env;
    struct env_trail *now; /* NULL: none, nothing can be added */
    uint64_t turn;
};

/* Empties both and begins anew for f->run: the generations as they are, the current one last. */
CYX_MUST_USE int onion__trails_begin(struct onion__trails *t, const struct onion__replay_file *f);
/* The current generation of `f` has just begun. */
CYX_MUST_USE int onion__trails_turn(struct onion__trails *t, const struct onion__replay_file *f);
CYX_MUST_USE int onion__trails_add(struct onion__trails *t, uint64_t hash, uint64_t stamp);
/* What the trails of f->run hold: fills in key, generations and floor, and goes on with them. 0, or
 * CYX_ENOENT: nothing of that run, or not all of it; *f is as it was. CYX_ENOMEM. */
CYX_MUST_USE int onion__trails_resume(struct onion__trails *t, struct onion__replay_file *f);
void onion__trails_close(struct onion__trails *t);
void onion__trails_empty(struct onion__trails *t); /* ... and forgets what is in them */
