#include "onion/message.h"

#include <assert.h>

#include "base/reader.h"
#include "base/writer.h"

static_assert(ONION_MSG_FRAGMENT + MESH_FRAME_MSG_HEAD - 1 == ONION_PAYLOAD, "a full fragment");

void onion_msg_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                     const struct mesh_frame_msg *m)
{
    struct writer w = writer_on(buf, ONION_PAYLOAD);
    writer_u8(&w, m->kind);
    writer_u32(&w, m->id);
    writer_u8(&w, m->index);
    writer_u8(&w, m->count);
    writer_u16(&w, m->len);
    writer_copy(&w, m->data, m->len);
    *out = (struct onion_cell){ .command = ONION_CELL_MSG,
                                .payload = buf,
                                .len = writer_ok(&w) ? writer_len(&w) : 0 };
}

void onion_resend_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                        const struct mesh_frame_resend *r)
{
    struct writer w = writer_on(buf, ONION_PAYLOAD);
    writer_u8(&w, r->kind);
    writer_u32(&w, r->id);
    writer_copy(&w, r->missing, sizeof r->missing);
    *out =
        (struct onion_cell){ .command = ONION_CELL_RESEND, .payload = buf, .len = writer_len(&w) };
}

enum drop onion_msg_read(struct mesh_frame_msg *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    struct mesh_frame_msg m = { .kind = reader_u8(&r) };
    m.id = reader_u32(&r);
    m.index = reader_u8(&r);
    m.count = reader_u8(&r);
    m.len = reader_u16(&r);
    m.data = reader_bytes(&r, m.len);
    if (!reader_done(&r))
        return DROP_SHORT;
    *out = m;
    return DROP_NONE;
}

enum drop onion_resend_read(struct mesh_frame_resend *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    struct mesh_frame_resend m = { .kind = reader_u8(&r) };
    m.id = reader_u32(&r);
    reader_copy(&r, m.missing, sizeof m.missing);
    if (!reader_done(&r))
        return DROP_SHORT;
    *out = m;
    return DROP_NONE;
}
