/* mesh/msg.h - messages of up to 64 KiB as fragments, with selective resend: one fragmenter for
 * links (and, with other sizes, for paths). Pure: times come in, frames go out through the caller.
 * Spec: protocol.md, section 4, "Messages". */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"
#include "mesh/frame.h"
#include "mesh/limits.h"

/* ---- sending ----------------------------------------------------------------------------------
 */

struct mesh_outbox;

/* fragment: data bytes of a full fragment (MESH_MSG_FRAGMENT on links), at least 512 for the
 * largest message to fit RESEND's bitmap. Small until used. NULL when memory is out. */
struct mesh_outbox *mesh_outbox_create(size_t fragment);
void mesh_outbox_destroy(struct mesh_outbox *o); /* NULL is fine */

/* Queues a message (copies it). Keeps it MESH_OUTBOX_MS from its last fragment's first sending;
 * beyond MESH_OUTBOX_BYTES kept, the oldest sent one goes. CYX_EFULL: what waits unsent alone
 * exceeds the bound. CYX_EINVAL: len 0, > MESH_MSG_MAX or more than 128 fragments. A repeat of
 * (kind, id) still kept is queued again without a second copy. */
CYX_MUST_USE int mesh_outbox_add(struct mesh_outbox *o, uint8_t kind, uint32_t id, const void *data,
                                 size_t len, uint64_t now_ns);

/* The next fragment to send (resent ones first), in *out (borrowed until the next call). False:
 * none. */
bool mesh_outbox_next(struct mesh_outbox *o, uint64_t now_ns, struct mesh_frame_msg *out);
/* Size in bytes of the data of the fragment mesh_outbox_next would give, or 0 when there is none.
 */
size_t mesh_outbox_peek(const struct mesh_outbox *o);

/* A RESEND came: marks those fragments to be sent again (ones that were never sent come anyway,
 * bits beyond the message mean nothing). DROP_UNKNOWN: no longer kept. DROP_FIELD: it asks for none
 * of the message's fragments. DROP_LOAD: more than MESH_RESEND_TRIES for this message. */
enum drop mesh_outbox_resend(struct mesh_outbox *o, const struct mesh_frame_resend *r);

/* Drops what was kept long enough. Returns the next time to call, or UINT64_MAX. */
uint64_t mesh_outbox_expire(struct mesh_outbox *o, uint64_t now_ns);
/* Forgets a message (a cancelled request). */
void mesh_outbox_cancel(struct mesh_outbox *o, uint8_t kind, uint32_t id);
/* What counts against MESH_OUTBOX_BYTES: data, a message of less than 128 bytes as 128. */
size_t mesh_outbox_bytes(const struct mesh_outbox *o);

/* ---- receiving --------------------------------------------------------------------------------
 */

/* What all inboxes of a node share: the bound MESH_INBOX_ALL_BYTES and who is greediest. When the
 * sum is reached, the oldest message of the prefix that holds most goes. */
struct mesh_inbox_pool;
struct mesh_inbox_pool *mesh_inbox_pool_create(size_t max_bytes);
void mesh_inbox_pool_destroy(struct mesh_inbox_pool *p);
size_t mesh_inbox_pool_bytes(const struct mesh_inbox_pool *p);

struct mesh_inbox;
/* prefix: env_addr_prefix of the peer; moves with mesh_inbox_set_prefix. */
struct mesh_inbox *mesh_inbox_create(struct mesh_inbox_pool *pool, size_t fragment,
                                     uint64_t prefix);
void mesh_inbox_set_prefix(struct mesh_inbox *i, uint64_t prefix);
void mesh_inbox_destroy(struct mesh_inbox *i); /* NULL is fine */

/* A whole message; the receiver owns `data` (free). */
struct mesh_message {
    uint8_t kind;
    uint32_t id;
    uint8_t *data;
    size_t len;
};

/* Takes a fragment. DROP_NONE with out->data set when the message is whole, NULL otherwise. Others:
 * DROP_REPLAY (that fragment or message was had), DROP_FIELD (sizes, or count differs from what was
 * said before), DROP_LIMIT (a message above MESH_MSG_MAX, or it was itself the one to give way),
 * DROP_MEMORY. Memory grows with what arrived, never with what a header claims. `rtt_ns`: the
 * link's, for the next resend.
 * The last 64 whole messages are remembered while resent copies may still be under way, max(250 ms,
 * 4 RTT); a fragment that comes later begins the message anew: its sender repeats a request because
 * our answer was lost, and all methods are idempotent. */
enum drop mesh_inbox_fragment(struct mesh_inbox *i, const struct mesh_frame_msg *f, uint64_t now_ns,
                              uint64_t rtt_ns, struct mesh_message *out);

/* What is due at now_ns: for each message with holes whose time has come, `resend` is called (at
 * most MESH_RESEND_TRIES for each); messages older than MESH_INBOX_MS go. Returns the next time to
 * call, or UINT64_MAX. `resend` is called last: it may do anything to this inbox. */
uint64_t mesh_inbox_poll(struct mesh_inbox *i, uint64_t now_ns, uint64_t rtt_ns,
                         void (*resend)(void *arg, const struct mesh_frame_resend *r), void *arg);
/* Memory held for messages being put together: data and what it costs to keep. */
size_t mesh_inbox_bytes(const struct mesh_inbox *i);
size_t mesh_inbox_count(const struct mesh_inbox *i);
uint64_t mesh_inbox_lost(const struct mesh_inbox *i); /* messages given up */
