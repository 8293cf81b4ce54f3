/* onion/path.h - paths of our own, seen from their beginning: built in one round trip, cells in and
 * out through all layers, counters that show what the path loses or garbles. What a path is for
 * (END, pivot, registration) is its owner's. Spec: protocol.md, sections 8 to 10. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/metric.h"
#include "mesh/mesh.h"
#include "onion/cell.h"
#include "onion/switch.h"
#include "onion/train.h"

struct onion_paths; /* what all own paths share */
struct onion_path;

/* `sw` is borrowed for life. NULL: no memory. */
struct onion_paths *onion_paths_create(struct onion_switch *sw);
/* Closes what is still open without a word to its owner. NULL is fine. */
void onion_paths_destroy(struct onion_paths *p);
void onion_paths_metrics(const struct onion_paths *p, metric_fn fn, void *arg);
size_t onion_paths_count(const struct onion_paths *p);
struct onion_path_row;
void onion_paths_rows(const struct onion_paths *p,
                      bool (*fn)(void *arg, const struct onion_path_row *row), void *arg);
struct mesh *onion_paths_mesh(struct onion_paths *p);
/* Median of the last builds that succeeded, in ns; 0: none yet. */
uint64_t onion_paths_build_ns(const struct onion_paths *p);

/* Which way a path goes. */
struct onion_route {
    struct onion_hop hops[ONION_HOPS_MAX];
    size_t n_hops;
    struct mesh_contact first; /* how to dial hops[0] */
};

enum onion_path_end {
    ONION_PATH_DESTROYED, /* some hop ended it */
    ONION_PATH_LINK_DOWN, /* the link to the first hop */
    ONION_PATH_NOISE,     /* too many cells came out as noise: a hop may be marking them */
    ONION_PATH_SILENT,    /* onion_path_probe got no answer */
    ONION_PATH_OLD,       /* its life is over */
};
const char *onion_path_end_text(enum onion_path_end why);

/* How a build went. */
struct onion_path_built {
    int code;       /* 0; CYX_ETIMEDOUT: nothing came within 12 s; CYX_ECLOSED: the link or the path
                       went; CYX_EPROTO: the   reply didn't open; CYX_EREFUSED: a hop answered with
                       `status`; or why the first hop can't be dialled */
    size_t hop;     /* CYX_EREFUSED, CYX_EPROTO: which one, from 0 */
    uint8_t status; /* enum onion_status */
    uint32_t effort;
    uint8_t seed[16];
    uint64_t ns; /* from BUILD to its reply */
};

/* Everything may close the path. After `opened` with a code, or `closed`, the path is gone. */
struct onion_path_events {
    void (*opened)(void *arg, const struct onion_path_built *b);
    /* No reply after max(0.5 s, 3 usual builds): try another beside it. May be NULL. */
    void (*late)(void *arg);
    /* At a random moment between 40 and 55 minutes: whoever wants it for longer makes another now;
     * its life ends before the hour does. May be NULL. */
    void (*old)(void *arg);
    /* A recognised cell; all but PADDING and STATS. Borrowed. */
    void (*cell)(void *arg, const struct onion_cell *c);
    /* STATS of the other end. May be NULL. */
    void (*stats)(void *arg, const struct onion_stats *s);
    /* The first link's queue has room again after onion_path_send said CYX_EAGAIN. May be NULL. */
    void (*writable)(void *arg);
    void (*closed)(void *arg, enum onion_path_end why);
};

struct onion_path_options {
    const struct onion_route *route;
    struct onion_fields last; /* command and what it needs; `stamp` is filled in */
    const uint8_t *early;     /* last.early_len bytes */
    const char *purpose;      /* for people: "lookup", "visit", "service"; lives for ever */
    bool is_kept; /* STATS at random times keep it from being idle; else it ends when its owner
                     forgets it */
};

/* Dials the first hop if need be and sends the train. Everything is copied; `opened` follows, never
 * from here. NULL with `err`: what onion_train_create says, CYX_EFULL, CYX_ENOMEM. */
struct onion_path *onion_path_open(struct onion_paths *p, const struct onion_path_options *o,
                                   const struct onion_path_events *events, void *arg,
                                   struct cyx_err *err);
/* DESTROY, and no callback any more. NULL is fine. */
void onion_path_close(struct onion_path *path);

/* 0; CYX_EAGAIN: the first link has no room, nothing was sent: `writable` follows; CYX_ECLOSED: not
 * open. */
int onion_path_send(struct onion_path *path, const struct onion_cell *c);
/* Asks the other end for STATS, twice; `closed` with ONION_PATH_SILENT when neither is answered.
 * Done already: nothing. */
void onion_path_probe(struct onion_path *path);

struct onion_path_info {
    bool is_open;
    size_t n_hops;
    const struct onion_hop *hops; /* borrowed */
    uint64_t opened_ns;           /* monotonic */
    uint64_t build_ns;
    uint64_t sent, recognised, unrecognised, repeated;
    bool has_peer_stats;
    struct onion_stats peer;
};
void onion_path_info(const struct onion_path *path, struct onion_path_info *out);
