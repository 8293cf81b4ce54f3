/* onion/seen.h - the last cells of one direction of a path, by which a repeated one is known: a
 * relay that is sent a cell twice must not give the next hop two equal cells. A ring of what the
 * first 8 bytes of each fold to, with a hash chain through it, so that a look costs the same
 * however full it is. A repeat is always known; a new cell is taken for one with a chance of 128 in
 * 2^32, far below any link's loss, and that halves what an idle path costs. Pure. Spec:
 * protocol.md, section 9, "Duplicate window". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/frame.h"
#include "onion/limits.h"

struct onion_seen;

enum onion_seen_answer { ONION_SEEN_NEW, ONION_SEEN_REPEAT, ONION_SEEN_NO_MEMORY };

/* Was this cell among the last ONION_WINDOW_CELLS? If not, it is noted. *s is NULL at first and is
 * made here; it grows with the cells that came, up to onion_seen_bytes of the full window, so that
 * a path that carries a cell a minute costs little. Owned by the caller (free). NO_MEMORY: not
 * noted. */
enum onion_seen_answer onion_seen_note(struct onion_seen **s, const uint8_t cell[static MESH_CELL]);
/* What it takes, in bytes; 0 for NULL. */
size_t onion_seen_bytes(const struct onion_seen *s);
