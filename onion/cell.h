/* onion/cell.h - what is inside a cell once all layers are off: 16 zero bytes that prove it
 * (encode, then encipher), a counter that makes every cell unique, a command and its payload. Pure.
 * Spec: protocol.md, section 10. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "onion/limits.h"

enum onion_command {
    ONION_CELL_PADDING = 0,
    ONION_CELL_DATA = 1,
    ONION_CELL_CLOSE = 2,
    ONION_CELL_TERMS = 3,
    ONION_CELL_STATS = 4,
    ONION_CELL_MSG = 5,
    ONION_CELL_RESEND = 6,
};

enum onion_kind { ONION_KIND_QUIC = 0, ONION_KIND_ATTACH = 1 };

enum onion_close {
    ONION_CLOSE_DONE = 1,
    ONION_CLOSE_NO_SERVICE = 2,
    ONION_CLOSE_LIMIT = 3,
    ONION_CLOSE_REFUSED = 4,
};

struct onion_cell {
    uint32_t splice;        /* 0 on a client's own path */
    uint8_t command;        /* enum onion_command; unknown ones are recognised and ignored */
    uint8_t kind;           /* enum onion_kind, for DATA */
    const uint8_t *payload; /* borrowed */
    size_t len;             /* 0 to ONION_PAYLOAD */
};

/* Counters seen in one direction of a path. */
struct onion_window {
    uint64_t top;    /* greatest counter seen, plus one */
    uint64_t repeat; /* the last counter that came twice */
    uint64_t seen[ONION_COUNTER_WINDOW / 64];
};

/* Writes all 1280 bytes: head, payload, zero. */
void onion_cell_write(uint8_t out[static MESH_CELL], const struct onion_cell *c, uint64_t counter);
/* Gives a cell that was written its counter: it is known only once it leaves its queue. */
void onion_cell_number(uint8_t cell[static MESH_CELL], uint64_t counter);
/* Recognises: zero bytes, a length in range, a counter new in `w`, which is noted. *out borrows
 * from `cell`. What is behind the payload is not looked at: the cipher vouches for all of the cell.
 * DROP_AUTH: not ours, or changed on the way; DROP_REPLAY: a counter had before (it is in
 * w->repeat), or one too old to tell. Nothing else is written or noted then. */
enum drop onion_cell_read(struct onion_cell *out, struct onion_window *w,
                          const uint8_t cell[static MESH_CELL]);

/* TERMS, also in REGISTER's fields: 28 bytes. */
enum { ONION_TERMS = 28, ONION_STATS = 32 };
struct onion_terms {
    uint16_t rate, burst, most_open; /* splices a second, at once, open */
    uint32_t least_effort;
    uint8_t seed[16];
};
void onion_terms_write(uint8_t out[static ONION_TERMS], const struct onion_terms *t);
void onion_terms_read(struct onion_terms *out, const uint8_t in[static ONION_TERMS]);

struct onion_stats {
    uint64_t sent, recognised, unrecognised;
    uint32_t effort; /* the pivot's, now */
    bool wants_answer;
};
void onion_stats_write(uint8_t out[static ONION_STATS], const struct onion_stats *s);
/* DROP_SHORT: another length than ONION_STATS. */
enum drop onion_stats_read(struct onion_stats *out, const uint8_t *in, size_t len);
