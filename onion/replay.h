/* onion/replay.h - build records had before: the replay cache and the stamp rule. It decides
 * whether a record is proven fresh; everything else is met with silence. Network time comes in as
 * an argument, unix seconds; the file is kept through base/env.h. One cache for a node and its
 * onion keys, on one thread. Spec: protocol.md, section 8, "Replay".
 *
 * Asked in two steps: onion_replay_check before any public-key work, onion_replay_enter once the
 * record has opened (or junk would fill the cache).
 *
 * A caller at start: onion_replay_open, then onion_replay_tick every ONION_REPLAY_TICK_S. Whenever
 * tick says so: mesh_identity_renew_onion, store the identity, and when that is on disk
 * onion_replay_renewed and a new node record. At a clean stop: onion_replay_stop, and close. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "mesh/identity.h"
#include "onion/limits.h"

/* The blob's name beside the stores (base/env.h, env_blob_*). */
#define ONION_REPLAY_FILE "onion.replay"

enum {
    ONION_REPLAY_TICK_S = 10,
    /* How long before a stamp becomes acceptable the file that allows it is written: two ticks. A
     * crash of the machine costs a relay 80 to 140 s of builds, one of the program none. */
    ONION_REPLAY_LEAD_S = 20,
    /* T is written once a minute; a file that is lost leaves nothing better to go by. */
    ONION_REPLAY_LAG_S = 120,
    /* What the environment stores as one blob: 130,000 entries. With more, a clean stop saves what
     * fits and lets the rest cost the wait of a crash. */
    ONION_REPLAY_FILE_MAX = 1 << 20,
};

struct onion_replay;

/* What was known of the builds accepted by earlier runs. */
enum onion_replay_past {
    ONION_REPLAY_NEW_KEYS, /* there were none */
    ONION_REPLAY_SAVED,    /* all of it: a clean stop */
    ONION_REPLAY_KEPT,     /* all of it: only the program ended */
    ONION_REPLAY_CRASHED,  /* a bound on their stamps */
    ONION_REPLAY_LOST,     /* nothing but T: no file, or one of other keys, or a damaged one */
};

struct onion_replay_start {
    const struct mesh_identity *identity; /* borrowed for the cache's life */
    bool keys_are_new;                    /* no build was ever accepted under its onion keys */
    uint64_t greatest;                    /* T, from disk */
    uint64_t now;
};

/* Loads the file (blocks: at start only), and has it marked as used: until that is on disk, some
 * milliseconds later, every build is refused. NULL with `err`: CYX_ENOMEM. */
struct onion_replay *onion_replay_open(struct env *env, const struct onion_replay_start *start,
                                       struct cyx_err *err);
/* Frees it at once, or when the file's last store has ended: no callback of the caller's follows.
 * Without onion_replay_stop before, this is a crash. NULL is fine. */
void onion_replay_close(struct onion_replay *r);

/* Before any public-key work. DROP_NONE; DROP_REPLAY: e was seen; DROP_LOAD: the generation is full
 * (busy: nothing is forgotten); DROP_STATE: nothing is accepted now (waiting after a crash, for the
 * disk, or stopping). */
enum drop onion_replay_check(struct onion_replay *r, const uint8_t e[static 32], uint64_t now);
/* Once the record has opened: fresh, and from now on seen. DROP_NONE; DROP_EXPIRED: the stamp is
 * outside of [now - 360, now + 60] or falls under the wait; else as check says; DROP_MEMORY. Only
 * with DROP_NONE may the build have any effect. */
enum drop onion_replay_enter(struct onion_replay *r, const uint8_t e[static 32], uint64_t stamp,
                             uint64_t now);

/* Keeps the file ahead of time. True: the wait is longer than ONION_REPLAY_WAIT_MAX_S: draw a new
 * onion key and wipe the old ones, after which nothing waits. */
CYX_MUST_USE bool onion_replay_tick(struct onion_replay *r, uint64_t now);
/* Seconds until builds of a client with our clock are accepted again; 0: now. */
uint64_t onion_replay_wait(const struct onion_replay *r, uint64_t now);
/* The identity has one onion key, just drawn, and that is on disk. While it still holds a key of
 * before, nothing happens: nothing may be forgotten. */
void onion_replay_renewed(struct onion_replay *r, uint64_t now);

/* A clean stop: accepts nothing from now on, and saves the set. 0: `done` (may be NULL) follows,
 * with 0 when it is on disk; CYX_ENOMEM: nothing is saved, the next start is one after a crash. */
CYX_MUST_USE int onion_replay_stop(struct onion_replay *r, uint64_t now, env_done_fn done,
                                   void *arg);

struct onion_replay_info {
    enum onion_replay_past past;
    size_t entries, bytes;    /* of both generations */
    uint64_t floor, ceiling;  /* stamps accepted, apart from the window; ceiling 0: none */
    uint64_t stores, refused; /* of the file, and how many of them the disk refused */
};
void onion_replay_info(const struct onion_replay *r, struct onion_replay_info *out);
