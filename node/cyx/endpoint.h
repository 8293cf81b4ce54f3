/* node/cyx/endpoint.h - what the commands about hidden endpoints share. */
#pragma once
#include "node/cyx/cyx.h"

/* Parameters being packed; endpoint_call frees them. */
struct endpoint_params {
    msgpack_sbuffer buf;
    msgpack_packer pk;
};
void endpoint_params_init(struct endpoint_params *p, uint32_t members);
void endpoint_params_str(struct endpoint_params *p, const char *key, const char *value);
void endpoint_params_bool(struct endpoint_params *p, const char *key, bool value);

/* Calls the method; `notify` (may be NULL) gets its progress. Then JSON (--json) or `show`, whose
 * status is returned (with --json too, where it prints nothing). */
int endpoint_call(struct cli *c, const char *method, struct endpoint_params *p,
                  client_notify_fn notify, void *arg,
                  int (*show)(const struct cli *c, const msgpack_object *result));
