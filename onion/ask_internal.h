/* onion/ask_internal.h - shared by ask*.c. */
#pragma once
#include "base/map.h"
#include "onion/ask.h"
#include "onion/messages.h"

enum {
    ASK__REPEAT_MS =
        2500,           /* a request whose answer may be lost is sent once more, with the same id */
    ASK__FILL_MS = 250, /* between tries to have paths ready; doubles while they fail, up to */
    ASK__FILL_MAX_MS = 8000,
    ASK__SETTLE_MS = 2000, /* a leg waits so long for an END that its question hasn't used; then any
                              will do */
    ASK__SPARE = 4,        /* paths made beyond those wanted, while what is ready suits nobody */
    ASK__VALUES = 64,      /* records kept of one lookup */
    ASK__AFTER_FIRST_MS =
        300, /* the second END has this long, or as long as the first took, to bring a newer one */
};

struct ask_leg;

/* A path to an END. */
struct ask_path {
    struct list node; /* in asks->paths */
    struct onion_asks *asks;
    struct onion_route route;
    struct onion_path *path;
    bool is_open, is_taken; /* taken: it has a purpose, for ever */
    bool is_old;            /* takes no more questions */
    struct onion_purpose why;
    struct onion_messages messages;
    struct map *calls; /* u32 message id -> struct ask_leg */
    uint32_t next_id;
    uint64_t used_ns;
    struct env_timer timer; /* resends, idle */
};

/* One END's part of a question. */
struct ask_leg {
    struct onion_ask *ask;
    struct ask_path *on; /* NULL: waits for one, or done */
    uint32_t id;
    unsigned tries;
    bool is_waiting, is_done, was_repeated;
    bool is_lenient; /* has waited long: any END will do */
    int code;        /* when done: 0, CYX_ENOENT... */
    struct env_timer timer;
};

struct onion_ask {
    struct list node; /* in asks->all */
    struct onion_asks *asks;
    struct onion_purpose why;
    bool is_store;
    unsigned type;
    uint8_t *message[ONION_ASK_LEGS];
    size_t len[ONION_ASK_LEGS];
    uint8_t keys[ONION_ASK_LEGS][DHT_ID];
    struct ask_leg legs[ONION_ASK_LEGS];
    unsigned n_legs;
    uint8_t ends[ONION_ASK_LEGS * ONION_ASK_TRIES][32]; /* those that were asked */
    unsigned n_ends;
    struct dht_value values[ASK__VALUES];
    size_t n_values;
    unsigned answered;
    uint64_t begun_ns;
    bool is_waiting_second, is_thorough;
    struct env_timer timer, limit;
    onion_found_fn found;
    onion_stored_fn stored;
    void *arg;
};

struct onion_asks {
    struct onion_paths *own;
    struct onion_picker *picker;
    struct mesh *mesh;
    struct env *env;
    struct mesh_inbox_pool *pool;
    struct list paths, all;
    size_t n_paths, n_all;
    struct env_timer fill;
    uint64_t fill_ms;
    struct {
        uint64_t finds, found, missing, failed, stores, stored, refused, repeats, moved, bad;
        uint64_t values_refused;
    } c;
};

/* ask_path.c */
void ask__fill(struct onion_asks *a); /* makes as many paths as are wanted */
/* A path that may serve l's question and leads to an END that it didn't ask yet: taken for it.
 * NULL: none is open. */
struct ask_path *ask__path_for(struct onion_asks *a, const struct ask_leg *l);
/* Sends leg l's message over it, or again. */
int ask__path_send(struct ask_path *p, struct ask_leg *l);
void ask__path_forget(struct ask_path *p, struct ask_leg *l); /* its answer isn't wanted any more */
void ask__path_free(struct ask_path *p);                      /* its legs must be off it */
void ask__paths_stop(struct onion_asks *a);
/* ask.c: what a path says */
void ask__path_open(struct onion_asks *a); /* one more is ready */
void ask__path_lost(struct ask_path *p);   /* legs on it go elsewhere */
void ask__no_way(struct onion_asks *a);    /* no path can be built now */
void ask__leg_done(struct ask_leg *l, int code);
void ask__leg_elsewhere(struct ask_leg *l); /* to another END */
/* ask_answer.c */
void ask__heard(struct ask_path *p, const struct mesh_message *m); /* a response */
