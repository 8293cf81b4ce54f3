/* node/methods.h - the daemon's own control methods (docs/control.md), one noun a file. */
#pragma once
#include <msgpack.h>

#include "node/control.h"
#include "node/gather.h"
#include "node/node_internal.h"

/* The table, ended by a NULL name; state is the struct node. */
extern const struct node_method node_methods[];

/* control_find_fn: own methods first, then "role.method". */
bool node__find_method(void *arg, const char *name, size_t len, struct control_target *out);

/* methods_status.c */
void node__pack_status(msgpack_packer *pk, struct node *n, const struct mesh_status *s);
void node__method_status(void *state, struct node_call *call, const msgpack_object *params);
void node__method_version(void *state, struct node_call *call, const msgpack_object *params);
void node__method_id(void *state, struct node_call *call, const msgpack_object *params);
/* methods_peers.c */
void node__pack_peers(msgpack_packer *pk, struct node *n, const struct node_gathered *g);
void node__method_peers(void *state, struct node_call *call, const msgpack_object *params);
void node__method_record(void *state, struct node_call *call, const msgpack_object *params);
/* Members "addresses", "roles" and "version" of a node record. */
void node__pack_addresses(msgpack_packer *pk, const struct mesh_node *m);
void node__pack_roles(msgpack_packer *pk, uint32_t roles);
void node__pack_version(msgpack_packer *pk, const struct mesh_node *m);
/* methods_ping.c */
void node__method_ping(void *state, struct node_call *call, const msgpack_object *params);
/* methods_log.c */
void node__method_log(void *state, struct node_call *call, const msgpack_object *params);
void node__method_log_level(void *state, struct node_call *call, const msgpack_object *params);
/* methods_top.c */
void node__method_metrics(void *state, struct node_call *call, const msgpack_object *params);
void node__method_top(void *state, struct node_call *call, const msgpack_object *params);
/* methods_dht.c */
void node__pack_dht(msgpack_packer *pk, struct node *n);
void node__method_dht_get(void *state, struct node_call *call, const msgpack_object *params);
void node__method_dht_find(void *state, struct node_call *call, const msgpack_object *params);
void node__method_dht_stats(void *state, struct node_call *call, const msgpack_object *params);
/* methods_dht_put.c */
void node__method_dht_put(void *state, struct node_call *call, const msgpack_object *params);
void node__method_dht_announce(void *state, struct node_call *call, const msgpack_object *params);
/* doctor.c */
void node__method_doctor(void *state, struct node_call *call, const msgpack_object *params);

/* rates.c: samples the mesh's totals each NODE_RATE_MS while it runs. */
void node__rates_start(struct node *n);
void node__rates_stop(struct node *n);

/* Replies with CYX_EAGAIN and false while the mesh isn't up (start, stop). */
bool node__needs_mesh(struct node *n, struct node_call *call);

/* ---- packing --------------------------------------------------------------------------------- */

void node__pack_kv_str(msgpack_packer *pk, const char *key, const char *value);
void node__pack_kv_u64(msgpack_packer *pk, const char *key, uint64_t value);
void node__pack_kv_bool(msgpack_packer *pk, const char *key, bool value);
void node__pack_kv_s(msgpack_packer *pk, const char *key, double seconds);
/* 32 bytes as hex; nil when `value` is NULL. */
void node__pack_kv_hex(msgpack_packer *pk, const char *key, const uint8_t *value);
void node__pack_kv_nil(msgpack_packer *pk, const char *key);
/* Nanoseconds as seconds; nil for 0. */
void node__pack_kv_ns(msgpack_packer *pk, const char *key, uint64_t ns);

/* Copies a string parameter to `out` with NUL: 1; 0 when absent; CYX_EINVAL when it is of another
 * type, too long or holds a NUL. */
int node__param_str(const msgpack_object *params, const char *key, char *out, size_t cap);
/* The same for a number from min to max; `*out` keeps its value when absent. */
int node__param_u64(const msgpack_object *params, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out);

/* 64 hex digits as 32 bytes: 1; 0 when absent; CYX_EINVAL. */
int node__param_hex(const msgpack_object *params, const char *key, uint8_t out[static 32]);
/* A flag; false when it is absent or no boolean. */
bool node__param_bool(const msgpack_object *params, const char *key);

/* Resident set in bytes, from the descriptor that was opened before the sandbox; 0: unknown. */
uint64_t node__rss(const struct node *n);
