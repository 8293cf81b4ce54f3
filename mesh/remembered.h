/* mesh/remembered.h - peers kept on disk between starts: their records, when they last answered,
 * how often they failed. At most MESH_REMEMBERED; the one not seen longest gives way. Also holds T
 * of network time and the INIT sequence (stored ahead). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "mesh/record.h"

struct mesh_remembered;

struct mesh_peer_entry {
    uint8_t id[32];
    uint64_t seen_s;   /* network time when it last answered */
    uint32_t failures; /* tries without answer since */
    uint16_t record_len;
    uint8_t record[]; /* exact size: ten thousand simulated nodes hold thousands each */
};

/* Opens the store "peers" and reads it; entries that don't parse are counted and deleted, those
 * beyond MESH_REMEMBERED give way. CYX_E* from env_kv_open and env_kv_each, CYX_ENOMEM. */
CYX_MUST_USE int mesh_remembered_open(struct env *env, size_t kv_bytes,
                                      struct mesh_remembered **out, struct cyx_err *err);
/* The same for one worker of n: all entries are read and told of, but only those of peers that
 * belong to this worker (mesh/worker.h) are written or deleted. */
CYX_MUST_USE int mesh_remembered_open_shared(struct env *env, size_t kv_bytes, unsigned worker,
                                             unsigned n_workers, struct mesh_remembered **out,
                                             struct cyx_err *err);
/* Fewer than MESH_REMEMBERED from now on; what is there beyond stays until others need its place.
 */
void mesh_remembered_limit(struct mesh_remembered *r, size_t max);
/* Flushes (once: what the disk refuses then is lost) and closes; `r` is gone for the caller. done
 * from the loop; with NULL it may be called on an environment that is dead. NULL `r`: not allowed.
 */
void mesh_remembered_close(struct mesh_remembered *r, env_fn done, void *arg);

/* Adds or updates; written within a second (many together). The record is replaced only by one of a
 * newer sequence; a later seen_s (0: it was only heard of) counts either way and ends its failures.
 * When full, the one not seen longest gives way; CYX_EFULL when that is the new one. CYX_EINVAL: a
 * length outside 1..MESH_NODE_RECORD_MAX. CYX_ENOMEM. */
CYX_MUST_USE int mesh_remembered_put(struct mesh_remembered *r, const struct mesh_node *node,
                                     const uint8_t *record, size_t len, uint64_t seen_s);
void mesh_remembered_failed(struct mesh_remembered *r, const uint8_t id[static 32]);
/* Borrowed until the next put; NULL when unknown. */
const struct mesh_peer_entry *mesh_remembered_get(struct mesh_remembered *r,
                                                  const uint8_t id[static 32]);
size_t mesh_remembered_len(const struct mesh_remembered *r);
/* Entries of this worker's peers; all of them with one worker. */
size_t mesh_remembered_own(const struct mesh_remembered *r);
/* In order of preference for dialling: fewest failures, then latest seen; ties by id. `fn` (here
 * and below) returns false to stop; it must not put. */
void mesh_remembered_best(struct mesh_remembered *r,
                          bool (*fn)(void *arg, const struct mesh_peer_entry *e), void *arg);
void mesh_remembered_each(struct mesh_remembered *r,
                          bool (*fn)(void *arg, const struct mesh_peer_entry *e), void *arg);

/* Small numbers kept beside them ("t", "seq"; names of 1..15 bytes): 0 when absent. Put: in memory
 * at once; done (may be NULL) from the loop when on disk, or with the code why not: then it is
 * counted and tried again with the next flush. (When even the note of the call finds no memory,
 * done is called at once with CYX_ENOMEM.) */
uint64_t mesh_remembered_number(struct mesh_remembered *r, const char *name);
/* The greatest of the numbers `name` and `name`.ANYTHING; 0 when there is none. */
uint64_t mesh_remembered_greatest(struct mesh_remembered *r, const char *name);
void mesh_remembered_set_number(struct mesh_remembered *r, const char *name, uint64_t v,
                                env_done_fn done, void *arg);
uint64_t mesh_remembered_write_errors(const struct mesh_remembered *r);
uint64_t mesh_remembered_bad_entries(const struct mesh_remembered *r); /* found at open */
