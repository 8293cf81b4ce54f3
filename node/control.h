/* node/control.h - the control socket: MessagePack-RPC from programs of this machine
 * (docs/control.md). Framing, credentials and bounds are here; what the methods do is in
 * methods_*.c.
 */
#pragma once
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/env.h"
#include "base/err.h"
#include "node/role.h"

enum {
    CONTROL_CLIENTS_MAX = 64,
    CONTROL_CALLS_MAX = 16,        /* in flight for one client */
    CONTROL_MESSAGE_MAX = 1 << 20, /* a request */
    CONTROL_REPLY_MAX = 16 << 20,  /* a reply: 8192 peers are about 5 MB */
    CONTROL_UNREAD_MAX = 1 << 20,  /* notifications that wait for a client that doesn't read */
    CONTROL_METHOD_MAX = 72,       /* bytes of a method's name */
    CONTROL_FOLLOW_MS = 200,       /* how often followers of the log are served */
};

struct control;

/* Finds a method by name: its function and the state to call it with, or NULL. */
struct control_target {
    node_method_fn fn;
    void *state;
};
typedef bool (*control_find_fn)(void *arg, const char *name, size_t len,
                                struct control_target *out);

struct control_options {
    struct env *env;
    const char *path;
    uint32_t uid;   /* the daemon's own user */
    bool has_group; /* members of `gid` may call too */
    uint32_t gid;
    control_find_fn find;
    void *arg;
    /* Whether the user is in the group by /etc/group; NULL: only the peer's own gid counts. Asked
     * before the sandbox for all members at once (control_members). */
    const uint32_t *member_uids;
    size_t n_members;
};

/* Listens. CYX_EBUSY when another daemon answers there. */
struct control *control_create(const struct control_options *o, struct cyx_err *err);
/* No new clients, no new calls (they get ECANCELED); calls in flight go on. */
void control_stop_accepting(struct control *c);
/* Ends calls in flight with ECANCELED and closes every client after what is queued. */
void control_end(struct control *c);
void control_destroy(struct control *c); /* closes all at once; NULL is fine */

struct control_counts {
    uint64_t accepted, refused, calls, errors, malformed, slow;
    size_t clients, in_flight;
};
void control_counts(const struct control *c, struct control_counts *out);

/* ---- for methods ----------------------------------------------------------------------------- */

/* Registers what to do when the caller goes away or the daemon stops before the reply. The method
 * must not reply after `cancelled` ran; the call is gone then. NULL takes it back. It runs from the
 * loop, never inside a reply or progress of this or another call. */
void control_on_cancel(struct node_call *call, env_fn cancelled, void *arg);

/* The call's client gets "log" notifications from now on: lines with seq > after, of `level` and
 * above in importance, under this call's id, until it closes. */
void control_follow_log(struct node_call *call, uint64_t after, enum log_level level);

/* Replies with what `buf` holds and frees its memory. */
void control_reply_buf(struct node_call *call, msgpack_sbuffer *buf);

/* Packs a log line as `cyx log` gets it. */
void control_pack_line(msgpack_packer *pk, const struct log_line *line);
