/* node/cyx/cyx.h - what the commands of `cyx` share. */
#pragma once
#include "base/mp.h"
#include "node/cli/cli.h"
#include "node/cli/client.h"
#include "node/cli/show.h"

enum { CYX_ANSWER_MS = 10000, CYX_CELL = 256 };

/* Connects to the daemon that --control, $CYX_CONTROL or the usual places name; prints why not. */
struct client *cyx_connect(const struct cli *c);

/* Prints the error of a failed call; the exit status for it. */
int cyx_failed(const struct cli *c, const struct cyx_err *err);

/* Connects, calls a method with a packed parameter map (or NULL), and either prints the result as
 * JSON
 * (--json) or hands it to `show`, whose status is returned. */
int cyx_simple(struct cli *c, const char *method, const void *params, size_t params_len,
               unsigned timeout_ms, int (*show)(const struct cli *c, const msgpack_object *result));

/* "label   value" lines. */
void cyx_line(const char *label, const char *value);

int cyx_status(struct cli *c);
int cyx_peers(struct cli *c);
int cyx_ping(struct cli *c);
int cyx_id(struct cli *c);
int cyx_record(struct cli *c);
int cyx_doctor(struct cli *c);
int cyx_log(struct cli *c);
int cyx_log_level(struct cli *c);
int cyx_top(struct cli *c);
int cyx_metrics(struct cli *c);
int cyx_time_accept(struct cli *c);
int cyx_dht_get(struct cli *c);
int cyx_dht_put(struct cli *c);
int cyx_dht_find(struct cli *c);
int cyx_dht_announce(struct cli *c);
int cyx_dht_stats(struct cli *c);
int cyx_expose(struct cli *c);
int cyx_unexpose(struct cli *c);
int cyx_services(struct cli *c);
int cyx_connect_to(struct cli *c);
int cyx_name_add(struct cli *c);
int cyx_name_rm(struct cli *c);
int cyx_name_ls(struct cli *c);
int cyx_key_new(struct cli *c);
int cyx_key_show(struct cli *c);
int cyx_why(struct cli *c);
int cyx_paths(struct cli *c);
int cyx_stop(struct cli *c);
int cyx_call(struct cli *c);
