/* onion/path_internal.h - shared by path*.c. */
#pragma once
#include "mesh/budget.h"
#include "onion/guards.h"
#include "onion/layer.h"
#include "onion/path.h"

enum {
    PATH__RECENT = 15,       /* builds whose median is the usual time */
    PATH__LATE_MIN_MS = 300, /* before another path is tried, */
    PATH__LATE_FACTOR = 3,   /* ... or so many usual builds */
    /* Every hop says status 8 at 10 s: an answer is listened for until no honest guard can be the
     * one that is silent, however slow its link. */
    PATH__GIVE_UP_MS = ONION_GUARD_SILENT_S * 1000,
    PATH__KEEP_MIN_S = 60,     /* STATS that keep a path come at a random time from here */
    PATH__KEEP_MAX_S = 150,    /* ... to here */
    PATH__OLD_MIN_S = 40 * 60, /* its owner is told that it grows old at a random time from here */
    PATH__OLD_MAX_S = 55 * 60, /* ... to here */
    PATH__LIFE_SPARE_S = 60,   /* relays count from the build's coming: ours ends first */
    PATH__MISS_MS = 100,       /* between looks at paths that bring nothing back; */
    PATH__MISS_AFTER_MS =
        400,                  /* ... after this the first link is asked whether its peer is there */
    PATH__PROBES = 3,         /* unanswered: the path is dead */
    PATH__PROBE_MIN_MS = 200, /* wait for an answer: this, or */
    PATH__PROBE_FACTOR = 3,   /* ... so many usual builds */
    PATH__QUEUE =
        MESH_LINK_WRITABLE + 1, /* cells waiting on the first link: `writable` is due then */
    PATH__NOISE_PERCENT = 1,
    PATH__NEAR_REPEAT = ONION_WINDOW_CELLS / 2,       /* counters; half: some are lost on the way */
    PATH__BUILDS_BURST = ONION_BUILDS_LINK_BURST - 2, /* two fewer than relays bear: on the way they
                                                         come closer together */
};

struct onion_paths {
    struct onion_switch *sw;
    struct mesh *mesh;
    struct env *env;
    struct mesh_watcher watcher;
    struct list all;
    size_t n;
    uint64_t next_number;
    struct env_timer miss; /* looks for paths that bring nothing back */
    uint64_t recent[PATH__RECENT];
    unsigned n_recent;
    struct mesh_bucket builds; /* sent: more than an unlisted link's budget is dropped in silence */
    bool is_paced;             /* we are unlisted */
    struct {
        uint64_t opened, failed, waited, late, built, timed_out, refused[ONION_STATUSES];
        uint64_t cells_sent, cells_recognised, cells_unrecognised, cells_repeated;
        uint64_t ended[ONION_PATH_OLD + 1];
    } c;
};

enum path_state {
    PATH_DIALING,  /* the link to the first hop isn't up yet */
    PATH_WAITING,  /* for its turn to send BUILD */
    PATH_BUILDING, /* BUILD sent; late: the same, after `late` */
    PATH_OPEN,
};

/* Cells that came before the reply. */
struct path_early {
    size_t n;
    uint8_t cells[ONION_EARLY_CELLS][MESH_CELL];
};

struct onion_path {
    struct list node; /* in paths->all */
    struct onion_paths *paths;
    struct onion_slot slot;
    enum path_state state;
    uint64_t number;
    const char *purpose;
    bool is_kept, is_late, wants_writable, was_old;
    struct onion_path_events ev;
    void *arg;
    struct onion_route route;
    struct mesh_link *link; /* what is dialled, or carries it */
    struct onion_train *train;
    uint8_t *build; /* the train until it is sent */
    struct path_early *early;
    struct onion_layer forward[ONION_HOPS_MAX], backward[ONION_HOPS_MAX];
    uint64_t counter;
    struct onion_window window;
    struct env_timer build_timer, keep_timer, probe_timer, life_timer;
    unsigned probes;
    uint64_t stats_ns;   /* when we sent ours last */
    uint64_t missing_ns; /* since when what we send brings nothing back; 0: it does */
    uint64_t sent_ns, opened_ns, build_ns;
    uint64_t recognised, unrecognised, repeated;
    uint64_t noise_ns, noise_cells, noise_of; /* the window in which noise is counted */
    bool has_peer;
    struct onion_stats peer;
};

/* Takes it apart and frees it; says nothing to its owner. */
void path__free(struct onion_path *path);
void path__end(struct onion_path *path, enum onion_path_end why);
void path__failed(struct onion_path *path, const struct onion_path_built *b);
void path__begin(struct onion_path *path); /* the link is up: BUILD, when it is its turn */
void path__reply(struct onion_path *path, const uint8_t train[static ONION_REPLY]);
void path__opened(struct onion_path *path); /* the timers of an open path */
void path__expect(struct onion_path *path); /* something was sent that should bring an answer */
void path__miss(struct env_timer *t, void *arg);
void path__cell(struct onion_path *path, uint8_t cell[static MESH_CELL]);
int path__stats(struct onion_path *path, bool wants_answer);
void path__timers_init(struct onion_path *path);
