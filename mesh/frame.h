/* mesh/frame.h - frames inside a FULL packet: one parser, one builder for each. Spec: protocol.md,
 * section 4. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/reader.h"
#include "base/writer.h"
#include "mesh/limits.h"

enum mesh_frame_type {
    MESH_FRAME_PADDING = 0,
    MESH_FRAME_CELL = 1,
    MESH_FRAME_CELL_HALF = 2, /* reserved */
    MESH_FRAME_DESTROY = 3,
    MESH_FRAME_MSG = 4,
    MESH_FRAME_RESEND = 5,
    MESH_FRAME_PING = 6,
    MESH_FRAME_PONG = 7,
    MESH_FRAME_OBSERVED = 8,
    MESH_FRAME_GOODBYE = 9,
};

enum mesh_goodbye {
    MESH_BYE_LEAVING = 1,
    MESH_BYE_IDLE = 2,
    MESH_BYE_VERSION = 3,
    MESH_BYE_VIOLATION = 4,
    MESH_BYE_OVERLOAD = 5,
};

enum mesh_msg_kind {
    MESH_MSG_REQUEST = 1,
    MESH_MSG_RESPONSE = 2,
    MESH_MSG_BUILD = 3,       /* UDP links only */
    MESH_MSG_BUILD_REPLY = 4, /* UDP links only */
};

enum {
    MESH_FRAME_CELL_LEN = 5 + MESH_CELL,
    MESH_FRAME_DESTROY_LEN = 5,
    MESH_FRAME_MSG_HEAD = 10,
    MESH_FRAME_RESEND_LEN = 22,
    MESH_FRAME_PING_LEN = 9,
    MESH_FRAME_OBSERVED_LEN = 19,
    MESH_FRAME_GOODBYE_LEN = 2,
};

struct mesh_frame_msg {
    uint8_t kind;
    uint32_t id;
    uint8_t index, count;
    uint16_t len;
    const uint8_t *data; /* borrowed */
};

struct mesh_frame_resend {
    uint8_t kind;
    uint32_t id;
    uint8_t missing[16]; /* bit i (byte i / 8, most significant first) = fragment i is missing */
};

struct mesh_frame {
    enum mesh_frame_type type;
    union {
        struct {
            uint32_t path;
            const uint8_t *cell; /* borrowed, MESH_CELL bytes, inside the packet */
        } cell;
        uint32_t destroy;
        struct mesh_frame_msg msg;
        struct mesh_frame_resend resend;
        uint8_t ping[8]; /* PING and PONG */
        struct env_addr observed;
        uint8_t goodbye;
    };
};

/* Reads the next frame. Returns DROP_NONE with a frame; DROP_NONE with type PADDING at the end of
 * the packet (also for an unknown type: parsing of this packet ends there, *unknown is set);
 * DROP_SHORT/DROP_FIELD: a frame that doesn't fit whole or breaks a rule (path id 0, index >=
 * count, count 0 or > 51, a fragment that is not full though not the last, kind unknown, reason 0):
 * the link must say GOODBYE 4. Padding bytes are not looked at. */
enum drop mesh_frame_next(struct reader *r, struct mesh_frame *out, bool *unknown);

void mesh_frame_put_cell(struct writer *w, uint32_t path, const uint8_t cell[static MESH_CELL]);
void mesh_frame_put_destroy(struct writer *w, uint32_t path);
void mesh_frame_put_msg(struct writer *w, const struct mesh_frame_msg *m);
void mesh_frame_put_resend(struct writer *w, const struct mesh_frame_resend *r);
void mesh_frame_put_ping(struct writer *w, enum mesh_frame_type type,
                         const uint8_t opaque[static 8]);
void mesh_frame_put_observed(struct writer *w, const struct env_addr *a);
void mesh_frame_put_goodbye(struct writer *w, enum mesh_goodbye reason);
/* PADDING to the end of the packet. */
void mesh_frame_pad(struct writer *w);
