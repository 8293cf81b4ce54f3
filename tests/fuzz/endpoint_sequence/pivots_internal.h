/* tests/fuzz/endpoint_sequence/pivots_internal.h - shared by pivots*.c. */
#pragma once
#include "tests/fuzz/endpoint_sequence/world.h"

enum { PIVOTS__PAST = 16 };

enum path_state { BUILDING, SILENT, OPEN };

struct onion_paths {
    struct list node; /* of all */
    struct mesh *mesh;
    size_t n;
};

struct onion_path {
    struct list node;
    struct onion_paths *of;
    uint64_t serial;
    const struct onion_path_events *events;
    void *arg;
    enum path_state state;
    struct onion_path_built built;
    size_t n_hops;
    struct onion_fields last;
    uint8_t early[ONION_PAYLOAD];
    uint8_t token[ONION_TOKEN];
    uint32_t splice; /* SPLICE: 0: closed */
    bool was_full, is_probed;
    struct env_timer timer;
};

struct cell {
    struct list node;
    uint64_t to;
    struct onion_cell c;
    uint8_t payload[ONION_PAYLOAD];
};

/* The last cells that travelled, in a ring. */
extern struct cell pivots__past[PIVOTS__PAST];
extern size_t pivots__n_past;

/* One of a node's, any number; NULL: it has none. */
struct onion_path *pivots__nth(const struct onion_paths *of, unsigned which);
/* Each may end the path. */
void pivots__hand(struct onion_path *p, const struct onion_cell *c);
void pivots__failed(struct onion_path *p, const struct onion_path_built *b);
void pivots__ended(struct onion_path *p, enum onion_path_end why);
