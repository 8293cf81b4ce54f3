/* onion/message.h - MSG and RESEND in cells: the link's fragments (mesh/msg.h) without the type
 * byte, 1239 bytes of data each. For both ends of a path to an END. Pure. Spec: protocol.md,
 * section 10. */
#pragma once
#include "base/drop.h"
#include "mesh/frame.h"
#include "onion/cell.h"

/* Writes the cell's payload into `buf` and what it is into *out, which borrows it. */
void onion_msg_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                     const struct mesh_frame_msg *m);
void onion_resend_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                        const struct mesh_frame_resend *r);
/* DROP_SHORT: the payload's length isn't that of its fields; the inbox looks at the rest. Borrows
 * from the cell. */
enum drop onion_msg_read(struct mesh_frame_msg *out, const struct onion_cell *c);
enum drop onion_resend_read(struct mesh_frame_resend *out, const struct onion_cell *c);
