/* onion/tail.h - the last hop's end of a path: recognises cells, numbers and enciphers those that
 * go back, counts both and says so in STATS. What stands on it is an END, a service's registration
 * or a client's splice. For the files of a relay. Spec: protocol.md, section 10. */
#pragma once
#include "onion/cell.h"

struct relay_path;
struct onion_tail;

struct onion_tail_ops {
    /* A recognised cell, but for PADDING and STATS, which are dealt with. May close the tail. */
    void (*cell)(struct onion_tail *t, const struct onion_cell *c);
    /* The path is gone (a DESTROY, a lost link, a timer): `t` is in no path any more. */
    void (*gone)(struct onion_tail *t);
    /* For STATS; NULL: 0. */
    uint32_t (*effort)(struct onion_tail *t);
};

/* Embedded in its owner. */
struct onion_tail {
    const struct onion_tail_ops *ops;
    struct relay_path *path; /* NULL: none */
    struct onion_window window;
    uint64_t sent, recognised, unrecognised;
    uint64_t stats_ns; /* when STATS last went out */
};

/* Puts a tail at the end of a path. Counters begin anew: the path's keys are new. */
void tail__attach(struct onion_tail *t, const struct onion_tail_ops *ops, struct relay_path *p);
/* Ends the path (DESTROY); `gone` is not called. No path: nothing happens. */
void tail__close(struct onion_tail *t);
/* Lets the path go: what was sent still gets through, then DESTROY in ONION_CLOSING_S. `gone` is
 * not called. */
void tail__leave(struct onion_tail *t);
/* Sends a cell towards the client. 0 or as mesh_cell_send; CYX_ECLOSED: no path. */
int tail__send(struct onion_tail *t, const struct onion_cell *c);
/* The same for one that onion_cell_write wrote already: gets its counter, is enciphered in place.
 */
int tail__send_written(struct onion_tail *t, uint8_t cell[static MESH_CELL]);
/* Cells of this path that wait on its link. */
size_t tail__queued(const struct onion_tail *t);

/* A deciphered cell came (relay_cell.c). */
void tail__heard(struct onion_tail *t, const uint8_t cell[static MESH_CELL]);
