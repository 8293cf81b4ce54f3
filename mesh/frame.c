#include "mesh/frame.h"

#include <string.h>

enum { FRAGMENTS_MAX = (MESH_MSG_MAX + MESH_MSG_FRAGMENT - 1) / MESH_MSG_FRAGMENT };

static bool is_msg_kind(uint8_t kind)
{
    return kind >= MESH_MSG_REQUEST && kind <= MESH_MSG_BUILD_REPLY;
}

static enum drop read_cell(struct reader *r, struct mesh_frame *f)
{
    f->cell.path = reader_u32(r);
    f->cell.cell = reader_bytes(r, MESH_CELL);
    if (r->bad)
        return DROP_SHORT;
    return f->cell.path != 0 ? DROP_NONE : DROP_FIELD;
}

static enum drop read_destroy(struct reader *r, struct mesh_frame *f)
{
    f->destroy = reader_u32(r);
    if (r->bad)
        return DROP_SHORT;
    return f->destroy != 0 ? DROP_NONE : DROP_FIELD;
}

/* One message has one way to be cut: every fragment but the last is full and none is empty. */
static bool is_fragment(const struct mesh_frame_msg *m)
{
    if (!is_msg_kind(m->kind) || m->count == 0 || m->count > FRAGMENTS_MAX || m->index >= m->count)
        return false;
    if (m->index + 1 < m->count)
        return m->len == MESH_MSG_FRAGMENT;
    return m->len >= 1 && m->len <= MESH_MSG_FRAGMENT &&
           (uint32_t)m->index * MESH_MSG_FRAGMENT + m->len <= MESH_MSG_MAX;
}

static enum drop read_msg(struct reader *r, struct mesh_frame *f)
{
    f->msg.kind = reader_u8(r);
    f->msg.id = reader_u32(r);
    f->msg.index = reader_u8(r);
    f->msg.count = reader_u8(r);
    f->msg.len = reader_u16(r);
    f->msg.data = reader_bytes(r, f->msg.len);
    if (r->bad)
        return DROP_SHORT;
    return is_fragment(&f->msg) ? DROP_NONE : DROP_FIELD;
}

static enum drop read_resend(struct reader *r, struct mesh_frame *f)
{
    f->resend.kind = reader_u8(r);
    f->resend.id = reader_u32(r);
    reader_copy(r, f->resend.missing, sizeof f->resend.missing);
    if (r->bad)
        return DROP_SHORT;
    return is_msg_kind(f->resend.kind) ? DROP_NONE : DROP_FIELD;
}

static enum drop read_ping(struct reader *r, struct mesh_frame *f)
{
    reader_copy(r, f->ping, sizeof f->ping);
    return r->bad ? DROP_SHORT : DROP_NONE;
}

static enum drop read_observed(struct reader *r, struct mesh_frame *f)
{
    reader_copy(r, f->observed.ip, sizeof f->observed.ip);
    f->observed.port = reader_u16(r);
    return r->bad ? DROP_SHORT : DROP_NONE;
}

static enum drop read_goodbye(struct reader *r, struct mesh_frame *f)
{
    f->goodbye = reader_u8(r);
    if (r->bad)
        return DROP_SHORT;
    return f->goodbye != 0 ? DROP_NONE : DROP_FIELD;
}

static enum drop read_fields(struct reader *r, struct mesh_frame *f)
{
    switch (f->type) {
    case MESH_FRAME_CELL:
        return read_cell(r, f);
    case MESH_FRAME_DESTROY:
        return read_destroy(r, f);
    case MESH_FRAME_MSG:
        return read_msg(r, f);
    case MESH_FRAME_RESEND:
        return read_resend(r, f);
    case MESH_FRAME_PING:
    case MESH_FRAME_PONG:
        return read_ping(r, f);
    case MESH_FRAME_OBSERVED:
        return read_observed(r, f);
    case MESH_FRAME_GOODBYE:
        return read_goodbye(r, f);
    case MESH_FRAME_PADDING:
    case MESH_FRAME_CELL_HALF:
        break;
    }
    reader_skip(r, reader_left(r));
    f->type = MESH_FRAME_PADDING;
    return DROP_NONE;
}

enum drop mesh_frame_next(struct reader *r, struct mesh_frame *out, bool *unknown)
{
    struct mesh_frame f = { .type = MESH_FRAME_PADDING };
    *unknown = false;
    if (reader_left(r) > 0) {
        uint8_t type = reader_u8(r);
        /* A newer minor put it last: what follows can't be told apart any more. */
        *unknown = type == MESH_FRAME_CELL_HALF || type > MESH_FRAME_GOODBYE;
        f.type = *unknown ? MESH_FRAME_PADDING : (enum mesh_frame_type)type;
        enum drop drop = read_fields(r, &f);
        if (drop != DROP_NONE)
            return drop;
    }
    *out = f;
    return DROP_NONE;
}

/* ---- building -------------------------------------------------------------------------------- */

void mesh_frame_put_cell(struct writer *w, uint32_t path, const uint8_t cell[static MESH_CELL])
{
    writer_u8(w, MESH_FRAME_CELL);
    writer_u32(w, path);
    writer_copy(w, cell, MESH_CELL);
}

void mesh_frame_put_destroy(struct writer *w, uint32_t path)
{
    writer_u8(w, MESH_FRAME_DESTROY);
    writer_u32(w, path);
}

void mesh_frame_put_msg(struct writer *w, const struct mesh_frame_msg *m)
{
    writer_u8(w, MESH_FRAME_MSG);
    writer_u8(w, m->kind);
    writer_u32(w, m->id);
    writer_u8(w, m->index);
    writer_u8(w, m->count);
    writer_u16(w, m->len);
    writer_copy(w, m->data, m->len);
}

void mesh_frame_put_resend(struct writer *w, const struct mesh_frame_resend *r)
{
    writer_u8(w, MESH_FRAME_RESEND);
    writer_u8(w, r->kind);
    writer_u32(w, r->id);
    writer_copy(w, r->missing, sizeof r->missing);
}

void mesh_frame_put_ping(struct writer *w, enum mesh_frame_type type,
                         const uint8_t opaque[static 8])
{
    writer_u8(w, (uint8_t)type);
    writer_copy(w, opaque, 8);
}

void mesh_frame_put_observed(struct writer *w, const struct env_addr *a)
{
    writer_u8(w, MESH_FRAME_OBSERVED);
    writer_copy(w, a->ip, sizeof a->ip);
    writer_u16(w, a->port);
}

void mesh_frame_put_goodbye(struct writer *w, enum mesh_goodbye reason)
{
    writer_u8(w, MESH_FRAME_GOODBYE);
    writer_u8(w, (uint8_t)reason);
}

void mesh_frame_pad(struct writer *w)
{
    writer_zero(w, writer_left(w));
}
