/* mesh/sched.h - the fair queue of a link over its paths: deficit round robin, bounded for each
 * path and for the node, runs of the oldest cells dropped together. Pure. Spec: protocol.md,
 * sections 4
 * ("Order on a link") and 9 ("Queues"); M. Shreedhar, G. Varghese, SIGCOMM 1995. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mesh/limits.h"

/* The node's cell buffers and its greediest path, shared by all links of a thread. */
struct mesh_cells;
struct mesh_cells *mesh_cells_create(size_t max_bytes);
void mesh_cells_destroy(struct mesh_cells *c);
size_t mesh_cells_used(const struct mesh_cells *c); /* bytes */
uint64_t mesh_cells_dropped(const struct mesh_cells *c);

struct mesh_sched;
struct mesh_sched *mesh_sched_create(struct mesh_cells *cells);
void mesh_sched_destroy(struct mesh_sched *s); /* drops everything; NULL is fine */

/* Queues a copy of the cell. 0; CYX_EFULL: queued, and a run of the oldest cells went (this path's
 * own at MESH_PATH_CELLS, the greediest path's of the node at the node's bound); CYX_ENOMEM: not
 * queued. A path's queue (about 100 bytes) exists only while it holds cells. */
int mesh_sched_push(struct mesh_sched *s, uint32_t path, const uint8_t cell[static MESH_CELL]);

/* The next cell by DRR (quantum: one cell, all cells being equal this is round robin over paths;
 * the deficit matters once sizes differ, so it is kept in bytes): copies it to `out`, returns its
 * path id; 0 when empty. */
uint32_t mesh_sched_pop(struct mesh_sched *s, uint8_t out[static MESH_CELL]);

size_t mesh_sched_len(const struct mesh_sched *s); /* cells on this link */
size_t mesh_sched_path_len(const struct mesh_sched *s, uint32_t path);
size_t mesh_sched_paths(const struct mesh_sched *s); /* paths with cells */
uint64_t mesh_sched_dropped(const struct mesh_sched *s);
void mesh_sched_forget(struct mesh_sched *s, uint32_t path); /* drops the path's cells */
