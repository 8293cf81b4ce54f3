/* onion/ask.h - lookups and stores that don't tell who asks: the last relay of a path does them for
 * us. A few such paths stand ready; what must not be seen together never shares one. Spec:
 * protocol.md, sections 6 and 10, "At END". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "dht/type.h"
#include "onion/path.h"
#include "onion/pick.h"

struct onion_asks;
struct onion_ask;

enum {
    ONION_ASK_LEGS = 2,          /* ENDs asked at once: one alone could hide a record */
    ONION_ASK_READY = 2,         /* paths that stand ready and unused */
    ONION_ASK_PATHS = 32,        /* in all; then the one that is idle for longest goes */
    ONION_ASK_MS = 8000,         /* for an answer over one path: lookups take up to some seconds */
    ONION_ASK_TRIES = 3,         /* paths for each leg, each to another END */
    ONION_ASK_TOTAL_MS = 25000,  /* for a question, whatever happens */
    ONION_ASK_PATH_IDLE_S = 120, /* a path that served a purpose goes after this */
    ONION_ASKS_MAX = 256,        /* waiting and under way */
};

/* What may share a path: a service and a period, a visitor's tag... All zero: nothing to be kept
 * apart from. */
struct onion_purpose {
    uint8_t tag[16];
};

/* All borrowed for life. NULL: no memory. */
struct onion_asks *onion_asks_create(struct onion_paths *paths, struct onion_picker *picker);
void onion_asks_start(struct onion_asks *a); /* begins to keep paths ready */
/* Ends what is under way without a word. NULL is fine. */
void onion_asks_destroy(struct onion_asks *a);
size_t onion_asks_ready(const struct onion_asks *a);
void onion_asks_metrics(const struct onion_asks *a, metric_fn fn, void *arg);

/* What a lookup brought. Borrowed for the call. */
struct onion_answer_found {
    const struct dht_value *values; /* proven; newest of each publisher */
    size_t n;
    unsigned answered; /* ENDs that answered */
    uint64_t ns;
};
/* 0; CYX_ENOENT: those that answered have none; CYX_ETIMEDOUT: none answered; CYX_EAGAIN: no path
 * could be built. */
typedef void (*onion_found_fn)(void *arg, int code, const struct onion_answer_found *f);

/* Looks for records of `type` at the places keys[0..n_keys), n_keys 1 or 2: each leg asks for its
 * own, so that two places of a descriptor are looked at by one END each. NULL with `err`:
 * CYX_EFULL, CYX_ENOMEM. `done` follows. */
struct onion_ask *onion_ask_find(struct onion_asks *a, const struct onion_purpose *why,
                                 const uint8_t (*keys)[DHT_ID], size_t n_keys, unsigned type,
                                 onion_found_fn done, void *arg, struct cyx_err *err);

/* Waits for all ENDs, not just for the first that has a record and a moment longer: what it has may
 * be old, and was of no use. */
void onion_ask_thoroughly(struct onion_ask *k);

/* 0: an END says that stores took it; CYX_EEXIST: a newer one is out there; else as above, CYX_EIO:
 * it said no. */
typedef void (*onion_stored_fn)(void *arg, int code);
/* Stores a record through one END; which store it goes to is the END's lookup. */
struct onion_ask *onion_ask_store(struct onion_asks *a, const struct onion_purpose *why,
                                  const uint8_t *record, size_t len, onion_stored_fn done,
                                  void *arg, struct cyx_err *err);
void onion_ask_cancel(struct onion_ask *k); /* NULL is fine */
