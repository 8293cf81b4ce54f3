/* node/cli/client.h - the blocking side of the control socket (docs/control.md): one connection,
 * one call at a time. */
#pragma once
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mp.h"

struct client;

/* Connects to the daemon's socket. NULL with `err`, which names the socket, the reason and the
 * cure. */
struct client *client_open(const char *path, struct cyx_err *err);
void client_close(struct client *c); /* NULL is fine */

/* A notification during a call ("progress", "log"). Return false to end the call: client_call then
 * returns CYX_ECANCELED. */
typedef bool (*client_notify_fn)(void *arg, const char *kind, const msgpack_object *value);

/* Parameters are a packed MessagePack map; NULL means an empty one. Waits up to timeout_ms between
 * two messages (0: for ever). On success *result is the result, valid until the next call or close.
 * CYX_E* of the daemon with its message, CYX_ETIMEDOUT, CYX_ECLOSED, CYX_EPROTO. */
CYX_MUST_USE int client_call(struct client *c, const char *method, const void *params,
                             size_t params_len, unsigned timeout_ms, client_notify_fn notify,
                             void *arg, const msgpack_object **result, struct cyx_err *err);

/* Hands on the notifications of the last call, which go on after its answer ("log" with follow).
 * Ends with CYX_ECANCELED when `notify` returned false, else with CYX_ECLOSED (the daemon ended) or
 * CYX_EPROTO. */
CYX_MUST_USE int client_follow(struct client *c, client_notify_fn notify, void *arg,
                               struct cyx_err *err);
