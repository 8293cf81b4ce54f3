/* onion/messages.h - messages over the cells of a path: mesh/msg.h's fragments, MSG and RESEND as
 * cells carry them. One end of a path; which cells and when is the owner's. Spec: protocol.md,
 * sections 4 ("Messages") and 10. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/msg.h"
#include "onion/cell.h"

struct onion_messages {
    struct mesh_outbox *outbox;
    struct mesh_inbox *inbox;
};

/* pool: shared by all of a node; prefix: whom unfinished messages count under. CYX_ENOMEM. */
CYX_MUST_USE int onion_messages_init(struct onion_messages *m, struct mesh_inbox_pool *pool,
                                     uint64_t prefix);
void onion_messages_fini(struct onion_messages *m);

/* Queues a message; onion_messages_pump sends it. As mesh_outbox_add. */
CYX_MUST_USE int onion_messages_add(struct onion_messages *m, uint8_t kind, uint32_t id,
                                    const uint8_t *data, size_t len, uint64_t now_ns);
/* A MSG or RESEND cell came. DROP_NONE with out->data set: a whole message, the caller's to free;
 * NULL: nothing whole yet. Others: malformed, repeated or over a bound. */
enum drop onion_messages_heard(struct onion_messages *m, const struct onion_cell *c,
                               uint64_t now_ns, uint64_t rtt_ns, struct mesh_message *out);

/* Sends what waits and asks again for what is due: `send` returns false when the path has no room,
 * then the rest waits for the next call. Returns when to call again (UINT64_MAX: not before
 * something comes or is added). */
typedef bool (*onion_messages_send_fn)(void *arg, const struct onion_cell *c);
uint64_t onion_messages_pump(struct onion_messages *m, uint64_t now_ns, uint64_t rtt_ns,
                             onion_messages_send_fn send, void *arg);
